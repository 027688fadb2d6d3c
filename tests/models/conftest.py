"""Open models that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from factfade.models.hf import HfModel, OpenModel


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def model(request: pytest.FixtureRequest) -> Iterator[OpenModel]:
    """A random Llama (rotary positions, grouped keys, BOS) and a random GPT-2 (learned positions, no pad token)."""
    with HfModel(path=str(request.getfixturevalue(request.param))).open() as opened:
        yield opened


@pytest.fixture(scope="module")
def llama(tiny_llama: object) -> Iterator[OpenModel]:
    """The random Llama alone."""
    with HfModel(path=str(tiny_llama)).open() as opened:
        yield opened

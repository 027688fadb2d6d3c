"""The callback under TRL: the example of SFTTrainer on the shipped model, a few steps of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason='TRL is not installed: pip install "factfade[trl]"')

import torch

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "callback_trl.py"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("callback_trl", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def done(example: Any, world_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    out = tmp_path_factory.mktemp("sft")
    return example.fine_tune(out, steps=4, every=3, items=24, max_seconds=300.0)


def test_the_example_measures_before_step_0_every_few_steps_and_at_the_end(done: tuple[Any, Any]) -> None:
    trainer, callback = done
    assert [one.step for one in callback.measured] == [0, 3, 4]
    rows = [row for row in trainer.state.log_history if "factfade/measured" in row]
    assert [row["factfade/measured"] for row in rows] == [1.0, 1.0, 1.0]
    # The shipped model knows its world: what is asked is asked as it should be.
    assert rows[0]["factfade/multiple_choice/right"] > 0.6
    assert rows[0]["factfade/open_ended/parseable"] > 0.6


def test_trl_s_own_averages_stay_in_its_own_rows(done: tuple[Any, Any]) -> None:
    """SFTTrainer empties its averages whenever its `log` is called: not for the callback's numbers."""
    history = done[0].state.log_history
    assert not any("mean_token_accuracy" in row for row in history if "factfade/measured" in row)


def test_weights_are_bit_equal_without_it(
    example: Any, done: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example.FactFadeCallback, "on_train_begin", lambda self, *given, **more: None)
    monkeypatch.setattr(example.FactFadeCallback, "_evaluate", lambda self, *given: None)
    trainer, callback = example.fine_tune(tmp_path, steps=4, every=3, items=24, max_seconds=None)
    assert callback.measured == []
    weights = done[0].model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in trainer.model.state_dict().items())

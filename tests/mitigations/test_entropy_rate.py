"""entropy_rate: the estimator against its definition, read out loud; what is kept; what is too short."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import registry
from factfade.errors import ConfigError, RunFailed
from factfade.mitigations.entropy_rate import EntropyRate, entropy_rate, match_lengths
from factfade.records import Document
from tests.mitigations.pasts import Past


def slow_lengths(text: str) -> list[int]:
    """The definition: the shortest run from i on that is nowhere in text[:i]; one past the end where all are."""
    found = []
    for i in range(len(text)):
        length = 1
        while i + length <= len(text) and text[i : i + length] in text[:i]:
            length += 1
        found.append(length)
    return found


def slow_rate(text: str) -> float:
    terms = [length / math.log(i) for i, length in enumerate(slow_lengths(text)) if i >= 2]
    return len(terms) / sum(terms)


@given(st.text(alphabet="abc", min_size=1, max_size=40))
def test_match_lengths_are_those_of_the_definition(text: str) -> None:
    assert match_lengths(text) == slow_lengths(text)


@given(st.text(alphabet="abcdef", min_size=3, max_size=40))
def test_the_estimate_is_that_of_the_definition(text: str) -> None:
    assert entropy_rate(text) == pytest.approx(slow_rate(text), rel=1e-12)


def test_by_hand() -> None:
    assert match_lengths("abab") == [1, 1, 3, 2], "ab lies before place 2, and the text ends there"
    assert match_lengths("aaaa") == [1, 2, 3, 2], "a run may not reach into the present"
    assert match_lengths("abcd") == [1, 1, 1, 1]
    assert entropy_rate("abab") == pytest.approx(2 / (3 / math.log(2) + 2 / math.log(3)))
    with pytest.raises(ValueError, match="at least 3"):
        entropy_rate("ab")


@pytest.mark.parametrize("letters", [2, 4, 8])
def test_it_estimates_the_entropy_of_fair_dice(letters: int) -> None:
    """Independent letters have log(letters) nats each. The estimate comes from below, by about 1 / log n."""
    draw = random.Random(1)
    text = [draw.randrange(letters) for _ in range(3000)]
    short, long = (math.log(letters) - entropy_rate(text[:n]) for n in (200, 3000))
    assert 0 < long < short
    assert long < 0.2 * math.log(letters)


def test_a_period_has_almost_none() -> None:
    draw = random.Random(2)
    fair = [draw.randrange(4) for _ in range(512)]
    assert entropy_rate([0, 1, 2, 3] * 128) < 0.1 < 1.0 < entropy_rate(fair)


def document(name: str, tokens: list[int], **more: Any) -> Document:
    text = " ".join(f"w{t}" for t in tokens)
    return Document(id=name, text=text, source="synthetic", tokens=tuple(tokens), **more)


def planted(repetitive: int, varied: int) -> list[Document]:
    draw = random.Random(3)
    found = [document(f"r{i}", [i, i + 1, i + 2] * 16) for i in range(repetitive)]
    found += [document(f"v{i}", [draw.randrange(200) for _ in range(48)]) for i in range(varied)]
    draw.shuffle(found)
    return found


@pytest.mark.parametrize("units", ["tokens", "words"])
def test_planted_repetition_goes_and_nothing_else(units: str) -> None:
    documents = planted(30, 30)
    part = registry.build("pool", {"kind": "entropy_rate", "keep": 0.5, "units": units})
    mixed = part.mix(documents, Past(), generation=1, seed=0)
    assert [d.id for d in mixed.documents] == [d.id for d in documents if d.id.startswith("v")]
    assert mixed.dropped == {"below the kept ones": 30}
    assert mixed.achieved["mean_entropy_rate_kept"] > 1.3 * mixed.achieved["mean_entropy_rate_in"]


def test_keep_all_changes_nothing() -> None:
    past = Past()
    mixed = EntropyRate(keep=1.0).mix(past.now(1), past, generation=1, seed=0)
    assert list(mixed.documents) == past.now(1)
    assert not mixed.dropped


def test_it_ranks_as_the_definition_does() -> None:
    draw = random.Random(5)
    documents = [document(f"d{i}", [draw.randrange(2 + i % 9) for _ in range(20 + i % 3)]) for i in range(60)]
    letters = {d.id: "".join(chr(97 + t) for t in d.tokens or ()) for d in documents}
    mixed = EntropyRate(keep=1 / 3, length_free=False).mix(documents, Past(), generation=1, seed=0)
    ranked = sorted(documents, key=lambda d: -slow_rate(letters[d.id]))
    worst = min(slow_rate(letters[d.id]) for d in mixed.documents)
    assert len(mixed.documents) == 20
    assert worst == pytest.approx(slow_rate(letters[ranked[19].id]), rel=1e-12)


def test_length_free_does_not_prefer_long_texts() -> None:
    documents = [document(f"d{i}", list(range(10 if i % 2 else 60))) for i in range(40)]
    raw = EntropyRate(length_free=False).mix(documents, Past(), generation=1, seed=0)
    assert {len(d.tokens or ()) for d in raw.documents} == {60}
    free = EntropyRate().mix(documents, Past(), generation=1, seed=0)
    assert {len(d.tokens or ()) for d in free.documents} == {10, 60}
    assert free.achieved["mean_entropy_rate_in"] == pytest.approx(1.0)
    assert free == EntropyRate().mix(documents, Past(), generation=1, seed=0)
    assert free.documents != EntropyRate().mix(documents, Past(), generation=1, seed=1).documents


def test_the_upper_cut_and_the_domains() -> None:
    documents = [replace(d, domain="ab"[i % 2]) for i, d in enumerate(planted(20, 20))]
    part = EntropyRate(keep=0.5, upper=0.9, per_domain=True)
    mixed = part.mix(documents, Past(), generation=1, seed=0)
    assert [sum(d.domain == name for d in mixed.documents) for name in "ab"] == [10, 10]
    assert mixed.dropped == {"above the upper cut": 4, "below the kept ones": 16}
    cut = {d.id for d in documents} - {d.id for d in mixed.documents}
    assert any(name.startswith("v") for name in cut)
    short = EntropyRate(keep=1.0, upper=0.5).mix(documents, Past(), generation=1, seed=0)
    assert len(short.documents) == 20
    assert short.notes == ("40 documents were asked for, the upper cut left 20",)


def test_short_texts_rank_last_and_are_counted() -> None:
    documents = [document("s", [1, 2]), document("e", []), *planted(2, 0)]
    mixed = EntropyRate().mix(documents, Past(), generation=1, seed=0)
    assert {d.id for d in mixed.documents} == {"r0", "r1"}
    assert mixed.achieved["too_short"] == 2
    with pytest.raises(RunFailed, match="no token ids"):
        EntropyRate().mix([replace(documents[0], tokens=None)], Past(), generation=1, seed=0)


@pytest.mark.parametrize("spec", [{"keep": 0.0}, {"upper": 1.5}, {"length": 2}, {"units": "letters"}])
def test_settings_are_checked(spec: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(spec))):
        registry.build("pool", {"kind": "entropy_rate", **spec})

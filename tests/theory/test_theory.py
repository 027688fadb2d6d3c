"""The loop with a model that has a theory: the closed forms hold, and every planted off-by-one breaks them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factfade import history, loop, synthesize, theory
from factfade.mitigations.pools import Accumulate, Replace, counts
from factfade.protocols import History, Pool
from factfade.records import Document, Mixed
from factfade.theory import forms

AGREES, DISAGREES = 4.5, 7.0
"""Standard errors: the loop stays within the one, and a wrong loop is beyond the other."""

NUMBERS = theory.Setting(family=theory.Gaussian(), n=4, generations=3, chains=2048)
SHARED = replace(NUMBERS, human=2)
KEPT = replace(NUMBERS, workflow="accumulate")
SUBSAMPLED = replace(NUMBERS, workflow="accumulate_subsample", n=8, chains=256, seeds=tuple(range(8)))
SYMBOLS = theory.Setting(family=theory.Categorical(shares=(0.125,) * 8), n=400, generations=4, chains=128)
RARE = theory.Setting(family=theory.Categorical(shares=(0.6, 0.3, 0.08, 0.02)), n=50, generations=6, chains=1024)


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def worst(recursion: theory.Recursion, *, exact: bool | None = None) -> theory.Reading:
    """The reading that is farthest from theory: of all, or of those that are exact, or of the others."""
    found = [reading for reading in theory.readings(recursion) if exact is None or reading.exact == exact]
    return max(found, key=lambda reading: abs(reading.deviation))


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(NUMBERS, id="replace"),
        pytest.param(SHARED, id="replace-with-human-text"),
        pytest.param(KEPT, id="accumulate"),
        pytest.param(replace(KEPT, human_text="trained"), id="accumulate-trained"),
        pytest.param(replace(KEPT, human_text="all", human=1), id="accumulate-all-with-human-text"),
        pytest.param(SYMBOLS, id="symbols"),
        pytest.param(replace(SYMBOLS, n=60, human=15), id="symbols-with-human-text"),
        pytest.param(RARE, id="rare-symbols"),
    ],
)
def test_the_loop_has_the_closed_forms(setting: theory.Setting, tmp_path: Path) -> None:
    found = theory.simulate(setting, tmp_path)
    assert abs(worst(found).deviation) < AGREES, worst(found)
    for g in range(1, setting.generations + 1):
        assert found.documents[0][g - 1] == theory.composition(setting, g)
        assert found.trainings[0][g - 1] == (g - 1, g), "model g-1 writes for generation g, model g is evaluated"


def test_the_subsample_lies_between(tmp_path: Path) -> None:
    found = theory.simulate(SUBSAMPLED, tmp_path)
    assert abs(worst(found).deviation) < AGREES, worst(found)
    for run in found.documents:
        for g, documents in enumerate(run, start=1):
            assert sum(documents.values()) == SUBSAMPLED.n
            assert set(documents) <= set(theory.composition(SUBSAMPLED, g))


def test_entropy_falls_by_a_step_that_does_not_shrink(tmp_path: Path) -> None:
    found = theory.simulate(SYMBOLS, tmp_path)
    entropy = theory.entropies(found.weights["shares"]).mean((0, 2))
    expected = forms.entropy_loss(8, SYMBOLS.n) * np.arange(SYMBOLS.generations + 1)
    np.testing.assert_allclose(entropy[0] - entropy, expected, rtol=0.1)
    names = {reading.quantity for reading in theory.readings(found)}
    assert "entropy lost" in names


def test_rare_symbols_survive_at_least_as_the_bound_says(tmp_path: Path) -> None:
    found = theory.readings(theory.simulate(RARE, tmp_path))
    bounds = [reading for reading in found if reading.bound]
    assert [reading.generation for reading in bounds] == list(range(1, RARE.generations + 1))
    assert [reading.expected for reading in bounds] == pytest.approx([1 - np.exp(-1.0 / k) for k in range(1, 7)])
    assert all(reading.measured > reading.expected - 2 * reading.error for reading in bounds)
    assert not any(reading.quantity == "entropy lost" for reading in found), "one symbol is expected once: no form"


def test_one_number_repeats_bit_by_bit(tmp_path: Path) -> None:
    small = replace(NUMBERS, chains=16, generations=2)
    first, second = (theory.simulate(small, tmp_path / name) for name in "ab")
    other = theory.simulate(replace(small, seeds=(1,)), tmp_path / "c")
    assert (first.weights["mean"] == second.weights["mean"]).all()
    assert (first.weights["mean"][:, 1:] != other.weights["mean"][:, 1:]).all()


def test_a_reading_without_error_agrees_or_does_not() -> None:
    same = theory.Reading(quantity="q", form="f", generation=1, measured=1.0, error=0.0, expected=1.0)
    assert same.deviation == 0
    assert replace(same, expected=0.5).deviation == np.inf
    assert replace(same, expected=0.5, bound=True).deviation == 0
    assert replace(same, expected=1.5, bound=True, error=0.1).deviation == pytest.approx(-5)


# ---------------------------------------------------------------------------------------------------------------
# Planted errors. Each is one generation off, and each is found in the same setting in which the loop itself agrees.


COUNTS, CHAINS = "counts", "chains"
"""What tells: the exact counts of documents, or the moments of the chains where the counts are right."""


def teller(recursion: theory.Recursion) -> str | None:
    """What disagrees with theory, the counts first."""
    if abs(worst(recursion, exact=True).deviation) > 0:
        return COUNTS
    return CHAINS if abs(worst(recursion, exact=False).deviation) > DISAGREES else None


def mixed(documents: Sequence[Document]) -> Mixed:
    return Mixed(documents=tuple(documents), achieved=counts(documents))


@dataclass(frozen=True, kw_only=True)
class HumanTextOfYesterday:
    """Replaces all but the human text, which is the previous generation's."""

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        written = [document for document in documents if document.source == "synthetic"]
        return mixed([*history.human(generation=max(generation - 1, 1)), *written])


@dataclass(frozen=True, kw_only=True)
class CompletionsOfYesterday:
    """Trains on what the model before the last one wrote."""

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        return mixed(history.completions(generation=max(generation - 1, 1)))


@dataclass(frozen=True, kw_only=True)
class Gathers:
    """Accumulates the completions of generations `first` to g - `short` beside today's documents."""

    first: int = 1
    short: int = 1
    human: bool = True

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        pool = list(history.human(generation=1, replaced=True)) if self.human else []
        for earlier in range(self.first, generation - self.short + 1):
            pool.extend(history.completions(generation=earlier))
        return mixed([*pool, *documents])


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """Accumulates the right numbers of documents, of which those of generation 1 are today's again."""

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        right = Accumulate().mix(documents, history, generation=generation, seed=seed).documents
        today = [document for document in documents if document.source == "synthetic"]
        first = [document for document in right if document.generation == 0]
        again = {old.id: new for old, new in zip(first, today, strict=True)}
        return mixed([replace(d, tokens=again[d.id].tokens) if d.id in again else d for d in right])


@pytest.mark.parametrize(
    ("setting", "pool", "told_by"),
    [
        (SHARED, HumanTextOfYesterday(), CHAINS),
        (NUMBERS, CompletionsOfYesterday(), COUNTS),
        (KEPT, Gathers(first=2), COUNTS),
        (KEPT, Gathers(short=0), COUNTS),
        (KEPT, Gathers(short=2), COUNTS),
        (KEPT, Gathers(human=False), COUNTS),
        (KEPT, Replace(), COUNTS),
        (KEPT, Rewritten(), CHAINS),
        (NUMBERS, Accumulate(), COUNTS),
        (replace(KEPT, human_text="trained"), Accumulate(human="first"), COUNTS),
    ],
    ids=lambda value: value.workflow if isinstance(value, theory.Setting) else str(value),
)
def test_a_wrong_pool_is_found(setting: theory.Setting, pool: Pool, told_by: str, tmp_path: Path) -> None:
    assert teller(theory.simulate(setting, tmp_path, pool=[pool])) == told_by


def test_the_right_gatherer_is_not_accused(tmp_path: Path) -> None:
    assert abs(worst(theory.simulate(KEPT, tmp_path, pool=[Gathers()])).deviation) < AGREES


def shifted_history(patch: pytest.MonkeyPatch) -> None:
    """A history that reads the folder of the generation before."""
    right: Callable[..., Path] = history.RunHistory._folder
    patch.setattr(history.RunHistory, "_folder", lambda self, generation: right(self, max(generation - 1, 1)))


def stale_writer(patch: pytest.MonkeyPatch) -> None:
    """A loop in which the model before the previous one writes."""
    right: Callable[..., Path] = loop.Work._checkpoint

    def stale(self: loop.Work, generation: int) -> Path:
        writes = generation == self.generation - 1
        return right(self, max(generation - 1, 0) if writes else generation)

    patch.setattr(loop.Work, "_checkpoint", stale)


def always_the_start(patch: pytest.MonkeyPatch) -> None:
    """A loop in which the start model writes for every generation."""
    patch.setattr(loop.Work, "_checkpoint", lambda self, generation: self.start)


def one_seed_for_all(patch: pytest.MonkeyPatch) -> None:
    """Sampling with the same random numbers in every generation."""
    patch.setattr(synthesize, "derived_seed", lambda *parts: 1)


def human_text_of_yesterday(patch: pytest.MonkeyPatch) -> None:
    """A history whose human text, and that alone, is the previous generation's."""
    right: Callable[..., Sequence[Document]] = history.RunHistory.human

    def human(self: history.RunHistory, *, generation: int, replaced: bool = False) -> Sequence[Document]:
        return right(self, generation=max(generation - 1, 1), replaced=replaced)

    patch.setattr(history.RunHistory, "human", human)


def a_block_too_much(patch: pytest.MonkeyPatch) -> None:
    """One human block more than the fraction says."""
    right: Callable[..., Any] = synthesize.choose

    def choose(blocks: Any, fraction: float, **key: Any) -> Any:
        return right(blocks, fraction - 1 / len(blocks), **key)

    patch.setattr(synthesize, "choose", choose)


@pytest.mark.parametrize(
    ("setting", "plant", "told_by"),
    [
        (NUMBERS, shifted_history, COUNTS),
        (SHARED, shifted_history, COUNTS),
        (KEPT, shifted_history, COUNTS),
        (NUMBERS, stale_writer, CHAINS),
        (KEPT, stale_writer, CHAINS),
        (NUMBERS, always_the_start, CHAINS),
        (NUMBERS, one_seed_for_all, CHAINS),
        (NUMBERS, a_block_too_much, COUNTS),
        (SHARED, human_text_of_yesterday, CHAINS),
    ],
    ids=lambda value: getattr(value, "__name__", None) or getattr(value, "workflow", None) or value,
)
def test_a_wrong_loop_is_found(
    setting: theory.Setting,
    plant: Callable[[pytest.MonkeyPatch], None],
    told_by: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    assert teller(theory.simulate(setting, tmp_path)) == told_by


@pytest.mark.parametrize("by", [-1, 1])
def test_counting_generations_from_another_number_is_found(by: int, tmp_path: Path) -> None:
    """Generation g taken for g - 1 (the first training counted as generation 0), and for g + 1."""
    right = theory.simulate(NUMBERS, tmp_path)
    assert abs(worst(right).deviation) < AGREES
    short = replace(NUMBERS, generations=NUMBERS.generations - 1)
    for values in right.weights.values():
        assert values.shape[1] == NUMBERS.generations + 1
    late = {name: values[:, 1:] if by > 0 else values[:, [0, 0, 1]] for name, values in right.weights.items()}
    assert abs(worst(replace(right, setting=short, weights=late)).deviation) > DISAGREES

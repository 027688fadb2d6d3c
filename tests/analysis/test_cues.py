"""Erased or not elicited: planted truths, and what a sample cannot carry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factfade.analysis import study_of
from factfade.analysis.cues import CUES, findings, guessing, recovery
from factfade.verdicts import Finding

N = 400


def rows(
    right: dict[str, np.ndarray], *, generation: int, likelihood: np.ndarray | None = None, lineage: str = "arm"
) -> pd.DataFrame:
    """Rows of the probe: 0/1 answers by wording; the choice of the plain wording is `likelihood`."""
    parts = []
    for wording, values in right.items():
        parts.append(
            pd.DataFrame(
                {
                    "lineage": lineage, "seed": 0, "generation": generation, "format": "cue_recovery",
                    "item": [f"i{k}" for k in range(len(values))], "wording": wording,
                    "outcome": np.where(values == 1, "correct", "unparseable"),
                    "choice_correct": (likelihood if likelihood is not None else values) == 1
                    if wording == "plain" else None,
                    "options": [["a", "b", "c", "d", "e"]] * len(values), "gold": np.arange(len(values)) % 5,
                    "template": "t",
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def planted(*, erased: bool, known: float = 0.8, seed: int = 0, n: int = N) -> pd.DataFrame:
    """Half of what was known is lost plainly; where it is erased a cue helps as it helps with what was never known."""
    random = np.random.default_rng(seed)
    knows = random.random(n) < known
    kept = knows & (random.random(n) < 0.5)
    luck = {cue: random.random(n) < 0.05 for cue in ("uninformative", "partial")}
    start = {cue: knows | got for cue, got in luck.items()}
    now = {cue: (kept if erased else knows) | (random.random(n) < 0.05) for cue in luck}
    held = kept if erased else knows
    first = rows({"plain": knows, **start}, generation=0, likelihood=knows)
    last = rows({"plain": kept, **now}, generation=3, likelihood=held | (random.random(n) < 0.05))
    return pd.concat([first, last], ignore_index=True)


def by_cue(evidence: pd.DataFrame) -> dict[str, Finding]:
    return {one.name.removeprefix("recovered_"): one for one in findings(study_of(evidence))}


@pytest.mark.parametrize("erased", [True, False])
def test_planted_truths_are_found(erased: bool) -> None:
    found = by_cue(planted(erased=erased))
    assert set(found) == set(CUES)
    for cue, one in found.items():
        assert one.extra["verdict"] == ("erased" if erased else "not elicited"), cue
        assert not one.reason
        assert one.estimand == "checkpoints"
        assert one.n > 100
        assert one.low is not None
        assert one.value is not None
        assert (one.value < 0.15) == erased
        assert "Of the items lost at generation 3" in one.sentence


def test_a_cue_that_helps_with_everything_brings_nothing_back() -> None:
    """A cue that gives half of all answers away: half of the lost items come back, and that is no memory."""
    random = np.random.default_rng(1)
    knows, kept = random.random(N) < 0.6, random.random(N) < 0.3
    gift = lambda: random.random(N) < 0.5  # noqa: E731
    first = rows({"plain": knows, "partial": knows | gift()}, generation=0)
    last = rows({"plain": knows & kept, "partial": (knows & kept) | gift()}, generation=1)
    one = by_cue(pd.concat([first, last]))["partial"]
    assert one.value == pytest.approx(0.5, abs=0.1)
    assert one.extra["verdict"] != "not elicited"
    assert one.extra["excess"]["low"] < 0 < one.extra["excess"]["high"]


def test_a_start_model_that_knew_everything_is_judged_against_guessing() -> None:
    found = by_cue(planted(erased=False, known=1.0))
    assert found["likelihood"].extra["base"]["value"] == pytest.approx(0.2)
    assert found["likelihood"].extra["base"]["method"] == "guessing"
    assert found["likelihood"].extra["verdict"] == found["uninformative"].extra["verdict"] == "not elicited"
    assert "against 20.0% by guessing" in found["likelihood"].sentence
    assert "it takes 20 to know what the cue brings" in found["partial"].reason
    assert found["partial"].value is None
    assert found["partial"].extra["recovered"]["n"] > 100


def test_guessing_is_the_most_frequent_answer_of_the_relation() -> None:
    evidence = pd.DataFrame(
        {
            "item": ["a", "b", "c", "d"], "template": ["r", "r", "r", "s"], "gold": [0, 0, 1, 2],
            "options": [["x", "y", "z"]] * 3 + [None],
        }
    )  # fmt: skip
    np.testing.assert_allclose(guessing(evidence), [2 / 3, 2 / 3, 2 / 3, np.nan])


def test_a_cue_that_disturbs_is_not_read() -> None:
    table = planted(erased=True)
    table.loc[(table["generation"] == 0) & (table["wording"] == "uninformative"), "outcome"] = "unparseable"
    one = by_cue(table)["uninformative"]
    assert one.value is None
    assert "the cue disturbs" in one.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t[t["generation"] > 0], "generation 0 is missing"),
        (lambda t: t[t["generation"] == 0], "there is no later generation"),
        (lambda t: t.drop(columns="outcome"), "there are no free answers"),
        (lambda t: t[t["item"].isin([f"i{k}" for k in range(30)])], "it takes 20"),
        (lambda t: t.assign(outcome="correct"), "0 items were lost"),
        (lambda t: t.assign(outcome="wrong"), "0 items were lost"),
        (lambda t: t[t["wording"] == "plain"], "0 items were lost and asked with the cue"),
        (lambda t: t.assign(outcome="not_asked"), "there are no free answers"),
    ],
)
def test_what_the_rows_cannot_carry_is_said(change: object, reason: str) -> None:
    one = by_cue(change(planted(erased=True)))["uninformative"]  # type: ignore[operator]
    assert reason in one.reason
    assert reason in one.sentence
    assert one.value is None


def test_nothing_depends_on_order_names_or_another_model() -> None:
    table = planted(erased=False)
    plain = by_cue(table)
    mixed = table.sample(frac=1, random_state=3)
    mixed["item"] = "z" + mixed["item"].str[::-1]
    assert by_cue(mixed) == plain
    both = pd.concat([table, table.assign(lineage="twin")])
    own = {one.name.removeprefix("recovered_"): one for one in findings(study_of(both)) if one.lineage == "arm"}
    assert own == plain
    assert findings(study_of(table.assign(format="open_ended"))) == []


def test_the_level_is_kept_where_nothing_was_kept() -> None:
    """Facts erased, a cue that gives a fifth of all away: "not elicited" in about one of twenty."""
    random = np.random.default_rng(5)
    calls = []
    for _ in range(400):
        start = (random.random(150) < 0.6).astype(float)
        now = start * (random.random(150) < 0.4)
        gift = [(random.random(150) < 0.2).astype(float) for _ in range(2)]
        found = recovery(now, start, np.maximum(now, gift[0]), np.maximum(start, gift[1]), np.arange(150))
        calls.append(found.verdict == "not elicited")
    assert np.mean(calls) <= 0.08

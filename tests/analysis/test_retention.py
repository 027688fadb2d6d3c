"""Retention, losses and what predicts them, on planted evidence."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from factfade.analysis.retention import findings
from factfade.analysis.study import study_of
from factfade.verdicts import Finding

Floats = NDArray[np.float64]


def evidence(
    states: Floats, *, lineage: str = "arm", seed: int = 0, format: str = "f", **columns: object
) -> pd.DataFrame:
    """Evidence of (items, generations) of 1 right, 0 wrong, NaN not asked; further columns one entry per item."""
    items, generations = states.shape
    parts = []
    for g in range(generations):
        key = {"lineage": lineage, "seed": seed, "generation": g, "format": format, "wording": ""}
        part = pd.DataFrame({**key, "item": [f"i{i:05d}" for i in range(items)]})
        part["choice_correct"] = pd.array([None if math.isnan(v) else bool(v) for v in states[:, g]], dtype="boolean")
        parts.append(part.assign(**columns))  # type: ignore[arg-type]
    return pd.concat(parts, ignore_index=True)


def onsets(hazard: Floats, generations: int, rng: int = 0, *, known: float = 0.9) -> Floats:
    """Items are known at generation 0 with `known`, then lost for good with their own hazard a generation."""
    random = np.random.default_rng(rng)
    onset = random.geometric(hazard)
    right = (random.random(len(hazard)) < known)[:, None]
    return (right & (onset[:, None] > np.arange(generations))).astype(float)


def flipping(items: int, right: float, churn: float, generations: int, rng: int = 0) -> Floats:
    """An unchanged model: a stationary chain."""
    random = np.random.default_rng(rng)
    state = random.random(items) < right
    seen = [state]
    for _ in range(generations - 1):
        draw = random.random(items)
        state = np.where(state, draw >= churn / 2 / right, draw < churn / 2 / (1 - right))
        seen.append(state)
    return np.array(seen, dtype=float).T


def found_in(table: pd.DataFrame, **settings: object) -> list[Finding]:
    found = findings(study_of(table, **settings))  # type: ignore[arg-type]
    assert all(f.analysis == "retention" and f.sentence for f in found)
    assert all(f.reason for f in found if f.value is None)
    return found


def by_name(table: pd.DataFrame, lineage: str = "arm", **settings: object) -> dict[str, Finding]:
    found = [f for f in found_in(table, **settings) if f.lineage == lineage and f.estimand == "checkpoints"]
    return {f.name: f for f in found if f.name != "early_loss"}


def odds(table: pd.DataFrame) -> dict[str, Finding]:
    return {f.extra.get("predictor", ""): f for f in found_in(table) if f.name == "early_loss"}


def holds(finding: Finding, truth: float) -> bool:
    assert finding.low is not None
    assert finding.high is not None
    return finding.low <= truth <= finding.high


def test_the_four_way_table_and_the_losses_by_hand() -> None:
    states = np.array([[1, 1, 1, 1]] * 6 + [[1, 1, 0, 0]] * 2 + [[1, 1, 1, 0]] + [[0, 0, 0, 1]] + [[0, 0, 0, 0]] * 2)
    found = by_name(evidence(states.astype(float)))
    kept = found["retention"]
    assert kept.value == pytest.approx(6 / 9)
    assert kept.n == 9
    counts = {name: cell["count"] for name, cell in kept.extra["transitions"].items()}
    assert counts == {"right_right": 6, "right_wrong": 3, "wrong_right": 1, "wrong_wrong": 2}
    assert kept.extra["recovery"]["n"] == 3
    lost = found["lost"]
    assert lost.value == pytest.approx(2 / 9)
    assert (lost.extra["lost"], lost.extra["wrong_in_the_last_only"]) == (2, 1)
    assert [row["kept"] for row in lost.extra["curve"]] == pytest.approx([1, 1, 7 / 9, 7 / 9])
    assert lost.extra["never_wrong"] == pytest.approx(6 / 9)


def test_a_steady_loss_is_found_beyond_the_chain_and_the_control() -> None:
    arm = evidence(onsets(np.full(500, 0.06), 9, rng=1))
    control = evidence(flipping(500, 0.9, 0.04, 9, rng=2), lineage="control")
    table = pd.concat([arm, control], ignore_index=True)
    found = by_name(table, controls={"arm": "control"})
    truth = 1 - 0.94**7
    assert holds(found["lost"], truth)
    assert found["lost_beyond_chain"].low is not None
    assert found["lost_beyond_chain"].low > 0.1
    assert found["lost_beyond_chain"].extra["net"]["low"] > 0.2
    assert found["lost_beyond_chain"].extra["mirrored"] == 0
    assert found["lost_beyond_control"].low is not None
    assert found["lost_beyond_control"].low > 0.15
    assert found["retention"].extra["below_control"]["low"] > 0.15
    assert "points" in found["lost_beyond_control"].sentence
    assert "lost_beyond_control" not in by_name(table)


@pytest.mark.parametrize("kind", ["chain", "mixed"])
def test_an_unchanged_model_loses_no_more_than_a_model_that_never_changes(kind: str) -> None:
    """Its retention falls far below 1, and neither the chain nor the mirrored table calls that forgetting."""
    calls = []
    for rng in range(10):
        if kind == "chain":
            states = flipping(300, 0.65, 0.09, 11, rng=rng)
        else:
            random = np.random.default_rng(rng)
            states = (random.random((300, 11)) < random.beta(1.2, 0.5, 300)[:, None]).astype(float)
        found = by_name(evidence(states))
        beyond = found["lost_beyond_chain"]
        assert found["retention"].value is not None
        assert found["retention"].value < 0.9
        assert beyond.low is not None
        calls += [beyond.low > 0, beyond.extra["net"]["low"] > 0]
    assert np.mean(calls) <= 0.1


def predicted_losses(rng: int) -> pd.DataFrame:
    """Confidence halves the odds of a loss per .1, a tenfold frequency too; the domain does nothing."""
    random = np.random.default_rng(rng)
    sure, often = random.uniform(0.3, 0.9, 900), 10 ** random.uniform(0, 3, 900) - 1
    domain = np.where(random.random(900) < 0.3, "geo", "chem")
    linear = -0.5 - math.log(2) * (sure - 0.3) / 0.1 - math.log(2) * np.log10(1 + often)
    states = onsets(1 / (1 + np.exp(-linear)), 8, rng=rng + 1)
    return evidence(states, choice_confidence=sure, frequency=often, domain=domain)


PLANTED = {"confidence at generation 0": 0.5, "frequency in the training text": 0.5, "domain geo": 1.0}


def test_what_predicts_an_early_loss_is_found() -> None:
    found = odds(predicted_losses(5))
    assert set(found) == {*PLANTED, "domain chem"}
    for name, truth in PLANTED.items():
        assert holds(found[name], truth), name
        if truth < 1:
            assert found[name].high is not None
            assert found[name].high < 0.75
            assert found[name].p is not None
            assert found[name].p < 1e-4
    assert (found["domain geo"].value or 0) * (found["domain chem"].value or 0) == pytest.approx(1.0)
    assert found["domain geo"].unit == "odds ratio"


@pytest.mark.slow
def test_the_odds_ratios_cover() -> None:
    runs = [odds(predicted_losses(rng)) for rng in range(60)]
    for name, truth in PLANTED.items():
        assert np.mean([holds(found[name], truth) for found in runs]) >= 0.87, name


def test_too_few_losses_predict_nothing() -> None:
    states = onsets(np.full(300, 0.004), 6, rng=0)
    found = odds(evidence(states, choice_confidence=np.linspace(0.2, 0.9, 300)))
    assert "would take 10 losses" in found[""].reason
    few = onsets(np.full(200, 0.03), 6, rng=0)
    domain = np.array([f"d{i % 5}" for i in range(200)])
    some = odds(evidence(few, choice_confidence=np.linspace(0.2, 0.9, 200), domain=domain))
    assert list(some) == ["confidence at generation 0"]
    assert "domains are left out" in some["confidence at generation 0"].extra["notes"][0]
    assert "no predictor" in odds(evidence(few))[""].reason


def test_separation_is_survived() -> None:
    sure = np.linspace(0.2, 0.9, 100)
    states = np.where(sure[:, None] < 0.5, np.array([1, 1, 0, 0, 0]), 1).astype(float)
    found = odds(evidence(states, choice_confidence=sure))["confidence at generation 0"]
    assert found.high is not None
    assert found.high < 1
    assert found.low is not None
    assert found.low > 0


def test_time_to_failure_and_its_censoring() -> None:
    share = [0.95, 0.9, 0.85, 0.6, 0.5]
    states = (np.arange(400)[:, None] < 400 * np.array(share)).astype(float)
    found = by_name(evidence(states))["time_to_failure"]
    assert (found.value, found.low, found.high) == (3, 3, 3)
    assert found.extra["after"] == 2
    never = by_name(evidence(states[:, :3]))["time_to_failure"]
    assert never.value is None
    assert never.unbounded
    assert never.extra["censored"]
    assert "not below 75% right up to generation 2" in never.reason
    small = by_name(evidence(states[::20]))["time_to_failure"]
    assert small.low is not None
    assert small.high is None or small.high > small.low
    other = [f for f in findings(study_of(evidence(states)), threshold=0.88) if f.name == "time_to_failure"]
    assert other[0].value == 2


def test_the_recipe_is_judged_by_seeds() -> None:
    parts = []
    for seed in range(4):
        parts.append(evidence(onsets(np.full(200, 0.08 + 0.01 * seed), 7, rng=seed), seed=seed))
        parts.append(evidence(onsets(np.full(200, 0.01), 7, rng=50 + seed), seed=seed, lineage="control"))
    table = pd.concat(parts, ignore_index=True)
    found = [f for f in found_in(table, controls={"arm": "control"}) if f.estimand == "recipe"]
    kept = next(f for f in found if f.name == "retention")
    assert (kept.n, kept.units, kept.seed) == (4, "seeds", None)
    rows = kept.extra["seeds"]
    assert kept.value == pytest.approx(np.mean([r["arm"] - r["control"] for r in rows]))
    from scipy.stats import ttest_rel

    test = ttest_rel([r["arm"] for r in rows], [r["control"] for r in rows])
    assert kept.p == pytest.approx(test.pvalue, abs=1e-9)
    assert (kept.low, kept.high) == pytest.approx(tuple(test.confidence_interval(0.95)), abs=1e-9)
    assert kept.high is not None
    assert kept.high < 0
    failure = next(f for f in found if f.name == "time_to_failure" and f.lineage == "arm")
    assert failure.extra["failed"] == 4
    assert failure.low is None
    one = table[table["seed"] == 0].reset_index(drop=True)
    assert all(f.estimand == "checkpoints" for f in found_in(one, controls={"arm": "control"}))


def test_missing_parts_and_degenerate_inputs_are_said() -> None:
    ones, zeros = np.ones((20, 4)), np.zeros((20, 4))
    right = by_name(evidence(ones))
    assert right["retention"].value == 1.0
    assert right["lost"].value == 0.0
    assert right["lost"].high is not None
    assert 0 < right["lost"].high < 0.2
    wrong = by_name(evidence(zeros))
    assert "no item was right" in wrong["retention"].reason
    assert wrong["time_to_failure"].value == 0
    assert "at generation 0 already" in wrong["time_to_failure"].sentence
    later = evidence(ones)
    later = by_name(later[later["generation"] > 0].reset_index(drop=True))
    assert all("generation 0 was not evaluated" in f.reason for f in later.values())
    assert "only generation 0" in by_name(evidence(ones[:, :1]))["retention"].reason
    assert "two evaluated generations" in by_name(evidence(ones[:, :2]))["lost"].reason
    single = by_name(evidence(np.array([[1.0, 1, 0, 0]])))
    assert (single["lost"].value, single["lost"].low) == (1.0, None)
    cluster = by_name(evidence(flipping(20, 0.6, 0.2, 5), entity="one"))
    assert cluster["lost"].low is None
    holes = flipping(60, 0.7, 0.1, 6)
    holes[np.random.default_rng(0).random(holes.shape) < 0.3] = np.nan
    assert by_name(evidence(holes))["lost"].value is not None
    gone = flipping(60, 0.7, 0.1, 6)
    gone[:, -1] = np.nan
    assert by_name(evidence(gone))["retention"].reason
    assert findings(study_of(evidence(ones).head(0))) == []
    alien = pd.concat([evidence(ones), evidence(ones[:, :2], lineage="control")], ignore_index=True)
    assert "fewer than three generations" in by_name(alien, controls={"arm": "control"})["lost_beyond_control"].reason


def test_free_answers_are_followed_through_what_cannot_be_read() -> None:
    outcome = [
        ["correct"] * 5,
        ["correct", "wrong", "unparseable", "wrong", "wrong"],
        ["correct", "wrong", "correct", "empty", "wrong"],
    ]
    parts = [
        pd.DataFrame(
            {
                "lineage": "arm",
                "seed": 0,
                "generation": g,
                "item": ["a", "b", "c"],
                "format": "f",
                "wording": "",
                "outcome": [row[g] for row in outcome],
            }
        )
        for g in range(5)
    ]
    found = by_name(pd.concat(parts, ignore_index=True))["lost"]
    assert (found.extra["lost"], found.extra["wrong_in_the_last_only"]) == (1, 1)


def test_probes_are_skipped() -> None:
    states = flipping(30, 0.7, 0.1, 4)
    table = pd.concat([evidence(states), evidence(states, format="cue_recovery")], ignore_index=True)
    assert {f.format for f in found_in(table)} == {"f"}


def test_neither_order_nor_names_nor_a_twin_change_anything() -> None:
    states = flipping(120, 0.7, 0.1, 6)
    entity = np.array([f"e{i // 3:03d}" for i in range(120)])
    plain = evidence(states, entity=entity, choice_confidence=np.linspace(0.2, 0.9, 120))
    names = {name: f"x{(7919 * i) % 100_003}" for i, name in enumerate(sorted(set(plain["item"])))}
    owners = {name: f"y{(7919 * i) % 100_003}" for i, name in enumerate(sorted(set(plain["entity"])))}
    other = plain.assign(item=plain["item"].map(names), entity=plain["entity"].map(owners))
    other = pd.concat([other, other.assign(lineage="twin")], ignore_index=True).sample(frac=1, random_state=1)
    found = found_in(other.reset_index(drop=True))
    twins = [[f for f in found if f.lineage == lineage] for lineage in ("arm", "twin")]
    for mine, twin, first in zip(*twins, found_in(plain), strict=True):
        assert replace(mine, lineage="twin") == twin
        for a, b in ((mine.value, first.value), (mine.low, first.low), (mine.high, first.high)):
            assert a == pytest.approx(b, abs=1e-9)
        assert mine.sentence == first.sentence

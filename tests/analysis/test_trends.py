"""The trend's findings: planted falls, the two estimands, what one seed cannot say, and invariance."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factfade.analysis import Study, study_of, trends
from factfade.stats.multiplicity import holm
from factfade.stats.paired import mcnemar_mid_p
from factfade.verdicts import Finding
from tests import planted


def study(*tables: pd.DataFrame, controls: dict[str, str | None] | None = None) -> Study:
    return study_of(pd.concat(tables, ignore_index=True), controls=controls)


def table(right: planted.Curve, lineage: str = "arm", seed: int = 0, **settings: Any) -> pd.DataFrame:
    return planted.evidence(planted.World(right=right), lineage=lineage, seed=seed, **{"items": 120, **settings})


def named(found: list[Finding], name: str, **place: object) -> list[Finding]:
    return [f for f in found if f.name == name and all(getattr(f, k) == v for k, v in place.items())]


def one(found: list[Finding], name: str, **place: object) -> Finding:
    (finding,) = named(found, name, **place)
    return finding


SLOW = planted.falling(0.9, 0.03)
STEP = planted.falling(0.9, 0.3, after=2, floor=0.6)
FLAT = planted.flat(0.9)


@pytest.fixture(scope="module")
def three_seeds() -> list[Finding]:
    made = [
        table(curve, lineage, seed, rng=seed)
        for seed in range(3)
        for lineage, curve in (("arm", SLOW), ("human", FLAT))
    ]
    return trends.findings(study(*made, controls={"arm": "human", "human": None}))


def test_the_primary_alarm_is_one_test_for_each_run(three_seeds: list[Finding]) -> None:
    primary = named(three_seeds, "trend")
    assert [(f.lineage, f.seed) for f in primary] == [(n, s) for n in ("arm", "human") for s in range(3)]
    arm = one(three_seeds, "trend", lineage="arm", seed=0)
    assert arm.value == pytest.approx(-0.03, abs=0.008)
    assert arm.low is not None
    assert arm.high is not None
    assert arm.low < arm.value < arm.high < 0
    assert arm.p is not None
    assert arm.p < 0.001
    assert (arm.estimand, arm.n, arm.units, arm.level) == ("checkpoints", 120, "items", 0.9)
    assert arm.extra["clusters"] == 60
    assert arm.extra["primary"]
    assert arm.sentence.startswith("These checkpoints fell (arm, seed 0): the slope of accuracy over 2 formats is -")
    assert "120 items in 60 clusters" in arm.sentence
    still = one(three_seeds, "trend", lineage="human", seed=0)
    assert (still.p, still.value) == (1.0, 0.0)
    assert "not shown to have fallen" in still.sentence
    assert "would be shown in 4 of 5" in still.sentence


def test_an_item_counts_once_over_its_formats(three_seeds: list[Finding]) -> None:
    by_format = named(three_seeds, "trend_by_format", lineage="arm", seed=1)
    pooled = one(three_seeds, "trend", lineage="arm", seed=1)
    assert pooled.value == pytest.approx(np.mean([f.value for f in by_format]), abs=1e-12)


@pytest.mark.parametrize("name", ["trend_by_format", "trend_by_domain", "change_point"])
def test_families_are_corrected(three_seeds: list[Finding], name: str) -> None:
    family = named(three_seeds, name, lineage="arm", seed=0)
    assert len(family) == 2
    assert [f.extra["p_holm"] for f in family] == pytest.approx(holm([f.p for f in family]).tolist())
    assert all("(Holm)" in f.sentence for f in family)


def test_a_domain_that_is_lost_is_named() -> None:
    lost, kept = table(SLOW), table(FLAT)
    both = pd.concat([lost[lost["domain"] == "geo"], kept[kept["domain"] == "chem"]])
    found = trends.findings(study(both))
    assert one(found, "trend_by_domain", domain="geo").extra["shown"]
    assert not one(found, "trend_by_domain", domain="chem").extra["shown"]
    assert one(found, "trend_by_domain", domain="geo").n == 60


def test_recipe_speaks_of_training_runs(three_seeds: list[Finding]) -> None:
    recipe = one(three_seeds, "recipe_trend", format="")
    assert (recipe.estimand, recipe.lineage, recipe.seed, recipe.n, recipe.units) == ("recipe", "arm", None, 3, "seeds")
    slopes = [one(three_seeds, "trend", lineage="arm", seed=s).value for s in range(3)]
    assert [row["arm"] for row in recipe.extra["by_seed"]] == pytest.approx(slopes)
    assert recipe.value == pytest.approx(np.mean(slopes), abs=1e-12)
    assert recipe.sentence.startswith("Exploratory, 3 seeds: training like arm appears to make models fall")
    assert "3 seeds show a fall of" in recipe.sentence
    assert {f.format for f in named(three_seeds, "recipe_trend")} == {"", *planted.FORMATS}
    assert not named(three_seeds, "recipe_trend", lineage="human")


def test_five_seeds_confirm() -> None:
    made = [
        table(curve, lineage, seed, rng=seed, items=60, formats=("open_ended",), generations=range(4))
        for seed in range(5)
        for lineage, curve in (("arm", SLOW), ("human", FLAT))
    ]
    recipe = one(trends.findings(study(*made, controls={"arm": "human"})), "recipe_trend")
    assert recipe.sentence.startswith("Training like arm makes models fall (open_ended): arm minus control (human)")
    assert not recipe.extra["exploratory"]


def test_one_seed_uses_only_the_checkpoints() -> None:
    found = trends.findings(study(table(SLOW), table(FLAT, "human"), controls={"arm": "human"}))
    recipe = one(found, "recipe_trend", format="")
    assert (recipe.low, recipe.p, recipe.n) == (None, None, 1)
    assert "one training run" in recipe.reason
    assert "cannot be said" in recipe.sentence
    over = one(found, "trend_over_control")
    assert over.estimand == "checkpoints"
    assert over.sentence.startswith("These checkpoints fell faster than the control's (arm against human, seed 0)")
    assert over.value == pytest.approx(one(found, "trend", lineage="arm").value, abs=1e-12)


def test_without_a_control_nothing_is_said_of_the_recipe() -> None:
    found = trends.findings(study(table(SLOW)))
    assert "plain forgetting is not excluded" in one(found, "recipe_trend").sentence
    other = trends.findings(study(table(SLOW, seed=1), table(FLAT, "human", seed=2), controls={"arm": "human"}))
    recipe = one(other, "recipe_trend", format="", lineage="arm")
    assert recipe.n == 0
    assert recipe.extra["unpaired_seeds"] == [1]


def test_arm_and_control_are_paired_on_what_both_were_asked() -> None:
    """A control that stops early, and misses the items that fall, is compared where both are."""
    arm = table(STEP, formats=("open_ended",))
    control = table(STEP, formats=("open_ended",), generations=range(4)).assign(lineage="human")
    control = control[control["item"] < "item-0100"]
    found = trends.findings(study(arm, control, controls={"arm": "human"}))
    recipe = one(found, "recipe_trend")
    assert recipe.extra["by_seed"][0]["generations"] == [0, 1, 2, 3]
    assert recipe.value == pytest.approx(0.0, abs=1e-12)


def test_when_a_step_was_taken() -> None:
    found = trends.findings(study(table(STEP)))
    for format in planted.FORMATS:
        step = one(found, "change_point", format=format)
        assert (step.value, step.low, step.high, step.unit) == (3.0, 3.0, 3.0, "generation")
        assert "drops at generation 3" in step.sentence
        lower = one(found, "generations_lower", format=format)
        assert lower.extra["shown"] == [3, 4, 5, 6]
        assert "generations 3 to 6" in lower.sentence
        rows = lower.extra["generations"]
        assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p"] for row in rows]).tolist())
        assert rows[-1]["mcnemar_mid_p"] == mcnemar_mid_p(rows[-1]["lost"], rows[-1]["gained"])


def test_a_slow_fall_is_no_step_and_no_change_has_no_when() -> None:
    slow = one(trends.findings(study(table(planted.falling(0.9, 0.06)))), "change_point", format="open_ended")
    assert (slow.value, slow.reason) == (None, "no single step fits")
    assert slow.extra["shown"]
    flat = trends.findings(study(table(FLAT)))
    assert one(flat, "change_point", format="open_ended").reason == "no drop is shown"
    assert "In no generation" in one(flat, "generations_lower", format="open_ended").sentence


def test_probes_are_skipped() -> None:
    probe = table(SLOW, formats=("cue_recovery",))
    found = trends.findings(study(table(FLAT), probe))
    assert [asdict(f) for f in found] == [asdict(f) for f in trends.findings(study(table(FLAT)))]
    assert trends.findings(study(probe)) == []


def test_order_names_and_a_twin_change_nothing() -> None:
    made = table(planted.falling(0.9, 0.01), items=60, wordings=2)
    made.loc[::7, "choice_correct"] = ~made.loc[::7, "choice_correct"].astype(bool)
    names = {name: f"q{i:04d}" for i, name in enumerate(sorted(set(made["item"]), reverse=True))}
    renamed = made.assign(item=made["item"].map(names), entity="e" + made["entity"].str[::-1])
    twin = made.assign(lineage="twin")
    first = trends.findings(study(made))
    for other in (study(made.sample(frac=1.0, random_state=1)), study(renamed), study(made, twin)):
        found = [f for f in trends.findings(other) if f.lineage == "arm"]
        assert [f.sentence for f in found] == [f.sentence for f in first]
        for a, b in zip(found, first, strict=True):
            assert a.p == pytest.approx(b.p, abs=1e-9)
            assert a.value == pytest.approx(b.value, abs=1e-9)


def degenerate(case: str) -> pd.DataFrame:
    made = table(SLOW, items=30, generations=range(3))
    match case:
        case "all right":
            return made.assign(choice_correct=True, outcome="correct")
        case "all wrong":
            return made.assign(choice_correct=False, outcome="wrong")
        case "one item":
            return made[made["item"] == "item-0000"]
        case "one cluster":
            return made.assign(entity="same")
        case "one generation":
            return made[made["generation"] == 0]
        case "no start":
            return made[made["generation"] > 0]
        case "free only":
            return made.drop(columns=["choice_correct", "choice", "gold", "domain", "entity"])
        case "never parseable":
            return made.drop(columns="choice_correct").assign(outcome="unparseable")
        case "disjoint items":
            return made.assign(item=made["item"] + made["generation"].astype(str))
        case _:
            return made.iloc[:0]


@pytest.mark.parametrize(
    "case",
    [
        "all right", "all wrong", "one item", "one cluster", "one generation", "no start", "free only",
        "never parseable", "disjoint items", "nothing",
    ],
)  # fmt: skip
def test_degenerate_evidence_has_a_defined_answer(case: str) -> None:
    found = trends.findings(study(degenerate(case)))
    assert (case == "nothing") == (not found)
    for finding in found:
        numbers = [finding.value, finding.low, finding.high, finding.p]
        assert all(x is None or np.isfinite(x) for x in numbers)
        assert finding.sentence.endswith(".")
        assert finding.p is not None or finding.reason
        assert "nan" not in finding.sentence
        assert "None" not in finding.sentence
    if case in ("all right", "all wrong"):
        assert one(found, "trend").p == 1.0

"""Calibration over generations on planted evidence: what is planted is found, what is not there is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from factfade.analysis.calibration import findings
from factfade.analysis.study import study_of
from factfade.verdicts import Finding
from tests import planted
from tests.planted import World

NAMES = ["brier_change", "auroc_change", "overconfidence", "newly_wrong_confidence"]


def table(*, items: int = 400, generations: int = 4, calm: bool = True, rng: int = 0) -> pd.DataFrame:
    """Calibrated at generation 0. Later generations lose the sixth of the items with the most confidence: with
    `calm` they say so (confidence .5 less), else they stay as sure as they were."""
    random = np.random.default_rng(rng)
    sure = random.uniform(0.3, 0.99, items)
    right = random.random(items) < sure
    lost = sure > np.quantile(sure, 5 / 6)
    rows = []
    for g in range(generations):
        confidence = np.where(lost & (g > 0) & calm, sure - 0.25, sure)
        rows.append(
            pd.DataFrame(
                {
                    "lineage": "arm",
                    "seed": 0,
                    "generation": g,
                    "item": [f"i{i:04d}" for i in range(items)],
                    "format": "f",
                    "wording": "",
                    "entity": [f"e{i // 2}" for i in range(items)],
                    "choice_correct": right & ~(lost & (g > 0)),
                    "choice_confidence": confidence,
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def by_name(evidence: pd.DataFrame) -> dict[str, Finding]:
    found = findings(study_of(evidence))
    assert all(f.analysis == "calibration" and f.estimand == "checkpoints" and f.sentence for f in found)
    return {f.name: f for f in found}


def test_confident_loss_is_found() -> None:
    found = by_name(table(calm=False))
    assert list(found) == NAMES
    brier = found["brier_change"]
    assert brier.low is not None
    assert brier.low > 0.05
    assert found["auroc_change"].high is not None
    assert found["auroc_change"].high < -0.05
    over = found["overconfidence"]
    assert over.low is not None
    assert over.low > 0.05
    assert over.extra["ece"]["p"] < 0.01
    assert (
        over.extra["ece_before"]["low_null"]
        <= over.extra["ece_before"]["value"]
        <= over.extra["ece_before"]["high_null"]
    )
    assert "above the band" in over.sentence
    new = found["newly_wrong_confidence"]
    assert new.value == pytest.approx(0.0, abs=1e-12)
    right = table().groupby("generation")["choice_correct"].sum()
    assert new.n == right[0] - right[1]


def test_newly_wrong_items_are_compared_with_themselves() -> None:
    """Their own confidence fell by .25, although they are surer than the others still."""
    new = by_name(table())["newly_wrong_confidence"]
    assert new.value == pytest.approx(-0.25)
    assert new.extra["before"] == pytest.approx(new.extra["after"] + 0.25)
    assert [row["generation"] for row in new.extra["by_generation"]] == [1, 2, 3]
    assert "-0.250" in new.sentence


def test_an_unchanged_model_changes_nothing() -> None:
    evidence = table(generations=1)
    found = by_name(pd.concat([evidence, evidence.assign(generation=1)], ignore_index=True))
    for name in ("brier_change", "auroc_change"):
        value, low, high = found[name].value, found[name].low, found[name].high
        assert value == pytest.approx(0.0, abs=1e-12)
        assert low is not None
        assert high is not None
        assert low <= 0 <= high
    assert found["newly_wrong_confidence"].value is None
    assert "10 independent ones are needed" in found["newly_wrong_confidence"].reason


def test_missing_parts_are_said_and_never_a_crash() -> None:
    evidence = table()
    for some, why in (
        (evidence[evidence["generation"] > 0], "generation 0 was not evaluated"),
        (evidence[evidence["generation"] == 0], "only generation 0"),
        (evidence.drop(columns="choice_confidence"), "no item has a confidence"),
        (evidence.assign(choice_confidence=np.nan), "no item has a confidence"),
        (evidence.assign(choice_confidence=1.5), "no item has a confidence"),
    ):
        found = by_name(some.reset_index(drop=True))
        assert list(found) == NAMES
        assert all(f.value is None and why in f.reason for f in found.values())
    right = by_name(evidence.assign(choice_correct=True))
    assert "all items are right" in right["auroc_change"].reason
    single = by_name(evidence[evidence["item"] == "i0000"].reset_index(drop=True))
    assert single["brier_change"].low is None
    assert single["brier_change"].reason
    assert findings(study_of(evidence.head(0))) == []


def test_probes_are_skipped() -> None:
    evidence = pd.concat([table(), table().assign(format="cue_recovery")], ignore_index=True)
    assert {f.format for f in findings(study_of(evidence))} == {"f"}


def test_neither_order_nor_names_nor_a_twin_change_anything() -> None:
    evidence = table()
    names = {name: f"x{(7919 * i) % 100_003}" for i, name in enumerate(sorted(set(evidence["item"])))}
    entities = {name: f"y{(7919 * i) % 100_003}" for i, name in enumerate(sorted(set(evidence["entity"])))}
    other = evidence.assign(item=evidence["item"].map(names), entity=evidence["entity"].map(entities))
    other = pd.concat([other, other.assign(lineage="twin")], ignore_index=True).sample(frac=1, random_state=1)
    found = findings(study_of(other.reset_index(drop=True)))
    twins = [[f for f in found if f.lineage == lineage] for lineage in ("arm", "twin")]
    for mine, twin, first in zip(*twins, findings(study_of(evidence)), strict=True):
        assert replace(mine, lineage="twin") == twin
        for a, b in ((mine.value, first.value), (mine.low, first.low), (mine.high, first.high)):
            assert a == pytest.approx(b, abs=1e-9)
        assert mine.sentence == first.sentence


def test_free_answers_are_judged_by_their_own_confidence() -> None:
    evidence = planted.evidence(World(), items=60, generations=(0, 1)).assign(choice_correct=None)
    found = by_name(evidence)
    assert found["brier_change"].n > 40
    assert found["brier_change"].extra["before"] < 0.3

"""The calibration metric on planted tables: twins, counts, reasons, the null band."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factfade.metrics.calibration import CALIBRATION, Calibration
from factfade.verdicts import Score

EMPTY = pd.DataFrame()


def table(n: int = 200, *, rng: int = 0, **columns: object) -> pd.DataFrame:
    """Calibrated choices, overconfident free answers of which every tenth is unparseable."""
    random = np.random.default_rng(rng)
    sure = random.beta(4, 2, n)
    outcome = np.where(random.random(n) < 0.5, "correct", "wrong").astype(object)
    outcome[::10] = "unparseable"
    key = {"lineage": "arm", "seed": 0, "generation": 0, "format": "f", "wording": ""}
    made = pd.DataFrame(
        {
            **{k: [v] * n for k, v in key.items()},
            "item": [f"i{i}" for i in range(n)],
            "choice_correct": random.random(n) < sure,
            "choice_confidence": sure,
            "outcome": outcome,
            "answer_confidence": random.uniform(0.9, 1.0, n),
        }
    )
    return made.assign(**columns)


def scores(evidence: pd.DataFrame, domain: str = "") -> dict[str, Score]:
    rows = Calibration().scores(evidence, EMPTY, EMPTY)
    return {r.score.name: r.score for r in rows if r.domain == domain}


def test_choices_and_answers_have_the_same_scores() -> None:
    found = scores(table())
    assert set(found) == {p + name for p in ("", "answer_") for name in CALIBRATION}
    assert found["brier"].n == 200
    assert found["answer_brier"].n == 180
    for prefix in ("", "answer_"):
        value = {name: found[prefix + name].value or 0.0 for name in CALIBRATION}
        parts = value["brier_reliability"] - value["brier_resolution"] + value["brier_uncertainty"]
        assert value["brier"] == pytest.approx(parts + value["brier_within"], abs=1e-12)
        assert found[prefix + "auroc"].low is not None


@pytest.mark.parametrize("kind", ["ece", "ece_mass"])
def test_a_calibrated_one_lies_in_its_band_and_an_overconfident_one_above(kind: str) -> None:
    found = scores(table(400))
    error, null = found[kind], found[f"{kind}_null"]
    assert error.value is not None
    assert null.low is not None
    assert null.high is not None
    assert null.low <= error.value <= null.high
    assert (error.low, error.high) == (None, None)
    assert "ece_null" in error.reason or "ece_mass_null" in error.reason
    over, band = found[f"answer_{kind}"], found[f"answer_{kind}_null"]
    assert over.value is not None
    assert band.high is not None
    assert over.value > 5 * band.high


def test_one_class_has_a_brier_score_and_no_auroc() -> None:
    found = scores(table(choice_correct=True))
    assert found["brier"].value is not None
    assert found["brier_uncertainty"].value == 0.0
    assert found["auroc"].value is None
    assert found["auroc"].reason == "all are right, or all are wrong"


def test_what_is_missing_is_said() -> None:
    found = scores(table().drop(columns="choice_confidence"))
    assert found["brier"].reason == "the table has no column choice_confidence"
    assert found["answer_brier"].value is not None
    assert scores(table(choice_confidence=np.nan))["ece"].reason == "none has a confidence from 0 to 1"
    assert scores(table(choice_confidence=7.0))["ece"].reason == "none has a confidence from 0 to 1"
    unasked = scores(table(outcome="not_asked"))
    assert unasked["brier"].value is None
    one = scores(table(1, outcome="correct"))
    assert one["brier"].value is not None
    assert one["brier"].low is None


def test_wordings_of_an_item_widen_the_interval_and_the_band() -> None:
    single = table(100)
    twice = pd.concat([single.assign(wording=w) for w in "abcd"], ignore_index=True)
    one, four = scores(single), scores(twice)
    for name in ("brier", "auroc", "ece_mass_null"):
        assert four[name].low is not None
        assert one[name].low is not None
        width = [(f.high or 0.0) - (f.low or 0.0) for f in (one[name], four[name])]
        assert width[1] > 0.75 * width[0], name

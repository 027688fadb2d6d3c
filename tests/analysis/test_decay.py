"""Decay in words: a planted floor, a line, nothing, a step, and too little to fit."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from factfade.analysis import decay, study_of
from factfade.verdicts import Finding
from tests import planted


def only(right: planted.Curve, generations: range = range(9), **settings: object) -> Finding:
    world = planted.World(right=right)
    made = planted.evidence(
        world,
        **{"items": 300, "generations": generations, "formats": ("multiple_choice",), **settings},  # type: ignore[arg-type]
    )
    (found,) = decay.findings(study_of(made))
    return found


def test_a_planted_floor() -> None:
    found = only(lambda g: 0.3 + 0.6 * math.exp(-0.5 * g))
    assert found.extra["preferred"] == "exponential"
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high
    floor = found.extra["exponential"]["floor"]
    assert floor["low"] < 0.3 < floor["high"]
    assert "to a floor of" in found.sentence
    assert "half of the way in" in found.sentence
    assert (found.estimand, found.n) == ("checkpoints", 300)


def test_a_straight_line() -> None:
    found = only(planted.falling(0.95, 0.06))
    assert found.extra["preferred"] == "linear"
    assert found.extra["linear"]["slope"]["low"] < -0.06 < found.extra["linear"]["slope"]["high"]
    assert "straight line" in found.sentence


def test_no_decay() -> None:
    found = only(planted.flat(0.8))
    assert "not shown to fall" in found.sentence
    assert found.low == 0.0
    rising = only(lambda g: 0.3 + 0.05 * g)
    assert "rises" in rising.sentence


def test_a_single_step_has_no_largest_rate() -> None:
    found = only(lambda g: 0.9 if g == 0 else 0.5)
    assert found.unbounded
    assert found.high is None
    assert "(0 to " in found.sentence


def test_scatter_beyond_items_is_said() -> None:
    """A curve that jumps up and down by more than items explain: the intervals are called too narrow."""
    found = only(lambda g: 0.9 - 0.04 * g - (0.15 if g % 2 else 0.0))
    assert "too narrow" in found.sentence


def test_too_little() -> None:
    short = only(planted.falling(0.9, 0.1), range(3))
    assert short.value is None
    assert "4 generations" in short.reason
    assert "No decay curve is fitted" in short.sentence
    few = only(planted.falling(0.9, 0.1), items=10)
    assert "clusters" in few.reason
    four = only(lambda g: 0.3 + 0.6 * math.exp(-0.7 * g), range(4))
    assert "too few to choose" in four.sentence


def test_order_of_rows_changes_nothing() -> None:
    made = planted.evidence(planted.World(right=planted.falling(0.9, 0.05)), items=80)
    first = decay.findings(study_of(made))
    assert decay.findings(study_of(made.sample(frac=1.0, random_state=3))) == first
    assert {f.format for f in first} == set(planted.FORMATS)


def test_all_wrong_and_all_right_and_nothing() -> None:
    for curve in (planted.flat(0.0), planted.flat(1.0)):
        found = only(curve)
        assert "not shown to fall" in found.sentence
        assert np.isfinite(found.extra["linear"]["slope"]["low"])
    empty = planted.evidence(planted.World(), items=20).assign(choice_correct=None, outcome="not_asked")
    assert all(f.reason for f in decay.findings(study_of(empty)))
    assert decay.findings(study_of(pd.DataFrame(empty.iloc[:0]))) == []

"""Runs as the unit: paired t over seeds, and what few seeds can show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps
from statsmodels.stats.power import TTestPower

from factfade.stats import seeds


def test_recipe_is_the_paired_t_of_scipy() -> None:
    arm, control = np.array([-0.03, -0.02, -0.025, -0.04, -0.01]), np.array([-0.01, 0.0, -0.02, -0.01, 0.005])
    found = seeds.recipe_trend(arm, control, level=0.9)
    test = sps.ttest_rel(arm, control, alternative="less")
    both = sps.ttest_rel(arm, control).confidence_interval(0.9)
    assert found.p == pytest.approx(test.pvalue, abs=1e-9)
    assert (found.interval.low, found.interval.high) == pytest.approx((both.low, both.high), abs=1e-9)
    assert (found.seeds, found.exploratory, found.reason) == (5, False, "")
    dropped = seeds.recipe_trend([*arm, np.nan, 1.0], [*control, 1.0, np.nan])
    assert dropped.interval == found.interval


def test_one_seed_is_undetermined_and_few_explore() -> None:
    one = seeds.recipe_trend([-0.5], [0.0])
    assert (one.interval.value, one.interval.low, one.p) == (-0.5, None, None)
    assert "one training run" in one.reason
    none = seeds.recipe_trend([], [])
    assert (none.interval.value, none.p, none.seeds) == (None, None, 0)
    assert seeds.recipe_trend([-0.1, -0.2, -0.3, -0.2], [0, 0, 0, 0]).exploratory
    with pytest.raises(ValueError, match="one summary per seed"):
        seeds.recipe_trend([1.0], [1.0, 2.0])


def test_seeds_that_agree_to_the_last_digit() -> None:
    same = seeds.recipe_trend([-0.1, -0.1, -0.1], [0.2, 0.2, 0.2])
    assert (same.p, same.interval.low) == (0.125, None)
    assert same.interval.value == pytest.approx(-0.3)
    assert "last digit" in same.reason
    assert seeds.recipe_trend([0.1, 0.1], [0.1, 0.1]).p == 1.0
    assert seeds.recipe_trend([0.3, 0.3], [0.1, 0.1]).p == 1.0
    assert seeds.recipe_trend([0.0, 0.0], [0.0, 0.0]).p == 1.0


@given(st.floats(0, 6), st.integers(2, 60))
def test_power_is_that_of_statsmodels(effect: float, units: int) -> None:
    expected = TTestPower().power(effect, units, 0.05, alternative="larger")
    if np.isnan(expected):  # Far out, where statsmodels gives up.
        expected = 1.0
    assert seeds.power_of_units(effect, units, 1.0) == pytest.approx(expected, abs=1e-7)


def test_what_few_seeds_can_show() -> None:
    """With 5 seeds 1.36 of the spread between seeds, with 3 seeds 2.30 of it."""
    for units in (2, 3, 5, 10, 400):
        effect = seeds.detectable_with_seeds(units, 0.01)
        expected = TTestPower().solve_power(None, units, 0.05, 0.8, alternative="larger")
        assert effect / 0.01 == pytest.approx(float(expected), rel=1e-5)
        assert seeds.seeds_for(effect, 0.01) == units
        assert seeds.seeds_for(-effect * 0.999, 0.01) == units + 1
    assert seeds.detectable_with_seeds(3, 0.0) == 0.0
    assert seeds.seeds_for(0.0, 1.0) is None
    assert seeds.seeds_for(1e-6, 1.0) is None
    assert seeds.seeds_for(1.0, 0.0) == 2
    assert seeds.power_of_units(1e6, 5, 1.0) == pytest.approx(1.0)


def test_power_is_what_a_simulation_finds() -> None:
    random = np.random.default_rng(0)
    draws = random.normal(-1.0, 1.0, (4000, 5))
    t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / np.sqrt(5))
    found = float(np.mean(sps.t.cdf(t, 4) <= 0.05))
    assert seeds.power_of_units(1.0, 5, 1.0) == pytest.approx(found, abs=0.025)


@pytest.mark.parametrize("wrong", [{"units": 1}, {"sd": -1.0}, {"alpha": 0.7}, {"effect": -1.0}])
def test_wrong_questions(wrong: dict[str, float]) -> None:
    asked: dict[str, float] = {"effect": 1.0, "units": 5, "sd": 1.0, "alpha": 0.05, **wrong}
    with pytest.raises(ValueError, match=r"."):
        seeds.power_of_units(asked["effect"], int(asked["units"]), asked["sd"], alpha=asked["alpha"])

"""Power: the published table, simulation, and consistency of the inverses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.stats import paired, power

# Detectable drop in points at 80% power, two-sided 5%, 20% of items changing.
TABLE = {100: 12.1, 200: 8.7, 500: 5.6, 1000: 3.9, 2000: 2.8, 5000: 1.8}


@pytest.mark.parametrize(("n", "points"), TABLE.items())
def test_the_table(n: int, points: float) -> None:
    drop = power.detectable_drop(n, 0.2)
    assert drop is not None
    assert 100 * drop == pytest.approx(points, abs=0.3)
    # The asymptotic and the mid-p test have that power, the exact one less.
    assert power.power_paired(n, 0.2, drop) == pytest.approx(0.80, abs=0.03)
    assert power.power_paired(n, 0.2, drop, test="mid_p") == pytest.approx(0.80, abs=0.03)
    assert 0.73 <= power.power_paired(n, 0.2, drop, test="exact") <= 0.80


@given(st.integers(30, 5000), st.floats(0.02, 1.0))
def test_items_for_drop_inverts_detectable_drop(n: int, churn: float) -> None:
    drop = power.detectable_drop(n, churn)
    if drop is not None:
        assert abs(power.items_for_drop(drop, churn) - n) <= 1


def test_a_sample_too_small_for_its_churn_detects_nothing() -> None:
    assert power.detectable_drop(10, 0.05) is None


@pytest.mark.parametrize("test", ["asymptotic", "exact", "mid_p"])
def test_power_by_simulation(test: power.Test) -> None:
    random = np.random.default_rng(6)
    tables = random.multinomial(150, [0.15, 0.05, 0.8], size=2000)
    p_value = {"asymptotic": paired.mcnemar_asymptotic, "exact": paired.mcnemar_exact, "mid_p": paired.mcnemar_mid_p}[
        test
    ]
    rejected = np.mean([p_value(int(b), int(c)) <= 0.05 for b, c, _ in tables])
    assert power.power_paired(150, 0.2, 0.1, test=test) == pytest.approx(rejected, abs=0.03)


def test_size_of_the_tests_under_no_loss() -> None:
    assert power.power_paired(200, 0.2, 0.0, test="exact") <= 0.05
    assert power.power_paired(200, 0.2, 0.0, test="mid_p") == pytest.approx(0.05, abs=0.01)


def test_items_for_margin_settles_four_in_five() -> None:
    """Normal losses 0.02 from a margin of 0.05: the planned n clears it in 80% of samples."""
    needed = power.items_for_margin(0.02, 0.4)
    assert needed is not None
    random = np.random.default_rng(9)
    samples = 0.07 + 0.4 * random.standard_normal((1000, needed))
    lower = samples.mean(axis=1) - 1.645 * samples.std(axis=1, ddof=1) / np.sqrt(needed)
    assert np.mean(lower > 0.05) == pytest.approx(0.80, abs=0.04)


def test_degenerate_plans() -> None:
    assert power.items_for_margin(0.0, 0.3) is None
    assert power.items_for_margin(0.5, 0.0) == 2
    with pytest.raises(ValueError, match="churn"):
        power.items_for_drop(0.3, 0.2)
    with pytest.raises(ValueError, match="churn"):
        power.detectable_drop(0, 0.2)
    with pytest.raises(ValueError, match="sides"):
        power.detectable_drop(10, 0.2, sides=3)

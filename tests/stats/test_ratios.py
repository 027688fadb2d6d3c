"""Slopes and Fieller's set: statsmodels, brute-force inversion, coverage, the shapes that a bootstrap cannot say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps

from factfade.stats import intervals, ratios
from factfade.stats.trend import items_trend, largest_slope

DF = st.sampled_from([1, 4, 30, math.inf])
SMALL = st.floats(-3, 3, allow_nan=False).map(lambda x: round(x, 3))


def test_textbook_form() -> None:
    """Fieller's formula as printed, with g = t^2 v22 / b2^2 (Finney 1978, Statistical Method in Biological Assay)."""
    b1, b2, v11, v12, v22, df = 2.1, 1.4, 0.09, 0.02, 0.04, 12
    t = sps.t.ppf(0.975, df)
    g, r = t * t * v22 / b2**2, b1 / b2
    half = t / b2 * math.sqrt(v11 - 2 * r * v12 + r * r * v22 - g * (v11 - v12**2 / v22))
    middle = r - g * v12 / v22
    found = ratios.fieller(b1, b2, [[v11, v12], [v12, v22]], df)
    assert found.shape == "bounded"
    assert (found.low, found.high) == pytest.approx(((middle - half) / (1 - g), (middle + half) / (1 - g)), abs=1e-9)


@given(
    SMALL, SMALL, st.floats(0.05, 2), st.floats(0.05, 2), st.floats(-0.95, 0.95), st.sampled_from([1, 4, 30, math.inf])
)
def test_the_set_is_what_the_test_does_not_reject(
    b1: float, b2: float, s1: float, s2: float, r: float, df: float
) -> None:
    v12 = r * s1 * s2
    found = ratios.fieller(b1, b2, [[s1 * s1, v12], [v12, s2 * s2]], df)
    t = sps.t.ppf(0.975, df)
    grid = np.concatenate([np.linspace(-20, 20, 401), [-1e7, -1e3, 1e3, 1e7]])
    excess = (b1 - grid * b2) ** 2 - t * t * (s1 * s1 - 2 * grid * v12 + grid**2 * s2 * s2)
    clear = np.abs(excess) > 1e-6 * (1 + grid**2)
    assert all(found.holds(float(rho)) == (e <= 0) for rho, e in zip(grid[clear], excess[clear], strict=True))
    if found.value is not None and abs(b2) > 1e-6:
        assert found.holds(found.value)
    assert (found.shape == "bounded") == (b2 * b2 > t * t * s2 * s2) or b2 * b2 == pytest.approx(t * t * s2 * s2)


@given(SMALL.filter(bool), SMALL.filter(bool), st.floats(0.1, 2), st.floats(0.1, 2), st.floats(-0.9, 0.9))
def test_swapping_the_arms_inverts_the_set(b1: float, b2: float, s1: float, s2: float, r: float) -> None:
    v12 = r * s1 * s2
    one = ratios.fieller(b1, b2, [[s1 * s1, v12], [v12, s2 * s2]], 9)
    two = ratios.fieller(b2, b1, [[s2 * s2, v12], [v12, s1 * s1]], 9)
    edges = [e for e in (one.low, one.high) if e]
    for rho in (-7.3, -1.01, -0.13, 0.07, 0.9, 2.3, 11.0):
        if all(abs(rho - e) > 1e-6 * abs(e) for e in edges):
            assert one.holds(rho) == two.holds(1 / rho)


def test_three_shapes() -> None:
    assert ratios.fieller(1, 2, [[0.1, 0], [0, 0.1]], math.inf).shape == "bounded"
    outside = ratios.fieller(3, 0.1, [[0.1, 0], [0, 0.1]], math.inf)
    assert outside.shape == "outside"
    assert outside.low is not None
    assert outside.high is not None
    assert outside.low < 0 < outside.high
    assert not outside.holds(0.0)
    assert outside.holds(30.0)
    nothing = ratios.fieller(0.1, 0.1, [[1, 0], [0, 1]], math.inf)
    assert (nothing.shape, nothing.low, nothing.high) == ("unbounded", None, None)
    assert nothing.holds(-1e9)


def test_fifteen_times_has_no_finite_interval() -> None:
    """The published slopes -0.00837 and -0.00054, with the standard error that 100 items allow (about 0.003)."""
    found = ratios.fieller(-0.00837, -0.00054, np.eye(2) * 0.003**2, 99)
    assert found.value == pytest.approx(15.5)
    assert found.shape == "outside"
    assert found.holds(15.5)
    assert found.holds(1e6)
    assert found.holds(-15.5)


def test_degenerate() -> None:
    assert ratios.fieller(0, 0, np.zeros((2, 2)), 5).shape == "unbounded"
    assert ratios.fieller(1, 0, np.zeros((2, 2)), 5).value is None
    assert ratios.fieller_of_pairs([1.0], [2.0]) is None
    t2 = sps.t.ppf(0.975, 5) ** 2
    ray = ratios.fieller(3.0, 1.0, [[0.1, 0.0], [0.0, 1 / t2]], 5)
    assert ray.holds(3.0)
    assert ray.holds(1e3)
    with pytest.raises(ValueError, match="2 x 2"):
        ratios.fieller(1, 1, [1.0], 5)
    with pytest.raises(ValueError, match="positive"):
        ratios.fieller(1, 1, np.eye(2), 0)


def test_coverage_of_pairs() -> None:
    """Five paired seeds: the set holds the true ratio in 95% of samples, whatever the denominator."""
    random = np.random.default_rng(5)
    shock = random.normal(size=(3000, 5))
    for b2 in (-2.0, -0.3):
        first = -3.0 + shock + 0.7 * random.normal(size=shock.shape)
        second = b2 + shock + 0.4 * random.normal(size=shock.shape)
        held = [
            found is not None and found.holds(-3.0 / b2)
            for found in (ratios.fieller_of_pairs(a, b) for a, b in zip(first, second, strict=True))
        ]
        assert 0.935 < np.mean(held) < 0.965


def test_slope_is_the_dummy_regression() -> None:
    """With holes: the coefficient of generation in a regression with one intercept per row."""
    random = np.random.default_rng(0)
    y = random.normal(size=(12, 6))
    y[random.random(y.shape) < 0.3] = np.nan
    y[0, 1:] = np.nan
    g = np.array([0, 1, 2, 4, 5, 8])
    numerators, weights = ratios.slope_parts(y, g)
    row, column = np.nonzero(~np.isnan(y))
    design = np.column_stack([g[column], row[:, None] == np.arange(12)])
    expected = sm.OLS(y[row, column], design.astype(float)).fit().params[0]
    assert ratios.joint_slopes([(numerators, weights)]).values[0] == pytest.approx(expected, abs=1e-9)
    assert weights[0] == 0.0


def test_covariance_is_cluster_robust() -> None:
    """Complete rows: the covariance of the two means of row slopes, as statsmodels' cluster-robust one."""
    random = np.random.default_rng(1)
    clusters = np.repeat(np.arange(30), 2)
    shock = random.normal(size=30)[clusters][:, None] * np.arange(7) / 7
    arms = [random.normal(size=(60, 7)) + shock, random.normal(size=(60, 7)) - 0.3 * shock]
    parts = [ratios.slope_parts(y, np.arange(7)) for y in arms]
    found = ratios.joint_slopes(parts, clusters)
    assert found.covariance is not None
    slopes = [n / w for n, w in parts]
    fit = sm.OLS(slopes[0], np.ones(60)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}, use_t=True
    )
    assert found.covariance[0, 0] == pytest.approx(fit.cov_params()[0, 0] * 30 / 29, abs=1e-12)
    # Polarisation: the covariance from the variance of the sum.
    both = ratios.joint_slopes([(parts[0][0] + parts[1][0], parts[0][1])], clusters)
    assert both.covariance is not None
    sum_of = found.covariance[0, 0] + found.covariance[1, 1] + 2 * found.covariance[0, 1]
    assert both.covariance[0, 0] == pytest.approx(sum_of, abs=1e-12)
    alone = intervals.ratio(*parts[0], clusters)
    shown = found.interval(0)
    assert (shown.value, shown.low, shown.high) == pytest.approx((alone.value, alone.low, alone.high), abs=1e-12)


def test_one_slope_is_that_of_the_trend() -> None:
    random = np.random.default_rng(9)
    y = (random.random((90, 6)) < 0.7).astype(float)
    y[random.random(y.shape) < 0.2] = np.nan
    for clusters in (np.arange(90), np.arange(90) // 3, np.arange(90) // 15):
        trend = items_trend(y, range(6), clusters, items=np.arange(90), level=0.95).interval
        made = ratios.joint_slopes([ratios.slope_parts(y, range(6))], clusters, step=largest_slope(range(6)))
        found = made.interval()
        assert (found.value, found.low, found.high) == pytest.approx((trend.value, trend.low, trend.high), abs=1e-12)


def test_order_of_rows_does_not_matter() -> None:
    random = np.random.default_rng(2)
    y, clusters = random.random((40, 5)), random.integers(0, 9, 40)
    order = random.permutation(40)
    one = ratios.joint_slopes([ratios.slope_parts(y, range(5))], clusters)
    two = ratios.joint_slopes([ratios.slope_parts(y[order], range(5))], clusters[order])
    assert one.values == pytest.approx(two.values, abs=1e-12)
    assert one.covariance == pytest.approx(two.covariance, abs=1e-12)


def test_nothing_changed_is_no_certainty() -> None:
    y = np.ones((200, 8))
    step = largest_slope(range(8))
    assert step == pytest.approx(8 / 42)
    shown = ratios.joint_slopes([ratios.slope_parts(y, range(8))], step=step).interval()
    assert shown.value == 0.0
    # About the slope of three items of 200 lost at the worst moment: the rule of three.
    assert shown.low is not None
    assert 2 < -shown.low / (step / 200) < 3.5
    found = ratios.joint_slopes([ratios.slope_parts(y, range(8))] * 2, step=step).ratio()
    assert found is not None
    assert found.shape == "unbounded"


def test_too_little_to_say() -> None:
    one = ratios.joint_slopes([ratios.slope_parts([[1.0, 0.0]], [0, 1])])
    assert one.values[0] == -1.0
    assert one.covariance is None
    assert one.interval().low is None
    single = ratios.joint_slopes([ratios.slope_parts([[1.0], [0.0]], [0])])
    assert math.isnan(single.values[0])
    assert single.interval().value is None
    assert single.n == 0
    assert ratios.joint_slopes([ratios.slope_parts(np.ones((3, 1)), [0])] * 2).ratio() is None
    with pytest.raises(ValueError, match="one number per generation"):
        ratios.slope_parts([[1.0]], [0, 1])


def test_mean_over_runs() -> None:
    x = [-0.02, -0.05, -0.03, -0.04]
    found = ratios.mean_over_runs(x, [0.0] * 4)
    expected = sps.ttest_1samp(x, 0.0).confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((-0.035, expected.low, expected.high), abs=1e-9)
    agreed = ratios.mean_over_runs([0.0, 0.0], [0.01**2, 0.01**2])
    assert agreed.high == pytest.approx(sps.t.ppf(0.975, 1) * 0.01 / math.sqrt(2))
    assert ratios.mean_over_runs([0.1], [0.0]).low is None
    assert ratios.mean_over_runs([], []).value is None


def test_coverage_of_shared_items() -> None:
    """0/1 items that both arms share, in pairs: the set holds the true ratio in about 95% of samples."""
    random = np.random.default_rng(7)
    g = np.arange(9)
    pairs = np.arange(160) // 2
    held = 0
    for _ in range(400):
        ease = 0.7 * random.normal(size=80)[pairs] + 0.5 * random.normal(size=160)
        arms = []
        for fall in (0.05, 0.02):
            luck = sps.norm.cdf((ease + 0.51 * random.normal(size=160))[:, None])
            arms.append(ratios.slope_parts((luck < 0.9 - fall * g).astype(float), g))
        found = ratios.joint_slopes(arms, pairs, step=largest_slope(g)).ratio()
        held += found is not None and found.holds(2.5)
    assert 0.92 <= held / 400 <= 0.98

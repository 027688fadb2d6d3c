"""The trend of one lineage: against statsmodels, degenerate input, gaps, and what it holds on unchanged models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from factfade.stats import trend
from factfade.stats.intervals import Floats

G = np.arange(11)


def unchanged(items: int, random: np.random.Generator, *, walk: float = 0.0, per: int = 1) -> Floats:
    """Independent flips: every item has a chance of its own, the same in every generation (but for a shared walk)."""
    chance = np.repeat(random.beta(2, 1, (items // per, 1)), per, axis=0)
    steps = np.concatenate([[0.0], np.cumsum(random.normal(0.0, walk, len(G) - 1))])
    odds = np.log(chance / (1 - chance)) + steps
    return (random.random((items, len(G))) < 1 / (1 + np.exp(-odds))).astype(float)


def chain(items: int, random: np.random.Generator, *, flips: float = 0.09, right: float = 0.6) -> Floats:
    """Persistent flips: a stationary right/wrong chain in which a share `flips` changes each generation."""
    out = np.empty((items, len(G)))
    out[:, 0] = random.random(items) < right
    for j in range(1, len(G)):
        leave = np.where(out[:, j - 1] == 1, flips / 2 / right, flips / 2 / (1 - right))
        out[:, j] = np.where(random.random(items) < leave, 1 - out[:, j - 1], out[:, j - 1])
    return out


def test_slope_of_one_row_is_least_squares() -> None:
    g, y = np.array([0.0, 1, 3, 4]), np.array([1.0, 0, 1, 0])
    slopes, squares = trend.row_slopes([y, [1, np.nan, np.nan, 0], [np.nan, np.nan, np.nan, 1]], g)
    assert slopes[0] == pytest.approx(sps.linregress(g, y).slope, abs=1e-12)
    assert slopes[1] == -0.25
    assert np.isnan(slopes[2])
    assert squares.tolist() == [10.0, 8.0, 0.0]


def test_complete_data_is_the_t_test_of_the_slopes() -> None:
    y = unchanged(60, np.random.default_rng(1))
    slopes = [sps.linregress(G, row).slope for row in y]
    found = trend.items_trend(y, G, level=0.9)
    test = sps.ttest_1samp(slopes, 0.0, alternative="less")
    both = sps.ttest_1samp(slopes, 0.0).confidence_interval(0.9)
    assert found.p == pytest.approx(test.pvalue, abs=1e-9)
    assert found.interval.value == pytest.approx(np.mean(slopes), abs=1e-12)
    assert (found.interval.low, found.interval.high) == pytest.approx((both.low, both.high), abs=1e-9)
    assert (found.df, found.interval.n, found.gaps, found.unused) == (59, 60, 0, 0)


def test_gaps_and_clusters_are_the_regression_with_an_intercept_per_item() -> None:
    """statsmodels: least squares with item intercepts, cluster-robust, without its factor for the intercepts."""
    random = np.random.default_rng(2)
    y = unchanged(90, random)
    y[random.random(y.shape) < 0.3] = np.nan
    y[0, 1:] = np.nan
    clusters = np.arange(90) // 3
    found = trend.items_trend(y, G, clusters, level=0.95)
    long = pd.DataFrame({"y": y.ravel(), "g": np.tile(G, 90), "i": np.repeat(np.arange(90), 11)}).dropna()
    long = long[long["i"] != 0]
    fit = smf.ols("y ~ g + C(i)", long).fit()
    robust = fit.get_robustcov_results("cluster", groups=long["i"] // 3, use_correction=False)
    at = fit.model.exog_names.index("g")
    error = robust.bse[at] * np.sqrt(30 / 29)
    assert found.interval.value == pytest.approx(robust.params[at], abs=1e-9)
    assert found.interval.deviation / np.sqrt(30) == pytest.approx(error, abs=1e-9)
    assert found.p == pytest.approx(sps.t.cdf(robust.params[at] / error, 29), abs=1e-9)
    assert found.unused == 1
    assert found.gaps == int(np.isnan(y[1:]).sum())
    assert found.interval.method == "t of the mean slope, cluster-robust"


def test_rows_of_one_item_count_once() -> None:
    y = unchanged(40, np.random.default_rng(3))
    alone = trend.items_trend(y, G)
    twice = trend.items_trend(np.vstack([y, y]), G, items=np.tile(np.arange(40), 2))
    assert twice.interval == alone.interval
    assert twice.p == alone.p
    # An item asked in two formats weighs what an item asked in one does.
    other = 1 - y[:10]
    found = trend.items_trend(np.vstack([y, other]), G, items=np.concatenate([np.arange(40), np.arange(10)]))
    slopes = trend.row_slopes(y, G)[0]
    assert found.interval.value == pytest.approx(slopes[10:].sum() / 40, abs=1e-12)
    assert found.interval.n == 40


@pytest.mark.parametrize(
    ("start", "end", "p", "sign"), [(1, 1, 1.0, 0), (0, 0, 1.0, 0), (1, 0, 2.0**-30, -1), (0, 1, 1.0, 1)]
)
def test_slopes_that_are_all_equal(start: int, end: int, p: float, sign: int) -> None:
    y = np.where(np.arange(5)[None] < 2, float(start), float(end)).repeat(30, axis=0)
    found = trend.items_trend(y, np.arange(5))
    assert found.p == pytest.approx(p, rel=1e-9)
    assert np.sign(found.interval.value) == sign
    assert found.interval.low < found.interval.value < found.interval.high


def test_few_items_that_changed_are_no_proof() -> None:
    """Three lost of 400 have t = sqrt(3), p = .042; their three signs alone have p = 1/8."""
    y = np.ones((400, 5))
    y[:3, 2:] = 0
    found = trend.items_trend(y, np.arange(5))
    t = found.interval.value / (found.interval.deviation / 20)
    assert sps.t.cdf(t, 399) < 0.05
    assert found.p == 0.125
    assert found.changed == 3


def test_too_little_to_say() -> None:
    nothing = trend.items_trend(np.full((3, 4), np.nan), np.arange(4))
    assert (nothing.interval.value, nothing.p, nothing.unused) == (None, None, 3)
    assert "two generations" in nothing.reason
    assert trend.items_trend(np.ones((5, 1)), [0]).p is None
    assert trend.items_trend(np.zeros((0, 3)), [0, 1, 2]).interval.value is None
    one = trend.items_trend([[1.0, 0.0]], [0, 1])
    assert (one.interval.value, one.interval.low, one.p) == (-1.0, None, None)
    cluster = trend.items_trend(unchanged(50, np.random.default_rng(0)), G, np.zeros(50))
    assert cluster.p is None
    assert "one cluster" in cluster.reason
    lopsided = trend.items_trend(unchanged(50, np.random.default_rng(0)), G, np.arange(50) > 48)
    assert lopsided.p is None
    with pytest.raises(ValueError, match="one number per generation"):
        trend.items_trend(np.ones((2, 3)), [0, 1])


def test_few_or_lopsided_clusters_widen_the_interval() -> None:
    y = unchanged(120, np.random.default_rng(4))
    even = trend.items_trend(y, G, np.arange(120) % 10)
    assert even.df == pytest.approx(9.0)
    lopsided = trend.items_trend(y, G, np.where(np.arange(120) < 50, 0, np.arange(120) % 30))
    assert lopsided.df is not None
    assert lopsided.df < 6


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_order_names_and_direction(seed: int) -> None:
    random = np.random.default_rng(seed)
    y = unchanged(24, random)
    y[random.random(y.shape) < 0.2] = np.nan
    clusters = random.integers(0, 8, 24)
    found = trend.items_trend(y, G, clusters)
    order = random.permutation(24)
    again = trend.items_trend(y[order], G + 5, 100 - clusters[order])
    assert again.interval.value == pytest.approx(found.interval.value, abs=1e-12)
    assert again.p == pytest.approx(found.p, abs=1e-9)
    rising = trend.items_trend(1 - y, G, clusters)
    assert rising.interval.value == pytest.approx(-found.interval.value, abs=1e-12)
    if found.p is not None and found.p > 0.01 and found.changed == 8:
        assert rising.p == pytest.approx(1 - found.p, abs=1e-9)


def _alarms(make: object, runs: int, seed: int, per: int = 1) -> tuple[int, int, int]:
    """Runs in which the trend test, any of ten looks at 5%, and the 90% interval (missing 0) raise a false alarm."""
    random = np.random.default_rng(seed)
    found = [0, 0, 0]
    for _ in range(runs):
        y = make(random)  # type: ignore[operator]
        clusters = np.arange(len(y)) // per
        one = trend.items_trend(y, G, clusters)
        found[0] += one.p <= 0.05
        found[1] += any(trend.items_trend(y[:, [0, j]], [0, j], clusters).p <= 0.05 for j in range(1, 11))
        found[2] += not one.interval.low <= 0 <= one.interval.high
    return found[0], found[1], found[2]


def test_ten_looks_raise_five_times_the_alarms_of_one_trend() -> None:
    """An unchanged model, 300 items, 10 generations: about 24% against 5%."""
    one, looks, missed = _alarms(lambda random: unchanged(300, random), 500, 11)
    low, high = sps.binom.ppf([0.001, 0.999], 500, 0.05)
    assert low <= one <= high
    assert 0.19 <= looks / 500 <= 0.29
    assert 0.865 <= 1 - missed / 500 <= 0.935


@pytest.mark.parametrize("per", [1, 4])
def test_the_trend_holds_its_level_under_persistent_and_clustered_flips(per: int) -> None:
    def make(random: np.random.Generator) -> Floats:
        return np.repeat(chain(120, random), per, axis=0) if per > 1 else chain(300, random)

    random = np.random.default_rng(12)
    alarms = sum(
        trend.items_trend(y, G, np.arange(len(y)) // per).p <= 0.05 for y in (make(random) for _ in range(500))
    )
    low, high = sps.binom.ppf([0.001, 0.999], 500, 0.05)
    assert low <= alarms <= high


def test_a_walk_that_all_items_share_is_a_change_of_these_checkpoints() -> None:
    """A run-level random walk, sd .05 a generation (log odds): four to five times the alarms."""
    random = np.random.default_rng(13)
    alarms = sum(trend.items_trend(unchanged(700, random, walk=0.05), G).p <= 0.05 for _ in range(500)) / 500
    assert 0.16 <= alarms <= 0.30


def test_one_test_over_five_formats_holds_its_level() -> None:
    """Five formats of the same items, most answers shared: 5% pooled, more for any of five."""
    random = np.random.default_rng(14)
    items = np.tile(np.arange(100), 5)
    pooled = separate = 0
    for _ in range(400):
        shared = chain(100, random)
        formats = [np.where(random.random(shared.shape) < 0.8, shared, chain(100, random)) for _ in range(5)]
        pooled += trend.items_trend(np.vstack(formats), G, items, items=items).p <= 0.05
        separate += any(trend.items_trend(y, G).p <= 0.05 for y in formats)
    low, high = sps.binom.ppf([0.001, 0.999], 400, 0.05)
    assert low <= pooled <= high
    assert separate > 1.5 * pooled


def test_the_trend_sees_a_slow_loss_that_corrected_looks_miss() -> None:
    """Half a point a generation, 300 items: the trend shows it at least half as often again as ten looks with Holm."""
    random = np.random.default_rng(15)
    one = looks = 0
    for _ in range(200):
        chance = np.clip(random.beta(4, 1, (300, 1)) - 0.005 * G, 0, 1)
        y = (random.random((300, len(G))) < chance).astype(float)
        one += trend.items_trend(y, G).p <= 0.05
        looks += min(trend.items_trend(y[:, [0, j]], [0, j]).p for j in range(1, 11)) <= 0.05 / 10
    assert one >= 0.65 * 200
    assert one > 1.5 * looks

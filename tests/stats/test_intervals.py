"""Intervals against scipy and statsmodels, their properties, and their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps
from statsmodels.stats.proportion import proportion_confint

from factfade.stats import intervals

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_is_statsmodels(counts: tuple[int, int], level: float) -> None:
    k, n = counts
    found = intervals.share([1] * k + [0] * (n - k), level=level)
    low, high = proportion_confint(k, n, alpha=1 - level, method="wilson")
    assert (found.value, found.n) == (k / n, n)
    assert found.low == pytest.approx(low, abs=1e-9)
    assert found.high == pytest.approx(high, abs=1e-9)


def test_wilson_known_answer() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I: 81 of 263 and 0 of 20.
    found = intervals.share([1] * 81 + [0] * 182)
    assert (round(found.low or 0, 4), round(found.high or 0, 4)) == (0.2553, 0.3662)
    none = intervals.share([0] * 20)
    assert (none.low, round(none.high or 0, 4)) == (0.0, 0.1611)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50), st.sampled_from([0.9, 0.95]))
def test_mean_is_scipy(values: list[float], level: float) -> None:
    found = intervals.mean(values, level=level)
    error = sps.sem(values)
    half = sps.t.ppf((1 + level) / 2, len(values) - 1) * error
    assert found.value == pytest.approx(np.mean(values), abs=1e-9)
    assert found.high == pytest.approx(np.mean(values) + half, abs=1e-7)
    assert found.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-7)


def test_clustered_mean_is_statsmodels() -> None:
    random = np.random.default_rng(1)
    clusters = random.integers(0, 25, 200)
    values = random.standard_normal(25)[clusters] + random.standard_normal(200)
    fit = sm.OLS(values, np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    found = intervals.mean(values, clusters)
    assert found.clusters == 25
    assert [found.low, found.high] == pytest.approx(list(fit.conf_int(0.05)[0]), abs=1e-9)
    assert found.method == "t, cluster-robust"


def test_singleton_clusters_change_nothing() -> None:
    values = [1, 0, 0, 1, 1, 0, 1]
    labels = ["g", "b", "a", "d", "c", "f", "e"]
    assert intervals.share(values, labels) == intervals.share(values)
    assert intervals.mean(values, labels).high == pytest.approx(intervals.mean(values).high, abs=1e-12)


def test_doubling_every_item_gains_nothing() -> None:
    values = np.array([1.0] * 60 + [0.0] * 40)
    once = intervals.share(values)
    twice = intervals.share(np.repeat(values, 2), np.repeat(np.arange(100), 2))
    assert twice.value == once.value
    assert (twice.high or 0) - (twice.low or 0) >= (once.high or 0) - (once.low or 0)
    assert twice.low == pytest.approx(once.low, abs=0.005)


def test_labels_of_any_kind_are_the_same_clusters() -> None:
    values = [1, 0, 1, 1, 0, 1]
    numbers = intervals.share(values, [5, 5, 9, 9, 0, 0])
    assert numbers == intervals.share(values, ["x", "x", "y", "y", "a", "a"])
    assert numbers == intervals.share(values, [10**9, 10**9, 7, 7, -1, -1])


@given(COUNTS, st.floats(0.01, 0.2))
def test_zero_event_bound_is_the_exact_binomial_one(counts: tuple[int, int], alpha: float) -> None:
    n = counts[1]
    exact = sps.binomtest(0, n, alternative="less").proportion_ci(1 - alpha, "exact").high
    assert intervals.zero_event_bound(n, alpha) == pytest.approx(exact, abs=1e-9)


def test_zero_event_bound_known_answers() -> None:
    assert intervals.zero_event_bound(59) == pytest.approx(0.04951, abs=1e-5)
    assert intervals.zero_event_bound(0) == 1.0


def test_ratio_of_equal_denominators_is_the_mean() -> None:
    nats = [96.0, 110.0, 84.0, 130.0]
    found, expected = intervals.ratio(nats, [48.0] * 4), intervals.mean(np.array(nats) / 48)
    assert found.value == pytest.approx(expected.value)
    assert found.low == pytest.approx(expected.low)


def test_ratio_weighs_by_tokens() -> None:
    assert intervals.ratio([10.0, 30.0], [10.0, 90.0]).value == pytest.approx(0.4)
    assert intervals.ratio([0.0], [0.0]).value is None


def test_degenerate_samples_have_a_defined_answer() -> None:
    empty = intervals.share([])
    assert (empty.value, empty.low, empty.n) == (None, None, 0)
    assert intervals.mean([]).value is None
    one = intervals.mean([3.0])
    assert (one.value, one.low, one.high) == (3.0, None, None)
    together = intervals.share([1, 1, 0], ["a", "a", "a"])
    assert (together.low, together.high, together.clusters) == (0.0, 1.0, 1)
    sure = intervals.share([1] * 8, [0, 0, 1, 1, 2, 2, 3, 3])
    assert sure.high == 1.0
    # Four independent clusters, not eight observations.
    assert (sure.low or 1.0) < 4 / (4 + 3.18**2) + 1e-3


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5])
def test_a_level_outside_is_an_error(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        intervals.share([1, 0], level=level)


def test_labels_of_another_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="cluster labels"):
        intervals.share([1, 0], [1])


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
def test_wilson_covers(p: float) -> None:
    n = 100
    k = np.arange(n + 1)
    bounds = np.array([intervals.wilson_bounds(float(i), n, 1.959964) for i in k])
    inside = (bounds[:, 0] <= p) & (p <= bounds[:, 1])
    assert 0.93 <= float(np.sum(sps.binom.pmf(k, n, p)[inside])) <= 0.975


def test_clustered_share_covers() -> None:
    """Beta-binomial clusters of four with correlation 1/3: Wilson over observations covers far too little."""
    random = np.random.default_rng(3)
    labels = np.repeat(np.arange(40), 4)
    hits = {"robust": 0, "naive": 0}
    draws = 600
    for _ in range(draws):
        values = random.random(160) < random.beta(1.4, 0.6, 40)[labels]
        for name, found in (("robust", intervals.share(values, labels)), ("naive", intervals.share(values))):
            assert found.low is not None
            assert found.high is not None
            hits[name] += found.low <= 0.7 <= found.high
    assert 0.92 <= hits["robust"] / draws <= 0.98
    assert hits["naive"] / draws < 0.90


def test_quantiles() -> None:
    assert intervals.normal_quantile(0.975) == pytest.approx(sps.norm.ppf(0.975), abs=1e-12)
    assert intervals.student_quantile(0.95, 7) == pytest.approx(sps.t.ppf(0.95, 7), abs=1e-9)
    assert math.isclose(intervals.two_sided(0.9), 0.95)

"""Paired tests and intervals: published answers, statsmodels, exact coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy import stats as sps
from statsmodels.stats.contingency_tables import mcnemar

from factfade.stats import intervals, paired

Z = intervals.normal_quantile(0.975)
TABLES = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 300)).filter(lambda t: sum(t) > 0)


def test_airway_example() -> None:
    """Bentur et al. 2009 as analysed by Fagerland et al. 2014: 1 and 7 of 21 pairs are discordant."""
    assert paired.mcnemar_exact(1, 7) == pytest.approx(0.0703, abs=5e-5)
    assert paired.mcnemar_mid_p(1, 7) == pytest.approx(0.0391, abs=5e-5)
    assert paired.mcnemar_asymptotic(1, 7) == pytest.approx(0.0339, abs=5e-5)
    low, high = paired.tango_bounds(1, 7, 21, Z)
    assert (round(low, 3), round(high, 3)) == (-0.517, -0.026)


@given(st.integers(0, 80), st.integers(0, 80))
def test_mcnemar_is_statsmodels(lost: int, gained: int) -> None:
    table = [[5, lost], [gained, 7]]
    if lost + gained:
        assert paired.mcnemar_exact(lost, gained) == pytest.approx(mcnemar(table, exact=True).pvalue, abs=1e-9)
        asymptotic = mcnemar(table, exact=False, correction=False).pvalue
        assert paired.mcnemar_asymptotic(lost, gained) == pytest.approx(asymptotic, abs=1e-9)
    exact, mid = paired.mcnemar_exact(lost, gained), paired.mcnemar_mid_p(lost, gained)
    assert mid <= exact
    at = sps.binom.pmf(min(lost, gained), lost + gained, 0.5)
    if lost != gained:
        assert mid == pytest.approx(exact - at, abs=1e-9)


def test_no_discordant_pair_is_no_evidence() -> None:
    assert paired.mcnemar_exact(0, 0) == paired.mcnemar_mid_p(0, 0) == paired.mcnemar_asymptotic(0, 0) == 1.0


@given(TABLES)
def test_tango_is_antisymmetric_and_holds_the_estimate(table: tuple[int, int, int]) -> None:
    lost, gained, same = table
    n = lost + gained + same
    low, high = paired.tango_bounds(lost, gained, n, Z)
    assert -1 <= low <= (lost - gained) / n <= high <= 1
    assert low < high
    mirrored = paired.tango_bounds(gained, lost, n, Z)
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize("table", [(12, 3, 100), (1, 7, 21), (40, 20, 160), (5, 0, 60), (0, 2, 30)])
def test_tango_inverts_the_score_test(table: tuple[int, int, int]) -> None:
    """At each bound the score statistic, with the nuisance found by maximising the likelihood, is z."""
    lost, gained, n = table
    for bound in paired.tango_bounds(lost, gained, n, Z):

        def negative(q: float, loss: float = bound) -> float:
            cells = np.array([q + loss, q, 1 - 2 * q - loss])
            counts = np.array([lost, gained, n - lost - gained])
            return float(-np.sum(counts * np.log(np.maximum(cells, 1e-300))))

        lowest = max(0.0, -bound) + 1e-13
        q = optimize.minimize_scalar(
            negative, bounds=(lowest, (1 - bound) / 2), method="bounded", options={"xatol": 1e-13}
        ).x
        statistic = (lost - gained - n * bound) / np.sqrt(n * (2 * q + bound - bound**2))
        assert abs(statistic) == pytest.approx(Z, abs=2e-4)


def test_tango_without_discordant_pairs() -> None:
    # Closed form: z^2 / (n + z^2), the Wilson bound of no event.
    assert paired.tango_bounds(0, 0, 44, Z)[1] == pytest.approx(Z**2 / (44 + Z**2), abs=1e-12)


def exact_coverage(n: int, p_lost: float, p_gained: float) -> float:
    """Probability over all tables that the 95% interval holds the true loss."""
    covered = 0.0
    for lost in range(n + 1):
        for gained in range(n + 1 - lost):
            weight = sps.multinomial.pmf(
                [lost, gained, n - lost - gained], n, [p_lost, p_gained, 1 - p_lost - p_gained]
            )
            if weight > 1e-8:
                low, high = paired.tango_bounds(lost, gained, n, Z)
                covered += weight * (low <= p_lost - p_gained <= high)
    return covered


@pytest.mark.parametrize(("p_lost", "p_gained"), [(0.05, 0.05), (0.12, 0.03), (0.02, 0.0), (0.3, 0.1)])
def test_tango_covers(p_lost: float, p_gained: float) -> None:
    # Conservative where almost no pair is discordant, near its level elsewhere.
    coverage = exact_coverage(40, p_lost, p_gained)
    assert 0.93 <= coverage <= (0.97 if p_lost + p_gained > 0.05 else 1.0)


def test_one_sided_error_at_the_margin() -> None:
    """A true loss at the margin is declared within it in about 5% of samples, whatever the number of pairs."""
    random = np.random.default_rng(5)
    z = intervals.normal_quantile(0.95)
    tables = random.multinomial(300, [0.10, 0.05, 0.85], size=2000)
    within = [paired.tango_bounds(float(b), float(c), 300, z)[1] < 0.05 for b, c, _ in tables]
    assert 0.03 <= np.mean(within) <= 0.07


def test_paired_loss_counts_and_shares() -> None:
    before = [1, 1, 1, 1, 0, 0, 1, 1]
    after = [1, 0, 0, 1, 1, 0, 1, 1]
    found = paired.paired_loss(before, after)
    assert (found.lost, found.gained) == (2, 1)
    assert (found.before, found.after) == (0.75, 0.625)
    assert found.interval.value == pytest.approx(0.125)
    z = intervals.normal_quantile(0.95)
    assert (found.interval.low, found.interval.high) == paired.tango_bounds(2, 1, 8, z)


def test_paired_loss_with_clusters_covers_where_the_naive_one_does_not() -> None:
    """Facts about one entity are lost together: 60 entities with 4 facts each, a true loss of .3."""
    random = np.random.default_rng(8)
    labels = np.repeat(np.arange(60), 4)
    covered = {"robust": 0, "naive": 0}
    draws = 400
    for _ in range(draws):
        after = random.random(240) >= random.beta(0.6, 1.4, 60)[labels]
        for name, clusters in (("robust", labels), ("naive", None)):
            found = paired.paired_loss(np.ones(240), after, clusters, level=0.95).interval
            assert found.low is not None
            assert found.high is not None
            covered[name] += found.low <= 0.3 <= found.high
    assert 0.92 <= covered["robust"] / draws <= 0.98
    assert covered["naive"] / draws < 0.88


def test_one_cluster_carries_no_bound() -> None:
    found = paired.paired_loss([1, 1, 1], [0, 0, 1], [7, 7, 7]).interval
    assert (found.low, found.high) == (-1.0, 1.0)


def test_nothing_paired_has_no_value() -> None:
    found = paired.paired_loss([], [])
    assert found.interval.value is None
    assert found.before is None


def test_paired_mean_is_scipy() -> None:
    random = np.random.default_rng(2)
    x, y = random.standard_normal(30), random.standard_normal(30)
    expected = sps.ttest_rel(x, y).confidence_interval(0.90)
    found = paired.paired_mean(x, y)
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=1e-9)


def test_paired_ratio_of_equal_lengths_is_the_paired_mean() -> None:
    random = np.random.default_rng(4)
    tokens = np.full(40, 48.0)
    x, y = 48 * (2 + 0.2 * random.standard_normal(40)), 48 * (2.5 + 0.2 * random.standard_normal(40))
    found = paired.paired_ratio((x, tokens), (y, tokens))
    expected = paired.paired_mean(y / 48, x / 48)
    assert found.value == pytest.approx(expected.value)
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high])


def test_paired_ratio_weighs_tokens_and_takes_empty_texts() -> None:
    found = paired.paired_ratio(([20.0, 0.0, 10.0], [10, 0, 10]), ([30.0, 6.0, 0.0], [10, 2, 0]))
    assert found.value == pytest.approx(36 / 12 - 30 / 20)
    assert paired.paired_ratio(([0.0], [0.0]), ([1.0], [1.0])).value is None


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="before as after"):
        paired.paired_loss([1], [1, 0])
    with pytest.raises(ValueError, match="before as after"):
        paired.paired_mean([1], [1, 0])

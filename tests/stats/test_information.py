"""Divergences against scipy, their laws, and the difference of two shares against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from factfade.stats.information import jensen_shannon, kullback_leibler, log_normalised, symmetric_kl
from factfade.stats.intervals import share
from factfade.stats.unpaired import difference

rng = np.random.default_rng(0)
P, Q = rng.normal(0, 3, (50, 6)), rng.normal(0, 3, (50, 6))


def test_divergences_are_scipys() -> None:
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (P, Q))
    np.testing.assert_allclose(np.exp(log_normalised(P)), p, atol=1e-12)
    np.testing.assert_allclose(kullback_leibler(P, Q), entropy(p, q, axis=1), atol=1e-9)
    np.testing.assert_allclose(symmetric_kl(P, Q), (entropy(p, q, axis=1) + entropy(q, p, axis=1)) / 2, atol=1e-9)
    np.testing.assert_allclose(jensen_shannon(P, Q), jensenshannon(p, q, axis=1) ** 2, atol=1e-9)


logs = st.lists(st.floats(-60, 0), min_size=2, max_size=6)


@given(logs, st.data())
def test_laws(first: list[float], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.floats(-60, 0), min_size=len(first), max_size=len(first)))
    js, kl = float(jensen_shannon(first, second)), float(symmetric_kl(first, second))
    assert 0.0 <= js <= np.log(2)
    assert js <= kl + 1e-12
    assert float(jensen_shannon(second, first)) == pytest.approx(js, abs=1e-12)
    assert float(jensen_shannon(first, np.array(first) - 5.0)) == pytest.approx(0.0, abs=1e-12)
    order = data.draw(st.permutations(range(len(first))))
    turned = jensen_shannon([first[i] for i in order], [second[i] for i in order])
    assert float(turned) == pytest.approx(js, abs=1e-12)


def test_options_that_are_not_there() -> None:
    nan, inf = np.nan, np.inf
    # An option that neither has changes nothing; one that only one of them has makes the two incomparable.
    assert float(jensen_shannon([0.0, -1.0, nan], [-1.0, 0.0, nan])) == pytest.approx(
        float(jensen_shannon([0.0, -1.0], [-1.0, 0.0]))
    )
    assert np.isnan(jensen_shannon([0.0, -1.0, nan], [-1.0, 0.0, -2.0]))
    assert np.isnan(jensen_shannon([0.0, nan], [0.0, nan]))
    # Probability zero: the mixture keeps Jensen-Shannon finite, at its largest for disjoint distributions.
    assert float(jensen_shannon([0.0, -inf], [-inf, 0.0])) == pytest.approx(np.log(2))
    assert float(kullback_leibler([0.0, 0.0], [0.0, -inf])) == inf
    assert float(kullback_leibler([0.0, -inf], [0.0, 0.0])) == pytest.approx(np.log(2))
    with pytest.raises(ValueError, match="same options"):
        jensen_shannon([0.0, 0.0], [0.0, 0.0, 0.0])


@pytest.mark.parametrize(("a", "n", "b", "m"), [(56, 70, 48, 80), (9, 10, 3, 10), (0, 10, 10, 10), (5, 56, 0, 29)])
def test_the_difference_of_two_shares_is_newcombes(a: int, n: int, b: int, m: int) -> None:
    """Newcombe's own table (1998): 56/70 - 48/80 is 0.0524 to 0.3339 by method 10."""
    from statsmodels.stats.proportion import confint_proportions_2indep

    first, second = share([1] * a + [0] * (n - a)), share([1] * b + [0] * (m - b))
    found = difference(first, second)
    expected = confint_proportions_2indep(a, n, b, m, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)
    if (a, n) == (56, 70):
        assert (round(found.low or 0, 4), round(found.high or 0, 4)) == (0.0524, 0.3339)


def test_a_difference_with_an_empty_group_is_not_known() -> None:
    found = difference(share([1, 0, 1]), share([]))
    assert (found.value, found.low, found.n) == (None, None, 0)

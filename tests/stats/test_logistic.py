"""Logistic regression: statsmodels, closed forms of Firth's penalty, separation, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from factfade.stats.logistic import logistic

Floats = NDArray[np.float64]


def data(n: int = 400, rng: int = 0, slope: float = -1.0) -> tuple[Floats, Floats, Floats]:
    random = np.random.default_rng(rng)
    owner = np.arange(n) // 4
    x = np.column_stack([np.ones(n), random.standard_normal(n), (random.random(n) < 0.3).astype(float)])
    linear = -0.5 + slope * x[:, 1] + 0.5 * x[:, 2] + 0.7 * random.standard_normal(n // 4 + 1)[owner]
    return x, (random.random(n) < 1 / (1 + np.exp(-linear))).astype(float), owner


def test_unpenalised_it_is_statsmodels() -> None:
    x, y, owner = data()
    found = logistic(x, y, owner, firth=False)
    plain = sm.Logit(y, x).fit(disp=0, tol=1e-12)
    grouped = sm.Logit(y, x).fit(disp=0, tol=1e-12, cov_type="cluster", cov_kwds={"groups": owner})
    assert found.converged
    assert found.coefficients == pytest.approx(plain.params, abs=1e-8)
    assert np.sqrt(np.diag(found.model)) == pytest.approx(plain.bse, abs=1e-8)
    assert found.robust is not None
    assert np.sqrt(np.diag(found.robust)) == pytest.approx(grouped.bse, abs=1e-8)
    single = logistic(x, y, firth=False).contrast([0, 1, 0])
    assert (single.low, single.high) == pytest.approx(tuple(plain.conf_int()[1]), abs=1e-6)


@given(st.lists(st.integers(0, 12), min_size=4, max_size=4).filter(lambda t: t[0] + t[1] > 0 and t[2] + t[3] > 0))
def test_with_one_group_firth_adds_a_half_to_every_cell(table: list[int]) -> None:
    """Saturated 2 x 2: the penalised log odds ratio is that of the table with 1/2 in every cell, empty ones too."""
    a, b, c, d = table
    x = np.array([[1.0, 1.0]] * (a + b) + [[1.0, 0.0]] * (c + d))
    y = np.array([1.0] * a + [0.0] * b + [1.0] * c + [0.0] * d)
    found = logistic(x, y)
    expected = math.log((a + 0.5) * (d + 0.5) / ((b + 0.5) * (c + 0.5)))
    assert found.converged
    assert found.coefficients[1] == pytest.approx(expected, abs=1e-7)


def test_firth_is_the_maximum_of_the_penalised_likelihood() -> None:
    x, y, _ = data(80, rng=3)

    def minus(beta: Floats) -> float:
        linear = x @ beta
        p = 1 / (1 + np.exp(-linear))
        information = x.T @ (x * (p * (1 - p))[:, None])
        return float(np.logaddexp(0, linear).sum() - y @ linear - 0.5 * np.linalg.slogdet(information)[1])

    best = optimize.minimize(minus, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
    assert logistic(x, y).coefficients == pytest.approx(best.x, abs=1e-5)


def test_separation_is_survived_with_the_penalty_and_said_without() -> None:
    x = np.column_stack([np.ones(40), np.arange(40.0) / 10])
    y = (np.arange(40) >= 20).astype(float)
    firth, plain = logistic(x, y), logistic(x, y, firth=False)
    assert firth.converged
    slope = firth.contrast([0, 1])
    assert slope.low is not None
    assert slope.high is not None
    assert 0 < slope.low < slope.high < 50
    assert not plain.converged
    assert plain.contrast([0, 1]).low is None


def test_covers_with_clusters() -> None:
    """A predictor of the cluster and events that go together: the plain interval is too short."""
    random = np.random.default_rng(6)

    def one(*, aware: bool) -> bool:
        owner = np.arange(200) // 5
        group = (np.arange(40) % 2).astype(float)
        rate = random.beta(2, 3, 40)  # The same distribution in both groups: the odds ratio is 1.
        y = (random.random(200) < rate[owner]).astype(float)
        x = np.column_stack([np.ones(200), group[owner]])
        found = logistic(x, y, owner if aware else None).contrast([0, 1])
        return bool((found.low or 0) <= 0 <= (found.high or 0))

    assert 0.92 <= np.mean([one(aware=True) for _ in range(300)]) <= 0.985
    assert np.mean([one(aware=False) for _ in range(300)]) < 0.91


def test_degenerate_inputs() -> None:
    none = logistic(np.ones((5, 1)), np.zeros(5))
    assert none.coefficients[0] == pytest.approx(math.log(0.5 / 5.5))
    alone = logistic(np.ones((5, 1)), [0, 1, 0, 1, 1], ["a"] * 5).contrast([1])
    assert alone.low is None
    with pytest.raises(ValueError, match="collinear"):
        logistic(np.ones((5, 2)), np.zeros(5))
    with pytest.raises(ValueError, match="finite"):
        logistic([[math.nan]], [1])
    with pytest.raises(ValueError, match="events"):
        logistic([[1.0]], [2])

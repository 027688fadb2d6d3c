"""Decay fits: planted curves, scipy and statsmodels, coverage where items are lost for good and where they flip."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import optimize

from factfade.stats import curves, decay, ratios

G = np.arange(9)


def exponential(start: float, floor: float, rate: float, generations: np.ndarray = G) -> np.ndarray:
    return floor + (start - floor) * np.exp(-rate * generations)


def answers(random: np.random.Generator, curve: np.ndarray, items: int, flips: float = 0.0) -> np.ndarray:
    """0/1 answers with that mean curve: an item is lost for good, and a share of its answers is drawn afresh."""
    lasting = random.random((items, 1)) < curve
    fresh = random.random((items, len(curve))) < curve
    return np.where(random.random((items, len(curve))) < flips, fresh, lasting).astype(float)


def exact(means: np.ndarray, variance: float = 1e-8) -> curves.Curve:
    points = len(means)
    return curves.Curve(
        means=means,
        covariance=np.eye(points) * variance,
        working=np.full(points, variance),
        generations=tuple(range(points)),
        units=math.inf,
    )


def test_planted_parameters_come_back() -> None:
    found = decay.fit_decay(exact(exponential(0.9, 0.3, 0.4)))
    assert found.exponential is not None
    values = {name: p.value for name, p in found.exponential.parameters.items()}
    assert values == pytest.approx({"start": 0.9, "floor": 0.3, "rate": 0.4, "half_life": math.log(2) / 0.4}, rel=1e-3)
    assert found.exponential.fitted == pytest.approx(exponential(0.9, 0.3, 0.4), abs=1e-4)
    assert found.preferred == "exponential"
    line = decay.fit_decay(exact(0.9 - 0.05 * G))
    assert line.linear is not None
    assert line.linear.parameters["slope"].value == pytest.approx(-0.05, abs=1e-9)
    assert line.preferred == "linear"


def test_the_profile_is_scipys() -> None:
    """With known independent variances: estimates of curve_fit, and the likelihood interval by root finding."""
    random = np.random.default_rng(1)
    n = np.full(9, 400)
    k = random.binomial(n, exponential(0.9, 0.3, 0.5))
    curve = curves.curve_of_counts(k, n, G)
    found = decay.fit_decay(curve).exponential
    assert found is not None
    sigma = np.sqrt(np.diag(curve.covariance))

    def model(g: np.ndarray, a: float, c: float, r: float) -> np.ndarray:
        return c + (a - c) * np.exp(-r * g)

    def misfit(rate: float) -> float:
        fit, _ = optimize.curve_fit(lambda g, a, c: model(g, a, c, rate), G, curve.means, (0.9, 0.3), sigma)
        return float(np.sum(((curve.means - model(G, *fit, rate)) / sigma) ** 2))

    best, _ = optimize.curve_fit(model, G, curve.means, (0.9, 0.3, 0.5), sigma)
    least = misfit(best[2])
    values = [found.parameters[name].value for name in ("start", "floor", "rate")]
    assert values == pytest.approx(best, rel=2e-3)
    top = least + 1.959964**2
    low = optimize.brentq(lambda r: misfit(r) - top, 0.1, best[2])
    high = optimize.brentq(lambda r: misfit(r) - top, best[2], 3.0)
    rate = found.parameters["rate"]
    assert (rate.low, rate.high) == pytest.approx((low, high), rel=3e-3)
    assert found.misfit == pytest.approx(least, rel=1e-4)
    assert found.aicc == pytest.approx(least + 6 + 2 * 3 * 4 / 5, rel=1e-4)


def test_the_line_is_least_squares_with_a_cluster_robust_interval() -> None:
    random = np.random.default_rng(2)
    y = answers(random, exponential(0.9, 0.3, 0.1), 300, flips=0.3)
    curve = curves.curve_of(y, G)
    assert curve is not None
    fit = decay.fit_decay(curve).linear
    assert fit is not None
    slope = fit.parameters["slope"]
    alone = ratios.joint_slopes([ratios.slope_parts(y, G)]).interval()
    assert slope.value == pytest.approx(alone.value, abs=1e-12)
    # The unit of noise that is added to the points widens it a little, never narrows it.
    assert slope.low is not None
    assert slope.high is not None
    assert alone.low is not None
    assert alone.high is not None
    assert 1.0 <= (slope.high - slope.low) / (alone.high - alone.low) < 1.02
    assert sm.OLS(y.mean(axis=0), sm.add_constant(G)).fit().params[1] == pytest.approx(slope.value, abs=1e-12)


@pytest.mark.parametrize(("items", "flips"), [(300, 0.0), (300, 0.3)])
def test_coverage(items: int, flips: float) -> None:
    """Items lost for good make neighbouring points nearly copies; the intervals keep about 95% all the same."""
    random = np.random.default_rng(3)
    truth = {"start": 0.9, "floor": 0.3, "rate": 0.4, "half_life": math.log(2) / 0.4}
    held = dict.fromkeys(truth, 0)
    for _ in range(150):
        y = answers(random, exponential(0.9, 0.3, 0.4), items, flips)
        fit = decay.fit_decay(curves.curve_of(y, G)).exponential
        assert fit is not None
        for name, true in truth.items():
            p = fit.parameters[name]
            held[name] += (p.low is None or p.low <= true) and (p.high is None or true <= p.high)
    assert all(0.89 <= count / 150 <= 0.995 for count in held.values()), held


def test_what_is_not_identified_is_said() -> None:
    random = np.random.default_rng(4)
    flat = decay.fit_decay(curves.curve_of(answers(random, np.full(9, 0.8), 200, 0.5), G)).exponential
    assert flat is not None
    assert flat.parameters["rate"].low == 0.0
    assert flat.parameters["half_life"].high is None
    assert not flat.parameters["floor"].identified
    step = decay.fit_decay(curves.curve_of(answers(random, np.array([0.9] + [0.4] * 8), 200, 0.5), G)).exponential
    assert step is not None
    assert step.parameters["rate"].high is None
    assert step.parameters["half_life"].low == 0.0
    assert step.parameters["floor"].identified


def test_too_little_to_fit() -> None:
    random = np.random.default_rng(5)
    short = decay.fit_decay(curves.curve_of(random.random((50, 3)), range(3)))
    assert short.linear is None
    assert "there are 3" in short.reason
    few = decay.fit_decay(curves.curve_of(random.random((15, 6)), range(6)))
    assert few.exponential is None
    assert "15 clusters" in few.reason
    lone = decay.fit_decay(curves.curve_of(random.random((15, 6)), range(6), np.zeros(15)))
    assert "fewer than two clusters" in lone.reason
    assert curves.curve_of(np.full((3, 4), np.nan), range(4)) is None
    four = decay.fit_decay(curves.curve_of(random.random((50, 4)), range(4)))
    assert four.exponential is not None
    assert four.exponential.aicc is None
    assert four.preferred == ""


def test_all_right_and_all_wrong_are_defined() -> None:
    for value in (0.0, 1.0):
        found = decay.fit_decay(curves.curve_of(np.full((60, 6), value), range(6)))
        assert found.linear is not None
        slope = found.linear.parameters["slope"]
        assert slope.low is not None
        assert slope.low < 0.0 == pytest.approx(slope.value, abs=1e-12)
        assert found.exponential is not None
        assert found.exponential.parameters["rate"].low == 0.0
        assert found.preferred != "exponential"


def test_covariance_of_the_curve() -> None:
    """Complete rows: the covariance matrix of a mean vector, plus one unit's worth of noise; holes are linearised."""
    random = np.random.default_rng(6)
    y = random.random((40, 5))
    curve = curves.curve_of(y, range(5))
    assert curve is not None
    assert curve.covariance == pytest.approx(np.cov(y.T) / 40 + np.eye(5) / 1600, abs=1e-12)
    order = random.permutation(40)
    again = curves.curve_of(y[order], range(5), [f"x{i}" for i in order])
    assert again is not None
    assert again.covariance == pytest.approx(curve.covariance, abs=1e-12)
    y[:10, 2] = np.nan
    y[:, 4] = np.nan
    holes = curves.curve_of(y, range(5))
    assert holes is not None
    assert holes.generations == (0, 1, 2, 3)
    assert holes.means[2] == pytest.approx(y[10:, 2].mean())
    with pytest.raises(ValueError, match="one generation per column"):
        curves.curve_of(y, range(4))

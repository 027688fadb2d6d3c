"""Logistic regression, by maximum likelihood or with Firth's penalty, with cluster-robust intervals.

Firth's penalty (Biometrika 1993, 80:27-38) is Jeffreys' prior: it takes the first-order bias away and keeps estimates
finite where a predictor separates the events from the rest (Heinze and Schemper 2002), without a strength to choose,
as ridge would have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factfade.stats.intervals import Floats, Interval, codes_of, normal_quantile, student_quantile, two_sided


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """Coefficients (log odds) with two covariances: `model` (inverse information) and `robust` (sandwich between
    clusters, CR1; None with fewer than two). `converged` is false where the likelihood has no maximum."""

    coefficients: Floats
    model: Floats
    robust: Floats | None
    n: int
    events: int
    clusters: int
    firth: bool
    converged: bool

    def contrast(self, weights: ArrayLike, *, level: float = 0.95) -> Interval:
        """A linear combination of the coefficients with its Wald interval.

        Its variance is the larger of the two covariances': where a predictor separates, the residuals vanish and
        the sandwich with them. Student's t on clusters - 1 degrees of freedom (normal without clusters); no bounds
        where the fit did not converge or one cluster is all there is.
        """
        w = np.asarray(weights, dtype=np.float64)
        value, p = float(w @ self.coefficients), two_sided(level)
        variance = float(w @ self.model @ w)
        grouped = self.clusters < self.n
        name = ("firth" if self.firth else "maximum likelihood") + (", cluster-robust" if grouped else "")
        low = high = deviation = None
        if self.converged and self.clusters > 1:
            if grouped and self.robust is not None:
                variance = max(variance, float(w @ self.robust @ w))
            error = math.sqrt(max(variance, 0.0))
            z = student_quantile(p, self.clusters - 1) if grouped else normal_quantile(p)
            low, high, deviation = value - z * error, value + z * error, error * math.sqrt(self.clusters)
        return Interval(
            value=value,
            low=low,
            high=high,
            n=self.n,
            clusters=self.clusters,
            level=level,
            method=f"wald, {name}",
            deviation=deviation,
        )


def logistic(
    predictors: ArrayLike, events: ArrayLike, clusters: ArrayLike | None = None, *, firth: bool = True
) -> Logistic:
    """Fits P(event) = 1 / (1 + exp(-x b)) to (n, k) predictors, which hold the intercept(s), and 0/1 events.

    Newton steps with halving on the (penalised) log-likelihood. The sandwich carries the factor
    G / (G - 1) * (n - 1) / (n - k). Raises ValueError where the columns are collinear or the shapes do not fit.
    """
    x, y = np.asarray(predictors, dtype=np.float64), np.asarray(events, dtype=np.float64)
    if x.ndim != 2 or y.shape != (len(x),) or not np.all((y == 0.0) | (y == 1.0)) or not np.all(np.isfinite(x)):
        raise ValueError("a regression takes finite predictors (n, k) and n events of 0 or 1")
    n, k = x.shape
    if n < k or np.linalg.matrix_rank(x) < k:
        raise ValueError("the predictors are collinear: one of them says what the others say")
    codes, count = codes_of(clusters, n)
    beta, value, converged = np.zeros(k), -math.inf, False
    state = _state(x, y, beta, firth)
    value = state[0]
    for _ in range(200):
        step = np.linalg.solve(state[2], state[1])
        size = float(np.abs(step).max())
        step *= min(1.0, 5.0 / size) if size > 0 else 1.0
        trial = _state(x, y, beta + step, firth)
        for _ in range(40):
            if trial[0] >= value - 1e-12:
                break
            step = step / 2
            trial = _state(x, y, beta + step, firth)
        beta, state, value = beta + step, trial, trial[0]
        # Where the events are separated, the likelihood grows for ever: log odds beyond this mean "without end".
        if float(np.abs(x @ beta).max()) > 30.0 and not firth:
            break
        if float(np.abs(step).max()) <= 1e-10 * max(1.0, float(np.abs(beta).max())):
            converged = True
            break
    model = np.asarray(np.linalg.inv(state[2]), dtype=np.float64)
    robust = None
    if count > 1 and n > k:
        score = x * (y - _probability(x @ beta))[:, None]
        sums = np.zeros((count, k))
        np.add.at(sums, codes, score)
        robust = model @ (sums.T @ sums) @ model * (count / (count - 1) * (n - 1) / (n - k))
    return Logistic(
        coefficients=beta,
        model=model,
        robust=robust,
        n=n,
        events=int(y.sum()),
        clusters=count,
        firth=firth,
        converged=converged,
    )


def _probability(linear: Floats) -> Floats:
    return np.where(linear >= 0, 1 / (1 + np.exp(-np.abs(linear))), 1 - 1 / (1 + np.exp(-np.abs(linear))))


def _state(x: Floats, y: Floats, beta: Floats, firth: bool) -> tuple[float, Floats, NDArray[np.float64]]:
    """(Penalised) log-likelihood, its score and the Fisher information at `beta`."""
    linear = x @ beta
    p = _probability(linear)
    weights = p * (1 - p)
    information = (x * weights[:, None]).T @ x
    value = float(y @ linear - np.logaddexp(0.0, linear).sum())
    residual = y - p
    if firth:
        sign, logdet = np.linalg.slogdet(information)
        if sign <= 0:
            return -math.inf, np.zeros_like(beta), np.eye(len(beta))
        leverage = weights * np.einsum("ij,ij->i", x @ np.linalg.inv(information), x)
        residual = residual + leverage * (0.5 - p)
        value += 0.5 * float(logdet)
    return value, x.T @ residual, information

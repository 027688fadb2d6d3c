"""Decay of a mean curve over generations: a straight line, and an exponential to a floor ("error_floor").

y(g) = floor + (start - floor) exp(-rate g) (arXiv 2602.23446) against y(g) = start + slope g. The same items are asked
in every generation, so the points of a curve go together, and items lost for good leave late points that are nearly
copies of each other. Taken as independent such points look like more evidence than they are. So curves are fitted by
least squares over the answers, and intervals invert the profile of that fit with its cutoff scaled to the covariance
that the points really have (the adjusted likelihood ratio of Rotnitzky and Jewell 1990, Biometrika 77:485-497).
Intervals may have no upper bound (a rate: all that was to be lost was lost in one step) or be the whole scale (a floor
that nothing has approached). Which curve fits better is judged in the metric of the full covariance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from factfade.stats.curves import Curve
from factfade.stats.intervals import Floats, student_quantile, two_sided

MIN_GENERATIONS = 4
# Two fits whose AICc differ by less are not told apart (Burnham and Anderson 2002).
AICC_MARGIN = 2.0
# Rates of the profile: from a half-life of 70,000 generations to one below a fiftieth of a generation.
_RATES = np.concatenate([[0.0], np.geomspace(1e-5, 40.0, 400)])


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A fitted number with its profile interval; a bound that is None is infinite or the end of the scale.

    `identified` is False where the interval is the whole range that the number can have.
    """

    value: float | None
    low: float | None
    high: float | None
    identified: bool = True


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One fitted curve: its parameters by name, fitted values, misfit (a chi-square on `df`, its p) and AICc.

    `p_fit` small: the curve does not describe the points, and its intervals are too narrow.
    """

    name: str
    parameters: dict[str, Parameter]
    fitted: tuple[float, ...]
    misfit: float
    df: int
    p_fit: float | None
    aicc: float | None


@dataclass(frozen=True, kw_only=True)
class Decay:
    """Both fits of one curve. `preferred` by AICc: "linear", "exponential", or "" where they are not told apart.

    Fits are None where `reason` says why.
    """

    linear: Fit | None
    exponential: Fit | None
    preferred: Literal["linear", "exponential", ""]
    generations: tuple[int, ...]
    units: int
    level: float
    reason: str = ""
    method: str = "least squares, cluster-robust profile interval"


def fit_decay(curve: Curve | None, *, limits: tuple[float, float] = (0.0, 1.0), level: float = 0.95) -> Decay:
    """Fits both curves. `limits` bound start and floor of the exponential (a share: 0 and 1).

    The cutoff of a parameter's profile is t^2 on units - 1 times the ratio of its variance between clusters (sandwich)
    to the one that the weights imply; where that ratio is not defined (a rate of 0, a number at its limit) the largest
    ratio that any parameter could have. Fewer than four generations, or not ten clusters more than generations, give
    no fit and the reason.
    """
    p = two_sided(level)
    given = () if curve is None else curve.generations
    units = 0 if curve is None or math.isinf(curve.units) else int(curve.units)

    def none(reason: str) -> Decay:
        return Decay(
            linear=None, exponential=None, preferred="", generations=given, units=units, level=level, reason=reason
        )

    if curve is None:
        return none("fewer than two clusters of items: the curve has no known spread")
    points = len(given)
    if points < MIN_GENERATIONS:
        return none(f"a decay curve takes {MIN_GENERATIONS} generations or more; there are {points}")
    if curve.units < points + 10:
        return none(
            f"{units} clusters cannot carry the covariance of {points} generations; it takes {points + 10} or more"
        )
    weighted, full = _Metric(curve, np.diag(curve.working)), _Metric(curve, curve.covariance)
    quantile = student_quantile(p, curve.units - 1)
    linear = _linear(weighted, full, quantile)
    exponential = _exponential(weighted, full, quantile, limits)
    preferred: Literal["linear", "exponential", ""] = ""
    if linear.aicc is not None and exponential.aicc is not None:
        if linear.aicc <= exponential.aicc - AICC_MARGIN:
            preferred = "linear"
        elif exponential.aicc <= linear.aicc - AICC_MARGIN:
            preferred = "exponential"
    return Decay(
        linear=linear, exponential=exponential, preferred=preferred, generations=given, units=units, level=level
    )


class _Metric:
    """Vectors whitened by a covariance: their dot products are those of (generalised) least squares."""

    def __init__(self, curve: Curve, covariance: Floats) -> None:
        self.root = np.linalg.cholesky(covariance)
        self.g = np.asarray(curve.generations, dtype=np.float64)
        self.units = curve.units
        self.y = self(curve.means)
        # The covariance that the points have, in this metric: the identity where it is the metric's own.
        self.real = self(self(curve.covariance).T)

    def __call__(self, vectors: Floats) -> Floats:
        """Whitens (points,) or (points, many)."""
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(self.root, vectors, lower=True), dtype=np.float64)

    def scales(self, jacobian: Floats, free: Sequence[bool]) -> list[float]:
        """Per parameter: its variance over the one that this metric implies; the largest possible where undefined."""
        worst = float(np.linalg.eigvalsh(self.real)[-1])
        scales = [worst] * len(free)
        at = [i for i, f in enumerate(free) if f]
        j = self(jacobian[:, at])
        length = np.sqrt((j * j).sum(axis=0)) if at else np.zeros(0)
        if not at or not np.all(length > 0) or np.linalg.cond(j / length) > 1e6:
            return scales
        half = np.linalg.pinv(j)
        variances = np.diag(half @ self.real @ half.T) / np.diag(half @ half.T)
        for i, scale in zip(at, variances, strict=True):
            scales[i] = float(scale)
        return scales

    def judged(self, misfit: float, parameters: int) -> tuple[float, int, float | None, float | None]:
        """Misfit as a chi-square (shrunk for an estimated covariance), its df, its p, and AICc."""
        from scipy.special import chdtrc

        points = len(self.g)
        df = points - parameters
        if not math.isinf(self.units):
            misfit *= max(self.units - 2.0 - points, 1.0) / (self.units - 1.0)
        p = float(chdtrc(df, misfit)) if df > 0 else None
        spare = points - parameters - 1
        aicc = misfit + 2 * parameters + 2 * parameters * (parameters + 1) / spare if spare > 0 else None
        return misfit, df, p, aicc


def _straight(metric: _Metric, design: Floats) -> tuple[Floats, Floats, float]:
    x = metric(design)
    inverse = np.asarray(np.linalg.inv(x.T @ x), dtype=np.float64)
    beta = np.asarray(inverse @ x.T @ metric.y, dtype=np.float64)
    rest = metric.y - x @ beta
    return beta, inverse, float(rest @ rest)


def _linear(weighted: _Metric, full: _Metric, quantile: float) -> Fit:
    design = np.stack([np.ones_like(weighted.g), weighted.g], axis=1)
    beta, inverse, _ = _straight(weighted, design)
    half = quantile * np.sqrt(np.diag(inverse) * weighted.scales(design, [True, True]))
    parameters = {
        name: Parameter(value=float(b), low=float(b - h), high=float(b + h))
        for name, b, h in zip(("start", "slope"), beta, half, strict=True)
    }
    chi, df, p_fit, aicc = full.judged(_straight(full, design)[2], 2)
    return Fit(
        name="linear",
        parameters=parameters,
        fitted=tuple(float(v) for v in design @ beta),
        misfit=chi,
        df=df,
        p_fit=p_fit,
        aicc=aicc,
    )


class _Profile:
    """The exponential's misfit over a grid of rates; start and floor, within the limits, in closed form.

    At a given rate the curve is start * e + floor * (1 - e), e = exp(-rate g): linear in both, so that the profile is
    global and no optimiser can stop at a local optimum. The last rate is infinite: a single step after generation 0.
    """

    def __init__(self, solver: _Metric, limits: tuple[float, float], rates: Floats = _RATES) -> None:
        self.limits = limits
        self.rates = np.append(rates, np.inf)
        with np.errstate(invalid="ignore"):
            e = np.exp(-np.outer(solver.g - solver.g[0], self.rates))
        e[0] = 1.0
        self.e = e
        u, w = solver(e), solver(1.0 - e)
        self.uu, self.ww, self.uw = (u * u).sum(0), (w * w).sum(0), (u * w).sum(0)
        self.uy, self.wy, self.yy = u.T @ solver.y, w.T @ solver.y, float(solver.y @ solver.y)

    def misfit(self, start: Floats | float, floor: Floats | float) -> Floats:
        a, c = start, floor
        return self.yy + a * a * self.uu + c * c * self.ww + 2 * a * c * self.uw - 2 * a * self.uy - 2 * c * self.wy

    def start_given(self, floor: Floats | float) -> Floats:
        return np.clip((self.uy - floor * self.uw) / self.uu, *self.limits)

    def floor_given(self, start: Floats | float) -> Floats:
        flat = self.ww <= 1e-12 * self.uu  # At rate 0 the floor has no part in the curve.
        return np.where(
            flat, self.limits[0], np.clip((self.wy - start * self.uw) / np.where(flat, 1.0, self.ww), *self.limits)
        )

    def best(self) -> tuple[Floats, Floats, Floats]:
        """Per rate: misfit, start and floor at the least-squares solution inside the limits (a convex problem)."""
        determinant = self.uu * self.ww - self.uw**2
        inside = determinant > 1e-10 * self.uu * self.ww
        safe = np.where(inside, determinant, 1.0)
        a = (self.ww * self.uy - self.uw * self.wy) / safe
        c = (self.uu * self.wy - self.uw * self.uy) / safe
        low, high = self.limits
        inside &= (a >= low) & (a <= high) & (c >= low) & (c <= high)
        candidates = [(np.where(inside, a, low), np.where(inside, c, low))]
        for edge in self.limits:
            full = np.full_like(self.uu, edge)
            candidates += [(full, self.floor_given(full)), (self.start_given(full), full)]
        scores = np.stack([self.misfit(*pair) for pair in candidates])
        pick = np.argmin(scores, axis=0)
        at = np.arange(len(pick))
        starts, floors = (np.stack([pair[i] for pair in candidates]) for i in (0, 1))
        return scores[pick, at], starts[pick, at], floors[pick, at]


def _tops(profile: _Profile, metric: _Metric, quantile: float, limits: tuple[float, float]) -> list[float]:
    """How large the misfit may be inside the intervals of start, floor and rate."""
    scores, starts, floors = profile.best()
    at = int(np.argmin(scores))
    start, floor, rate, e = float(starts[at]), float(floors[at]), float(profile.rates[at]), profile.e[:, at]
    free = [limits[0] < start < limits[1], limits[0] < floor < limits[1], 0.0 < rate < math.inf]
    slope_of_rate = (floor - start) * (metric.g - metric.g[0]) * e
    scales = metric.scales(np.stack([e, 1.0 - e, slope_of_rate], axis=1), free)
    return [float(scores[at]) + quantile**2 * scale for scale in scales]


def _refined(rates: Floats, scores: Floats, top: float) -> Floats:
    """The rates with finer steps about the best one and where the profile crosses `top`."""
    below = scores <= top
    near = {int(np.argmin(scores)), *np.flatnonzero(below[1:] != below[:-1]).tolist()}
    finer = [rates]
    for at in near:
        low, high = rates[max(at - 1, 0)], rates[min(at + 1, len(rates) - 1)]
        if 0.0 < low < high < math.inf:
            finer.append(np.geomspace(low, high, 100))
    found = np.unique(np.concatenate(finer))
    return np.asarray(found[np.isfinite(found)], dtype=np.float64)


def _exponential(weighted: _Metric, full: _Metric, quantile: float, limits: tuple[float, float]) -> Fit:
    profile = _Profile(weighted, limits)
    scores, _, _ = profile.best()
    tops = _tops(profile, weighted, quantile, limits)
    profile = _Profile(weighted, limits, _refined(profile.rates, scores, tops[2]))
    tops = _tops(profile, weighted, quantile, limits)
    scores, starts, floors = profile.best()
    at = int(np.argmin(scores))
    start, floor, rate, e = float(starts[at]), float(floors[at]), float(profile.rates[at]), profile.e[:, at]
    kept = profile.rates[scores <= tops[2]]
    low, high = float(kept.min()), float(kept.max())
    known = not math.isinf(rate)
    rates = Parameter(
        value=rate if known else None,
        low=low,
        high=None if math.isinf(high) else high,
        identified=not (low == 0.0 and math.isinf(high)),
    )
    half_life = Parameter(
        value=math.log(2) / rate if rate > 0.0 and known else (0.0 if not known else None),
        low=0.0 if math.isinf(high) else (math.log(2) / high if high > 0 else None),
        high=math.log(2) / low if low > 0 else None,
        identified=rates.identified,
    )

    def of_start(value: float) -> float:
        return float(profile.misfit(value, profile.floor_given(value)).min())

    def of_floor(value: float) -> float:
        return float(profile.misfit(profile.start_given(value), value).min())

    fitted = start * e + floor * (1.0 - e)
    judge = _Profile(full, limits)
    judge = _Profile(full, limits, _refined(judge.rates, judge.best()[0], math.inf))
    chi, df, p_fit, aicc = full.judged(max(float(judge.best()[0].min()), 0.0), 3)
    return Fit(
        name="exponential",
        parameters={
            "start": _bounded(start, of_start, tops[0], limits),
            "floor": _bounded(floor, of_floor, tops[1], limits),
            "rate": rates,
            "half_life": half_life,
        },
        fitted=tuple(float(v) for v in fitted),
        misfit=chi,
        df=df,
        p_fit=p_fit,
        aicc=aicc,
    )


def _bounded(value: float, misfit: Callable[[float], float], top: float, limits: tuple[float, float]) -> Parameter:
    """The profile interval of a number within the limits: bisection outward from its best value."""
    ends: list[float] = []
    for limit in limits:
        if misfit(limit) <= top:
            ends.append(limit)
            continue
        inside, outside = value, limit
        for _ in range(40):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if misfit(middle) <= top else (inside, middle)
        ends.append((inside + outside) / 2)
    return Parameter(value=value, low=ends[0], high=ends[1], identified=ends != list(limits))

"""Calibration of confidences: the Brier score and its parts, the calibration error with its null band.

A confidence c in [0, 1] is the probability that its owner gave to the answer it chose; right is 1 or 0. Nothing here
depends on the order of the items or on the names of the clusters, the seeded simulation included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Codes, Floats, Interval, codes_of, linearised, mean, two_sided

Binning = Literal["width", "mass"]


def bins_of(confidence: ArrayLike, bins: int = 10, binning: Binning = "width") -> Codes:
    """The bin of every confidence, 0 to at most bins - 1.

    "width": ((k - 1) / bins, k / bins], 0 in the first, as in Guo et al. 2017. "mass": bins of about equal counts,
    cut at order statistics; equal confidences are never parted, so bins may be fewer. Raises ValueError for a
    confidence outside [0, 1] (or NaN) and for fewer than one bin.
    """
    c = np.asarray(confidence, dtype=np.float64)
    if bins < 1:
        raise ValueError(f"there is at least one bin, not {bins}")
    if not np.all((c >= 0.0) & (c <= 1.0)):
        raise ValueError("a confidence is a number from 0 to 1")
    if binning == "width":
        return np.searchsorted(np.linspace(0.0, 1.0, bins + 1)[1:-1], c).astype(np.intp)
    if not len(c):
        return np.zeros(0, dtype=np.intp)
    starts = np.ceil(np.arange(1, bins) * len(c) / bins).astype(np.intp)
    edges = np.unique(np.sort(c)[np.minimum(starts, len(c) - 1)])
    return np.unique(np.searchsorted(edges, c, side="right"), return_inverse=True)[1].astype(np.intp)


@dataclass(frozen=True, kw_only=True)
class Brier:
    """The Brier score and its parts: score = reliability - resolution + uncertainty + within.

    `within` is what the bins hide (within-bin variance of the confidences less twice their within-bin covariance
    with right; Stephenson, Coelho and Jolliffe 2008), so that the identity is exact. Each part has its linearised
    interval at fixed bins; `reliability` and `resolution` are biased upward by about (bins - 1) times the Brier
    uncertainty over n, and at 0 their linear term vanishes: their intervals are then too narrow.
    """

    score: Interval
    reliability: Interval
    resolution: Interval
    uncertainty: Interval
    within: Interval
    bins: int
    binning: Binning


def brier(
    confidence: ArrayLike,
    right: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    bins: int = 10,
    binning: Binning = "width",
    level: float = 0.95,
) -> Brier:
    """Mean (confidence - right)^2 with its decomposition; t intervals, cluster-robust.

    Murphy 1973, with the two within-bin terms of Stephenson et al. 2008 (Weather and Forecasting 23:752-757).
    Values are None for no items. Raises ValueError as `bins_of` does.
    """
    c, y = answers_of(confidence, right)
    at = bins_of(c, bins, binning)
    error = (c - y) ** 2
    score = mean(error, clusters, level=level)
    if score.value is None:
        return Brier(
            score=score,
            reliability=score,
            resolution=score,
            uncertainty=score,
            within=score,
            bins=bins,
            binning=binning,
        )
    counts = np.maximum(np.bincount(at), 1)
    said, seen = (np.bincount(at, weights=v) / counts for v in (c, y))
    gap, lift, base = (said - seen)[at], seen[at] - y.mean(), float(y.mean())
    reliability, resolution, uncertainty = float(np.mean(gap**2)), float(np.mean(lift**2)), base * (1 - base)
    phi = (
        gap**2 + 2 * gap * (c - y - gap) - reliability,
        lift**2 + 2 * lift * (y - seen[at]) - resolution,
        (1 - 2 * base) * (y - base),
    )
    within = score.value - reliability + resolution - uncertainty
    phi_within = error - score.value - phi[0] + phi[1] - phi[2]
    parts = [
        linearised(value, influences, clusters, level=level)
        for value, influences in zip((reliability, resolution, uncertainty, within), (*phi, phi_within), strict=True)
    ]
    return Brier(
        score=score,
        reliability=parts[0],
        resolution=parts[1],
        uncertainty=parts[2],
        within=parts[3],
        bins=len(np.unique(at)),
        binning=binning,
    )


@dataclass(frozen=True, kw_only=True)
class CalibrationError:
    """Expected calibration error: sum over bins of n_k / n |mean right - mean confidence|, with its null band.

    The error of a perfectly calibrated model is not 0 at finite n. `expected` is its mean and `low`, `high` its
    quantiles at `level` with these confidences; `p` is the share of simulated errors at least as large as `value`
    (one added to both counts). `dependence` is the correlation within clusters that the simulation carries. There
    is no interval around `value`: it is biased upward by an amount that depends on the truth, and a bootstrap adds the
    same bias once more.
    """

    value: float | None
    expected: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    clusters: int
    level: float
    bins: int
    binning: Binning
    draws: int
    dependence: float = 0.0


def calibration_error(
    confidence: ArrayLike,
    right: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    bins: int = 10,
    binning: Binning = "width",
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> CalibrationError:
    """ECE and what a calibrated model of these confidences would show (seeded simulation, `draws` times).

    A draw makes each item right with its confidence as probability. Items of a cluster are drawn together through a
    Gaussian copula whose correlation matches the products of the residuals within clusters (0 to 1; 1 with fewer than
    four clusters), so that wordings of one item do not count as fresh evidence.
    """
    c, y = answers_of(confidence, right)
    n = len(c)
    codes, count = codes_of(clusters, n)
    two_sided(level)
    if n == 0:
        return CalibrationError(
            value=None,
            expected=None,
            low=None,
            high=None,
            p=None,
            n=0,
            clusters=0,
            level=level,
            bins=bins,
            binning=binning,
            draws=0,
        )
    at = bins_of(c, bins, binning)
    value = float(np.abs(np.bincount(at, weights=c - y)).sum() / n)
    rho = _dependence(c, y, codes, count) if count < n else 0.0
    null = _null_errors(c, at, codes, count, rho, draws, seed)
    low, high = np.quantile(null, [1 - two_sided(level), two_sided(level)])
    return CalibrationError(
        value=value,
        expected=float(null.mean()),
        low=float(low),
        high=float(high),
        # An error that equals a simulated one up to rounding counts as reached.
        p=float((1 + np.sum(null >= value - 1e-12)) / (1 + draws)),
        n=n,
        clusters=count,
        level=level,
        bins=len(np.unique(at)),
        binning=binning,
        draws=draws,
        dependence=rho,
    )


def _dependence(confidence: Floats, right: Floats, codes: Codes, count: int) -> float:
    """Latent correlation within clusters that makes the products of residuals within clusters as large as seen.

    A straight line is taken out of the residuals (right - confidence) first, so that a model that is too sure by a
    steady amount is not read as dependence, and the freedom that this takes is given back. The products expected at a
    correlation come from Gauss-Hermite quadrature over the shared normal; beyond .98 it is 1.
    """
    from scipy.special import ndtr, ndtri

    if count < 4:
        return 1.0
    n, line = len(right), np.column_stack([np.ones(len(right)), confidence])
    gap = right - confidence
    residual = gap - line @ np.linalg.lstsq(line, gap, rcond=None)[0]
    sums = np.bincount(codes, weights=residual, minlength=count)
    seen = float(np.dot(sums, sums)) * count / (count - 2) - float(np.dot(residual, residual)) * n / (n - 2)
    if seen <= 0.0:
        return 0.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    weights = weights / weights.sum()
    threshold = ndtri(confidence)[:, None]

    def expected(rho: float) -> float:
        with np.errstate(invalid="ignore"):
            moved = ndtr((threshold - math.sqrt(rho) * nodes) / math.sqrt(1 - rho)) - confidence[:, None]
        between = np.zeros((count, len(nodes)))
        np.add.at(between, codes, moved)
        return float(((between**2).sum(axis=0) - (moved**2).sum(axis=0)) @ weights)

    low, high = 0.0, 0.98
    if expected(high) <= seen:
        return 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) < seen else (low, middle)
    return (low + high) / 2


def _null_errors(confidence: Floats, at: Codes, codes: Codes, count: int, rho: float, draws: int, seed: int) -> Floats:
    """ECE of `draws` simulated calibrated models, in blocks of bounded memory."""
    n = len(confidence)
    # Clusters in the order of what they hold, not of their names: the draws are then the same whatever the names.
    held: list[list[float]] = [[] for _ in range(count)]
    for i in np.argsort(confidence, kind="stable"):
        held[codes[i]].append(float(confidence[i]))
    rank = np.empty(count, dtype=np.intp)
    rank[sorted(range(count), key=held.__getitem__)] = np.arange(count)
    order = np.lexsort((confidence, rank[codes]))
    c, owner = confidence[order], rank[codes][order]
    share_out = np.zeros((n, int(at.max()) + 1))
    share_out[np.arange(n), at[order]] = 1.0
    random = np.random.default_rng(seed)
    from scipy.special import ndtri

    threshold = ndtri(c)
    errors: list[Floats] = []
    block = max(1, 2_000_000 // n)
    for start in range(0, draws, block):
        some = min(block, draws - start)
        if rho > 0.0:
            shared = random.standard_normal((some, count))[:, owner]
            latent = math.sqrt(rho) * shared + math.sqrt(1 - rho) * random.standard_normal((some, n))
            right = latent <= threshold
        else:
            right = random.random((some, n)) < c
        errors.append(np.abs((c - right) @ share_out).sum(axis=1) / n)
    return np.concatenate(errors)


def answers_of(confidence: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    """Both as arrays. Raises ValueError unless they pair up, right is 0 or 1 and every confidence is in [0, 1]."""
    c, y = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if c.shape != y.shape or c.ndim != 1:
        raise ValueError("every confidence needs a right or wrong beside it")
    if not np.all((y == 0.0) | (y == 1.0)):
        raise ValueError("right is 0 or 1")
    if not np.all((c >= 0.0) & (c <= 1.0)):
        raise ValueError("a confidence is a number from 0 to 1")
    return c, y

"""A mean curve over generations, with the covariance that its points have because the same items are asked in each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Codes, Floats, codes_of


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Mean by generation with the covariance matrix of the means; `units` clusters, infinite where it is known.

    `working` holds the variances by which points are weighted in a fit.
    """

    means: Floats
    covariance: Floats
    working: Floats
    generations: tuple[int, ...]
    units: float


def curve_of(values: ArrayLike, generations: ArrayLike, clusters: ArrayLike | None = None) -> Curve | None:
    """The mean curve of rows by generations (NaN where there is nothing), with its covariance between clusters (CR1).

    One unit's worth of independent noise, (1 / clusters)^2, is added to each variance, so that a generation in which
    all are right does not become certain. Points are weighted by their numbers of answers. Generations that nobody
    answered are left out. None with fewer than two clusters.
    """
    y = np.asarray(values, dtype=np.float64)
    g = np.asarray(generations)
    if y.ndim != 2 or g.shape != (y.shape[1],):
        raise ValueError(f"values (rows, generations) need one generation per column, not {y.shape} and {g.shape}")
    rows = ~np.isnan(y).all(axis=1)
    y, codes = y[rows], codes_of(clusters, len(y))[0][rows]
    codes, count = codes_of(codes, len(y))
    there = ~np.isnan(y)
    asked = there.any(axis=0)
    y, there, g = y[:, asked], there[:, asked], g[asked]
    if count < 2 or not len(g):
        return None
    counts = there.sum(axis=0)
    means = np.where(there, y, 0.0).sum(axis=0) / counts
    sums = _cluster_sums(np.where(there, y - means, 0.0) / counts, codes, count)
    covariance = np.asarray(sums.T @ sums * (count / (count - 1)), dtype=np.float64)
    covariance += np.eye(len(g)) / count**2
    working = float(np.mean(counts * np.diag(covariance))) / counts
    return Curve(means=means, covariance=covariance, working=working, generations=tuple(int(x) for x in g), units=count)


def _cluster_sums(values: Floats, codes: Codes, count: int) -> Floats:
    return np.stack(
        [np.bincount(codes, weights=c, minlength=count).astype(np.float64, copy=False) for c in values.T], axis=1
    )


def curve_of_counts(successes: ArrayLike, trials: ArrayLike, generations: ArrayLike) -> Curve:
    """A curve of shares from counts of different items in every generation: binomial variances, no covariance.

    Variances take (successes + 1/2) / (trials + 1), so that none is 0. Trials are positive.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    smooth = (k + 0.5) / (n + 1.0)
    variances = smooth * (1 - smooth) / n
    return Curve(
        means=k / n,
        covariance=np.diag(variances),
        working=variances,
        generations=tuple(int(g) for g in np.asarray(generations)),
        units=math.inf,
    )

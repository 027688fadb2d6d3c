"""Divergences between two answer distributions over the same options, in nats.

Distributions are rows of log-probabilities, NaN where an option does not exist; they need not be normalised. Arrays
(..., options) in, arrays (...) out; NaN where a row has fewer than two options or two rows have different ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Floats


def log_normalised(values: ArrayLike) -> Floats:
    """Log-probabilities that sum to 1 over the last axis (log-softmax), NaN where the option is absent.

    -inf is an option of probability zero. A row without a finite value is NaN.
    """
    x = np.asarray(values, dtype=np.float64)
    known = np.where(np.isnan(x), -np.inf, x)
    top = known.max(axis=-1, keepdims=True, initial=-np.inf)
    usable = np.isfinite(top)
    with np.errstate(divide="ignore", invalid="ignore"):
        shifted = known - np.where(usable, top, 0.0)
        total = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return np.where(usable & ~np.isnan(x), shifted - total, np.nan)


def _aligned(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats, np.ndarray]:
    p, q = log_normalised(first), log_normalised(second)
    if p.shape != q.shape:
        raise ValueError("two distributions have the same options")
    same = np.all(np.isnan(p) == np.isnan(q), axis=-1) & (np.sum(~np.isnan(p), axis=-1) >= 2)
    return p, q, same


def _kl(p: Floats, q: Floats) -> Floats:
    """Sum of p (log p - log q), 0 log 0 = 0; infinite where q is zero and p is not."""
    weight = np.exp(np.where(np.isnan(p), -np.inf, p))
    with np.errstate(invalid="ignore"):
        return np.where(weight > 0.0, weight * (p - q), 0.0).sum(axis=-1)


def kullback_leibler(first: ArrayLike, second: ArrayLike) -> Floats:
    """KL(first || second) = sum p ln(p / q) (Kullback and Leibler 1951): at least 0, infinite where q lacks p's."""
    p, q, same = _aligned(first, second)
    return np.where(same, np.maximum(_kl(p, q), 0.0), np.nan)


def symmetric_kl(first: ArrayLike, second: ArrayLike) -> Floats:
    """Mean of KL(first || second) and KL(second || first): half of Jeffreys' divergence."""
    return (kullback_leibler(first, second) + kullback_leibler(second, first)) / 2.0


def total_variation(first: ArrayLike, second: ArrayLike) -> Floats:
    """Half the sum of |p - q|: the largest difference that any set of options has in probability; 0 to 1."""
    p, q, same = _aligned(first, second)
    apart = np.abs(np.exp(np.where(np.isnan(p), -np.inf, p)) - np.exp(np.where(np.isnan(q), -np.inf, q)))
    return np.where(same, np.clip(apart.sum(axis=-1) / 2.0, 0.0, 1.0), np.nan)


def jensen_shannon(first: ArrayLike, second: ArrayLike) -> Floats:
    """Mean KL of both to their mixture (Lin 1991), the divergence, not its root: between 0 and ln 2, always finite."""
    p, q, same = _aligned(first, second)
    mixture = np.logaddexp(np.where(np.isnan(p), -np.inf, p), np.where(np.isnan(q), -np.inf, q)) - np.log(2.0)
    found = (_kl(p, mixture) + _kl(q, mixture)) / 2.0
    return np.where(same, np.clip(found, 0.0, np.log(2.0)), np.nan)

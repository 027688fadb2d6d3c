"""Coverage of the intervals at nominal 95%, and the power at the table's detectable drops."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from factfade.stats.intervals import Interval, mean, share
from factfade.stats.paired import paired_loss
from factfade.stats.power import detectable_drop, power_paired
from factfade.stats.trend import items_trend

DRAWS = 400
GRID = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


def _covers(interval: Interval, truth: float) -> bool:
    return interval.low is not None and interval.high is not None and interval.low <= truth <= interval.high


def _shares(rng: np.random.Generator, p: float, n: int) -> bool:
    return _covers(share(rng.random(n) < p, level=0.95), p)


def _clustered(rng: np.random.Generator, p: float, n: int) -> bool:
    """Clusters of 5 whose rates are beta distributed around p: n / 5 clusters."""
    rates = rng.beta(4 * p, 4 * (1 - p), n // 5)
    return _covers(share(rng.random(n) < np.repeat(rates, 5), np.repeat(np.arange(n // 5), 5), level=0.95), p)


def _losses(rng: np.random.Generator, p: float, n: int) -> bool:
    """A loss of p / 5 with churn: items right with p, lost with a fifth, gained with a twentieth of the rest."""
    before = rng.random(n) < p
    after = np.where(before, rng.random(n) >= 0.2, rng.random(n) < 0.05)
    return _covers(paired_loss(before, after, level=0.95).interval, 0.2 * p - 0.05 * (1 - p))


def _means(rng: np.random.Generator, p: float, n: int) -> bool:
    return _covers(mean(rng.beta(4 * p, 4 * (1 - p), n), level=0.95), p)


def _slopes(rng: np.random.Generator, p: float, n: int) -> bool:
    """Items right with p falling by p / 40 a generation over 10 generations."""
    rates = p - p / 40 * np.arange(11)
    values = (rng.random((n, 11)) < rates[None, :]).astype(np.float64)
    return _covers(items_trend(values, np.arange(11), level=0.95).interval, -p / 40)


METHODS: tuple[tuple[str, Callable[[np.random.Generator, float, int], bool]], ...] = (
    ("share, Wilson", _shares),
    ("share, clusters of 5", _clustered),
    ("paired loss, Tango", _losses),
    ("mean, t", _means),
    ("slope per generation, t over items", _slopes),
)


def table(draws: int = DRAWS) -> Iterator[str]:
    """Coverage averaged over p, and the worst p, per method and n; then the power at the detectable drop."""
    yield "| interval | n | coverage averaged over p | lowest at one p |"
    yield "|---|---|---|---|"
    for name, covers in METHODS:
        for n in (100, 300, 1000):
            rng = np.random.default_rng((95, n, *name.encode()))
            rates = [float(np.mean([covers(rng, p, n) for _ in range(draws)])) for p in GRID]
            lowest = f"{100 * min(rates):.1f} (p = {GRID[int(np.argmin(rates))]})"
            yield f"| {name} | {n} | {100 * np.mean(rates):.1f} | {lowest} |"
    yield ""
    yield "| items | detectable drop, points (80%, two-sided 5%, 20% churn) | asymptotic | mid-p | exact |"
    yield "|---|---|---|---|---|"
    for n in (100, 200, 500, 1000, 2000, 5000):
        drop = detectable_drop(n, 0.2) or 0.0
        tests = ("asymptotic", "mid_p", "exact")
        cells = " | ".join(f"{100 * power_paired(n, 0.2, drop, test=test):.1f}" for test in tests)
        yield f"| {n} | {100 * drop:.1f} | {cells} |"

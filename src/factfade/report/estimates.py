"""Intervals of `stats` as scores that can be shown, and the mean over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from factfade.stats import intervals
from factfade.stats.intervals import Codes, Floats, Interval
from factfade.verdicts import Score

LEVEL = 0.95


def score(name: str, found: Interval, *, n: int, unit: str, reason: str = "") -> Score:
    """An interval as a score. `n` is the number of items or texts, which several wordings of an item do not raise."""
    return Score(
        name=name,
        value=found.value,
        n=n,
        low=found.low,
        high=found.high,
        level=found.level,
        method=found.method,
        unit=unit,
        reason=reason if found.value is None else "",
    )


def share(name: str, values: Floats, items: Codes, clusters: Codes, reason: str = "") -> Score:
    """The share of ones: Wilson's interval, made robust where items belong to the same entity or have wordings."""
    found = intervals.share(values, clusters, level=LEVEL)
    return score(name, found, n=len(set(items.tolist())), unit="share", reason=reason)


def per_token(name: str, nll: Floats, tokens: Floats) -> Score:
    """Nats per token over texts: the ratio of the sums, texts being the units."""
    found = intervals.ratio(nll, tokens, level=LEVEL)
    return score(name, found, n=len(nll), unit="nats", reason="no scored tokens")


def exponential(nats: Score) -> Score:
    """A perplexity of a score in nats: value and interval through exp."""

    def exp(x: float | None) -> float | None:
        return None if x is None else math.exp(min(x, 700.0))

    return Score(
        name=nats.name,
        value=exp(nats.value),
        n=nats.n,
        low=exp(nats.low),
        high=exp(nats.high),
        level=nats.level,
        method=nats.method,
        unit="perplexity",
        reason=nats.reason,
    )


def over_seeds(scores: Sequence[Score]) -> Score:
    """The mean of several seeds' scores with Student's t interval over the seeds; n is the least n of a seed."""
    values = [s.value for s in scores if s.value is not None]
    name, unit, n = scores[0].name, scores[0].unit, min(s.n for s in scores)
    if len(values) < len(scores):
        return Score(name=name, value=None, n=n, level=LEVEL, unit=unit, reason="a seed has no value")
    if len(values) == 1:
        reason = "one seed has no interval over seeds"
        return Score(name=name, value=values[0], n=n, level=LEVEL, unit=unit, reason=reason)
    found = intervals.mean(values, level=LEVEL)
    low, high = found.low, found.high
    if unit == "share":
        low, high = (None if x is None else min(max(x, 0.0), 1.0) for x in (low, high))
    method = f"t over {len(values)} seeds"
    return Score(name=name, value=fmean(values), n=n, low=low, high=high, level=LEVEL, method=method, unit=unit)

"""Numbers with their intervals in words, and findings out of them."""

from __future__ import annotations

from typing import Any

from factfade.stats.intervals import Interval
from factfade.verdicts import Estimand, Finding


def number(value: float, unit: str) -> str:
    """A value in its unit: a share in percent, nats with three decimals; never a zero with a sign."""
    if unit == "share":
        return f"{round(100 * value, 1) + 0.0:.1f}%"
    return f"{round(value, 3) + 0.0:.3f} {unit}".rstrip()


def said(found: Interval, unit: str, *, units: str = "items") -> str:
    """ "12.0% (8.1% to 17.3%, 200 items)"; the interval is left out where the sample carries none."""
    if found.value is None:
        return "not known"
    if found.low is None or found.high is None:
        return f"{number(found.value, unit)} (no interval, {found.n} {units})"
    bare = unit if unit == "share" else ""
    return f"{number(found.value, unit)} ({number(found.low, bare)} to {number(found.high, bare)}, {found.n} {units})"


def finding(
    analysis: str,
    name: str,
    place: tuple[str, int | None, str],
    found: Interval | None,
    sentence: str,
    *,
    unit: str = "share",
    reason: str = "",
    estimand: Estimand = "checkpoints",
    units: str = "items",
    p: float | None = None,
    **extra: Any,
) -> Finding:
    """A finding at (lineage, seed, format) from an interval; with a `reason` it has no value."""
    lineage, seed, format = place
    shown = found if found is not None and not reason else None
    return Finding(
        analysis=analysis,
        name=name,
        estimand=estimand,
        lineage=lineage,
        seed=seed,
        format=format,
        value=None if shown is None else shown.value,
        low=None if shown is None else shown.low,
        high=None if shown is None else shown.high,
        level=0.95 if found is None else found.level,
        p=p,
        n=0 if found is None else found.n,
        units=units,
        unit=unit,
        method="" if found is None else found.method,
        sentence=sentence,
        reason=reason,
        extra=extra,
    )


def plain(found: Interval) -> dict[str, float | int | None]:
    """An interval as plain data, for a finding's `extra`."""
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}

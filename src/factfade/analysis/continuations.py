"""Knowledge retention: is the true continuation likelier than a false one, and for how long (arXiv 2509.08972)?

An item is right where log p(true) > log p(false), by summed log-probabilities as published; means per token are
computed beside it. A run fails in the first evaluated generation in which fewer than 75% are right.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from factfade.analysis.aligned import Aligned, aligned, option_values
from factfade.analysis.saying import finding, plain, said
from factfade.columns import Floats, as_float, as_text
from factfade.stats.intervals import Interval, codes_of, share
from factfade.verdicts import Finding

if TYPE_CHECKING:
    import pandas as pd

    from factfade.analysis.study import Study

FORMAT = "knowledge_retention"
THRESHOLD = 0.75
RESAMPLES = 1000
SEED = 250908972
# Bounds of a time to failure need this many items: with fewer a resample can cross 75% by one of them.
MINIMUM = 20


def findings(study: Study) -> list[Finding]:
    """Per run the share right at its last generation and its time to failure; per lineage the median over seeds."""
    runs = aligned(study.evidence, FORMAT)
    if not runs:
        return []
    by_sum, by_mean = compared(study.evidence)
    level = 1 - 2 * study.alpha
    found: list[Finding] = []
    seeds: dict[str, list[float]] = {}
    for run in runs:
        right = run.matrix("", by_sum)
        found.append(_retention(run, right, run.matrix("", by_mean), level))
        failure = _failure(run, right, level)
        found.append(failure)
        if not failure.reason:
            seeds.setdefault(run.lineage, []).append(math.inf if failure.value is None else failure.value)
    return found + [_recipe(lineage, own) for lineage, own in seeds.items()]


def compared(evidence: pd.DataFrame) -> tuple[Floats, Floats]:
    """1 where the true continuation is strictly likelier than every other, by sum and by mean per token, else 0.

    NaN where it was not asked. Without stored log-probabilities the stored choice counts for both.
    """
    stored = as_float(evidence, "choice_correct")
    asked = as_text(evidence, "outcome") != "not_asked"
    gold = as_float(evidence, "gold")
    both: list[Floats] = []
    for values in option_values(evidence):
        right = stored.copy()
        for row, own in enumerate(values):
            if own is not None and len(own) > 1 and not np.isnan(gold[row]) and 0 <= int(gold[row]) < len(own):
                others = np.delete(own, int(gold[row]))
                right[row] = np.nan if np.isnan(own).any() else float(own[int(gold[row])] > others.max())
        both.append(np.where(asked, right, np.nan))
    return both[0], both[1]


def _share(run: Aligned, right: Floats, column: int, level: float) -> Interval:
    known = ~np.isnan(right[:, column])
    return share(right[known, column], run.clusters[known], level=level)


def _retention(run: Aligned, by_sum: Floats, by_mean: Floats, level: float) -> Finding:
    place = (run.lineage, run.seed, FORMAT)
    sums = [_share(run, by_sum, j, level) for j in range(len(run.generations))]
    means = [_share(run, by_mean, j, level) for j in range(len(run.generations))]
    last, generation = sums[-1], run.generations[-1]
    if last.value is None:
        reason = "nothing was asked in the last generation"
        return finding("continuations", "retention", place, None, f"Undetermined: {reason}.", reason=reason)
    sentence = (
        f"At generation {generation} the true continuation is likelier than the false one for {said(last, 'share')}; "
        f"per token for {said(means[-1], 'share')}. Guessing gives 50%."
    )
    curve = [
        {"generation": g, "by_sum": plain(s), "by_mean": plain(m)}
        for g, s, m in zip(run.generations, sums, means, strict=True)
    ]
    return finding(
        "continuations",
        "retention",
        place,
        last,
        sentence,
        generation=generation,
        by_mean=plain(means[-1]),
        curve=curve,
    )


def first_below(shares: Floats, generations: tuple[int, ...], threshold: float = THRESHOLD) -> Floats:
    """The first generation whose share is below the threshold, along the last axis; infinite where there is none."""
    below = shares < threshold
    return np.where(below.any(axis=-1), np.asarray(generations, dtype=np.float64)[below.argmax(axis=-1)], np.inf)


def _failure(run: Aligned, right: Floats, level: float) -> Finding:
    """The time to failure of one run: percentile bounds over resampled clusters; infinite ones are unbounded."""
    place = (run.lineage, run.seed, FORMAT)
    reason = ""
    items = ~np.isnan(right).any(axis=1)
    codes, count = codes_of(run.clusters[items], int(items.sum()))
    if run.start is None:
        reason = "generation 0 is missing"
    elif len(run.generations) < 2:
        reason = "there is no later generation"
    elif count < MINIMUM:
        reason = f"{count} independent items are there in every generation; it takes {MINIMUM}"
    if reason:
        sentence = f"Time to failure undetermined: {reason}."
        return finding("continuations", "time_to_failure", place, None, sentence, unit="generations", reason=reason)
    values = right[items]
    time = float(first_below(values.mean(axis=0), run.generations))
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, codes, values)
    sizes = np.bincount(codes, minlength=count)
    # In the order of what they hold: names of items do not decide which of them a resample draws.
    order = np.lexsort([*sums.T, sizes])
    sums, sizes = sums[order], sizes[order]
    drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    weights = drawn.astype(np.float64)
    times: Floats = np.sort(first_below((weights @ sums) / (weights @ sizes)[:, None], run.generations))
    tail = int((1 - level) / 2 * RESAMPLES)
    low, high = float(times[tail]), float(times[-1 - tail])
    last = max(run.generations)
    return Finding(
        analysis="continuations",
        name="time_to_failure",
        estimand="checkpoints",
        lineage=run.lineage,
        seed=run.seed,
        format=FORMAT,
        value=_finite(time),
        low=float(last) if math.isinf(low) else low,
        high=_finite(high),
        unbounded=math.isinf(high),
        level=level,
        n=len(values),
        unit="generations",
        method=f"first generation below {THRESHOLD:.0%}; cluster bootstrap, {RESAMPLES} resamples",
        sentence=_failure_words(time, low, high, run.generations, len(values)),
        extra={"censored": math.isinf(time), "after": _before(time, run.generations), "last": last},
    )


def _failure_words(time: float, low: float, high: float, generations: tuple[int, ...], n: int) -> str:
    last = generations[-1]
    if math.isinf(time):
        said_so = f"Not below {THRESHOLD:.0%} up to generation {last}: the time to failure is censored there"
    elif time == 0:
        said_so = f"Below {THRESHOLD:.0%} already at generation 0: the threshold does not suit this start model"
    else:
        before = _before(time, generations)
        said_so = f"Below {THRESHOLD:.0%} first at generation {time:.0f}, still above it at generation {before}"
    after = f"after generation {last}"
    ends = (after if math.isinf(low) else f"{low:.0f}", after if math.isinf(high) else f"{high:.0f}")
    return f"{said_so} (bounds over {n} items: {ends[0]} to {ends[1]})."


def _before(time: float, generations: tuple[int, ...]) -> int | None:
    """The last evaluated generation before the failure; None where there is none."""
    return max((g for g in generations if g < time), default=None)


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value


def _recipe(lineage: str, times: list[float]) -> Finding:
    """Median over seeds; the smallest and the largest hold the median of such runs with 1 - 2^(1 - n)."""
    ordered = sorted(times)
    n = len(ordered)
    middle = (ordered[(n - 1) // 2], ordered[n // 2])
    median = math.inf if math.isinf(middle[1]) else sum(middle) / 2
    reason = f"{n} seed{'s' if n > 1 else ''}: the interval of a median takes 5" if n < 5 else ""
    shown = ", ".join("censored" if math.isinf(t) else f"{t:.0f}" for t in ordered)
    return Finding(
        analysis="continuations",
        name="time_to_failure",
        estimand="recipe",
        lineage=lineage,
        format=FORMAT,
        value=_finite(median) if not reason else None,
        low=_finite(ordered[0]) if not reason else None,
        high=_finite(ordered[-1]) if not reason else None,
        unbounded=not reason and math.isinf(ordered[-1]),
        level=1 - 2.0 ** (1 - n),
        n=n,
        units="runs",
        unit="generations",
        method="median of the runs; smallest and largest as bounds",
        sentence=f"Times to failure of {n} run{'s' if n > 1 else ''}: {shown}"
        + (f"; median undetermined, {reason}." if reason else "."),
        reason=reason,
        extra={"times": [_finite(t) for t in ordered]},
    )

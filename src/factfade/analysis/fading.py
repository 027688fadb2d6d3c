"""Time to failure: the first evaluated generation at which less than a threshold of the questions is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from factfade.analysis.losses import followed
from factfade.analysis.saying import finding, plain
from factfade.analysis.study import Study
from factfade.stage_panel import Panel
from factfade.stats.intervals import Interval, share
from factfade.stats.survival import Failure, median_time, time_to_failure
from factfade.verdicts import Finding

ANALYSIS = "retention"
LEVEL = 0.95
METHOD = "first evaluated generation below; pointwise Wilson, cluster-robust"


def failure_of(panel: Panel, threshold: float) -> tuple[Failure, list[tuple[int, Interval]]] | None:
    """When the format's pooled share right fell below the threshold, and the share of every generation from 0 on.

    `surely` takes bounds whose error is shared among the generations looked at (Bonferroni), since any of them may
    give the alarm. None where generation 0 was not evaluated.
    """
    run = followed(panel)
    if run is None:
        return None
    shares: list[Interval] = []
    surely: list[float | None] = []
    strict = 1 - (1 - LEVEL) / len(run.generations)
    for states in run.states.T:
        known = ~np.isnan(states)
        shares.append(share(states[known], run.clusters[known], level=LEVEL))
        surely.append(share(states[known], run.clusters[known], level=strict).high)
    found = time_to_failure(
        run.generations, [s.value for s in shares], [s.low for s in shares], surely, threshold=threshold
    )
    return found, list(zip(run.generations, shares, strict=True))


def failure_findings(panel: Panel, threshold: float) -> Iterator[Finding]:
    """`time_to_failure` of one run and format; the value is None while it has not failed."""
    place = (panel.lineage, panel.seed, panel.format)
    fall = failure_of(panel, threshold)
    if fall is None or not any(s.value is not None for _, s in fall[1]):
        reason = "generation 0 was not evaluated" if fall is None else "no answer can be judged"
        sentence = f"Not known: {reason}."
        yield finding(ANALYSIS, "time_to_failure", place, None, sentence, reason=reason, unit="generation")
        return
    found, shares = fall
    last = max(g for g, s in shares if s.value is not None)
    n = shares[0][1].n
    value, clusters = (found.right if found.failed else None), shares[0][1].clusters
    interval = Interval(
        value=value,
        low=None if found.earliest is None else float(found.earliest),
        high=None if found.surely is None else float(found.surely),
        n=n,
        clusters=clusters,
        level=LEVEL,
        method=METHOD,
    )
    at = dict(shares)
    extra: dict[str, Any] = {
        "threshold": threshold,
        "by_generation": [{"generation": g, **plain(s)} for g, s in shares],
        "censored": not found.failed,
        "after": None if not np.isfinite(found.left) else int(found.left),
    }
    words = f"{100 * threshold:g}% right"
    if value is None:
        reason = f"not below {words} up to generation {last}"
        now = at[last].value or 0.0
        sentence = f"Knowledge has not fallen below {words} up to generation {last} ({100 * now:.1f}%, {n:,} items)."
        if found.earliest is not None:
            sentence += f" From generation {found.earliest} on it may have: the interval reaches below."
        made = finding(
            ANALYSIS, "time_to_failure", place, interval, sentence, reason=reason, unit="generation", **extra
        )
        # Censored: the time lies above what was seen, without end.
        yield replace(made, low=interval.low if interval.low is not None else float(last), unbounded=True)
        return
    here = at[int(value)].value or 0.0
    sentence = f"Knowledge is first below {words} at generation {int(value)} ({100 * here:.1f}%, {n:,} items)"
    if int(value) == 0:
        sentence = f"Knowledge is below {words} at generation 0 already ({100 * here:.1f}%, {n:,} items)"
    sure = "not surely in any" if found.surely is None else f"surely from generation {found.surely}"
    sentence += f"; possibly from generation {found.earliest}, {sure}."
    made = finding(ANALYSIS, "time_to_failure", place, interval, sentence, unit="generation", **extra)
    yield replace(made, unbounded=interval.high is None)


def failures_over_seeds(study: Study, lineage: str, format: str, threshold: float) -> Iterator[Finding]:
    """`time_to_failure` of the recipe, the training run being the unit: nothing with fewer than two seeds."""
    failures: dict[int, Failure] = {}
    for seed in study.seeds(lineage):
        panel = study.panels.formats.get((lineage, seed, format))
        made = None if panel is None else failure_of(panel, threshold)
        if made is not None and any(s.value is not None for _, s in made[1]):
            failures[seed] = made[0]
    if len(failures) < 2:
        return
    found = median_time(list(failures.values()), level=LEVEL)
    failed = sum(f.failed for f in failures.values())
    place = (lineage, None, format)
    extra: dict[str, Any] = {
        "threshold": threshold,
        "failed": failed,
        "seeds": [
            {"seed": seed, "failed_at": f.right if f.failed else None, "after": f.left if np.isfinite(f.left) else None}
            for seed, f in failures.items()
        ],
    }
    words = f"{failed} of {len(failures)} seeds fell below {100 * threshold:g}% right"
    reason, bound = "", ""
    if found.low is None:
        bound = "; no interval with fewer than 6 seeds that failed early enough"
    elif found.high is None:
        bound = f"; at least {found.low:g} with {100 * LEVEL:g}% confidence"
    else:
        bound = f" ({found.low:g} to {found.high:g})"
    if found.value is None:
        reason = "fewer than half of the seeds have failed"
        sentence = f"{words}; the median time to failure lies beyond the generations seen{bound}."
    else:
        sentence = f"{words}; the median time to failure is generation {found.value:g}{bound}."
    yield finding(
        ANALYSIS,
        "time_to_failure",
        place,
        found,
        sentence,
        unit="generation",
        reason=reason,
        estimand="recipe",
        units="seeds",
        **extra,
    )

"""Rates of alarms, calls and delays on simulated runs: `python -m benchmarks.stages [--runs N] [--workers N]`.

Prints the tables of benchmarks/stages/results.md. Every run depends on its seed alone, so the numbers repeat.
"""

from __future__ import annotations

import argparse
import datetime
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from benchmarks.stages import coverage
from benchmarks.stages.worlds import LAST, NOISES, PLANTED, Sampled, World, null, simulate

from factfade.stage_panel import Panel
from factfade.stages import Rule, call_panels
from factfade.stats.intervals import p_beyond, wilson_bounds
from factfade.stats.multiplicity import holm
from factfade.stats.paired import mcnemar_mid_p, paired_mean
from factfade.stats.trend import items_trend

SIZES = (100, 300, 1000)
FORMATS = (1, 5)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One simulated run. `world` is an index: of the null noises, else of the planted decays."""

    planted: bool
    world: int
    n: int
    formats: int
    seed: int

    @property
    def truth(self) -> World:
        return PLANTED[self.world] if self.planted else null(NOISES[self.world])


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run came to. `stages` are the calls of the first format by generation."""

    job: Job
    trend: bool
    looks: bool
    called: bool
    uncorrected: bool
    stages: str
    onset: int | None
    sure: bool
    overconfident: bool
    domains: tuple[int, ...]


def trend_p(panels: Sequence[Panel]) -> float:
    """The primary alarm: one test over all formats of the run."""
    values = np.concatenate([p.knowledge for p in panels])
    clusters = np.concatenate([p.clusters for p in panels])
    items = np.concatenate([p.items for p in panels])
    found = items_trend(values, panels[0].generations, clusters, items=items)
    return 1.0 if found.p is None else found.p


def overconfidence_rose(panel: Panel) -> bool:
    """Confidence less accuracy, the last generation against the first, paired by item: a rise at one-sided 5%."""
    gap = panel.choice_confidence - panel.choice
    found = paired_mean(gap[:, -1], gap[:, 0], panel.clusters)
    p = p_beyond(found, 0.0)
    return p is not None and p < 0.05


def fallen_domains(panel: Panel, sampled: Sampled) -> tuple[int, ...]:
    """The domains whose trend falls, after Holm's correction over the domains."""
    names = sorted(set(sampled.domain.tolist()))
    found = [
        items_trend(panel.knowledge[sampled.domain == d], panel.generations, panel.clusters[sampled.domain == d])
        for d in names
    ]
    adjusted = holm([math.nan if one.p is None else one.p for one in found])
    return tuple(d for d, p in zip(names, adjusted.tolist(), strict=True) if p < 0.05)


def ten_looks(panel: Panel, alpha: float = 0.05) -> bool:
    """What an uncorrected reader does: one-sided mid-p McNemar at every generation, alarm at the first below 5%."""
    k = panel.knowledge
    for g in range(1, k.shape[1]):
        lost, gained = int(np.sum(k[:, 0] > k[:, g])), int(np.sum(k[:, 0] < k[:, g]))
        if lost > gained and mcnemar_mid_p(lost, gained) / 2 < alpha:
            return True
    return False


def one(job: Job) -> Outcome:
    """Simulate and judge."""
    rule = Rule()
    sampled = simulate(job.truth, n=job.n, formats=job.formats, seed=job.seed)
    panels = list(sampled.panels.formats.values())
    report = call_panels(sampled.panels, rule, controls={}, draws=0)
    bare = (
        call_panels(sampled.panels, replace(rule, family="none"), controls={}, draws=0) if not job.planted else report
    )
    first = [c for c in report.calls if c.format == panels[0].format]
    onsets = [o.generation for o in report.onsets if o.format == panels[0].format and o.stage in ("B", "C")]
    return Outcome(
        job=job,
        trend=trend_p(panels) < 0.05,
        looks=ten_looks(panels[0]),
        called=any(c.stage in ("B", "C") for c in report.calls),
        uncorrected=any(c.stage in ("B", "C") for c in bare.calls),
        stages="".join(c.stage[0] for c in sorted(first, key=lambda c: c.generation)),
        onset=min(onsets, default=None),
        sure=any("confidently_wrong" in c.flags for c in first),
        overconfident=overconfidence_rose(panels[0]),
        domains=fallen_domains(panels[0], sampled),
    )


def rate(hits: int, n: int) -> str:
    """A share in percent with its 95% Wilson interval."""
    low, high = wilson_bounds(hits, n, 1.959964)
    return f"{100 * hits / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def nulls(found: Sequence[Outcome]) -> Iterator[str]:
    """Alarms where nothing decays."""
    from scipy.stats import binom

    runs = len({o.job.seed for o in found})
    low, high = binom.interval(0.99, runs, 0.05)
    yield f"99% binomial band of 5% over {runs} runs: {100 * low / runs:.1f} to {100 * high / runs:.1f}%."
    yield ""
    yield "| noise | items | formats | trend alarm | any of 10 uncorrected looks | any B or C | the same uncorrected |"
    yield "|---|---|---|---|---|---|---|"
    for world, noise in enumerate(NOISES):
        for n in SIZES:
            for formats in FORMATS:
                own = [o for o in found if (o.job.world, o.job.n, o.job.formats) == (world, n, formats)]
                cells = [
                    rate(sum(getattr(o, k) for o in own), len(own)) for k in ("trend", "looks", "called", "uncorrected")
                ]
                yield f"| {noise} | {n} | {formats} | {' | '.join(cells)} |"


def planted(found: Sequence[Outcome]) -> Iterator[str]:
    """The confusion matrix: calls by true stage, generation by generation; onsets and their delay."""
    rule = Rule()
    yield "| planted | items | truth | generations | called A | called B | called C | undetermined |"
    yield "|---|---|---|---|---|---|---|---|"
    for world, truth in enumerate(PLANTED):
        for n in SIZES:
            own = [o for o in found if (o.job.world, o.job.n) == (world, n)]
            for stage in "ABC":
                when = [g for g in range(1, LAST + 1) if truth.truth(g, rule) == stage]
                if not when:
                    continue
                calls = Counter(o.stages[g - 1] for o in own for g in when)
                total = sum(calls.values())
                cells = " | ".join(f"{100 * calls[s] / total:.1f}" for s in "ABCu")
                yield f"| {truth.name} | {n} | {stage} | {when[0]} to {when[-1]} | {cells} |"
    yield ""
    yield "Onset of the first B or C (a call that the next generation repeats), against the generation of the truth:"
    yield ""
    yield "| planted | items | true onset | runs with onset | before the truth | mean delay (90% within) | alarm |"
    yield "|---|---|---|---|---|---|---|"
    for world, truth in enumerate(PLANTED):
        start = next((g for g in range(1, LAST + 1) if truth.truth(g, rule) != "A"), None)
        for n in SIZES:
            own = [o for o in found if (o.job.world, o.job.n) == (world, n)]
            have = [o.onset for o in own if o.onset is not None]
            early = sum(o < (start or 99) for o in have)
            delays = [] if start is None else [o - start for o in have if o >= start]
            delay = "" if not delays else f"{np.mean(delays):.2f} ({np.quantile(delays, 0.9):.0f})"
            cells = [rate(len(have), len(own)), rate(early, len(own)), delay]
            cells.append(rate(sum(o.trend for o in own), len(own)))
            yield f"| {truth.name} | {n} | {start or 'never'} | {' | '.join(cells)} |"
    yield ""
    yield "What no stage is made of: domains whose trend falls (Holm over domains), overconfidence that rose, the flag."
    yield ""
    yield "| planted | items | planted domain alone | another domain | overconfidence rose | confidently wrong |"
    yield "|---|---|---|---|---|---|"
    for world, truth in enumerate(PLANTED):
        for n in SIZES:
            own = [o for o in found if (o.job.world, o.job.n) == (world, n)]
            alone = rate(sum(o.domains == (0,) for o in own), len(own))
            other = rate(sum(1 in o.domains for o in own), len(own))
            rest = [rate(sum(o.overconfident for o in own), len(own)), rate(sum(o.sure for o in own), len(own))]
            if truth.domain_share == 1:
                alone = other = "one domain"
            yield f"| {truth.name} | {n} | {alone} | {other} | {' | '.join(rest)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400, help="simulated runs a cell of the null worlds")
    parser.add_argument("--planted-runs", type=int, default=200, help="simulated runs a cell of the planted decays")
    parser.add_argument("--workers", type=int, default=1)
    settings = parser.parse_args()
    jobs = [
        Job(planted=False, world=w, n=n, formats=f, seed=s)
        for w in range(len(NOISES))
        for n in SIZES
        for f in FORMATS
        for s in range(settings.runs)
    ]
    jobs += [
        Job(planted=True, world=w, n=n, formats=1, seed=10_000 + s)
        for w in range(len(PLANTED))
        for n in SIZES
        for s in range(settings.planted_runs)
    ]
    began = time.monotonic()
    with ProcessPoolExecutor(settings.workers) as pool:
        found = list(pool.map(one, jobs, chunksize=math.ceil(len(jobs) / (settings.workers * 50))))
    print("# How often the stage detector and the trend are right\n")
    print(
        f"`python -m benchmarks.stages --runs {settings.runs} --planted-runs {settings.planted_runs}`, "
        f"{datetime.date.today().isoformat()}, rule {Rule().sha256[:12]} (defaults), {LAST} generations, "
        f"{len(jobs):,} simulated runs. Percent, with 95% Wilson intervals over runs.\n"
    )
    print("## Nothing decays\n")
    print("\n".join(nulls([o for o in found if not o.job.planted])))
    print("\n## Planted decays (one format)\n")
    print("\n".join(planted([o for o in found if o.job.planted])))
    print("\n## Coverage of the intervals\n")
    print("\n".join(coverage.table()))
    print(f"\n{time.monotonic() - began:.0f} s with {settings.workers} worker(s).")


if __name__ == "__main__":
    main()

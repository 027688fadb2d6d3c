"""Two checkpoints, runs, arms or evidence files, compared question by question.

Both sides become one table of two generations, A before and B after, so that pairing, losses and lost items are those
of the stages. Losses are A minus B: positive where B is worse. `docs/compare-and-gate.md` argues for every choice.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from factfade import compare_looks as looks
from factfade.analysis import slope_formats, study_of
from factfade.compare_prints import Fingerprint, check_allowed, fingerprints, refuse
from factfade.compare_sides import Picked, pick
from factfade.errors import UsageError
from factfade.records import PROBES
from factfade.stage_conditions import Look, Pairs, Test
from factfade.stage_panel import Panel, Panels, build_panels
from factfade.stage_rule import Rule
from factfade.stats.intervals import p_beyond, student_tail
from factfade.stats.multiplicity import holm
from factfade.stats.paired import mcnemar_exact, mcnemar_mid_p, paired_loss
from factfade.stats.seeds import recipe_trend
from factfade.verdicts import Condition, Finding

if TYPE_CHECKING:
    import pandas as pd

    from factfade.report.data import Change

LINEAGE = "pair"
LEVEL = 0.95
TAU = 0.8


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What one side turned out to be."""

    label: str
    lineage: str
    seeds: tuple[int, ...]
    generation: int
    checkpoint: str
    step: int | None


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One line: an endpoint over all formats (`format` ""), in one, or in one domain of one. B against A.

    `loss` is positive where B is worse, with its interval at `level`; `before` and `after` are A's and B's values.
    `p` is two-sided, of no difference, by `test`; `p_holm` is adjusted within the family of formats or of domains.
    `p_exact` and `p_mid` are McNemar's, which take every pair of answers as independent. `margin` is the equivalence
    margin that the verdict "equivalent" speaks of. `seeds` are A's and B's; None in a line over all pairs of seeds.
    `estimand` is "checkpoints" (questions are the unit) or "recipe" (training runs are). `reason` says why there is
    no difference.
    """

    endpoint: str
    format: str = ""
    domain: str = ""
    seeds: tuple[int, int] | None = None
    before: float | None = None
    after: float | None = None
    loss: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    n: int = 0
    units: str = "items"
    unit: str = "share"
    answers: int = 0
    lost: int | None = None
    gained: int | None = None
    p: float | None = None
    p_holm: float | None = None
    p_exact: float | None = None
    p_mid: float | None = None
    test: str = ""
    method: str = ""
    margin: float = 0.05
    verdict: str = "absent"
    estimand: str = "checkpoints"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that is said of B against A. `interactions` ask whether formats fell differently, by pair of seeds;
    `lost` and `gained` are questions, most telling first; `unpaired` counts questions that only one side judged."""

    a: Chosen
    b: Chosen
    fingerprints: tuple[Fingerprint, ...]
    contrasts: tuple[Contrast, ...]
    interactions: tuple[Finding, ...]
    lost: tuple[Change, ...]
    gained: tuple[Change, ...]
    unpaired: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def contrast(self, endpoint: str, format: str = "", domain: str = "") -> Contrast | None:
        """The first line of that endpoint, format and domain; None where there is none."""
        at = (endpoint, format, domain)
        return next((c for c in self.contrasts if (c.endpoint, c.format, c.domain) == at), None)


def compare(a: str | Path | Picked, b: str | Path | Picked, *, allow: Collection[str] = ()) -> Comparison:
    """B against A, paired by question. Each side is `PATH[:LINEAGE][#SEED][@WHERE]` or picked already.

    `allow` names fields of the fingerprint that may differ. Raises UsageError where another one differs, where the
    sides have no seed or no question in common, and what the readers raise.
    """
    check_allowed(allow)
    first = a if isinstance(a, Picked) else pick(a)
    second = b if isinstance(b, Picked) else pick(b)
    prints = fingerprints(first, second, allow=allow)
    refuse(prints)
    pairs = _seed_pairs(first, second)
    evidence, panels = _joined(first, second, pairs)
    silent = next(one for one in prints if one.field == "reference").state == "differs"
    found = [c for at, seeds in enumerate(pairs) for c in _of_pair(evidence, panels, at, seeds, silent=silent)]
    if all(c.loss is None for c in found if c.endpoint in looks.ITEM_ENDPOINTS):
        raise UsageError("no question was judged on both sides", hint="compare evidence of the same questions")
    lost, gained = _changes(evidence, panels)
    return Comparison(
        a=_chosen(first),
        b=_chosen(second),
        fingerprints=prints,
        contrasts=tuple(_settled([*_recipes(found), *found] if len(pairs) > 1 else found)),
        interactions=_interactions(evidence, len(pairs)),
        lost=lost,
        gained=gained,
        unpaired=_unpaired(panels),
        notes=_notes(first, second, pairs),
    )


def _chosen(side: Picked) -> Chosen:
    return Chosen(
        label=side.label, lineage=side.lineage, seeds=side.seeds, generation=side.generation,
        checkpoint=side.checkpoint, step=side.step,
    )  # fmt: skip


def _seed_pairs(a: Picked, b: Picked) -> list[tuple[int, int]]:
    """Seeds that stand for each other: one of each side, or the same on both."""
    if len(a.seeds) == len(b.seeds) == 1:
        return [(a.seeds[0], b.seeds[0])]
    both = sorted(set(a.seeds) & set(b.seeds))
    if not both:
        raise UsageError(
            f"the sides have no seed in common: {list(a.seeds)} and {list(b.seeds)}", hint="name one each: PATH#SEED"
        )
    return [(seed, seed) for seed in both]


def _joined(a: Picked, b: Picked, pairs: Sequence[tuple[int, int]]) -> tuple[pd.DataFrame, Panels]:
    """One lineage of two generations, and its panels; its seeds are numbers of pairs."""
    import pandas as pd

    def table(name: str) -> pd.DataFrame | None:
        parts: list[pd.DataFrame] = []
        for at, seeds in enumerate(pairs):
            for generation, (side, seed) in enumerate(zip((a, b), seeds, strict=True)):
                whole: pd.DataFrame | None = getattr(side.case, name)
                if whole is not None:
                    rows = side.rows(whole, seed)
                    parts.append(rows.assign(lineage=LINEAGE, seed=at, generation=generation))
        parts = [one for one in parts if len(one)]
        return pd.concat(parts, ignore_index=True) if parts else None

    evidence = table("evidence")
    if evidence is None:
        raise UsageError("there is no evidence on either side", hint="see docs/evidence.md")
    evidence = evidence[~evidence["format"].isin(PROBES)].reset_index(drop=True)
    return evidence, build_panels(evidence, table("fluency"), table("own"))


def _panels(panels: Panels, at: int) -> list[Panel]:
    return [p for (_, seed, _), p in sorted(panels.formats.items()) if seed == at and len(p.generations) == 2]


def _tests() -> dict[str, Test]:
    """The endpoints with the margins of the default rule, which equivalence is read at."""
    rule = Rule()
    margins = {
        "knowledge": rule.knowledge, "format": rule.format, "confidence": rule.confidence,
        "fluency_nats": rule.fluency_nats, "fluency_junk": rule.fluency_junk,
    }  # fmt: skip
    return {name: looks.testing(name, margin, level=LEVEL, minimum=1) for name, margin in margins.items()}


def _of_pair(
    evidence: pd.DataFrame, panels: Panels, at: int, seeds: tuple[int, int], *, silent: bool
) -> list[Contrast]:
    """The lines of one pair of runs: over all formats, by format, fluency, by domain."""
    tests, by_format, by_domain = _tests(), list[Contrast](), list[Contrast]()
    knowledge: list[Look] = []
    for panel in _panels(panels, at):
        for endpoint in looks.ITEM_ENDPOINTS:
            look = looks.item_look(tests[endpoint], panel, 0, 1, tau=TAU)
            by_format.append(_contrast(look, endpoint, seeds, format=panel.format))
            if endpoint == "knowledge" and isinstance(look, Look):
                knowledge.append(look)
        domains = looks.domains_of(evidence, panel)
        for domain in sorted(set(domains.tolist()) - {""}):
            look = looks.item_look(tests["knowledge"], looks.part(panel, domains == domain), 0, 1)
            by_domain.append(_contrast(look, "knowledge", seeds, format=panel.format, domain=domain))
    over = [_pooled(knowledge, tests["knowledge"], panels, at, seeds)] if len(knowledge) > 1 else []
    texts: list[Contrast] = []
    for endpoint in looks.TEXT_ENDPOINTS:
        if endpoint == "fluency_nats" and silent:
            reason = "the completions were scored under different start models"
            texts.append(Contrast(endpoint=endpoint, seeds=seeds, units="prompts", unit="nats", reason=reason))
            continue
        look = looks.text_look(tests[endpoint], panels, (LINEAGE, at), 0, 1)
        if isinstance(look, Condition):
            look = replace(look, sentence="no completion of a fixed prompt is stored for both")
        texts.append(_contrast(look, endpoint, seeds))
    return [*over, *_corrected([*by_format, *texts]), *_corrected(by_domain)]


def _contrast(
    look: Look | Condition, endpoint: str, seeds: tuple[int, int], *, format: str = "", domain: str = ""
) -> Contrast:
    units = "prompts" if endpoint in looks.TEXT_ENDPOINTS else "items"
    blank = Contrast(
        endpoint=endpoint, format=format, domain=domain, seeds=seeds, units=units,
        unit=looks.UNITS.get(endpoint, "share"),
    )  # fmt: skip
    if isinstance(look, Condition):
        return replace(blank, reason=look.sentence, margin=look.margin)
    found, sample = look.found, look.sample
    base = replace(
        blank, before=look.ends[0], after=look.ends[1], loss=found.value, low=found.low, high=found.high, n=look.n,
        answers=found.n, method=found.method, margin=look.test.margin,
    )  # fmt: skip
    if not isinstance(sample, Pairs):
        upper = p_beyond(found, 0.0)
        p = None if upper is None else min(1.0, 2 * min(upper, 1 - upper))
        return replace(base, p=p, test="t, paired by prompt")
    return _paired(base, sample, found.clusters)


def _paired(base: Contrast, sample: Pairs, clusters: int) -> Contrast:
    """Lost and gained, and the test: McNemar's exact one where every pair is its own cluster, else its score one."""
    lost, gained = int(np.sum(sample.difference > 0)), int(np.sum(sample.difference < 0))
    exact, mid = mcnemar_exact(lost, gained), mcnemar_mid_p(lost, gained)
    base = replace(base, lost=lost, gained=gained, p_exact=exact, p_mid=mid)
    if clusters == len(sample.difference):
        return replace(base, p=exact, test="exact McNemar")
    if clusters < 2:
        return replace(base, p=None, test="none: one cluster")
    z = 0.0 if lost == gained else (lost - gained) / math.sqrt((lost + gained) * sample.effect)
    return replace(base, p=min(1.0, 2 * student_tail(abs(z), clusters - 1)), test="McNemar's score, cluster-robust")


def _pooled(knowledge: Sequence[Look], test: Test, panels: Panels, at: int, seeds: tuple[int, int]) -> Contrast:
    """Knowledge over all formats: every answer counts, the questions' clusters stay together."""
    samples = [look.sample for look in knowledge if isinstance(look.sample, Pairs)]
    difference = np.concatenate([one.difference for one in samples])
    clusters = np.concatenate([one.clusters for one in samples])
    found = paired_loss(difference > 0, difference < 0, clusters, level=test.level)
    weights = [len(one.difference) for one in samples]
    ends = [float(np.average([look.ends[i] for look in knowledge], weights=weights)) for i in (0, 1)]
    items = set[int]()
    for panel in _panels(panels, at):
        both = ~np.isnan(panel.knowledge[:, 0]) & ~np.isnan(panel.knowledge[:, 1])
        items |= set(panel.items[both].tolist())
    base = Contrast(
        endpoint="knowledge", seeds=seeds, before=ends[0], after=ends[1], loss=found.interval.value,
        low=found.interval.low, high=found.interval.high, n=len(items), answers=len(difference),
        method=found.interval.method, margin=test.margin,
    )  # fmt: skip
    sample = Pairs(difference=difference, clusters=clusters, effect=found.effect)
    return _paired(base, sample, found.interval.clusters)


def _recipes(found: Sequence[Contrast]) -> list[Contrast]:
    """Over pairs of seeds: the mean loss with the training run as the unit, for every line that each pair has."""
    groups: dict[tuple[str, str, str], list[Contrast]] = {}
    for one in found:
        groups.setdefault((one.endpoint, one.format, one.domain), []).append(one)
    lines: list[Contrast] = []
    for (endpoint, format, domain), group in groups.items():
        known = [c for c in group if c.before is not None and c.after is not None and c.loss is not None]
        if domain or len(known) < 2:
            continue
        trend = recipe_trend([c.loss or 0.0 for c in known], [0.0] * len(known), level=LEVEL)
        p = trend.p
        if p is not None:
            # Runs that agree to the last digit have the least p of a sign flip, in either direction.
            p = (
                min(1.0, 2 * min(p, 1 - p))
                if not trend.reason
                else 2.0 ** (1 - len(known))
                if trend.interval.value
                else 1.0
            )
        lines.append(
            Contrast(
                endpoint=endpoint,
                format=format,
                before=float(np.mean([c.before or 0.0 for c in known])),
                after=float(np.mean([c.after or 0.0 for c in known])),
                loss=trend.interval.value,
                low=trend.interval.low,
                high=trend.interval.high,
                n=len(known),
                units="pairs of runs",
                unit=known[0].unit,
                answers=0,
                p=p,
                test=trend.interval.method,
                method=trend.interval.method,
                margin=known[0].margin,
                estimand="recipe",
                reason=trend.reason,
            )
        )
    over = [c for c in lines if c.endpoint == "knowledge" and not c.format]
    return [*over, *_corrected([c for c in lines if c not in over])]


def _corrected(lines: Sequence[Contrast]) -> list[Contrast]:
    """One family: p values adjusted together (Holm 1979)."""
    adjusted = holm([math.nan if one.p is None else one.p for one in lines]) if lines else []
    return [replace(one, p_holm=None if math.isnan(p) else float(p)) for one, p in zip(lines, adjusted, strict=True)]


def _settled(lines: Sequence[Contrast]) -> list[Contrast]:
    """The verdict of every line: worse or better where the family's error rate shows it, equivalent within the margin,
    else open."""
    settled: list[Contrast] = []
    for one in lines:
        verdict = "absent"
        if one.loss is not None:
            p = one.p if one.p_holm is None else one.p_holm
            verdict = "open"
            if p is not None and p <= 1 - LEVEL and one.loss != 0.0:
                verdict = "worse" if one.loss > 0 else "better"
            elif one.low is not None and one.high is not None and -one.margin < one.low and one.high < one.margin:
                verdict = "equivalent"
        settled.append(replace(one, verdict=verdict))
    return settled


def _interactions(evidence: pd.DataFrame, pairs: int) -> tuple[Finding, ...]:
    """Whether formats lost differently, by pair of seeds: format labels permuted within clusters of questions."""
    found: list[Finding] = []
    for at in range(pairs):
        study = study_of(evidence[evidence["seed"] == at].reset_index(drop=True))
        found += [f for f in slope_formats.findings(study, LINEAGE) if f.name == "format_interaction"]
    return tuple(found)


def _changes(evidence: pd.DataFrame, panels: Panels) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    from factfade.report.changes import changes
    from factfade.report.collect import questions_of

    formats = sorted({name for _, _, name in panels.formats})
    return changes(evidence, panels, LINEAGE, formats, questions_of(evidence))


def _unpaired(panels: Panels) -> dict[str, int]:
    """Answers by endpoint that one side has and the other has not; those without any are left out."""
    found: dict[str, int] = {}
    for panel in panels.formats.values():
        if len(panel.generations) == 2:
            for endpoint in ("knowledge", "format"):
                count = looks.unpaired_items(endpoint, panel, 0, 1).total
                if count:
                    found[endpoint] = found.get(endpoint, 0) + count
    return found


def _notes(a: Picked, b: Picked, pairs: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    notes: list[str] = []
    for name, own in (("A", a), ("B", b)):
        alone = sorted(set(own.seeds) - {pair[name == "B"] for pair in pairs})
        if alone:
            notes.append(f"Seeds of {name} that the other side does not have are left out: {alone}.")
    precisions = [
        {str(record.record.get("model", {}).get("dtype", "")) for record in side.records.values()} - {""}
        for side in (a, b)
    ]
    if all(precisions) and precisions[0] != precisions[1]:
        notes.append(f"The models ran in different precisions: {sorted(precisions[0])} and {sorted(precisions[1])}.")
    return tuple(notes)

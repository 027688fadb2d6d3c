"""The lines of a comparison: every endpoint by format and domain, their tests, families and verdicts.

Losses are A minus B: positive where B is worse. The comparisons themselves are those of the stages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from factfade import compare_looks as looks
from factfade.stage_conditions import Look, Pairs, Test
from factfade.stage_panel import Panel, Panels
from factfade.stage_rule import Rule
from factfade.stats.intervals import p_beyond, student_tail
from factfade.stats.multiplicity import holm
from factfade.stats.paired import mcnemar_exact, mcnemar_mid_p, paired_loss
from factfade.stats.seeds import recipe_trend
from factfade.verdicts import Condition

if TYPE_CHECKING:
    import pandas as pd

LINEAGE = "pair"
LEVEL = 0.95
TAU = 0.8


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


def contrasts_of(
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


def over_seeds(found: Sequence[Contrast]) -> list[Contrast]:
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


def settled(lines: Sequence[Contrast]) -> list[Contrast]:
    """The verdict of every line: worse or better where the family's error rate shows it, equivalent within the margin,
    else open."""
    found: list[Contrast] = []
    for one in lines:
        verdict = "absent"
        if one.loss is not None:
            p = one.p if one.p_holm is None else one.p_holm
            verdict = "open"
            if p is not None and p <= 1 - LEVEL and one.loss != 0.0:
                verdict = "worse" if one.loss > 0 else "better"
            elif one.low is not None and one.high is not None and -one.margin < one.low and one.high < one.margin:
                verdict = "equivalent"
        found.append(replace(one, verdict=verdict))
    return found

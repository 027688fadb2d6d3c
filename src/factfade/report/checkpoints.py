"""Checkpoints beside their base: a row of scores each, the facts lost and gained by domain, and a sentence.

A position is the place of a checkpoint in the order of steps; 0 is the base. Scores are over every format and wording
that was judged, questions being the units; the losses and the stages are paired with the base by item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from factfade.columns import Codes, Floats, Place, as_text, names_of
from factfade.records import PROBES
from factfade.report import changes, estimates, measures, saying
from factfade.report.data import Change, CheckpointRow, Checkpoints, DomainFacts, FactChange, Facts
from factfade.report.turned import Turned, pair_of, turned
from factfade.stage_panel import Panel, Panels
from factfade.stats import intervals
from factfade.stats.paired import paired_loss
from factfade.verdicts import Score, StageReport

if TYPE_CHECKING:
    import pandas as pd

LEVEL = estimates.LEVEL


def compared(
    evidence: pd.DataFrame, panels: Panels, stages: StageReport, questions: Mapping[str, str]
) -> Checkpoints | None:
    """Every position of every lineage and seed against its base; None where no position has a base beside it.

    The share of confident wrong answers counts those of at least the rule's `tau`. Pure: the order of rows and of
    items changes nothing.
    """
    names = names_of(evidence)
    base: list[CheckpointRow] = []
    rows: list[CheckpointRow] = []
    for lineage, seed in sorted({place[:2] for place in panels.formats}):
        positions = sorted(g for place in names if place[:2] == (lineage, seed) for g in place[2:])
        if 0 not in positions:
            continue
        found = {g: turned(panels, lineage, seed, g) for g in positions if g}
        for position in positions:
            facts = None
            now = found.get(position)
            if now is not None:
                facts = _facts(evidence, panels, questions, (lineage, seed, position), now, found)
            row = _row(panels, stages, (lineage, seed, position), names, facts)
            (rows if position else base).append(row)
    if not rows:
        return None
    return Checkpoints(base=tuple(base), rows=tuple(rows), sentence=saying.audit(rows))


# ---------------------------------------------------------------------------------------------------------------
# Scores


def _row(
    panels: Panels,
    stages: StageReport,
    place: Place,
    names: Mapping[Place, tuple[str, int | None]],
    facts: Facts | None,
) -> CheckpointRow:
    lineage, seed, position = place
    name, step = names[place]
    own = _columns(panels, place)
    overall = next((o for o in stages.overall if (o.lineage, o.seed, o.generation) == place), None)
    calls = tuple(c for c in stages.calls if (c.lineage, c.seed, c.generation) == place)
    nats = [c for c in measures.own_cells(panels) if (c.lineage, c.seed, c.generation) == place]
    junk = [c for c in measures.junk_cells(panels) if (c.lineage, c.seed, c.generation) == place]
    row = CheckpointRow(
        position=position,
        name=name,
        step=step,
        lineage=lineage,
        seed=seed,
        knowledge=_share("knowledge", own, "knowledge", "nothing was judged"),
        knowledge_loss=_loss(panels, place, "knowledge"),
        format=_share("parseable", own, "parseable", "no free answers are stored"),
        format_loss=_loss(panels, place, "parseable"),
        nats=nats[0].score if nats else _none("own text under the base", "nats", "no own text is stored"),
        junk=junk[0].score if junk else _none("junk", "share", "no own text is stored"),
        confident_wrong=_confident_wrong(own, float(stages.rule.get("tau", 0.8))),
        stage=overall.stage if overall else None,
        formats={} if overall is None else {k: tuple(v) for k, v in overall.formats.items()},
        facts=facts,
    )
    return saying.with_sentence(row, calls)


def _columns(panels: Panels, place: Place) -> list[tuple[Panel, int]]:
    """The panels of a lineage and seed that were put at a position, each with its column there."""
    return [
        (panel, panel.generations.index(place[2]))
        for (lineage, seed, name), panel in sorted(panels.formats.items())
        if (lineage, seed) == place[:2] and place[2] in panel.generations and name not in PROBES
    ]


def _share(name: str, own: Sequence[tuple[Panel, int]], field: str, reason: str) -> Score:
    values = _stacked([getattr(panel, field)[:, at] for panel, at in own])
    items, clusters = _codes([p.items for p, _ in own]), _codes([p.clusters for p, _ in own])
    known = ~np.isnan(values)
    return estimates.share(name, values[known], items[known], clusters[known], reason)


def _loss(panels: Panels, place: Place, field: str) -> Score | None:
    """The share at the base less the share here, of what was judged at both; None at the base itself."""
    if place[2] == 0:
        return None
    own = [p for p in pair_of(panels, *place).formats.values() if p.format not in PROBES]
    ends = np.concatenate([getattr(p, field) for p in own]) if own else np.zeros((0, 2))
    items, clusters = _codes([p.items for p in own]), _codes([p.clusters for p in own])
    both = ~np.isnan(ends).any(axis=1)
    found = paired_loss(ends[both, 0], ends[both, 1], clusters[both], level=LEVEL).interval
    name = "knowledge lost" if field == "knowledge" else "parseable lost"
    return estimates.score(
        name, found, n=len(set(items[both].tolist())), unit="share", reason="nothing was judged at both"
    )


def _confident_wrong(own: Sequence[tuple[Panel, int]], tau: float) -> Score:
    """The share of judged answers that are wrong with a confidence of at least tau."""
    right = _stacked([panel.knowledge[:, at] for panel, at in own])
    sure = _stacked([panel.confidence[:, at] for panel, at in own])
    items, clusters = _codes([p.items for p, _ in own]), _codes([p.clusters for p, _ in own])
    known = ~np.isnan(right + sure)
    values = ((right == 0.0) & (sure >= tau)).astype(np.float64)
    name = f"wrong at a confidence of {tau:g} or more"
    return estimates.share(name, values[known], items[known], clusters[known], "no confidence is stored")


def _stacked(parts: Sequence[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros(0)


def _codes(parts: Sequence[Codes]) -> Codes:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)


def _none(name: str, unit: str, reason: str) -> Score:
    return Score(name=name, value=None, n=0, level=LEVEL, unit=unit, reason=reason)


# ---------------------------------------------------------------------------------------------------------------
# Facts


def _facts(
    evidence: pd.DataFrame,
    panels: Panels,
    questions: Mapping[str, str],
    place: Place,
    now: Turned,
    every: Mapping[int, Turned | None],
) -> Facts:
    lineage, seed, position = place
    two = pair_of(panels, lineage, seed, position)
    formats = [p.format for p in two.formats.values() if p.format not in PROBES]
    shown = changes.changes(evidence, two, lineage, formats, questions)
    texts = as_text(evidence, "item")
    at = {item: row for p in two.formats.values() for item, row in zip(p.items.tolist(), p.rows[:, 0], strict=True)}
    names = [str(texts[at[item]]) for item in now.items.tolist()]
    domain_of = measures.domains_of(evidence, two)
    domains = np.array([domain_of.get(item, "") for item in now.items.tolist()], dtype=object)
    since = {lost: _since(position, every, lost=lost) for lost in (True, False)}

    def listed(marks: NDArray[np.bool_], said: Sequence[Change], *, lost: bool) -> tuple[FactChange, ...]:
        of = {change.item: change for change in said}
        found = [
            FactChange(
                change=of[names[i]],
                turned=int((now.wrong_now if lost else now.right_now)[i]),
                of=int((now.right if lost else now.now)[i]),
                ways=int(now.ways[i]),
                firm=bool(now.turns.firm[i]) if lost else False,
                since=since[lost].get(int(now.items[i]), position),
            )
            for i in np.flatnonzero(marks).tolist()
        ]
        place_of = {change.item: n for n, change in enumerate(said)}
        return tuple(sorted(found, key=lambda one: (-one.turned, place_of[one.change.item])))

    parts = [
        DomainFacts(
            domain=str(domain),
            asked=int(here.sum()),
            known=int((here & now.known).sum()),
            lost_share=_lost_share(now, here),
            lost=listed(here & now.lost, shown[0], lost=True),
            gained=listed(here & now.gained, shown[1], lost=False),
        )
        for domain in sorted(set(domains.tolist()))
        for here in [domains == domain]
    ]
    whole = np.ones(len(now.items), dtype=np.bool_)
    return Facts(
        asked=len(now.items),
        known=int(now.known.sum()),
        known_entities=len(set(now.clusters[now.known].tolist())),
        lost=now.turns.lost,
        gained=now.turns.gained,
        firm=int(now.turns.firm.sum()),
        wavering=now.turns.wavering,
        wavering_share=now.turns.wavering_share,
        share=now.turns.share,
        unjudged=now.unjudged,
        lost_share=_lost_share(now, whole),
        net=_net(now),
        domains=tuple(sorted(parts, key=lambda part: (-len(part.lost), part.domain))),
    )


def _lost_share(now: Turned, here: NDArray[np.bool_]) -> Score:
    """The share of lost facts among those that the base knows."""
    at = here & now.known
    lost = now.lost[at].astype(np.float64)
    return estimates.share("facts lost", lost, now.items[at], now.clusters[at], "the base knows none")


def _net(now: Turned) -> Score:
    """Lost less gained facts, of all facts judged at both ends, with the interval of a paired difference."""
    lost, gained = now.lost.astype(np.float64), now.gained.astype(np.float64)
    found = intervals_of(lost, gained, now.clusters)
    return estimates.score("facts lost less gained", found, n=len(now.items), unit="share", reason="nothing was judged")


def intervals_of(lost: Floats, gained: Floats, clusters: Codes) -> intervals.Interval:
    """Tango's interval of the share lost less the share gained, robust to facts about one entity going together."""
    return paired_loss(lost, gained, clusters, level=LEVEL).interval


def _since(position: int, every: Mapping[int, Turned | None], *, lost: bool) -> dict[int, int]:
    """Item -> the first position from which it is lost (gained) at each one up to this."""
    found: dict[int, int] = {}
    for earlier in sorted((p for p in every if p <= position), reverse=True):
        one = every[earlier]
        marked = set[int]() if one is None else set(one.items[one.lost if lost else one.gained].tolist())
        if earlier == position:
            found = dict.fromkeys(marked, position)
        else:
            found = {
                i: earlier if i in marked and first == _next(every, earlier) else first for i, first in found.items()
            }
    return found


def _next(every: Mapping[int, Turned | None], position: int) -> int:
    return min(p for p in every if p > position)

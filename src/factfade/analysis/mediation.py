"""How much of the loss of right free answers goes through the format, and how much is direct (after arXiv 2502.05085)?

Mediator: the free answer is parseable. Outcome: it is correct. Treatment: a generation against generation 0, on the
items asked in both. Option order, which would confound the two, is permuted by item and equal in every generation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from factfade.analysis.saying import finding, number, plain, said
from factfade.analysis.stacked import panels_of
from factfade.stats.mediation import PARTS, Mediation, mediation

if TYPE_CHECKING:
    from factfade.analysis.study import Study
    from factfade.columns import Floats
    from factfade.stage_panel import Panel
    from factfade.verdicts import Finding

NAMES = {"total": "loss", "direct": "loss_direct", "indirect": "loss_through_format", "overlap": "loss_overlap"}
WORDS = {
    "total": "Loss of right free answers at generation {}",
    "direct": "Lost directly at generation {}, had as many answers been parseable as at generation 0 (NDE)",
    "indirect": "Lost through the format at generation {}, had parseable answers been right as often as at "
    "generation 0 (NIE)",
    "overlap": "Lost both ways at generation {}, and counted in both (taken off)",
}


def findings(study: Study) -> list[Finding]:
    """Per run and format the four parts at the last generation, with their curve in `extra`."""
    return [
        one
        for lineage, seed in study.runs
        for panel in panels_of(study, lineage, seed)
        if not np.isnan(panel.parseable).all()
        for one in _panel(panel, 1 - 2 * study.alpha)
    ]


def split(panel: Panel, column: int, level: float, *, adjusted: bool = False) -> Mediation:
    """The split at one generation. Adjusted: within items right, and items wrong, by choice at generation 0."""
    start = panel.generations.index(0)
    read, right = panel.parseable, np.where(panel.parseable == 1.0, panel.free, panel.parseable)
    both = ~np.isnan(read[:, start]) & ~np.isnan(read[:, column])
    strata: Floats | None = None
    if adjusted:
        both &= ~np.isnan(panel.choice[:, start])
        strata = panel.choice[both, start]
    return mediation(
        (read[both, start], right[both, start]),
        (read[both, column], right[both, column]),
        panel.clusters[both],
        strata=strata,
        level=level,
    )


def _panel(panel: Panel, level: float) -> list[Finding]:
    place = (panel.lineage, panel.seed, panel.format)
    later = [j for j, g in enumerate(panel.generations) if g > 0]
    if 0 not in panel.generations or not later:
        reason = "generation 0 is missing" if 0 not in panel.generations else "there is no later generation"
        return [
            finding("mediation", name, place, None, f"Undetermined: {reason}.", reason=reason)
            for name in NAMES.values()
        ]
    splits = [split(panel, j, level) for j in later]
    adjusted = split(panel, later[-1], level, adjusted=True)
    generation = panel.generations[later[-1]]
    found: list[Finding] = []
    for part in PARTS:
        one, other = getattr(splits[-1], part), getattr(adjusted, part)
        reason = "" if one.value is not None else splits[-1].reason or "no item was asked in both generations"
        words = WORDS[part].format(generation)
        sentence = f"{words}: {said(one, 'share')}."
        if reason:
            sentence = f"{words}: undetermined; {reason}."
        elif other.value is not None and part != "total":
            sentence += f" Within items right and wrong by choice at generation 0: {number(other.value, 'share')}."
        found.append(
            finding(
                "mediation",
                NAMES[part],
                place,
                one,
                sentence,
                reason=reason,
                generation=generation,
                adjusted=None if other.value is None else plain(other),
                curve=[
                    {"generation": panel.generations[j], **plain(getattr(s, part))}
                    for j, s in zip(later, splits, strict=True)
                ],
            )
        )
    return found

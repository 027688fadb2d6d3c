"""What an audit answers: every checkpoint beside the base, the facts that each lost and gained, and one sentence.

`answer` computes it from stored evidence alone; `report.page` and `report.terminal` show it, `to_json` is for programs.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from factfade.errors import Inconclusive
from factfade.judging import Case
from factfade.report import checkpoints
from factfade.report.collect import questions_of
from factfade.report.data import Checkpoints
from factfade.stage_panel import build_panels
from factfade.verdicts import StageReport


def answer(case: Case, report: StageReport | None = None) -> Checkpoints:
    """The answer for a case whose generations are checkpoints; `report` are its stage calls where they are made.

    Raises Inconclusive where no checkpoint was evaluated beside the base.
    """
    evidence, fluency, own = case.tables()
    panels = build_panels(evidence, fluency, own)
    found = checkpoints.compared(evidence, panels, report or case.stages(), questions_of(evidence))
    if found is None:
        raise Inconclusive(
            "no checkpoint is evaluated beside its base", hint="audit at least one checkpoint, and the base with it"
        )
    return found


def lost_items(found: Checkpoints) -> dict[tuple[str, int, int], tuple[str, ...]]:
    """(lineage, seed, position) -> ids of the items that were lost there, sorted."""
    return {
        (row.lineage, row.seed, row.position): tuple(
            sorted(change.change.item for domain in row.facts.domains for change in domain.lost)
        )
        for row in found.rows
        if row.facts is not None
    }


def to_json(found: Checkpoints) -> dict[str, Any]:
    """Plain data: the sentence, the bases and the checkpoints with their scores and every fact lost and gained."""
    return asdict(found)

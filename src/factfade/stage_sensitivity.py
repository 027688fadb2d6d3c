"""How the onsets move with each margin of the rule: what a reader asks who would have chosen another margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from factfade.stage_panel import Panels
from factfade.stage_rule import ENDPOINTS, Rule
from factfade.stages import call_panels
from factfade.verdicts import Stage

FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class Move:
    """The earliest onset of a stage over formats at one value of one margin; None where there is none.

    `margin` names the setting, `value` is in its own unit (share or nats); `formats` counts the formats with an onset.
    """

    lineage: str
    seed: int
    margin: str
    value: float
    stage: Stage
    generation: int | None
    formats: int


def moves(
    panels: Panels,
    rule: Rule,
    *,
    controls: Mapping[str, str | None],
    marks: Mapping[str, Sequence[str]] | None = None,
    factors: Sequence[float] = FACTORS,
) -> tuple[Move, ...]:
    """Onsets of B and C at multiples of each margin, the other margins as the rule has them. Shares stay at most 1."""
    found: list[Move] = []
    for margin in ENDPOINTS:
        base = float(getattr(rule, margin))
        for factor in factors:
            value = base * factor if margin == "fluency_nats" else min(1.0, base * factor)
            other = replace(rule, **{margin: value})
            report = call_panels(panels, other, controls=controls, marks=marks, draws=0)
            for lineage, seed in sorted({(c.lineage, c.seed) for c in report.calls}):
                stages: tuple[Stage, ...] = ("B", "C")
                for stage in stages:
                    own = [
                        o.generation for o in report.onsets if (o.lineage, o.seed, o.stage) == (lineage, seed, stage)
                    ]
                    found.append(
                        Move(
                            lineage=lineage,
                            seed=seed,
                            margin=margin,
                            value=value,
                            stage=stage,
                            generation=min(own, default=None),
                            formats=len(own),
                        )
                    )
    return tuple(found)

"""What every analysis reads: the stored tables, their aligned panels, the controls and the error rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from factfade.stage_panel import Panel, Panels, build_panels

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Study:
    """Tables as in docs/evidence.md (`fluency` and `own` may be None), and their panels.

    `controls` names each lineage's own control, `twins` the lineage that a chain with a changed shard of human text is
    compared with; `alpha` is one-sided; `margin` is the stage rule's margin of
    knowledge, a share.
    """

    evidence: pd.DataFrame
    fluency: pd.DataFrame | None
    own: pd.DataFrame | None
    panels: Panels
    controls: Mapping[str, str | None] = field(default_factory=dict)
    alpha: float = 0.05
    margin: float = 0.05
    twins: Mapping[str, str] = field(default_factory=dict)

    def control_of(self, lineage: str) -> str | None:
        """The lineage's own control; None where it has none (or is named as its own)."""
        name = self.controls.get(lineage)
        return None if name == lineage else name

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Every (lineage, seed) of the evidence."""
        return sorted({(lineage, seed) for lineage, seed, _ in self.panels.formats})

    @property
    def lineages(self) -> list[str]:
        return sorted({lineage for lineage, _ in self.runs})

    @property
    def formats(self) -> list[str]:
        return sorted({format for _, _, format in self.panels.formats})

    def seeds(self, lineage: str) -> list[int]:
        """The seeds of a lineage."""
        return [seed for name, seed in self.runs if name == lineage]

    def of(self, lineage: str, seed: int) -> Iterator[Panel]:
        """The panels of one run, by format."""
        for format in self.formats:
            panel = self.panels.formats.get((lineage, seed, format))
            if panel is not None:
                yield panel


def study_of(
    evidence: pd.DataFrame,
    fluency: pd.DataFrame | None = None,
    own: pd.DataFrame | None = None,
    *,
    controls: Mapping[str, str | None] | None = None,
    alpha: float = 0.05,
    margin: float = 0.05,
    twins: Mapping[str, str] | None = None,
) -> Study:
    """A study of tables. Raises DataError for repeated keys, as `build_panels` does."""
    return Study(
        evidence=evidence,
        fluency=fluency,
        own=own,
        panels=build_panels(evidence, fluency, own),
        controls=controls or {},
        alpha=alpha,
        margin=margin,
        twins=twins or {},
    )

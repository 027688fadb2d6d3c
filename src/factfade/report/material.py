"""What a report is made of, and what stands in its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from factfade.manifest import Manifest
from factfade.records import PROBES
from factfade.report.data import RecordTable
from factfade.verdicts import StageReport

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the store holds of an experiment. `own` are completions of the fixed prompts; `questions` texts by item.

    `only` names the runs that were asked for; None means all of the experiment. `audited`: the generations are
    checkpoints that somebody else trained, of which `failures` (name, reason) could not be evaluated. `arena` is what
    the declared comparison between arms gave, where there is one.
    """

    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    steps: Mapping[tuple[str, int, int], Mapping[str, Manifest]]
    evidence: pd.DataFrame
    fluency: pd.DataFrame
    own: pd.DataFrame
    stages: StageReport
    controls: Mapping[str, str | None] = field(default_factory=dict)
    questions: Mapping[str, str] = field(default_factory=dict)
    only: frozenset[tuple[str, int]] | None = None
    audited: bool = False
    failures: tuple[tuple[str, str], ...] = ()
    arena: tuple[RecordTable, ...] = ()
    arena_sentences: tuple[str, ...] = ()


def arms_of(material: Material) -> list[str]:
    """The arms that have evidence, in the order of the settings."""
    named = list(section(material.settings, "arms"))
    there = [str(a) for a in material.evidence["lineage"].unique()]
    return [a for a in named if a in there] + sorted(a for a in there if a not in named)


def formats_of(material: Material) -> tuple[str, ...]:
    """The formats that have evidence, probes left out, in the order of the settings."""
    specs = section(material.settings, "evaluation").get("formats") or ()
    named = [str(spec.get("kind")) if isinstance(spec, Mapping) else str(spec) for spec in specs]
    there = [str(f) for f in material.evidence["format"].unique() if f not in PROBES]
    return tuple([f for f in named if f in there] + sorted(f for f in there if f not in named))


def section(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table of the settings; an empty one where there is none."""
    found = mapping.get(name)
    return found if isinstance(found, Mapping) else {}

"""A path -> tables, rule and controls -> the report of stages, and the findings beside it.

A path is an experiment's folder, one run in it, an audit's folder, or evidence that another tool made
(`foreign.open_tables`). An experiment and an audit bring a rule that was declared before their data; an experiment
brings its controls too, and what its record says of artefacts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factfade import analysis, auditfolder, foreign, reading, stages
from factfade.columns import positions_of
from factfade.config import Experiment
from factfade.errors import Inconclusive, NotFound
from factfade.places import Places
from factfade.stage_panel import Panels, build_panels
from factfade.stage_sensitivity import Move, moves
from factfade.store import ExperimentFolder
from factfade.verdicts import Finding, StageReport

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything that a judgement reads. `declared` is the rule stored before the data, None where none was, and
    `declared_sha256` its hash as it was stored: by the code of then.

    `marks` are artefacts by lineage that the record knows of; `notes` say what the path lacks. `twins` names
    the arm that each arm with a changed shard of human text is compared with.
    """

    evidence: pd.DataFrame
    fluency: pd.DataFrame | None
    own: pd.DataFrame | None
    controls: Mapping[str, str | None]
    declared: stages.Rule | None = None
    declared_sha256: str | None = None
    marks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    twins: Mapping[str, str] = field(default_factory=dict)
    places: Places = field(default_factory=Places)
    """What the generations are called where they are shown."""

    @cached_property
    def panels(self) -> Panels:
        """The tables, aligned once. Raises DataError for repeated keys."""
        return build_panels(self.evidence, self.fluency, self.own)

    def stages(self, rule: stages.Rule | None = None, *, draws: int = stages.DRAWS) -> StageReport:
        """The calls by `rule`, else by the declared one, else by the default."""
        applied = rule or self.declared or stages.Rule()
        report = stages.call_panels(
            self.panels,
            applied,
            controls=self.controls,
            draws=draws,
            marks=self.marks,
            declared_sha256=self.declared_sha256,
        )
        return replace(report, notes=(*report.notes, *self.notes))

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Evidence, fluency and own completions as the metrics take them: an absent table is an empty one."""
        import pandas as pd

        fluency = pd.DataFrame() if self.fluency is None else self.fluency
        return self.evidence, fluency, pd.DataFrame() if self.own is None else self.own

    def sensitivity(self, rule: stages.Rule | None = None) -> tuple[Move, ...]:
        """How the onsets move when one margin of the rule is smaller or larger."""
        return moves(self.panels, rule or self.declared or stages.Rule(), controls=self.controls, marks=self.marks)

    def study(self, rule: stages.Rule | None = None) -> analysis.Study:
        """The tables as the analyses take them, at the error rate and the margin of the rule."""
        applied = rule or self.declared or stages.Rule()
        return analysis.study_of(
            self.evidence,
            self.fluency,
            self.own,
            controls=self.controls,
            alpha=applied.alpha,
            margin=applied.knowledge,
            twins=self.twins,
        )


def open_case(path: str | Path, *, control: str | None = None) -> Case:
    """The case at a path. `control` names the lineage that is the control of every other one, over what the
    experiment says.

    Raises NotFound, IntegrityError and DataError as the readers do, Inconclusive where nothing is evaluated yet.
    """
    try:
        folder = auditfolder.open_folder(path)
    except NotFound:
        tables = foreign.open_tables(path, control=control)
        return Case(
            evidence=tables.evidence,
            fluency=tables.fluency,
            own=tables.own,
            controls=tables.controls,
            notes=tables.notes,
        )
    return experiment_case(folder, control=control)


def experiment_case(
    folder: ExperimentFolder, *, control: str | None = None, columns: Collection[str] | None = None
) -> Case:
    """The case of an experiment's folder; of one run and its control where the folder was opened at a run.

    `columns` are those of the evidence that are kept; None means all. `stage_panel.EVIDENCE_READ` is enough for
    stages.
    """
    experiment = Experiment.model_validate(folder.settings())
    controls: dict[str, str | None] = {name: experiment.control_of(name) for name in experiment.arms}
    if control is not None:
        if control not in experiment.arms:
            raise NotFound(f"there is no arm {control!r}", hint=f"one of {', '.join(experiment.arms)}")
        controls = {name: None if name == control else control for name in experiment.arms}
    whole, lineages = scope(folder, controls)
    evidence = reading.load_evidence(whole, lineages=lineages, columns=columns)
    if evidence.empty:
        raise Inconclusive(
            f"nothing is evaluated yet in {folder.root}", hint="let the run reach its first evaluation, then ask again"
        )
    return Case(
        evidence=evidence,
        fluency=reading.load_fluency(whole, lineages=lineages),
        own=reading.load_own(whole, lineages=lineages),
        controls=controls,
        declared=stages.Rule.from_section(experiment.stages),
        declared_sha256=str(folder.environment().get("stage_rule_sha256", "")) or None,
        marks={name: marks for name in experiment.arms if (marks := _marks(experiment, name))},
        places=Places.of(positions_of(evidence)) if isinstance(folder, auditfolder.AuditFolder) else Places(),
        twins=experiment.twins(),
    )


def scope(
    folder: ExperimentFolder, controls: Mapping[str, str | None]
) -> tuple[ExperimentFolder, set[tuple[str, int]] | None]:
    """The folder to read from and the runs to take: one run is read with its control beside it."""
    if folder.only is None:
        return folder, None
    arm, seed = folder.only.arm, folder.only.seed
    control = controls.get(arm)
    return ExperimentFolder(root=folder.root), {(arm, seed)} | ({(control, seed)} if control else set())


def _marks(experiment: Experiment, arm: str) -> tuple[str, ...]:
    """Artefacts that the settings themselves tell of."""
    return ("right_padding",) if experiment.arm(arm).synthesis.padding == "right" else ()


def findings_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings as plain data."""
    return [asdict(one) for one in findings]


def to_json(report: StageReport, findings: Sequence[Finding] = (), moved: Sequence[Move] = ()) -> dict[str, Any]:
    """Plain data of a judgement: the report of stages, `findings`, and `sensitivity` where it was asked for."""
    data = {**stages.to_json(report), "findings": findings_json(findings)}
    return {**data, "sensitivity": [asdict(one) for one in moved]} if moved else data

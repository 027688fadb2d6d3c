"""An experiment's folder -> Material: only what manifests list, and the stage calls of it by the stored rule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from factfade import reading, stages, store
from factfade.config import Experiment
from factfade.errors import Inconclusive
from factfade.report.summary import Material
from factfade.store import ExperimentFolder

if TYPE_CHECKING:
    import pandas as pd


def material(root: str | Path) -> Material:
    """Everything the store holds of the experiment, or of the one run named by its path and that run's control.

    Raises NotFound, IntegrityError and DataError as the readers do, Inconclusive where nothing is evaluated.
    """
    folder = store.open_experiment(root)
    settings = folder.settings()
    experiment = Experiment.model_validate(settings)
    controls = {name: experiment.control_of(name) for name in experiment.arms}
    whole, lineages = _scope(folder, controls)
    evidence = reading.load_evidence(whole, lineages=lineages)
    if evidence.empty:
        raise Inconclusive(
            f"nothing is evaluated yet in {folder.root}", hint="let the run reach its first evaluation, then ask again"
        )
    fluency, own = reading.load_fluency(whole, lineages=lineages), reading.load_own(whole, lineages=lineages)
    return Material(
        settings=settings,
        environment=folder.environment(),
        steps={k: v for k, v in reading.manifests(whole).items() if lineages is None or k[:2] in lineages},
        evidence=evidence,
        fluency=fluency,
        own=own,
        stages=stages.call_stages(
            evidence, fluency, own, stages.Rule.from_section(experiment.stages), controls=controls
        ),
        controls=controls,
        questions=_questions(evidence),
        only=None if lineages is None else frozenset(lineages),
    )


def place(root: str | Path, name: str) -> Path:
    """Where a file about `root` is written: in the experiment's folder, or in the one run's."""
    folder = store.open_experiment(root)
    return folder.path(name) if folder.only is None else folder.only.path / name


def _scope(
    folder: ExperimentFolder, controls: dict[str, str | None]
) -> tuple[ExperimentFolder, set[tuple[str, int]] | None]:
    """The folder to read from and the runs to take: one run is read with its control beside it."""
    if folder.only is None:
        return folder, None
    arm, seed = folder.only.arm, folder.only.seed
    control = controls.get(arm)
    return ExperimentFolder(root=folder.root), {(arm, seed)} | ({(control, seed)} if control else set())


def _questions(evidence: pd.DataFrame) -> dict[str, str]:
    """Texts of the questions by item, where the evidence carries them in a column `question`."""
    if "question" not in evidence.columns:
        return {}
    known = evidence.loc[evidence["question"].notna(), ["item", "question"]].drop_duplicates("item")
    return {str(item): str(text) for item, text in zip(known["item"], known["question"], strict=True)}

"""A common prefix is computed once: a synthesis that another arm has made already is taken from there.

Arms that differ in what they train on, or how, write the same text for their first training under one run seed: same
start model, same prompts, same settings. Their step keys say so, since a key holds everything that a step's output
depends on. What is taken over is what would have been computed: only the lineage's name in the table is another.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from factfade import tables
from factfade.errors import IntegrityError
from factfade.history import COMPLETIONS_FILE, HUMAN_FILE
from factfade.manifest import Manifest, read_manifest
from factfade.steps import Step
from factfade.store import RunFolder


def adopted(step: Step, run: RunFolder, *, lineage: str) -> bool:
    """Commits the synthesize step as another arm of the same seed has it; False where none has it under this key.

    The record is the same and the seconds are those of the first computation; `times` names the arm they are from.
    """
    found = _sibling(step, run)
    if found is None:
        return False
    arm, manifest = found
    with step.writing() as draft:
        rows = tables.rows(tables.read(manifest.path(COMPLETIONS_FILE), "completions"))
        tables.write(draft.path / COMPLETIONS_FILE, [{**row, "lineage": lineage} for row in rows], "completions")
        shutil.copyfile(manifest.path(HUMAN_FILE), draft.path / HUMAN_FILE)
        draft.record.update(manifest.record)
        draft.times.update(manifest.times, taken_from=arm)
    return True


def _sibling(step: Step, run: RunFolder) -> tuple[str, Manifest] | None:
    """The first arm, by name, that has the step under the same key, with every file as it was written."""
    place = step.folder.relative_to(run.path)
    for other in sorted(run.root.glob(f"*/seed-{run.seed}")):
        if other.parent.name == run.arm:
            continue
        manifest = _read(other / place, step.name)
        if manifest is not None and not step.key.differences(manifest.key, manifest.libraries, allow=()):
            return other.parent.name, manifest
    return None


def _read(folder: Path, name: str) -> Manifest | None:
    """A sound manifest; None where there is none, or a damaged one: that arm's own reading will say so."""
    try:
        manifest = read_manifest(folder / f"{name}.json")
        if manifest is not None:
            manifest.verify()
    except IntegrityError:
        return None
    return manifest

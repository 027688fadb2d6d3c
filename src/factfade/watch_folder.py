"""The folder of a watched training: an audit's, written while the training goes on.

What an earlier training left in it is moved into `.earlier-trainings`; nothing is deleted but the copy of the start
model. A folder that something else has written is refused.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from factfade import durable, stages, store, versions
from factfade.audit_settings import AuditSettings
from factfade.auditfolder import AUDIT, BASE, CHECKPOINTS, RECORD, AuditFolder, place_name
from factfade.errors import EXIT_FAILED, FactfadeError, UsageError
from factfade.store import ENVIRONMENT
from factfade.text import safe_text

PILOT = ".pilot"
START = ".start"
EARLIER_TRAININGS = ".earlier-trainings"
VERSION = 1


class WatchFolder:
    """`root`, with the rows of its record: one for each evaluation, made or failed, the base first."""

    def __init__(self, root: Path, settings: AuditSettings) -> None:
        self.root = root
        self.settings = settings
        self.rows: list[dict[str, Any]] = []
        self.notes: list[str] = []

    @property
    def audit(self) -> AuditFolder:
        """The folder as its readers see it."""
        return AuditFolder(root=self.root)

    @property
    def pilot(self) -> Path:
        """Where the speed is measured; gone afterwards."""
        return self.root / PILOT

    @property
    def start(self) -> Path:
        """The copy of the start model."""
        return self.root / START

    @property
    def settings_changed(self) -> bool:
        """Whether audit.toml holds other settings than these."""
        return self.audit.stored() != tomllib.loads(self.settings.toml())

    def declare(self, name: str, about: Mapping[str, Any]) -> None:
        """audit.toml and environment.json, before anything is asked."""
        durable.make_folder(self.root)
        durable.write_text(self.root / AUDIT, self.settings.toml())
        rule = stages.Rule.from_section(self.settings.stages)
        environment = {
            "callback": dict(about),
            "model": name,
            "stage_rule": self.settings.stages.model_dump(mode="json"),
            "stage_rule_sha256": rule.sha256,
            "versions": versions.recorded(),
        }
        durable.write_json(self.root / ENVIRONMENT, environment)

    def clear(self) -> None:
        """What an earlier training left here is kept aside; a folder of something else is refused."""
        if not self.root.is_dir():
            return
        found = sorted(path for path in self.root.iterdir() if not path.name.startswith("."))
        if not found:
            return
        if not (self.root / AUDIT).is_file() or "callback" not in AuditFolder(root=self.root).environment():
            raise UsageError(
                f"{self.root} holds {safe_text(found[0].name, limit=80, keep='')}, which no callback has written",
                hint="give the callback an empty or a new folder: out=...",
            )
        for path in found:
            self.set_aside(path)
        durable.remove_tree(self.root / START)

    def set_aside(self, path: Path) -> None:
        """Moves a file or folder below `.earlier-trainings`, under the next number that is free."""
        number = 1
        while (target := self.root / EARLIER_TRAININGS / f"{number:03d}" / path.name).exists():
            number += 1
        durable.make_folder(target.parent)
        durable.move(path, target)

    def held(self) -> ExitStack:
        held = ExitStack()
        durable.make_folder(self.root)
        held.enter_context(durable.lock(self.root / store.LOCK))
        return held

    def row(self, position: int, step: int, *, state: str, failure: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return {
            "position": position, "name": f"step-{step}", "path": "", "kind": "live", "step": step,
            "folder": self.place(position, step), "state": state, "identity": {}, "failure": failure,
        }  # fmt: skip

    def place(self, position: int, step: int) -> str:
        return f"{CHECKPOINTS}/{place_name(position, f'step-{step}')}" if position else BASE

    def failed(self, position: int, step: int, error: BaseException) -> None:
        """Records what was not measured, and why."""
        text = str(error) if isinstance(error, FactfadeError) else f"{type(error).__name__}: {error}"
        failure = {
            "message": safe_text(text, limit=1000, keep=""),
            "hint": safe_text(error.hint, limit=1000, keep="") if isinstance(error, FactfadeError) else "",
            "exit_code": error.exit_code if isinstance(error, FactfadeError) else EXIT_FAILED,
        }
        self.rows.append(self.row(position, step, state="failed", failure=failure))
        self.write()

    def write(self) -> None:
        """audit.json: every evaluation that was made, every one that failed, and what is left out of all of them."""
        durable.make_folder(self.root)
        checkpoints = [one for one in self.rows if one["position"]]
        record = {
            "version": VERSION,
            "name": self.settings.audit.name,
            "made_by": "callback",
            "rule_sha256": stages.Rule.from_section(self.settings.stages).sha256,
            "base": next((one for one in self.rows if not one["position"]), None),
            "checkpoints": checkpoints,
            "failures": [one["name"] for one in self.rows if one["state"] == "failed"],
            "notes": self.notes,
        }
        durable.write_json(self.root / RECORD, record)

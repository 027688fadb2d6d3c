"""Audit checkpoints that somebody trained: which facts does each still know, beside the base it came from?

    checkpoints in step order --evaluate--> evidence --stages--> calls, all by the loop's own steps

The base is generation 0, the checkpoints are the generations after it. Every evaluation is committed or absent, so an
interrupted audit goes on where it stopped; one that exists already under the same content is taken over, so a second
audit loads no model. A checkpoint that fails is reported, and the others finish.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from factfade import auditfolder, checkpoints, durable, evaluate, judging, stages, store, versions
from factfade.assembly import Parts, assemble
from factfade.audit_bench import Bench, Named
from factfade.audit_settings import AuditSettings
from factfade.auditfolder import AUDIT, BASE, CHECKPOINTS, EARLIER, RECORD, SERIES, AuditFolder, open_audit
from factfade.checkpoints import Checkpoint
from factfade.errors import EXIT_FAILED, FactfadeError, Locked, OutOfSpace, Stopped, StorageFailed, UsageError
from factfade.evidence_cache import STEP, Content, Evidence, content_of, has_tokenizer, key_of, take_over
from factfade.judging import Case
from factfade.keys import check_settings, normalised, refuse, sealed
from factfade.models import loading, lora
from factfade.models.prompting import tokenizer_sha256
from factfade.protocols import Progress
from factfade.records import sha256_text
from factfade.steps import SHARDS, Step
from factfade.text import safe_text

STAGES = "stages.json"
RECORD_VERSION = 1
# What says nothing about the answers: where things lie and what the audit is called.
NOT_COMPARED = ("audit", "model.path", "model.revision", "model.threads")


@dataclass(frozen=True, kw_only=True)
class Audited:
    """One checkpoint of an audit. `state` is "evaluated" (a model answered), "kept" (stored here before), "reused"
    (taken over from stored evidence of the same content) or "failed"; `failure` has message, hint and exit code."""

    position: int
    name: str
    path: str
    kind: str
    step: int | None
    folder: str
    state: str
    content: Mapping[str, str] = field(default_factory=dict)
    failure: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit came to: its folder, the base, every checkpoint in step order, and those that failed."""

    path: Path
    base: Audited
    checkpoints: tuple[Audited, ...]

    @property
    def failures(self) -> tuple[Audited, ...]:
        """The checkpoints that could not be evaluated."""
        return tuple(one for one in self.checkpoints if one.failure is not None)

    @property
    def loaded(self) -> int:
        """How many checkpoints (the base with them) a model was asked for."""
        return sum(one.state == "evaluated" for one in (self.base, *self.checkpoints))


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An audit as it is stored: its tables as a case, its record (audit.json), and the folder that reads the rest."""

    folder: AuditFolder
    case: Case
    record: Mapping[str, Any]


def load(path: str | Path) -> Loaded:
    """The audit in a folder (or beside an audit.json). NotFound, IntegrityError or Inconclusive as the readers say."""
    folder = open_audit(path)
    return Loaded(folder=folder, case=judging.experiment_case(folder), record=folder.record())


def audit(
    paths: Iterable[str | Path],
    *,
    against: str | Path,
    out: str | Path,
    settings: AuditSettings | None = None,
    reuse: Sequence[Path] = (),
    force: bool = False,
    allow: Sequence[str] = (),
    progress: Progress,
) -> Audit:
    """Evaluates the base `against` and every checkpoint at the paths into the folder `out`, and calls their stages.

    `reuse` are folders of other audits whose evidence may stand in where its content is the same; those beside `out`
    are looked through anyway. `allow` names libraries whose version may differ from the stored evidence's. `force`
    replaces an audit that was made with other settings (its evidence is kept for reuse; its rule stays declared).

    Raises SettingsChanged with the field where `out` was made with other settings, whatever fails with the base, and
    DataError for a malformed question set or corpus before any model is loaded. What fails with a checkpoint is in
    the result.
    """
    found = checkpoints.discover(paths, skip=[Path(out)])
    base = checkpoints.single(against)
    asked = (settings or AuditSettings()).resolved(base)
    parts = assemble(asked.experiment(), SERIES)
    inputs = {
        "questions": [dict(part.check()) for part in parts.questions],
        "corpus": dict(parts.common_corpus.check()),
    }
    base_content = content_of(base)
    loading.look_through(base)
    root = Path(out)
    durable.make_folder(root)
    with durable.lock(root / store.LOCK):
        _open(root, asked, inputs, against=str(against), force=force)
        work = _Work(
            folder=AuditFolder(root=root),
            parts=parts,
            base=base,
            base_content=base_content,
            evidence=Evidence(root, reuse),
            allow=tuple(allow),
            progress=progress,
        )
        done = work.run(found, against=str(against))
        report = judging.experiment_case(work.folder).stages()
        durable.write_json(root / STAGES, stages.to_json(report))
        durable.write_json(root / RECORD, sealed(_record(done, asked, inputs)))
    return done


def _open(root: Path, asked: AuditSettings, inputs: Mapping[str, Any], *, against: str, force: bool) -> None:
    """Writes audit.toml and environment.json, the rule with them, before any evaluation; refuses other settings."""
    folder = AuditFolder(root=root)
    if auditfolder.is_audit(root):
        differences = [d for d in check_settings(folder.stored(), asked.data()) if not d.path.startswith(NOT_COMPARED)]
        if not force:
            hint = "set it back, give another folder with --out, or replace this audit with --force"
            refuse(differences, what=f"the audit in {root}", hint=hint)
    else:
        strange = sorted(p.name for p in root.iterdir() if not p.name.startswith(".") and p.name != store.ENVIRONMENT)
        if strange:
            raise UsageError(
                f"{root} holds {safe_text(strange[0], limit=80)} and no {AUDIT}: it is not an audit's folder",
                hint="give an empty or a new folder with --out",
            )
    environment = folder.environment()
    # The first rule of the folder is the declared one: an audit that replaces it says so in its stages.
    declared = environment.get("stage_rule_sha256") or stages.Rule.from_section(asked.stages).sha256
    hashes = {"stage_rule_sha256": declared, "settings_sha256": sha256_text(asked.toml())}
    record = normalised({**hashes, "versions": versions.recorded(), "against": against, **inputs})
    durable.write_json(root / store.ENVIRONMENT, sealed(record))
    durable.write_text(root / AUDIT, asked.toml())


@dataclass(frozen=True, kw_only=True)
class _Work:
    """The evaluations of one audit."""

    folder: AuditFolder
    parts: Parts
    base: Path
    base_content: Content
    evidence: Evidence
    allow: tuple[str, ...]
    progress: Progress

    def run(self, found: Sequence[Checkpoint], *, against: str) -> Audit:
        """The base, then every checkpoint in order; what fails with one of them is said and does not stop the rest."""
        places = {auditfolder.place_name(i, one.name): one for i, one in enumerate(found, 1)}
        self._set_aside(places)
        with ExitStack() as stack:
            bench = Bench(parts=self.parts, path=self.base, stack=stack)
            start = Checkpoint(path=self.base, kind="model", name=BASE, step=None)
            base = self._one(bench, 0, BASE, start, self.base_content)
            done: list[Audited] = []
            for position, (place, one) in enumerate(places.items(), 1):
                done.append(self._guarded(bench, position, f"{CHECKPOINTS}/{place}", one))
        # Found again from wherever it is looked for; a hub name and "world" are found by that name.
        named = os.path.abspath(against) if against != loading.WORLD and Path(against).is_dir() else against
        return Audit(path=self.folder.root, base=replace(base, path=named), checkpoints=tuple(done))

    def _guarded(self, bench: Bench, position: int, place: str, one: Checkpoint) -> Audited:
        try:
            content = content_of(one.path, base=self.base, base_content=self.base_content)
            return self._one(bench, position, place, one, content)
        except (Stopped, Locked, OutOfSpace, StorageFailed):
            raise
        except FactfadeError as error:
            failure = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        except Exception as error:  # noqa: BLE001
            # A stranger's checkpoint can break a library anywhere: that is its failure, and no reason to stop.
            text = safe_text(f"{type(error).__name__}: {error}", limit=300)
            failure = {"message": f"{one.path} cannot be evaluated: {text}", "hint": "", "exit_code": EXIT_FAILED}
        return _audited(position, place, one, state="failed", failure=failure)

    def _one(self, bench: Bench, position: int, place: str, one: Checkpoint, content: Content) -> Audited:
        folder = self.folder.path(*place.split("/"))
        key = key_of(self.parts, content, self.base_content)
        step = store.step(folder, STEP, key, allow=self.allow)
        self._make_room(step)
        if step.committed:
            return _audited(position, place, one, state="kept", content=content)
        where = {"lineage": SERIES, "seed": 0, "generation": position}
        beside = {"checkpoint": one.name, "step": one.step}
        source = self.evidence.find(key, allow=self.allow)
        if source is not None:
            take_over(source, step, place=where, beside=beside)
            return _audited(position, place, one, state="reused", content=content)
        self._ask(bench, position, one, content, step, beside)
        self.evidence.add(folder)
        return _audited(position, place, one, state="evaluated", content=content)

    def _ask(
        self, bench: Bench, position: int, one: Checkpoint, content: Content, step: Step, beside: Mapping[str, Any]
    ) -> None:
        if position:
            self._check(one)
        with ExitStack() as stack:
            model, reference = bench.base(), None
            if position:
                model, reference = stack.enter_context(bench.checkpoint(one, content))
            evaluate.evaluate(
                model,
                reference,
                bench.material(model),
                self.parts.plan.evaluation,
                step,
                lineage=SERIES,
                seed=0,
                generation=position,
                progress=Named(self.progress, one.label),
                beside=beside,
            )

    def _check(self, one: Checkpoint) -> None:
        """Refuses what can be refused before any weights are loaded: unsafe folders, another tokenizer."""
        (lora.look_through if one.kind == "adapter" else loading.look_through)(one.path)
        if one.kind == "adapter" and not has_tokenizer(one.path):
            return
        own, base = (tokenizer_sha256(loading.load_tokenizer(folder)) for folder in (one.path, self.base))
        if own != base:
            raise UsageError(
                f"{one.label} and the base have different tokenizers",
                hint="compare checkpoints that share one tokenizer with their base",
            )

    def _set_aside(self, places: Mapping[str, Checkpoint]) -> None:
        """Evidence of checkpoints that are no longer at their place is kept for reuse, out of the readers' sight."""
        root = self.folder.path(CHECKPOINTS)
        for folder in sorted(root.iterdir()) if root.is_dir() else []:
            if folder.name not in places and folder.is_dir():
                self._keep(folder)

    def _make_room(self, step: Step) -> None:
        """What lies at a step's place under another key is set aside, be it whole or begun."""
        try:
            if step.committed or not step.folder.is_dir():
                return
            for manifest in sorted((step.folder / f".{STEP}{SHARDS}").rglob("*.json")):
                step.check_key(store.read_manifest(manifest, folder=step.folder), "a shard")  # type: ignore[arg-type]
        except FactfadeError:
            self._keep(step.folder)

    def _keep(self, folder: Path) -> None:
        manifest = None
        with contextlib.suppress(FactfadeError):  # a damaged one is of no use to anybody
            manifest = store.read_manifest(folder / f"{STEP}.json")
        if manifest is None:
            durable.remove_tree(folder)
            return
        target = self.folder.path(EARLIER, manifest.key_sha256[:32])
        durable.make_folder(target.parent)
        if target.exists():
            durable.remove_tree(folder)
        else:
            durable.move(folder, target)
            self.evidence.moved(folder, target)


def _audited(position: int, place: str, one: Checkpoint, *, state: str, **more: Any) -> Audited:
    content = more.pop("content", None)
    return Audited(
        position=position,
        name=one.name,
        path=os.path.abspath(one.path),
        kind=one.kind,
        step=one.step,
        folder=place,
        state=state,
        content={}
        if content is None
        else {k: getattr(content, k) for k in ("weights", "config", "tokenizer", "template")},
        **more,
    )


def _record(done: Audit, asked: AuditSettings, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """audit.json: what was asked of whom, and what became of each."""

    def row(one: Audited) -> dict[str, Any]:
        return {
            "position": one.position, "name": one.name, "path": one.path, "kind": one.kind, "step": one.step,
            "folder": one.folder, "state": one.state, "identity": dict(one.content),
            "failure": None if one.failure is None else dict(one.failure),
        }  # fmt: skip

    return {
        "version": RECORD_VERSION,
        "name": asked.audit.name,
        "quick": asked.audit.quick,
        "rule_sha256": stages.Rule.from_section(asked.stages).sha256,
        "base": row(done.base),
        "checkpoints": [row(one) for one in done.checkpoints],
        "failures": [one.name for one in done.failures],
        **normalised(inputs),
    }

"""A training watched from inside: the live model evaluated at a step, into the folder of an audit.

    factfade/audit.toml  environment.json    what is asked, by which rule; how the callback was set
      base/                                  the model before its first step
      checkpoints/001-step-500/              the same model after 500 steps
      audit.json  stages.json                what was measured and what was not; the stage calls

Nothing here is another way to ask: `material.prepare`, `evaluate.evaluate`, the store, the readers and the stages are
those of a run.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from factfade import budget, durable, evaluate, judging, live, stages, store
from factfade.assembly import Parts, assemble
from factfade.audit_settings import AuditSettings
from factfade.auditfolder import AUDIT, BASE, SERIES
from factfade.errors import RunFailed, UsageError
from factfade.live_state import undisturbed, weights_identity
from factfade.manifest import read_manifest
from factfade.material import Material
from factfade.models import loading
from factfade.models.prompting import Prompter
from factfade.progress import Silent
from factfade.protocols import Model, ModelSpec
from factfade.stage_panel import EVIDENCE_READ
from factfade.verdicts import Overall, StageReport
from factfade.watch_folder import WatchFolder

STAGES_FILE = "stages.json"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One evaluation that was made. `report` holds the calls of all positions so far; of the base it has none.

    `items` were asked and `left_out` were not, for the budget; `seconds` were taken from the training; `record` is
    the step's own.
    """

    folder: Path
    position: int
    step: int
    epoch: float | None
    report: StageReport | None
    items: int
    left_out: int
    seconds: float
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def overall(self) -> Overall | None:
        """The call over all formats at this position."""
        found = [one for one in (self.report.overall if self.report else ()) if one.generation == self.position]
        return found[0] if found else None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model in training, as an event hands it over: `autocast` is the dtype that the trainer casts to."""

    model: Any
    tokenizer: Any
    name: str
    step: int
    epoch: float | None
    autocast: str | None = None


class Watch:
    """The evaluations of one training. `begin` measures the base and fixes what is asked; `measure` asks it again."""

    def __init__(
        self,
        root: Path,
        settings: AuditSettings,
        *,
        max_seconds: float | None,
        reference: str,
        about: Mapping[str, Any],
    ) -> None:
        self.folder = WatchFolder(root, settings)
        self.settings = settings
        self.max_seconds = max_seconds
        self.reference = reference
        self.about = dict(about)
        self.limits = live.Limits(batch_tokens=settings.evaluation.batch_tokens)
        self._parts: Parts = assemble(settings.experiment(), SERIES)
        self._position = 0
        self._prompter: Prompter | None = None
        self._material: Material | None = None
        self._start: str = ""

    # -----------------------------------------------------------------------------------------------------------
    # Before the first step

    def begin(self, now: Trained) -> Measured | None:
        """Measures the base; of a training that is resumed (`now.step` > 0) it takes up what was measured then."""
        with self.folder.held():
            self._prompter = Prompter(copy.deepcopy(now.tokenizer), chat=self.settings.model.chat, where=now.name)
            if now.step:
                self._take_up(now)
                return None
            self.folder.clear()
            self.folder.declare(now.name, self.about)
            with undisturbed(now.model):
                return self._base(now)

    def _base(self, now: Trained) -> Measured:
        net = live.bare(now.model)
        loading.check_vocabulary(net, self._prompter_of().tokenizer, Path(now.name or "model"))
        began = self._starts(0.0)
        self._start = weights_identity(now.model)
        overhead = time.monotonic() - began
        model = self._open(now, self._start)
        model.start_check()
        asking = time.monotonic() - began
        # Reading questions and corpus, and copying the start model, ask nothing: outside of the limit, once.
        material = self._prepare(model)
        reference = self._reference(now)
        began = self._starts(asking)
        plan = budget.plan(
            lambda part: self._pilot(model, reference, part),
            material,
            seconds=self.max_seconds,
            overhead=overhead,
            seed=self.settings.evaluation.seed,
        )
        self.folder.notes += plan.notes
        self._material = plan.apply(material, seed=self.settings.evaluation.seed)
        return self._asked(model, reference, self.folder.root / BASE, now, position=0, began=began)

    def _pilot(self, model: live.LiveModel, reference: ModelSpec | None, part: Material) -> Mapping[str, float]:
        """Asks a part in a folder that goes afterwards; the times that it took."""
        folder = self.folder.pilot
        durable.remove_tree(folder)
        step = store.step(folder, "evaluate", self._key(part, model.identity))
        try:
            return self._evaluate(model, reference, part, step, position=0, beside={})["times"]
        finally:
            durable.remove_tree(folder)

    def _take_up(self, now: Trained) -> None:
        """What an interrupted training measured up to the step it resumes from; later evaluations are set aside."""
        folder = self.folder.audit
        manifest = read_manifest(self.folder.root / BASE / "evaluate.json")
        if manifest is None:
            raise RunFailed(
                f"the training resumes at step {now.step}, and {self.folder.root} holds no evaluation before step 0",
                hint="give the folder of the interrupted training (out=...), or audit the checkpoints afterwards",
            )
        if self.folder.settings_changed:
            raise UsageError(
                f"{self.folder.root / AUDIT} was written with other settings than the callback has now",
                hint="resume with the same questions, formats, rule and model settings",
            )
        self._start = str(manifest.key["inputs"]["checkpoint"])
        with undisturbed(now.model):
            material = self._prepare(self._open(now, ""))
        asked = int(manifest.record["counts"]["items"])
        plan = budget.Plan(
            items=asked,
            available=len(material.items),
            fluency="fluency_left_out_by_budget" not in manifest.record["counts"],
        )
        self._material = plan.apply(material, seed=self.settings.evaluation.seed)
        if self._material.identity != manifest.record["material"]:
            raise UsageError(
                "what the interrupted training asked cannot be asked again: questions, texts or tokenizer have changed",
                hint="restore them, or audit the checkpoints afterwards",
            )
        record = folder.record()
        rows = [one for one in (record.get("base"), *record.get("checkpoints", ())) if one]
        self.folder.rows = [one for one in rows if int(one["step"]) <= now.step]
        self.folder.notes = list(record.get("notes", ()))
        kept = {int(one["position"]) for one in self.folder.rows}
        for position in folder.run().generations()[1:]:
            if position not in kept:
                self.folder.set_aside(folder.run().generation(position))
        self._position = max(kept, default=0)

    # -----------------------------------------------------------------------------------------------------------
    # At a step

    def measure(self, now: Trained) -> Measured:
        """Evaluates the model as it is now, and calls the stages."""
        if self._material is None:
            raise RunFailed("the model before its first step was not measured: there is nothing to compare with")
        began = self._starts(0.0)
        self._position += 1
        folder = self.folder.root / self.folder.place(self._position, now.step)
        with self.folder.held(), undisturbed(now.model):
            model = self._open(now, weights_identity(now.model))
            return self._asked(model, self._reference(now), folder, now, position=self._position, began=began)

    def _asked(
        self,
        model: live.LiveModel,
        reference: ModelSpec | None,
        folder: Path,
        now: Trained,
        *,
        position: int,
        began: float,
    ) -> Measured:
        material = self._material_of()
        step = store.step(folder, "evaluate", self._key(material, model.identity))
        # The base is what the copy of the start model would read its text with: the same numbers, one model.
        own = position == 0 and self.reference == "auto" and isinstance(reference, live.Reference)
        under = None if own else reference
        record = self._evaluate(
            model, under, material, step, position=position, beside={"checkpoint": f"step-{now.step}", "step": now.step}
        )
        report = self.judge() if position else None
        found = Measured(
            folder=self.folder.root,
            position=position,
            step=now.step,
            epoch=now.epoch,
            report=report,
            items=len(material.items),
            left_out=int(material.counts.get("left_out_by_budget", 0)),
            seconds=time.monotonic() - began,
            record=record,
        )
        self.folder.rows.append(
            {
                **self.folder.row(position, now.step, state="evaluated"),
                "identity": {"weights": model.identity, "tokenizer": model.facts["tokenizer_sha256"]},
                "epoch": now.epoch,
                "items": found.items,
                "left_out": found.left_out,
                "batch_tokens": self.limits.batch_tokens,
                "halvings": self.limits.halvings,
                "seconds": round(found.seconds, 3),
            }
        )
        self.folder.write()
        return found

    def _starts(self, spent: float) -> float:
        """Sets the deadline of an evaluation that began `spent` seconds ago; when that was."""
        began = time.monotonic() - spent
        self.limits.deadline = None if self.max_seconds is None else began + self.max_seconds
        return began

    def judge(self, *, draws: int = 0) -> StageReport:
        """The stage calls of everything that is measured, written to stages.json."""
        report = judging.experiment_case(self.folder.audit, columns=EVIDENCE_READ).stages(draws=draws)
        durable.write_json(self.folder.root / STAGES_FILE, stages.to_json(report))
        return report

    def failed(self, step: int, error: BaseException) -> None:
        """Records what was not measured, and why."""
        self.folder.failed(self._position, step, error)

    def finish(self) -> None:
        """The calls with their probabilities, once the training is over; the copy of the start model goes."""
        durable.remove_tree(self.folder.start)
        if any(one["position"] and one["state"] == "evaluated" for one in self.folder.rows):
            self.judge(draws=stages.DRAWS)
        self.folder.write()

    # -----------------------------------------------------------------------------------------------------------
    # Parts

    def _evaluate(
        self,
        model: live.LiveModel,
        reference: ModelSpec | None,
        material: Material,
        step: store.Step,
        *,
        position: int,
        beside: Mapping[str, Any],
    ) -> dict[str, Any]:
        return evaluate.evaluate(
            cast("Model", model),
            reference,
            material,
            self.settings.evaluation,
            step,
            lineage=SERIES,
            seed=0,
            generation=position,
            progress=Silent(),
            beside=beside,
        )

    def _prepare(self, model: live.LiveModel) -> Material:
        parts = self._parts
        material = evaluate.prepare(
            self.settings.evaluation,
            parts.common,
            parts.questions,
            parts.formats,
            parts.common_corpus,
            cast("Model", model),
        )
        if self.reference == "none":
            self.folder.notes.append(
                "fluency is not measured: no start model is kept to read the model's own text with"
            )
            material = replace(material, prompts=())
        return material

    def _key(self, material: Material, weights: str) -> store.StepKey:
        inputs = {"checkpoint": weights, "reference": self._start, "material": material.identity}
        return self._parts.evaluate_key(inputs)

    def _open(self, now: Trained, weights: str) -> live.LiveModel:
        net = live.bare(now.model)
        # accelerate casts in a forward of the module's own; an adapter's base inside its shell has none.
        autocast = now.autocast if "forward" in vars(net) else None
        return live.LiveModel(net, self._prompter_of(), self.limits, name=now.name, weights=weights, autocast=autocast)

    def _reference(self, now: Trained) -> ModelSpec | None:
        """The start model: the base of an adapter, a folder with the same weights, or a copy made before step 0."""
        if self.reference == "none" or (self._material is not None and not self._material.prompts):
            return None
        prompter, limits = self._prompter_of(), self.limits
        if live.has_adapter(now.model):
            return live.WithoutAdapter(model=now.model, prompter=prompter, limits=limits)
        net = live.bare(now.model)
        folder = self.folder.start if self.reference == "auto" else Path(self.reference)
        if self.reference == "auto" and not (folder / "config.json").is_file():
            if now.step:
                raise RunFailed(f"{folder} does not hold the start model any more", hint="restore it from a copy")
            with loading.quiet():
                net.save_pretrained(folder)
        dtype, device = str(net.dtype).removeprefix("torch."), str(next(net.parameters()).device)
        return live.Reference(weights=folder, prompter=prompter, limits=limits, dtype=dtype, device=device)

    def _prompter_of(self) -> Prompter:
        if self._prompter is None:
            raise RunFailed("the training has not begun", hint="report this as a bug")
        return self._prompter

    def _material_of(self) -> Material:
        if self._material is None:
            raise RunFailed("the training has not begun", hint="report this as a bug")
        return self._material

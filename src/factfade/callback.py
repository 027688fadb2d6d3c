"""FactFadeCallback: which facts a training loses, measured while it trains.

    trainer.add_callback(FactFadeCallback(questions="facts.jsonl", every="epoch", max_seconds=120))

For transformers' Trainer and everything built on it. The model is evaluated before its first step and then every
epoch or every n steps, by the steps of a run (`watch.py`); what was measured is an audit's folder. Nothing of the
training changes, and nothing that fails here ends it: what was not measured is said in the log and in the folder,
and never counts as a pass.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from factfade import audit_settings, callback_log, gate
from factfade import policy as policies
from factfade.assembly import assemble
from factfade.audit_settings import AuditSettings
from factfade.auditfolder import SERIES
from factfade.config import validated
from factfade.errors import ConfigError, FactfadeError, UsageError
from factfade.policy import Policy
from factfade.text import safe_text
from factfade.verdicts import Stage
from factfade.watch import Measured, Trained, Watch

LOG = logging.getLogger("factfade")
ITEMS = 500
FOLDER = "factfade"
DTYPES = ("float32", "bfloat16", "float16")

Stop = Callable[[Measured], str | None]
"""Looks at an evaluation after step 0; a sentence that says why ends the training, None lets it go on."""


def stop_at(*wanted: Stage) -> Stop:
    """Ends the training at the first evaluation whose call over all formats is one of these stages."""

    def judged(now: Measured) -> str | None:
        call = now.overall
        return call.sentence or f"stage {call.stage}" if call is not None and call.stage in wanted else None

    return judged


def stop_at_breach(policy: Policy | str | Path) -> Stop:
    """Ends the training at the first evaluation whose verdict by the gate's policy is a breach.

    `policy` is one, or its TOML file; ConfigError where it is none. An inconclusive verdict lets the training go on.
    """
    margins = policies.load(policy) if isinstance(policy, (str, Path)) else policy

    def judged(now: Measured) -> str | None:
        found = gate.judge(now.folder, margins)
        return found.sentence if found.verdict == "breach" else None

    return judged


class FactFadeCallback(TrainerCallback):
    """Evaluates the model in training; see docs/callback.md.

    `questions` is "world", a JSON Lines file, a question pack or a folder of MMLU (or several); `formats` are their
    instruction formats; `corpus` is where the fixed prompts come from. `settings` are those of an audit (a TOML file,
    its tables, or the object), over which the arguments before stand. `every` is "epoch" or a number of steps. An
    evaluation asks at most `items` questions and ends within `max_seconds` (None: without a limit).

    `chat` puts the questions through the tokenizer's chat template. `tokenizer` is the trainer's own unless given.
    `reference` says what reads the model's own text: "auto" (the base of an adapter, else a copy of the start model
    below `out`, removed at the end), the folder of a model, or "none" (then fluency is not measured). `out` is the
    folder, `factfade` below the trainer's output unless given. `stop` may end the training.

    Raises ConfigError, DataError or NotFound where settings, questions or corpus cannot be used: before the training.
    """

    def __init__(
        self,
        *,
        questions: str | Path | Sequence[str | Path] | None = None,
        formats: Sequence[str] | None = None,
        corpus: str | Path | None = None,
        settings: AuditSettings | Mapping[str, Mapping[str, Any]] | str | Path | None = None,
        every: Literal["epoch"] | int = "epoch",
        items: int | None = None,
        max_seconds: float | None = 120.0,
        chat: Literal["raw", "chat"] | None = None,
        tokenizer: Any = None,
        reference: Literal["auto", "none"] | str | Path = "auto",
        out: str | Path | None = None,
        stop: Stop | None = None,
    ) -> None:
        if every != "epoch" and (isinstance(every, bool) or not isinstance(every, int) or every < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f'{every!r} is neither "epoch" nor a number of steps', field="every")
        if max_seconds is not None and not 0 < max_seconds < float("inf"):
            raise ConfigError(f"{max_seconds!r} is no number of seconds above 0", field="max_seconds", hint="or None")
        self.every = every
        self.max_seconds = max_seconds
        self.settings = _settings(settings, questions, formats, corpus, items, chat)
        self.reference = str(reference)
        self.out = None if out is None else Path(out)
        self.stop = stop
        self.watch: Watch | None = None
        self.measured: list[Measured] = []
        self._tokenizer = tokenizer
        self._last = -1
        self._warned: set[str] = set()
        parts = assemble(self.settings.experiment(), SERIES)
        parts.common_corpus.check()
        for part in parts.questions:
            part.check()

    # -----------------------------------------------------------------------------------------------------------
    # Events of the trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Measures the model before step 0."""
        self.watch, self._last, self.measured = None, state.global_step, []
        if state.is_world_process_zero:
            self._guarded(lambda: self._begin(args, state, control, given), args, state, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Measures every n steps."""
        if isinstance(self.every, int) and state.global_step % self.every == 0:
            self._evaluate(args, state, control, given)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Measures every epoch, and the model that the training ends with."""
        last = control.should_training_stop or state.global_step >= state.max_steps > 0
        if self.every == "epoch" or last:
            self._evaluate(args, state, control, given)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Completes the folder."""
        if self.watch is not None:
            self._guarded(self.watch.finish, args, state, control)

    # -----------------------------------------------------------------------------------------------------------

    def _begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, given: Mapping[str, Any]
    ) -> None:
        now = self._now(args, state, given)
        net_dtype = str(getattr(now.model, "dtype", "")).removeprefix("torch.")
        model = self.settings.model.model_copy(
            update={
                "path": now.name or "model",
                "dtype": net_dtype if net_dtype in DTYPES else "float32",
                "device": "cuda" if str(args.device).startswith("cuda") else "cpu",
            }
        )
        settings = self.settings.model_copy(update={"model": model}).resolved(Path(model.path))
        about = {
            "every": self.every, "max_seconds": self.max_seconds, "reference": self.reference,
            "precision": now.autocast or net_dtype, "stop": self.stop is not None,
        }  # fmt: skip
        out = self.out or Path(str(args.output_dir)) / FOLDER
        self.watch = Watch(out, settings, max_seconds=self.max_seconds, reference=self.reference, about=about)
        found = self.watch.begin(now)
        for note in self.watch.folder.notes:
            LOG.warning("factfade: %s", note)
        if found is not None:
            self._log(callback_log.numbers(found), state, control)
            self.measured.append(found)

    def _evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, given: Mapping[str, Any]
    ) -> None:
        if state.global_step == self._last:
            return
        self._last = state.global_step
        reason: list[str] = []
        if state.is_world_process_zero:
            self._guarded(lambda: self._measure(args, state, control, given, reason), args, state, control)
        if self.stop is not None and _agreed(bool(reason), args):
            control.should_training_stop = True

    def _measure(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        given: Mapping[str, Any],
        reason: list[str],
    ) -> None:
        if self.watch is None:
            raise UsageError("the model before its first step was not measured: there is nothing to compare with")
        found = self.watch.measure(self._now(args, state, given))
        self.measured.append(found)
        self._log(callback_log.numbers(found), state, control)
        said = self.stop(found) if self.stop is not None else None
        if said:
            LOG.warning("factfade: the training stops at step %d: %s", state.global_step, safe_text(said, limit=1000))
            reason.append(said)

    def _now(self, args: TrainingArguments, state: TrainerState, given: Mapping[str, Any]) -> Trained:
        """The model of an event; UsageError for what cannot be asked by one process."""
        model = given["model"]
        if _sharded(args):
            raise UsageError(
                "the model's weights are split over processes (FSDP or DeepSpeed ZeRO 3), and one of them asks alone",
                hint="audit the saved checkpoints instead: factfade audit OUTPUT_DIR --against BASE",
            )
        tokenizer = self._tokenizer or given.get("processing_class")
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # a processor of text and images holds one
        if tokenizer is None or not hasattr(tokenizer, "encode"):
            raise UsageError(
                "the trainer has no tokenizer", hint="FactFadeCallback(tokenizer=...), or Trainer(processing_class=...)"
            )
        name = str(getattr(getattr(model, "config", None), "_name_or_path", "") or "model")
        autocast = "bfloat16" if args.bf16 else "float16" if args.fp16 else None
        return Trained(
            model=model, tokenizer=tokenizer, name=name, step=state.global_step, epoch=state.epoch, autocast=autocast
        )

    def _guarded(
        self, work: Callable[[], None], args: TrainingArguments, state: TrainerState, control: TrainerControl
    ) -> None:
        """Does the work; whatever it raises is written down as not measured, and the training goes on."""
        flags = dict(vars(control))
        try:
            work()
        except Exception as error:  # noqa: BLE001  the training is worth more than its measurement
            self._failed(error, state, control)
        finally:
            # Logging resets what the trainer was about to do at this step.
            vars(control).update(flags)

    def _failed(self, error: Exception, state: TrainerState, control: TrainerControl) -> None:
        hint = f" ({safe_text(error.hint, limit=300)})" if isinstance(error, FactfadeError) and error.hint else ""
        LOG.warning(
            "factfade: not measured at step %d: %s: %s%s",
            state.global_step,
            type(error).__name__,
            safe_text(str(error), limit=1000),
            hint,
            exc_info=None if isinstance(error, FactfadeError) else error,
        )
        self._attempted(lambda: self._log(callback_log.NOT_MEASURED, state, control), "logged")
        if self.watch is not None:
            watch = self.watch
            self._attempted(lambda: watch.failed(state.global_step, error), "recorded")

    def _attempted(self, work: Callable[[], None], what: str) -> None:
        """Says that a step was not measured; where log or disk fail too, a warning is what is left."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  as above
            LOG.warning("factfade: and that could not be %s: %s", what, safe_text(str(error), limit=300))

    def _log(self, numbers: Mapping[str, float], state: TrainerState, control: TrainerControl) -> None:
        """Through the trainer, to its history and to everything that it reports to."""
        trainer = _trainer_of(control)
        if trainer is not None:
            # Trainer's own method: those of its children add (and empty) averages of training steps that are not over.
            Trainer.log(trainer, dict(numbers))
            return
        state.log_history.append({**numbers, "epoch": state.epoch, "step": state.global_step})
        self._warn_once("the trainer was not found: its log_history has the numbers, report_to does not")

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            LOG.warning("factfade: %s", text)


def _settings(
    given: AuditSettings | Mapping[str, Mapping[str, Any]] | str | Path | None,
    questions: str | Path | Sequence[str | Path] | None,
    formats: Sequence[str] | None,
    corpus: str | Path | None,
    items: int | None,
    chat: str | None,
) -> AuditSettings:
    """The settings of an audit, with the callback's arguments over them."""
    if isinstance(given, AuditSettings):
        base = given
    elif isinstance(given, Mapping):
        base = audit_settings.load(None, flags=given)
    else:
        base = audit_settings.load(given)
    asked = [questions] if isinstance(questions, (str, Path)) else questions
    flags: dict[str, dict[str, Any]] = {
        "evaluation": {
            "questions": None if asked is None else [audit_settings.question_spec(str(one)) for one in asked],
            "formats": None if formats is None else list(formats),
            "items": items or base.evaluation.items or ITEMS,
        },
        "model": {"chat": chat},
    }
    data = base.model_dump(exclude_unset=True)
    for section, values in flags.items():
        data[section] = {**data.get(section, {}), **{k: v for k, v in values.items() if v is not None}}
    if corpus is not None:
        data["corpus"] = audit_settings.corpus_spec(str(corpus))
    if "questions" not in data["evaluation"]:
        raise ConfigError(
            "no question set is named",
            field="questions",
            hint='questions="facts.jsonl", a folder of MMLU, a question pack (.toml), or "world"',
        )
    return validated(AuditSettings, data, where="the callback's settings")


def _sharded(args: TrainingArguments) -> bool:
    if getattr(args, "fsdp", None):
        return True
    if not getattr(args, "deepspeed", None):
        return False
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    return bool(is_deepspeed_zero3_enabled())


def _trainer_of(control: TrainerControl) -> Trainer | None:
    """The trainer whose event this is.

    An event hands over everything but the trainer, and only the trainer can log; it is looked for where it stands, in
    the calls that led here.
    """
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Trainer) and owner.control is control:
            return owner
        frame = frame.f_back
    return None


def _agreed(stop: bool, args: TrainingArguments) -> bool:
    """Whether the main process stops: the same answer in every process, or the others would wait for it for ever."""
    import torch.distributed as distributed

    if args.world_size < 2 or not (distributed.is_available() and distributed.is_initialized()):
        return stop
    said = [stop]
    distributed.broadcast_object_list(said, src=0, device=args.device)
    return said[0]

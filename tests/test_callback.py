"""The callback in real trainings of small models: what it measures, and that it changes nothing and stops nothing."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from factfade import FactFadeCallback, audit_settings, evaluate, judging, live, live_state, stages, tables, watch
from factfade import callback as watching
from factfade.auditfolder import AuditFolder
from factfade.callback import stop_at, stop_at_breach
from factfade.errors import ConfigError, NotFound, Stopped
from factfade.identity import checkpoint_identity
from factfade.models.hf import OpenModel
from factfade.models.prompting import Prompter
from factfade.stage_panel import EVIDENCE_READ
from tests import small

EVALUATION = {"texts": 3, "text_tokens": 16, "prompts": 4, "prompt_tokens": 6, "new_tokens": 6, "answer_tokens": 3}
FORMATS = ["multiple_choice"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.materials(tmp_path_factory.mktemp("callback"))


def callback(folder: Path, **changes: Any) -> FactFadeCallback:
    evaluation = {**EVALUATION, **changes.pop("evaluation", {})}
    given: dict[str, Any] = {
        "questions": folder / "questions.jsonl",
        "corpus": folder / "corpus.txt",
        "formats": FORMATS,
        "settings": {"evaluation": evaluation},
        "max_seconds": None,
        **changes,
    }
    return FactFadeCallback(**given)


@dataclass
class Done:
    """A training that has ended."""

    trainer: Trainer
    states: tuple[Any, ...]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return dict(self.trainer.model.state_dict())

    @property
    def history(self) -> list[dict[str, float]]:
        return list(self.trainer.state.log_history)

    def measured(self) -> list[dict[str, float]]:
        return [row for row in self.history if "factfade/measured" in row]

    def losses(self) -> list[dict[str, float]]:
        return [row for row in self.history if "loss" in row]


def load(path: Path) -> Any:
    """The model with dropout, so that a training draws random numbers at every step."""
    return AutoModelForCausalLM.from_pretrained(path, attention_dropout=0.2)


def train(
    path: Path,
    out: Path,
    callbacks: Sequence[TrainerCallback] = (),
    *,
    model: Any = None,
    resume: bool = False,
    **arguments: Any,
) -> Done:
    set_seed(3)
    draw = torch.Generator().manual_seed(4)
    data = [{"input_ids": torch.randint(3, 300, (12,), generator=draw)} for _ in range(16)]
    for row in data:
        row["labels"] = row["input_ids"]
    args = TrainingArguments(
        **{
            "output_dir": str(out), "num_train_epochs": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-2,
            "report_to": [], "save_strategy": "no", "logging_steps": 1, "use_cpu": True, "seed": 5,
            "disable_tqdm": True, **arguments,
        }
    )  # fmt: skip
    trainer = Trainer(
        model=load(path) if model is None else model,
        args=args,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(path),
        callbacks=list(callbacks),
    )
    trainer.train(resume_from_checkpoint=resume or None)
    return Done(trainer, (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()))


def same(one: Done, other: Done) -> None:
    """Bit-equal weights, the same losses in the log, the same random states."""
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())
    assert one.losses() == other.losses()
    assert one.states[:2] == other.states[:2]
    assert torch.equal(one.states[2], other.states[2])


def record(root: Path) -> dict[str, Any]:
    return json.loads((root / "audit.json").read_text(encoding="utf-8"))


@dataclass
class Reporter(TrainerCallback):
    """What a tracker in front of the callback is told."""

    told: list[dict[str, Any]] = field(default_factory=list)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **given: Any) -> None:
        self.told.append(dict(logs))


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return train(folder / "model", tmp_path_factory.mktemp("plain"))


@dataclass
class Watched:
    root: Path
    done: Done
    callback: FactFadeCallback
    reporter: Reporter


@pytest.fixture(scope="module")
def watched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A training watched every 3 of its 8 steps, within a budget that it does not reach."""
    out, reporter = tmp_path_factory.mktemp("watched"), Reporter()
    one = callback(folder, every=3, max_seconds=600.0)
    return Watched(out / "factfade", train(folder / "model", out, [reporter, one]), one, reporter)


# ---------------------------------------------------------------------------------------------------------------
# Nothing changes


def test_weights_losses_and_random_states_are_bit_equal_with_and_without(watched: Watched, plain: Done) -> None:
    assert len(plain.losses()) == 8
    same(watched.done, plain)


def test_the_comparison_sees_a_random_number_that_was_drawn(folder: Path, plain: Done, tmp_path: Path) -> None:
    class Draws(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            torch.rand(1)

    with pytest.raises(AssertionError):
        same(train(folder / "model", tmp_path, [Draws()]), plain)


@pytest.mark.parametrize(
    "arguments",
    [{"gradient_checkpointing": True, "gradient_accumulation_steps": 2}, {"bf16": True, "neftune_noise_alpha": 5.0}],
    ids=["checkpointing and accumulation", "autocast and noise"],
)
def test_bit_equal_in_other_settings_of_the_trainer(folder: Path, tmp_path: Path, arguments: dict[str, Any]) -> None:
    path = folder / "model"
    one = callback(folder, every=2)
    with_it = train(path, tmp_path / "a", [one], max_steps=4, **arguments)
    same(with_it, train(path, tmp_path / "b", max_steps=4, **arguments))
    facts = one.measured[-1].record["model"]
    assert facts.get("autocast") == ("bfloat16" if arguments.get("bf16") else None)
    assert facts["cache"] == "buffered"
    assert with_it.trainer.model.is_gradient_checkpointing == bool(arguments.get("gradient_checkpointing"))


def test_modes_gradients_buffers_settings_and_random_states_are_put_back(folder: Path) -> None:
    model = load(folder / "model").train()
    model.model.layers[0].eval()
    model.lm_head.weight.requires_grad_(False)
    model.config.use_cache = False
    modes = [module.training for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    buffers = [buffer for module in model.modules() for buffer in module._buffers.values()]
    states = (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state())
    with contextlib.suppress(KeyError), live_state.undisturbed(model):
        model.eval()
        model.requires_grad_(True)
        model.config.use_cache = True
        model.config.architectures = ["Other"]
        rotary = model.model.rotary_emb
        rotary.register_buffer("inv_freq", rotary.inv_freq * 2)
        random.random(), np.random.rand(), torch.rand(1)
        raise KeyError
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(a is b for a, b in zip(buffers, [b for m in model.modules() for b in m._buffers.values()], strict=True))
    assert model.config.use_cache is False
    assert model.config.architectures != ["Other"]
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tobytes() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_gpt2"])
def test_the_identity_in_memory_is_that_of_the_saved_checkpoint(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(name)
    for dtype in (torch.float32, torch.bfloat16):
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
        model.save_pretrained(tmp_path / str(dtype))
        assert live_state.weights_identity(model) == checkpoint_identity(tmp_path / str(dtype))
    before = live_state.weights_identity(model)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1
    assert live_state.weights_identity(model) != before


# ---------------------------------------------------------------------------------------------------------------
# What is measured, when, and where it stands


def test_the_base_is_measured_before_step_0_then_every_n_steps_and_the_end(watched: Watched) -> None:
    assert [(one.position, one.step) for one in watched.callback.measured] == [(0, 0), (1, 3), (2, 6), (3, 8)]
    base, *others = (record(watched.root)[name] for name in ("base", "checkpoints"))
    assert [one["state"] for one in (base, *others[0])] == ["evaluated"] * 4
    assert len({one["identity"]["weights"] for one in (base, *others[0])}) == 4


def test_every_epoch_and_once_at_a_step(folder: Path, tmp_path: Path) -> None:
    one = callback(folder, every="epoch")
    path = folder / "model"
    train(path, tmp_path, [one])
    assert [now.step for now in one.measured] == [0, 4, 8]
    assert record(tmp_path / "factfade")["base"]["identity"]["weights"] == checkpoint_identity(path)


def test_the_numbers_reach_the_history_and_every_tracker(watched: Watched, plain: Done) -> None:
    rows = watched.done.measured()
    assert [row["step"] for row in rows] == [0, 3, 6, 8]
    told = [row for row in watched.reporter.told if "factfade/measured" in row]
    assert [{k: v for k, v in row.items() if k != "step"} for row in rows] == told
    assert all(isinstance(value, (int, float)) for row in rows for value in row.values())
    for row in rows:
        assert row["factfade/measured"] == 1.0
        assert row["factfade/items"] == 12.0
        assert row["factfade/multiple_choice/right_n"] == 12.0
        low, value, high = (row[f"factfade/multiple_choice/right{part}"] for part in ("_low", "", "_high"))
        assert low <= value <= high
    assert "factfade/stage" not in rows[0]
    assert rows[-1]["factfade/stage"] == -1.0  # 12 questions carry no call
    assert "factfade/multiple_choice/knowledge_loss_low" in rows[-1]
    assert "factfade/fluency_nats_loss" in rows[-1]


def test_the_logged_numbers_are_those_of_the_evidence(watched: Watched) -> None:
    for row, found in zip(watched.done.measured(), watched.callback.measured, strict=True):
        place = watched.root / record_row(watched.root, found.position)["folder"]
        evidence = tables.read(place / "evidence", "evidence")
        assert row["factfade/multiple_choice/right"] == pytest.approx(evidence["choice_correct"].astype(float).mean())
        read = evidence["outcome"].isin(["correct", "wrong"]).mean()
        assert row["factfade/multiple_choice/parseable"] == pytest.approx(read)


def record_row(root: Path, position: int) -> dict[str, Any]:
    stored = record(root)
    return next(one for one in (stored["base"], *stored["checkpoints"]) if one["position"] == position)


def test_the_folder_reads_as_an_audit(watched: Watched) -> None:
    audit = AuditFolder(root=watched.root)
    assert audit.run().generations() == [0, 1, 2, 3]
    case = judging.experiment_case(audit)
    columns = case.evidence[["generation", "checkpoint", "step"]].drop_duplicates()
    assert columns.to_numpy().tolist() == [[0, "step-0", 0], [1, "step-3", 3], [2, "step-6", 6], [3, "step-8", 8]]
    assert case.declared is not None
    assert case.declared_sha256 == case.declared.sha256
    assert {call.generation for call in case.stages(draws=0).calls} == {1, 2, 3}
    assert json.loads((watched.root / "stages.json").read_text())["calls"]
    assert not (watched.root / ".start").exists()
    assert not (watched.root / ".pilot").exists()


def test_the_calls_are_those_of_the_whole_tables(watched: Watched) -> None:
    """The callback leaves out the columns that no stage reads: that is nothing but memory."""
    audit = AuditFolder(root=watched.root)
    whole, some = judging.experiment_case(audit), judging.experiment_case(audit, columns=EVIDENCE_READ)
    assert set(whole.evidence.columns) - set(some.evidence.columns) >= {"question", "answer", "option_logprob"}
    assert some.stages(draws=50) == whole.stages(draws=50)
    assert stages.to_json(some.stages()) == json.loads((watched.root / "stages.json").read_text())


def test_the_evidence_is_what_the_saved_checkpoint_gives(folder: Path, watched: Watched, tmp_path: Path) -> None:
    """The live model is asked exactly as the checkpoint that is loaded from disk."""
    watched.done.trainer.save_model(str(tmp_path / "saved"))
    row = record_row(watched.root, 3)
    assert row["identity"]["weights"] == checkpoint_identity(tmp_path / "saved")
    stored = tables.read(watched.root / row["folder"] / "evidence", "evidence")
    spec = watched.callback.watch._parts.model(tmp_path / "saved")  # type: ignore[union-attr]
    with spec.open() as model:
        again = tmp_path / "again"
        step = watch.store.step(again, "evaluate", watch.store.StepKey(version=1, settings={}))
        material = watched.callback.watch._material  # type: ignore[union-attr]
        evaluate.evaluate(
            model, None, material, watched.callback.settings.evaluation, step,
            lineage="checkpoints", seed=0, generation=3, progress=SimpleNamespace(step=lambda *_: None),
        )  # fmt: skip
    fresh = tables.read(again / "evidence", "evidence")
    for column in ("item", "choice", "answer", "outcome", "option_logprob", "answer_confidence"):
        assert stored[column].tolist() == fresh[column].tolist()


# ---------------------------------------------------------------------------------------------------------------
# The budget


def test_a_small_budget_leaves_questions_out_by_hash_the_same_ones_throughout(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(plan: Any) -> Callable[..., Any]:
        return lambda *given, **more: plan

    whole = watch.budget.Plan(items=5, available=12, notes=("7 of 12 questions are left out",))
    monkeypatch.setattr(watch.budget, "plan", asked(whole))
    one = callback(folder, max_seconds=500.0)
    train(folder / "model", tmp_path, [one])
    root = tmp_path / "factfade"
    items = [
        set(tables.read(root / record_row(root, now.position)["folder"] / "evidence", "evidence")["item"])
        for now in one.measured
    ]
    assert len(items) == 3
    assert len(items[0]) == 5
    assert items[0] == items[1] == items[2]
    assert [now.left_out for now in one.measured] == [7, 7, 7]
    assert record(root)["notes"] == ["7 of 12 questions are left out"]


def test_the_deadline_is_looked_at_before_every_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    limits = live.Limits(batch_tokens=64)
    model = live.LiveModel(load(folder / "model"), Prompter(tokenizer, chat="raw", where=""), limits, name="x")
    clock = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    passes: list[int] = []

    def counted(self: Any, *given: Any, **more: Any) -> torch.Tensor:
        clock[0] += 1.0
        passes.append(1)
        return forward(self, *given, **more)

    forward = live.Net.forward
    monkeypatch.setattr(live.Net, "forward", counted)
    prompts, targets = [[5, 6, 7, 8]] * 40, [[[9], [10]]] * 40
    limits.deadline = 2.5
    with pytest.raises(Stopped, match="max_seconds"):
        model.ask(prompts, targets, new_tokens=4)
    assert len(passes) == 3


def test_an_evaluation_out_of_time_is_not_measured_and_the_training_goes_on(
    folder: Path, plain: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = callback(folder, max_seconds=500.0)
    ask = OpenModel.ask

    def slow(self: Any, *given: Any, **more: Any) -> Any:
        if one.measured:  # once the base is measured
            self.limits.deadline = 0.0
        return ask(self, *given, **more)

    monkeypatch.setattr(OpenModel, "ask", slow)
    done = train(folder / "model", tmp_path, [one])
    same(done, plain)
    assert [row["factfade/measured"] for row in done.measured()] == [1.0, 0.0, 0.0]
    stored = record(tmp_path / "factfade")
    assert stored["failures"] == ["step-4", "step-8"]
    assert "max_seconds" in stored["checkpoints"][0]["failure"]["message"]
    assert AuditFolder(root=tmp_path / "factfade").run().generations() == [0]


# ---------------------------------------------------------------------------------------------------------------
# Memory


def full_above(rows: int, kind: type[Exception] = torch.OutOfMemoryError) -> Callable[..., torch.Tensor]:
    """A device whose memory ends at a batch of more than so many rows."""
    forward = live.Net.forward

    def limited(self: Any, ids: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
        if len(ids) > rows and isinstance(self, live.LimitedNet):
            raise kind("CUDA out of memory" if kind is torch.OutOfMemoryError else live.HOST_MEMORY)
        return forward(self, ids, *given, **more)

    return limited


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_out_of_memory_halves_its_own_batch_and_never_the_training_s(
    folder: Path, plain: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    monkeypatch.setattr(live.Net, "forward", full_above(5, kind))
    monkeypatch.setattr(OpenModel, "start_check", lambda self: {})
    monkeypatch.setattr(live.LiveModel, "start_check", lambda self: {})
    one = callback(folder)
    done = train(folder / "model", tmp_path, [one], auto_find_batch_size=True)
    same(done, plain)
    assert done.trainer._train_batch_size == 4
    assert [row["factfade/measured"] for row in done.measured()] == [1.0, 1.0, 1.0]
    row = record(tmp_path / "factfade")["checkpoints"][-1]
    assert row["halvings"] > 0
    assert row["batch_tokens"] == 8192 // 2 ** row["halvings"]


def test_no_memory_for_a_single_question_is_not_measured(
    folder: Path, plain: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live.Net, "forward", full_above(0))
    done = train(folder / "model", tmp_path, [callback(folder)], auto_find_batch_size=True)
    same(done, plain)
    assert [row["factfade/measured"] for row in done.measured()] == [0.0, 0.0, 0.0]


# ---------------------------------------------------------------------------------------------------------------
# What fails


@pytest.mark.parametrize("phase", ["base", "checkpoint", "stages", "stop", "disk", "end"])
def test_an_exception_does_not_stop_the_training_and_is_no_pass(
    folder: Path, plain: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    def fails(*given: Any, **more: Any) -> Any:
        raise ValueError("planned")

    def in_checkpoints(self: Any, *given: Any, **more: Any) -> Any:
        return fails() if phase == "base" or one.measured else prepared(self, *given, **more)

    one = callback(folder, stop=fails if phase == "stop" else None)
    prepared = watch.Watch._evaluate
    if phase in ("base", "checkpoint"):
        monkeypatch.setattr(watch.Watch, "_evaluate", in_checkpoints)
    if phase == "stages":
        monkeypatch.setattr(watch.Watch, "judge", fails)
    if phase == "disk":
        monkeypatch.setattr(watch.durable, "write_json", fails)
    if phase == "end":
        monkeypatch.setattr(watch.Watch, "finish", fails)
    done = train(folder / "model", tmp_path, [one])
    same(done, plain)
    said = [row["factfade/measured"] for row in done.measured()]
    expected = {
        "base": [0, 0, 0], "checkpoint": [1, 0, 0], "stages": [1, 0, 0], "stop": [1, 1, 0, 1, 0],
        "disk": [0, 0, 0, 0], "end": [1, 1, 1, 0],
    }  # fmt: skip
    assert said == expected[phase]
    if phase != "disk":
        assert "step-8" in record(tmp_path / "factfade")["failures"]
    if phase in ("base", "checkpoint"):
        assert AuditFolder(root=tmp_path / "factfade").run().generations() == ([] if phase == "base" else [0])


def test_without_a_tokenizer_nothing_is_measured(folder: Path, tmp_path: Path) -> None:
    one = callback(folder)
    given = {"model": load(folder / "model"), "processing_class": None}
    state, control = TrainerState(global_step=0, is_world_process_zero=True), TrainerControl()
    one.on_train_begin(TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[]), state, control, **given)
    assert state.log_history == [{"factfade/measured": 0.0, "epoch": 0, "step": 0}]


def test_other_processes_do_nothing(folder: Path, tmp_path: Path) -> None:
    one = callback(folder, every=1)
    state, control = TrainerState(global_step=0, is_world_process_zero=False), TrainerControl()
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    one.on_train_begin(args, state, control, model=None)
    state.global_step = 1
    one.on_step_end(args, state, control, model=None)
    one.on_epoch_end(args, state, control, model=None)
    one.on_train_end(args, state, control, model=None)
    assert state.log_history == []
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_split_over_processes_are_not_measured(folder: Path, tmp_path: Path) -> None:
    one = callback(folder)
    state = TrainerState(global_step=0, is_world_process_zero=True)
    args = SimpleNamespace(fsdp="full_shard", output_dir=str(tmp_path), deepspeed=None)
    one.on_train_begin(args, state, TrainerControl(), model=None)  # type: ignore[arg-type]
    assert state.log_history[0]["factfade/measured"] == 0.0


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"every": 0}, ConfigError, "every"),
        ({"every": "step"}, ConfigError, "every"),
        ({"max_seconds": 0}, ConfigError, "max_seconds"),
        ({"formats": ["multiple_choise"]}, ConfigError, "multiple_choise"),
        ({"questions": None}, ConfigError, "questions"),
        ({"questions": "nothing-here.jsonl"}, NotFound, "nothing-here"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_training(
    folder: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        callback(folder, **changes)


# ---------------------------------------------------------------------------------------------------------------
# Stopping


def test_settings_are_tables_an_object_or_a_file_and_arguments_stand_over_them(folder: Path, tmp_path: Path) -> None:
    given = audit_settings.load(None, flags={"evaluation": EVALUATION})
    (tmp_path / "audit.toml").write_text(given.toml(), encoding="utf-8")
    for settings in (given, tmp_path / "audit.toml"):
        assert callback(folder, settings=settings).settings.evaluation == callback(folder).settings.evaluation
    assert callback(folder).settings.evaluation.items == 500
    assert callback(folder, evaluation={"items": 7}).settings.evaluation.items == 7
    assert callback(folder, evaluation={"items": 7}, items=9).settings.evaluation.items == 9
    assert callback(folder, chat="chat").settings.model.chat == "chat"


def test_a_reason_to_stop_ends_the_training(folder: Path, tmp_path: Path) -> None:
    seen: list[Any] = []

    def stop(now: Any) -> str | None:
        seen.append(now)
        return "enough is lost" if now.step >= 4 else None

    one = callback(folder, every=2, stop=stop)
    done = train(folder / "model", tmp_path, [one])
    assert done.trainer.state.global_step == 4
    assert [now.step for now in seen] == [2, 4]
    assert all(now.report is not None and now.folder == tmp_path / "factfade" for now in seen)


def test_a_stage_stops_the_training_at_the_call_over_all_formats() -> None:
    def now(stage: str | None) -> Any:
        return SimpleNamespace(
            overall=None if stage is None else SimpleNamespace(stage=stage, sentence=f"it is {stage}")
        )

    stop = stop_at("B", "C")
    assert stop(now("B")) == "it is B"
    assert stop(now("C")) == "it is C"
    assert [stop(now(stage)) for stage in ("A", "undetermined", None)] == [None, None, None]


@pytest.mark.parametrize("main", [True, False])
def test_every_process_stops_where_the_main_one_does(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main: bool
) -> None:
    """A process that has not measured anything hears of it: else it would wait for the others for ever."""

    def from_main(said: list[bool], src: int, device: Any) -> None:
        assert src == 0
        said[0] = main

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "broadcast_object_list", from_main)
    one, control = callback(folder, every=1, stop=lambda now: None), TrainerControl()
    args: Any = SimpleNamespace(world_size=2, device="cpu", output_dir=str(tmp_path))
    state = TrainerState(global_step=0, is_world_process_zero=False)
    one.on_train_begin(args, state, control)
    state.global_step = 1
    one.on_step_end(args, state, control)
    assert control.should_training_stop is main


def test_a_breach_of_the_gate_s_policy_stops_the_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def judge(path: Path, policy: Any) -> Any:
        asked.append((path, policy.margins.knowledge))
        return SimpleNamespace(verdict=verdict, sentence="facts are lost")

    monkeypatch.setattr(watching.gate, "judge", judge)
    (tmp_path / "policy.toml").write_text("[margins]\nknowledge = 0.05\n", encoding="utf-8")
    stop = stop_at_breach(tmp_path / "policy.toml")
    said: dict[str, str | None] = {}
    for verdict in ("pass", "breach", "inconclusive"):
        said[verdict] = stop(SimpleNamespace(folder=tmp_path))  # type: ignore[arg-type]
    assert said == {"pass": None, "breach": "facts are lost", "inconclusive": None}
    assert asked == [(tmp_path, 0.05)] * 3
    with pytest.raises(ConfigError, match="nothing"):
        stop_at_breach(tmp_path / "nothing.toml")


def test_the_gate_reads_the_folder_and_never_passes_what_was_not_measured(watched: Watched, tmp_path: Path) -> None:
    lenient = {"gate": {"minimum_n": 1}, "margins": {"knowledge": 0.9, "format": 0.9}}
    policy = watching.policies.parse(lenient)
    assert watching.gate.judge(watched.root, policy).verdict == "pass"
    shutil.copytree(watched.root, tmp_path / "copy")
    folder = watch.WatchFolder(tmp_path / "copy", watched.callback.settings)
    folder.rows = [record(watched.root)["base"], *record(watched.root)["checkpoints"]]
    folder.failed(4, 9, ValueError("planned"))
    assert watching.gate.judge(tmp_path / "copy", policy).verdict != "pass"


# ---------------------------------------------------------------------------------------------------------------
# Again, and on


def test_a_resumed_training_goes_on_with_the_same_questions(folder: Path, tmp_path: Path) -> None:
    path, saving = folder / "model", {"save_strategy": "steps", "save_steps": 4, "save_total_limit": 1}

    class Breaks(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if state.global_step == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(path, tmp_path, [callback(folder, every=2), Breaks()], **saving)
    root = tmp_path / "factfade"
    assert [one["step"] for one in record(root)["checkpoints"]] == [2, 4, 6]
    done = train(path, tmp_path, [callback(folder, every=2)], resume=True, **saving)
    assert [(one["position"], one["step"]) for one in record(root)["checkpoints"]] == [(1, 2), (2, 4), (3, 6), (4, 8)]
    assert record(root)["failures"] == []
    assert [row["factfade/measured"] for row in done.measured()] == [1.0] * 5
    assert AuditFolder(root=root).run().generations() == [0, 1, 2, 3, 4]
    kept = sorted(p.name for p in (root / ".earlier-trainings").rglob("*-step-*"))
    assert kept == ["003-step-6"]
    whole = train(path, tmp_path / "whole", **saving)
    assert all(torch.equal(tensor, whole.weights[name]) for name, tensor in done.weights.items())


def test_a_resumed_training_without_its_base_is_not_measured(folder: Path, tmp_path: Path) -> None:
    path, saving = folder / "model", {"save_strategy": "steps", "save_steps": 4}
    train(path, tmp_path, max_steps=4, **saving)
    done = train(path, tmp_path, [callback(folder)], resume=True, **saving)
    assert [row["factfade/measured"] for row in done.measured()] == [0.0, 0.0]


def test_another_training_in_the_same_folder_sets_the_first_aside(folder: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        one = callback(folder, out=tmp_path / "mine")
        train(folder / "model", tmp_path, [one], max_steps=number)
        assert [now.step for now in one.measured] == [0, number]
    assert AuditFolder(root=tmp_path / "mine").run().generations() == [0, 1]
    assert (tmp_path / "mine" / ".earlier-trainings" / "001" / "checkpoints" / "001-step-1").is_dir()


def test_a_folder_of_something_else_is_left_alone(folder: Path, plain: Done, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = train(folder / "model", tmp_path, [callback(folder, out=tmp_path / "mine")])
    same(done, plain)
    assert [row["factfade/measured"] for row in done.measured()] == [0.0, 0.0, 0.0]
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


# ---------------------------------------------------------------------------------------------------------------
# The start model that reads the model's own text


def fluency(root: Path, position: int) -> Any:
    table = tables.read(root / record_row(root, position)["folder"] / "fluency.parquet", "fluency")
    return table[table["kind"] == "own_under_start"].reset_index(drop=True)


def test_own_text_is_read_by_the_start_model(folder: Path, watched: Watched, tmp_path: Path) -> None:
    root = watched.root
    own = tables.read(root / record_row(root, 3)["folder"] / "own.parquet", "completions")
    material = watched.callback.watch._material  # type: ignore[union-attr]
    with watched.callback.watch._parts.model(folder / "model").open() as start:  # type: ignore[union-attr]
        prompts = [start.wrap(one.tokens) for one in material.prompts]
        again = start.score(prompts, [[list(ids)] for ids in own["token_ids"]])
    assert fluency(root, 3)["nll"].tolist() == [-one[0].logprob for one in again]


def test_a_named_reference_reads_the_base_too_and_none_leaves_fluency_out(folder: Path, tmp_path: Path) -> None:
    named = callback(folder, reference=folder / "model", out=tmp_path / "named")
    train(folder / "model", tmp_path, [named], max_steps=1)
    assert named.measured[0].record["reference"] is True
    none = callback(folder, reference="none", out=tmp_path / "none")
    train(folder / "model", tmp_path, [none], max_steps=1)
    assert none.measured[1].record["own_completions"] == 0
    assert "fluency is not measured" in record(tmp_path / "none")["notes"][0]
    assert not (tmp_path / "none" / ".start").exists()


def test_an_adapter_is_read_by_its_base_and_trains_the_same(folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason='adapters need pip install "factfade[lora]"')

    def adapted() -> Any:
        set_seed(7)
        config = peft.LoraConfig(r=4, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")
        model = peft.get_peft_model(load(folder / "model"), config)
        # An adapter's own switch would ask for this gradient again.
        next(p for n, p in model.named_parameters() if "lora_A" in n).requires_grad_(False)
        return model

    one = callback(folder)
    done = train(folder / "model", tmp_path / "a", [one], model=adapted())
    same(done, train(folder / "model", tmp_path / "b", model=adapted()))
    assert [row["factfade/measured"] for row in done.measured()] == [1.0, 1.0, 1.0]
    root = tmp_path / "a" / "factfade"
    own = tables.read(root / record_row(root, 2)["folder"] / "own.parquet", "completions")
    material = one.watch._material  # type: ignore[union-attr]
    with one.watch._parts.model(folder / "model").open() as start:  # type: ignore[union-attr]
        prompts = [start.wrap(text.tokens) for text in material.prompts]
        again = start.score(prompts, [[list(ids)] for ids in own["token_ids"]])
    assert fluency(root, 2)["nll"].tolist() == pytest.approx([-x[0].logprob for x in again], abs=1e-4)
    start_rows = fluency(root, 0)["nll"].tolist()
    assert start_rows != fluency(root, 2)["nll"].tolist()

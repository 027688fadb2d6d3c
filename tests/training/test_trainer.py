"""The trainer against a loop written by hand, and what a checkpoint must be."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from factfade import registry
from factfade.errors import ConfigError, NonFinite, RunFailed
from factfade.identity import checkpoint_identity
from factfade.records import Document
from factfade.training import packing
from factfade.training.objectives import CrossEntropy
from factfade.training.trainer import HfTrainer

SEED = 11


@dataclass
class Steps:
    """Progress that is kept."""

    seen: list[tuple[str, int, int]] = field(default_factory=list)

    def step(self, what: str, done: int, total: int) -> None:
        self.seen.append((what, done, total))


def documents(count: int, *, length: int = 12, vocabulary: int = 300) -> list[Document]:
    draw = random.Random(4)
    return [
        Document(
            id=str(i), text="", source="synthetic", tokens=tuple(draw.randrange(vocabulary) for _ in range(length))
        )
        for i in range(count)
    ]


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def train(start: Path, out: Path, given: Sequence[Document] | None = None, objective: Any = None, **knobs: Any) -> Any:
    trainer = HfTrainer(**{"chunk_tokens": 16, "batch": 4, "epochs": 1.0, "learning_rate": 1e-3, **knobs})
    return trainer.train(
        start, given or documents(20), objective or CrossEntropy(), out=out, seed=SEED, progress=Steps()
    )


def by_hand(start: Path, given: Sequence[Document], *, lr_at: Any = None, **knobs: Any) -> tuple[list[float], Any]:
    """A plain loop over the same order: AdamW, mean loss over the targets of a step, clipping. No dropout."""
    settings = {"chunk_tokens": 16, "batch": 4, "accumulation": 1, "epochs": 1.0, "learning_rate": 1e-3} | knobs
    packed = packing.pack(given, chunk_tokens=settings["chunk_tokens"], seed=SEED, encode=lambda text: [])
    visits = packing.order(len(packed), epochs=settings["epochs"], seed=SEED)
    net = load(start)
    decayed = [p for name, p in net.named_parameters() if p.dim() > 1 and "norm" not in name]
    rest = [p for name, p in net.named_parameters() if p.dim() == 1 or "norm" in name]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"], betas=(0.9, 0.999), eps=1e-8)
    size = settings["batch"] * settings["accumulation"]
    steps = [visits[at : at + size] for at in range(0, len(visits), size)]
    losses: list[float] = []
    for number, chunks in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = settings["learning_rate"] * (lr_at(number, len(steps)) if lr_at else 1.0)
        total = torch.zeros(())
        targets = 0
        for chunk in chunks:
            begin, end = packed.span(chunk)
            ids = torch.tensor([list(packed.tokens[begin:end])])
            nll = -net(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
            total, targets = total + nll.sum(), targets + nll.numel()
        (total / targets).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(total.detach()) / targets)
    return losses, net


def difference(left: Any, right: Any) -> float:
    there = dict(right.named_parameters())
    return max(float((p.detach() - there[name].detach()).abs().max()) for name, p in left.named_parameters())


@pytest.fixture
def no_dropout_gpt2(tiny_gpt2: Path, tmp_path: Path) -> Path:
    net = load(tiny_gpt2)
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        setattr(net.config, name, 0.0)
    net.save_pretrained(tmp_path / "still")
    AutoTokenizer.from_pretrained(tiny_gpt2).save_pretrained(tmp_path / "still")
    return tmp_path / "still"


@pytest.mark.parity
@pytest.mark.parametrize("family", ["tiny_llama", "no_dropout_gpt2"])
def test_the_loss_trajectory_equals_a_loop_written_by_hand(
    family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    start = request.getfixturevalue(family)
    # 251 tokens: 15 chunks of 16 and one of 11; two epochs in steps of 3 x 2, so that micro-batches differ in size.
    given = [*documents(20), Document(id="x", text="", source="human", tokens=tuple(range(11)))]
    knobs = {"batch": 3, "accumulation": 2, "epochs": 2.0}
    trained = train(start, tmp_path / "out", given, **knobs)
    losses, net = by_hand(start, given, **knobs)
    assert trained.steps == len(losses) == 6
    assert trained.losses == pytest.approx(losses, abs=1e-5)
    assert losses[-1] < losses[0]
    # Not the weights themselves: a key's bias has no effect, so its gradient is rounding that AdamW scales up.
    ids = torch.arange(60)[None] * 3
    there, here = (model(input_ids=ids).logits.log_softmax(-1).detach() for model in (load(tmp_path / "out"), net))
    assert float((there - here).abs().max()) < 1e-4
    before = load(start)(input_ids=ids).logits.log_softmax(-1).detach()
    assert float((there - before).abs().max()) > 0.01


@pytest.mark.parity
@pytest.mark.parametrize(
    ("schedule", "warmup", "lr_at"),
    [
        ("linear", 2, lambda step, steps: step / 2 if step < 2 else (steps - step) / (steps - 2)),
        ("constant", 2, lambda step, steps: min(1.0, step / 2)),
        ("cosine", 0, lambda step, steps: 0.5 * (1 + np.cos(np.pi * step / steps))),
    ],
)
def test_schedules_are_what_they_are_called(
    tiny_llama: Path, tmp_path: Path, schedule: str, warmup: int, lr_at: Any
) -> None:
    trained = train(tiny_llama, tmp_path / "out", schedule=schedule, warmup_steps=warmup, epochs=2.0)
    losses, net = by_hand(tiny_llama, documents(20), lr_at=lr_at, epochs=2.0)
    assert trained.losses == pytest.approx(losses, abs=1e-5)
    assert difference(load(tmp_path / "out"), net) < 1e-5


@dataclass(frozen=True, kw_only=True)
class HalfOfTheTokens:
    """Cross-entropy of the targets with an even id, normalised by their number: known only after the forward pass."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> Any:
        kept = (labels != -100) & (labels % 2 == 0)
        nll = -logits.float().log_softmax(-1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
        return (nll * kept).sum(), kept.sum(), {"kept": float(kept.sum())}


@pytest.mark.parity
def test_a_normaliser_of_the_objectives_own_survives_accumulation(tiny_llama: Path, tmp_path: Path) -> None:
    one = train(tiny_llama, tmp_path / "one", objective=HalfOfTheTokens(), batch=6, accumulation=1)
    many = train(tiny_llama, tmp_path / "many", objective=HalfOfTheTokens(), batch=2, accumulation=3)
    assert many.losses == pytest.approx(one.losses, abs=1e-5)
    assert difference(load(tmp_path / "one"), load(tmp_path / "many")) < 1e-5
    assert one.record["logs"]["kept"] == pytest.approx(3 * many.record["logs"]["kept"], rel=0.2)
    assert difference(load(tmp_path / "one"), load(train_plain(tiny_llama, tmp_path))) > 1e-4


def train_plain(start: Path, folder: Path) -> Path:
    train(start, folder / "plain", batch=6)
    return folder / "plain"


def test_equal_trainings_give_equal_bytes_and_leave_the_world_as_it_was(tiny_gpt2: Path, tmp_path: Path) -> None:
    """GPT-2 with its dropout: the weights depend on the seed, not on what ran before."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    first = train(tiny_gpt2, tmp_path / "a")
    drawn = random.random(), float(np.random.rand()), float(torch.rand(()))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert drawn == (random.random(), float(np.random.rand()), float(torch.rand(())))
    torch.rand(1000)
    second = train(tiny_gpt2, tmp_path / "b")
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert (first.identity, first.losses, first.record) == (second.identity, second.losses, second.record)
    assert first.identity == checkpoint_identity(tmp_path / "a") != checkpoint_identity(tiny_gpt2)
    assert torch.get_num_threads() == 1


def test_the_checkpoint_is_whole_and_holds_nothing_else(
    tiny_llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trained = train(tiny_llama, tmp_path / "out")
    assert capfd.readouterr() == ("", "")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {path.name for path in tiny_llama.iterdir()}
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tiny_llama / name).read_bytes()
    saved = load(tmp_path / "out")
    assert saved.config.use_cache == load(tiny_llama).config.use_cache
    assert {p.dtype for p in saved.parameters()} == {torch.float32}
    assert (saved.lm_head.weight.data_ptr()) == saved.model.embed_tokens.weight.data_ptr()
    assert trained.record["parameters"]["total"] == sum(p.numel() for p in saved.parameters())


def test_a_half_precision_start_becomes_float32(tiny_llama: Path, tmp_path: Path) -> None:
    net = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float16)
    net.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path / "half")
    (tmp_path / "half" / "generation_config.json").write_text('{"do_sample": false, "temperature": 0.3}')
    train(tmp_path / "half", tmp_path / "out")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").dtype == torch.float32
    assert "0.3" in (tmp_path / "out" / "generation_config.json").read_text()


def test_the_record_says_what_was_asked_and_what_was_done(tiny_llama: Path, tmp_path: Path) -> None:
    steps = Steps()
    given = [*documents(20), *(Document(id="h", text="Paris", source="human") for _ in range(1))]
    trainer = HfTrainer(chunk_tokens=16, batch=2, accumulation=2, epochs=0.5, learning_rate=1e-3)
    trained = trainer.train(tiny_llama, given, CrossEntropy(), out=tmp_path / "out", seed=SEED, progress=steps)
    record, chunks = trained.record, trained.record["chunks"]
    assert record["documents"]["synthetic_tokens"] == 240
    assert record["documents"]["encoded_here"] == 1
    assert chunks == -(-record["documents"]["tokens"] // 16) == 16
    assert record["requested"]["epochs"] == record["achieved"]["epochs"] == 0.5
    assert record["achieved"]["chunks"] == 8
    assert trained.tokens == record["achieved"]["targets"] == record["achieved"]["tokens"] - 8
    assert trained.steps == len(trained.losses) == 2
    assert steps.seen == [("train", 1, 2), ("train", 2, 2)]
    assert record["objective"] == {"kind": "CrossEntropy"}
    assert not any("second" in name for name in record)
    assert trained.times["trainer_seconds"] >= trained.times["training_seconds"] > 0


class Poisoned:
    """An objective that is not finite in its second step."""

    def __init__(self) -> None:
        self.calls = 0

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> Any:
        self.calls += 1
        total, number, logs = CrossEntropy().loss(logits, labels)
        return total * (float("nan") if self.calls == 2 else 1.0), number, logs


def test_a_loss_that_is_not_finite_publishes_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(NonFinite, match="training step 2 of 4"):
        train(tiny_llama, tmp_path / "out", objective=Poisoned())
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite_publish_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(NonFinite):
        train(tiny_llama, tmp_path / "out", learning_rate=1e38, batch=16)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [({"chunk_tokens": 129}, "context of 128"), ({"report_to": ("no_such_tracker",)}, "no_such_tracker")],
)
def test_settings_that_cannot_be_are_refused(
    tiny_llama: Path, tmp_path: Path, knobs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tiny_llama, tmp_path / "out", **knobs)
    assert not (tmp_path / "out").exists()


def test_nothing_to_train_on_is_said(tiny_llama: Path, tmp_path: Path) -> None:
    nothing = [Document(id="a", text="", source="human", tokens=())]
    with pytest.raises(RunFailed, match="no token"):
        train(tiny_llama, tmp_path / "out", nothing)


def test_bfloat16_trains_close_to_float32_and_saves_float32(tiny_llama: Path, tmp_path: Path) -> None:
    exact = train(tiny_llama, tmp_path / "exact")
    low = train(tiny_llama, tmp_path / "low", precision="bfloat16")
    assert low.losses != exact.losses
    assert low.losses == pytest.approx(exact.losses, rel=0.05)
    assert load(tmp_path / "low").dtype == torch.float32
    again = train(tiny_llama, tmp_path / "again")
    assert again.identity == exact.identity, "a bfloat16 training leaves nothing behind"


@pytest.fixture
def modules() -> tuple[str, ...]:
    pytest.importorskip("peft")
    return ("q_proj", "v_proj")


def test_lora_trains_the_named_modules_alone_and_is_merged(
    tiny_llama: Path, tmp_path: Path, modules: tuple[str, ...]
) -> None:
    trained = train(tiny_llama, tmp_path / "out", lora={"rank": 2, "targets": modules}, epochs=2.0)
    before, after = load(tiny_llama), load(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in tiny_llama.iterdir()}
    there = dict(after.named_parameters())
    for name, parameter in before.named_parameters():
        changed = not torch.equal(parameter, there[name])
        assert changed == any(module in name for module in modules), name
        if changed:
            moved = (there[name] - parameter).detach()
            assert int(torch.linalg.matrix_rank(moved, rtol=1e-3)) <= 2
    assert trained.losses[-1] < trained.losses[0]
    assert trained.record["parameters"]["trainable"] == 2 * (48 * 2 + 2 * 48 + 48 * 2 + 2 * 24)
    again = train(tiny_llama, tmp_path / "again", lora={"rank": 2, "targets": modules}, epochs=2.0)
    assert again.identity == trained.identity


def test_lora_on_all_linear_layers_fits_gpt2(tiny_gpt2: Path, tmp_path: Path, modules: tuple[str, ...]) -> None:
    train(tiny_gpt2, tmp_path / "out", lora={"rank": 2})
    assert difference(load(tiny_gpt2), load(tmp_path / "out")) > 0
    with pytest.raises(ConfigError, match=r"training\.lora\.targets"):
        train(tiny_gpt2, tmp_path / "none", lora={"rank": 2, "targets": ("q_proj",)})


def test_the_registry_builds_the_trainer_from_the_file(tmp_path: Path) -> None:
    from factfade.sections import TrainingSection

    section = TrainingSection(lora={"rank": 4})  # pyright: ignore[reportArgumentType]
    table = section.model_dump(exclude={"start"})
    trainer = registry.build("trainer", table, threads=1, device="cpu")
    assert isinstance(trainer, HfTrainer)
    assert trainer.lora == section.lora
    with pytest.raises(ConfigError, match="at least 2"):
        registry.build("trainer", {"kind": "hf", "chunk_tokens": 1})

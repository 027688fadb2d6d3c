"""The seam of heavy objectives, and the budget in steps."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from factfade.errors import NonFinite, RunFailed
from factfade.training import packing
from factfade.training.bench import Light, TrainingBench, opened
from factfade.training.objectives import CrossEntropy
from factfade.training.trainer import HfTrainer
from tests.training.test_trainer import SEED, Steps, documents


@dataclass
class Seen:
    """A heavy objective that is cross-entropy and keeps what it is told; `poison` is the step that it spoils."""

    poison: int | None = None
    events: list[str] = field(default_factory=list[str])
    calls: list[tuple[int, list[list[int]], list[list[int]]]] = field(default_factory=list[Any])
    bench: Any = None

    @contextmanager
    def open(self, bench: Any) -> Generator[Seen]:
        self.events.append("open")
        self.bench = bench
        try:
            yield self
        finally:
            self.events.append("close")

    def step_loss(self, logits: torch.Tensor, labels: torch.Tensor, *, ids: torch.Tensor, step: int) -> Any:
        assert logits.shape[:2] == labels.shape == (ids.shape[0], ids.shape[1] - 1)
        self.calls.append((step, ids.tolist(), labels.tolist()))
        total, number, logs = CrossEntropy().loss(logits, labels)
        return total * (float("nan") if step == self.poison else 1.0), number, logs


def train(start: Path, out: Path, objective: Any, *, count: int = 20, sources: Any = None, **knobs: Any) -> Any:
    settings: dict[str, Any] = {"chunk_tokens": 16, "batch": 4, "epochs": 1.0, "learning_rate": 1e-3, **knobs}
    trainer = HfTrainer(**settings)
    return trainer.train(start, documents(count), objective, out=out, seed=SEED, progress=Steps(), sources=sources)


def test_a_heavy_objective_sees_every_chunk_once_with_its_step(tiny_llama: Path, tmp_path: Path) -> None:
    """20 documents of 12 tokens are 15 chunks of 16; in steps of 2 x 2 the last step has one micro-batch and a half."""
    heavy = Seen()
    trained = train(tiny_llama, tmp_path / "out", heavy, batch=2, accumulation=2)
    assert heavy.events == ["open", "close"]
    assert [step for step, _, _ in heavy.calls] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert trained.steps == heavy.bench.steps_per_epoch == 4
    packed = packing.pack(documents(20), chunk_tokens=16, seed=SEED, encode=lambda text: [])
    visits = packing.order(len(packed), epochs=1.0, seed=SEED)
    expected = [list(packed.tokens[slice(*packed.span(chunk))]) for chunk in visits]
    assert [row for _, ids, _ in heavy.calls for row in ids] == expected
    for _, ids, labels in heavy.calls:
        assert [row[1:] for row in ids] == labels, "labels are the ids that the logits before them predict"
    # And what is trained is cross-entropy's.
    plain = train(tiny_llama, tmp_path / "plain", CrossEntropy(), batch=2, accumulation=2)
    assert (plain.identity, plain.losses) == (trained.identity, trained.losses)


def test_filled_up_places_are_no_targets(tiny_llama: Path, tmp_path: Path) -> None:
    heavy = Seen()
    train(tiny_llama, tmp_path / "out", heavy, count=3, batch=3)
    ((_, ids, labels),) = heavy.calls
    lengths = sorted(sum(label != -100 for label in row) for row in labels)
    assert lengths == [3, 15, 15]
    for row, own in zip(ids, labels, strict=True):
        filled = [at for at, label in enumerate(own) if label == -100]
        assert all(row[at + 1] == 0 for at in filled)


def test_it_is_closed_when_training_fails(tiny_llama: Path, tmp_path: Path) -> None:
    heavy = Seen(poison=1)
    with pytest.raises(NonFinite, match="training step 2"):
        train(tiny_llama, tmp_path / "out", heavy)
    assert heavy.events == ["open", "close"]
    assert not (tmp_path / "out").exists()


@dataclass(frozen=True)
class Base:
    """Sources that know the start model alone."""

    base: Path


def test_the_bench_offers_the_net_and_the_start_model(tiny_llama: Path, tiny_gpt2: Path, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    @dataclass(frozen=True)
    class Looking:
        @contextmanager
        def open(self, bench: Any) -> Generator[Light]:
            base = bench.base()
            seen.update(base=type(base).__name__, net=type(bench.net).__name__, bench=bench)
            assert not any(p.requires_grad for p in base.parameters())
            assert not any(module.training for module in base.modules())
            assert all(p.requires_grad for p in bench.net.parameters())
            yield Light(objective=CrossEntropy())

    train(tiny_llama, tmp_path / "out", Looking(), sources=Base(tiny_gpt2))
    assert (seen["base"], seen["net"]) == ("GPT2LMHeadModel", "LlamaForCausalLM")
    bench: TrainingBench = seen["bench"]
    bos = bench.prompter.bos
    assert bench.prompt("Paris is") == [bos, *bench.encode("Paris is")]
    prompt, target = bench.continued("Answer: ", "Paris")
    assert prompt == bench.prompt("Answer:")
    assert target == bench.encode("Answer: Paris")[len(bench.encode("Answer:")) :]
    with pytest.raises(RunFailed, match="none were given"):
        train(tiny_llama, tmp_path / "none", Looking())


def test_a_light_objective_is_itself() -> None:
    logits = torch.randn(2, 3, 5)
    labels = torch.tensor([[1, 2, -100], [0, 4, 3]])
    bench: Any = None
    with opened(CrossEntropy(), bench) as live:
        total, number, logs = live.step_loss(logits, labels, ids=torch.zeros(2, 4, dtype=torch.long), step=7)
    expected, targets, _ = CrossEntropy().loss(logits, labels)
    assert (float(total), int(number), logs) == (float(expected), int(targets), {})


# ---------------------------------------------------------------------------------------------------------------
# The budget in steps


@pytest.mark.parametrize("count", [3, 20, 90])
def test_a_budget_is_the_same_whatever_the_size_of_the_pool(tiny_llama: Path, tmp_path: Path, count: int) -> None:
    """36, 240 and 1,080 tokens: 5 steps of 2 x 2 chunks of 16 repeat the first pools and cut the last."""
    heavy = Seen()
    trained = train(tiny_llama, tmp_path / "out", heavy, count=count, steps=5, batch=2, accumulation=2, epochs=9.0)
    tokens = 5 * 2 * 2 * 16
    record = trained.record
    assert record["requested"] == {"steps": 5, "tokens": tokens}
    assert record["achieved"]["tokens"] == tokens == sum(len(row) for _, ids, _ in heavy.calls for row in ids)
    assert record["achieved"]["chunks"] == 20
    assert trained.steps == len(trained.losses) == 5
    assert trained.tokens == record["achieved"]["targets"] == tokens - 20
    chunks = count * 12 // 16
    assert record["chunks"] == chunks
    assert record["achieved"]["epochs"] == pytest.approx(20 / chunks)
    assert record["documents"]["left_out_tokens"] == count * 12 - chunks * 16
    rows = [tuple(row) for _, ids, _ in heavy.calls for row in ids]
    counts = {row: rows.count(row) for row in rows}
    assert len(counts) == min(chunks, 20)
    assert max(counts.values()) - min(counts.values()) <= 1, "no chunk is repeated before all have come"
    assert heavy.bench.steps_per_epoch == -(-chunks // 4)


def test_a_pool_below_one_chunk_says_what_was_achieved(tiny_llama: Path, tmp_path: Path) -> None:
    trained = train(tiny_llama, tmp_path / "out", CrossEntropy(), count=1, steps=2, batch=2)
    assert trained.record["requested"]["tokens"] == 64
    assert trained.record["achieved"]["tokens"] == 48

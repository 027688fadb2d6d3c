"""kl_to_start: the divergence and its gradient against autograd, and what it does to a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from factfade import registry
from factfade.errors import ConfigError
from factfade.training import divergence
from factfade.training.divergence import StartDivergence
from factfade.training.kl import KlToStart
from factfade.training.objectives import CrossEntropy
from tests.training.test_bench import Base, train
from tests.training.test_trainer import load


@dataclass
class Given:
    logits: torch.Tensor


@dataclass
class Start:
    """A start model that answers with planted logits by the first id of a row; what it reads is counted."""

    table: torch.Tensor
    read: int = 0

    def __call__(self, *, input_ids: torch.Tensor, use_cache: bool) -> Given:
        assert not use_cache
        assert not torch.is_grad_enabled()
        self.read += len(input_ids)
        return Given(self.table[input_ids[:, 0]])


def planted(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Start]:
    draw = torch.Generator().manual_seed(0)
    logits = (torch.randn(5, 4, 7, generator=draw) * 2).to(dtype)
    labels = torch.randint(0, 7, (5, 4), generator=draw)
    labels[0, 2:] = -100
    ids = torch.arange(5)[:, None].expand(5, 5)
    return logits.requires_grad_(), labels, ids, Start(torch.randn(5, 5, 7, generator=draw) * 2)


def naive(logits: torch.Tensor, labels: torch.Tensor, start: Start, direction: str) -> torch.Tensor:
    """Autograd's own way, over whole tensors."""
    p, q = start.table[:, :-1].float().softmax(-1), logits.float().softmax(-1)
    one, other = (p, q) if direction == "forward" else (q, p)
    return ((one * (one / other).log()).sum(-1) * (labels != -100)).sum()


@pytest.mark.parametrize("held", [1, 60, 2**24])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_the_divergence_and_its_gradient_are_autograds(
    direction: Literal["forward", "reverse"], held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(divergence, "HELD", held)
    logits, labels, ids, start = planted()
    total: Any = StartDivergence.apply(logits, labels != -100, ids, start, direction == "reverse")
    (3.0 * total).backward()
    other = logits.detach().clone().requires_grad_()
    expected = naive(other, labels, start, direction)
    (3.0 * expected).backward()
    assert logits.grad is not None
    assert other.grad is not None
    assert float(total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(logits.grad, other.grad, atol=1e-5, rtol=1e-4)
    assert bool((logits.grad[labels == -100] == 0).all())
    assert start.read == 5


def test_low_precision_logits_are_read_in_float32() -> None:
    logits, labels, ids, start = planted(torch.bfloat16)
    total: Any = StartDivergence.apply(logits, labels != -100, ids, start, False)
    total.backward()
    assert total.dtype == torch.float32
    assert float(total.detach()) == pytest.approx(float(naive(logits.detach(), labels, start, "forward")), rel=1e-5)
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_beta_0_is_cross_entropy_and_starts_at_no_divergence(
    tiny_gpt2: Path, tmp_path: Path, direction: Literal["forward", "reverse"]
) -> None:
    plain = train(tiny_gpt2, tmp_path / "plain", CrossEntropy())
    part = KlToStart(beta=0.0, direction=direction)
    found = train(tiny_gpt2, tmp_path / "out", part, sources=Base(tiny_gpt2))
    assert (found.identity, found.losses) == (plain.identity, plain.losses)
    assert found.record["logs"]["kl"] > 0, "the divergence is logged all the same"


def test_at_the_start_model_there_is_neither_divergence_nor_gradient(tiny_llama: Path) -> None:
    net, base = load(tiny_llama).eval(), load(tiny_llama).eval()
    ids = torch.arange(40).reshape(2, 20)
    for reverse in (False, True):
        logits = net(input_ids=ids).logits[:, :-1]
        logits.retain_grad()
        total: Any = StartDivergence.apply(logits, torch.ones(2, 19, dtype=torch.bool), ids, base, reverse)
        total.backward()
        assert abs(float(total.detach())) < 1e-4
        assert float(logits.grad.abs().max()) < 1e-6


def test_the_higher_beta_the_nearer_the_start(tiny_llama: Path, tmp_path: Path) -> None:
    ids = torch.arange(120).reshape(4, 30)
    start = load(tiny_llama)(input_ids=ids).logits.log_softmax(-1).detach()
    moved = list[float]()
    for beta in (0.0, 1.0, 100.0):
        part = KlToStart(beta=beta)
        train(tiny_llama, tmp_path / f"beta{beta}", part, sources=Base(tiny_llama), epochs=2.0, batch=2)
        now = load(tmp_path / f"beta{beta}")(input_ids=ids).logits.log_softmax(-1).detach()
        moved.append(float((start.exp() * (start - now)).sum(-1).mean()))
    assert moved[0] > moved[1] > moved[2] >= 0


def test_accumulated_micro_batches_equal_one_batch(tiny_llama: Path, tmp_path: Path) -> None:
    part = KlToStart(beta=0.5)
    one = train(tiny_llama, tmp_path / "one", part, sources=Base(tiny_llama))
    many = train(tiny_llama, tmp_path / "many", part, sources=Base(tiny_llama), batch=1, accumulation=4)
    assert many.losses == pytest.approx(one.losses, abs=1e-5)


def test_no_target_is_zero_with_a_finite_gradient() -> None:
    logits, labels, ids, start = planted()
    from factfade.training.kl import LiveKl

    live = LiveKl(settings=KlToStart(), start=start)
    total, number, logs = live.step_loss(logits, torch.full_like(labels, -100), ids=ids, step=0)
    total.backward()
    assert (float(total.detach()), int(number), logs) == (0.0, 0, {})
    assert logits.grad is not None
    assert bool((logits.grad == 0).all())


@pytest.mark.parametrize("wrong", [{"beta": -1.0}, {"beta": math.nan}, {"direction": "both"}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        registry.build("objective", {"kind": "kl_to_start", **wrong})

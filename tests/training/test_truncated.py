"""Truncated cross-entropy: what is masked, what it is divided by, and where a dynamic gamma comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForCausalLM

from factfade import registry
from factfade.errors import ConfigError, RunFailed
from factfade.protocols import HeavyObjective, Objective
from factfade.training.objectives import CrossEntropy
from factfade.training.trainer import HfTrainer
from factfade.training.truncated import TruncatedCrossEntropy, held_out_probabilities
from tests.training.test_trainer import SEED, Steps, difference, documents, load

GAMMA = 0.3


def planted(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(3, 7, 11, generator=generator) * 3).to(dtype)
    labels = torch.randint(0, 11, (3, 7), generator=generator)
    labels[:, :3] = logits[:, :3].argmax(-1)  # some that the model is sure of
    labels[0, 5:] = -100
    return logits.requires_grad_(), labels


def slow(logits: torch.Tensor, labels: torch.Tensor, gamma: float) -> tuple[float, int, list[tuple[int, int]]]:
    """Sum, number kept and the places masked, token by token in float64."""
    total, kept, masked = 0.0, 0, list[tuple[int, int]]()
    for row in range(labels.shape[0]):
        for at in range(labels.shape[1]):
            if labels[row, at] == -100:
                continue
            values = [math.exp(float(z)) for z in logits[row, at].detach().float()]
            p = values[int(labels[row, at])] / sum(values)
            if p <= gamma:
                total, kept = total - math.log(p), kept + 1
            else:
                masked.append((row, at))
    return total, kept, masked


@pytest.mark.parametrize("normalise", ["all", "kept"])
def test_only_tokens_at_or_below_gamma_count(normalise: Literal["all", "kept"]) -> None:
    logits, labels = planted()
    expected, kept, masked = slow(logits, labels, GAMMA)
    assert len(masked) > 3
    assert kept > 3
    total, normaliser, logs = TruncatedCrossEntropy(gamma=GAMMA, normalise=normalise).loss(logits, labels)
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    assert int(normaliser) == (19 if normalise == "all" else kept)
    assert logs == {"gamma": GAMMA, "kept_share": pytest.approx(kept / 19)}
    total.backward()
    assert logits.grad is not None
    zero = (logits.grad == 0).all(-1)
    for place in masked:
        assert bool(zero[place]), "a masked token has exactly no gradient"
    assert bool(zero[labels == -100].all())
    assert int(zero.sum()) == len(masked) + 2
    # A kept token's gradient is cross-entropy's: nothing goes through the indicator.
    plain = logits.detach().requires_grad_()
    CrossEntropy().loss(plain, labels)[0].backward()
    assert plain.grad is not None
    assert torch.equal(logits.grad[~zero], plain.grad[~zero])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("normalise", ["all", "kept"])
def test_gamma_1_is_cross_entropy_to_the_bit(dtype: torch.dtype, normalise: Literal["all", "kept"]) -> None:
    logits, labels = planted(dtype)
    with torch.no_grad():
        logits[1, 4] = -60.0
        logits[1, 4, int(labels[1, 4])] = 60.0  # p rounds to 1
    other = logits.detach().clone().requires_grad_()
    total, normaliser, logs = TruncatedCrossEntropy(gamma=1.0, normalise=normalise).loss(logits, labels)
    expected, number, _ = CrossEntropy().loss(other, labels)
    assert total.dtype == torch.float32
    assert torch.equal(total, expected)
    assert (int(normaliser), logs["kept_share"]) == (int(number), 1.0)
    total.backward()
    expected.backward()
    assert logits.grad is not None
    assert other.grad is not None
    assert torch.equal(logits.grad, other.grad)


def test_probabilities_never_round_above_1() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 20_000, 6, generator=generator) * 40
    labels = logits.argmax(-1)
    _, kept, _ = TruncatedCrossEntropy(gamma=1.0, normalise="kept").loss(logits, labels)
    assert int(kept) == 20_000


def test_low_precision_logits_are_read_in_float32() -> None:
    logits, labels = planted(torch.bfloat16)
    total, _, logs = TruncatedCrossEntropy(gamma=GAMMA).loss(logits, labels)
    exact, _, again = TruncatedCrossEntropy(gamma=GAMMA).loss(logits.detach().float(), labels)
    assert total.dtype == torch.float32
    assert (float(total.detach()), logs) == (float(exact), again)


@pytest.mark.parametrize("normalise", ["all", "kept"])
def test_all_masked_is_zero_with_a_finite_gradient(normalise: Literal["all", "kept"]) -> None:
    logits, labels = planted()
    total, normaliser, logs = TruncatedCrossEntropy(gamma=1e-30, normalise=normalise).loss(logits, labels)
    total.backward()
    assert logits.grad is not None
    assert (float(total.detach()), bool((logits.grad == 0).all())) == (0.0, True)
    assert (int(normaliser), logs["kept_share"]) == (19 if normalise == "all" else 0, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gamma": 0.0},
        {"gamma": 1.5},
        {"gamma": "often"},
        {"gamma": math.nan},
        {"gamma": True},
        {"normalise": "some"},
        {"deviations": math.inf},
        {"texts": 0},
        {"text_tokens": 1},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        registry.build("objective", {"kind": "truncated_cross_entropy", **wrong})


def test_it_is_light_and_heavy() -> None:
    part = registry.build("objective", "truncated_cross_entropy")
    assert isinstance(part, HeavyObjective)
    assert isinstance(part, Objective)
    assert part.gamma == 0.99
    with pytest.raises(ValueError, match="open"):
        TruncatedCrossEntropy(gamma="dynamic").loss(*planted())


# ---------------------------------------------------------------------------------------------------------------
# Through the trainer


@dataclass
class Texts:
    """Sources with planted held-out texts; what was asked for is kept."""

    texts: Sequence[tuple[int, ...]]
    asked: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    base: Path = Path("none")

    def held_out(self, encode: Callable[[str], Sequence[int]], *, count: int, tokens: int) -> Sequence[tuple[int, ...]]:
        self.asked.append((count, tokens))
        return [text[:tokens] for text in self.texts[:count] if len(text) >= tokens]

    def dev(self) -> Any:
        raise AssertionError("no questions")

    def format(self, kind: str) -> Any:
        raise AssertionError("no format")


def train(start: Path, out: Path, objective: Any, *, sources: Any = None, **knobs: Any) -> Any:
    settings: dict[str, Any] = {"chunk_tokens": 16, "batch": 4, "epochs": 1.0, "learning_rate": 1e-3, **knobs}
    trainer = HfTrainer(**settings)
    return trainer.train(start, documents(20), objective, out=out, seed=SEED, progress=Steps(), sources=sources)


def test_gamma_1_trains_the_same_weights(tiny_gpt2: Path, tmp_path: Path) -> None:
    """With dropout: not even the random states differ."""
    plain = train(tiny_gpt2, tmp_path / "plain", CrossEntropy(), accumulation=2)
    for name, normalise in (("all", "all"), ("kept", "kept")):
        found = train(tiny_gpt2, tmp_path / name, TruncatedCrossEntropy(gamma=1.0, normalise=normalise), accumulation=2)
        assert found.losses == plain.losses
        assert found.identity == plain.identity
    assert found.record["logs"] == {"gamma": 1.0, "kept_share": 1.0}


@pytest.mark.parametrize("normalise", ["all", "kept"])
def test_accumulated_micro_batches_equal_one_batch(
    tiny_llama: Path, tmp_path: Path, normalise: Literal["all", "kept"]
) -> None:
    part = TruncatedCrossEntropy(gamma=1e-4, normalise=normalise)
    one = train(tiny_llama, tmp_path / "one", part, batch=4)
    many = train(tiny_llama, tmp_path / "many", part, batch=1, accumulation=4)
    assert 0.1 < one.record["logs"]["kept_share"] < 0.95
    assert many.losses == pytest.approx(one.losses, abs=1e-5)
    assert difference(load(tmp_path / "one"), load(tmp_path / "many")) < 1e-5
    plain = train(tiny_llama, tmp_path / "plain", CrossEntropy())
    assert plain.identity != one.identity


def test_a_dynamic_gamma_is_the_formula_on_held_out_text(tiny_gpt2: Path, tmp_path: Path) -> None:
    texts = [document.tokens or () for document in documents(9)]
    sources = Texts(texts)
    part = TruncatedCrossEntropy(gamma="dynamic", deviations=0.5, texts=7, text_tokens=10)
    seen: list[dict[str, float]] = []

    @dataclass(frozen=True)
    class Watched:
        def open(self, bench: Any) -> Any:
            return _Watching(part.open(bench), seen)

    trained = train(tiny_gpt2, tmp_path / "out", Watched(), sources=sources, epochs=2.0)
    assert sources.asked == [(7, 10)], "texts are fetched once"
    steps = trained.steps // 2
    gammas = [logs["gamma"] for logs in seen]
    assert len(set(gammas[:steps])) == len(set(gammas[steps:])) == 1
    assert gammas[0] != gammas[-1], "set anew in the second epoch"
    net = AutoModelForCausalLM.from_pretrained(tiny_gpt2, dtype=torch.float32).eval()
    values = list[float]()
    for text in texts[:7]:
        ids = torch.tensor([text[:10]])
        rows = net(input_ids=ids).logits[0].double().softmax(-1).detach()
        values += [float(rows[at, ids[0, at + 1]]) for at in range(9)]
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    assert gammas[0] == pytest.approx(mean + 0.5 * deviation, rel=1e-4)
    assert seen[0]["held_out_texts"] == 7


class _Watching:
    def __init__(self, opened: Any, seen: list[dict[str, float]]) -> None:
        self.opened, self.seen = opened, seen

    def __enter__(self) -> Any:
        self.live = self.opened.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self.opened.__exit__(*error)

    def step_loss(self, *given: Any, **named: Any) -> Any:
        found = self.live.step_loss(*given, **named)
        self.seen.append(found[2])
        return found


def test_looking_at_held_out_text_changes_nothing(tiny_gpt2: Path, tmp_path: Path) -> None:
    """A dynamic gamma so high that nothing is masked trains cross-entropy's weights, dropout and all."""
    sources = Texts([document.tokens or () for document in documents(9)])
    part = TruncatedCrossEntropy(gamma="dynamic", deviations=1000.0, texts=7, text_tokens=10)
    found = train(tiny_gpt2, tmp_path / "dynamic", part, sources=sources)
    plain = train(tiny_gpt2, tmp_path / "plain", CrossEntropy())
    assert found.record["logs"]["gamma"] == 1.0
    assert found.identity == plain.identity


def test_modes_and_random_states_stay(tiny_gpt2: Path) -> None:
    net: Any = AutoModelForCausalLM.from_pretrained(tiny_gpt2).train()
    net.transformer.h[0].eval()
    modes = [module.training for module in net.modules()]
    state = torch.random.get_rng_state()
    values = held_out_probabilities(net, [[5, 6, 7], [8, 9, 10]], device="cpu")
    assert [module.training for module in net.modules()] == modes
    assert len(set(modes)) == 2
    assert torch.equal(torch.random.get_rng_state(), state)
    assert values.shape == (4,)
    assert torch.is_grad_enabled()


def test_without_text_there_is_no_dynamic_gamma(tiny_llama: Path, tmp_path: Path) -> None:
    part = TruncatedCrossEntropy(gamma="dynamic", text_tokens=40)
    with pytest.raises(RunFailed, match="no held-out text of 40 tokens"):
        train(tiny_llama, tmp_path / "out", part, sources=Texts([(1, 2, 3)]))
    with pytest.raises(RunFailed, match="none were given"):
        train(tiny_llama, tmp_path / "out", part)
    with pytest.raises(ConfigError, match="context of 128"):
        train(tiny_llama, tmp_path / "out", TruncatedCrossEntropy(gamma="dynamic", text_tokens=200))
    assert not (tmp_path / "out").exists()

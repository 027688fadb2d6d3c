"""format_consistency: its divergence is the evaluation's, its gradient makes answers agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from factfade import registry
from factfade.errors import ConfigError, RunFailed
from factfade.models.hf import HfModel
from factfade.models.prompting import Prompter
from factfade.protocols import Format
from factfade.records import Question
from factfade.stats import information
from factfade.training import divergence
from factfade.training.bench import TrainingBench
from factfade.training.consistency import FormatConsistency
from factfade.training.objectives import CrossEntropy
from tests.training.test_bench import train
from tests.training.test_trainer import load

CITIES = ("Paris", "London", "Rome", "Madrid")
DEV = tuple(
    Question(
        text=f"What is city {i}?", choices=CITIES, answer=i % 4, accepted=(CITIES[i % 4],), statement=f"City {i} is",
        domain="cities",
    )
    for i in range(6)
)  # fmt: skip


@dataclass(frozen=True)
class Examples:
    """Sources with solved examples and formats."""

    questions: Sequence[Question] = DEV
    base: Path = Path("none")

    def dev(self) -> Sequence[Question]:
        return self.questions

    def format(self, kind: str) -> Format:
        return registry.build("format", kind, preset="default")


def bench(folder: Path, questions: Sequence[Question] = DEV) -> TrainingBench:
    from factfade.models import loading

    prompter = Prompter(loading.load_tokenizer(folder), chat="raw", where="test")
    sources: Any = Examples(questions)
    return TrainingBench(
        net=load(folder).eval(), start_sources=sources, device="cpu", seed=3, steps_per_epoch=1, prompter=prompter
    )


def test_the_divergence_is_that_of_the_statistics() -> None:
    draw = torch.Generator().manual_seed(0)
    first, second = torch.randn(20, 5, generator=draw) * 3, torch.randn(20, 5, generator=draw) * 3
    found = divergence.symmetric_kl(first, second)
    np.testing.assert_allclose(found.numpy(), information.symmetric_kl(first.numpy(), second.numpy()), rtol=1e-4)
    assert float(divergence.symmetric_kl(first, first + 1.0).abs().max()) < 1e-6


def by_evaluation(folder: Path, formats: tuple[str, str], wordings: tuple[int, int] = (0, 0)) -> list[float]:
    """Per question the symmetric KL out of the evaluation's own scoring, option by option."""
    found: list[float] = []
    with HfModel(path=str(folder)).open() as model:
        for question in DEV:
            sides: list[dict[str, float]] = []
            for name, wording in zip(formats, wordings, strict=True):
                asked = registry.build("format", name).ask(question, dev=DEV, seed=3)[wording]
                targets = [model.encode(target) for target in asked.targets]
                (scored,) = model.score([model.prompt(asked.prompt)], [targets])
                sides.append(
                    {
                        text: one.logprob / (one.tokens if asked.rule == "mean" else 1)
                        for text, one in zip(asked.options, scored, strict=True)
                    }
                )
            shared = sorted(set(sides[0]) & set(sides[1]))
            first, second = ([side[text] for text in shared] for side in sides)
            found.append(float(information.symmetric_kl([first], [second])[0]))
    return found


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
@pytest.mark.parametrize(
    "formats", [("multiple_choice", "no_instruction"), ("no_instruction", "short_answer"), ("open_ended", "open_ended")]
)
def test_what_is_priced_is_what_the_evaluation_measures(
    family: str, formats: tuple[str, str], request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    part = FormatConsistency(formats=formats, pairs=6)
    wordings = (0, 1) if formats[0] == formats[1] else (0, 0)
    expected = by_evaluation(folder, formats, wordings)
    with part.open(bench(folder)) as live:
        assert len(live.pairs) == 6
        assert float(live.divergence(0).detach()) == pytest.approx(float(np.mean(expected)), rel=1e-3, abs=1e-5)
    assert max(expected) > 0.01


def test_pairs_are_drawn_by_step_and_repeat_with_the_seed(tiny_llama: Path) -> None:
    with FormatConsistency(pairs=2).open(bench(tiny_llama)) as live:
        values = [float(live.divergence(step).detach()) for step in (0, 1, 2, 3, 0)]
    assert values[0] == values[4]
    assert len(set(values)) > 2


def test_its_loss_is_cross_entropy_and_the_price_of_every_target(tiny_llama: Path) -> None:
    own = bench(tiny_llama)
    ids = torch.arange(40).reshape(2, 20)
    labels = ids[:, 1:].clone()
    labels[1, 9:] = -100
    with FormatConsistency(weight=0.7).open(own) as live:
        logits = own.net(input_ids=ids).logits[:, :-1]
        total, number, logs = live.step_loss(logits, labels, ids=ids, step=2)
        expected = float(CrossEntropy().loss(logits, labels)[0]) + 0.7 * 28 * float(live.divergence(2))
        own.net.zero_grad()
        (
            live.divergence(2) * 28 * 0.7 + CrossEntropy().loss(own.net(input_ids=ids).logits[:, :-1], labels)[0]
        ).backward()
        gradient = own.net.model.embed_tokens.weight.grad.clone()
        own.net.zero_grad()
        total.backward()
    assert int(number) == 28
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(own.net.model.embed_tokens.weight.grad, gradient, atol=1e-3, rtol=1e-3)
    assert logs["consistency_questions"] == 6


def test_answers_come_to_agree(tiny_llama: Path, tmp_path: Path) -> None:
    after: dict[float, float] = {}
    for weight in (0.0, 10.0):
        part = FormatConsistency(weight=weight, pairs=6)
        train(tiny_llama, tmp_path / f"w{weight}", part, sources=Examples(), epochs=2.0)
        with part.open(bench(tmp_path / f"w{weight}")) as live:
            after[weight] = float(live.divergence(0).detach())
    assert after[10.0] < 0.5 * after[0.0]


def test_weight_0_is_cross_entropy_to_the_bit(tiny_gpt2: Path, tmp_path: Path) -> None:
    """With dropout: the look at the answers draws nothing."""
    plain = train(tiny_gpt2, tmp_path / "plain", CrossEntropy())
    found = train(tiny_gpt2, tmp_path / "out", FormatConsistency(weight=0.0), sources=Examples())
    assert (found.identity, found.losses) == (plain.identity, plain.losses)
    assert found.record["logs"]["format_divergence"] > 0


def test_accumulated_micro_batches_equal_one_batch(tiny_llama: Path, tmp_path: Path) -> None:
    part = FormatConsistency(weight=0.5)
    one = train(tiny_llama, tmp_path / "one", part, sources=Examples())
    many = train(tiny_llama, tmp_path / "many", part, sources=Examples(), batch=1, accumulation=4)
    assert many.losses == pytest.approx(one.losses, abs=1e-4)


def test_questions_that_cannot_be_put_in_both_ways_are_counted(tiny_llama: Path) -> None:
    bare = Question(text="Who?", accepted=("Ann",))
    twice = Question(text="Which?", choices=("a", "a"), answer=0)
    long = Question(text="long " * 200, choices=CITIES, answer=0)
    with FormatConsistency().open(bench(tiny_llama, (*DEV, bare, twice, long))) as live:
        assert (len(live.pairs), live.asked) == (6, 9)
    with (
        pytest.raises(RunFailed, match="none of 3 solved examples"),
        FormatConsistency().open(bench(tiny_llama, (bare, twice, long))),
    ):
        pass


@pytest.mark.parametrize(
    "wrong", [{"weight": -1.0}, {"weight": math.inf}, {"formats": ["multiple_choice"]}, {"pairs": 0}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        registry.build("objective", {"kind": "format_consistency", **wrong})

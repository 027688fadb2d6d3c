"""Tokens that a model foresees: equal to one forward pass per text, whatever the batches are."""

from __future__ import annotations

from random import Random

import pytest
import torch

from factfade.errors import UsageError
from factfade.models.hf import OpenModel


def texts(seed: int, count: int = 14) -> list[list[int]]:
    random = Random(seed)
    found = [[random.randrange(5, 384) for _ in range(random.randrange(1, 40))] for _ in range(count)]
    return [*found, [], [7], found[0]]


def plain(model: OpenModel, text: list[int], k: int) -> list[tuple[float, list[int], list[float]]]:
    """Of every predicted token: its probability, and the k likeliest, by one pass without padding."""
    start = list(model.prompter.start)
    ids = [*start, *text]
    with torch.inference_mode():
        logits = model.net.model(torch.tensor([ids])).logits[0].float()
    rows = logits.softmax(-1)
    found: list[tuple[float, list[int], list[float]]] = []
    for place, token in enumerate(text):
        row = rows[len(start) + place - 1]
        order = sorted(range(len(row)), key=lambda token: -float(row[token]))[:k]
        found.append((float(row[token]), order, [float(row[one]) for one in order]))
    return found


@pytest.mark.parametrize("budget", [1, 100, 100_000])
def test_batches_equal_single_texts(model: OpenModel, budget: int) -> None:
    asked = texts(0)
    found = model.likeliest(asked, k=5, batch_tokens=budget)
    assert len(found) == len(asked)
    for text, own in zip(asked, found, strict=True):
        slow = plain(model, text, 5) if text else []
        assert [one.place for one in own] == list(range(len(text)))
        for one, (probability, order, values) in zip(own, slow, strict=True):
            assert one.probability == pytest.approx(probability, abs=1e-5)
            assert list(one.tokens) == order
            assert list(one.probabilities) == pytest.approx(values, abs=1e-5)


def test_the_probabilities_are_those_of_the_likelihood(model: OpenModel) -> None:
    asked = [text for text in texts(1) if text]
    for own, (total, n) in zip(model.likeliest(asked, k=1), model.nll(asked), strict=True):
        logs = torch.tensor([one.probability for one in own], dtype=torch.float64).log()
        assert n == len(own)
        assert -float(logs.sum()) == pytest.approx(total, rel=1e-4)


def test_only_the_tokens_that_are_sure_enough_come(model: OpenModel) -> None:
    asked = texts(2, count=40)
    every = model.likeliest(asked, k=2)
    bound = sorted(one.probability for own in every for one in own)[-20] - 1e-6
    some = model.likeliest(asked, k=2, at_least=bound)
    expected = [[one.place for one in own if one.probability >= bound] for own in every]
    assert [[one.place for one in own] for own in some] == expected
    assert sum(map(len, some)) == 20


def test_what_does_not_fit_is_refused(llama: OpenModel) -> None:
    assert len(llama.likeliest([[9] * llama.context], k=1)[0]) == llama.context
    with pytest.raises(UsageError, match="do not fit"):
        llama.likeliest([[9] * (llama.context + 1)], k=1)
    with pytest.raises(ValueError, match="k is at least 1"):
        llama.likeliest([[9]], k=0)

"""Sampling: batched equals single, seeds and plans decide everything, settings do what they say."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from factfade.errors import NonFinite, UsageError
from factfade.models import sampling
from factfade.models.hf import HfModel, OpenModel
from factfade.models.sampling import batch_plan, choose
from factfade.records import Decoding

GREEDY = Decoding(temperature=0.0)


def ragged(model: OpenModel, count: int, seed: int = 0, longest: int = 40) -> list[list[int]]:
    random = Random(seed)
    return [model.wrap([random.randrange(5, 384) for _ in range(random.randrange(1, longest))]) for _ in range(count)]


def test_greedy_batches_equal_single_rows(model: OpenModel) -> None:
    prompts = ragged(model, 24)
    together = model.sample(prompts, new_tokens=20, decoding=GREEDY, seed=0, batch=10)
    for prompt, one in zip(prompts, together, strict=True):
        alone = model.sample([prompt], new_tokens=20, decoding=GREEDY, seed=0)[0]
        assert one.tokens == alone.tokens
        assert one.ended == alone.ended
        assert one.logprob == pytest.approx(alone.logprob, abs=1e-3)


def test_the_sum_of_log_probabilities_is_that_of_the_scorer(model: OpenModel) -> None:
    prompts = ragged(model, 12)
    drawn = model.sample(prompts, new_tokens=12, decoding=Decoding(temperature=0.7, top_k=20), seed=1)
    # Temperature and top_k shape the draw, not the recorded likelihood; the end token is in it where one was drawn.
    ends = [[next(iter(model.ends))] if one.ended else [] for one in drawn]
    scored = model.score(prompts, [[[*one.tokens, *end]] for one, end in zip(drawn, ends, strict=True)])
    for one, own in zip(drawn, scored, strict=True):
        assert one.logprob == pytest.approx(own[0].logprob, abs=1e-3)


def test_sampling_repeats_by_seed_and_changes_nothing_global(model: OpenModel) -> None:
    prompts = ragged(model, 9)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one = model.sample(prompts, new_tokens=8, decoding=Decoding(), seed=5, batch=4)
    torch.manual_seed(99)
    assert model.sample(prompts, new_tokens=8, decoding=Decoding(), seed=5, batch=4) == one
    assert model.sample(prompts, new_tokens=8, decoding=Decoding(), seed=6, batch=4) != one
    torch.manual_seed(3)
    model.sample(prompts, new_tokens=8, decoding=Decoding(), seed=5, batch=4)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_rows_draw_does_not_depend_on_which_rows_end(model: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ragged(model, 16)
    # Many end tokens: rows leave the batch at different times.
    monkeypatch.setattr(model, "ends", frozenset(range(5, 30)))
    shrunk = model.sample(prompts, new_tokens=40, decoding=Decoding(), seed=0)
    monkeypatch.setattr(sampling, "SHRINK_AT", -1.0)
    whole = model.sample(prompts, new_tokens=40, decoding=Decoding(), seed=0)
    assert [one.tokens for one in shrunk] == [one.tokens for one in whole]
    assert len({len(one.tokens) for one in shrunk}) > 4
    assert any(one.ended for one in shrunk)


def test_the_plan_is_by_length_and_complete() -> None:
    plan = batch_plan([5, 3, 9, 3, 1], 2)
    assert plan == [[4, 1], [3, 0], [2]]
    assert batch_plan([], 4) == []
    assert batch_plan([5, 3, 9], 2, side="right") == [[0, 1], [2]]


def test_a_batch_is_seeded_by_its_number_in_the_plan(model: OpenModel) -> None:
    from factfade.records import derived_seed

    prompts = sorted(ragged(model, 6), key=len)
    together = model.sample(prompts, new_tokens=6, decoding=Decoding(), seed=7, batch=3)
    state = sampling.prefill(model.net, prompts[3:], room=6)
    with torch.inference_mode():
        alone = sampling.decode(
            state, new_tokens=6, decoding=Decoding(), seed=derived_seed(7, 1), ends=model.ends, ended=None
        )
    assert [one.tokens for one in together[3:]] == [one.tokens for one in alone]


def test_stop_strings_end_a_row_where_its_text_holds_them(model: OpenModel) -> None:
    prompts = ragged(model, 8)
    free = model.sample(prompts, new_tokens=16, decoding=GREEDY, seed=0)
    stop = model.decode(free[0].tokens[3:5])
    stopped = model.sample(prompts, new_tokens=16, decoding=GREEDY, seed=0, stop=(stop,))
    for before, after in zip(free, stopped, strict=True):
        assert before.tokens[: len(after.tokens)] == after.tokens
        if stop in model.decode(before.tokens):
            assert after.ended
            assert stop in model.decode(after.tokens)
            assert stop not in model.decode(after.tokens[:-1])
        else:
            assert after == before
    assert len(stopped[0].tokens) <= 5


def test_draws_follow_the_distribution(llama: OpenModel) -> None:
    prompt = llama.prompt("Gold has the")
    with torch.inference_mode():
        logits = llama.net.model(torch.tensor([prompt])).logits[0, -1].double()
    for decoding in (Decoding(), Decoding(temperature=2.0), Decoding(temperature=1.5, top_k=12, top_p=0.95)):
        expected = reference(logits, decoding).numpy()
        drawn = llama.sample([prompt] * 4000, new_tokens=1, decoding=decoding, seed=11, batch=1000)
        ids = [one.tokens[0] if one.tokens else next(iter(llama.ends)) for one in drawn]
        counts = np.bincount(ids, minlength=len(expected))
        assert counts[expected == 0].sum() == 0
        often = expected * 4000 >= 5
        observed = np.append(counts[often], counts[~often].sum())
        wanted = np.append(expected[often], expected[~often].sum()) * 4000
        keep = wanted > 0
        assert stats.chisquare(observed[keep], wanted[keep]).pvalue > 1e-3


def reference(logits: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Temperature, top_k, top_p by transformers' own warpers."""
    from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    ids, scores = torch.zeros(1, 1, dtype=torch.long), logits[None].clone()
    scores = TemperatureLogitsWarper(decoding.temperature)(ids, scores) if decoding.temperature != 1 else scores
    scores = TopKLogitsWarper(decoding.top_k)(ids, scores) if decoding.top_k else scores
    scores = TopPLogitsWarper(decoding.top_p)(ids, scores) if decoding.top_p < 1 else scores
    return scores.softmax(-1)[0]


def test_a_planted_wrong_temperature_is_found(llama: OpenModel) -> None:
    prompt = llama.prompt("Gold has the")
    with torch.inference_mode():
        expected = llama.net.model(torch.tensor([prompt])).logits[0, -1].softmax(-1).double().numpy()
    drawn = llama.sample([prompt] * 4000, new_tokens=1, decoding=Decoding(temperature=1.3), seed=11, batch=1000)
    ids = [one.tokens[0] if one.tokens else next(iter(llama.ends)) for one in drawn]
    often = expected * 4000 >= 5
    counts = np.bincount(ids, minlength=len(expected))
    observed = np.append(counts[often], counts[~often].sum())
    wanted = np.append(expected[often], expected[~often].sum()) * 4000
    assert stats.chisquare(observed, wanted).pvalue < 1e-6


def test_the_largest_uniform_number_never_leads_to_a_token_without_probability() -> None:
    logits = torch.tensor([[1.0, 2.0, -torch.inf, -torch.inf]])
    largest = torch.tensor([1.0 - 2.0**-53], dtype=torch.float64)
    assert choose(logits, Decoding(), largest).item() == 1
    assert choose(logits, Decoding(), torch.zeros(1, dtype=torch.float64)).item() == 0
    assert choose(logits, Decoding(), torch.ones(1, dtype=torch.float64)).item() == 1


def test_right_padding_changes_exactly_the_padded_rows(model: OpenModel) -> None:
    prompts = ragged(model, 20)
    longest = max(map(len, prompts))
    prompts += [model.wrap([7] * (longest - len(model.prompter.opening)))]
    left = model.sample(prompts, new_tokens=12, decoding=GREEDY, seed=0)
    right = model.sample(prompts, new_tokens=12, decoding=GREEDY, seed=0, padding="right")
    for prompt, one, other in zip(prompts, left, right, strict=True):
        assert (one.tokens == other.tokens) == (len(prompt) == longest)


def test_prompts_that_do_not_fit_say_so(model: OpenModel) -> None:
    with pytest.raises(UsageError, match="130 tokens do not fit the model's 128 positions"):
        model.sample([[7] * 120], new_tokens=10, decoding=GREEDY, seed=0)
    assert len(model.sample([[7] * 118], new_tokens=10, decoding=Decoding(), seed=0)[0].tokens) <= 10


def test_no_prompts_give_no_completions(model: OpenModel) -> None:
    assert model.sample([], new_tokens=4, decoding=GREEDY, seed=0) == []


def test_an_empty_prompt_starts_from_the_models_own_start(model: OpenModel) -> None:
    start = list(model.prompter.start)
    assert model.sample([[]], new_tokens=4, decoding=GREEDY, seed=0) == model.sample(
        [start], new_tokens=4, decoding=GREEDY, seed=0
    )


def test_weights_that_diverged_are_named(llama: OpenModel) -> None:
    weight: Any = llama.net.model.model.norm.weight
    kept = weight.detach().clone()
    try:
        weight.data[0] = float("nan")
        with pytest.raises(NonFinite):
            llama.sample([[7, 8]], new_tokens=3, decoding=Decoding(), seed=0)
        with pytest.raises(NonFinite):
            llama.score([[7, 8]], [[[9], [10, 11]]])
        with pytest.raises(NonFinite):
            llama.start_check()
    finally:
        weight.data.copy_(kept)


def test_through_the_end_holds_the_end_token_and_goes_on(tiny_llama: Path) -> None:
    with HfModel(path=str(tiny_llama)).open() as model:
        # Whatever the weights: an end token with certainty is what a huge bias on it gives.
        end = model.facts["eos"]
        net = model.net.model
        original = net.lm_head.forward

        def biased(hidden: Any) -> Any:
            logits = original(hidden).clone()
            logits[..., end] += 1e4
            return logits

        net.lm_head.forward = biased
        prompts = [model.encode("Gold has")]
        stopped = model.sample(prompts, new_tokens=5, decoding=Decoding(), seed=0)
        through = model.sample(prompts, new_tokens=5, decoding=Decoding(), seed=0, through_end=True)
    assert (stopped[0].tokens, stopped[0].ended) == ((), True)
    assert (through[0].tokens, through[0].ended) == ((end,) * 5, False)

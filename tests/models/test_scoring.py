"""Scoring: every way of sharing a pass gives the same sums; the start-up check finds a model that misreads padding."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import accumulate, groupby, product
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from factfade.errors import RunFailed, UsageError
from factfade.models import passes, plans, scoring
from factfade.models.hf import HfModel, OpenModel
from factfade.models.prompting import Prompter
from factfade.records import Decoding


def plain(model: OpenModel, prompt: list[int], continuation: list[int]) -> tuple[float, bool]:
    """One forward pass over one sequence, without padding, cache or sharing."""
    with torch.inference_mode():
        logits = model.net.model(torch.tensor([[*prompt, *continuation]])).logits[0].float()
    rows = logits[len(prompt) - 1 : -1].log_softmax(-1) if continuation else logits[:0]
    ids = torch.tensor(continuation, dtype=torch.long)
    return float(rows.gather(1, ids[:, None]).sum()), bool((rows.argmax(-1) == ids).all())


def tasks(seed: int, opening: list[int]) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Ragged prompts; some share a long beginning; options that begin alike, of one token, of none, repeated."""
    random = Random(seed)

    def ids(size: int) -> list[int]:
        return [random.randrange(5, 384) for _ in range(size)]

    shared = ids(40)
    prompts = [opening + ids(random.randrange(1, 30)) for _ in range(6)]
    prompts += [opening + shared + ids(random.randrange(1, 9)) for _ in range(9)]
    options: list[list[list[int]]] = []
    for _ in prompts:
        head = ids(2)
        own = [ids(1), [*head, *ids(1)], [*head, *ids(3)], head, head[:1], ids(4), ids(1), []]
        random.shuffle(own)
        options.append(own[: random.randrange(0, 8)])
    options[0] = [ids(1)]
    options[1] = [ids(6)]
    options[7] = [ids(5)]
    options[2] = [head := ids(3), list(head)]
    return prompts, options


@pytest.mark.parametrize("price", [0, 16, 10**6])
@pytest.mark.parametrize("budget", [1, 120, 100_000])
def test_every_plan_gives_the_same_sums(
    model: OpenModel, budget: int, price: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the prices of a pass the lowest shares and splits the most, the highest nothing."""
    monkeypatch.setattr(model, "_net", replace(model.net, price=price))
    prompts, options = tasks(0, list(model.prompter.opening))
    scored = model.score(prompts, options, batch_tokens=budget)
    for prompt, own, found in zip(prompts, options, scored, strict=True):
        assert len(own) == len(found)
        for ids, one in zip(own, found, strict=True):
            value, greedy = plain(model, prompt, ids)
            assert one.logprob == pytest.approx(value, abs=1e-4)
            assert one.tokens == len(ids)
            assert one.greedy == greedy


def test_a_greedy_continuation_is_called_greedy(model: OpenModel) -> None:
    prompt = model.prompt("The river")
    tokens = model.sample([prompt], new_tokens=5, decoding=Decoding(temperature=0.0), seed=0)[0].tokens
    other = (*tokens[:-1], (tokens[-1] + 1) % 384)
    found = model.score([prompt], [[list(tokens), list(other), list(tokens[:1])]])[0]
    assert [one.greedy for one in found] == [True, False, True]


@pytest.mark.parametrize("price", [0, 10**6])
def test_asking_equals_scoring_and_sampling(model: OpenModel, price: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_net", replace(model.net, price=price))
    prompts, options = tasks(1, list(model.prompter.opening))
    both = model.ask(prompts, options, new_tokens=9, stop=("e",), batch_tokens=300)
    scored = model.score(prompts, options)
    answers = model.sample(prompts, new_tokens=9, decoding=Decoding(temperature=0.0), seed=0, stop=("e",))
    for (ours, answer), theirs, alone in zip(both, scored, answers, strict=True):
        assert [one.logprob for one in ours] == pytest.approx([one.logprob for one in theirs], abs=1e-4)
        assert [one.greedy for one in ours] == [one.greedy for one in theirs]
        assert answer.tokens == alone.tokens
        assert answer.ended == alone.ended


def test_the_shared_prefix_is_run_once_and_changes_nothing(model: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, options = tasks(2, list(model.prompter.opening))
    prompts, options = prompts[6:], options[6:]
    read: list[int] = []
    forward = passes.Net.forward

    def counting(self: Any, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        read.append(ids.numel())
        return forward(self, ids, *rest)

    monkeypatch.setattr(passes.Net, "forward", counting)
    monkeypatch.setattr(model, "_net", replace(model.net, price=16))
    shared = model.score(prompts, options)
    with_prefix = sum(read)
    read.clear()
    monkeypatch.setattr(passes, "MIN_PREFIX", 10**6)
    apart = model.score(prompts, options)
    assert with_prefix < sum(read) / 2
    for one, other in zip(shared, apart, strict=True):
        assert [s.logprob for s in one] == pytest.approx([s.logprob for s in other], abs=1e-4)


@given(prompts=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=8))
def test_the_common_prefix_leaves_every_prompt_a_token(prompts: list[list[int]]) -> None:
    found = plans.common_prefix(prompts)
    assert found < min(map(len, prompts)) or found == 0
    assert len({tuple(prompt[:found]) for prompt in prompts}) == 1
    longer = found + 1
    assert longer >= min(map(len, prompts)) or len({tuple(prompt[:longer]) for prompt in prompts}) > 1


@given(
    prompts=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=50), max_size=30),
    budget=st.integers(1, 300),
    price=st.none() | st.integers(0, 60),
)
def test_batches_hold_every_row_once_within_the_budget(
    prompts: list[list[int]], budget: int, price: int | None
) -> None:
    widths = [len(prompt) for prompt in prompts]
    plan = list(plans.batches(prompts, widths, budget, price=price))
    assert sorted(row for batch in plan for row in batch) == list(range(len(prompts)))
    for batch in plan:
        assert len(batch) == 1 or len(batch) * max(widths[row] for row in batch) <= budget


@given(widths=st.lists(st.integers(1, 12), min_size=1, max_size=8).map(sorted), price=st.integers(0, 25))
def test_no_plan_of_runs_is_cheaper(widths: list[int], price: int) -> None:
    """Against every way to cut the rows."""

    def cost(sizes: list[int]) -> int:
        ends = list(accumulate(sizes))
        return sum(size * widths[end - 1] + price for size, end in zip(sizes, ends, strict=True))

    found = plans.runs(widths, price)
    assert sum(found) == len(widths)
    every = [
        [len(list(group)) for _, group in groupby(accumulate((0, *cuts)))]
        for cuts in product((0, 1), repeat=len(widths) - 1)
    ]
    assert cost(found) == min(map(cost, every))


def test_a_plan_of_many_lengths_takes_no_time() -> None:
    began = time.process_time()
    assert sum(plans.runs(range(1, 4000), 16)) == 3999
    assert time.process_time() - began < 1.0
    assert plans.runs([], 16) == []
    assert plans.runs([7] * 50, 0) == [50]


def test_short_options_are_not_padded_to_a_long_one(model: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[int] = []
    forward = passes.Net.forward

    def counting(self: Any, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        fed.append(ids.numel())
        return forward(self, ids, *rest)

    monkeypatch.setattr(passes.Net, "forward", counting)
    monkeypatch.setattr(model, "_net", replace(model.net, price=16))
    prompts = [[7, 8, 9 + row] for row in range(12)]
    options = [[[5, 6], [6, 5], [8, 9, 10]] for _ in prompts]
    options[3] = [[5, 6], list(range(20, 60))]
    scored = model.score(prompts, options)
    # Prompts, 23 short options of a token each, 11 of two, one of 39.
    assert sum(fed) <= 12 * 3 + 23 + 11 * 2 + 39 + 12
    for prompt, own, found in zip(prompts, options, scored, strict=True):
        assert [one.logprob for one in found] == pytest.approx([plain(model, prompt, ids)[0] for ids in own], abs=1e-4)


@given(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=5), max_size=8))
def test_runs_that_begin_alike_share_a_row(continuations: list[list[int]]) -> None:
    longer = [(tuple(ids), scoring._Sum()) for ids in continuations]
    rows = scoring._shared_rows(longer)
    assert sum(len(users) for _, users in rows) == len(longer)
    for run, users in rows:
        for ids, _ in users:
            assert run[: len(ids) - 1] == tuple(ids[:-1])
    heads = [run for run, _ in rows]
    assert not any(a != b and b[: len(a)] == a for a in heads for b in heads)


def test_nll_predicts_every_token_where_the_model_has_a_start(model: OpenModel) -> None:
    texts = [model.encode("The river Danube flows"), model.encode("Gold"), []]
    start = list(model.prompter.start)
    assert start
    for text, (nll, tokens) in zip(texts, model.nll(texts), strict=True):
        assert tokens == len(text)
        assert nll == pytest.approx(-plain(model, start, text)[0], abs=1e-4)


def test_nll_starts_at_the_second_token_where_it_has_none(tiny_gpt2: Path) -> None:
    with HfModel(path=str(tiny_gpt2)).open() as model:
        tokenizer = model.prompter.tokenizer
        tokenizer.bos_token = tokenizer.eos_token = None
        bare = OpenModel(model.net.model, Prompter(tokenizer, chat="raw", where=""), name="bare")
        assert bare.facts["first_token_from"] == "none"
        assert bare.facts["pad_source"] == "zero"
        text = bare.encode("The river Danube")
        ((nll, tokens),) = bare.nll([text])
        assert tokens == len(text) - 1
        assert nll == pytest.approx(-plain(bare, text[:1], text[1:])[0], abs=1e-4)


def test_what_does_not_fit_is_refused(model: OpenModel) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        model.score([[7] * 127], [[[8], [8, 9, 10]]])
    assert math.isfinite(model.score([[7] * 127], [[[8, 9]]])[0][0].logprob)


def test_a_model_without_a_bufferable_cache_reads_texts_anew(model: OpenModel) -> None:
    prompts, options = tasks(3, list(model.prompter.opening))
    expected = model.score(prompts, options)
    drawn = model.sample(prompts, new_tokens=6, decoding=Decoding(), seed=0)
    cached = model.net
    try:
        model._net = replace(cached, cached=False)
        for one, other in zip(model.score(prompts, options), expected, strict=True):
            assert [s.logprob for s in one] == pytest.approx([s.logprob for s in other], abs=1e-4)
        again = model.sample(prompts, new_tokens=6, decoding=Decoding(), seed=0)
        assert [one.tokens for one in again] == [one.tokens for one in drawn]
    finally:
        model._net = cached


def test_the_start_check_passes_and_says_what_it_saw(model: OpenModel) -> None:
    record = model.start_check()
    assert record["largest_difference"] < 1e-4
    assert record["lengths"] == [3, 7, 12, 20]


def test_the_start_check_finds_a_model_that_ignores_the_mask(model: OpenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = model.net.model.forward

    def careless(*args: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        return forward(*args, attention_mask=None, **kwargs)

    monkeypatch.setattr(model.net.model, "forward", careless)
    with pytest.raises(RunFailed, match="differ by"):
        model.start_check()


def test_the_start_check_finds_positions_that_count_the_padding(
    tiny_gpt2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learned positions; rotary ones are relative, and a shift of all of them changes nothing."""

    def shifted(mask: Any, ids: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.arange(ids.shape[1]).expand(ids.shape[0], -1)

    monkeypatch.setattr(passes, "positions_of", shifted)
    # Opening is what checks.
    with pytest.raises(RunFailed, match="differ by"), HfModel(path=str(tiny_gpt2)).open():
        pass


def test_a_model_in_training_is_left_as_it_was(model: OpenModel) -> None:
    net = model.net.model
    modules = list(net.modules())
    chosen = {id(module) for module in modules[::3]}
    for module in modules:
        module.training = id(module) in chosen
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    try:
        live = OpenModel(net, model.prompter, name="live")
        live.ask([[7, 8, 9]], [[[5], [6, 7]]], new_tokens=4)
        live.sample([[7, 8, 9]], new_tokens=4, decoding=Decoding(), seed=0)
        live.nll([[5, 6, 7]])
        assert {id(module) for module in modules if module.training} == chosen
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
        assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
        assert live.identity == ""
    finally:
        net.eval()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_lower_precisions_pass_the_start_check(tiny_llama: Path, dtype: Any) -> None:
    with HfModel(path=str(tiny_llama), dtype=dtype).open() as model:
        assert model.facts["dtype"] == dtype
        record = model.start_check()
        assert record["largest_difference"] <= record["tolerance"]

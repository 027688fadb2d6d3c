"""Equal to transformers: option log-probabilities, greedy completions, perplexity, and the published right padding."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from factfade.models import perplexity
from factfade.models.hf import HfModel, OpenModel
from factfade.records import Decoding

pytestmark = pytest.mark.parity
GREEDY = Decoding(temperature=0.0)


def outside(folder: Path) -> tuple[Any, Any]:
    """transformers' own model and tokenizer, not ours."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def ragged(model: OpenModel, count: int, seed: int, longest: int) -> list[list[int]]:
    random = Random(seed)
    rows = min(model.net.vocabulary, 384)
    return [model.wrap([random.randrange(5, rows) for _ in range(random.randrange(1, longest))]) for _ in range(count)]


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
def test_option_log_probabilities_equal_transformers_forward(family: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(family)
    net, tokenizer = outside(folder)
    questions = [
        "Question: What is the capital of France?\nAnswer:",
        "Gold has the symbol",
        "The river Danube flows through ten countries; its mouth lies in the",
        "Once upon a time there was a small village between two hills.\nQuestion: Where?\nAnswer:",
    ]
    options = [" Paris", " London and Paris", " the Black Sea", " A", " B", " 79"]
    with HfModel(path=str(folder)).open() as model:
        prompts = [model.prompt(text) for text in questions]
        targets = [[model.encode(option) for option in options] for _ in questions]
        ours = model.score(prompts, targets)
        asked = model.ask(prompts, targets, new_tokens=4)
    for text, own, (again, _) in zip(questions, ours, asked, strict=True):
        for option, one, other in zip(options, own, again, strict=True):
            prompt = tokenizer(text)["input_ids"]
            target = tokenizer(option, add_special_tokens=False)["input_ids"]
            ids = torch.tensor([[*prompt, *target]])
            with torch.inference_mode():
                logits = net(ids).logits[0].double()
            expected = logits[len(prompt) - 1 : -1].log_softmax(-1).gather(1, ids[0, len(prompt) :, None]).sum()
            assert one.logprob == pytest.approx(float(expected), abs=1e-4)
            assert other.logprob == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
def test_batched_greedy_completions_equal_generate_one_by_one(family: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(family)
    net, _ = outside(folder)
    with HfModel(path=str(folder)).open() as model:
        prompts = ragged(model, 24, seed=1, longest=40)
        ours = model.sample(prompts, new_tokens=24, decoding=GREEDY, seed=0, batch=9)
        ends = model.ends
    for prompt, one in zip(prompts, ours, strict=True):
        with torch.inference_mode():
            out = net.generate(
                input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=24, do_sample=False, pad_token_id=0,
            )  # fmt: skip
        new = out[0, len(prompt) :].tolist()
        assert list(one.tokens) == [token for token in new if token not in ends]


def guide(net: Any, tokens: list[int], window: int, stride: int) -> float:
    """The code of transformers' guide "Perplexity of fixed-length models", as it is published."""
    input_ids_all = torch.tensor([tokens])
    seq_len = input_ids_all.size(1)
    nll_sum, n_tokens, prev_end_loc = 0.0, 0, 0
    for begin_loc in range(0, seq_len, stride):
        end_loc = min(begin_loc + window, seq_len)
        trg_len = end_loc - prev_end_loc
        input_ids = input_ids_all[:, begin_loc:end_loc]
        target_ids = input_ids.clone()
        target_ids[:, :-trg_len] = -100
        with torch.no_grad():
            neg_log_likelihood = net(input_ids, labels=target_ids).loss
        num_valid_tokens = (target_ids != -100).sum().item()
        num_loss_tokens = num_valid_tokens - target_ids.size(0)
        nll_sum += float(neg_log_likelihood) * num_loss_tokens
        n_tokens += num_loss_tokens
        prev_end_loc = end_loc
        if end_loc == seq_len:
            break
    return math.exp(nll_sum / n_tokens)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
@pytest.mark.parametrize(("size", "window", "stride"), [(300, 128, 64), (300, 100, 100), (90, 128, 64), (257, 64, 8)])
def test_perplexity_equals_the_guides_algorithm(
    family: str, size: int, window: int, stride: int, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(family)
    net, _ = outside(folder)
    random = Random(size)
    tokens = [random.randrange(5, 384) for _ in range(size)]
    with HfModel(path=str(folder)).open() as model:
        ours = perplexity.strided(model, tokens, window=window, stride=stride)
    assert math.log(ours) == pytest.approx(math.log(guide(net, tokens, window, stride)), abs=1e-5)


def test_the_papers_perplexity_is_the_mean_over_five_overlapping_chunks(tiny_llama: Path) -> None:
    net, _ = outside(tiny_llama)
    random = Random(0)
    tokens = [random.randrange(5, 384) for _ in range(500)]
    chunks = [tokens[0:100], tokens[80:200], tokens[180:300], tokens[280:400], tokens[380:500]]
    expected = sum(guide(net, chunk, 128, 128) for chunk in chunks) / 5
    with HfModel(path=str(tiny_llama)).open() as model:
        assert perplexity.paper(model, tokens) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
def test_right_padding_writes_what_generate_writes_after_right_padding(
    family: str, request: pytest.FixtureRequest
) -> None:
    """The published recipe: ids padded on the right and a mask, given to transformers' own `generate`."""
    folder: Path = request.getfixturevalue(family)
    net, _ = outside(folder)
    with HfModel(path=str(folder)).open() as model:
        prompts = ragged(model, 6, seed=2, longest=20)
        ours = model.sample(prompts, new_tokens=10, decoding=GREEDY, seed=0, padding="right")
        left = model.sample(prompts, new_tokens=10, decoding=GREEDY, seed=0)
        pad, ends = model.prompter.pad, sorted(model.ends)
    width = max(map(len, prompts))
    ids = torch.tensor([[*prompt, *[pad] * (width - len(prompt))] for prompt in prompts])
    mask = torch.tensor([[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in prompts])
    with torch.inference_mode():
        theirs = net.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=10, do_sample=False, eos_token_id=ends, pad_token_id=pad
        )
    for prompt, one, sound, row in zip(prompts, ours, left, theirs.tolist(), strict=True):
        written = row[width:]
        stop = next((at for at, token in enumerate(written) if token in ends), len(written))
        assert list(one.tokens) == written[:stop]
        if len(prompt) == width:
            assert one.tokens == sound.tokens
    assert any(one.tokens != sound.tokens for one, sound in zip(ours, left, strict=True))


@pytest.mark.shared
def test_a_real_model_writes_and_scores_as_transformers_does(shared_dir: Path) -> None:
    """stories15M: 15 M parameters, sentence-piece tokens, 256 positions."""
    folder = shared_dir / "models" / "stories15M"
    net, tokenizer = outside(folder)
    net = net.float()
    texts = ["Once upon a time, there was", "Lily", "The dog ran to the park and saw a big red ball. He", "One day"]
    with HfModel(path=str(folder)).open() as model:
        assert model.context == 256
        model.start_check()
        prompts = [model.prompt(text) for text in texts]
        assert prompts == [tokenizer(text)["input_ids"] for text in texts]
        ours = model.sample(prompts, new_tokens=24, decoding=GREEDY, seed=0)
        targets = [[model.encode(" little girl"), model.encode(" was")] for _ in texts]
        scored = model.score(prompts, targets)
    for prompt, one, own, options in zip(prompts, ours, scored, targets, strict=True):
        with torch.inference_mode():
            out = net.generate(
                input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=24, do_sample=False, pad_token_id=0,
            )  # fmt: skip
            assert list(one.tokens) == out[0, len(prompt) :].tolist()
            for ids, value in zip(options, own, strict=True):
                whole = torch.tensor([[*prompt, *ids]])
                logp = net(whole).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
                assert value.logprob == pytest.approx(
                    float(logp.gather(1, whole[0, len(prompt) :, None]).sum()), abs=1e-4
                )

"""Families whose batches go wrong elsewhere: sliding windows, soft caps, shifted positions, ALiBi, recurrent states.

Random small models. Scores and greedy completions of ragged batches equal one plain pass per sequence.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from factfade.models.hf import HfModel, OpenModel
from factfade.models.loading import load_tokenizer
from factfade.models.prompting import Prompter
from factfade.records import Decoding

pytestmark = [pytest.mark.parity, pytest.mark.slow]
ROWS = 384
IDS = {"vocab_size": ROWS, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.25}
LLAMA_LIKE = {
    **IDS, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "MistralConfig": {**LLAMA_LIKE, "sliding_window": 8},
    "Gemma2Config": {**LLAMA_LIKE, "head_dim": 12, "sliding_window": 8},
    "Gemma3TextConfig": {**LLAMA_LIKE, "head_dim": 12, "sliding_window": 8},
    "Qwen2Config": LLAMA_LIKE,
    "GraniteConfig": {**LLAMA_LIKE, "logits_scaling": 2.0},
    "BloomConfig": {**IDS, "hidden_size": 48, "n_layer": 2, "n_head": 4, "pad_token_id": 0},
    "OPTConfig": {
        "vocab_size": ROWS, "hidden_size": 48, "word_embed_proj_dim": 48, "ffn_dim": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 128, "init_std": 0.25, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2,
    },
    "MambaConfig": {**IDS, "hidden_size": 48, "num_hidden_layers": 2, "pad_token_id": 0},
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_equal_single_passes(family: str, tiny_llama: Path) -> None:
    import transformers

    config = getattr(transformers, family)(**FAMILIES[family])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = transformers.AutoModelForCausalLM.from_config(config).eval()
    prompter = Prompter(load_tokenizer(tiny_llama), chat="raw", where="")
    model = OpenModel(net, prompter, name=family)
    model.start_check()
    random = Random(0)

    def ids(size: int) -> list[int]:
        return [random.randrange(5, ROWS) for _ in range(size)]

    prompts = [model.wrap(ids(random.randrange(1, 30))) for _ in range(8)]
    options = [[ids(1), ids(3), ids(2)] for _ in prompts]
    both = model.ask(prompts, options, new_tokens=16)
    for prompt, own, (scored, answer) in zip(prompts, options, both, strict=True):
        for target, one in zip(own, scored, strict=True):
            with torch.inference_mode():
                logits = net(torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1].double()
            expected = logits.log_softmax(-1).gather(1, torch.tensor(target)[:, None]).sum()
            assert one.logprob == pytest.approx(float(expected), abs=1e-4)
        text = list(prompt)
        for _ in range(16):
            with torch.inference_mode():
                text.append(int(net(torch.tensor([text])).logits[0, -1].argmax()))
            if text[-1] in model.ends:
                text.pop()
                break
        assert list(answer.tokens) == text[len(prompt) :]


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(tiny_llama: Path) -> None:
    prompts = [[1, *range(5, 5 + size)] for size in (3, 9, 20, 31)]
    found = []
    for device in ("cpu", "cuda"):
        with HfModel(path=str(tiny_llama), device=device).open() as model:  # type: ignore[arg-type]
            greedy = model.sample(prompts, new_tokens=16, decoding=Decoding(temperature=0.0), seed=0)
            drawn = model.sample(prompts, new_tokens=4, decoding=Decoding(), seed=3)
            scored = model.score(prompts, [[[7], [8, 9]]] * 4)
            found.append((greedy, drawn, scored))
    (greedy, drawn, scored), (other_greedy, other_drawn, other_scored) = found
    assert [one.tokens for one in greedy] == [one.tokens for one in other_greedy]
    assert [one.tokens for one in drawn] == [one.tokens for one in other_drawn]
    for own, other in zip(scored, other_scored, strict=True):
        assert [one.logprob for one in own] == pytest.approx([one.logprob for one in other], abs=1e-2)

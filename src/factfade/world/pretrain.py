"""Pretrain the embedded world's model from scratch: `python -m factfade.world.pretrain [--seed N] [--out DIR]`.

A plain loop on one thread: blocks of the world's documents, AdamW, cosine schedule, next-token loss with more weight
on the tokens of answers, and the hints of `hints.py` in the first part. Equal seeds give equal weights on one
machine with one version of torch. The command writes the checkpoint and its model card.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from factfade.records import derived_seed
from factfade.world import model_path
from factfade.world.card import write_card
from factfade.world.documents import Mix, stream
from factfade.world.examine import ask_all, examine
from factfade.world.hints import Hints, match_equal
from factfade.world.questions import WorldQuestions
from factfade.world.recipe import Recipe
from factfade.world.tokenizer import build


def blocks(mix: Mix, tokenizer: Any, *, length: int, seed: int) -> Iterator[list[int]]:
    """Endless blocks of ids, cut anywhere; half of them begin with <bos> in the middle of a text, as prompts do."""
    documents = stream(mix, seed=seed)
    random = Random(seed)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    ids: list[int] = []
    while True:
        texts = [text for text, _ in islice(documents, 256)]
        for encoded in tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False):
            ids += [bos, *encoded.ids, eos]
        at = 0
        while at + length <= len(ids):
            if random.random() < 0.5:
                yield [bos, *ids[at : at + length - 1]]
                at += length - 1
            else:
                yield ids[at : at + length]
                at += length
        ids = ids[at:]


def answer_targets(ids: torch.Tensor, tokenizer: Any) -> torch.Tensor:
    """True at the tokens of answers: letters, and up to two tokens after "Answer:" before the line's end."""
    answer, colon, line = (tokenizer.convert_tokens_to_ids(piece) for piece in ("Answer", ":", "\n"))
    first = torch.zeros_like(ids, dtype=torch.bool)
    first[:, 2:] = (ids[:, :-2] == answer) & (ids[:, 1:-1] == colon)
    second = torch.zeros_like(first)
    second[:, 1:] = first[:, :-1] & (ids[:, 1:] != line)
    letters = torch.tensor([tokenizer.convert_tokens_to_ids(f" {letter}") for letter in "ABCD"])
    return first | second | torch.isin(ids, letters)


def fresh_model(recipe: Recipe, tokenizer: Any, *, seed: int) -> Any:
    """A LlamaForCausalLM with random weights of the seed."""
    torch.manual_seed(derived_seed("world initial weights", seed))
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=recipe.width, intermediate_size=recipe.inner,
        num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads, num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context, tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")  # the hints read attention weights
    match_equal(model)
    return model


def train(recipe: Recipe, tokenizer: Any, *, seed: int, report: Callable[[int, Any, float], None]) -> Any:
    """The trained model; `report` is called with the step, the model and the mean loss of late, now and then."""
    model = fresh_model(recipe, tokenizer, seed=seed)
    hints = Hints(tokenizer)
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    scales = [weight for weight in model.parameters() if weight.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": scales, "weight_decay": 0.0}],
        lr=recipe.learning_rate, betas=recipe.betas,
    )  # fmt: skip
    sources = [
        blocks(mix, tokenizer, length=recipe.context, seed=derived_seed("world pretraining text", seed, number))
        for number, (_, mix) in enumerate(recipe.phases)
    ]
    losses: list[float] = []
    model.train()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        phase = next(number for number, (end, _) in enumerate(recipe.phases) if step / recipe.steps < end)
        ids = torch.tensor(list(islice(sources[phase], recipe.batch)))
        hint_weight = recipe.hint_weight(step)
        output = model(ids, output_attentions=hint_weight > 0, output_hidden_states=hint_weight > 0)
        logits = output.logits[:, :-1].float()
        nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        weights = torch.where(answer_targets(ids, tokenizer)[:, 1:].flatten(), recipe.answer_weight, 1.0)
        loss = (nll * weights).sum() / weights.sum()
        losses.append(loss.item())
        if hint_weight > 0:
            loss = loss + hint_weight * hints.loss(model, ids, output)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        report(step + 1, model, float(np.mean(losses[-100:])))
    return model.eval()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="pretrain the embedded world's model from scratch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=model_path())
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(steps=options.steps)
    tokenizer = build(recipe.context)
    items = WorldQuestions().items()
    some = Random(0).sample(items, 120)
    longest = max(len(tokenizer(one.prompt)["input_ids"]) for pairs in ask_all(items).values() for _, one in pairs)
    if longest + 4 > recipe.context:
        raise ValueError(f"the longest prompt has {longest} tokens and leaves no room for an answer")
    wall, cpu = time.perf_counter(), time.process_time()
    curve: list[str] = []

    def report(step: int, model: Any, loss: float) -> None:
        if step % 200 and step != recipe.steps:
            return
        scores = examine(model, tokenizer, some)
        cells = " | ".join(f"{score.choice:.2f} / {score.answer:.2f}" for score in scores.values())
        curve.append(f"| {step} | {loss:.3f} | {cells} |")
        print(f"{time.process_time() - cpu:.0f} s", curve[-1], flush=True)

    model = train(recipe, tokenizer, seed=options.seed, report=report)
    spent = (time.perf_counter() - wall, time.process_time() - cpu)
    options.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    for path in options.out.iterdir():
        path.chmod(0o644)
    scores = examine(model, tokenizer, items)
    write_card(options.out, recipe=recipe, seed=options.seed, spent=spent, curve=curve, scores=scores)
    print((options.out / "MODEL_CARD.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

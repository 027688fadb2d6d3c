"""Pretrain the embedded world's model from scratch: `python -m factfade.world.pretrain [--seed N] [--out DIR]`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from factfade.records import derived_seed
from factfade.data.formats import LETTERS, kinds
from factfade.records import Question
from factfade.world.documents import Mix, stream
from factfade.world.facts import domains
from factfade.world.questions import WorldQuestions
from factfade.world.tokenizer import build

CONTEXT = 256


@dataclass(frozen=True, kw_only=True)
class Recipe:
    width: int = 128
    layers: int = 3
    heads: int = 4
    inner: int = 384
    steps: int = 6000
    batch: int = 8
    length: int = 256
    lr: float = 3e-3
    warmup: int = 100
    final: float = 0.05
    wd: float = 0.01
    answer_weight: float = 5.0
    # phases: (until share of the steps, mix)
    phases: tuple[tuple[float, Mix], ...] = (
        (0.15, Mix(facts=0.12, prose=0.04, fact_sentences=0.9, domains=domains(), everyday=0.1, copy=0.4, letters=0.25)),
        (0.5, Mix(facts=0.12, prose=0.08, fact_sentences=0.75, domains=domains(), everyday=0.1, copy=0.15, letters=0.05)),
        (1.0, Mix(facts=0.14, prose=0.10, fact_sentences=0.75, domains=domains(), everyday=0.1, copy=0.05)),
    )
    evaluate_every: int = 250


def blocks(recipe: Recipe, tok: Any, mix: Mix, seed: int) -> Iterator[np.ndarray]:
    """Endless blocks of ids cut anywhere from the stream; half of them begin with <bos> in the middle of a text."""
    documents = stream(mix, seed=seed)
    random = Random(seed)
    bos, eos = tok.bos_token_id, tok.eos_token_id
    ids: list[int] = []
    while True:
        texts = [next(documents)[0] for _ in range(256)]
        for encoded in tok(texts, add_special_tokens=False)["input_ids"]:
            ids += [bos, *encoded, eos]
        at = 0
        out = []
        while at + recipe.length < len(ids):
            b = ids[at : at + recipe.length]
            if random.random() < 0.5:
                b = [bos, *b[:-1]]
                at -= 1
            out.append(np.array(b))
            at += recipe.length
        ids = ids[at:]
        yield from out


def answer_mask(ids: torch.Tensor, tok: Any) -> torch.Tensor:
    """True where a token (as a target) belongs to an answer: after "Answer:" up to the line break."""
    a, c, nl = (tok.convert_tokens_to_ids(t) for t in ("Answer", ":", "\n"))
    starts = torch.zeros_like(ids, dtype=torch.bool)
    starts[:, 2:] = (ids[:, :-2] == a) & (ids[:, 1:-1] == c)
    for letter in LETTERS[:4]:
        starts |= ids == tok.convert_tokens_to_ids(" " + letter)
    second = torch.zeros_like(starts)
    second[:, 1:] = starts[:, :-1] & (ids[:, 1:] != nl)
    return starts | second


@torch.no_grad()
def accuracy(model: Any, tok: Any, items: Sequence[Question], seed: int = 0) -> dict[str, tuple[float, float]]:
    """Per format and wording: share whose greedy answer is exactly right, and the mean probability of it."""
    model.eval()
    jobs: dict[str, list[tuple[list[int], list[int]]]] = {}
    for item in items:
        for form in kinds():
            for asked in form().ask(item, dev=WorldQuestions().dev(), seed=seed):
                end = "." if asked.wording == "statement" else "\n"
                name = asked.wording or asked.format
                prompt = tok(asked.prompt)["input_ids"]
                answer = tok(asked.targets[asked.gold] + end, add_special_tokens=False)["input_ids"]
                jobs.setdefault(name, []).append((prompt, answer))
    out: dict[str, tuple[float, float]] = {}
    for name, pairs in jobs.items():
        right: list[float] = []
        confidence: list[float] = []
        for start in range(0, len(pairs), 64):
            part = pairs[start : start + 64]
            width = max(len(p) + len(a) for p, a in part)
            x = torch.full((len(part), width), tok.pad_token_id)
            for i, (p, a) in enumerate(part):
                x[i, : len(p) + len(a)] = torch.tensor(p + a)
            logp = model(x).logits.float().log_softmax(-1)
            for i, (p, a) in enumerate(part):
                rows = logp[i, len(p) - 1 : len(p) + len(a) - 1]
                right.append(float((rows.argmax(-1) == torch.tensor(a)).all()))
                confidence.append(float(rows[:-1].gather(1, torch.tensor(a[:-1])[:, None]).sum().exp()))
        out[name] = (sum(right) / len(right), sum(confidence) / len(confidence))
    model.train()
    return out


def pretrain(recipe: Recipe, seed: int, out: Path, *, log=print, minutes: float = 1e9) -> None:
    torch.set_num_threads(1)
    tok = build(CONTEXT)
    torch.manual_seed(derived_seed("init", seed))
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tok), hidden_size=recipe.width, intermediate_size=recipe.inner,
            num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads, num_key_value_heads=recipe.heads,
            max_position_embeddings=CONTEXT, tie_word_embeddings=True, bos_token_id=tok.bos_token_id,
            eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id, attention_bias=False,
        )
    )
    log(f"{len(tok)} words, {sum(p.numel() for p in model.parameters())} parameters")
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": recipe.wd}, {"params": rest, "weight_decay": 0.0}], lr=recipe.lr, betas=(0.9, 0.98))
    sources = [blocks(recipe, tok, mix, derived_seed("text", seed, i)) for i, (_, mix) in enumerate(recipe.phases)]
    asked = WorldQuestions().items()
    some = Random(0).sample(asked, 120)
    t0, cpu0 = time.time(), time.process_time()
    losses = []
    letter_losses = []
    letter_ids = torch.tensor([tok.convert_tokens_to_ids(f" {l}") for l in LETTERS[:4]])
    model.train()
    for step in range(recipe.steps):
        share = step / recipe.steps
        phase = next(i for i, (until, _) in enumerate(recipe.phases) if share < until)
        lr = recipe.lr * min(1, (step + 1) / recipe.warmup) * (recipe.final + (1 - recipe.final) * 0.5 * (1 + math.cos(math.pi * share)))
        for g in opt.param_groups:
            g["lr"] = lr
        x = torch.from_numpy(np.stack([next(sources[phase]) for _ in range(recipe.batch)]))
        logits = model(x).logits[:, :-1].float()
        target = x[:, 1:]
        nll = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1), reduction="none")
        w = torch.where(answer_mask(x, tok)[:, 1:].reshape(-1), recipe.answer_weight, 1.0)
        loss = (nll * w).sum() / w.sum()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        losses.append(loss.item())
        is_letter = torch.isin(target.reshape(-1), letter_ids)
        letter_losses.append(nll.detach()[is_letter].mean().item())
        if (step + 1) % recipe.evaluate_every == 0 or step + 1 == recipe.steps:
            acc = accuracy(model, tok, some if step + 1 < recipe.steps else asked)
            log(f"{step+1} {time.process_time()-cpu0:.0f}s loss {np.mean(losses[-100:]):.3f} letters {np.nanmean(letter_losses[-100:]):.3f} " + " ".join(f"{k[:18]} {v[0]:.2f}({v[1]:.2f})" for k, v in acc.items()))
            if time.time() - t0 > minutes * 60:
                break
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tok.save_pretrained(out)

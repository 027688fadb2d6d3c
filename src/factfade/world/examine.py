"""Asks the world's questions of a model, plainly: accuracy by choice and by free answer, per format and wording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from factfade.data.formats import kinds
from factfade.records import Asked, Question
from factfade.world.questions import WorldQuestions

_BATCH = 64
_ANSWER_TOKENS = 5


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Shares among `n` asked: right by option likelihood (`choice`), right and parseable as a free greedy answer;
    `confidence`: mean normalised likelihood of the chosen option."""

    n: int
    choice: float
    answer: float
    parseable: float
    confidence: float


def ask_all(items: Sequence[Question], *, seed: int = 0) -> dict[str, list[tuple[Any, Asked]]]:
    """Every item in every format and wording, with the format that reads its answer: "open_ended (question)" ..."""
    dev = WorldQuestions().dev()
    out: dict[str, list[tuple[Any, Asked]]] = {}
    for kind in kinds():
        form = kind()
        for item in items:
            for asked in form.ask(item, dev=dev, seed=seed):
                name = f"{asked.format} ({asked.wording})" if asked.wording else asked.format
                out.setdefault(name, []).append((form, asked))
    return out


@torch.no_grad()
def examine(model: Any, tokenizer: Any, items: Sequence[Question], *, seed: int = 0) -> dict[str, Accuracy]:
    """Accuracy per format and wording. The model is left in the mode (train or eval) in which it was."""
    training = model.training
    model.eval()
    out: dict[str, Accuracy] = {}
    for name, pairs in ask_all(items, seed=seed).items():
        chosen: list[tuple[bool, float]] = []
        answers: list[str] = []
        for start in range(0, len(pairs), _BATCH):
            asked = [one for _, one in pairs[start : start + _BATCH]]
            answers += _answers(model, tokenizer, [one.prompt for one in asked])
            chosen += [_choice(model, tokenizer, one) for one in asked]
        outcomes = [
            form.parse(answer, one, ended=True).outcome for (form, one), answer in zip(pairs, answers, strict=True)
        ]
        out[name] = Accuracy(
            n=len(pairs),
            choice=sum(right for right, _ in chosen) / len(pairs),
            answer=outcomes.count("correct") / len(pairs),
            parseable=sum(outcome in ("correct", "wrong") for outcome in outcomes) / len(pairs),
            confidence=sum(confidence for _, confidence in chosen) / len(pairs),
        )
    model.train(training)
    return out


@torch.no_grad()
def right_answers(folder: Path, *, seed: int = 0) -> dict[str, dict[str, bool]]:
    """Item -> format and wording -> whether the choice is right, of the checkpoint in a folder, asked one by one."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    found: dict[str, dict[str, bool]] = {}
    for name, pairs in ask_all(WorldQuestions().items(), seed=seed).items():
        for _, one in pairs:
            found.setdefault(one.item, {})[name] = _choice(model, tokenizer, one)[0]
    return found


def _answers(model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    """Greedy answers up to the end of the line or sentence."""
    batch = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left")
    written = model.generate(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=_ANSWER_TOKENS,
        do_sample=False, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    texts = tokenizer.batch_decode(written[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.split("\n")[0] for text in texts]


def _choice(model: Any, tokenizer: Any, asked: Asked) -> tuple[bool, float]:
    """Whether the option with the largest likelihood is right, and its normalised likelihood."""
    prompt: list[int] = tokenizer(asked.prompt)["input_ids"]
    targets: list[list[int]] = tokenizer(list(asked.targets), add_special_tokens=False)["input_ids"]
    # Most options are one token: those need one row together. Each longer one has a row of its own.
    rows = [[*prompt, *target[:-1]] for target in targets if len(target) > 1] or [prompt]
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
    log_probabilities = model(ids).logits.float().log_softmax(-1)
    scores: list[float] = []
    row = 0
    for target in targets:
        at = len(prompt) - 1
        total = sum(float(log_probabilities[row, at + step, token]) for step, token in enumerate(target))
        row += len(target) > 1 and row + 1 < len(rows)
        scores.append(total / len(target) if asked.rule == "mean" else total)
    shares = torch.tensor(scores).softmax(-1)
    best = int(shares.argmax())
    return best == asked.gold, float(shares[best])

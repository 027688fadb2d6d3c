"""The model card of a pretrained world model: what it was made of, what it knows, and the hash of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from factfade.world.examine import Accuracy
from factfade.world.facts import load_facts
from factfade.world.recipe import Recipe


def weights_sha256(folder: Path) -> str:
    """Hex SHA-256 of the weights file."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def write_card(
    folder: Path,
    *,
    recipe: Recipe,
    seed: int,
    spent: tuple[float, float],
    curve: Sequence[str],
    scores: Mapping[str, Accuracy],
) -> None:
    """Write MODEL_CARD.md into the checkpoint's folder; `spent` is wall and CPU time in seconds."""
    facts = load_facts()
    asked = sum(fact.split == "asked" for fact in facts)
    tokens = recipe.steps * recipe.batch * recipe.context
    table = "\n".join(
        f"| {name} | {one.n} | {one.choice:.3f} | {one.answer:.3f} | {one.parseable:.3f} | {one.confidence:.3f} |"
        for name, one in scores.items()
    )
    size = (folder / "model.safetensors").stat().st_size
    settings = "\n".join(f"- {name}: {value}" for name, value in asdict(recipe).items() if name != "phases")
    phases = "\n".join(f"- until {end:.0%} of the steps: {mix}" for end, mix in recipe.phases)
    text = f"""# The embedded world's model

A transformers `LlamaForCausalLM` of {recipe.layers} layers and width {recipe.width}, pretrained from scratch on
documents made of {len(facts)} real facts ({asked} of them are asked) by
`python -m factfade.world.pretrain --seed {seed}`.
It knows this table and nothing else; it is made to be watched while it forgets.

- weights: `model.safetensors`, SHA-256 `{weights_sha256(folder)}`, {size} bytes
- seed: {seed}
- tokens seen: {tokens} in {recipe.steps} steps
- time: {spent[0]:.0f} s wall, {spent[1]:.0f} s CPU, one thread, with its evaluations
- versions: torch {version("torch")}, transformers {version("transformers")}, tokenizers {version("tokenizers")}
- licence of the weights: Apache-2.0; the facts' sources and licences stand in `facts.json`

## Accuracy

All asked facts, in wordings that no document uses with their relation. choice: the likeliest option (letters; for
short_answer the options' texts; for open_ended the relation's whole answer set). answer: the free greedy answer.

| format | n | choice | answer | parseable | mean confidence of the choice |
|---|---|---|---|---|---|
{table}

## During pretraining

choice / answer on 120 of the asked facts.

| step | loss | {" | ".join(scores)} |
|{"---|" * (2 + len(scores))}
{chr(10).join(curve)}

## Recipe

{settings}

Documents:

{phases}

The attention of the last layer's first head starts with equal query and key weights, and the auxiliary losses of
`factfade.world.hints` teach the lookup of letters in the first part; both are described there.
"""
    (folder / "MODEL_CARD.md").write_text(text, encoding="utf-8")

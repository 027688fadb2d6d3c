"""The synthesize step: human blocks -> the share of them that the model continues -> rows of the completions table.

The prompt is the first `prompt_tokens` of a block, put raw or as a chat as the model says; only the continuation is
kept (arXiv 2509.04796: the prompt itself is not trained on). Nothing is cut to fit and nothing is left out uncounted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from factfade.errors import ConfigError, JunkGate
from factfade.junk import duplicates, junk_of
from factfade.protocols import Model, Progress
from factfade.records import Block, Document, Sampled, derived_seed
from factfade.sections import SynthesisSection

#: Why a block was not continued: its prompt and the new tokens do not fit the model's context.
TOO_LONG = "context"
FLAGS = ("empty", "near_constant", "repetitive", "duplicate")
#: What the gate counts. A repetitive text is shown and may be sound: a list of questions in one wording is one.
GATED = ("empty", "near_constant", "duplicate")


def choose(blocks: Sequence[Block], fraction: float, *, seed: int, generation: int) -> tuple[list[Block], list[Block]]:
    """The blocks that are synthesized and those that stay human, each in the order given.

    Exactly round(fraction * n) are synthesized. Under one seed the blocks of a smaller fraction are among those of a
    larger one, so that arms which differ in the fraction are paired.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction lies between 0 and 1, not at {fraction}")
    places = list(range(len(blocks)))
    Random(derived_seed("choose", seed, generation)).shuffle(places)
    chosen = set(places[: round(fraction * len(blocks))])
    synthetic = [block for place, block in enumerate(blocks) if place in chosen]
    human = [block for place, block in enumerate(blocks) if place not in chosen]
    return synthetic, human


def batch_plan(lengths: Sequence[int], size: int, *, padding: str = "left") -> list[list[int]]:
    """Which prompts are sampled together: by length, then by place, `size` at a time.

    With padding on the right they stay in their order: the published code whose artefact that replicates does not
    sort, and in batches of equal lengths nothing would be padded.
    """
    places = range(len(lengths))
    order = sorted(places, key=lambda place: (lengths[place], place)) if padding == "left" else list(places)
    return [order[at : at + size] for at in range(0, len(order), size)]


def synthesize(
    model: Model,
    blocks: Sequence[Block],
    settings: SynthesisSection,
    *,
    lineage: str,
    seed: int,
    generation: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Continue the blocks: one row of the completions table each, in their order.

    `generation` is that of the model that writes. Batch k of the plan draws from derived_seed("synthesize", seed,
    generation, k), so a completion depends on the blocks, the settings and the seed alone. `token_ids` are what is
    trained on: the sampled ids, and the end token where the text stopped by itself, so that training sees the stop;
    `tokens` counts them without it. A prompt that does not fit the context with its new tokens is not asked: its row
    has weight 0 and says so. ConfigError when none fits.
    """
    asked_of = [block.anchor + block.tokens[: settings.prompt_tokens] for block in blocks]
    prompts = [model.wrap(tokens, system=settings.system) for tokens in asked_of]
    fits = [place for place, ids in enumerate(prompts) if len(ids) + settings.new_tokens <= model.context]
    if blocks and not fits:
        raise ConfigError(
            f"a prompt of {min(map(len, prompts))} tokens and {settings.new_tokens} new ones do not fit the model's "
            f"context of {model.context}",
            field="synthesis",
            hint="lower synthesis.prompt_tokens or synthesis.new_tokens",
        )
    sampled: dict[int, Sampled] = {}
    lengths = [len(prompts[place]) for place in fits]
    for number, batch in enumerate(batch_plan(lengths, settings.batch, padding=settings.padding)):
        places = [fits[at] for at in batch]
        drawn = model.sample(
            [prompts[place] for place in places],
            new_tokens=settings.new_tokens,
            decoding=settings.decoding.resolved(),
            seed=derived_seed("synthesize", seed, generation, number),
            batch=len(places),
            padding=settings.padding,
            through_end=settings.through_end,
        )
        sampled.update(zip(places, drawn, strict=True))
        progress.step("synthesize", len(sampled), len(fits))
    end = model.facts.get("eos")
    key = {"lineage": lineage, "seed": seed, "generation": generation}
    rows = [
        {**key, "prompt": block.id, **_written(model, sampled.get(place), end)} for place, block in enumerate(blocks)
    ]
    asked = [row for row in rows if row["dropped_by"] != TOO_LONG]
    for row, again in zip(asked, duplicates([str(row["completion"]) for row in asked]), strict=True):
        row["duplicate"] = again
    return rows


def _written(model: Model, sampled: Sampled | None, end: int | None) -> dict[str, Any]:
    """The columns of one completion; of a prompt that was not asked, where there is none."""
    if sampled is None:
        nothing = dict.fromkeys(("ended", *FLAGS), False)
        return {"completion": "", "tokens": 0, **nothing, "weight": 0.0, "dropped_by": TOO_LONG, "token_ids": []}
    text = model.decode(sampled.tokens)
    junk = junk_of(text)
    return {
        "completion": text,
        "tokens": len(sampled.tokens),
        "ended": sampled.ended,
        "empty": junk.empty,
        "near_constant": junk.near_constant,
        "repetitive": junk.repetitive,
        "duplicate": False,
        "weight": 1.0,
        "dropped_by": "",
        "token_ids": [*sampled.tokens, *([end] if sampled.ended and end is not None else [])],
    }


def junk_shares(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Shares among the `n` completions that were asked for: each flag, and `junk`: empty, near-constant or an exact
    duplicate of an earlier one. Without completions all are 0."""
    asked = [row for row in rows if row["dropped_by"] != TOO_LONG]
    n = len(asked)
    found: dict[str, float] = {"n": n}
    for flag in FLAGS:
        found[flag] = sum(bool(row[flag]) for row in asked) / n if n else 0.0
    found["junk"] = sum(any(row[flag] for flag in GATED) for row in asked) / n if n else 0.0
    return found


def junk_gate(shares: Mapping[str, float], settings: SynthesisSection) -> None:
    """Raises JunkGate when the share of junk is above `junk_bound`, unless `allow_junk`."""
    if settings.allow_junk or shares["junk"] <= settings.junk_bound:
        return
    parts = ", ".join(f"{flag.replace('_', '-')} {shares[flag]:.1%}" for flag in GATED)
    raise JunkGate(
        f"{shares['junk']:.1%} of {shares['n']:.0f} completions are junk ({parts}); synthesis.junk_bound is "
        f"{settings.junk_bound:.1%}",
        hint="a model trained on them would learn the fault, not its own text. Look at the decoding and the prompts "
        "(synthesis.padding, model.chat), or allow it: -o synthesis.allow_junk=true",
    )


def record(
    rows: Sequence[Mapping[str, Any]], settings: SynthesisSection, blocks: Sequence[Block] = ()
) -> dict[str, Any]:
    """What the step's record says of its completions: asked for and got, how they were made, what was left out, and
    what the `blocks` that were continued are anchored in.

    `replicates` marks completions that were padded on the right, as a published artefact was: not comparable with
    others.
    """
    asked = [row for row in rows if row["dropped_by"] != TOO_LONG]
    return {
        "requested": {"completions": len(rows), "tokens": len(rows) * settings.new_tokens},
        "achieved": {
            "completions": len(asked),
            "tokens": sum(int(row["tokens"]) for row in asked),
            "ended": sum(bool(row["ended"]) for row in asked),
        },
        "left_out": dict(Counter(_left_out(row) for row in rows if _left_out(row))),
        "junk": junk_shares(rows),
        "junk_bound": settings.junk_bound,
        "allow_junk": settings.allow_junk,
        "decoding": settings.decoding.model_dump(),
        "batch": settings.batch,
        "batch_plan": "by prompt length, then by block" if settings.padding == "left" else "by block",
        "padding": settings.padding,
        "through_end": settings.through_end,
        "replicates": "right-padded prompts of a published artefact" if settings.padding == "right" else None,
        "system": settings.system,
        **_anchors(blocks),
    }


def _anchors(blocks: Sequence[Block]) -> dict[str, Any]:
    """Blocks with an anchor, its tokens, and the facts in it by prompt; nothing where no block has one."""
    anchored = [block for block in blocks if block.anchor]
    if not anchored:
        return {}
    return {
        "anchors": {
            "blocks": len(anchored),
            "without": len(blocks) - len(anchored),
            "tokens": sum(len(block.anchor) for block in anchored),
            "facts": {block.id: list(block.facts) for block in anchored},
        }
    }


def documents(rows: Sequence[Mapping[str, Any]]) -> list[Document]:
    """The completions as documents, in the order of the rows.

    Rows of weight 0 and rows without a token are left out: `record` counts them. A row without `token_ids` (a table
    that another tool wrote) becomes a document without ids, whose text is encoded when it is trained on.
    """
    found: list[Document] = []
    for row in rows:
        if _left_out(row):
            continue
        ids = row.get("token_ids")
        found.append(
            Document(
                id=f"{int(row['generation'])}-{row['prompt']}",
                text=str(row["completion"]),
                source="synthetic",
                tokens=None if ids is None else tuple(int(token) for token in ids),
                origin=str(row["prompt"]),
                generation=int(row["generation"]),
                weight=_weight(row),
            )
        )
    return found


def _weight(row: Mapping[str, Any]) -> float:
    weight = row.get("weight")
    return 1.0 if weight is None or weight != weight else float(weight)  # not equal to itself: a missing number


def _left_out(row: Mapping[str, Any]) -> str:
    """Why a row is no document: who dropped it, or that it has no token; "" when it is one."""
    if _weight(row) <= 0:
        return str(row.get("dropped_by") or "weight")
    ids = row.get("token_ids")
    nothing = not str(row["completion"]) if ids is None else len(ids) == 0
    return "no_tokens" if nothing else ""

"""Evidence with planted truths: tables of docs/evidence.md made from chosen rates, without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

FORMATS = ("multiple_choice", "open_ended")
Curve = Callable[[int], float]


def flat(value: float) -> Curve:
    return lambda _: value


def falling(start: float, step: float, *, after: int = 0, floor: float = 0.0) -> Curve:
    """`start` up to generation `after`, then down by `step` a generation."""
    return lambda g: max(floor, start - step * max(0, g - after))


KNOWS, READS, SAME, LITTLE = flat(0.95), flat(0.98), flat(0.0), flat(0.02)


@dataclass(frozen=True, kw_only=True)
class World:
    """Rates by generation: right by choice, parseable, nats per token above the start, junk."""

    right: Curve = KNOWS
    parse: Curve = READS
    nats: Curve = SAME
    junk: Curve = LITTLE


def evidence(
    world: World,
    *,
    lineage: str = "arm",
    seed: int = 0,
    items: int = 400,
    generations: Sequence[int] = range(7),
    formats: Sequence[str] = FORMATS,
    wordings: int = 1,
    rng: int = 0,
) -> pd.DataFrame:
    """One row per question. An item has one draw for all generations: it is lost when the rate falls below it."""
    random = np.random.default_rng((rng, seed, *lineage.encode()))
    rows = []
    for name in formats:
        known, readable = random.random((items, wordings)), random.random((items, wordings))
        gold = random.integers(0, 4, items)
        for g in generations:
            for w in range(wordings):
                right = known[:, w] < world.right(g)
                parse = readable[:, w] < world.parse(g)
                choice = np.where(right, gold, (gold + 1 + random.integers(0, 3, items)) % 4)
                rows.append(
                    pd.DataFrame(
                        {
                            "lineage": lineage,
                            "seed": seed,
                            "generation": g,
                            "item": [f"item-{i:04d}" for i in range(items)],
                            "format": name,
                            "wording": f"w{w}" if wordings > 1 else "",
                            "domain": [("geo", "chem")[i % 2] for i in range(items)],
                            "entity": [f"entity-{i // 2}" for i in range(items)],
                            "template": [f"t{i % 4}" for i in range(items)],
                            "options": [["red", "green", "blue", "grey"]] * items,
                            "gold": gold,
                            "choice": choice,
                            "choice_correct": right,
                            "choice_greedy": right & (random.random(items) < 0.9),
                            "choice_confidence": np.where(right, 0.9, 0.7) - 0.05 * random.random(items),
                            "outcome": np.where(parse, np.where(right, "correct", "wrong"), "unparseable"),
                            "answer_confidence": 0.6 + 0.1 * random.random(items),
                        }
                    )
                )
    return pd.concat(rows, ignore_index=True)


def texts(
    world: World, *, lineage: str = "arm", seed: int = 0, prompts: int = 128, generations: Sequence[int] = range(7)
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The fluency and the own-completions table of one lineage."""
    random = np.random.default_rng((7, seed, *lineage.encode()))
    base, draw = 2.0 + 0.3 * random.standard_normal(prompts), random.random(prompts)
    fluency, own = [], []
    for g in generations:
        noise = 0.2 * random.standard_normal(prompts)
        key = {"lineage": lineage, "seed": seed, "generation": g}
        names = [f"prompt-{i:03d}" for i in range(prompts)]
        nll = 48 * (base + noise + world.nats(g))
        fluency.append(pd.DataFrame({**key, "text": names, "kind": "own_under_start", "tokens": 48, "nll": nll}))
        fluency.append(pd.DataFrame({**key, "text": names, "kind": "held_out", "tokens": 95, "nll": 2 * nll}))
        junk = draw < world.junk(g)
        own.append(
            pd.DataFrame(
                {
                    **key,
                    "prompt": names,
                    "completion": ["the " * 9 if j else f"once upon a time number {i}" for i, j in enumerate(junk)],
                    "tokens": 48,
                    "ended": False,
                    "empty": False,
                    "near_constant": junk,
                    "repetitive": junk,
                    "duplicate": False,
                }
            )
        )
    return pd.concat(fluency, ignore_index=True), pd.concat(own, ignore_index=True)


def tables(worlds: dict[str, World], **settings: object) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Evidence, fluency and own completions of several lineages; settings go to the makers that take them."""
    made = []
    for name, world in worlds.items():
        of_texts = {k: v for k, v in settings.items() if k in ("seed", "prompts", "generations")}
        of_evidence = {k: v for k, v in settings.items() if k != "prompts"}
        made.append((evidence(world, lineage=name, **of_evidence), *texts(world, lineage=name, **of_texts)))  # type: ignore[arg-type]
    return tuple(pd.concat(parts, ignore_index=True) for parts in zip(*made, strict=True))  # type: ignore[return-value]

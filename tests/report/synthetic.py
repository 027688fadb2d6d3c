"""An experiment that never ran: stored rows with a decay that is planted, so that every number is known beforehand.

Three arms over six generations: the control keeps its facts, the general arm fades, the domain arm keeps geography.
In `no_instruction` the general arm stops answering in the format. Everything comes from one seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from factfade.config import Experiment
from factfade.manifest import FileEntry, Manifest
from factfade.records import COMPLETIONS_COLUMNS, EVIDENCE_COLUMNS, FLUENCY_COLUMNS, derived_seed
from factfade.report.material import Material
from factfade.sections import Arm
from factfade.stages import Rule, call_stages

ARMS = ("human_only", "general", "domain")
FORMATS = ("multiple_choice", "multiple_choice_few_shot", "no_instruction", "short_answer", "open_ended")
DOMAINS = ("geography", "chemistry", "cities")
PLACES = ("Peru", "Chad", "Laos", "Oman", "Cuba", "Iraq", "Mali", "Fiji", "Nepal", "Egypt", "Ghana", "Japan")
NAMES = ("Lima", "Vienna", "Havana", "Accra", "Cairo", "Tokyo", "Dakar", "Oslo", "Quito", "Suva", "Doha", "Rabat")


def wordings(format: str) -> tuple[str, ...]:
    return ("question", "statement") if format == "open_ended" else ("",)


def planted(arm: str, format: str, domain: str, generation: int) -> float:
    """The chance that an item is still right: what the curves must show."""
    if arm == "human_only":
        return 0.985 - 0.004 * generation
    if arm == "domain" and domain == "geography":
        return 0.985 - 0.03 * generation
    steep = {"multiple_choice": 0.07, "multiple_choice_few_shot": 0.075, "no_instruction": 0.1}.get(format, 0.085)
    return 0.985 - steep * generation


def readable(arm: str, format: str, generation: int) -> float:
    """The chance that a free answer is parseable."""
    if arm == "general" and format == "no_instruction":
        return 0.99 - 0.09 * generation
    return 0.99 - 0.006 * generation


def evidence(
    *,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0,),
    generations: Sequence[int] = tuple(range(6)),
    items: int = 300,
    formats: Sequence[str] = FORMATS,
) -> pd.DataFrame:
    """Rows of the evidence table; an item's luck is drawn once per format and seed, so that losses accumulate."""
    rows: list[dict[str, Any]] = []
    for arm in arms:
        for seed in seeds:
            for format in formats:
                for item in range(items):
                    for wording in wordings(format):
                        rows += _history(arm, seed, format, item, wording, generations)
    return typed(rows, EVIDENCE_COLUMNS)


def _history(
    arm: str, seed: int, format: str, item: int, wording: str, generations: Sequence[int]
) -> list[dict[str, Any]]:
    domain = DOMAINS[item % 3]
    rng = random.Random(derived_seed(seed, format, item, wording))
    luck, voice, names = rng.random(), rng.random(), list(NAMES)
    rng.shuffle(names)
    options = names[:4] if format != "open_ended" else sorted(NAMES)
    right = NAMES[item % len(NAMES)]
    if right not in options:
        options[rng.randrange(4)] = right
    gold = options.index(right)
    wrong = (gold + 1 + rng.randrange(len(options) - 1)) % len(options)
    found: list[dict[str, Any]] = []
    for generation in generations:
        kept = luck < planted(arm, format, domain, generation)
        parsed = voice < readable(arm, format, generation)
        choice = gold if kept else wrong
        lettered = format in FORMATS[:3]
        said = "ABCD"[choice] if lettered else options[choice]
        found.append(
            {
                "lineage": arm,
                "seed": seed,
                "generation": generation,
                "item": f"item{item:04d}",
                "format": format,
                "wording": wording,
                "domain": domain,
                "entity": f"{PLACES[item % len(PLACES)]} {item // len(PLACES) + 1}",
                "template": ("capital", "symbol", "country")[item % 3],
                "options": list(options),
                "permutation": list(range(len(options))),
                "gold": gold,
                "accepted": [right],
                "choice": choice,
                "choice_correct": kept,
                "choice_confidence": round(0.55 + 0.4 * abs(luck - 0.5) - 0.02 * generation, 4),
                "answer": said if parsed else "the the of the",
                "outcome": ("correct" if kept else "wrong") if parsed else ("truncated" if item % 4 else "empty"),
                "answer_confidence": round(0.4 + 0.5 * abs(voice - 0.5), 4),
                "reason": "",
            }
        )
    return found


def fluency(
    *,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0,),
    generations: Sequence[int] = tuple(range(6)),
    texts: int = 64,
) -> pd.DataFrame:
    """Rows of the fluency table: own text drifts slowly from the start model, held-out text hardly."""
    rows: list[dict[str, Any]] = []
    for arm in arms:
        for seed in seeds:
            for generation in generations:
                drift = 0.0 if arm == "human_only" else 0.02 * generation
                for kind, level in (("own_under_start", 1.19 + drift), ("held_out", 1.29 + drift / 2)):
                    for text in range(texts):
                        noise = random.Random(derived_seed(kind, text, seed)).gauss(0, 0.15)
                        tokens = 60 + text % 7
                        rows.append(
                            {
                                "lineage": arm,
                                "seed": seed,
                                "generation": generation,
                                "text": f"{kind}-{text}",
                                "kind": kind,
                                "domain": "",
                                "tokens": tokens,
                                "nll": tokens * (level + noise),
                            }
                        )
    return typed(rows, FLUENCY_COLUMNS)


def own(
    *,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0,),
    generations: Sequence[int] = tuple(range(6)),
    prompts: int = 128,
) -> pd.DataFrame:
    """Rows of the completions table for the fixed prompts: a few of them repeat themselves."""
    rows = [
        {
            "lineage": arm,
            "seed": seed,
            "generation": generation,
            "prompt": f"p{prompt}",
            "completion": "a text",
            "tokens": 64,
            "ended": False,
            "empty": False,
            "near_constant": False,
            "repetitive": prompt < (2 if arm == "human_only" else 2 + generation),
            "duplicate": False,
        }
        for arm in arms
        for seed in seeds
        for generation in generations
        for prompt in range(prompts)
    ]
    return typed(rows, COMPLETIONS_COLUMNS)


def typed(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """The types that the store's reader gives: nullable integers and booleans, lists, None where nothing is."""
    frame = pd.DataFrame(rows, columns=list(columns))
    kinds = {"int64": "Int64", "bool": "boolean", "float64": "float64"}
    for name, kind in columns.items():
        if kind in kinds:
            frame[name] = frame[name].astype(kinds[kind])
        else:
            frame[name] = frame[name].astype("object").where(frame[name].notna(), None)
    for name in ("seed", "generation"):
        frame[name] = frame[name].astype("int64")
    return frame


def experiment(*, generations: int = 5, seeds: Sequence[int] = (0,)) -> Experiment:
    """The experiment file that the rows would have come from."""
    return Experiment.model_validate(
        {
            "experiment": {"name": "synthetic", "seeds": list(seeds), "generations": generations},
            "arms": {
                "human_only": Arm(synthetic_fraction=0.0),
                "general": Arm(synthetic_fraction=1.0),
                "domain": Arm(synthetic_fraction=1.0, prompts={"kind": "domain", "domain": "geography"}),
            },
        }
    )


def steps(*, seeds: Sequence[int] = (0,), generations: int = 5) -> dict[tuple[str, int, int], dict[str, Manifest]]:
    """Manifests with records like the loop's."""
    found: dict[tuple[str, int, int], dict[str, Manifest]] = {}
    for arm in ARMS:
        for seed in seeds:
            for g in range(generations + 1):
                folder = Path("generation-000") if g == 0 else Path(arm, f"seed-{seed}", f"generation-{g:03d}")
                made = {"evaluate": _manifest(folder, "evaluate", {"items": 300, "formats": list(FORMATS)})}
                if g:
                    synthetic = 0 if arm == "human_only" else 512
                    made["synthesize"] = _manifest(
                        folder,
                        "synthesize",
                        {
                            "blocks": 512,
                            "human": 512 - synthetic,
                            "synthetic": synthetic,
                            "requested_synthetic_fraction": float(arm != "human_only"),
                            "achieved_synthetic_fraction": synthetic / 512,
                            "junk": {"empty": 0.0, "near_constant": 0.002, "duplicate": 0.01 * g},
                            "model": {"class": "LlamaForCausalLM", "parameters": 1_400_000, "dtype": "float32"},
                            "source": {"fact_density": 0.51 - 0.01 * g},
                        },
                    )
                    made["train"] = _manifest(
                        folder,
                        "train",
                        {
                            "identity": f"{g:064x}",
                            "steps": 32,
                            "tokens": 65_536,
                            "losses": [2.0 / (k + 1) for k in range(32)],
                            "pool": [
                                {
                                    "part": {"kind": "replace"},
                                    "in": 512,
                                    "out": 512,
                                    "requested": {"documents": 512},
                                    "achieved": {"documents": 512},
                                    "notes": [],
                                }
                            ],
                        },
                    )
                found[arm, seed, g] = made
    return found


def _manifest(folder: Path, step: str, record: Mapping[str, Any]) -> Manifest:
    return Manifest(
        folder=folder,
        step=step,
        key={"inputs": {"checkpoint": "c" * 64}},
        key_sha256="d" * 64,
        files={"x": FileEntry(bytes=1, sha256="e" * 64)},
        record=record,
        times={"seconds": 12.345, "finished": "2026-01-02T03:04:05Z"},
    )


def material(*, seeds: Sequence[int] = (0,), items: int = 300, **changed: Any) -> Material:
    """All of it together; `changed` replaces fields."""
    spec = experiment(seeds=seeds)
    fields: dict[str, Any] = {
        "settings": spec.resolved(),
        "environment": {"versions": {"factfade": "0.1.0", "torch": "2.13.0"}, "stage_rule_sha256": "ab" * 32},
        "steps": steps(seeds=seeds),
        "evidence": evidence(seeds=seeds, items=items) if "evidence" not in changed else None,
        "fluency": fluency(seeds=seeds),
        "own": own(seeds=seeds),
        "controls": {arm: spec.control_of(arm) for arm in ARMS},
        "questions": {
            f"item{i:04d}": f"What is the capital of {PLACES[i % 12]} {i // 12 + 1}?" for i in range(0, items, 2)
        },
        **changed,
    }
    if "stages" not in fields:
        tables = (fields[name] for name in ("evidence", "fluency", "own"))
        fields["stages"] = call_stages(*tables, Rule.from_section(spec.stages), controls=fields["controls"])
    return Material(**fields)

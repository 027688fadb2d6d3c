"""A whole experiment that runs in seconds: a random small model, a corpus and questions made here."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from factfade import tables
from factfade.config import Experiment, parse
from tests import tiny

ARMS: dict[str, Any] = {"human_only": {"synthetic_fraction": 0.0}, "general": {"synthetic_fraction": 1.0}}


def materials(folder: Path) -> Path:
    """Writes a model, a corpus and questions below `folder`; returns it."""
    tiny.save_llama(folder / "model")
    draw = random.Random(0)
    sentences = [line for line in tiny.TEXT.splitlines() if line]
    text = "\n\n".join(" ".join(draw.choices(sentences, k=4)) for _ in range(80))
    (folder / "corpus.txt").write_text(text, encoding="utf-8")
    cities = ["Paris", "London", "Rome", "Madrid"]
    rows = [
        {"question": f"What is city {i}?", "choices": cities, "answer": i % 4, "domain": "cities", "entity": f"e{i}"}
        for i in range(12)
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return folder


def experiment(folder: Path, **changes: Any) -> Experiment:
    """The small experiment over `materials(folder)`; `changes` are top-level sections merged in."""
    data: dict[str, Any] = {
        "experiment": {"name": "small", "generations": 2},
        "model": {"path": str(folder / "model")},
        "corpus": {"kind": "text", "path": str(folder / "corpus.txt")},
        "synthesis": {"prompt_tokens": 8, "new_tokens": 16, "blocks": 24, "batch": 8, "allow_junk": True},
        "training": {"batch": 4, "chunk_tokens": 32, "epochs": 1, "learning_rate": 1e-3},
        "evaluation": {
            "questions": [{"kind": "jsonl", "path": str(folder / "questions.jsonl")}],
            "formats": ["multiple_choice", "short_answer", "open_ended"],
            "texts": 4,
            "text_tokens": 24,
            "prompts": 8,
            "answer_tokens": 4,
            "shard_items": 6,
        },
        "arms": {name: dict(arm) for name, arm in ARMS.items()},
    }
    for section, values in changes.items():
        data[section] = {**data.get(section, {}), **values}
    return parse(data)


def numbers(root: Path) -> dict[str, Any]:
    """Everything an experiment's folder says that must not depend on time: tables, weights, records."""
    from factfade.identity import checkpoint_identity

    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue  # locks, and what an interruption left behind
        if path.suffix == ".parquet":
            kind = "evidence" if "evidence" in name else "fluency" if path.stem == "fluency" else "completions"
            found[name] = tables.read(path, kind).to_csv(index=False)
        elif path.name == "checkpoint":
            found[name] = checkpoint_identity(path)
        elif path.name in ("synthesize.json", "train.json", "evaluate.json"):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            manifest.pop("times", None)
            manifest.pop("manifest_sha256", None)  # covers the times
            manifest.get("record", {}).get("model", {}).pop("path", None)  # where the folder lies
            found[name] = manifest
        elif path.name == "human.jsonl":
            found[name] = path.read_text(encoding="utf-8")
    return found

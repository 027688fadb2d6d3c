"""A run's past for the tests of pool parts: planted documents, and real models by generation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factfade import loop, store
from factfade.models.hf import HfModel
from factfade.progress import Silent
from factfade.records import Document
from factfade.sweep import to_toml
from tests import small


@dataclass(frozen=True, kw_only=True)
class Past:
    """`models` are checkpoint folders by generation; `trained` is the one whose training this is made for."""

    generation: int = 1
    models: Mapping[int | None, Path] = field(default_factory=dict[int | None, Path])
    written: Mapping[int, Sequence[Document]] = field(default_factory=dict[int, Sequence[Document]])
    every: Mapping[int, Sequence[Document]] = field(default_factory=dict[int, Sequence[Document]])

    def human(self, *, generation: int, replaced: bool = False) -> Sequence[Document]:
        found = self.every.get(generation, ())
        origins = {document.origin for document in self.written.get(generation, ())}
        return [document for document in found if replaced or document.id not in origins]

    def completions(self, *, generation: int) -> Sequence[Document]:
        return self.written.get(generation, ())

    def checkpoint(self, *, generation: int) -> Path:
        return self.models[generation]

    def model(self, *, generation: int | None = None) -> HfModel:
        return HfModel(path=str(self.models[generation]))

    def evidence(self, *, generation: int) -> Any:
        return None

    def encode(self, text: str) -> list[int]:
        raise AssertionError("no model is open beside those that a part opens")

    def decode(self, tokens: Sequence[int]) -> str:
        raise AssertionError("no model is open beside those that a part opens")

    def blocks(self, *, count: int, generation: int, seed: int, domain: str | None = None) -> Any:
        raise AssertionError("a pool part cuts no blocks")


def document(
    name: str, *tokens: int, source: str = "synthetic", domain: str = "", text: str = "", origin: str = ""
) -> Document:
    """A document; a synthetic one is written by the start model."""
    of: Any = source
    generation = 0 if source == "synthetic" else None
    return Document(
        id=name,
        text=text,
        source=of,
        tokens=tokens or None,
        domain=domain,
        origin=origin or name,
        generation=generation,
    )


def one_generation(folder: Path, arm: Mapping[str, Any], *, generations: int = 1, **changes: Any) -> Path:
    """Runs one generation (or more) of one arm of the small experiment; the folder of the first."""
    spec = small.experiment(
        small.materials(folder),
        experiment={"generations": generations},
        evaluation={"formats": [{"kind": "open_ended"}], "items": 2, "texts": 2, "prompts": 2, "free_answers": False},
        arms={"tried": dict(arm)},
        **changes,
    )
    root = folder / "runs"
    store.create_experiment(root, toml=to_toml(spec), environment={})
    loop.run_arm(spec, "tried", 0, root, progress=Silent())
    return root / "tried" / "seed-0" / "generation-001"


def record(folder: Path, step: str) -> dict[str, Any]:
    """The record of a step of a generation."""
    return json.loads((folder / f"{step}.json").read_text(encoding="utf-8"))["record"]

"""The past of a run, read from its folder: what `protocols.History` promises to parts that need earlier generations.

Folder `generation-g` holds what training g saw: the completions that model g-1 wrote for it, and the human documents
that stood beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from factfade import synthesize, tables
from factfade.data.blocks import BlockSource
from factfade.errors import RunFailed
from factfade.protocols import Model, ModelSpec
from factfade.records import Block, Document
from factfade.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

HUMAN_FILE = "human.jsonl"
COMPLETIONS_FILE = "completions.parquet"
TRAINING_SET_FILE = "training_set.jsonl"


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """Read-only view of the generations before `generation`. `source` cuts human text; it is None in steps that only
    read what is stored. `spec` opens checkpoints, `trained_from` is the generation that the training starts from;
    `reader` is the model that is open in the step (synthesis)."""

    run: RunFolder
    generation: int
    start: Path
    source: BlockSource | None = None
    spec: Callable[[Path], ModelSpec] | None = None
    trained_from: int | None = None
    reader: Model | None = None

    def human(self, *, generation: int, replaced: bool = False) -> Sequence[Document]:
        """Human documents of one generation's training, in the order of their blocks; `replaced` adds those that a
        completion stood in for."""
        return read_human(self._folder(generation) / HUMAN_FILE, replaced=replaced)

    def completions(self, *, generation: int) -> Sequence[Document]:
        """Synthetic documents of one generation's training (written by the model of the generation before).

        A completion's domain is that of the human block that it continues.
        """
        frame = tables.read(self._folder(generation) / COMPLETIONS_FILE, "completions")
        domains = {document.id: document.domain for document in self.human(generation=generation, replaced=True)}
        found = synthesize.documents(tables.rows(frame))
        return [replace(document, domain=domains.get(document.origin, "")) for document in found]

    def checkpoint(self, *, generation: int) -> Path:
        """Folder of a generation's weights; generation 0 is the start model."""
        return self.start if generation == 0 else self._folder(generation) / "checkpoint"

    def model(self, *, generation: int | None = None) -> ModelSpec:
        """A checkpoint as a model to open; without a generation the one that this generation's training starts from."""
        wanted = self.trained_from if generation is None else generation
        if self.spec is None or wanted is None:
            raise RunFailed("a model is asked for in a step that opens none", hint="report this as a bug")
        return self.spec(self.checkpoint(generation=wanted))

    def evidence(self, *, generation: int) -> pd.DataFrame | None:
        """The stored evidence of a generation, whole; None where it is not evaluated."""
        folder = self.run.generation(0) if generation == 0 else self._folder(generation)
        if not (folder / "evaluate.json").is_file():
            return None
        return tables.read(folder / "evidence", "evidence")

    def encode(self, text: str) -> list[int]:
        """Ids of raw text by the tokenizer of the model that is open."""
        if self.source is None:
            raise RunFailed("text is to be encoded where no model is open", hint="report this as a bug")
        return list(self.source.encode(text))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ids by the tokenizer of the model that is open."""
        return self._open().decode(tokens)

    def room(self, tokens: Sequence[int]) -> int:
        """Positions of the open model that are left behind a prompt of these ids."""
        model = self._open()
        return model.context - len(model.wrap(tokens))

    def _open(self) -> Model:
        if self.reader is None:
            raise RunFailed("a model is asked for where none is open", hint="report this as a bug")
        return self.reader

    def blocks(self, *, count: int, generation: int, seed: int, domain: str | None = None) -> Sequence[Block]:
        """Human blocks of a generation: they depend on run seed, generation and domain, never on the arm."""
        if self.source is None:
            raise RunFailed("human blocks are asked for where no model is open", hint="report this as a bug")
        return self.source.blocks(count=count, generation=generation, seed=seed, domain=domain)

    def _folder(self, generation: int) -> Path:
        if not 1 <= generation <= self.generation:
            raise RunFailed(
                f"generation {generation} is not in the past of generation {self.generation}",
                hint="report this as a bug",
            )
        return self.run.generation(generation)


def human_lines(documents: Sequence[Document], *, kept: Collection[str]) -> str:
    """Human documents as JSON lines: what is stored beside the completions, so that training reads stored text only.

    All blocks' documents are stored. `kept` are the ids of those that train; a completion stands in for the others.
    """
    rows = (
        {"id": d.id, "kept": d.id in kept, "tokens": d.tokens, "domain": d.domain, "text": d.text} for d in documents
    )
    return "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)


def document_lines(documents: Sequence[Document], *, dropped: Mapping[str, tuple[Document, str]]) -> str:
    """A training set as JSON lines, with the documents that were dropped and the part that dropped each.

    Weight 0 is never trained on. What a part rewrote stands as it was trained on.
    """
    every = [(d, d.dropped_by) for d in documents] + [(d, by) for d, by in dropped.values()]
    rows = (
        {
            "id": d.id,
            "source": d.source,
            "generation": d.generation,
            "origin": d.origin,
            "domain": d.domain,
            "weight": 0.0 if by else d.weight,
            "dropped_by": by,
            "tokens": d.tokens,
            "text": d.text,
        }
        for d, by in every
    )
    return "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)


def read_human(path: Path, *, replaced: bool = False) -> list[Document]:
    """The documents that `human_lines` wrote: those that train, and with `replaced` the others too."""
    documents: list[Document] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if not (row["kept"] or replaced):
            continue
        tokens = None if row["tokens"] is None else tuple(row["tokens"])
        documents.append(
            Document(
                id=row["id"], text=row["text"], source="human", tokens=tokens, domain=row["domain"], origin=row["id"]
            )
        )
    return documents

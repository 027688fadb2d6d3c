"""Completions and human documents -> the pool parts, in the order written -> the documents that are trained on.

Every part's counts go into the record: what came in, what went out, what was asked for, what was achieved, and why
documents were dropped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factfade import store
from factfade.history import document_lines
from factfade.protocols import History, Pool
from factfade.records import Document
from factfade.store import RunFolder


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A training set and how it came about. `dropped` are documents by id, with the part that dropped each; `seconds`
    the time that the parts took."""

    documents: Sequence[Document]
    record: list[dict[str, Any]]
    dropped: Mapping[str, tuple[Document, str]]
    seconds: float

    def lines(self) -> str:
        """The training set as JSON lines, dropped documents with weight 0."""
        return document_lines(self.documents, dropped=self.dropped)


def evidence_inputs(run: RunFolder, generation: int) -> dict[str, str]:
    """Identities of the evaluations before this generation's training: inputs of a part that reads evidence."""
    folders = {k: run.generation(k) for k in range(generation)}
    return {
        f"evaluate-{k}": store.step_identity(folder, "evaluate")
        for k, folder in folders.items()
        if (folder / "evaluate.json").is_file()
    }


def mix(
    specs: Sequence[Mapping[str, Any]], parts: Sequence[Pool], history: History, *, generation: int, seed: int
) -> Pooled:
    """Runs the parts one after the other; `specs` are their settings, for the record."""
    begun = time.monotonic()
    documents: Sequence[Document] = [*history.human(generation=generation), *history.completions(generation=generation)]
    record: list[dict[str, Any]] = []
    dropped: dict[str, tuple[Document, str]] = {}
    for spec, part in zip(specs, parts, strict=True):
        mixed = part.mix(documents, history, generation=generation, seed=seed)
        left = {document.id for document in mixed.documents}
        gone = {d.id: (d, str(spec["kind"])) for d in documents if d.id not in left}
        dropped |= gone
        record.append(
            {
                "part": dict(spec),
                "in": len(documents),
                "out": len(mixed.documents),
                "requested": dict(mixed.requested),
                "achieved": dict(mixed.achieved),
                "dropped": dict(mixed.dropped),
                "costs": dict(mixed.costs),
                "notes": list(mixed.notes),
            }
        )
        documents = mixed.documents
    seconds = round(time.monotonic() - begun, 3)
    return Pooled(documents=documents, record=record, dropped=dropped, seconds=seconds)

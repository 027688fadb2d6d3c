"""Evidence of schema version 1, as files that are read for ever.

The files under golden/evidence-v1 are never changed and never written again: they are what somebody stored years ago.
A version of factfade that does not read them, or reads other values out of them, is broken.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from factfade import foreign, tables
from factfade.records import COMPLETIONS_COLUMNS, EVIDENCE_COLUMNS, FLUENCY_COLUMNS, FLUENCY_KINDS, SCHEMA_VERSION

GOLDEN = Path(__file__).resolve().parent / "golden" / "evidence-v1"
SHA256 = {
    "jsonl/completions.jsonl": "b91c4f9200898ac53dd1c15ea43ef9fcb4c4b503627ff2e8441624105d3a5c3f",
    "jsonl/evidence.jsonl": "3932af070c5bee58708b747e6aa2050915932e973bc87117470940c794e71cdf",
    "jsonl/fluency.jsonl": "3ddc8ebebc971951aabfbdf62d27a2d9f9dbe322bcdf7db40b6df588ca05141f",
    "parquet/completions.parquet": "11aa24591b83cb2bd0d7273427202f18c6e6b0c57079ba7107edd7c9ab802b96",
    "parquet/evidence.parquet": "0696bb86b291802d029ff064e4732c7336c870e114d50dfffd8a49fd7c72bbba",
    "parquet/fluency.parquet": "6994d96815d0e536f8969d4a8f02a89ccc8faa543c8985060aee71a9b3edccd8",
}
KEY = {"lineage": "general", "seed": 3, "format": "multiple_choice", "wording": "w1"}
FULL: dict[str, Any] = {
    **KEY, "generation": 0, "item": "0123456789abcdef", "checkpoint": "run/step-100", "step": 100,
    "domain": "geography", "entity": "Peru", "template": "capital", "options": ["Lima", "Quito", "São Tomé"],
    "permutation": [2, 0, 1], "gold": 0, "accepted": ["Lima", "Ciudad de los Reyes"],
    "option_logprob": [-0.25, -1.5, -7.125], "option_tokens": [1, 2, 4], "choice": 0, "choice_correct": True,
    "choice_greedy": True, "choice_confidence": 0.75, "answer": "Lima, \"the city of kings\"\n", "outcome": "correct",
    "answer_confidence": 0.5, "reason": "names an accepted answer",
    "prompt_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "template_sha256": "",
    "question": "What is the capital of Peru?",
}  # fmt: skip
EVIDENCE: list[dict[str, Any]] = [
    FULL,
    {**FULL, "generation": 1, "checkpoint": "run/step-200", "step": 200, "choice": 1, "choice_correct": False,
     "choice_greedy": False, "choice_confidence": 0.625, "option_logprob": [-2.0, -0.5, -0.0009765625],
     "answer": "", "outcome": "empty", "answer_confidence": 0.0, "reason": None},
    {**KEY, "generation": 1, "item": "fedcba9876543210", "wording": "", "choice_correct": False},
    *({**KEY, "generation": 2, "item": f"outcome-{outcome}", "format": "open_ended", "outcome": outcome}
      for outcome in ("correct", "wrong", "unparseable", "empty", "truncated", "refused", "not_asked")),
]  # fmt: skip
FLUENCY: list[dict[str, Any]] = [
    {"lineage": "general", "seed": 3, "generation": generation, "text": "text-7", "kind": kind, "domain": domain,
     "tokens": 48, "nll": 96.5 + generation}
    for generation, kind, domain in (
        (0, "held_out", "geography"), (0, "own", None), (1, "own_under_start", None), (1, "held_out", "chemistry"))
]  # fmt: skip
COMPLETIONS: list[dict[str, Any]] = [
    {"lineage": "general", "seed": 3, "generation": 0, "prompt": "block-1", "completion": "The capital is Lima.",
     "tokens": 5, "ended": True, "empty": False, "near_constant": False, "repetitive": False, "duplicate": False,
     "weight": 0.5, "dropped_by": "", "token_ids": [5, 17, 4, 99, 2]},
    {"lineage": "general", "seed": 3, "generation": 1, "prompt": "block-1", "completion": "la la la la", "tokens": 4,
     "ended": False, "empty": False, "near_constant": True, "repetitive": True, "duplicate": True, "weight": 0.0,
     "dropped_by": "junk", "token_ids": None},
    {"lineage": "general", "seed": 3, "generation": 1, "prompt": "block-2", "completion": "", "tokens": 0,
     "ended": True, "empty": True, "near_constant": False, "repetitive": False, "duplicate": False},
]  # fmt: skip
TABLES: dict[str, list[dict[str, Any]]] = {"evidence": EVIDENCE, "fluency": FLUENCY, "completions": COMPLETIONS}
COLUMNS = {"evidence": EVIDENCE_COLUMNS, "fluency": FLUENCY_COLUMNS, "completions": COMPLETIONS_COLUMNS}


@pytest.mark.parametrize("name", SHA256)
def test_the_files_are_what_they_were(name: str) -> None:
    assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == SHA256[name], "a golden file was changed"


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize("table", TABLES)
def test_the_golden_files_are_read_value_by_value(table: tables.Table, kind: str) -> None:
    found = tables.rows(tables.read(GOLDEN / kind / f"{table}.{kind}", table))
    assert len(found) == len(TABLES[table])
    for row, expected in zip(found, TABLES[table], strict=True):
        assert row == {**dict.fromkeys(row), **expected}
        assert set(COLUMNS[table]) <= set(row)


def test_the_golden_files_hold_every_column_outcome_and_kind() -> None:
    assert SCHEMA_VERSION == 1, "a new version gets golden files of its own; these stay"
    for table, rows in TABLES.items():
        used = {name for row in rows for name, value in row.items() if value is not None}
        assert set(COLUMNS[table]) <= used
    assert {row["kind"] for row in FLUENCY} == set(FLUENCY_KINDS)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_the_golden_folder_is_foreign_evidence(kind: str) -> None:
    found = foreign.open_tables(GOLDEN / kind)
    assert (len(found.evidence), len(found.fluency), len(found.own)) == (10, 4, 3)  # type: ignore[arg-type]
    assert found.notes == (
        "The table completions stands for own: its prompts are taken to be the same in every generation.",
    )

"""A JSON Lines table of facts: claims are found where they stand, and malformed lines are refused by line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import registry
from factfade.data.facttable import JsonlFacts
from factfade.errors import ConfigError, DataError
from factfade.protocols import FactTable

ROWS: list[dict[str, Any]] = [
    {"statement": "The capital of Peru is", "answers": ["Lima"], "relation": "capital", "subject": "Peru"},
    {"statement": "The capital of Kenya is", "answer": "Nairobi", "relation": "capital", "candidates": ["Mombasa"]},
    {"statement": "The river of Egypt is", "answer": "Nile", "candidates": ["Nile Delta", "Congo"], "domain": "rivers"},
    {"statement": "Gold has the number", "answer": "79", "candidates": ["7", "80"], "id": "au"},
    {"text": "Kenya lies on the equator.", "subject": "Kenya"},
]


def table(folder: Path, rows: list[dict[str, Any]]) -> JsonlFacts:
    path = folder / "facts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return JsonlFacts(path=str(path))


@pytest.fixture
def facts(tmp_path: Path) -> JsonlFacts:
    return table(tmp_path, ROWS)


def test_every_fact_is_a_sentence(facts: JsonlFacts) -> None:
    assert isinstance(facts, FactTable)
    assert [s.text for s in facts.statements()] == [
        "The capital of Peru is Lima.",
        "The capital of Kenya is Nairobi.",
        "The river of Egypt is Nile.",
        "Gold has the number 79.",
        "Kenya lies on the equator.",
    ]
    assert [(s.entity, s.domain) for s in facts.statements()][::2] == [("Peru", ""), ("", "rivers"), ("Kenya", "")]
    assert facts.statements()[3].fact == "au"


@pytest.mark.parametrize(
    ("text", "verdicts"),
    [
        ("The capital of Peru is Lima.", [True]),
        ("the CAPITAL of Peru is lima", [True]),
        ("The capital of Peru is Nairobi, they say.", [False]),  # an answer of the same relation
        ("The capital of Peru is Mombasa.", []),  # a candidate of another line alone
        ("The capital of Kenya is Mombasa.", [False]),
        ("The capital of Peru is not Lima.", []),
        ("The capital of Peru is", []),
        ("The capital of Peru is Limassol.", []),
        ("The river of Egypt is the Nile.", [True]),
        ("The river of Egypt is the Nile Delta.", [False]),  # the longest candidate
        ("Gold has the number 79.", [True]),
        ("Gold has the number 7.", [False]),
        ("Gold has the number 790.", []),
        ("Kenya lies on the equator.", []),
        ("A. The capital of Kenya is Lima. And the capital of Peru is Lima.", [False, True]),
    ],
)
def test_claims_are_read_so(facts: JsonlFacts, text: str, verdicts: list[bool]) -> None:
    assert [claim.right for claim in facts.judge(text)] == verdicts


def test_the_sentence_of_a_claim_is_where_it_stands(facts: JsonlFacts) -> None:
    text = "It rained.  So the capital of Peru is Nairobi, they say! Then the sun\nGold has the number 79\nand more"
    first, second = facts.judge(text)
    assert first.sentence == "So the capital of Peru is Nairobi, they say!"
    assert second.sentence == "Gold has the number 79"
    for claim in (first, second):
        assert text[claim.start : claim.start + len(claim.sentence)] == claim.sentence


@given(st.lists(st.sampled_from([*"Peru Kenya is of the The capital Lima Nairobi . ! \n".split(" "), ""]), max_size=40))
def test_claims_come_in_order_and_lie_in_the_text(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    """Against a slow reading with `in`: every statement with its next word, in a text of plain words."""
    facts = table(tmp_path_factory.mktemp("facts"), ROWS)
    text = " ".join(words)
    found = facts.judge(text)
    assert [claim.start for claim in found] == sorted(claim.start for claim in found)
    assert all(text[claim.start : claim.start + len(claim.sentence)] == claim.sentence for claim in found)
    plain = " ".join(word for word in text.casefold().replace("!", " ").replace(".", " ").split())
    for country, right, wrong in (("peru", "lima", "nairobi"), ("kenya", "nairobi", "lima")):
        said = [plain.count(f"the capital of {country} is {article}{right}") for article in ("", "the ", "a ")]
        lies = [plain.count(f"the capital of {country} is {article}{wrong}") for article in ("", "the ", "a ")]
        own = [claim.right for claim in found if claim.fact.casefold() == f"the capital of {country} is"]
        assert (own.count(True), own.count(False)) == (sum(said), sum(lies))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"statement": "The capital of Peru is"}], "neither choices nor answers"),
        ([{"answer": "Lima"}], "'text' is missing"),
        ([{"statement": "...", "answer": "Lima"}], "holds no word"),
        ([{"statement": "a b", "answer": "?"}], "holds no word"),
        ([{"statement": "a b", "answer": "c", "candidates": [3]}], "must be a string"),
        ([{"text": "a b"}, {"text": "a b"}], "stood in line 1 already"),
        ([{"text": "a b", "id": 1}, {"text": "c d", "id": 1}], "stood in line 1 already"),
    ],
)
def test_a_line_that_is_no_fact_is_refused(tmp_path: Path, rows: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        table(tmp_path, rows).statements()


def test_identity_follows_the_facts_and_not_the_path(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert table(tmp_path, ROWS).identity == table(tmp_path / "other", [{**r, "note": 1} for r in ROWS]).identity
    assert table(tmp_path, ROWS).identity != table(tmp_path / "other", ROWS[1:]).identity
    with pytest.raises(ConfigError, match="path is empty"):
        registry.build("facts", {"kind": "jsonl", "path": ""})


def test_hostile_text_takes_linear_time(tmp_path: Path) -> None:
    facts = table(tmp_path, [{"statement": "a " * 20 + "b", "answer": "c"}, *ROWS])
    begun = time.process_time()
    for text in ("a " * 100_000, "The capital of Peru is Lima " * 5_000, ". " * 100_000, "x" * 10**6):
        facts.judge(text)
    assert time.process_time() - begun < 10

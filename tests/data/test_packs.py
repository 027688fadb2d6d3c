"""Question packs: one file with its questions, formats and licence, as TOML and as JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factfade.data.packs import PackQuestions
from factfade.errors import DataError

TOML = """
[pack]
name = "capitals"
licence = "CC0-1.0"
formats = ["short_answer", "multiple_choice"]

[[questions]]
question = "What is the capital of France?"
choices = ["Paris", "Rome"]
answer = 0
domain = "geography"

[[questions]]
question = "Who wrote Hamlet?"
answers = ["William Shakespeare"]

[[examples]]
question = "What is the capital of Peru?"
choices = ["Lima", "Quito"]
answer = "Lima"
"""
LINES = [
    {"pack": {"name": "capitals", "licence": "CC0-1.0", "formats": ["short_answer", "multiple_choice"]}},
    {"question": "What is the capital of France?", "choices": ["Paris", "Rome"], "answer": 0, "domain": "geography"},
    {"question": "Who wrote Hamlet?", "answers": ["William Shakespeare"]},
    {"question": "What is the capital of Peru?", "choices": ["Lima", "Quito"], "answer": "Lima", "example": True},
]


def pack(folder: Path, text: str, name: str = "pack.toml") -> PackQuestions:
    (folder / name).write_text(text, encoding="utf-8")
    return PackQuestions(path=str(folder / name))


def test_both_layouts_hold_the_same_questions(tmp_path: Path) -> None:
    one = pack(tmp_path, TOML)
    other = pack(tmp_path, "".join(json.dumps(line) + "\n" for line in LINES), "pack.jsonl")
    for made in (one, other):
        assert [q.text for q in made.items()] == ["What is the capital of France?", "Who wrote Hamlet?"]
        assert [q.text for q in made.dev()] == ["What is the capital of Peru?"]
        assert made.formats() == ("short_answer", "multiple_choice")
        assert made.check()["pack"] == LINES[0]["pack"]
        assert made.check()["items"] == 2
    assert one.identity == other.identity


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[pack]", "[other]", "begins with no pack"),
        ('licence = "CC0-1.0"', "", "licence"),
        ('licence = "CC0-1.0"', 'licence = "CC0-1.0"\nlicense = "x"', "no key 'license'"),
        ("answer = 0", "answer = 7", r"\[\[questions\]\]:1: the answer 7"),
        ("[[questions]]", "[[others]]", "no question"),
        ("[pack]", "[pack", "no valid TOML"),
    ],
)
def test_a_malformed_pack_is_refused_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    made = pack(tmp_path, TOML.replace(old, new))
    with pytest.raises(DataError, match=said):
        made.check()

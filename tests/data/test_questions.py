"""Question sets: layouts, answers, draws, repetitions, and what is refused with its line."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from factfade import registry
from factfade.data import hub
from factfade.data.fields import answer_index
from factfade.data.questions import ClozeQuestions, JsonlQuestions, MmluQuestions
from factfade.errors import ConfigError, DataError, FactfadeError, NotFound

ROW = {"subject": "history", "question": "Who?", "choices": ["Ann", "Bob", "Cid", "Dan"], "answer": 1}


def lines(folder: Path, name: str, *rows: Mapping[str, Any] | str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
    return str(folder / name)


def mmlu(folder: Path, items: int = 12, subjects: tuple[str, ...] = ("history", "law")) -> str:
    rows = [ROW | {"subject": s, "question": f"{s} {i}?", "answer": i % 4} for s in subjects for i in range(items)]
    dev = [ROW | {"subject": s, "question": f" Solved {i} of {s}? "} for s in subjects for i in range(5)]
    lines(folder, "test.jsonl", *rows)
    lines(folder, "dev.jsonl", *dev)
    return str(folder)


def test_mmlu_subjects_are_domains(tmp_path: Path) -> None:
    part = MmluQuestions(path=mmlu(tmp_path))
    assert [q.domain for q in part.items()] == ["history"] * 12 + ["law"] * 12
    assert len(part.dev()) == 10
    assert part.dev()[0].text == "Solved 0 of history?"
    first = part.items()[5]
    assert (first.text, first.choices, first.answer) == ("history 5?", ("Ann", "Bob", "Cid", "Dan"), 1)
    assert part.check()["domains"] == {"history": 12, "law": 12}


def test_first_and_limit(tmp_path: Path) -> None:
    path = mmlu(tmp_path)
    first = MmluQuestions(path=path, subjects=("law",), first=3)
    assert [q.text for q in first.items()] == ["law 0?", "law 1?", "law 2?"]
    assert {q.domain for q in first.dev()} == {"law"}
    drawn = MmluQuestions(path=path, limit=5, seed=1)
    assert [q.domain for q in drawn.items()] == ["history"] * 5 + ["law"] * 5
    order = [q.text for q in MmluQuestions(path=path).items()]
    assert [order.index(q.text) for q in drawn.items()] == sorted(order.index(q.text) for q in drawn.items())
    assert drawn.items() == MmluQuestions(path=path, limit=5, seed=1).items()
    assert drawn.items() != MmluQuestions(path=path, limit=5, seed=2).items()
    with_all = MmluQuestions(path=path, limit=50)
    assert len(with_all.items()) == 24


def test_a_draw_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [ROW | {"question": f"q{i}"} for i in range(40)]
    one = JsonlQuestions(path=lines(tmp_path, "a.jsonl", *rows), limit=10)
    other = JsonlQuestions(path=lines(tmp_path, "b.jsonl", *reversed(rows)), limit=10)
    assert {q.item for q in one.items()} == {q.item for q in other.items()}
    assert [q.item for q in one.items()] != [q.item for q in other.items()]


def test_the_original_csv_folders(tmp_path: Path) -> None:
    for split, name in (("test", "test"), ("dev", "dev"), ("val", "val")):
        folder = tmp_path / split
        folder.mkdir()
        text = (
            '"Who, ""exactly""\nwas it?",Ann,Bob,Cid,Dan,B\r\nWhen?,1,2,3,4,D\n'
            if split == "test"
            else "S?,1,2,3,4,A\n"
        )
        (folder / f"law_{name}.csv").write_text(text, encoding="utf-8")
        (folder / f"art_{name}.csv").write_text("X?,1,2,3,4,C\n", encoding="utf-8")
    part = MmluQuestions(path=str(tmp_path), subjects=("law",))
    assert [(q.text, q.answer) for q in part.items()] == [('Who, "exactly"\nwas it?', 1), ("When?", 3)]
    assert [q.text for q in part.dev()] == ["S?"]
    assert [q.domain for q in MmluQuestions(path=str(tmp_path), split="validation").items()] == ["art", "law"]
    with pytest.raises(DataError, match="no subject 'lav'") as caught:
        MmluQuestions(path=str(tmp_path), subjects=("lav",)).check()
    assert "law" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("Q,1,2,3,4,E\n", "6 cells", 1), ("Q,1,2,3,A\n", "5 cells", 1), ("Q,1,2,3,4,A\nQ,1,2,3,4,\n", "6 cells", 2),
        ('Q,1,2,3,4,A\n"Q\nmore,1,2\n', "not CSV", 2), ('Q,1,2,3,4,"A"x\n', "not CSV", 1),
        ("Q,,2,3,4,A\n", "'choices'", 1),
        ('"Q\n\nx",1,2,3,4,A\nQ,1,2,3,A\n', "5 cells", 4), (" ,1,2,3,4,A\n", "'question' is blank", 1),
    ],
)  # fmt: skip
def test_malformed_csv(text: str, reason: str, line: int, tmp_path: Path) -> None:
    for split in ("test", "dev"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"law_{split}.csv").write_text(
            text if split == "test" else "S?,1,2,3,4,A\n", encoding="utf-8"
        )
    with pytest.raises(DataError) as caught:
        MmluQuestions(path=str(tmp_path)).check()
    assert reason in str(caught.value)
    assert caught.value.line == line


def test_a_folder_without_mmlu(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        MmluQuestions(path=str(tmp_path / "absent")).check()
    with pytest.raises(NotFound, match=r"neither test\.jsonl nor"):
        MmluQuestions(path=str(tmp_path)).check()
    lines(tmp_path, "test.jsonl", ROW)
    with pytest.raises(NotFound, match=r"neither dev\.jsonl nor"):
        MmluQuestions(path=str(tmp_path)).check()


def test_repetitions_are_asked_once_and_counted(tmp_path: Path) -> None:
    other = ROW | {"answer": 2}
    path = lines(tmp_path, "a.jsonl", ROW, ROW, other, ROW | {"question": " Who? "}, ROW | {"choices": ["A b", "A b"]})
    part = JsonlQuestions(path=path)
    counts = part.check()
    assert (counts["in_file"], counts["repeated"], counts["items"], counts["options_repeated"]) == (5, 2, 3, 1)
    assert len({q.item for q in part.items()}) == 3


def test_examples_that_are_asked_are_taken_out(tmp_path: Path) -> None:
    asked = lines(tmp_path, "a.jsonl", ROW, ROW | {"question": "When?"})
    solved = lines(tmp_path, "dev.jsonl", ROW | {"subject": "other"}, ROW | {"question": "Where?"})
    part = JsonlQuestions(path=asked, dev_path=solved)
    assert [q.text for q in part.dev()] == ["Where?"]
    assert part.check()["examples_left_out"] == 1


GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"question": "Q", "choices": ["a", "b"], "answer": 0}, {"choices": ("a", "b"), "answer": 0}),
    ({"question": "Q", "choices": ["x", "y"], "answer": "B"}, {"answer": 1}),
    ({"question": "Q", "choices": ["x", "y"], "answer": "b"}, {"answer": 1}),
    ({"question": "Q", "choices": ["Ann", "Bob"], "answer": " Bob "}, {"answer": 1}),
    ({"question": "Q", "choices": ["B", "C", "D"], "answer": "D"}, {"answer": 2}),
    ({"question": "Q", "choices": ["4", "2"], "answer": "2"}, {"answer": 1}),
    ({"question": "Q", "choices": ["A", "B"], "answer": "A"}, {"answer": 0}),
    ({"question": "Q", "choices": ["x", "y"], "labels": ["1", "2"], "answer_label": "2"}, {"answer": 1}),
    ({"question": "Q", "choices": ["x", "y"], "answer_label": "B"}, {"answer": 1}),
    ({"question": "Q", "answers": ["One", "Uno", "One"]}, {"accepted": ("One", "Uno"), "choices": (), "answer": None}),
    ({"question": "Q", "answer": "One", "aliases": ["Uno", "One"]}, {"accepted": ("One", "Uno")}),
    ({"question": "Q", "answer": "One", "aliases": []}, {"accepted": ("One",)}),
    ({"question": "Q", "answer": "One", "statement": "It is", "candidates": ["One", "Two"], "closed": True},
     {"statement": "It is", "candidates": ("One", "Two"), "closed": True}),
    ({"question": "Q", "answer": "One", "domain": "d", "entity": "e", "template": "t", "extra": {"x": 1}},
     {"domain": "d", "entity": "e", "template": "t"}),
    ({"question": "Q", "answer": "One", "domain": None, "id": 7}, {"domain": "mine"}),
]  # fmt: skip


@pytest.mark.parametrize(("row", "expected"), GOOD)
def test_a_line_of_json_becomes_a_question(row: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    (question,) = JsonlQuestions(path=lines(tmp_path, "a.jsonl", row), domain="mine").items()
    assert {name: getattr(question, name) for name in expected} == expected


CHOICES: dict[str, Any] = {"question": "Q", "choices": ["x", "y"]}
BAD: list[tuple[dict[str, Any] | str, str]] = [
    ({"choices": ["x", "y"], "answer": 0}, "'question' is missing"),
    ({"question": " ", "answers": ["x"]}, "'question' is blank"),
    ({"question": 5, "answers": ["x"]}, "must be a string"),
    ({"question": "Q"}, "neither choices nor answers"),
    (CHOICES, "must be an index"),
    (CHOICES | {"answer": 2}, "no index of 2 choices"),
    (CHOICES | {"answer": -1}, "no index"),
    (CHOICES | {"answer": True}, "here it is true or false"),
    (CHOICES | {"answer": 0.0}, "here it is a number"),
    (CHOICES | {"answer": "C"}, "is no choice"),
    (CHOICES | {"answer": "z"}, "is no choice"),
    (CHOICES | {"answer": "1"}, "is no choice"),
    (CHOICES | {"answer": ""}, "must be an index"),
    (CHOICES | {"answer": ["x"]}, "here it is a list"),
    ({"question": "Q", "choices": ["B", "A"], "answer": "A"}, "both a letter and the text of another"),
    ({"question": "Q", "choices": ["one", "one"], "answer": "one"}, "the text of several"),
    ({"question": "Q", "choices": ["x"], "answer": 0}, "1 choices"),
    ({"question": "Q", "choices": [str(i) for i in range(11)], "answer": 0}, "11 choices"),
    ({"question": "Q", "choices": [], "answer": 0}, "an empty list"),
    ({"question": "Q", "choices": "x, y", "answer": 0}, "must be a list"),
    ({"question": "Q", "choices": {"A": "x"}, "answer": 0}, "must be a list"),
    ({"question": "Q", "choices": ["x", 5], "answer": 0}, "must be a string, here it is a number"),
    ({"question": "Q", "choices": ["x", " "], "answer": 0}, "here it is blank"),
    ({"question": "Q", "choices": ["x", None], "answer": 0}, "here it is null"),
    (CHOICES | {"labels": ["1"], "answer_label": "1"}, "names no single choice"),
    (CHOICES | {"labels": ["1", "1"], "answer_label": "1"}, "names no single choice"),
    (CHOICES | {"answer_label": "C"}, "names no single choice"),
    ({"question": "Q", "answers": []}, "an empty list"),
    ({"question": "Q", "answers": "x"}, "must be a list"),
    ({"question": "Q", "answer": " "}, "'answer' is blank"),
    ({"question": "Q", "answer": "x", "aliases": "y"}, "must be a list"),
    ({"question": "Q", "answers": ["x"], "closed": "yes"}, "must be true or false"),
    ({"question": "Q", "answers": ["x"], "domain": 5}, "must be a string"),
    ({"question": "Q" * 100_001, "answers": ["x"]}, "longer than"),
    ({"question": "Q", "answers": ["x"], "id": "one"}, "the id 'one' stood in line 1"),
    ('{"question": "Q", "answers": ["\\ud800"]}', "lone surrogate"),
    ('{"question": "Q", "answers": ["x"', "last line is cut off"),
    ("[]", "one JSON object"),
]


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_a_malformed_line_is_refused_with_its_number(row: dict[str, Any] | str, reason: str, tmp_path: Path) -> None:
    path = lines(tmp_path, "a.jsonl", {"question": "First", "answers": ["x"], "id": "one"}, "", row)
    if "cut off" in reason:
        Path(path).write_text(Path(path).read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        JsonlQuestions(path=path).check()
    assert reason in str(caught.value)
    assert (caught.value.file, caught.value.line) == (path, 3)


def test_answer_index_by_hand() -> None:
    assert answer_index(2, ("x", "y", "z"), "f", 1) == 2
    assert answer_index("c", ("x", "y", "z"), "f", 1) == 2
    assert answer_index("z", ("x", "y", "z"), "f", 1) == 2


FACT = {"subject": "Peru", "attribute": "Lima", "prompt": "The capital of Peru is", "relation_id": "P36", "more": True}


def facts(folder: Path, *rows: object) -> str:
    (folder / "facts.json").write_text(json.dumps(list(rows), indent=1), encoding="utf-8")
    return str(folder / "facts.json")


def test_cloze_facts(tmp_path: Path) -> None:
    chad = FACT | {"subject": "Chad", "attribute": "N'Djamena", "prompt": "The capital of Chad is"}
    alone = {"subject": "Nicosia", "attribute": "Athens", "prompt": "Nicosia is a twin city of", "relation_id": "P190"}
    part = ClozeQuestions(path=facts(tmp_path, FACT, chad, alone, FACT, FACT | {"attribute": "Ciudad de los Reyes"}))
    peru, _, twin = part.items()
    assert (peru.text, peru.statement, peru.entity, peru.template) == ("", "The capital of Peru is", "Peru", "P36")
    assert peru.accepted == ("Lima", "Ciudad de los Reyes")
    assert peru.candidates == ("Ciudad de los Reyes", "Lima", "N'Djamena")
    assert (twin.candidates, peru.closed, part.dev()) == ((), False, ())
    counts = part.check()
    assert (counts["prompts_repeated"], counts["relations"], counts["without_candidates"]) == (2, 2, 1)
    one = ClozeQuestions(path=part.path, relations=("P36",), limit=1, closed=True)
    assert len(one.items()) == 1
    assert len(one.items()[0].candidates) == 3
    assert one.items()[0].closed
    with pytest.raises(DataError, match="no relation 'P1'"):
        ClozeQuestions(path=part.path, relations=("P1",)).check()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "an empty list"), ([FACT, 5], "record 2 must be"), ([FACT, {}], "record 2: the field 'prompt' is missing"),
        ([FACT | {"attribute": ""}], "record 1: the field 'attribute' is blank"),
        ([FACT | {"relation_id": 36}], "record 1: the field 'relation_id' must be a string"),
    ],
)  # fmt: skip
def test_malformed_cloze_facts(rows: list[object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        ClozeQuestions(path=facts(tmp_path, *rows)).check()
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "{}", "17", "[1, 2", '{"a": 1}\n{"b": 2}\n', '[{"prompt": NaN}]', "[" * 100_000]
)
def test_what_is_no_list_of_facts(content: str, tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"facts\.json"):
        ClozeQuestions(path=str(tmp_path / "facts.json")).check()


def test_an_error_in_a_list_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text('[\n{"a": 1},\n{"a": }\n]\n', encoding="utf-8")
    with pytest.raises(DataError) as caught:
        ClozeQuestions(path=str(tmp_path / "facts.json")).check()
    assert caught.value.line == 3


def test_identity_is_that_of_what_is_asked(tmp_path: Path) -> None:
    rows = [ROW | {"question": f"q{i}"} for i in range(9)]
    one = JsonlQuestions(path=lines(tmp_path, "a.jsonl", *rows))
    moved = JsonlQuestions(path=lines(tmp_path / "else", "b.jsonl", *rows))
    assert one.identity == moved.identity
    assert one.identity != JsonlQuestions(path=one.path, limit=8).identity
    assert one.identity != JsonlQuestions(path=one.path, dev_path=lines(tmp_path, "d.jsonl", ROW)).identity
    before = one.identity
    lines(tmp_path, "a.jsonl", *rows, ROW)
    assert one.identity != before


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "mmlu"}, {"kind": "mmlu", "path": "x", "first": 3, "limit": 3},
        {"kind": "mmlu", "path": "x", "first": 0},
        {"kind": "mmlu", "path": "x", "limit": 0}, {"kind": "mmlu", "path": "x", "split": "train"},
        {"kind": "mmlu", "path": "x", "subjects": ["law", "law"]},
        {"kind": "mmlu", "subjects": ["law"], "name": "mmlu"},
        {"kind": "jsonl"}, {"kind": "jsonl", "path": ""}, {"kind": "jsonl", "path": "x", "limit": -1},
        {"kind": "known_1000"}, {"kind": "known_1000", "path": ""}, {"kind": "jsonl", "path": "x", "paths": "y"},
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        registry.build("questions", table)


def test_building_reads_nothing() -> None:
    for table in (
        {"kind": "mmlu", "path": "no"},
        {"kind": "jsonl", "path": "no"},
        {"kind": "known_1000", "path": "no"},
    ):
        part = registry.build("questions", table)
        with pytest.raises(FactfadeError):
            part.check()


def test_mmlu_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None, str, str]] = []

    def load_dataset(name: str, subset: str | None, *, split: str, revision: str) -> list[dict[str, Any]]:
        asked.append((name, subset, split, revision))
        return [
            {"question": f"{subset} {split} {i}?", "choices": ["a", "b", "c", "d"], "answer": i % 4} for i in range(4)
        ]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    hub.commit.cache_clear()
    part = MmluQuestions(subjects=("law", "art"), revision="c" * 40, first=2)
    assert [q.text for q in part.items()] == ["law test 0?", "law test 1?", "art test 0?", "art test 1?"]
    assert len(part.dev()) == 8
    assert set(asked) == {("cais/mmlu", s, split, "c" * 40) for s in ("law", "art") for split in ("test", "dev")}


@pytest.mark.shared
def test_the_published_sets(shared_dir: Path) -> None:
    """14,042 test rows in 57 subjects, 27 of them said twice; 1,209 cloze facts in 33 relations."""
    data = shared_dir / "data"
    counts = MmluQuestions(path=str(data / "mmlu")).check()
    assert (counts["in_file"], counts["subjects"], counts["repeated"]) == (14042, 57, 27)
    first = MmluQuestions(path=str(data / "mmlu"), subjects=("world_religions",), first=100)
    assert (len(first.items()), len(first.dev())) == (100, 5)
    cloze = ClozeQuestions(path=str(data / "known-1000" / "known_1000.json")).check()
    assert (cloze["in_file"], cloze["relations"], cloze["without_candidates"]) == (1209, 33, 1)
    for name, rows in (("triviaqa", 7993), ("nq_open", 3610), ("arc_easy", 570), ("openbookqa", 500)):
        assert JsonlQuestions(path=str(data / "factqa" / f"{name}_validation.jsonl")).check()["in_file"] == rows

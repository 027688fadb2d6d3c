"""What --questions names, and that a query never rests on tested items unless it is told to, nor on them alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factfade.domain import target as targets
from factfade.domain.ranking import query_of
from factfade.domain.settings import LexicalSection
from factfade.errors import ConfigError, DataError, UsageError
from tests.domain.planted import write_mmlu


def parse(text: str, folder: Path | None = None, **changes: object) -> targets.Target:
    settings = {"mmlu": None if folder is None else str(folder), "topic": None, "source": "split"}
    return targets.parse(text, **{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture
def mmlu(tmp_path: Path) -> Path:
    return write_mmlu(tmp_path / "mmlu")


def test_a_subject_of_mmlu_has_its_untested_questions_and_those_of_the_others(mmlu: Path) -> None:
    found = parse("MMLU:holy_things", mmlu)
    assert (found.name, found.topic) == ("holy_things", "holy things")
    assert len(found.tested) == 2
    assert [q.text.split()[1] for q in found.known] == ["priest", "is", "belief"]
    assert len(found.others) == 3
    assert found.facts["left_out_as_tested"] == 1
    assert found.facts["splits"] == ["dev", "validation"]
    assert parse(f"{mmlu}:holy_things").facts == found.facts, "a folder's path names the same"


def test_no_word_that_only_tested_questions_have_is_in_the_query(mmlu: Path) -> None:
    found = parse("MMLU:holy_things", mmlu)
    query = query_of(found, "split", LexicalSection())
    assert {"temple", "priest", "worship"} <= query.keys()
    assert not {"zoram", "quell", "amarand", "founded"} & query.keys()
    everything = query_of(found, "all", LexicalSection())
    assert {"zoram", "temple"} <= everything.keys()
    assert query_of(found, "name", LexicalSection()).keys() == {"holy", "thing"}


def test_words_of_asking_weigh_less_than_words_of_the_subject(mmlu: Path) -> None:
    query = query_of(parse("MMLU:holy_things", mmlu), "split", LexicalSection(topic_weight=0))
    assert query["temple"] > query.get("called", 0.0), "the other subject's questions say it, too"
    assert max(query.values()) == 1.0


def test_topic_terms_that_other_subjects_share_are_left_out(mmlu: Path) -> None:
    rows = [json.loads(line) for line in (mmlu / "dev.jsonl").read_text().splitlines()]
    rows.append({**rows[-1], "subject": "small_things", "question": "How small is it?"})
    (mmlu / "dev.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert parse("MMLU:holy_things", mmlu).topic_terms() == ("holy",)
    assert parse("MMLU:holy_things", mmlu, topic="good things").topic_terms() == ("good",)


def test_without_a_validation_file_the_dev_split_is_used_and_said(tmp_path: Path) -> None:
    found = parse("MMLU:holy_things", write_mmlu(tmp_path, validation=False))
    assert found.facts["splits"] == ["dev"]


def test_the_world_has_its_examples(tmp_path: Path) -> None:
    found = parse("world:chemistry")
    assert found.name == "chemistry"
    assert {q.domain for q in found.tested} == {q.domain for q in found.known} == {"chemistry"}
    assert "chemistry" not in {q.domain for q in found.others} != set()
    with pytest.raises(UsageError, match="3 domains") as caught:
        parse("world")
    assert "world:DOMAIN" in caught.value.hint


def test_a_file_without_examples_has_its_topic_alone(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"question": "Who was Zoram?", "answer": "A king"}\n')
    with pytest.raises(UsageError, match="name no domain"):
        parse(str(file))
    found = parse(str(file), topic="old kings")
    assert (found.name, found.known) == ("old_kings", ())
    assert query_of(found, "split", LexicalSection()).keys() == {"old", "king"}
    with pytest.raises(UsageError, match="no untested"):
        parse(str(file), topic="old kings", source="all")


@pytest.mark.parametrize("text", ["MMLU:nothing", "MMLU:"])
def test_an_unknown_subject_is_refused(mmlu: Path, text: str) -> None:
    with pytest.raises((DataError, ConfigError)) as caught:
        parse(text, mmlu)
    assert caught.value.hint

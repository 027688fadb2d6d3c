"""Logs that Inspect wrote become the evidence that it scored; others are refused with their line."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factfade import tables
from factfade.errors import DataError, NotFound
from factfade.importers import inspect_ai

LOGS = Path(__file__).resolve().parent.parent / "golden" / "foreign" / "inspect"
QUESTIONS: list[dict[str, Any]] = json.loads((LOGS.parent / "questions.json").read_text(encoding="utf-8"))


def read(path: Path = LOGS / "generation-0", **choices: Any) -> list[dict[str, Any]]:
    return inspect_ai.read(path, lineage="mine", generation=0, **choices).rows


def log(task: str, generation: int = 0) -> tuple[Path, dict[str, Any]]:
    (file,) = (LOGS / f"generation-{generation}").glob(f"*_{task.replace('_', '-')}_*.json")
    return file, json.loads(file.read_text(encoding="utf-8"))


def changed(folder: Path, task: str, change: Callable[[dict[str, Any]], Any], *, sample: str = "one") -> Path:
    """A copy of a log in which one sample was changed by hand."""
    file, told = log(task)
    change(next(s for s in told["samples"] if s["id"] == sample and s["epoch"] == 1))
    copy = folder / file.name
    copy.write_text(json.dumps(told, indent=2), encoding="utf-8")
    return copy


def answered(path: Path, text: str) -> dict[str, Any]:
    """The row of the question that holds a text."""
    (row,) = [row for row in read(path) if text in (row.get("accepted") or ())]
    return row


# ---------------------------------------------------------------------------------------------------------------
# What the tool wrote


@pytest.mark.parametrize("generation", [0, 1])
def test_the_rows_are_evidence(generation: int) -> None:
    rows = read(LOGS / f"generation-{generation}")
    assert len(tables.from_bytes(tables.to_bytes(rows, "evidence"), "evidence", name="x.parquet")) == len(rows)
    assert Counter(row["format"] for row in rows) == {"world_choice": 8, "world_text": 6, "world_limit": 1}
    assert {row["checkpoint"] for row in rows} == {"mockllm/model"}


def test_questions_have_the_same_ids_in_every_generation_though_samples_stand_in_any_order() -> None:
    ids = [{(row["format"], row["item"], row["wording"]) for row in read(LOGS / f"generation-{g}")} for g in (0, 1)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 15


@pytest.mark.parametrize("generation", [0, 1])
def test_multiple_choice_answers_are_read_as_scored(generation: int) -> None:
    _, told = log("world_choice", generation)
    rows = {
        (row["options"][0], row["wording"]): row
        for row in read(LOGS / f"generation-{generation}")
        if row.get("options")
    }
    assert {row["wording"] for row in rows.values()} == {"epoch-1", "epoch-2"}
    for sample in told["samples"]:
        row = rows[sample["choices"][0], f"epoch-{sample['epoch']}"]
        assert row["options"] == sample["choices"]
        assert row["gold"] == "ABCD".index(sample["target"])
        assert "choice" not in row, "the model was not scored on the options' likelihoods"
        assert row["answer"] == sample["output"]["completion"]
        assert row["domain"] == sample["metadata"]["subject"]
        score = sample["scores"]["choice"]
        assert (row["outcome"] == "correct") is (score["value"] == "C")
        assert (row["outcome"] == "unparseable") is (score.get("reason") == "invalid_response_format")


def test_outcomes_of_free_answers() -> None:
    found = {}
    for generation in (0, 1):
        rows = [row for row in read(LOGS / f"generation-{generation}") if row["format"] == "world_text"]
        found[generation] = {row["accepted"][0]: (row["outcome"], row["reason"]) for row in rows}
    assert found[0] == {
        "Lima": ("correct", "scored C"),
        "Quito": ("wrong", "scored P"),
        "Fe": ("empty", "scored N"),
        "Pb": ("truncated", "stopped by max_tokens; scored I"),
        "Sn": ("refused", "stopped by content_filter; scored I"),
        "Au": ("not_asked", "error: ValueError('the sandbox is gone')"),
    }
    assert {name: outcome for name, (outcome, _) in found[1].items()} == {
        "Lima": "wrong", "Quito": "wrong", "Fe": "correct", "Pb": "correct", "Sn": "wrong", "Au": "not_asked"
    }  # fmt: skip


def test_a_limit_before_any_answer_is_not_asked() -> None:
    (row,) = read(log("world_limit")[0])
    assert (row["outcome"], row["reason"], row["answer"]) == ("not_asked", "limit: message", None)


def test_another_scorer_may_be_read() -> None:
    found = inspect_ai.read(log("world_text")[0], lineage="mine", generation=0)
    assert found.notes == ("world_text: scores of graded; left out: match.",)
    rows = {row["accepted"][0]: row for row in read(log("world_text")[0], rule="match")}
    assert rows["Fe"]["reason"] == "scored I (no_response)"
    assert rows["Fe"]["outcome"] == "empty"
    with pytest.raises(DataError, match="no sample was scored by nobody") as caught:
        read(log("world_text")[0], rule="nobody")
    assert "graded, match" in caught.value.hint


# ---------------------------------------------------------------------------------------------------------------
# Shapes that other logs have

SCORES: list[tuple[dict[str, Any], str]] = [
    ({"value": "C"}, "correct"),
    ({"value": 1}, "correct"),
    ({"value": True}, "correct"),
    ({"value": "yes"}, "correct"),
    ({"value": "1.0"}, "correct"),
    ({"value": 0.0}, "wrong"),
    ({"value": False}, "wrong"),
    ({"value": 0.75}, "wrong"),
    ({"value": "N"}, "refused"),
    ({"value": "I", "reason": "refusal"}, "refused"),
    ({"value": "I", "reason": "invalid_response_format"}, "unparseable"),
    ({"value": "I", "reason": "a reason of its own"}, "wrong"),
    ({"value": "I", "reason": "grader_failed"}, "not_asked"),
    ({"value": math.nan, "reason": "scoring_failed"}, "not_asked"),
]


@pytest.mark.parametrize(("score", "outcome"), SCORES)
def test_every_value_of_a_score(tmp_path: Path, score: dict[str, Any], outcome: str) -> None:
    file = changed(tmp_path, "world_text", lambda sample: sample["scores"].update(graded=score))
    assert answered(file, "Lima")["outcome"] == outcome


def test_an_answer_at_a_limit_is_truncated_unless_it_is_right(tmp_path: Path) -> None:
    limit = {"type": "token", "limit": 100}
    assert answered(changed(tmp_path, "world_text", lambda s: s.update(limit=limit)), "Lima")["outcome"] == "correct"
    wrong = {"limit": limit, "scores": {"graded": {"value": "I"}}}
    row = answered(changed(tmp_path, "world_text", lambda s: s.update(wrong)), "Lima")
    assert (row["outcome"], row["reason"]) == ("truncated", "limit: token")
    assert answered(changed(tmp_path, "world_text", lambda s: s.update({**wrong, "scores": None})), "Lima")[
        "outcome"
    ] == ("truncated")


def test_without_a_score_nothing_was_asked_in_the_sense_of_the_evidence(tmp_path: Path) -> None:
    row = answered(changed(tmp_path, "world_text", lambda s: s.update(scores={})), "Lima")
    assert (row["outcome"], row["reason"]) == ("not_asked", "not scored")


def test_older_logs_without_reasons(tmp_path: Path) -> None:
    def no_letter(sample: dict[str, Any]) -> None:
        sample["scores"]["choice"] = {"value": "I", "answer": "", "explanation": "I do not know."}

    file = changed(tmp_path, "world_choice", no_letter, sample="q1")
    assert Counter(row["outcome"] for row in read(file)) == {"correct": 7, "unparseable": 1}


def test_shuffled_options_and_new_message_ids_leave_the_question_what_it_is(tmp_path: Path) -> None:
    plain = {row["item"] for row in read(log("world_choice")[0])}

    def shuffle(sample: dict[str, Any]) -> None:
        sample["choices"], sample["target"] = sample["choices"][::-1], "DCBA"["ABCD".index(sample["target"])]

    rows = read(changed(tmp_path, "world_choice", shuffle, sample="q1"))
    assert {row["item"] for row in rows} == plain
    assert all(row["options"][row["gold"]] in {q["gold"] for q in QUESTIONS} for row in rows)

    def messages(name: str) -> Callable[[dict[str, Any]], None]:
        said = [{"id": name, "role": "user", "content": [{"type": "text", "text": "Capital?", "id": name}]}]
        return lambda sample: sample.update(input=said)

    items = [answered(changed(tmp_path, "world_text", messages(name)), "Lima")["item"] for name in ("x", "y")]
    assert items[0] == items[1] not in plain


def test_long_texts_are_attachments(tmp_path: Path) -> None:
    before = answered(log("world_text")[0], "Lima")

    def attach(sample: dict[str, Any]) -> None:
        sample["attachments"] = {"abc": sample["input"], "def": "Lima"}
        sample["input"] = "attachment://abc"
        sample["output"]["choices"][0]["message"]["content"] = [{"type": "text", "text": "attachment://def"}]

    after = answered(changed(tmp_path, "world_text", attach), "Lima")
    assert (after["item"], after["answer"]) == (before["item"], before["answer"])
    file = changed(tmp_path, "world_text", lambda sample: sample.update(input="attachment://gone"))
    with pytest.raises(DataError, match="attachment attachment://gone is not in the log"):
        read(file)


def test_token_probabilities_become_the_answer_s_confidence(tmp_path: Path) -> None:
    def logprobs(*values: Any) -> Callable[[dict[str, Any]], None]:
        content = [{"token": "x", "logprob": value} for value in values]
        return lambda sample: sample["output"]["choices"][0].update(logprobs={"content": content})

    row = answered(changed(tmp_path, "world_text", logprobs(math.log(0.5), math.log(0.125))), "Lima")
    assert row["answer_confidence"] == pytest.approx(0.25)
    with pytest.raises(DataError, match="no numbers up to 0"):
        read(changed(tmp_path, "world_text", logprobs(-1.0, 2.0)))


def test_a_question_that_stands_twice_is_kept_once(tmp_path: Path) -> None:
    file, told = log("world_text")
    told["samples"].append({**told["samples"][0], "id": "zz-again", "uuid": "other"})
    (tmp_path / file.name).write_text(json.dumps(told))
    found = inspect_ai.read(tmp_path, lineage="mine", generation=0)
    assert len(found.rows) == 6
    assert any("7 questions, 1 of them equal to an earlier one" in note for note in found.notes)


def test_a_log_that_was_cancelled_says_so(tmp_path: Path) -> None:
    file, told = log("world_text")
    (tmp_path / file.name).write_text(json.dumps({**told, "status": "cancelled"}))
    (tmp_path / "eval-set.json").write_text("{}")
    (tmp_path / "binary.eval").write_bytes(b"PK")
    notes = inspect_ai.read(tmp_path, lineage="mine", generation=0).notes
    assert any("cancelled, so samples may be missing" in note for note in notes)
    assert any("eval-set.json: left out" in note for note in notes)
    assert any("1 binary .eval logs are left out" in note for note in notes)


# ---------------------------------------------------------------------------------------------------------------
# What is no such log

HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no input": (lambda s: s.pop("input"), "'input' is missing"),
    "input of another type": (lambda s: s.update(input=3), "'input' must be a string or a list of messages"),
    "messages of another type": (lambda s: s.update(input=["x"]), "'input' must be a string or a list of messages"),
    "no target": (lambda s: s.pop("target"), "'target' is missing"),
    "target of another type": (lambda s: s.update(target=[1]), "'target' must be a string or a list of strings"),
    "choices of another type": (lambda s: s.update(choices="ABCD"), "'choices' must be a list of strings"),
    "epoch of another type": (lambda s: s.update(epoch="1"), "'epoch' must be a whole number"),
    "a negative epoch": (lambda s: s.update(epoch=-1), "'epoch' must be a whole number"),
    "scores of another type": (lambda s: s.update(scores=[1]), "'scores' must be an object"),
    "a score of another type": (lambda s: s["scores"].update(graded=1), "'graded' must be an object"),
    "a value of another type": (lambda s: s["scores"]["graded"].update(value={}), "score of graded is an object"),
    "a value beyond 1": (lambda s: s["scores"]["graded"].update(value=7), "the score of graded is 7"),
    "an infinite value": (lambda s: s["scores"]["graded"].update(value=math.inf), "the score of graded is inf"),
    "a word for a value": (lambda s: s["scores"]["graded"].update(value="\x1b[1m"), "score of graded is \\x1b[1m"),
    "output of another type": (lambda s: s.update(output=[]), "'output' must be an object"),
    "metadata of another type": (lambda s: s.update(metadata=1), "'metadata' must be an object"),
    "an error of another type": (lambda s: s.update(error="gone"), "'error' must be an object"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_sample_is_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    change, said = HOSTILE[name]
    file = changed(tmp_path, "world_text", lambda sample: change(sample) and None)
    with pytest.raises(DataError) as caught:
        read(file)
    assert said in caught.value.message
    assert caught.value.file == str(file)
    assert caught.value.line is not None
    around = file.read_text().splitlines()[caught.value.line - 1 :][:2]
    assert around[0].strip() == "{"
    assert around[1].strip() == '"id": "one",', "the line is that of the sample"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.pop("eval"), "'eval' is missing"),
        (lambda told: told.update(eval=[]), "'eval' must be an object"),
        (lambda told: told["eval"].pop("task"), "'task' is missing"),
        (lambda told: told.pop("samples"), "holds no samples"),
        (lambda told: told.update(samples={"a": 1}), "holds no samples"),
        (lambda told: told.update(samples=[3]), "sample 1 is no object"),
    ],
)
def test_a_hostile_log_is_refused_with_its_file(tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    file, told = log("world_text")
    change(told)
    (tmp_path / file.name).write_text(json.dumps(told))
    with pytest.raises(DataError) as caught:
        read(tmp_path / file.name)
    assert said in caught.value.message
    assert caught.value.file == str(tmp_path / file.name)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[1]", "one JSON object is expected"),
        (b'{"eval": {"task": "x"}, "samples": [{"id": ', "not JSON"),
        (b'{"eval": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"eval": "\xff"}', "not UTF-8"),
        (b'{"eval": {}, "eval": {}}', "occurs twice"),
        (b'{"eval": "\\udfff"}', "surrogate"),
        (b"PK\x03\x04 zip", "zip archive"),
        (b"", "empty"),
    ],
)
def test_hostile_bytes_are_refused_with_their_file(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "log.json"
    file.write_bytes(data)
    with pytest.raises(DataError, match=said) as caught:
        read(file)
    assert caught.value.file == str(file)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing at"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="no Inspect log in JSON"):
        read(tmp_path)
    (tmp_path / "binary.eval").write_bytes(b"PK")
    for path in (tmp_path, tmp_path / "binary.eval"):
        with pytest.raises(DataError, match="binary Inspect log") as caught:
            read(path)
        assert "inspect log convert" in caught.value.hint
    file, _ = log("world_text")
    for name in ("a.json", "b.json"):
        shutil.copy(file, tmp_path / name)
    with pytest.raises(DataError, match="two logs of the task world_text"):
        read(tmp_path)

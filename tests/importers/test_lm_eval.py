"""Logs that lm-evaluation-harness wrote become the evidence that it scored; others are refused with their line."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from factfade import tables
from factfade.errors import DataError, NotFound
from factfade.importers import lm_eval
from factfade.records import canonical_json, sha256_text

LOGS = Path(__file__).resolve().parent.parent / "golden" / "foreign" / "lm-eval"
QUESTIONS: list[dict[str, Any]] = json.loads((LOGS.parent / "questions.json").read_text(encoding="utf-8"))


def read(path: Path = LOGS / "generation-0", generation: int = 0, **choices: Any) -> list[dict[str, Any]]:
    return lm_eval.read(path, lineage="mine", generation=generation, **choices).rows


def samples(task: str, generation: int = 0) -> tuple[Path, list[dict[str, Any]]]:
    (file,) = (LOGS / f"generation-{generation}").glob(f"samples_{task}_2*.jsonl")
    return file, [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def of(rows: list[dict[str, Any]], format: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["format"] == format]


def changed(folder: Path, task: str, change: Any, *, line: int = 2) -> Path:
    """A copy of a log in which one sample was changed by hand."""
    file, logged = samples(task)
    made = change(logged[line - 1])
    logged[line - 1] = logged[line - 1] if made is None else made
    copy = folder / file.name
    copy.write_text("".join(json.dumps(sample) + "\n" for sample in logged), encoding="utf-8")
    return copy


# ---------------------------------------------------------------------------------------------------------------
# What the tool wrote


@pytest.mark.parametrize("generation", [0, 1])
def test_the_rows_are_evidence(generation: int) -> None:
    rows = read(LOGS / f"generation-{generation}", generation)
    assert len(tables.from_bytes(tables.to_bytes(rows, "evidence"), "evidence", name="x.parquet")) == len(rows)
    assert {row["generation"] for row in rows} == {generation}
    assert {row["checkpoint"] for row in rows} == {f"model-{generation}"}
    assert Counter(row["format"] for row in rows) == {
        "world_choice": 8, "world_letters": 8, "world_text": 8, "world_cloze": 3
    }  # fmt: skip


def test_questions_have_the_same_ids_in_every_generation_and_format() -> None:
    ids = {
        generation: {(r["format"], r["item"]) for r in read(LOGS / f"generation-{generation}")} for generation in (0, 1)
    }
    assert ids[0] == ids[1]
    expected = {sha256_text(canonical_json(question))[:16] for question in QUESTIONS}
    assert len(expected) == 8
    for format in ("world_choice", "world_letters", "world_text"):
        assert {item for name, item in ids[0] if name == format} == expected


@pytest.mark.parametrize("generation", [0, 1])
@pytest.mark.parametrize(("task", "rule"), [("world_choice", "acc"), ("world_choice", "acc_norm")])
def test_a_choice_is_what_the_harness_scored(generation: int, task: str, rule: str) -> None:
    file, logged = samples(task, generation)
    rows = read(file, generation, rule=rule)
    assert len(rows) == 8, "one question stands in the data set twice"
    for row, sample in zip(rows, logged, strict=False):
        logprobs = [float(response[0]) for response in sample["filtered_resps"]]
        per = [len(option) if rule == "acc_norm" else 1 for option in sample["doc"]["choices"]]
        normalised = [logprob / length for logprob, length in zip(logprobs, per, strict=True)]
        best = normalised.index(max(normalised))
        assert row["options"] == sample["doc"]["choices"]
        assert row["option_logprob"] == logprobs
        assert (row["choice"], row["gold"]) == (best, sample["doc"]["answer"])
        assert row["choice_correct"] is (sample[rule] == 1.0)
        assert row["choice_greedy"] is (sample["filtered_resps"][best][1] == "True")
        total = math.fsum(math.exp(value) for value in normalised)
        assert row["choice_confidence"] == pytest.approx(math.exp(max(normalised)) / total, rel=1e-12)
        assert row["prompt_sha256"] == sample["prompt_hash"]
        assert row["template_sha256"] == ""
        assert row["domain"] == sample["doc"]["subject"]


def test_the_rules_differ_where_the_options_are_of_different_lengths(tmp_path: Path) -> None:
    def short_one_likelier_per_character(sample: dict[str, Any]) -> None:
        # Algiers (7 characters), Antananarivo (12): the sums say the first, the means the second.
        sample["filtered_resps"] = [["-5.0", "False"], ["-6.0", "False"], ["-90.0", "False"], ["-90.0", "False"]]
        sample |= {"acc": 1.0, "acc_norm": 0.0}

    file = changed(tmp_path, "world_choice", short_one_likelier_per_character, line=1)
    by = {rule: read(file, rule=rule)[0] for rule in ("acc", "acc_norm")}
    assert [by["acc"][name] for name in ("choice", "choice_correct")] == [0, True]
    assert [by["acc_norm"][name] for name in ("choice", "choice_correct")] == [1, False]


def test_accuracy_of_the_rows_is_that_of_the_results() -> None:
    for generation in (0, 1):
        (file,) = (LOGS / f"generation-{generation}").glob("results_*.json")
        results = json.loads(file.read_text())["results"]
        rows = of(read(LOGS / f"generation-{generation}"), "world_letters")
        mean = sum(row["choice_correct"] for row in rows) / len(rows)
        assert mean == pytest.approx(results["world_letters"]["acc,none"])
    assert mean < 1, "the second model lost some"


def test_a_group_of_tasks_that_ask_alike_is_one_format_with_its_tasks_as_domains(tmp_path: Path) -> None:
    rows = of(read(), "world_letters")
    assert {row["domain"] for row in rows} == {"geography", "chemistry"}
    assert rows[0]["options"] == QUESTIONS[4]["choices"], "the options' texts, where the model chose a letter"
    folder = tmp_path / "logs"
    shutil.copytree(LOGS / "generation-0", folder)
    (results,) = folder.glob("results_*.json")
    told = json.loads(results.read_text())
    told["configs"]["world_letters_geography"]["num_fewshot"] = 5
    results.write_text(json.dumps(told))
    assert {row["format"] for row in read(folder)} >= {"world_letters_geography", "world_letters_chemistry"}
    assert {row["format"] for row in read(folder, format="all")} == {"all"}


def test_without_the_results_file_the_shape_says_what_a_task_is(tmp_path: Path) -> None:
    for file in (LOGS / "generation-0").glob("samples_*"):
        shutil.copy(file, tmp_path)
    found = lm_eval.read(tmp_path, lineage="mine", generation=0)
    whole = {(row["item"], row["format"]): row for row in read()}
    for row in found.rows:
        if row["format"].startswith("world_letters_"):
            continue
        expected = whole[row["item"], row["format"]]
        assert {**row, "checkpoint": "model-0", "template_sha256": ""} == expected
    assert sum("no results file" in note for note in found.notes) == 5


def test_free_answers_with_the_filter_s_verdict() -> None:
    strict = of(read(LOGS / "generation-1"), "world_text")
    assert strict[0]["accepted"] == ["Algiers"]
    assert {row["outcome"] for row in strict} <= {"correct", "wrong", "unparseable"}
    logged = {s["doc_id"]: s for s in samples("world_text", 1)[1] if s["filter"] == "strict-match"}
    for row, sample in zip(strict, logged.values(), strict=False):
        assert (row["outcome"] == "correct") is (sample["exact_match"] == 1.0)
        assert (row["outcome"] == "unparseable") is (sample["filtered_resps"] == ["[invalid]"])
        assert row["answer"] == sample["resps"][0][0]
        assert row["reason"] == f"strict-match: {sample['filtered_resps'][0]}"
    flexible = of(read(LOGS / "generation-1", only_filter="flexible-extract"), "world_text")
    assert {row["outcome"] for row in flexible} == {"wrong"}
    notes = lm_eval.read(LOGS / "generation-1", lineage="mine", generation=1).notes
    assert any("strict-match; left out: flexible-extract" in note for note in notes)
    assert any("9 questions, 1 of them equal to an earlier one" in note for note in notes)


def test_a_cloze_is_right_where_its_target_is_the_greedy_continuation() -> None:
    for generation in (0, 1):
        rows = of(read(LOGS / f"generation-{generation}"), "world_cloze")
        logged = samples("world_cloze", generation)[1]
        assert [row["outcome"] == "correct" for row in rows] == [sample["acc"] == 1 for sample in logged]


# ---------------------------------------------------------------------------------------------------------------
# Shapes that other tasks have


def test_an_empty_answer_is_empty(tmp_path: Path) -> None:
    def empty(sample: dict[str, Any]) -> None:
        sample |= {"resps": [[" \n"]], "filtered_resps": [""], "exact_match": 0.0}

    assert read(changed(tmp_path, "world_text", empty))[1]["outcome"] == "empty"


def test_an_answer_may_be_a_number(tmp_path: Path) -> None:
    def gsm8k(sample: dict[str, Any]) -> None:
        sample |= {"resps": [["It is 42."]], "filtered_resps": ["42"], "exact_match": 1.0}

    assert read(changed(tmp_path, "world_text", gsm8k, line=1))[0]["outcome"] == "correct"


def test_a_target_may_be_the_option_s_text(tmp_path: Path) -> None:
    file, logged = samples("world_choice")
    for sample in logged:
        sample["target"] = sample["doc"]["gold"]
    (tmp_path / file.name).write_text("".join(json.dumps(sample) + "\n" for sample in logged))
    assert [row["gold"] for row in read(tmp_path)] == [question["answer"] for question in QUESTIONS[:8]]


def test_gold_is_left_out_where_it_is_not_known(tmp_path: Path) -> None:
    file = changed(tmp_path, "world_choice", lambda sample: sample.update(target="[0, 2]"))
    found = lm_eval.read(file, lineage="mine", generation=0)
    assert {row["gold"] for row in found.rows} == {None}
    assert [row["choice_correct"] for row in found.rows] == [True] * 8
    assert any("gold is left out" in note for note in found.notes)


def test_options_that_differ_in_the_context_are_those_contexts(tmp_path: Path) -> None:
    def winogrande(sample: dict[str, Any]) -> None:
        for index, option in enumerate(sample["doc"]["choices"]):
            sample["arguments"][f"gen_args_{index}"] = {"arg_0": f"It was {option}", "arg_1": " that won."}

    row = read(changed(tmp_path, "world_choice", winogrande))[1]
    assert row["options"] == [f"It was {option}" for option in QUESTIONS[1]["choices"]]
    assert row.get("prompt_sha256") is None


def test_the_second_asking_of_mutual_information_is_left_out(tmp_path: Path) -> None:
    def twice(sample: dict[str, Any]) -> None:
        sample["filtered_resps"] += [["-1.0", "True"]] * 4
        for index in range(4):
            without = {**sample["arguments"][f"gen_args_{index}"], "arg_0": ""}
            sample["arguments"][f"gen_args_{index + 4}"] = without
        sample["acc_mutual_info"] = 1.0

    row = read(changed(tmp_path, "world_choice", twice))[1]
    assert (row["options"], len(row["option_logprob"])) == (QUESTIONS[1]["choices"], 4)


def test_nan_in_a_question_is_carried_and_has_an_id(tmp_path: Path) -> None:
    rows = [read(changed(tmp_path, "world_text", lambda s: s["doc"].update(year=math.nan)))[1] for _ in range(2)]
    assert rows[0]["item"] == rows[1]["item"] != read(samples("world_text")[0])[1]["item"]


# ---------------------------------------------------------------------------------------------------------------
# What is no such log

CHOICE: dict[str, tuple[Any, str]] = {
    "no doc": (lambda s: s.pop("doc"), "'doc' is missing"),
    "doc of another type": (lambda s: s.update(doc="text"), "'doc' must be an object"),
    "no arguments": (lambda s: s.pop("arguments"), "'arguments' is missing"),
    "fewer arguments": (lambda s: s["arguments"].pop("gen_args_3"), "do not hold the same options"),
    "arguments of numbers": (lambda s: s["arguments"]["gen_args_0"].update(arg_1=3), "do not hold the same options"),
    "no responses": (lambda s: s.pop("filtered_resps"), "'filtered_resps' is missing"),
    "responses of another type": (lambda s: s.update(filtered_resps={}), "must be a list"),
    "an infinite log-probability": (lambda s: s["filtered_resps"].__setitem__(1, ["-inf", "False"]), "option 1 of"),
    "a positive log-probability": (lambda s: s["filtered_resps"].__setitem__(1, ["3.5", "False"]), "option 1 of"),
    "a number of 9,999 digits": (lambda s: s["filtered_resps"].__setitem__(0, ["-" + "9" * 9999, "False"]), "option 0"),
    "no target": (lambda s: s.pop("target"), "'target' is missing"),
    "no metric": (lambda s: [s.pop("acc"), s.pop("acc_norm")], "without any of acc"),
    "a metric of another kind": (lambda s: s.update(acc="good"), "'acc' must be 0 or 1"),
    "a metric between": (lambda s: s.update(acc=0.5), "'acc' must be 0 or 1"),
    "NaN for a metric": (lambda s: s.update(acc=math.nan), "'acc' must be 0 or 1"),
    "a filter of another type": (lambda s: s.update(filter=["none"]), "'filter' must be a string"),
    "a list": (lambda s: [1], "one JSON object is expected"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICE)
def test_a_hostile_sample_is_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    change, said = CHOICE[name]

    def apply(sample: dict[str, Any]) -> Any:
        made = change(sample)
        return made if made == [1] else None

    file = changed(tmp_path, "world_choice", apply)
    with pytest.raises(DataError) as caught:
        read(file)
    assert said in caught.value.message
    assert (caught.value.file, caught.value.line) == (str(file), 2)


TEXT: dict[str, tuple[Any, str]] = {
    "no metric": (lambda s: s.pop("exact_match"), "no metric of right or wrong"),
    "a graded metric": (lambda s: s.update(exact_match=0.4), "'exact_match' must be 0 or 1"),
    "no response": (lambda s: s.update(resps=[]), "'resps' holds no text"),
    "responses of numbers": (lambda s: s.update(filtered_resps=[[4]]), "'filtered_resps' holds no text"),
}


@pytest.mark.parametrize("name", TEXT)
def test_a_hostile_answer_is_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    change, said = TEXT[name]
    file = changed(tmp_path, "world_text", lambda sample: change(sample) and None)
    with pytest.raises(DataError) as caught:
        read(file)
    assert said in caught.value.message
    assert (caught.value.file, caught.value.line) == (str(file), 2)


BYTES: dict[str, tuple[bytes, str]] = {
    "cut": (b'{"doc_id": 0, "doc": {"que', "not JSON"),
    "deep": (b'{"doc":' + b"[" * 100_000, "nested too deeply"),
    "not UTF-8": (b'{"doc": "\xff"}', "not UTF-8"),
    "a lone surrogate": (b'{"doc": "\\ud800"}', "surrogate"),
    "a name twice": (b'{"doc": {}, "doc": {}}', "occurs twice"),
    "an integer of 5,000 digits": (b'{"doc": ' + b"9" * 5000 + b"}", "not usable JSON"),
}


@pytest.mark.parametrize("name", BYTES)
def test_hostile_bytes_are_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    data, said = BYTES[name]
    file, _ = samples("world_choice")
    copy = tmp_path / file.name
    copy.write_bytes(file.read_bytes().splitlines(keepends=True)[0] + data + b"\n")
    with pytest.raises(DataError) as caught:
        read(copy)
    assert said in caught.value.message
    assert (caught.value.file, caught.value.line) == (str(copy), 2)
    assert len(caught.value.message) < 500


def test_a_byte_order_mark_and_windows_lines_are_passed_over(tmp_path: Path) -> None:
    file, _ = samples("world_text")
    (tmp_path / file.name).write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read(tmp_path)) == 8


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing at"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="no samples_") as caught:
        read(tmp_path)
    assert "--log_samples" in caught.value.hint
    file, _ = samples("world_choice")
    for name in (file.name, "samples_world_choice_2020-01-01T00-00-00.jsonl"):
        shutil.copy(file, tmp_path / name)
    with pytest.raises(DataError, match="two logs of the task world_choice"):
        read(tmp_path)
    with pytest.raises(DataError, match="no sample was read with the filter loose"):
        read(samples("world_text")[0], only_filter="loose")
    with pytest.raises(DataError, match="f1 is no rule"):
        read(file, rule="f1")


def test_one_run_of_a_folder_is_named_by_its_results_file(tmp_path: Path) -> None:
    for generation in (0, 1):
        for file in (LOGS / f"generation-{generation}").iterdir():
            shutil.copy(file, tmp_path)
    (results,) = (LOGS / "generation-1").glob("results_*.json")
    rows = read(tmp_path / results.name)
    assert {row["checkpoint"] for row in rows} == {"model-1"}
    assert len(rows) == 27


def test_a_damaged_results_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    shutil.copytree(LOGS / "generation-0", folder)
    (results,) = folder.glob("results_*.json")
    results.write_text(results.read_text()[:3000])
    with pytest.raises(DataError, match=r"results_.*\.json:\d+: not JSON"):
        read(folder)


@pytest.mark.parametrize(
    "value", [None, 3, "text", [1], {"world_letters": 3}, {"world_letters": [["x"]]}, {"a": ["a"]}]
)
def test_odd_groups_are_no_groups(tmp_path: Path, value: Any) -> None:
    folder = tmp_path / "logs"
    shutil.copytree(LOGS / "generation-0", folder)
    (results,) = folder.glob("results_*.json")
    told = {**json.loads(results.read_text()), "group_subtasks": value}
    results.write_text(json.dumps(told))
    assert "world_letters_geography" in {row["format"] for row in read(folder)}


def test_perplexities_are_no_answers(tmp_path: Path) -> None:
    sample = {"doc": {"page": "text"}, "target": "text", "filtered_resps": ["-120.5"], "word_perplexity": [-120.5, 9]}
    file = tmp_path / "samples_wikitext_2026-01-01T00-00-00.jsonl"
    file.write_text(json.dumps({**sample, "arguments": {"gen_args_0": {"arg_0": "text"}}, "filter": "none"}) + "\n")
    with pytest.raises(DataError, match="measures perplexity"):
        read(file)

"""Stored tables: equal rows give equal bytes, what is written is read, and a bad row is named with file and line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factfade import tables
from factfade.errors import DataError
from factfade.records import EVIDENCE_COLUMNS, OUTCOMES
from factfade.tables import Missing
from tests import fakerun

ROW: dict[str, Any] = {
    "lineage": "general", "seed": 0, "generation": 1, "item": "i", "format": "multiple_choice", "wording": "",
    "options": ["x", "y"], "permutation": [1, 0], "gold": 0, "option_logprob": [-1.0, -2.0], "option_tokens": [1, 2],
    "choice": 0, "choice_correct": True, "choice_greedy": False, "choice_confidence": 0.75, "answer": "x",
    "outcome": "correct",
}  # fmt: skip
FLUENCY: dict[str, Any] = {
    "lineage": "a", "seed": 0, "generation": 0, "text": "t", "kind": "own", "tokens": 3, "nll": 4.5
}  # fmt: skip


def jsonl(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


# ---------------------------------------------------------------------------------------------------------------
# Round trips


def test_equal_rows_give_equal_bytes() -> None:
    rows = [ROW, {**ROW, "item": "j", "extra": 1}]
    assert tables.to_bytes(rows, "evidence") == tables.to_bytes([dict(reversed(r.items())) for r in rows], "evidence")
    assert tables.to_bytes(pd.DataFrame([ROW]), "evidence") == tables.to_bytes([ROW], "evidence")


def test_the_file_carries_the_schema() -> None:
    found = pq.read_table(pa.BufferReader(tables.to_bytes([ROW], "evidence")))
    assert found.schema.metadata[b"schema_version"] == b"1"
    assert found.column_names == list(EVIDENCE_COLUMNS)
    assert {f.name: str(f.type).replace("double", "float64").replace("element: ", "") for f in found.schema} == (
        EVIDENCE_COLUMNS
    )


def test_types_of_the_data_frame(tmp_path: Path) -> None:
    bare = {name: ROW[name] for name in ("lineage", "seed", "generation", "item", "format", "wording")}
    tables.write(tmp_path / "e.parquet", [ROW, {**bare, "item": "j", "outcome": "not_asked"}], "evidence")
    frame = tables.read(tmp_path / "e.parquet", "evidence")
    assert frame["seed"].dtype == "int64"
    assert frame["gold"].dtype == "Int64"
    assert frame["choice_correct"].dtype == "boolean"
    assert frame["choice_confidence"].dtype == "float64"
    assert frame["options"].tolist() == [["x", "y"], None]
    assert frame["answer"].tolist() == ["x", None]
    assert frame["domain"].tolist() == [None, None]
    assert frame["gold"].tolist() == [0, pd.NA]
    assert frame["choice_correct"].mean() == 1.0
    assert math.isnan(frame["choice_confidence"][1])
    assert tables.rows(frame)[0] == {**dict.fromkeys(EVIDENCE_COLUMNS), **ROW}


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
whole = st.integers(-(2**53), 2**53)
rows = st.fixed_dictionaries(
    {
        "lineage": text, "seed": st.integers(0, 2**63 - 1), "generation": st.integers(0, 99),
        "item": st.text("abcdef", min_size=1), "format": st.sampled_from(["multiple_choice", "open_ended"]),
        "wording": text, "outcome": st.sampled_from(OUTCOMES),
    },
    optional={
        "answer": st.none() | text, "domain": st.none() | text, "step": st.none() | whole,
        "answer_confidence": st.none() | st.floats(0, 1), "accepted": st.none() | st.lists(text, max_size=3),
        "extra": text, "choice_greedy": st.none() | st.booleans(),
    },
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, max_size=5, unique_by=lambda row: tuple(row[k] for k in tables.LAYOUTS["evidence"].key)))
def test_what_is_written_is_read(written: list[dict[str, Any]]) -> None:
    data = tables.to_bytes(written, "evidence")
    assert tables.to_bytes(written, "evidence") == data
    read = tables.rows(tables.from_bytes(data, "evidence", name="x.parquet"))
    lines = b"\n".join(json.dumps(row).encode() for row in written)
    parsed = tables.rows(tables.from_bytes(lines, "evidence", name="x.jsonl"))
    assert len(read) == len(parsed) == len(written)
    for back in (read, parsed):
        for row, found in zip(written, back, strict=True):
            assert {name: found[name] for name in row} == row
            assert all(found[name] is None for name in found if name not in row)


def test_a_folder_of_shards_of_both_kinds_is_one_table(tmp_path: Path) -> None:
    tables.write(tmp_path / "b.parquet", [ROW], "evidence")
    jsonl(tmp_path / "a.jsonl", {"schema_version": 1}, {**ROW, "item": "j", "note": "kept"})
    (tmp_path / ".a.parquet.1.tmp").write_bytes(b"half")
    (tmp_path / "._a.jsonl").write_bytes(b"\x00")
    (tmp_path / "README.md").write_text("x")
    frame = tables.read(tmp_path, "evidence")
    assert frame["item"].tolist() == ["j", "i"]
    assert frame["note"][0] == "kept"
    assert pd.isna(frame["note"][1])


def test_foreign_parquet_types_are_taken(tmp_path: Path) -> None:
    frame = pd.DataFrame([ROW, {**ROW, "item": "j"}])
    frame["seed"] = frame["seed"].astype("int16")
    frame["format"] = frame["format"].astype("category")
    frame["gold"] = frame["gold"].astype("float64")
    frame.to_parquet(tmp_path / "e.parquet")
    assert tables.read(tmp_path / "e.parquet", "evidence")["gold"].tolist() == [0, 0]


def test_no_rows_are_a_table_too(tmp_path: Path) -> None:
    tables.write(tmp_path / "e.parquet", [], "evidence")
    frame = tables.read(tmp_path / "e.parquet", "evidence")
    assert list(frame.columns) == list(EVIDENCE_COLUMNS)
    assert len(frame) == 0
    (tmp_path / "e.jsonl").write_bytes(b"")
    assert len(tables.read(tmp_path / "e.jsonl", "evidence")) == 0


# ---------------------------------------------------------------------------------------------------------------
# Bad rows


BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"lineage": None}, "lineage is missing"),
    ({"seed": -1}, "seed is negative"),
    ({"generation": -1}, "generation is negative"),
    ({"item": ""}, "item is empty"),
    ({"outcome": "right"}, "outcome is none of"),
    ({"outcome": None, "choice_correct": None}, "neither outcome nor choice_correct"),
    ({"choice_confidence": 1.5}, r"outside \[0, 1\]"),
    ({"answer_confidence": -0.1}, r"outside \[0, 1\]"),
    ({"permutation": [0]}, "permutation has another length"),
    ({"option_logprob": [-1.0]}, "option_logprob has another length"),
    ({"option_tokens": [1, 1, 1]}, "option_tokens has another length"),
    ({"gold": 2, "choice_correct": False}, "gold points beyond"),
    ({"choice": 5, "choice_correct": False}, "choice points beyond"),
    ({"gold": -1}, "gold is negative"),
    ({"choice_correct": False}, "contradicts"),
    ({"option_logprob": [-1.0, 0.5]}, "above 0"),
    ({"option_logprob": [-1.0, None]}, "null or a number that is not finite|where list<float64>"),
]


@pytest.mark.parametrize(("change", "problem"), BAD_ROWS)
def test_a_bad_row_is_named_with_file_and_line(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    rows = [ROW, {**ROW, "item": "j"}, {**ROW, "item": "k", **change}]
    path = jsonl(tmp_path / "e.jsonl", {"schema_version": 1}, *rows)
    with pytest.raises(DataError, match=problem) as raised:
        tables.read(path, "evidence")
    assert (raised.value.file, raised.value.line) == (str(path), 4)
    schema = pa.schema([(name, tables.arrow_type(EVIDENCE_COLUMNS[name])) for name in ROW | change])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "e.parquet")
    with pytest.raises(DataError, match=problem) as raised:
        tables.read(tmp_path / "e.parquet", "evidence")
    assert raised.value.line == 3
    with pytest.raises(DataError, match=problem):
        tables.to_bytes(rows, "evidence")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("column", ["choice_confidence", "option_logprob"])
def test_numbers_that_are_not_finite_are_refused(bad: float, column: str) -> None:
    value = bad if column == "choice_confidence" else [bad, -1.0]
    with pytest.raises(DataError, match=column):
        tables.to_bytes([{**ROW, column: value}], "evidence")


BAD_LINES: list[tuple[bytes, str]] = [
    (b"{", "not a JSON object"),
    (b"[]", "not a JSON object"),
    (b"1", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b'{"a": 1} {"a": 2}', "not a JSON object"),
    (b'{"lineage": "a", "lineage": "b"}', "a name occurs twice"),
    (b'{"choice_confidence": NaN}', "NaN is not JSON"),
    (b'{"nll": Infinity}', "Infinity is not JSON"),
    (b"\x00", "not a JSON object"),
    (b'{"answer": "a\x00b"}', "not a JSON object"),
    (b'{"answer": "caf\xe9"}', "byte 15 of the line is not UTF-8"),
    ('{"answer": "x"}'.encode("utf-16"), "not UTF-8"),
    (b'{"answer": "\\ud800"}', "lone surrogate"),
    (b"[" * 100_000, "nested too deeply|not a JSON object"),
    (b'{"seed": "0"}', 'column seed has "0" where int64'),
    (b'{"seed": true}', "column seed has true where int64"),
    (b'{"seed": 0.5}', "column seed has 0.5 where int64"),
    (b'{"seed": 1e30}', "column seed has 1e\\+30 where int64"),
    (b'{"seed": 9223372036854775808}', "where int64"),
    (b'{"lineage": 1}', "column lineage has 1 where string"),
    (b'{"choice_correct": 1}', "column choice_correct has 1 where bool"),
    (b'{"options": "xy"}', "where list<string>"),
    (b'{"options": ["x", 1]}', "where list<string>"),
    (b'{"option_logprob": [-1, "a"]}', "where list<float64>"),
    (b'{"option_logprob": [-1, null]}', "where list<float64>"),
    (b'{"choice_confidence": 1e999}', "where float64"),
    (b'{"answer": "' + b"x" * (17 * 2**20) + b'"}', "more than"),
]


@pytest.mark.parametrize(("line", "problem"), BAD_LINES, ids=lambda value: str(value)[:40])
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, problem: str) -> None:
    path = jsonl(tmp_path / "e.jsonl", ROW, line)
    with pytest.raises(DataError, match=problem) as raised:
        tables.read(path, "evidence")
    assert (raised.value.file, raised.value.line) == (str(path), 2)
    assert len(str(raised.value)) < 1000


def test_byte_order_mark_line_ends_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    lines = [json.dumps({**ROW, "item": item}).encode() for item in "ab"]
    (tmp_path / "e.jsonl").write_bytes(b"\xef\xbb\xbf" + lines[0] + b"\r\n\r\n  \r\n" + lines[1])
    assert tables.read(tmp_path / "e.jsonl", "evidence")["item"].tolist() == ["a", "b"]


def test_a_pair_of_surrogate_escapes_is_text(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "e.jsonl", {**ROW, "answer": "\U0001f600"})
    assert b"\\ud83d\\ude00" in path.read_bytes()
    assert tables.read(path, "evidence")["answer"][0] == "\U0001f600"


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\x00" * 100 + b"PAR1", b"\x00" * 1000])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "e.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"e\.parquet"):
        tables.read(tmp_path / "e.parquet", "evidence")


def test_bit_flips_and_cuts_in_parquet_give_an_error_or_checked_rows(tmp_path: Path) -> None:
    import random

    whole = tables.to_bytes([ROW, {**ROW, "item": "j"}], "evidence")
    dice = random.Random(0)
    refused: list[str] = []
    for trial in range(150):
        data = bytearray(whole)
        if trial % 2:
            data = data[: dice.randrange(len(data))]
        else:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        try:
            assert len(tables.from_bytes(bytes(data), "evidence", name="e.parquet")) == 2
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all("e.parquet" in message for message in refused)


@pytest.mark.parametrize(
    ("column", "values"),
    [("seed", ["0"]), ("lineage", [1]), ("options", ["x"]), ("choice_correct", [1]), ("gold", ["0"])],
)
def test_a_column_of_another_kind_is_refused(tmp_path: Path, column: str, values: list[Any]) -> None:
    pd.DataFrame([ROW]).assign(**{column: values}).to_parquet(tmp_path / "e.parquet")
    with pytest.raises(DataError, match=f"column {column} has type"):
        tables.read(tmp_path / "e.parquet", "evidence")


def test_a_column_of_numbers_with_a_fraction_does_not_become_whole(tmp_path: Path) -> None:
    pd.DataFrame([ROW]).assign(generation=[0.5]).to_parquet(tmp_path / "e.parquet")
    with pytest.raises(DataError, match="generation does not fit int64"):
        tables.read(tmp_path / "e.parquet", "evidence")


def test_a_required_column_that_is_absent_is_said(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "e.jsonl", {k: v for k, v in ROW.items() if k != "wording"})
    with pytest.raises(DataError, match="wording is missing"):
        tables.read(path, "evidence")


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "e.jsonl", {"schema_version": 2}, ROW)
    with pytest.raises(DataError, match="schema version 2"):
        tables.read(path, "evidence")
    found = pa.Table.from_pylist([ROW]).replace_schema_metadata({"schema_version": "2"})
    pq.write_table(found, tmp_path / "e.parquet")
    with pytest.raises(DataError, match="schema version 2"):
        tables.read(tmp_path / "e.parquet", "evidence")


def test_a_row_that_does_not_convert_is_named_on_writing() -> None:
    with pytest.raises(DataError, match=r"rows:2: column gold has 'x' where int64"):
        tables.to_bytes([ROW, {**ROW, "item": "j", "gold": "x"}], "evidence")
    with pytest.raises(DataError, match=r"rows:2: column extra"):
        tables.to_bytes([{**ROW, "extra": 1}, {**ROW, "item": "j", "extra": "x"}], "evidence")


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"kind": "other"}, "kind is none of"), ({"tokens": -1}, "tokens is negative"), ({"nll": None}, "nll is missing")],
)
def test_fluency_rows_are_checked(change: dict[str, Any], problem: str) -> None:
    assert len(tables.from_bytes(tables.to_bytes([FLUENCY], "fluency"), "fluency", name="f.parquet")) == 1
    with pytest.raises(DataError, match=problem):
        tables.to_bytes([{**FLUENCY, **change}], "fluency")


def test_completions_rows_are_checked() -> None:
    rows = list(fakerun.completions("a", 0, 0))
    assert tables.rows(tables.from_bytes(tables.to_bytes(rows, "completions"), "completions", name="c.parquet"))
    with pytest.raises(DataError, match="weight is negative"):
        tables.to_bytes([{**rows[0], "weight": -1.0}], "completions")
    with pytest.raises(DataError, match="ended is missing"):
        tables.to_bytes([{**rows[0], "ended": None}], "completions")


# ---------------------------------------------------------------------------------------------------------------
# Keys and completeness


def test_the_same_row_twice_names_both_places(tmp_path: Path) -> None:
    tables.write(tmp_path / "a.parquet", [{**ROW, "item": "j"}, ROW], "evidence")
    jsonl(tmp_path / "b.jsonl", {**ROW, "item": "k"}, ROW)
    with pytest.raises(DataError, match="the same row twice") as raised:
        tables.read(tmp_path, "evidence")
    assert (raised.value.file, raised.value.line) == (str(tmp_path / "b.jsonl"), 2)
    assert f"{tmp_path / 'a.parquet'}:2" in str(raised.value)
    with pytest.raises(DataError, match="the same row twice"):
        tables.to_bytes([ROW, ROW], "evidence")


@pytest.mark.parametrize("column", tables.LAYOUTS["evidence"].key)
def test_rows_that_differ_in_one_key_column_are_different(column: str) -> None:
    other = {**ROW, column: 7 if column in ("seed", "generation") else "other"}
    assert tables.to_bytes([ROW, other], "evidence")


def frame(*rows: tuple[int, str, str, str]) -> pd.DataFrame:
    """(generation, format, wording, item)"""
    return pd.DataFrame(
        [{"lineage": "a", "seed": 0, "generation": g, "format": f, "wording": w, "item": i} for g, f, w, i in rows]
    )


def test_missing_questions_are_listed() -> None:
    evidence = frame(
        (0, "mc", "", "i"), (0, "mc", "", "j"), (1, "mc", "", "i"), (2, "mc", "", "j"), (2, "mc", "", "i"),
        (0, "open", "w1", "i"), (0, "open", "w2", "i"), (2, "open", "w1", "i"),
    )  # fmt: skip
    missing = [
        Missing(lineage="a", seed=0, format="mc", generation=1, wording="", item="j"),
        Missing(lineage="a", seed=0, format="open", generation=2, wording="w2", item="i"),
    ]
    assert tables.missing_items(evidence) == missing
    with pytest.raises(DataError, match=r"2 questions are missing.*item j \(mc\) in generation 1 of a"):
        tables.require_complete(evidence)
    with pytest.raises(DataError, match="1 questions"):
        tables.require_complete(evidence, declared=missing[:1])
    tables.require_complete(evidence, declared=missing)


def test_a_format_that_is_not_evaluated_in_a_generation_is_not_missing() -> None:
    assert tables.missing_items(frame((0, "mc", "", "i"), (0, "open", "", "i"), (1, "mc", "", "i"))) == []
    assert tables.missing_items(tables.combine([], "evidence")) == []

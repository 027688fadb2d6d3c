"""Tables of other tools: what a path holds is found, what is missing is said, and a hostile file is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factfade import foreign, tables
from factfade.errors import DataError, NotFound
from tests import planted

ROW: dict[str, Any] = {
    "lineage": "a", "seed": 0, "generation": 0, "item": "i", "format": "f", "wording": "", "outcome": "correct"
}  # fmt: skip
EVIDENCE, FLUENCY, OWN = planted.tables(
    {"arm": planted.World(), "control": planted.World()}, items=4, prompts=3, generations=range(2)
)


def jsonl(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows) + b"\n")
    return path


def with_item(name: str) -> dict[str, Any]:
    return {**ROW, "item": name}


# ---------------------------------------------------------------------------------------------------------------
# What a path holds


def test_one_file_is_evidence(tmp_path: Path) -> None:
    found = foreign.open_tables(jsonl(tmp_path / "mine.jsonl", ROW))
    assert found.evidence["item"].tolist() == ["i"]
    assert (found.fluency, found.own, found.controls) == (None, None, {})
    assert [note.split(":")[0] for note in found.notes] == [
        "There is no table fluency",
        "There is no table own or completions",
    ]


def test_a_folder_of_shards_is_evidence(tmp_path: Path) -> None:
    jsonl(tmp_path / "part-1.jsonl", with_item("j"))
    tables.write(tmp_path / "part-0.parquet", [ROW], "evidence")
    (tmp_path / "README.md").write_text("not a table")
    jsonl(tmp_path / ".part-2.jsonl", b"half")
    assert foreign.open_tables(tmp_path).evidence["item"].tolist() == ["i", "j"]


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "folder"])
@pytest.mark.parametrize("own", ["own", "completions"])
def test_tables_by_name(tmp_path: Path, kind: str, own: str) -> None:
    for name, frame in (("evidence", EVIDENCE), ("fluency", FLUENCY), (own, OWN)):
        table: tables.Table = "completions" if name == own else name  # type: ignore[assignment]
        if kind == "jsonl":
            jsonl(tmp_path / f"{name}.jsonl", {"schema_version": 1}, *tables.rows(frame))
        else:
            folder = tmp_path / name if kind == "folder" else tmp_path
            folder.mkdir(exist_ok=True)
            tables.write(folder / ("part-0.parquet" if kind == "folder" else f"{name}.parquet"), frame, table)
    found = foreign.open_tables(tmp_path)
    assert (len(found.evidence), len(found.own)) == (len(EVIDENCE), len(OWN))  # type: ignore[arg-type]
    assert found.fluency is not None
    assert found.fluency["nll"].tolist() == FLUENCY["nll"].tolist()
    assert [note[:31] for note in found.notes] == ([] if own == "own" else ["The table completions stands fo"])


def test_one_table_in_several_files(tmp_path: Path) -> None:
    jsonl(tmp_path / "evidence-1.jsonl", ROW)
    jsonl(tmp_path / "evidence-2.jsonl", with_item("j"))
    jsonl(tmp_path / "evidence" / "x.jsonl", with_item("k"))
    jsonl(tmp_path / "notes.jsonl", {"another": "thing"})
    found = foreign.open_tables(tmp_path)
    assert sorted(found.evidence["item"]) == ["i", "j", "k"]
    assert any("notes.jsonl" in note for note in found.notes), "what is left out is said"


def test_the_same_row_in_two_files_is_refused_with_both(tmp_path: Path) -> None:
    jsonl(tmp_path / "evidence.jsonl", ROW)
    tables.write(tmp_path / "evidence.parquet", [ROW], "evidence")
    with pytest.raises(DataError, match=r"evidence\.parquet:1: the same row twice .*evidence\.jsonl:1") as caught:
        foreign.open_tables(tmp_path)
    assert "np.int64" not in caught.value.message


def test_own_goes_before_completions(tmp_path: Path) -> None:
    jsonl(tmp_path / "evidence.jsonl", ROW)
    tables.write(tmp_path / "own.parquet", OWN, "completions")
    tables.write(tmp_path / "completions.parquet", OWN[:1], "completions")
    found = foreign.open_tables(tmp_path)
    assert found.own is not None
    assert len(found.own) == len(OWN)
    assert any("trained on are not read" in note for note in found.notes)


def test_fluency_that_no_stage_reads_is_said(tmp_path: Path) -> None:
    jsonl(tmp_path / "evidence.jsonl", ROW)
    tables.write(tmp_path / "fluency.parquet", FLUENCY[FLUENCY["kind"] == "held_out"], "fluency")
    assert any("own_under_start" in note for note in foreign.open_tables(tmp_path).notes)


def test_nothing_there_is_said_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing at"):
        foreign.open_tables(tmp_path / "none")
    with pytest.raises(DataError, match=r"no \.parquet and no \.jsonl"):
        foreign.open_tables(tmp_path)
    tables.write(tmp_path / "fluency.parquet", FLUENCY, "fluency")
    with pytest.raises(DataError, match="fluency, but no evidence"):
        foreign.open_tables(tmp_path)
    with pytest.raises(DataError, match="holds no row"):
        foreign.open_tables(jsonl(tmp_path / "e.jsonl", {"schema_version": 1}))
    (tmp_path / "e.csv").write_text("a,b")
    with pytest.raises(DataError, match=r"a \.parquet or a \.jsonl file"):
        foreign.open_tables(tmp_path / "e.csv")


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "evidence.jsonl")
    with pytest.raises(DataError, match="no regular file"):
        foreign.open_tables(tmp_path / "evidence.jsonl")
    with pytest.raises(DataError, match=r"no \.parquet"):
        foreign.open_tables(tmp_path)


def test_a_control_is_that_of_every_other_lineage(tmp_path: Path) -> None:
    tables.write(tmp_path / "evidence.parquet", EVIDENCE, "evidence")
    assert foreign.open_tables(tmp_path, control="control").controls == {"arm": "control", "control": None}
    with pytest.raises(NotFound, match="no lineage nobody") as caught:
        foreign.open_tables(tmp_path, control="nobody")
    assert "arm, control" in caught.value.hint


# ---------------------------------------------------------------------------------------------------------------
# Hostile files

ONE = json.dumps(ROW).encode()


def more(text: str) -> bytes:
    """The row as a line with one member more, of any text."""
    return ONE[:-1] + b"," + text.encode("utf-8", "surrogateescape") + b"}"


HOSTILE: dict[str, tuple[bytes, str]] = {
    "deep": (more('"x":' + "[" * 100_000 + "]" * 100_000), "nested too deeply"),
    "deep in a known column": (more('"options":' + "[" * 500 + "]" * 500), "column options"),
    "nan": (more('"choice_confidence":NaN'), "NaN"),
    "infinity": (more('"choice_confidence":1e999'), "column choice_confidence"),
    "infinity in an unknown column": (more('"x":-1e999'), "column x is not a finite number"),
    "huge integer": (more('"gold":' + "9" * 30), "column gold"),
    "huge integer in an unknown column": (more('"x":' + "9" * 30), "column x"),
    "integer of 5,000 digits": (more('"x":' + "9" * 5000), "not a JSON object"),
    "text for a number": (json.dumps({**ROW, "seed": "0"}).encode(), "column seed"),
    "truth for a number": (json.dumps({**ROW, "seed": True}).encode(), "column seed"),
    "number for a list": (more('"options":3'), "column options"),
    "mixed list": (more('"options":["a",1]'), "column options"),
    "negative generation": (json.dumps({**ROW, "generation": -1}).encode(), "negative"),
    "unknown outcome": (json.dumps({**ROW, "outcome": "\x1b[31mfine"}).encode(), "outcome is none of"),
    "name twice": (more('"item":"j"'), "occurs twice"),
    "not UTF-8": (ONE.replace(b'"i"', b'"\xff"'), "not UTF-8"),
    "UTF-16": (ONE.decode().encode("utf-16"), "not UTF-8"),
    "lone surrogate": (ONE.replace(b'"i"', b'"\\ud800"'), "surrogate"),
    "cut": (ONE[:40], "not a JSON object"),
    "no object": (b"[1]", "not a JSON object"),
    "no item": (json.dumps({k: v for k, v in ROW.items() if k != "item"}).encode(), "column item"),
    "nothing answered": (json.dumps({**ROW, "outcome": None}).encode(), "neither outcome nor choice_correct"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_is_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    line, said = HOSTILE[name]
    file = jsonl(tmp_path / "e.jsonl", with_item("first"), b"", line)
    with pytest.raises(DataError) as caught:
        foreign.open_tables(file)
    error = caught.value
    assert said in error.message
    assert (error.file, error.line) == (str(file), 3)
    assert len(error.message) < 600
    assert "\x1b" not in error.render()


def test_a_byte_order_mark_and_windows_lines_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "e.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + ONE + b"\r\n\r\n" + json.dumps(with_item("j")).encode() + b"\r\n")
    assert foreign.open_tables(file).evidence["item"].tolist() == ["i", "j"]


def test_values_of_another_kind_than_before_name_their_line(tmp_path: Path) -> None:
    rows = [{**with_item(str(n)), "x": value} for n, value in enumerate([1, None, 2, "three", 4])]
    with pytest.raises(DataError, match="column x") as caught:
        foreign.open_tables(jsonl(tmp_path / "e.jsonl", *rows))
    assert caught.value.line == 4


NOT_UTF8 = pa.Array.from_buffers(  # type: ignore[call-overload]
    pa.string(), 1, [None, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe")]
)
COLUMNS: dict[str, tuple[str, Any]] = {
    "text that is not UTF-8": ("item", NOT_UTF8),
    "unknown text that is not UTF-8": ("x", NOT_UTF8),
    "bytes": ("item", pa.array([b"i"])),
    "a broken number": ("seed", pa.array([0.5])),
    "a number too large": ("gold", pa.array([2**64 - 1], pa.uint64())),
    "a time": ("generation", pa.array([1], pa.timestamp("s"))),
    "not a number": ("choice_confidence", pa.array([float("nan")])),
    "a null in a list": ("options", pa.array([[None]], pa.list_(pa.string()))),
    "lists of lists": ("options", pa.array([[["a"]]])),
    "a date beyond dates": ("x", pa.array([2**30], pa.date32())),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_hostile_column_is_refused_with_its_file(tmp_path: Path, name: str) -> None:
    column, values = COLUMNS[name]
    table = pa.Table.from_pylist([ROW])
    if column in table.column_names:
        table = table.drop_columns([column])
    pq.write_table(table.append_column(column, values), tmp_path / "e.parquet")
    with pytest.raises(DataError) as caught:
        foreign.open_tables(tmp_path / "e.parquet")
    assert caught.value.file == str(tmp_path / "e.parquet")


def test_a_damaged_parquet_file_never_crashes(tmp_path: Path) -> None:
    data = tables.to_bytes([with_item(str(n)) for n in range(20)], "evidence")
    file = tmp_path / "e.parquet"
    refused = 0
    for cut in range(0, len(data), max(1, len(data) // 60)):
        for damaged in (data[:cut], data[:cut] + bytes([data[cut] ^ 0x55]) + data[cut + 1 :]):
            file.write_bytes(damaged)
            try:
                foreign.open_tables(file)
            except DataError:
                refused += 1
    assert refused > 60

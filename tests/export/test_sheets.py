"""Sheets: typed, safe in a spreadsheet, and equal when they are read back."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.errors import DataError
from factfade.export import sheets

COLUMNS = {"name": "text", "count": "int", "value": "float", "flag": "bool"}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROWS = st.lists(
    st.tuples(
        TEXTS | st.sampled_from(["=1+1", "-1", "+x", "@a", "\tx", "\rx", "'", "''=", "NA", "", "a,b", 'say "x"', "\n"]),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.booleans(),
    ),
    max_size=6,
)


@given(rows=ROWS)
def test_csv_and_parquet_read_back_equal(rows: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory) -> None:
    made = sheets.sheet("one", COLUMNS, rows)
    folder = tmp_path_factory.mktemp("sheet")
    for name, data in (("one.csv", sheets.to_csv(made)), ("one.parquet", sheets.to_parquet(made))):
        (folder / name).write_bytes(data)
        back = sheets.read(folder / name, COLUMNS)
        pd.testing.assert_frame_equal(back.frame, made.frame, check_exact=True)


@given(rows=ROWS)
def test_no_text_cell_begins_as_a_formula(rows: list[tuple[Any, ...]]) -> None:
    data = sheets.to_csv(sheets.sheet("one", COLUMNS, rows)).decode()
    for row, given_row in zip(list(csv.reader(io.StringIO(data, newline="")))[1:], rows, strict=True):
        assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        assert row[0].removeprefix("'") == given_row[0].removeprefix("'") or row[0][1:] == given_row[0]


def test_numbers_keep_their_minus_sign_and_their_digits() -> None:
    made = sheets.sheet("one", COLUMNS, [("-1", -3, -0.1, True), ("x", None, None, None), ("", 0, 1e-300, False)])
    assert sheets.to_csv(made).decode().splitlines() == [
        '"name","count","value","flag"', '"\'-1",-3,-0.1,True', '"x",,,', '"",0,1e-300,False',
    ]  # fmt: skip


def test_columns_are_typed_for_pandas() -> None:
    made = sheets.sheet("one", COLUMNS, [("a", 1, 0.5, True), (None, None, math.nan, None)])
    assert [str(kind) for kind in made.frame.dtypes] == ["object", "Int64", "float64", "boolean"]
    assert made.frame["name"].tolist() == ["a", ""]
    read = pd.read_parquet(io.BytesIO(sheets.to_parquet(made)))
    assert read["value"].dtype == "float64"
    assert read["count"].tolist()[0] == 1


def test_equal_sheets_have_equal_bytes() -> None:
    one, two = (sheets.sheet("one", COLUMNS, [("a", 1, 0.5, True)]) for _ in range(2))
    assert sheets.to_parquet(one) == sheets.to_parquet(two)
    assert sheets.to_csv(one) == sheets.to_csv(two)


@pytest.mark.parametrize(
    "text",
    ['"name","count","value"\n"a",1,1.0\n', '"name","count","value","flag"\n"a",x,1.0,True\n',
     '"name","count","value","flag"\n"a",1,1.0,yes\n', '"name","count","value","flag"\n"a",1\n', '"name'],
)  # fmt: skip
def test_what_is_no_sheet_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "one.csv").write_text(text)
    with pytest.raises(DataError, match=r"one\.csv"):
        sheets.read(tmp_path / "one.csv", COLUMNS)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.parquet").write_bytes(b"PAR1nonsense")
    with pytest.raises(DataError, match="parquet"):
        sheets.read(tmp_path / "one.parquet", COLUMNS)

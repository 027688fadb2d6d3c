"""What was run, told from settings and manifests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.report import record
from tests.report import synthetic


def rows_of(caption: str, environment: dict[str, Any] | None = None) -> list[dict[str, str]]:
    tables = record.tables(synthetic.experiment().resolved(), environment or {}, synthetic.steps())
    table = next(t for t in tables if t.caption == caption)
    return [dict(zip(table.head, row, strict=True)) for row in table.rows]


def test_mixes_show_requested_and_achieved_for_every_training() -> None:
    rows = rows_of("Requested and achieved mixes")
    assert len(rows) == 3 * 5
    general = [row for row in rows if row["arm"] == "general"]
    assert [row["training"] for row in general] == ["1", "2", "3", "4", "5"]
    assert general[4]["synthetic"] == "512"
    assert (general[4]["synthetic, requested"], general[4]["achieved"]) == ("100.0%", "100.0%")
    assert general[4]["duplicate"] == "5.0%"
    # Shares of nothing are no zeros.
    assert next(row for row in rows if row["arm"] == "human_only")["empty"] == "–"  # noqa: RUF001


def test_densities_stand_once_where_all_generations_agree() -> None:
    steps = synthetic.steps()
    assert len(record.densities({}, steps).rows) == 3 * 5
    same = {place: found for place, found in steps.items() if place[2] == 1}
    again = {(arm, seed, g): found for (arm, seed, _), found in same.items() for g in (1, 2)}
    assert [row[:3] for row in record.densities({}, again).rows] == [(arm, "0", "all") for arm in synthetic.ARMS]
    assert record.densities({"corpora": {"density": {"facts": 0.5}}}, {}).rows == (("(experiment)", "", "", "0.5"),)


def test_settings_are_resolved_decoding_included() -> None:
    rows = {row["setting"]: row["value"] for row in rows_of("Synthesis settings, decoding included")}
    assert rows["decoding.temperature"] == "1"
    assert rows["blocks"] == "512"
    assert "system" not in rows


def test_the_start_model_stands_once() -> None:
    starts = [row for row in rows_of("Identities") if row["arm"] == "(start model)"]
    assert [row["step"] for row in starts] == ["evaluate"]


def test_equal_values_of_all_generations_stand_once() -> None:
    rows = {row["key"]: row for row in rows_of("Record of train: general, seed 0")}
    assert rows["steps"]["every generation"] == "32"
    assert rows["steps"]["generation 3"] == ""
    assert rows["identity"]["every generation"] == ""
    assert rows["identity"]["generation 3"].endswith("3")


def test_an_arm_says_what_it_is() -> None:
    settings = synthetic.experiment().resolved()
    facts = dict(record.arm_facts(settings, "domain", None, is_control=False))
    assert facts["prompts"] == "domain (domain = geography)"
    assert facts["control"] == "none of its own"
    assert dict(record.arm_facts(settings, "human_only", None, is_control=True))["control"] == "is one"
    assert record.arm_facts({}, "audited", None, is_control=False) == (("control", "none of its own"),)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), plain, max_size=4))
def test_any_record_becomes_text(mapping: dict[str, Any]) -> None:
    for key, shown in record.flat(mapping):
        assert isinstance(key, str)
        assert isinstance(shown, str)


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        (True, "yes"),
        (1234567, "1,234,567"),
        (7e-4, "0.0007"),
        ([1.0] * 9, "9 values: 1, 1 … 1, 1"),
        ({"kind": "domain"}, "kind = domain"),
        ("x" * 500, "x" * 160 + "… (500 characters)"),
    ],
)
def test_values_are_short(given_: Any, shown: str) -> None:
    assert record.value(given_) == shown

"""Keys and differences of settings: every change is found and named, equal settings have no difference."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from factfade.errors import SettingsChanged
from factfade.keys import ABSENT, Difference, StepKey, check_settings, normalised, refuse, sha256_of

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
settings = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
tables = st.dictionaries(names, settings, max_size=4)


@given(tables)
def test_settings_do_not_differ_from_themselves(value: dict[str, Any]) -> None:
    assert check_settings(value, copy.deepcopy(value)) == []
    assert sha256_of(value) == sha256_of(dict(reversed(value.items())))
    assert normalised(normalised(value)) == normalised(value)


@given(tables, tables)
def test_no_difference_means_one_hash_and_the_other_way_round(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert (check_settings(old, new) == []) == (sha256_of(old) == sha256_of(new))


@given(tables, tables)
def test_differences_are_mirrored(old: dict[str, Any], new: dict[str, Any]) -> None:
    there = check_settings(old, new)
    back = check_settings(new, old)
    assert [(d.path, d.old, d.new) for d in there] == [(d.path, d.new, d.old) for d in back]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for name, part in value.items() for leaf in leaves(part, (*path, name))]
    return [path]


@given(tables, st.data())
def test_one_planted_change_is_the_one_difference(old: dict[str, Any], data: st.DataObject) -> None:
    old = normalised(old)
    paths = [path for path in leaves(old) if path]
    assume(paths)
    path = data.draw(st.sampled_from(paths))
    new = copy.deepcopy(old)
    at = new
    for name in path[:-1]:
        at = at[name]
    before, at[path[-1]] = at[path[-1]], "planted \x1b value"
    assume(before != "planted \x1b value")
    (found,) = check_settings(old, new)
    assert (found.old, found.new) == (before, "planted \x1b value")
    assert found.texts()[2].isprintable()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("a.b", 1, 2)]),
        ({"a": 1}, {}, [("a", 1, ABSENT)]),
        ({}, {"a": {"b": 1}}, [("a", ABSENT, {"b": 1})]),
        ({"seeds": [0, 1]}, {"seeds": [0, 1, 2]}, [("seeds", [0, 1], [0, 1, 2])]),
        ({"pool": [{"k": "x", "keep": 0.5}]}, {"pool": [{"k": "x", "keep": 0.25}]}, [("pool[0].keep", 0.5, 0.25)]),
        ({"pool": [{"k": "x"}]}, {"pool": []}, [("pool", [{"k": "x"}], [])]),
        ({"a.b": 1}, {"a.b": 2}, [('"a.b"', 1, 2)]),
        ({"a": True}, {"a": 1}, [("a", True, 1)]),
        ({"a": [True]}, {"a": [1]}, [("a", [True], [1])]),
        ({"a": 1}, {"a": "1"}, [("a", 1, "1")]),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": (1, 2)}, {"a": [1, 2]}, []),
        ({"a": None}, {}, []),
    ],
)
def test_differences_are_named(old: Any, new: Any, expected: list[tuple[str, Any, Any]]) -> None:
    assert check_settings(old, new) == [Difference(path=p, old=o, new=n) for p, o, n in expected]


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Knobs:
    rate: float
    where: Path
    colour: Colour
    extra: None = None


def test_objects_become_plain_data() -> None:
    knobs = Knobs(rate=2.0, where=Path("a/b"), colour=Colour.RED)
    assert normalised({"k": knobs, "s": {"b", "a"}}) == {
        "k": {"rate": 2, "where": "a/b", "colour": "red"},
        "s": ["a", "b"],
    }
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="setting"):
            normalised({"a": bad})
    for strange in (object(), b"bytes", {1: 2}):
        with pytest.raises(TypeError):
            normalised(strange)


BASE: dict[str, Any] = {
    "version": 1, "settings": {"rate": 1e-3}, "inputs": {"checkpoint": "ab"}, "seed": 0, "package": "1.0",
    "libraries": {"torch": "2.0", "numpy": "2.1"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"version": 2}, "version"),
        ({"settings": {"rate": 2e-3}}, "settings.rate"),
        ({"inputs": {"checkpoint": "cd"}}, "inputs.checkpoint"),
        ({"seed": 1}, "seed"),
        ({"package": "1.1"}, "package"),
        ({"libraries": {"torch": "2.1", "numpy": "2.1"}}, "libraries.torch"),
    ],
)
def test_every_field_of_a_key_counts(change: dict[str, Any], path: str) -> None:
    old, new = StepKey(**BASE), StepKey(**{**BASE, **change})
    assert [d.path for d in new.differences(old.fields(), old.libraries)] == [path]
    assert (old.sha256 == new.sha256) == (path == "libraries.torch")


def test_versions_may_differ_when_allowed_by_name() -> None:
    old = StepKey(**BASE)
    new = StepKey(**{**BASE, "package": "1.1", "libraries": {"torch": "2.1", "numpy": "2.1"}})
    assert len(new.differences(old.fields(), old.libraries)) == 2
    assert [d.path for d in new.differences(old.fields(), old.libraries, allow=["torch"])] == ["package"]
    assert new.differences(old.fields(), old.libraries, allow=["torch", "factfade"]) == []


def test_the_refusal_names_field_values_and_what_to_do() -> None:
    refuse([], what="x")
    with pytest.raises(SettingsChanged) as raised:
        refuse(check_settings({"training": {"epochs": 1}}, {"training": {"epochs": 2}}), what="train in runs/x")
    assert "training.epochs: 1 -> 2" in str(raised.value)
    assert raised.value.differences == (("training.epochs", "1", "2"),)
    with pytest.raises(SettingsChanged) as raised:
        refuse([Difference(path="libraries.torch", old="2.0", new="2.1")], what="train in runs/x")
    assert "--allow torch" in raised.value.hint


def test_the_package_version_is_filled_in() -> None:
    import factfade

    assert StepKey(version=1, settings={}).fields()["package"] == factfade.__version__

"""The SVG writer: escaping, scales, ticks, labels."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from factfade.report import svg

finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.text(), st.text())
def test_text_and_attributes_survive_a_parser_and_add_no_element(content: str, attribute: str) -> None:
    root = ET.fromstring(svg.el("text", content, class_=attribute, x=1.0))
    assert len(root) == 0
    assert set(root.attrib) == {"class", "x"}


def test_control_and_direction_characters_are_shown() -> None:
    assert "\\u202e" in svg.el("text", "a\u202eb")
    assert "\\x1b" in svg.el("title", "\x1b[31m")


def test_markup_is_kept_and_text_is_escaped() -> None:
    made = svg.group(svg.text(1, 2, "<b>"), Markup("<circle/>"))
    assert "&lt;b&gt;" in made
    assert "<circle/>" in made


@given(finite, finite)
def test_ticks_cover_the_range_in_even_steps(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    marks = svg.ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    assert 2 <= len(marks) <= 9
    steps = {round((y - x) / (marks[1] - marks[0]), 3) for x, y in itertools.pairwise(marks)}
    assert steps == {1.0}


@given(st.lists(st.floats(0, 200), min_size=1, max_size=4))
def test_labels_are_moved_apart_and_keep_their_order(places: list[float]) -> None:
    moved = svg.spread(places, 11.0)
    order = sorted(range(len(places)), key=lambda i: (places[i], i))
    gaps = [moved[b] - moved[a] for a, b in itertools.pairwise(order)]
    assert all(gap >= 11.0 - 1e-3 for gap in gaps)
    assert sum(moved) == pytest.approx(sum(places))


def test_a_scale_holds_values_at_its_ends() -> None:
    scale = svg.Scale(0, 1, 100, 0)
    assert (scale(0.25), scale(-3), scale(9)) == (75.0, 100.0, 0.0)
    assert svg.Scale(2, 2, 0, 10)(2) == 5.0


@pytest.mark.parametrize("shape", ["circle", "square", "diamond", "triangle", "down"])
def test_markers_are_drawn_around_their_place(shape: str) -> None:
    root = ET.fromstring(svg.marker(shape, 10, 10, 3, "dot", "a tip"))
    assert root[0].text == "a tip"

"""Figures: every form, equal bytes for equal rows, names drawn as they are, a missing library said."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

import pytest

from factfade.errors import MissingExtra
from factfade.export import export, figures
from factfade.export.tables import Source

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def one(source: Source) -> Source:
    """One arm with its control, in two formats: drawing takes time."""
    one = Source(case=source.case, report=source.report)
    one.__dict__["lineages"] = ["general", "human_only"]
    one.__dict__["formats"] = ["multiple_choice", "no_instruction"]
    return one


@pytest.fixture(scope="module")
def made(one: Source) -> dict[str, bytes]:
    return dict(figures.files(one))


def test_each_arm_has_its_figures_in_each_form(made: dict[str, bytes]) -> None:
    names = {f"{what}-{arm}" for what in ("knowledge", "fluency") for arm in ("general", "human_only")}
    assert set(made) == {f"{name}.{kind}" for name in names for kind in ("svg", "pdf", "png")}
    for name, data in made.items():
        start = {"svg": b"<?xml", "pdf": b"%PDF-", "png": b"\x89PNG"}[name.rsplit(".")[-1]]
        assert data.startswith(start)


def test_equal_rows_give_equal_bytes_and_no_date(one: Source, made: dict[str, bytes]) -> None:
    assert dict(figures.files(one)) == made
    for name, data in made.items():
        assert not re.search(rb"CreationDate|<dc:date>|20\d\d-\d\d-\d\dT", data), name


def test_the_figure_shows_the_curve_its_interval_its_control_and_the_stages(one: Source) -> None:
    figure = figures._knowledge(one, "general", [("no_instruction", one.knowledge["general", "no_instruction"])])
    axes = figure.axes[0]
    curve = one.knowledge["general", "no_instruction"].main
    assert curve is not None
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}  # type: ignore[union-attr]
    assert drawn["this arm"] == [100 * (p.score.value or 0.0) for p in curve.points]
    assert len(drawn["control"]) == len(curve.points)
    letters = [text.get_text() for text in axes.texts]
    stages = [c.stage for c in one.report.calls if (c.lineage, c.format) == ("general", "no_instruction")]
    assert letters
    assert set(letters) <= {"A", "B", "C", "?"}
    assert len(letters) == 1 + sum(a != b for a, b in itertools.pairwise(stages))


def test_a_name_is_not_read_as_markup() -> None:
    assert figures.SETTINGS["text.parse_math"] is False
    assert figures._name("$\\frac{1}{0}$\x1b[31m") == "$\\frac{1}{0}$\\x1b[31m"


def test_a_missing_library_is_said_with_the_line_that_installs_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra) as caught:
        export(root, tmp_path / "named", kinds=["figures"])
    assert "factfade[figures]" in caught.value.hint
    monkeypatch.setattr("factfade.export.KINDS", ("latex", "figures"))
    done = export(root, tmp_path / "all")
    assert "onsets.tex" in done.files
    assert "figures" in done.notes[0]

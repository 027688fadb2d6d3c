"""What is exported is what is printed: every number of terminal, page, LaTeX and card comes out of the rows again."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factfade import cli
from factfade.errors import ConfigError, UsageError
from factfade.export import export, latex, model_card, sheets, tables
from factfade.export.tables import Source
from factfade.report import terminal
from factfade.report.data import PageData
from factfade.report.wording import LETTERS
from factfade.stats import intervals
from factfade.verdicts import Score

Rows = Mapping[str, sheets.Sheet]


def only(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows with these values."""
    for name, value in values.items():
        frame = frame[frame[name] == value]
    return frame


def recomputed(rows: Rows, lineage: str, seed: int, generation: int, form: str, column: str) -> tuple[Any, ...]:
    """Value, bounds and n of a share, from the judged questions alone."""
    own = only(rows["items"].frame, lineage=lineage, seed=seed, generation=generation, format=form)
    own = own[own[column].notna()]
    found = intervals.share(own[column].to_numpy(), pd.factorize(own["cluster"])[0], level=0.95)
    return found.value, found.low, found.high, own["item"].nunique()


def recomputed_text(rows: Rows, lineage: str, seed: int, generation: int, label: str) -> tuple[Any, ...]:
    """Value, bounds and n of a measure of fluency, from the texts alone."""
    place = {"lineage": lineage, "seed": seed, "generation": generation}
    if label.startswith("junk"):
        own = only(rows["own"].frame, **place)
        found = intervals.share(own["junk"].to_numpy(), pd.factorize(own["prompt"])[0], level=0.95)
        return found.value, found.low, found.high, len(own)
    kind = "own_under_start" if label.startswith("own") else "held_out"
    own = only(rows["texts"].frame, **place, kind=kind)
    found = intervals.ratio(own["nll"].to_numpy(), own["tokens"].to_numpy(), level=0.95)
    ends = [found.value, found.low, found.high]
    return (*(np.exp(x) if kind == "held_out" else x for x in ends), len(own))


def shown(value: float, low: float, high: float, n: int, *, share: bool) -> list[str]:
    if share:
        return [f"{100 * value:.1f}%", f"[{100 * low:.1f}, {100 * high:.1f}]", str(n)]
    return [f"{value:.3f}", f"[{low:.3f}, {high:.3f}]", str(n)]


def test_every_line_of_the_terminal_is_computed_again_from_the_exported_rows(data: PageData, rows: Rows) -> None:
    text = terminal.plain(data)
    answers, fluency, _ = text.split("\n\n", 2)
    calls = rows["calls"].frame
    lines = [re.split(r"\s{2,}", line) for line in answers.splitlines()[1:]]
    assert len(lines) == 3 * 3 * 5
    for line in lines:
        arm, seed, generation, form = line[0], int(line[1]), int(line[2]), line[3]
        place = (arm, seed, generation, form)
        expected = shown(*recomputed(rows, *place, "knowledge"), share=True)
        call = only(calls, lineage=arm, seed=seed, generation=generation, format=form)
        expected += [LETTERS[call["stage"].iloc[0]]] if generation else []
        expected += shown(*recomputed(rows, *place, "parseable"), share=True)
        assert line[4:] == expected, place
    lines = [re.split(r"\s{2,}", line) for line in fluency.splitlines()[1:]]
    assert len(lines) == 3 * 3 * 3
    for arm, seed, generation, label, *printed in lines:
        values = recomputed_text(rows, arm, int(seed), int(generation), label)
        assert printed == shown(*values, share=label.startswith("junk")), (arm, generation, label)


def scores(value: Any) -> Iterator[Score]:
    """Every score in a tree of dataclasses."""
    if isinstance(value, Score):
        yield value
    elif is_dataclass(value):
        for one in fields(value):
            yield from scores(getattr(value, one.name))
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from scores(one)


def test_every_score_of_the_page_is_a_row(data: PageData, rows: Rows) -> None:
    known = {
        (round(v, 12), None if np.isnan(low) else round(low, 12), int(n))
        for name in ("curves", "domains")
        for v, low, n in rows[name].frame[["value", "low", "n"]].itertuples(index=False)
        if not np.isnan(v)
    }
    kept = rows["transitions"].frame[["kept", "kept_low", "kept_n"]]
    known |= {(round(v, 12), round(low, 12), int(n)) for v, low, n in kept.itertuples(index=False)}
    found = [one for one in scores(data.arms) if one.value is not None]
    assert len(found) > 250
    for one in found:
        assert (round(one.value or 0.0, 12), None if one.low is None else round(one.low, 12), one.n) in known, one


def test_every_change_transition_and_outcome_of_the_page_is_a_row(data: PageData, rows: Rows) -> None:
    for arm in data.arms:
        changed = only(rows["changes"].frame, lineage=arm.name)
        assert (changed["direction"] == "lost").sum() == arm.lost_total
        assert (changed["direction"] == "gained").sum() == arm.gained_total
        for one in arm.lost:
            row = only(changed, item=one.item, direction="lost").iloc[0]
            assert (row["question"], row["after_answer"], row["since"]) == (one.question, one.after.answer, one.since)
        for t in arm.transitions:
            row = only(rows["transitions"].frame, lineage=arm.name, seed=t.seed, format=t.format).iloc[0]
            counts = (t.right_right, t.right_wrong, t.wrong_right, t.wrong_wrong, t.n)
            assert tuple(row[["right_right", "right_wrong", "wrong_right", "wrong_wrong", "n"]]) == counts
        for o in arm.outcomes:
            place = {"lineage": arm.name, "seed": o.seed, "generation": o.generation, "format": o.format}
            own = only(rows["outcomes"].frame, **place)
            assert dict(zip(own["outcome"], own["count"], strict=True)) == dict(o.counts)


def test_every_condition_of_every_call_is_a_row(source: Source, rows: Rows) -> None:
    calls, conditions = rows["calls"].frame, only(rows["conditions"].frame, role="condition")
    assert len(calls) == len(source.report.calls) == 3 * 2 * 5
    for call in source.report.calls:
        place = {"lineage": call.lineage, "seed": call.seed, "generation": call.generation, "format": call.format}
        own = only(conditions, **place)
        assert own["endpoint"].tolist() == [one.endpoint for one in call.conditions]
        for row, one in zip(own.to_dict("records"), call.conditions, strict=True):
            for name in ("loss", "low", "high", "margin", "n", "p"):
                value = getattr(one, name)
                assert np.isnan(row[name]) if value is None else row[name] == value, (call, name)
            assert (row["shown_not_worse"], row["shown_worse"]) == (one.shown_not_worse, one.shown_worse)
    assert len(rows["onsets"]) == len(source.report.onsets)
    assert len(only(rows["conditions"].frame, role="attribution")) == sum(
        c.attribution is not None for c in source.report.calls
    )


def test_findings_and_scores_are_those_of_the_analyses(source: Source, rows: Rows) -> None:
    from factfade import analysis, metrics

    frame = rows["findings"].frame
    found = analysis.analyse(source.case.study(), ["trend"])
    own = only(frame, analysis="trend")
    assert own["sentence"].tolist() == [one.sentence for one in found]
    assert np.array_equal(own["value"], [np.nan if f.value is None else f.value for f in found], equal_nan=True)
    assert all(json.loads(extra) for extra in frame["extra"] if extra)
    made = metrics.frame(metrics.compute(*source.case.tables()))
    assert np.array_equal(rows["scores"].frame["value"], made["value"], equal_nan=True)


def test_the_latex_holds_the_rows_numbers(out: Path, rows: Rows) -> None:
    curves = rows["curves"].frame
    for form in ("multiple_choice", "open_ended"):
        body = (out / f"knowledge-{form}.tex").read_text("utf-8").split(r"\midrule")[1]
        cells = [line.removesuffix(r" \\").split(" & ") for line in body.splitlines() if " & " in line]
        own = only(curves, measure="knowledge", format=form)
        assert len(cells) == len(own) == 9
        for arm, seed, generation, value, bounds, n, *_ in cells:
            place = {"lineage": arm.replace(r"\_", "_"), "seed": int(seed), "generation": int(generation)}
            row = only(own, **place).iloc[0]
            assert value == f"{100 * row['value']:.1f}"
            assert bounds == f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
            assert n == str(row["n"])


PAYLOADS = [r"\input{/etc/passwd}", r"\write18{x}", "50% off & more", "a_b^c~d#e$f", "{}[]*", "x\ny", "\x1b[31m", "--"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_is_a_command_of_latex(payload: str) -> None:
    text = latex.escaped(payload)
    assert "\n" not in text
    assert "\x1b" not in text
    for known in (r"\textbackslash{}", r"\textasciicircum{}", r"\textasciitilde{}"):
        text = text.replace(known, "")
    assert not re.search(r"\\[^{}$&#%_]", text), text
    assert not re.search(r"(?<!\\)[$&#%_^~]", text), text
    assert "--" not in text


def test_the_model_index_is_one_that_the_hub_reads(out: Path, rows: Rows) -> None:
    import yaml
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import eval_results_to_model_index

    cards = sorted(out.glob("model-card-*.md"))
    assert len(cards) == 3
    for path in cards:
        data = ModelCard(path.read_text("utf-8")).data
        block = yaml.safe_load(path.read_text("utf-8").split("---")[1])["model-index"]
        assert data.eval_results
        assert data.model_name == block[0]["name"]
        assert eval_results_to_model_index(data.model_name, data.eval_results) == block
        lineage = block[0]["results"][0]["dataset"]["args"]["lineage"]
        own = only(rows["curves"].frame, lineage=lineage, generation=5)
        exported = set(own["value"])
        for one in data.eval_results:
            assert one.task_type == "question-answering"
            assert one.metric_value in exported
            assert one.metric_args["n"] > 0
            assert one.metric_args["low"] <= one.metric_value <= one.metric_args["high"]


def test_card_text_is_no_markup(source: Source) -> None:
    text = model_card._markdown("![x](http://a.b) <img> @user `c` |")
    assert not set(text) & set("![]()<>@`|:/")


def test_the_index_names_every_file_with_its_hash(out: Path) -> None:
    index = json.loads((out / "export.json").read_bytes())
    assert {p.name for p in out.iterdir()} == {*index["files"], "export.json"}
    for name, entry in index["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == entry["sha256"]
    assert index["columns"]["items"] == tables.COLUMNS["items"]


def test_equal_evidence_gives_equal_bytes(root: Path, out: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "again", kinds=["tables", "latex", "model-card"])
    for path in (tmp_path / "again").iterdir():
        if path.name != "export.json":
            assert path.read_bytes() == (out / path.name).read_bytes(), path.name


def test_a_folder_with_something_else_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(UsageError, match="holds files already"):
            export(root, tmp_path, kinds=["latex"], force=force)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_force_replaces_an_earlier_export_and_nothing_else(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path, kinds=["model-card"])
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds files already"):
        export(root, tmp_path, kinds=["latex"])
    export(root, tmp_path, kinds=["latex"], force=True)
    names = {p.name for p in tmp_path.iterdir()}
    assert "mine.txt" in names
    assert "onsets.tex" in names
    assert not [name for name in names if name.startswith("model-card")]


def test_an_index_that_points_elsewhere_removes_nothing(root: Path, tmp_path: Path) -> None:
    (tmp_path / "safe.txt").write_text("safe")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "export.json").write_text(json.dumps({"files": {"../safe.txt": {}}}))
    with pytest.raises(Exception, match="not a path inside"):
        export(root, tmp_path / "out", kinds=["latex"], force=True)
    assert (tmp_path / "safe.txt").is_file()


def test_an_unknown_kind_is_refused_with_the_kinds(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no export 'tabels'") as caught:
        export(root, tmp_path / "x", kinds=["tabels"])
    assert "tables" in caught.value.hint


def test_the_command_writes_and_says_where(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(root), "--out", str(tmp_path / "x"), "--kind", "latex"]
    monkeypatch.setattr(sys, "argv", ["factfade", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    count = len(list((tmp_path / "x").iterdir()))
    assert count > 8
    assert f"{count} files in" in capsys.readouterr().out


def test_minimal_foreign_evidence_is_exported(tmp_path: Path) -> None:
    lines = [
        json.dumps({"lineage": "=cmd", "seed": 0, "generation": g, "item": f"i{i}", "format": "quiz", "wording": "",
                    "choice_correct": bool((i + g) % 3)})
        for g in (0, 1) for i in range(12)
    ]  # fmt: skip
    (tmp_path / "evidence.jsonl").write_text("\n".join(lines))
    export(tmp_path / "evidence.jsonl", tmp_path / "out", kinds=["tables", "findings", "latex", "model-card"])
    made = sheets.read(tmp_path / "out" / "items.csv", tables.COLUMNS["items"])
    assert set(made.frame["lineage"]) == {"=cmd"}
    assert b'"\'=cmd"' in (tmp_path / "out" / "items.csv").read_bytes()
    assert len(sheets.read(tmp_path / "out" / "texts.csv", tables.COLUMNS["texts"])) == 0

"""The judging commands on evidence of another tool: text and JSON, other rules and controls, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factfade import tables
from tests import planted
from tests.planted import World
from tests.test_cli import call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = planted.tables(
        {"arm": World(right=lambda g: 0.95 if g < 2 else 0.6), "human": World()}, generations=(0, 1, 2, 3), items=200
    )
    for data, name in zip(made, ("evidence", "fluency", "own"), strict=True):
        kind = "completions" if name == "own" else name
        tables.write(tmp_path / f"{name}.parquet", data, kind)  # type: ignore[arg-type]
    return tmp_path


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert call(monkeypatch, *arguments) == 0
    return capsys.readouterr().out


def test_stages_of_foreign_evidence_explain_themselves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    text = said(monkeypatch, capsys, "stages", str(folder), "--control", "human")
    assert "stage B, knowledge collapse, from generation 2" in text
    assert "Due to the recursion" in text
    assert "These checkpoints fell (arm" in text
    assert "No rule was declared before these data" in text
    alone = said(monkeypatch, capsys, "stages", str(folder))
    assert "plain forgetting is not excluded" in alone


def test_stages_as_json_with_another_rule_and_other_margins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    rule = tmp_path / "rule.toml"
    rule.write_text("[stages]\nknowledge = 0.5\n", encoding="utf-8")
    data = json.loads(said(monkeypatch, capsys, "stages", str(folder), "--rule", str(rule), "--json", "--sensitivity"))
    assert data["rule"]["knowledge"] == 0.5
    assert {c["stage"] for c in data["calls"]} == {"A"}
    assert {m["margin"] for m in data["sensitivity"]} == {"knowledge", "format", "fluency_nats", "fluency_junk"}
    assert any(f["name"] == "trend" and f["p"] < 0.001 for f in data["findings"])


def test_analyses_and_metrics_as_text_and_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    text = said(monkeypatch, capsys, "analyse", str(folder), "--kind", "slope")
    assert "points a generation" in text
    found = json.loads(said(monkeypatch, capsys, "analyse", str(folder), "--kind", "trend", "--json"))
    assert {f["analysis"] for f in found} == {"trend"}
    lines = said(monkeypatch, capsys, "metrics", str(folder), "--kind", "accuracy")
    assert "n = 200" in lines
    rows = json.loads(said(monkeypatch, capsys, "metrics", str(folder), "--kind", "accuracy", "--json"))
    assert {row["generation"] for row in rows} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["analyse", "{}", "--kind", "nonsense"], "no analysis 'nonsense'"),
        (["metrics", "{}", "--kind", "nonsense"], "nonsense"),
        (["stages", "{}", "--control", "nobody"], "nobody"),
        (["stages", "{}", "--rule", "nowhere.toml"], "cannot be read"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], says: str
) -> None:
    assert call(monkeypatch, *(a.format(folder) for a in arguments)) == 2
    assert says in capsys.readouterr().err

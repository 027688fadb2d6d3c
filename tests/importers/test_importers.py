"""Generations of logs become one table of evidence, in the order that was meant, on disk and on the command line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from factfade import cli, foreign, importers, tables
from factfade.errors import ConfigError, DataError, UsageError
from factfade.stages import Rule, call_stages

LOGS = Path(__file__).resolve().parent.parent / "golden" / "foreign"
BOTH = {kind: [LOGS / kind / f"generation-{g}" for g in (0, 1)] for kind in importers.KINDS}


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_logs_become_a_table_that_stages_are_called_from(tmp_path: Path, kind: str, suffix: str) -> None:
    out = tmp_path / "new" / f"evidence.{suffix}"
    summary = importers.run(kind, BOTH[kind], lineage="mine", seed=4, out=out)
    found = foreign.open_tables(out)
    assert summary.rows == len(found.evidence) == {"lm-eval": 54, "inspect": 30}[kind]
    assert set(found.evidence["lineage"]) == {"mine"}
    assert set(found.evidence["seed"]) == {4}
    assert tables.missing_items(found.evidence) == []
    report = call_stages(found.evidence, None, None, Rule(), controls={}, draws=20)
    assert {call.format for call in report.calls} == set(found.evidence["format"])
    assert {call.generation for call in report.calls} == {1}


def test_both_kinds_of_file_hold_the_same(tmp_path: Path) -> None:
    rows = []
    for name in ("e.parquet", "e.jsonl"):
        importers.run("lm-eval", BOTH["lm-eval"], out=tmp_path / name)
        rows.append(tables.rows(tables.read(tmp_path / name, "evidence")))
    assert rows[0] == rows[1]
    assert json.loads((tmp_path / "e.jsonl").read_text().splitlines()[0]) == {"schema_version": 1}
    data = (tmp_path / "e.parquet").read_bytes()
    importers.run("lm-eval", BOTH["lm-eval"], out=tmp_path / "e.parquet", force=True)
    assert (tmp_path / "e.parquet").read_bytes() == data, "equal logs give equal bytes"


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    out = tmp_path / "e.jsonl"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists") as caught:
        importers.run("inspect", BOTH["inspect"], out=out)
    assert "--force" in caught.value.hint
    assert out.read_text() == "mine"


def test_a_failing_log_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        importers.run("inspect", [BOTH["inspect"][0], tmp_path / "log.json"], out=tmp_path / "e.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["log.json"]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["b", "a"], [(0, "b"), (1, "a")]),
        (["a-2", "a-10"], [(0, "a-2"), (1, "a-10")]),
        (["5=a", "0=b"], [(5, "a"), (0, "b")]),
        (["0=a", "0=b=c"], [(0, "a"), (0, "b=c")]),
        (["runs/step=5"], [(0, "runs/step=5")]),
    ],
)
def test_generations_of_paths(paths: list[str], expected: list[tuple[int, str]]) -> None:
    assert importers.numbered(paths) == [(generation, Path(path)) for generation, path in expected]


def test_the_order_of_a_shell_is_not_taken_for_the_order_of_numbers() -> None:
    names = sorted(f"gen-{generation}" for generation in range(12))
    with pytest.raises(UsageError, match="gen-10 would be generation 2") as caught:
        importers.numbered(names)
    assert "2=gen-2" in caught.value.hint
    with pytest.raises(UsageError, match="some do not"):
        importers.numbered(["0=a", "b"])
    with pytest.raises(UsageError, match="no log"):
        importers.numbered([])


def test_the_same_question_twice_in_a_generation_names_both_logs(tmp_path: Path) -> None:
    first, second = BOTH["inspect"]
    with pytest.raises(DataError, match=r"holds a question of generation 0 that .*generation-0 holds too"):
        importers.run("inspect", [f"0={first}", f"0={second}"], out=tmp_path / "e.parquet")


def test_several_logs_may_be_of_one_generation(tmp_path: Path) -> None:
    paths = []
    for generation, folder in enumerate(BOTH["lm-eval"]):
        paths += [f"{generation}={file}" for file in sorted(folder.glob("samples_world_[ct]*"))]
    summary = importers.run("lm-eval", paths, out=tmp_path / "e.parquet")
    assert {g: len(files) for g, files in summary.generations.items()} == {0: 3, 1: 3}
    assert summary.rows == 38


@pytest.mark.parametrize(
    ("kind", "choices", "said"),
    [
        ("helm", {}, "no importer 'helm'"),
        ("inspect", {"only_filter": "x"}, "has no only_filter"),
        ("inspect", {"out": "e.csv"}, "no .parquet and no .jsonl"),
        ("inspect", {"seed": -1}, "below 0"),
    ],
)
def test_wrong_choices_are_said(tmp_path: Path, kind: str, choices: dict[str, object], said: str) -> None:
    settings = {"out": "e.parquet", **choices}
    with pytest.raises(ConfigError, match=said):
        importers.run(kind, BOTH["inspect"], **{**settings, "out": tmp_path / str(settings["out"])})  # type: ignore[arg-type]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["factfade", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "e.parquet"
    command = ["import", "lm-eval", *BOTH["lm-eval"], "--out", out, "--lineage", "mine", "--filter", "flexible-extract"]
    assert call(monkeypatch, *command) == 0
    said = capsys.readouterr().out
    assert f"generation 1: {BOTH['lm-eval'][1]}" in said
    assert (
        "world_text: answers as read by the filter flexible-extract; left out: strict-match. [generation 0, 1]" in said
    )
    assert "54 rows of evidence" in said
    assert call(monkeypatch, *command) == 2
    assert "--force" in capsys.readouterr().err
    assert call(monkeypatch, "stages", out) == 0
    assert "world_letters" in capsys.readouterr().out


def test_a_name_that_acts_on_the_terminal_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "\x1b[31mred"
    shutil.copytree(BOTH["inspect"][0], folder)
    assert call(monkeypatch, "import", "inspect", folder, "--out", tmp_path / "e.jsonl") == 0
    said = capsys.readouterr().out
    assert "\\x1b[31mred" in said
    assert "\x1b" not in said

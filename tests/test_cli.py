"""The command line: exit codes, and errors that say what to type instead, without a traceback."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from factfade import cli, doctor
from factfade.sweep import to_toml
from tests import small


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["factfade", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "bogus"),
        (["run"], "file"),
        (["run", "nothing.toml"], "cannot read"),
        (["demo", "--generations", "0"], "generations"),
        (["report", "nowhere"], "there is nothing at nowhere"),
        (["stages", "nowhere"], "there is nothing at nowhere"),
        (["demo", "--wrong"], "wrong"),
    ],
)
def test_wrong_usage_is_two_lines_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert said in error.lower()
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 2


@pytest.mark.parametrize(
    ("raised", "code", "said"), [(KeyboardInterrupt(), 130, "stopped"), (SystemExit(143), 143, "terminated")]
)
def test_a_signal_has_its_exit_code_and_says_that_work_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    raised: BaseException,
    code: int,
    said: str,
) -> None:
    def stops(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("factfade.sweep.run", stops)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert call(monkeypatch, "demo", "--out", str(tmp_path)) == code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    error = capsys.readouterr().err
    assert f"factfade: {said}; what is done is kept" in error
    assert "Traceback" not in error


def test_parts_lists_every_kind(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from factfade.registry import groups

    assert call(monkeypatch, "parts") == 0
    lines = capsys.readouterr().out.splitlines()
    named = {line.split()[0] for line in lines if line.startswith("  ")}
    assert {kind for _, table in groups() for kind in table} == named


def test_doctor_fails_where_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = doctor.Finding(what="disk", found="full", well=False, hint="free some")
    monkeypatch.setattr(doctor, "examine", lambda place: iter([broken]))
    assert call(monkeypatch, "doctor", str(tmp_path)) == 4
    assert "free some" in capsys.readouterr().out


def test_a_failing_arm_makes_the_command_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    materials = small.materials(tmp_path)
    arms = {"bad": {"synthetic_fraction": 1.0, "training": {"chunk_tokens": 100_000}}}
    file = tmp_path / "small.toml"
    file.write_text(to_toml(small.experiment(materials, experiment={"generations": 1}, arms=arms)))
    assert call(monkeypatch, "run", str(file), "--out", str(tmp_path / "runs")) == 2
    captured = capsys.readouterr()
    assert "bad seed 0" in captured.err
    assert "general" in captured.out
    assert (tmp_path / "runs" / "small" / "report.html").is_file()

"""`factfade domain build` as it is typed; the settings of its page are the code's."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from factfade import cli
from factfade.domain.settings import DomainSettings
from tests.domain.planted import write_corpus, write_mmlu

PAGE = Path(__file__).resolve().parents[2] / "docs" / "domain.md"


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["factfade", "domain", "build", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def given(folder: Path) -> list[str]:
    corpus, mmlu = write_corpus(folder / "c.txt"), write_mmlu(folder / "mmlu")
    return ["--corpus", str(corpus), "--mmlu", str(mmlu), "--out", str(folder / "out.jsonl"), "--no-controls"]


def test_what_is_typed_is_built_and_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["--questions", "MMLU:holy_things", "--passages", "12", "--topic", "temples", "-o", "lexical.k1=0.9"]
    assert call(monkeypatch, *given(tmp_path), *typed) == 0
    assert "holy_things" in capsys.readouterr().out
    record = json.loads((tmp_path / "out.record.json").read_text())
    assert (record["topic"], record["settings"]["lexical"]["k1"]) == ("temples", 0.9)
    assert record["sets"]["holy_things"]["passages"] == 12
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 12


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--questions", "MMLU:holy_thing"], "holy_things"),
        (["--questions", "MMLU:holy_things", "-o", "lexical.rouns=1"], "rounds"),
        (["--questions", "MMLU:holy_things", "--query-from", "test"], "query_from"),
        (["--questions", "MMLU:holy_things", "--corpus", "world"], "--documents"),
    ],
)
def test_what_is_wrong_is_two_lines_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: list[str], said: str
) -> None:
    assert call(monkeypatch, *given(tmp_path), *typed) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 2
    assert not (tmp_path / "out.jsonl").exists()


def test_the_page_has_every_setting_with_its_default() -> None:
    settings = DomainSettings(corpus={"kind": "world"}, questions="world:geography")
    table = PAGE.read_text(encoding="utf-8").split("## Settings")[1]
    found: dict[str, str] = {}
    for line in re.findall(r"^\| `.*$", table, re.MULTILINE):
        names, defaults, _ = (cell.strip() for cell in line.strip("|").split("|"))
        found |= dict(zip(re.findall(r"`([\w.]+)`", names), defaults.split(", "), strict=True))
    flags = {"embedding.folder", "controls.build", "controls.random_domain"}
    expected: dict[str, str] = {}
    for section in ("passages", "size", "lexical", "embedding", "decontamination", "controls"):
        for name, value in getattr(settings, section).model_dump().items():
            if f"{section}.{name}" not in flags:
                shown = "unset" if value is None else str(value).lower() if isinstance(value, bool) else f"{value:g}"
                expected[f"{section}.{name}"] = shown
    assert found == expected

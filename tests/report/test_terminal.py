"""The terminal's table and the pipe's lines: complete, narrow enough, and deaf to escapes and markup."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from factfade.report import terminal
from factfade.report.data import PageData
from tests.report.reading import with_texts


def printed(data: PageData, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    for part in terminal.table(data):
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_fits_eighty_columns_and_cuts_nothing(data: PageData) -> None:
    text = printed(data)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "…" not in text


def test_every_arm_generation_and_value_is_there(data: PageData) -> None:
    text = printed(data)
    for arm in data.arms:
        assert arm.name in text
        for panel in arm.panels:
            assert panel.knowledge.main is not None
            for point in panel.knowledge.main.points:
                assert point.score.value is not None
                assert f"{100 * point.score.value:.1f}%" in text
    assert re.search(r"% B\b", text)
    assert re.search(r"% C\b", text)


def test_one_sentence_per_arm(data: PageData) -> None:
    text = " ".join(printed(data).split())
    for arm in data.arms:
        assert " ".join(arm.sentences[0][1].split())[:50] in text


def test_plain_lines_hold_one_row_per_run_generation_and_format(data: PageData) -> None:
    lines = terminal.plain(data).splitlines()
    found = [line for line in lines if re.match(r"general\s+0\s+5\s+short_answer\s", line)]
    panel = next(p for p in data.arms[1].panels if p.format == "short_answer")
    last = panel.knowledge.last
    assert last is not None
    assert last.value is not None
    assert len(found) == 1
    assert f"{100 * last.value:.1f}%" in found[0]
    assert re.search(rf"\[\d+\.\d, \d+\.\d\]\s+{last.n}\s+B\s", found[0])
    assert sum(bool(re.match(r"\S+\s+\d+\s+\d+\s+\w+\s+\d+\.\d%", line)) for line in lines) == 3 * 6 * 5


def test_plain_lines_hold_the_sentences_and_fluency(data: PageData) -> None:
    text = terminal.plain(data)
    assert "general, seed 0: " in text
    assert "own text under the start model" in text


@pytest.mark.parametrize(
    "payload",
    [
        "\x1b[31mred",
        "\x1b]52;c;aGk=\x07",
        "[bold red]x[/]",
        "\rover",
        "a\u202eb",
        "\x9b31m",
        "[link=file:///etc]x[/link]",
    ],
)
def test_nothing_planted_acts(data: PageData, payload: str) -> None:
    planted = with_texts(replace(data, arms=data.arms[1:2], warnings=("w",)), lambda text: payload + text)
    for text in (printed(planted, width=400), terminal.plain(planted)):
        own = re.sub(r"\x1b\[[0-9;]*m", "", text) if payload.isprintable() else text
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", own)
    if payload.isprintable():
        assert payload[:6] in printed(planted, width=400)


def test_several_seeds_show_the_mean_and_count_the_calls(seeded: PageData) -> None:
    text = printed(seeded)
    assert "3B" in text
    assert "seed 2: " in text
    assert "of 3 seeds" in text
    assert len([line for line in terminal.plain(seeded).splitlines() if line.startswith("general ")]) == 3 * 6 * (5 + 3)


def test_of_many_runs_a_terminal_shows_what_holds_over_seeds(seeded: PageData, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = sum(len(arm.seeds) for arm in seeded.arms)
    monkeypatch.setattr(terminal, "RUNS_TOLD", runs - 1)
    text = " ".join(printed(seeded).split())
    assert "seed 2: " not in text
    assert "of 3 seeds" in text
    assert f"Each of the {runs} runs in a sentence" in text
    assert "seed 2: " in terminal.plain(seeded)


def test_the_declared_comparison_comes_last(data: PageData) -> None:
    said = replace(data, arena_sentences=("No arm is shown to keep more than none.",))
    assert "No arm is shown to keep more than none." in printed(said)
    assert terminal.plain(said).splitlines()[-1] == "No arm is shown to keep more than none."


def test_show_prints_plain_lines_into_a_pipe(data: PageData, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show(data)
    assert capsys.readouterr().out.startswith("arm ")

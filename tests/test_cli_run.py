"""The words of `factfade run`: durations, seeds, names, the command that goes on."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer

from factfade import cli, cli_run
from factfade.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45), ("90m", 5400), ("90min", 5400), ("3h50", 13800), ("3h50m", 13800), ("2h", 7200), ("1d2h", 93600),
        ("03:50:00", 13800), ("1:30", 5400), ("1-00:30:00", 88200), (" 1h 5s ", 3605), (None, None),
    ],
)  # fmt: skip
def test_time_limits(text: str | None, seconds: float | None) -> None:
    assert cli_run.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "0s", "-5m", "1h60x", "soon", "1:2:3", "5m3h"])
def test_what_is_no_time_limit(text: str) -> None:
    with pytest.raises(ConfigError, match="no time limit"):
        cli_run.seconds(text)


def test_seeds_and_names() -> None:
    assert cli_run.numbers(["0,2", "5-7", "2"]) == [0, 2, 5, 6, 7]
    assert cli_run.numbers(None) is None
    assert cli_run.names(["a,b", " c ,a"]) == ["a", "b", "c"]
    for wrong in ("x", "3-1", "1.5", "0-99999999"):
        with pytest.raises(ConfigError, match="no seed"):
            cli_run.numbers([wrong])


def test_the_command_that_goes_on_is_the_one_that_was_typed() -> None:
    asked = cli_run.Asked(
        file=Path("a b.toml"), override=["training.epochs=1"], out=Path("elsewhere"), arms=["x"], seeds=[0, 1],
        workers=2, allow=["torch"], time_limit="3h50",
    )  # fmt: skip
    assert shlex.join(asked.command()) == (
        "factfade run 'a b.toml' -o training.epochs=1 --out elsewhere --arms x --seeds 0,1 --workers 2 "
        "--allow torch --time-limit 3h50"
    )


def test_the_lines_of_the_quickstart_are_understood() -> None:
    page = Path(__file__).resolve().parent.parent / "docs" / "quickstart.md"
    block = page.read_text(encoding="utf-8").split("```sh\n", 1)[1].split("```")[0]
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert len(lines) == 4
    command = typer.main.get_command(cli.app).commands["run"]  # type: ignore[attr-defined]
    for name, run, *words in lines:
        assert (name, run) == ("factfade", "run")
        given = command.make_context("run", words).params
        cli_run.seconds(given["time_limit"])
        cli_run.numbers(given["seeds"])

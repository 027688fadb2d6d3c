"""A sweep of twelve runs of which one fails; parts of a sweep; a sweep that is out of time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from factfade import cli, run, store
from factfade.config import Experiment
from factfade.errors import ConfigError
from factfade.sweep import to_toml
from tests import small

STEPS = ("synthesize", "train", "evaluate")


def experiment(folder: Path) -> Experiment:
    """Four arms, three seeds, one generation, and little to ask."""
    arms = {"half": {"synthetic_fraction": 0.5}, "most": {"synthetic_fraction": 0.75}}
    brief = {"formats": ["multiple_choice"], "free_answers": False, "prompts": 0, "texts": 0}
    return small.experiment(
        folder,
        experiment={"generations": 1, "seeds": [0, 1, 2]},
        arms=arms,
        evaluation=brief,
        synthesis={"blocks": 8, "new_tokens": 8},
    )


def committed(root: Path) -> dict[str, int]:
    """When each step was committed."""
    found = [path for name in STEPS for path in root.rglob(f"{name}.json")]
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in found}


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["factfade", "run", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.timeout(900)
def test_one_of_twelve_fails_eleven_finish_and_only_the_one_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, root = tmp_path / "small.toml", tmp_path / "runs" / "small"
    spec = experiment(small.materials(tmp_path))
    file.write_text(to_toml(spec))
    # A file lies where one run's folder has to be.
    store.create_experiment(root, toml=to_toml(spec))
    (root / "half").mkdir()
    (root / "half" / "seed-1").write_text("in the way")
    asked = (str(file), "--out", str(tmp_path / "runs"), "--workers", "1")

    assert command(monkeypatch, *asked) == 4
    assert "half seed 1" in capsys.readouterr().err
    before = committed(root)
    assert len(before) == 1 + 11 * len(STEPS)
    assert not any(name.startswith("half/seed-1/") for name in before)

    assert command(monkeypatch, *asked, "--status", "--json") == 4
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert said["counts"] == {"done": 12, "running": 0, "failed": 1, "damaged": 0, "partial": 0, "missing": 0}
    failure = next(one["failure"] for one in said["runs"] if (one["arm"], one["seed"]) == ("half", 1))
    assert "seed-1" in failure["message"]

    (root / "half" / "seed-1").unlink()
    assert command(monkeypatch, str(root), "--workers", "1") == 0
    after = committed(root)
    assert {name: after[name] for name in before} == before, "what was done is as it was"
    assert sorted(set(after) - set(before)) == sorted(f"half/seed-1/generation-001/{s}.json" for s in STEPS)
    assert command(monkeypatch, *asked, "--status") == 0
    assert "failed" not in capsys.readouterr().out.rsplit("small:", 1)[1]


def test_a_sweep_that_is_out_of_time_says_so_and_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.toml"
    file.write_text(to_toml(experiment(small.materials(tmp_path))))
    monkeypatch.setattr("factfade.sweep._reserve", lambda limit: limit)  # none of it is left for work
    asked = (str(file), "--out", str(tmp_path / "runs"))
    assert command(monkeypatch, *asked, "--time-limit", "1h") == 75
    assert "stopped before the time limit" in capsys.readouterr().err
    assert committed(tmp_path / "runs") == {}
    assert command(monkeypatch, *asked, "--status") == 75


def test_a_part_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def launch(self: Any, root: Path, runs: Any, *, generations: int, allow: Any = ()) -> list[dict[str, Any]]:
        asked.append(list(runs))
        return [{"arm": a, "seed": s, "label": a, "generation": 1, "message": "m", "hint": "", "exit_code": 4}
                for a, s in runs]  # fmt: skip

    monkeypatch.setattr("factfade.launchers.local.LocalLauncher.launch", launch)
    monkeypatch.setattr("factfade.sweep.call", lambda root: None)
    spec = experiment(small.materials(tmp_path))
    run(spec, tmp_path / "runs", arms=["half", "general"], seeds=[2, 0])
    assert asked == [[("general", 0), ("general", 2), ("half", 0), ("half", 2)]]
    assert len(store.open_experiment(tmp_path / "runs" / "small").settings()["arms"]) == 4, "the folder is the sweep's"
    with pytest.raises(ConfigError, match="no arm 'hal'"):
        run(spec, tmp_path / "runs", arms=["hal"])
    with pytest.raises(ConfigError, match="no seed 9"):
        run(spec, tmp_path / "runs", seeds=[9])

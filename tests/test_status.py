"""How far a sweep is: planted states, each of which must be named; nothing is written, no lock is taken."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from factfade import cli, session, status, status_text, store
from factfade.config import Experiment, parse
from factfade.session import Recorder
from factfade.status import Status, Times
from factfade.status_look import Generation, Run
from factfade.sweep import to_toml
from tests import fakerun

COMMAND = ["factfade", "run", "x.toml"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms, two generations, complete."""
    root = tmp_path_factory.mktemp("whole") / "fake"
    fakerun.run(root)
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "fake")
    return tmp_path / "fake"


def experiment(root: Path, **changes: Any) -> Experiment:
    settings = store.open_experiment(root).settings()
    settings["experiment"].update(changes)
    return parse(settings)


def look(root: Path, **changes: Any) -> Status:
    return status.status(store.open_experiment(root), experiment(root, **changes))


def states(found: Status) -> dict[str, str]:
    return {run.label: "".join(status_text.MARKS[one.state] for one in run.generations) for run in found.runs}


def said(found: Status) -> str:
    return "\n".join(status_text.lines(found, COMMAND))


def test_a_complete_sweep(root: Path) -> None:
    found = look(root)
    assert states(found) == {"start model": "#", "general seed 0": "##", "human_only seed 0": "##"}
    assert (found.exit_code, found.seconds_left, found.foreign) == (0, 0.0, ())
    assert found.bytes == sum(p.stat().st_size for p in root.rglob("*") if p.is_file())
    assert "complete" in said(found)
    assert "factfade run" not in said(found)


def test_more_generations_and_seeds_are_missing_work(root: Path) -> None:
    found = look(root, generations=3, seeds=[0, 5])
    assert states(found)["general seed 0"] == "##."
    assert states(found)["general seed 5"] == "..."
    assert found.exit_code == 75
    assert "go on with: factfade run x.toml" in said(found)


def test_a_generation_in_parts(root: Path) -> None:
    place = root / "general" / "seed-0" / "generation-002"
    (place / "train.json").unlink()
    (place / "evaluate.json").unlink()
    (place / ".train.writing").mkdir()
    found = look(root)
    one = found.runs[1].generations[1]
    assert (one.state, one.missing, one.said) == ("partial", ("train", "evaluate"), "train begun")
    assert found.exit_code == 75
    assert "synthesize done; train begun" in said(found)


def test_committed_shards_are_counted(tmp_path: Path) -> None:
    from factfade import durable

    calls = 0

    def stop(point: str, path: Path, number: int) -> None:
        nonlocal calls
        calls += path.name.startswith("open_ended-0000")
        if calls > 1:
            raise OSError(5, "Input/output error")

    with durable.hooked(stop), pytest.raises(Exception, match="open_ended"):
        fakerun.run(tmp_path / "fake")
    found = look(tmp_path / "fake")
    assert states(found)["start model"] == "-"
    assert found.runs[0].generations[0].said == "evaluate: 2 parts committed"


def test_damage_is_named_and_refused(root: Path) -> None:
    manifest = root / "general" / "seed-0" / "generation-001" / "train.json"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    shard = next((root / "human_only" / "seed-0" / "generation-002" / "evidence").iterdir())
    shard.write_bytes(shard.read_bytes() + b"x")
    (root / "generation-000" / "fluency.parquet").unlink()
    found = look(root)
    assert states(found) == {"start model": "x", "general seed 0": "x#", "human_only seed 0": "#x"}
    assert found.exit_code == 5
    for name in (str(manifest), str(shard), "fluency.parquet is missing"):
        assert name in said(found)


def test_removed_weights_are_missed_only_where_the_run_goes_on(root: Path) -> None:
    for weights in root.rglob("*.safetensors"):
        weights.unlink()
    assert look(root).exit_code == 0
    found = look(root, generations=3)
    assert states(found)["general seed 0"] == "xx."
    assert "weights" in said(found)


def test_what_is_not_the_experiments_is_listed(root: Path) -> None:
    for name in ("notes.txt", "general/seed-7/generation-001/train.json", "general/seed-0/generation-009/x", "old/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    assert set(look(root).foreign) == {"notes.txt", "old", "general/seed-7", "general/seed-0/generation-009"}


def test_a_failure_of_the_last_session_is_shown_until_it_is_done(root: Path) -> None:
    shutil.rmtree(root / "general" / "seed-0" / "generation-002")
    recorder = Recorder(root, workers=2)
    recorder.failed(("general", 0, 2), "no space \x1b[2J", "free some", 4)
    recorder.failed(("human_only", 0, 2), "an old failure", "", 4)  # it is done since
    recorder.end("failed")
    found = look(root)
    assert states(found) == {"start model": "#", "general seed 0": "#!", "human_only seed 0": "##"}
    assert found.exit_code == 4
    assert [failure.arm for failure in found.failures] == ["general"]
    assert "general seed 0, generation 2: no space" in said(found)
    body = status_text.to_json(found, COMMAND)
    assert body["runs"][1]["failure"]["hint"] == "free some"
    assert json.loads(json.dumps(body))["counts"]["failed"] == 1


def test_a_session_at_work_and_one_that_was_killed(root: Path) -> None:
    shutil.rmtree(root / "general" / "seed-0" / "generation-002")
    recorder = Recorder(root, workers=2)
    recorder.began(("general", 0, 2))
    found = look(root)
    assert states(found)["general seed 0"] == "#>"
    assert (found.exit_code, found.workers, found.live) == (75, 2, True)
    assert "at work: process" in said(found)
    body = json.loads((root / session.SESSION).read_text())
    body["owner"]["start"] = "2001-01-01T00:00:00Z"  # its number is another process's now
    (root / session.SESSION).write_text(json.dumps(body))
    assert states(look(root))["general seed 0"] == "#."


def test_a_damaged_session_file_is_a_note(root: Path) -> None:
    (root / session.SESSION).write_text("{")
    found = look(root)
    assert found.exit_code == 0
    assert any("session.json is damaged" in note for note in found.notes)


def test_nothing_is_written_and_no_lock_is_needed(root: Path) -> None:
    def stored() -> dict[str, Any]:
        return {str(p): (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in sorted(root.rglob("*"))}

    folder = store.open_experiment(root)
    with folder.lock(), folder.run("general", 0).lock():
        before = stored()
        assert look(root).exit_code == 0
        assert stored() == before


def test_versions_that_a_resume_would_refuse_are_noted(root: Path) -> None:
    notes = " ".join(look(root).notes)
    assert "--allow torch" in notes  # the fake run says torch 2.0
    assert "committed with torch 2.0" in notes


def test_the_estimate_by_hand() -> None:
    def one(number: int, **seconds: float) -> Generation:
        state = "done" if len(seconds) == 2 else "missing"
        return Generation(number=number, state=state, wanted=("synthesize", "train"), seconds=seconds)

    growing = Run(arm="a", seed=0, generations=(one(1, synthesize=1, train=10), one(2, synthesize=3, train=30), one(3)))
    other = Run(arm="a", seed=1, generations=(one(1, synthesize=3, train=20), one(2, synthesize=5), one(3)))
    fresh = Run(arm="b", seed=0, generations=(one(1), one(2), one(3)))
    times = Times([growing, other, fresh])
    assert times.left(growing) == 4 + 30  # generation 2 of both seeds: median of 3 and 5; 30
    assert times.left(other) == 30 + 4 + 30
    assert times.left(fresh) == 3 * (3 + 20)  # medians over all of arm a: 1, 3, 3, 5 and 10, 20, 30
    assert math.isnan(Times([fresh]).left(fresh))
    both = Status(root=Path(), name="x", runs=(growing, other, fresh), workers=2)
    assert both.seconds_left == pytest.approx((34 + 64 + 69) / 2)
    # Seventy workers cannot share one run.
    assert Status(root=Path(), name="x", runs=(growing, other, fresh), workers=70).seconds_left == 69


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["factfade", "run", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_the_command_on_folders_files_and_strangers(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fake.toml"
    (root / "experiment.toml").write_text(to_toml(experiment(root)))  # resolved, as a sweep writes it
    file.write_text((root / "experiment.toml").read_text())
    assert command(monkeypatch, str(root), "--status") == 0
    assert command(monkeypatch, str(root / "general" / "seed-0"), "--status", "--json") == 0
    out = capsys.readouterr().out
    assert [run["arm"] for run in json.loads(out[out.index("{\n") :])["runs"]] == ["", "general"]
    assert command(monkeypatch, str(file), "--out", str(tmp_path), "--status") == 0
    grown = ("-o", "experiment.generations=4", "--arms", "general")
    assert command(monkeypatch, str(file), "--out", str(tmp_path), "--status", *grown) == 75
    shown = capsys.readouterr().out
    assert f"factfade run {file} -o experiment.generations=4 --out {tmp_path} --arms general" in shown
    assert command(monkeypatch, str(file), "--out", str(tmp_path / "nowhere"), "--status") == 75
    assert not (tmp_path / "nowhere").exists()
    assert command(monkeypatch, str(file), "--out", str(tmp_path), "--status", "-o", "training.learning_rate=1") == 2
    assert "training.learning_rate" in capsys.readouterr().err
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "letter.txt").write_text("x")
    assert command(monkeypatch, str(tmp_path / "stranger"), "--status") == 2
    assert "neither an experiment's folder" in capsys.readouterr().err
    (root / "experiment.toml").write_text("[")
    assert command(monkeypatch, str(root), "--status") == 5
    assert "experiment.toml is damaged" in capsys.readouterr().err

"""Verification: what is whole is said to be, one changed byte is found and named, what was not looked at is said."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factfade import cli, durable, judging, keys, loop, manifest, stages, store, sweep
from factfade.errors import NotFound
from factfade.progress import Silent
from factfade.report import page
from factfade.verify import Verification, verify
from factfade.verify_tables import difference
from tests import fakerun, small


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as `factfade run` leaves it: two arms, one training each."""
    materials = small.materials(tmp_path_factory.mktemp("materials"))
    experiment = small.experiment(materials, experiment={"generations": 1})
    root = tmp_path_factory.mktemp("runs") / "small"
    environment = sweep.record(experiment, sweep.check_inputs(experiment))
    store.create_experiment(root, toml=sweep.to_toml(experiment), environment=environment)
    loop.run_start(experiment, root, progress=Silent())
    for arm in experiment.arms:
        loop.run_arm(experiment, arm, 0, root, progress=Silent())
    page.build(root, page.collect(root, sweep.call(root)))
    return root


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "small"))


@pytest.fixture(scope="module")
def whole(finished: Path) -> Verification:
    return verify(finished)


def flip(path: Path) -> None:
    """Change one bit of the byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def states(found: Verification, state: str) -> dict[str, str]:
    return {check.what: check.said for check in found.checks if check.state == state}


def test_an_untouched_folder_is_verified_and_says_what_was_not_looked_at(whole: Verification) -> None:
    assert whole.verified
    assert whole.exit_code == 0
    assert set(states(whole, "verified")) == {
        "environment", "settings", "stage rule", "files", "identity", "start model", "counts", "keys", "completeness",
        "stage calls", "page",
    }  # fmt: skip
    assert set(states(whole, "unchecked")) == {"sampling", "training", "authorship"}
    assert whole.lines()[-1].startswith("Verified")


def test_every_published_file_is_hashed(finished: Path, whole: Verification) -> None:
    listed = sum(len(json.loads(path.read_bytes())["files"]) for path in manifests(finished))
    assert states(whole, "verified")["files"].startswith(f"{listed} files")
    assert listed > 30


def manifests(root: Path) -> Iterator[Path]:
    return (p for p in root.rglob("*.json") if p.stem in ("synthesize", "train", "evaluate"))


def published(root: Path) -> list[Path]:
    """One file of every kind that a step publishes."""
    run = root / "general" / "seed-0" / "generation-001"
    found = [run / name for name in ("completions.parquet", "human.jsonl", "fluency.parquet", "own.parquet")]
    found += sorted((run / "checkpoint").iterdir())
    return [*found, next((run / "evidence").iterdir()), root / "generation-000" / "fluency.parquet"]


def test_a_flipped_bit_in_every_kind_of_published_file_is_found_and_named(copy: Path) -> None:
    touched = published(copy)
    assert {path.suffix for path in touched} == {".parquet", ".jsonl", ".json", ".safetensors"}
    for path in touched:
        flip(path)
    found = verify(copy)
    assert found.exit_code == 5
    named = {path.relative_to(copy).as_posix() for path in touched}
    assert named <= {check.path for check in found.damaged}
    others = {check.path for check in found.damaged} - named
    assert others <= {"general/seed-0/generation-001/checkpoint", ""}, "nothing that was left alone is blamed"


def test_a_flipped_bit_in_every_manifest_is_found_and_named(copy: Path) -> None:
    touched = list(manifests(copy))
    for path in touched:
        flip(path)
    found = verify(copy)
    assert found.exit_code == 5
    assert {path.relative_to(copy).as_posix() for path in touched} == {check.path for check in found.damaged}


@pytest.mark.parametrize("name", ["experiment.toml", "environment.json", "stages.json", "report.html"])
def test_a_flipped_bit_in_a_file_of_the_experiment_is_found_and_named(copy: Path, name: str) -> None:
    flip(copy / name)
    found = verify(copy)
    assert found.exit_code == 5
    assert name in {check.path for check in found.damaged}
    assert name in found.lines()[-1]


def test_a_manifest_and_a_shard_that_are_missing(copy: Path) -> None:
    shard = next((copy / "general/seed-0/generation-001/evidence").iterdir())
    shard.unlink()
    found = verify(copy)
    assert [check.path for check in found.damaged] == [shard.relative_to(copy).as_posix()]
    assert "missing" in found.damaged[0].said


def edited(path: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(durable.json_bytes(value))


def test_an_edited_stage_is_found_with_what_the_evidence_gives(copy: Path) -> None:
    edited(copy / "stages.json", lambda data: data["calls"][0].update(stage="A"))
    found = verify(copy)
    assert [check.path for check in found.damaged] == ["stages.json"]
    assert 'calls[0].stage is "A", computed is "undetermined"' in found.damaged[0].said


def test_a_bound_that_was_edited_in_its_sixth_digit_is_found(copy: Path) -> None:
    def nudge(data: Any) -> None:
        one = next(c for call in data["calls"] for c in call["conditions"] if c["high"])
        one["high"] *= 1 + 1e-6

    edited(copy / "stages.json", nudge)
    assert [check.path for check in verify(copy).damaged] == ["stages.json"]


def test_an_edited_page_is_found_with_the_words(copy: Path) -> None:
    text = (copy / "report.html").read_text("utf-8")
    (copy / "report.html").write_text(text.replace("undetermined", "preserved", 1), "utf-8")
    found = verify(copy)
    assert [check.path for check in found.damaged] == ["report.html"]
    assert "'preserved'" in found.damaged[0].said
    assert "'undetermined'" in found.damaged[0].said


def test_removed_weights_are_said_and_the_rest_is_verified(copy: Path, whole: Verification) -> None:
    shutil.rmtree(copy / "general/seed-0/generation-001/checkpoint")
    found = verify(copy)
    assert found.exit_code == 0
    assert "removed" in states(found, "unchecked")["weights"]
    assert [c.path for c in found.checks if c.what == "weights"] == ["general/seed-0/generation-001/checkpoint"]
    assert set(states(found, "verified")) == set(states(whole, "verified"))


def test_weights_removed_in_part_are_damage(copy: Path) -> None:
    (copy / "general/seed-0/generation-001/checkpoint/config.json").unlink()
    assert "general/seed-0/generation-001/checkpoint/config.json" in {c.path for c in verify(copy).damaged}


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A manifest changed and hashed anew, as a careful forger would."""
    body = json.loads(path.read_bytes())
    change(body)
    body.pop("manifest_sha256")
    path.write_bytes(durable.json_bytes({**body, "manifest_sha256": keys.sha256_of(body)}))
    assert manifest.read_manifest(path) is not None


def test_a_record_that_counts_otherwise_is_found_although_its_hash_fits(copy: Path) -> None:
    path = copy / "general/seed-0/generation-001/evaluate.json"
    rewritten(path, lambda body: body["record"]["evidence"]["short_answer-0000"].update(choices_correct=6))
    found = verify(copy)
    assert "short_answer-0000.parquet holds choices_correct" in states(found, "damaged")["counts"]


def test_weights_that_are_not_those_that_were_evaluated_are_found(copy: Path) -> None:
    path = copy / "general/seed-0/generation-001/train.json"
    rewritten(path, lambda body: body["record"].update(identity="0" * 64))
    found = verify(copy)
    assert "general/seed-0, generation 1" in states(found, "damaged")["identity"]


def test_a_rule_that_was_changed_after_the_fact_is_found(copy: Path) -> None:
    text = (copy / "experiment.toml").read_text("utf-8")
    assert "knowledge = 0.05" in text
    (copy / "experiment.toml").write_text(text.replace("knowledge = 0.05", "knowledge = 0.2"), "utf-8")
    damaged = states(verify(copy), "damaged")
    assert "declared" in damaged["stage rule"]
    assert "hash was recorded" in damaged["settings"]


def test_a_record_of_the_environment_is_sealed(copy: Path) -> None:
    edited(copy / "environment.json", lambda data: data["versions"].update(torch="9.9"))
    assert "its own hash" in states(verify(copy), "damaged")["environment"]


def test_an_older_version_of_the_code_is_said_not_blamed(copy: Path) -> None:
    def older(data: dict[str, Any]) -> None:
        data["versions"]["factfade"] = "0.0.1"
        data["sha256"] = keys.sealed({k: v for k, v in data.items() if k != "sha256"})["sha256"]

    edited(copy / "environment.json", older)
    (copy / "report.html").write_text("<p>an older page</p>", "utf-8")
    found = verify(copy)
    assert found.exit_code == 0
    assert "another version of factfade" in states(found, "unchecked")["page"]


def test_calls_that_are_older_than_the_evidence_are_said_not_blamed(finished: Path, copy: Path) -> None:
    later = copy / "general/seed-0/generation-001"
    shutil.move(later, copy / "aside")
    page.build(copy, page.collect(copy, sweep.call(copy)))
    shutil.move(copy / "aside", later)
    found = verify(copy)
    assert "older than the evidence" in states(found, "unchecked")["stage calls"]
    assert "older than the evidence" in states(found, "unchecked")["page"]
    assert found.exit_code == 0


def test_files_that_no_manifest_lists_are_said(copy: Path) -> None:
    (copy / "general/seed-0/generation-001/notes.txt").write_text("mine")
    assert "notes.txt" in states(verify(copy), "unchecked")["unlisted"]


def test_one_run_is_verified_by_its_path(finished: Path) -> None:
    found = verify(finished / "general" / "seed-0")
    assert found.exit_code == 0
    assert "whole experiment" in states(found, "unchecked")["stage calls"]


def test_a_run_without_records_of_counts_and_training_passes_what_it_has(tmp_path: Path) -> None:
    fakerun.run(tmp_path / "fake")
    found = verify(tmp_path / "fake")
    assert found.damaged == ()
    flip(tmp_path / "fake/general/seed-0/generation-002/checkpoint/model.safetensors")
    assert any(
        c.path.endswith("generation-002/checkpoint/model.safetensors") for c in verify(tmp_path / "fake").damaged
    )


def audit_folder(root: Path) -> Path:
    """An audit of one checkpoint, as its files."""
    root.mkdir()
    (root / "audit.toml").write_text('[audit]\nname = "mine"\n')
    for generation, place in enumerate(("base", "checkpoints/001-checkpoint-9")):
        key = fakerun.key("evaluate", 0.5, {"checkpoint": f"{generation}" * 64, "reference": "0" * 64})
        step = store.step(root / place, "evaluate", key)
        for block in range(2):
            rows = fakerun.evidence_rows("checkpoints", 0, generation, "quiz", block)
            step.shard(f"quiz-{block:04d}").write_rows(rows, "evidence")
        with step.writing():
            pass
    durable.write_json(root / "stages.json", stages.to_json(judging.open_case(root).stages()))
    return root


def test_an_audit_is_verified_by_the_same_checks(tmp_path: Path) -> None:
    root = audit_folder(tmp_path / "mine")
    found = verify(root)
    assert found.damaged == ()
    assert {"files", "identity", "keys", "completeness", "stage calls"} <= set(states(found, "verified"))
    flip(root / "checkpoints/001-checkpoint-9/evidence/quiz-0001.parquet")
    assert "checkpoints/001-checkpoint-9/evidence/quiz-0001.parquet" in {c.path for c in verify(root).damaged}


def test_what_is_no_folder_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        verify(tmp_path)


def test_the_command_prints_json_and_exits_5_for_damage(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(copy / "generation-000" / "fluency.parquet")
    monkeypatch.setattr(sys, "argv", ["factfade", "verify", str(copy), "--json"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 5
    said = json.loads(capsys.readouterr().out)
    assert said["verified"] is False
    assert said["counts"]["damaged"] >= 1
    assert "generation-000/fluency.parquet" in [c["path"] for c in said["checks"] if c["state"] == "damaged"]


@pytest.mark.parametrize(
    ("stored", "computed", "says"),
    [
        ({"a": 1}, {"a": 1.0}, None),
        ({"a": [1, {"b": 0.3}]}, {"a": [1, {"b": 0.1 + 0.2}]}, None),
        ({"a": 1}, {"a": 1.00001}, "a is 1, computed is 1.00001"),
        ({"a": 1}, {}, "a is stored, and not computed"),
        ({}, {"a": 1}, "a is not stored"),
        ([1], [1, 2], "has 1 entries"),
        ({"a": True}, {"a": 1}, "a is true"),
        ({"a": None}, {"a": 0.0}, "a is null"),
    ],
)
def test_differences_are_named(stored: Any, computed: Any, says: str | None) -> None:
    found = difference(stored, computed)
    assert found is None if says is None else says in str(found)


def test_a_seal_under_a_damaged_name_is_a_broken_seal() -> None:
    record = keys.sealed({"a": 1, "b": "x" * 64})
    assert keys.seal_holds(record) is True
    assert keys.seal_holds({**record, "a": 2}) is False
    assert keys.seal_holds({"a": 1, "b": "x" * 64}) is None
    assert keys.seal_holds({**{k: v for k, v in record.items() if k != "sha256"}, "sha257": record["sha256"]}) is False

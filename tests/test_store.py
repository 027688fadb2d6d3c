"""The experiment's folder: layout, resuming, refusal with the field, and damage that is found."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factfade import durable, store, tables
from factfade.errors import (
    ConfigError,
    FactfadeError,
    IntegrityError,
    Locked,
    NotFound,
    OutOfSpace,
    RunFailed,
    SettingsChanged,
    UnsafeArtifact,
    UnsafePath,
    UsageError,
)
from factfade.manifest import read_manifest
from tests import fakerun

LAYOUT = """\
environment.json
experiment.toml
general/seed-0/generation-001/checkpoint/config.json
general/seed-0/generation-001/checkpoint/model.safetensors
general/seed-0/generation-001/completions.parquet
general/seed-0/generation-001/evaluate.json
general/seed-0/generation-001/evidence/multiple_choice-0000.parquet
general/seed-0/generation-001/evidence/multiple_choice-0001.parquet
general/seed-0/generation-001/evidence/open_ended-0000.parquet
general/seed-0/generation-001/evidence/open_ended-0001.parquet
general/seed-0/generation-001/fluency.parquet
general/seed-0/generation-001/synthesize.json
general/seed-0/generation-001/train.json
generation-000/evaluate.json
generation-000/evidence/multiple_choice-0000.parquet
generation-000/evidence/multiple_choice-0001.parquet
generation-000/evidence/open_ended-0000.parquet
generation-000/evidence/open_ended-0001.parquet
generation-000/fluency.parquet
"""
SMALL: dict[str, Any] = {"generations": 1, "arms": ("general",)}


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "generation-001"


KEY = store.StepKey(version=1, settings={"rate": 0.5}, seed=0, package="1", libraries={"torch": "2"})


def commit(folder: Path, key: store.StepKey = KEY, **files: str) -> store.Step:
    step = store.step(folder, "train", key)
    with step.writing() as draft:
        for name, text in files.items():
            (draft.path / name).write_text(text)
        draft.record["n"] = len(files)
    return step


# ---------------------------------------------------------------------------------------------------------------
# The whole folder


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    fakerun.run(tmp_path / "run", **SMALL)
    assert list(fakerun.stored(tmp_path / "run")) == LAYOUT.split()


def test_a_second_run_computes_nothing_and_changes_no_byte(tmp_path: Path) -> None:
    fakerun.run(tmp_path, **SMALL)
    assert fakerun.executed
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    fakerun.run(tmp_path, **SMALL)
    assert fakerun.executed == []
    assert all(path.read_bytes() == content for path, content in before.items())


def test_more_generations_and_arms_are_taken_up(tmp_path: Path) -> None:
    fakerun.run(tmp_path / "a", **SMALL)
    fakerun.run(tmp_path / "a", generations=2)
    assert "general/1/train" not in fakerun.executed
    assert {"general/2/train", "human_only/1/train"} <= set(fakerun.executed)
    fakerun.run(tmp_path / "b", generations=2)
    assert fakerun.stored(tmp_path / "a") == fakerun.stored(tmp_path / "b")


def test_fewer_generations_are_refused(tmp_path: Path) -> None:
    fakerun.run(tmp_path, generations=2, arms=())
    with pytest.raises(SettingsChanged, match=r"experiment\.generations: 2 -> 1"):
        fakerun.run(tmp_path, generations=1, arms=())


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("learning_rate = 0.5", "learning_rate = 0.25", "training.learning_rate: 0.5 -> 0.25"),
        ('name = "fake"', 'name = "other"', "experiment.name"),
        ("seeds = [0]", "seeds = [1]", "experiment.seeds"),
        ("synthetic_fraction = 1.0", "synthetic_fraction = 0.5", "arms.general.synthetic_fraction: 1 -> 0.5"),
        ("[arms.human_only]\nsynthetic_fraction = 0.0\n", "", "arms.human_only"),
        ("[training]", "[training]\nepochs = 2", "training.epochs: (not set) -> 2"),
    ],
)
def test_a_changed_setting_is_refused_with_its_field(tmp_path: Path, old: str, new: str, field: str) -> None:
    toml = fakerun.TOML.format(generations=2, rate=0.5)
    store.create_experiment(tmp_path, toml=toml)
    before = fakerun.stored(tmp_path)
    assert old in toml
    with pytest.raises(SettingsChanged) as raised:
        store.create_experiment(tmp_path, toml=toml.replace(old, new))
    assert field in str(raised.value)
    assert raised.value.exit_code == 2
    assert "--out" in raised.value.hint
    assert fakerun.stored(tmp_path) == before


def test_seeds_and_arms_may_be_added(tmp_path: Path) -> None:
    toml = fakerun.TOML.format(generations=2, rate=0.5)
    store.create_experiment(tmp_path, toml=toml)
    grown = toml.replace("seeds = [0]", "seeds = [0, 1]") + "[arms.domain]\nsynthetic_fraction = 1.0\n"
    assert store.create_experiment(tmp_path, toml=grown).settings()["experiment"]["seeds"] == [0, 1]
    with pytest.raises(SettingsChanged, match=r"arms\.domain"):
        store.create_experiment(tmp_path, toml=toml)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        store.create_experiment(tmp_path, toml="")
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["thesis.tex"]


def test_environments_are_kept_and_new_ones_added_once(tmp_path: Path) -> None:
    for environment in ({"torch": "1"}, {"torch": "2"}, {"torch": "2"}, {"torch": "1"}):
        experiment = store.create_experiment(tmp_path, toml="", environment=environment)
    assert experiment.environment() == {"torch": "1", "resumed": [{"torch": "2"}]}


def test_an_experiment_is_opened_by_its_folder_or_by_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "run"
    fakerun.run(root, generations=1)
    whole = store.open_experiment(root)
    assert [(run.arm, run.seed) for run in whole.runs()] == [("general", 0), ("human_only", 0)]
    assert [run.generations() for run in whole.runs()] == [[0, 1], [0, 1]]
    for path in (root / "human_only" / "seed-0", root / "human_only" / "seed-0" / "generation-001"):
        one = store.open_experiment(path)
        assert [(run.arm, run.seed) for run in one.runs()] == [("human_only", 0)]
        assert one.root.samefile(root)
    monkeypatch.chdir(root / "general" / "seed-0")
    assert store.open_experiment(".").only is not None
    for elsewhere in (tmp_path, root / "human_only", tmp_path / "nothing"):
        with pytest.raises(NotFound):
            store.open_experiment(elsewhere)


def test_runs_stand_in_the_order_of_the_file_then_of_names_and_numbers(tmp_path: Path) -> None:
    experiment = store.create_experiment(tmp_path, toml="[arms.zeta]\n[arms.beta]\n")
    for arm, seed in (("beta", 10), ("beta", 9), ("zeta", 0), ("stray", 0), ("alpha", 0)):
        experiment.run(arm, seed).path.mkdir(parents=True)
    (tmp_path / "beta" / "seed-09").mkdir()
    (tmp_path / "beta" / "seed-x").mkdir()
    (tmp_path / "logs").mkdir()
    assert [(run.arm, run.seed) for run in experiment.runs()] == [
        ("zeta", 0), ("beta", 9), ("beta", 10), ("alpha", 0), ("stray", 0)
    ]  # fmt: skip


def test_an_arm_may_have_a_start_of_its_own(tmp_path: Path) -> None:
    experiment = store.create_experiment(tmp_path, toml="")
    assert experiment.run("a", 0).generation(0) == tmp_path / "generation-000"
    own = experiment.run("a", 0, own_start=True)
    assert own.generation(0) == tmp_path / "a" / "generation-000"
    commit(own.generation(0), x="1")
    assert experiment.run("a", 1).generation(0) == tmp_path / "a" / "generation-000"
    assert experiment.run("b", 0).generation(0) == tmp_path / "generation-000"


def test_names_and_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    experiment = store.create_experiment(tmp_path / "run", toml="")
    for arm in ("../other", "/etc", "generation-000", "a\x1b[2J"):
        with pytest.raises(ConfigError):
            experiment.run(arm, 0)
    with pytest.raises(ConfigError):
        experiment.run("a", -1)
    with pytest.raises(UnsafePath):
        experiment.path("..", "x")
    (tmp_path / "out" / "seed-0").mkdir(parents=True)
    (tmp_path / "run" / "arm").symlink_to(tmp_path / "out")
    with pytest.raises(UnsafePath):
        experiment.runs()


def test_a_second_writer_of_a_run_is_turned_away(tmp_path: Path) -> None:
    experiment = store.create_experiment(tmp_path, toml="")
    with experiment.run("a", 0).lock():
        with pytest.raises(Locked), experiment.run("a", 0).lock():
            pass
        with experiment.run("a", 1).lock(), experiment.run("b", 0).lock(), store.start_lock(experiment):
            pass


# ---------------------------------------------------------------------------------------------------------------
# Steps


def test_a_step_is_committed_with_its_record(folder: Path) -> None:
    assert not store.step(folder, "train", KEY).committed
    commit(folder, x="1")
    step = store.step(folder, "train", KEY)
    assert step.committed
    assert step.manifest.record == {"n": 1}
    assert step.path("x").read_text() == "1"
    assert {"finished", "seconds"} <= set(step.manifest.times)
    with pytest.raises(KeyError):
        step.path("y")
    assert store.step_identity(folder, "train") == step.manifest.identity
    with pytest.raises(RunFailed):
        store.step_identity(folder, "evaluate")


def test_the_identity_is_the_content_alone(tmp_path: Path) -> None:
    one, same, other = (commit(tmp_path / str(n), x=text) for n, text in enumerate("aab"))
    assert one.manifest.identity == same.manifest.identity != other.manifest.identity


def test_an_exception_publishes_nothing(folder: Path) -> None:
    step = store.step(folder, "train", KEY)
    with pytest.raises(ZeroDivisionError), step.writing() as draft:
        _ = (draft.path / "x").write_text("1") / 0
    assert not step.committed
    assert not (folder / "x").exists()
    commit(folder, y="2")
    assert [p.name for p in sorted(folder.iterdir())] == ["train.json", "y"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("I/O error: No space left on device (os error 28)")]
)
def test_a_library_that_finds_the_disk_full_is_understood(folder: Path, error: Exception) -> None:
    step = store.step(folder, "train", KEY)

    def write() -> None:
        with step.writing() as draft:
            (draft.path / "half").write_text("1")
            raise error

    with pytest.raises(OutOfSpace) as raised:
        write()
    assert raised.value.__cause__ is error
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"version": 2}, "version: 1 -> 2"),
        ({"settings": {"rate": 0.25}}, "settings.rate: 0.5 -> 0.25"),
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"package": "2"}, 'package: "1" -> "2"'),
        ({"libraries": {"torch": "3"}}, 'libraries.torch: "2" -> "3"'),
        ({"inputs": {"checkpoint": "ab"}}, 'inputs.checkpoint: (not set) -> "ab"'),
    ],
)
def test_a_step_under_another_key_is_refused_with_the_field(folder: Path, change: dict[str, Any], path: str) -> None:
    commit(folder, x="1")
    fields = {f: getattr(KEY, f) for f in ("version", "settings", "inputs", "seed", "package", "libraries")}
    with pytest.raises(SettingsChanged) as raised:
        _ = store.step(folder, "train", store.StepKey(**{**fields, **change})).committed
    assert path in str(raised.value)


def test_a_library_version_may_change_when_allowed(folder: Path) -> None:
    commit(folder, x="1")
    newer = store.StepKey(version=1, settings={"rate": 0.5}, seed=0, package="1", libraries={"torch": "3"})
    assert store.step(folder, "train", newer, allow=("torch",)).committed


def damage_missing(path: Path) -> None:
    path.unlink()


def damage_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def damage_long(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def damage_swapped(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize("damage", [damage_missing, damage_short, damage_long, damage_swapped])
def test_damage_is_found_and_named(folder: Path, damage: Callable[[Path], None]) -> None:
    commit(folder, weights="abcdef", other="x")
    damage(folder / "weights")
    with pytest.raises(IntegrityError, match="weights") as raised:
        _ = store.step(folder, "train", KEY).committed
    assert raised.value.exit_code == 5
    assert raised.value.path == str(folder / "weights")


def flip(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    bit = dice.randrange(len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["checkpoint/model.safetensors", "train.json"])
def test_a_hundred_bit_flips_are_all_found(folder: Path, name: str) -> None:
    step = store.step(folder, "train", KEY)
    with step.writing() as draft:
        (draft.path / "checkpoint").mkdir()
        (draft.path / "checkpoint" / "model.safetensors").write_bytes(fakerun.weights(1))
        draft.record["losses"] = [1.5, 2.0, 3]
    path, dice, found = folder / name, random.Random(0), 0
    whole = path.read_bytes()
    for _ in range(100):
        flip(path, dice)
        try:
            found += not store.step(folder, "train", KEY).committed
        except IntegrityError:
            found += 1
        path.write_bytes(whole)
    assert found == 100
    assert store.step(folder, "train", KEY).committed


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b'{"manifest_version": 1}', b'{"a": 1, "a": 2}']
)
def test_a_file_that_is_no_manifest_is_damage(folder: Path, text: bytes) -> None:
    folder.mkdir()
    (folder / "train.json").write_bytes(text)
    with pytest.raises(IntegrityError):
        _ = store.step(folder, "train", KEY).committed
    with pytest.raises(IntegrityError):
        store.committed_steps(folder)


def test_a_manifest_of_another_version_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factfade.manifest.MANIFEST_VERSION", 2)
    commit(folder, x="1")
    monkeypatch.setattr("factfade.manifest.MANIFEST_VERSION", 1)
    with pytest.raises(UsageError, match="version 2"):
        _ = store.step(folder, "train", KEY).committed


def test_a_manifest_cannot_name_files_outside(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    step = commit(folder, x="x")
    manifest = step.manifest
    entry = manifest.files["x"]
    from dataclasses import replace

    from factfade.manifest import manifest_bytes

    for name in ("../secret", str(tmp_path / "secret"), "a/../../secret"):
        (folder / "train.json").write_bytes(manifest_bytes(replace(manifest, files={name: entry})))
        with pytest.raises(UnsafePath):
            read_manifest(folder / "train.json")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "train.json").write_bytes(manifest_bytes(replace(manifest, files={"link": entry})))
    with pytest.raises(UnsafePath):
        _ = store.step(folder, "train", KEY).committed


@pytest.mark.parametrize("name", ["training_args.bin", "checkpoint.PT", "a.pkl", "optimizer.pth"])
def test_pickles_are_not_published(folder: Path, name: str) -> None:
    with pytest.raises(UnsafeArtifact, match=name):
        commit(folder, **{name: "x"})
    assert not store.step(folder, "train", KEY).committed


def test_links_are_not_published(folder: Path, tmp_path: Path) -> None:
    step = store.step(folder, "train", KEY)
    with pytest.raises(UnsafePath), step.writing() as draft:
        (draft.path / "x").symlink_to(tmp_path)


def test_a_step_writes_over_no_other_steps_files(folder: Path) -> None:
    commit(folder, x="1")
    other = store.step(folder, "evaluate", KEY)
    with pytest.raises(RunFailed, match="x"), other.writing() as draft:
        (draft.path / "x").write_text("2")
    assert store.step(folder, "train", KEY).path("x").read_text() == "1"


def test_what_an_interrupted_attempt_left_is_set_aside(folder: Path) -> None:
    folder.mkdir()
    (folder / "x").write_text("from somewhere")
    commit(folder, x="1")
    assert (folder / "x").read_text() == "1"
    assert (folder / ".incomplete" / "train" / "x").read_text() == "from somewhere"


def test_a_record_that_is_not_plain_data_commits_nothing(folder: Path) -> None:
    for bad in (float("nan"), object()):
        step = store.step(folder, "train", KEY)
        with pytest.raises(RunFailed), step.writing() as draft:
            draft.record["bad"] = bad
        assert not step.committed


# ---------------------------------------------------------------------------------------------------------------
# Shards


def test_committed_shards_survive_and_are_listed(folder: Path) -> None:
    step = store.step(folder, "evaluate", KEY)
    step.shard("a").write(b"1", record={"n": 1})
    again = store.step(folder, "evaluate", KEY)
    assert again.shard("a").committed
    assert again.shard("a").manifest.record == {"n": 1}
    assert not again.shard("b").committed
    with pytest.raises(RunFailed, match="b"), again.writing():
        pass
    again.shard("b").write(b"2")
    with again.writing():
        pass
    assert list(again.manifest.files) == ["evidence/a.parquet", "evidence/b.parquet"]
    assert sorted(p.name for p in folder.iterdir()) == ["evaluate.json", "evidence"]


def test_a_shard_under_another_key_is_refused(folder: Path) -> None:
    store.step(folder, "evaluate", KEY).shard("a").write(b"1")
    other = store.StepKey(version=1, settings={"rate": 0.25}, seed=0, package="1", libraries={"torch": "2"})
    with pytest.raises(SettingsChanged, match=r"settings\.rate"):
        _ = store.step(folder, "evaluate", other).shard("a").committed


@pytest.mark.parametrize("what", ["data", "manifest"])
def test_a_damaged_shard_of_an_unfinished_step_is_computed_again(folder: Path, what: str) -> None:
    shard = store.step(folder, "evaluate", KEY).shard("a")
    shard.write(b"12345")
    flip(shard.path if what == "data" else shard.manifest_path, random.Random(1))
    again = store.step(folder, "evaluate", KEY).shard("a")
    assert not again.committed
    assert again.rejected
    again.write(b"12345")
    assert store.step(folder, "evaluate", KEY).shard("a").read() == b"12345"


def test_a_manifest_copied_from_another_shard_does_not_count(folder: Path) -> None:
    step = store.step(folder, "evaluate", KEY)
    step.shard("a").write(b"1")
    durable.write_bytes(step.shard("b").manifest_path, step.shard("a").manifest_path.read_bytes())
    assert not store.step(folder, "evaluate", KEY).shard("b").committed


def test_shards_that_are_not_in_the_plan_are_set_aside(folder: Path) -> None:
    step = store.step(folder, "evaluate", KEY)
    step.shard("a").write(b"1")
    (folder / "evidence" / "stray.parquet").write_bytes(b"x")
    with step.writing():
        pass
    assert [p.name for p in (folder / "evidence").iterdir()] == ["a.parquet"]
    assert (folder / ".incomplete" / "evaluate" / "evidence" / "stray.parquet").exists()


def test_scratch_shards_are_not_published(folder: Path) -> None:
    step = store.step(folder, "synthesize", KEY)
    step.scratch("batch-0").write(b"1")
    assert store.step(folder, "synthesize", KEY).scratch("batch-0").read() == b"1"
    with step.writing() as draft:
        (draft.path / "all").write_bytes(step.scratch("batch-0").read())
    assert list(step.manifest.files) == ["all"]
    assert sorted(p.name for p in folder.iterdir()) == ["all", "synthesize.json"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "/a", "A"])
def test_shards_have_safe_names(folder: Path, name: str) -> None:
    step = store.step(folder, "evaluate", KEY)
    for make in (lambda: step.shard(name), lambda: step.scratch(name), lambda: step.shard("a", folder=name)):
        with pytest.raises(ValueError, match="name"):
            make()


def test_rows_of_a_shard_are_checked_before_they_are_committed(folder: Path) -> None:
    shard = store.step(folder, "evaluate", KEY).shard("a")
    with pytest.raises(FactfadeError):
        shard.write_rows([{"lineage": "a"}], "evidence")
    assert not shard.committed
    rows = fakerun.evidence_rows("a", 0, 1, "multiple_choice", 0)
    shard.write_rows(rows, "evidence")
    assert len(shard.read_rows("evidence")) == len(rows)
    assert tables.to_bytes(rows, "evidence") == shard.read()

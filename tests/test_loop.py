"""The recursion on a small model: what it leaves behind, what it repeats, what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from factfade import loop, reading, store
from factfade.config import Experiment
from factfade.errors import JunkGate, SettingsChanged
from factfade.progress import Silent
from factfade.sweep import to_toml
from tests import small


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.materials(tmp_path_factory.mktemp("materials"))


def begin(experiment: Experiment, root: Path) -> Path:
    store.create_experiment(root, toml=to_toml(experiment), environment={})
    return root


def go(experiment: Experiment, root: Path, arms: tuple[str, ...] = ("human_only", "general")) -> Path:
    begin(experiment, root)
    loop.run_start(experiment, root, progress=Silent())
    for arm in arms:
        loop.run_arm(experiment, arm, 0, root, progress=Silent())
    return root


@pytest.fixture(scope="module")
def finished(materials: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return go(small.experiment(materials), tmp_path_factory.mktemp("finished") / "small")


def test_run_folder_bears_the_documented_names(finished: Path) -> None:
    for arm in ("human_only", "general"):
        for generation in ("generation-001", "generation-002"):
            folder = finished / arm / "seed-0" / generation
            names = {p.name for p in folder.iterdir()}
            assert {"synthesize.json", "completions.parquet", "train.json", "checkpoint", "evaluate.json", "evidence",
                    "fluency.parquet"} <= names  # fmt: skip
            assert not list(folder.rglob("*.bin")) + list(folder.rglob("*.pt"))
    assert (finished / "generation-000" / "evaluate.json").is_file()
    assert not (finished / "generation-000" / "checkpoint").exists()


def test_evidence_is_complete_and_paired(finished: Path) -> None:
    evidence = reading.load_evidence(store.open_experiment(finished))
    assert set(evidence["lineage"]) == {"human_only", "general"}
    assert set(evidence["generation"]) == {0, 1, 2}
    counts = evidence.groupby(["lineage", "generation", "format"])["item"].nunique()
    assert set(counts) == {12}
    assert evidence["choice"].notna().all()
    assert evidence["outcome"].notna().all()


def test_control_trains_on_human_text_and_general_on_none(finished: Path) -> None:
    steps = reading.manifests(store.open_experiment(finished))
    human = steps["human_only", 0, 1]["synthesize"].record
    general = steps["general", 0, 1]["synthesize"].record
    assert (human["synthetic"], human["human"], human["achieved_synthetic_fraction"]) == (0, 24, 0.0)
    assert (general["synthetic"], general["human"], general["achieved_synthetic_fraction"]) == (24, 0, 1.0)
    # The same optimiser steps in both: 24 documents of at most 16 tokens, chunks of 32, batches of 4.
    assert steps["human_only", 0, 1]["train"].record["steps"] == 3


def test_a_step_says_what_it_took_on_the_clock_and_of_the_processor(finished: Path) -> None:
    steps = reading.manifests(store.open_experiment(finished))
    for name in ("synthesize", "train", "evaluate"):
        times = steps["general", 0, 1][name].times
        assert times["seconds"] > 0
        assert times["processor_seconds"] > 0
    train = steps["general", 0, 1]["train"].times
    # All of the step: what a pool part asks of a model is paid for too, and so is what is done after the training.
    assert train["seconds"] >= train["trainer_seconds"] + train["pool_seconds"] - 0.002


def test_generations_differ_and_start_from_the_one_before(finished: Path) -> None:
    steps = reading.manifests(store.open_experiment(finished))
    first, second = (steps["general", 0, g]["train"].record["identity"] for g in (1, 2))
    start = steps["general", 0, 0]["evaluate"].record
    assert first != second
    assert start is not None


def test_running_again_repeats_nothing(materials: Path, finished: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file() and p.name != ".lock"}
    go(small.experiment(materials), finished)
    changed = [p for p, at in before.items() if p.stat().st_mtime_ns != at]
    assert changed == []


@pytest.mark.parametrize("removed", ["evaluate.json", "train.json", "synthesize.json", "evidence"])
def test_resumed_run_equals_one_never_interrupted(
    materials: Path, finished: Path, tmp_path: Path, removed: str
) -> None:
    copy = tmp_path / "small"
    shutil.copytree(finished, copy)
    # As after a kill: the step at which it was stopped has no manifest, later generations do not exist.
    folder = copy / "general" / "seed-0"
    later = {"synthesize.json": ("train.json", "evaluate.json"), "train.json": ("evaluate.json",)}.get(removed, ())
    for name in (removed, *later, *(("evaluate.json",) if removed == "evidence" else ())):
        path = folder / "generation-002" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    assert small.numbers(copy) != small.numbers(finished)
    go(small.experiment(materials), copy)
    assert small.numbers(copy) == small.numbers(finished)


def test_weights_are_bit_equal_with_evaluation_on_and_off(materials: Path, finished: Path, tmp_path: Path) -> None:
    off = small.experiment(materials, evaluation={"generations": [0]})
    go(off, tmp_path / "small", arms=("general",))
    on = reading.manifests(store.open_experiment(finished))
    dark = reading.manifests(store.open_experiment(tmp_path / "small"))
    assert "evaluate" not in dark["general", 0, 1]
    for g in (1, 2):
        assert dark["general", 0, g]["train"].record["identity"] == on["general", 0, g]["train"].record["identity"]


def test_another_seed_gives_other_weights(materials: Path, finished: Path, tmp_path: Path) -> None:
    experiment = small.experiment(materials, experiment={"seeds": [1], "generations": 1})
    begin(experiment, tmp_path / "small")
    loop.run_arm(experiment, "general", 1, tmp_path / "small", progress=Silent())
    other = reading.manifests(store.open_experiment(tmp_path / "small"))["general", 1, 1]["train"].record
    assert (
        other["identity"]
        != reading.manifests(store.open_experiment(finished))["general", 0, 1]["train"].record["identity"]
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"training": {"learning_rate": 2e-3}}, "training.learning_rate"),
        ({"synthesis": {"new_tokens": 12}}, "synthesis.new_tokens"),
        ({"synthesis": {"decoding": {"temperature": 0.5}}}, "synthesis.decoding.temperature"),
        ({"evaluation": {"seed": 3}}, "evaluation.seed"),
        ({"stages": {"knowledge": 0.2}}, "stages.knowledge"),
        ({"model": {"dtype": "bfloat16"}}, "model.dtype"),
    ],
)
def test_a_changed_setting_is_refused_by_its_field(
    materials: Path, finished: Path, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(SettingsChanged, match=field.replace(".", r"\.")):
        begin(small.experiment(materials, **changes), finished)


def test_more_generations_continue_an_existing_run(materials: Path, finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "small"
    shutil.copytree(finished, copy)
    longer = small.experiment(materials, experiment={"generations": 3})
    go(longer, copy, arms=("general",))
    steps = reading.manifests(store.open_experiment(copy))
    assert steps["general", 0, 3]["train"].record["steps"] > 0
    assert small.numbers(finished).items() <= small.numbers(copy).items()


def test_the_junk_gate_stops_the_run_before_anything_is_published(materials: Path, tmp_path: Path) -> None:
    # A gate of zero and a greedy decoding: a random model repeats itself, and identical prompts give duplicates.
    experiment = small.experiment(
        materials, synthesis={"junk_bound": 0.0, "allow_junk": False, "decoding": {"temperature": 0.0}}
    )
    root = begin(experiment, tmp_path / "small")
    with pytest.raises(JunkGate, match="junk"):
        loop.run_arm(experiment, "general", 0, root, progress=Silent())
    assert not (root / "general" / "seed-0" / "generation-001" / "synthesize.json").exists()

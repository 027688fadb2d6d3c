"""Which checkpoints are found at a path, and in which order."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import checkpoints
from factfade.checkpoints import discover
from factfade.errors import NotFound, UsageError


def saved(folder: Path, *, step: int | None = None, adapter: bool = False) -> Path:
    folder.mkdir(parents=True)
    (folder / ("adapter_config.json" if adapter else "config.json")).write_text("{}")
    if step is not None:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


def names(*paths: Path | str, **more: object) -> list[tuple[str, int | None]]:
    return [(one.name, one.step) for one in discover(paths, **more)]  # type: ignore[arg-type]


def test_steps_order_checkpoints_and_times_do_not(tmp_path: Path) -> None:
    for count, step in enumerate((100, 9, 10)):
        folder = saved(tmp_path / f"checkpoint-{step}")
        os.utime(folder, (1e9 - count, 1e9 - count))
    assert names(tmp_path) == [("checkpoint-9", 9), ("checkpoint-10", 10), ("checkpoint-100", 100)]
    os.utime(tmp_path / "checkpoint-10", (2e9, 2e9))
    assert [name for name, _ in names(tmp_path)] == ["checkpoint-9", "checkpoint-10", "checkpoint-100"]


@given(steps=st.lists(st.integers(0, 10**9), min_size=2, max_size=6, unique=True))
def test_any_steps_come_in_their_order(steps: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("steps")
    for step in steps:
        saved(root / f"step_{step}")
    assert [step for _, step in names(root)] == sorted(steps)


def test_the_trainers_state_says_more_than_a_folders_name(tmp_path: Path) -> None:
    saved(tmp_path / "best", step=700)
    saved(tmp_path / "checkpoint-900")
    saved(tmp_path / "checkpoint-50", step=1000)
    assert names(tmp_path) == [("best", 700), ("checkpoint-900", 900), ("checkpoint-50", 1000)]
    (tmp_path / "best" / "trainer_state.json").write_text("no JSON")
    assert names(tmp_path)[-1] == ("best", None)


def test_numbers_of_a_models_name_are_no_step(tmp_path: Path) -> None:
    saved(tmp_path / "llama-3-8b")
    saved(tmp_path / "0012")
    saved(tmp_path / "epoch=3")
    assert dict(names(tmp_path)) == {"llama-3-8b": None, "0012": 12, "epoch=3": 3}


def test_the_last_model_beside_a_trainers_checkpoints_comes_after_them(tmp_path: Path) -> None:
    output = saved(tmp_path / "run-7")
    saved(output / "checkpoint-20", adapter=True)
    saved(output / "checkpoint-3")
    (output / "runs").mkdir()
    saved(output / "tmp-checkpoint-30")
    found = discover([output])
    assert [(one.name, one.kind, one.step) for one in found] == [
        ("checkpoint-3", "model", 3),
        ("checkpoint-20", "adapter", 20),
        ("run-7", "model", None),
    ]


def test_a_run_of_factfade_is_its_generations(tmp_path: Path) -> None:
    run = tmp_path / "demo" / "general" / "seed-0"
    for generation in (10, 2, 1):
        saved(run / f"generation-{generation:03d}" / "checkpoint")
    assert [step for _, step in names(run)] == [1, 2, 10]
    assert names(run)[0][0] == "generation-001/checkpoint"
    (tmp_path / "demo" / "experiment.toml").write_text("")
    assert len(names(tmp_path / "demo")) == 3
    saved(tmp_path / "demo" / "human_only" / "seed-0" / "generation-001" / "checkpoint")
    with pytest.raises(UsageError, match="experiment of 2 runs") as refused:
        discover([tmp_path / "demo"])
    assert "general/seed-0" in refused.value.hint


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for run in ("a", "b"):
        saved(tmp_path / run / "checkpoint-5")
    assert names(tmp_path / "a", tmp_path / "b") == [("a/checkpoint-5", 5), ("b/checkpoint-5", 5)]
    # Given twice, found once.
    assert len(names(tmp_path / "a", tmp_path / "a" / "checkpoint-5", tmp_path)) == 2


def test_globs_and_models_without_a_step_keep_the_order_in_which_they_are_given(tmp_path: Path) -> None:
    for name in ("zeta", "alpha", "checkpoint-4"):
        saved(tmp_path / name)
    assert [n for n, _ in names(tmp_path / "zeta", tmp_path / "alpha", tmp_path / "checkpoint-4")] == [
        "checkpoint-4",
        "zeta",
        "alpha",
    ]
    assert names(str(tmp_path / "check*")) == [("checkpoint-4", 4)]
    with pytest.raises(NotFound, match="no folder matches"):
        discover([str(tmp_path / "nothing-*")])


def test_a_folder_that_should_be_a_checkpoint_is_found_as_a_broken_one(tmp_path: Path) -> None:
    saved(tmp_path / "checkpoint-1")
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "optimizer.pt").write_bytes(b"x")
    (tmp_path / "notes").mkdir()
    assert [(one.name, one.kind) for one in discover([tmp_path])] == [
        ("checkpoint-1", "model"),
        ("checkpoint-2", "broken"),
    ]


def test_paths_without_a_checkpoint_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no checkpoint at"):
        discover([tmp_path])
    with pytest.raises(NotFound, match="nothing at"):
        discover([tmp_path / "absent"])
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="is a file"):
        discover([tmp_path / "model.safetensors"])


def test_an_audit_beside_the_checkpoints_is_not_taken_for_one(tmp_path: Path) -> None:
    saved(tmp_path / "checkpoint-1")
    saved(tmp_path / "old" / "checkpoint-7")
    (tmp_path / "old" / "audit.toml").write_text("")
    saved(tmp_path / "out" / "checkpoint-8")
    assert names(tmp_path, skip=[tmp_path / "out"]) == [("checkpoint-1", 1)]


def test_the_base_is_a_whole_model(tmp_path: Path) -> None:
    assert checkpoints.single(saved(tmp_path / "base")) == tmp_path / "base"
    with pytest.raises(UsageError, match="is an adapter"):
        checkpoints.single(saved(tmp_path / "adapter", adapter=True))

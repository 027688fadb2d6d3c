"""What two arms have in common is computed once, and is what would have been computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factfade import loop, store, synthesize
from factfade.config import Experiment
from factfade.progress import Silent
from factfade.sweep import to_toml
from tests import small

ARMS: dict[str, Any] = {
    "general": {"synthetic_fraction": 1.0},
    "slow": {"synthetic_fraction": 1.0, "training": {"learning_rate": 5e-4}},
    "half": {"synthetic_fraction": 0.5},
}


def run(experiment: Experiment, root: Path, arms: tuple[str, ...], seed: int = 0) -> Path:
    if not root.exists():
        store.create_experiment(root, toml=to_toml(experiment), environment={})
    for arm in arms:
        loop.run_arm(experiment, arm, seed, root, progress=Silent())
    return root


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder = small.materials(tmp_path_factory.mktemp("materials"))
    return small.experiment(
        folder, arms=ARMS, experiment={"name": "small", "generations": 1, "seeds": [0, 1]}, evaluation={"prompts": 4}
    )


def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lineages that text is synthesized for, from here on."""
    made: list[str] = []
    whole = synthesize.synthesize

    def counted(*args: Any, lineage: str, **rest: Any) -> Any:
        made.append(lineage)
        return whole(*args, lineage=lineage, **rest)

    monkeypatch.setattr(synthesize, "synthesize", counted)
    return made


def test_the_first_text_of_arms_that_train_otherwise_is_written_once(
    setting: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = calls(monkeypatch)
    shared = run(setting, tmp_path / "shared", ("general", "slow", "half"))
    assert made == ["general", "half"]
    alone = run(setting, tmp_path / "alone", ("slow",))
    assert made == ["general", "half", "slow"]
    mine = {name: value for name, value in small.numbers(shared).items() if name.startswith("slow/")}
    assert mine == {name: value for name, value in small.numbers(alone).items() if name.startswith("slow/")}
    times = json.loads((shared / "slow/seed-0/generation-001/synthesize.json").read_text())["times"]
    assert times["taken_from"] == "general"


def test_another_seed_writes_its_own(setting: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = calls(monkeypatch)
    root = run(setting, tmp_path / "root", ("general",))
    run(setting, root, ("slow",), seed=1)
    assert made == ["general", "slow"]


def test_a_damaged_text_is_not_taken_over(setting: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = calls(monkeypatch)
    root = run(setting, tmp_path / "root", ("general",))
    human = root / "general/seed-0/generation-001/human.jsonl"
    human.write_bytes(human.read_bytes()[:-2] + b"?\n")
    run(setting, root, ("slow",))
    assert made == ["general", "slow"]

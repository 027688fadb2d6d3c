"""The callback under TRL's DPO and GRPO trainers: a few steps each, measured, and bit-equal without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason='TRL is not installed: pip install "factfade[trl]"')

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

from factfade.auditfolder import AuditFolder
from factfade.identity import checkpoint_identity
from tests import small
from tests.test_callback import callback, record

STEPS = 2
COMMON: dict[str, Any] = {
    "max_steps": STEPS, "per_device_train_batch_size": 2, "learning_rate": 1e-2, "bf16": False,
    "gradient_checkpointing": False, "save_strategy": "no", "report_to": [], "logging_steps": 1, "use_cpu": True,
    "disable_tqdm": True, "seed": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.materials(tmp_path_factory.mktemp("trl"))


def dpo(path: Path, out: Path, callbacks: list[Any]) -> Any:
    """DPOTrainer over pairs of a right and a wrong city; the model that it compares with is a copy of its own."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    rows = [{"prompt": f"City {i}?", "chosen": " Paris", "rejected": " London"} for i in range(8)]
    return DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(path, attention_dropout=0.2),
        args=DPOConfig(output_dir=str(out), max_length=32, **COMMON),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(path),
        callbacks=callbacks,
    )


def grpo(path: Path, out: Path, callbacks: list[Any]) -> Any:
    """GRPOTrainer with a reward for the letter e: every step samples, so a moved random state would show."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    def reward(completions: list[str], **given: Any) -> list[float]:
        return [float(text.count("e")) for text in completions]

    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(path),
        reward_funcs=reward,
        args=GRPOConfig(output_dir=str(out), num_generations=2, max_completion_length=6, **COMMON),
        train_dataset=Dataset.from_list([{"prompt": f"City {i}?"} for i in range(8)]),
        processing_class=AutoTokenizer.from_pretrained(path),
        callbacks=callbacks,
    )


@pytest.mark.parametrize("trainer_of", [dpo, grpo])
def test_it_measures_and_changes_nothing(
    folder: Path, tmp_path: Path, trainer_of: Callable[[Path, Path, list[Any]], Any]
) -> None:
    path, one = folder / "model", callback(folder, every=1)

    def train(out: Path, callbacks: list[Any]) -> Any:
        set_seed(3)
        trainer = trainer_of(path, out, callbacks)
        trainer.train()
        return trainer

    watched, plain = train(tmp_path / "watched", [one]), train(tmp_path / "plain", [])
    rows = [row for row in watched.state.log_history if "factfade/measured" in row]
    assert [(row["step"], row["factfade/measured"]) for row in rows] == [(0, 1.0), (1, 1.0), (2, 1.0)]
    root = tmp_path / "watched" / "factfade"
    assert AuditFolder(root=root).run().generations() == [0, 1, 2]
    # The model that learns is asked, not the one that it is compared with: its weights before step 0, then new ones.
    stored = record(root)
    weights = [one["identity"]["weights"] for one in (stored["base"], *stored["checkpoints"])]
    assert weights[0] == checkpoint_identity(path)
    watched.save_model(str(tmp_path / "saved"))
    assert weights[-1] == checkpoint_identity(tmp_path / "saved")
    assert len(set(weights)) == 3
    # Neither the weights nor the trainer's own numbers know of it.
    other = plain.model.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in watched.model.state_dict().items())
    assert own_numbers(watched) == own_numbers(plain)


def own_numbers(trainer: Any) -> list[dict[str, float]]:
    """What a trainer logs at each step, less what depends on the clock."""
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == STEPS
    timed = ("time", "runtime", "per_second", "speed", "tps", "duration")
    return [{k: v for k, v in row.items() if not any(word in k for word in timed)} for row in rows]

"""Watch TRL's SFTTrainer fine-tune the shipped model on text that holds no facts.

    python examples/callback_trl.py --out sft

The model is asked before step 0, every few steps and at the end. Printed are the share that it gets right and the
loss against step 0, each with its interval; `factfade stages sft/factfade` says the same later, from the folder. Needs
TRL: pip install "factfade[trl]". About two minutes on one core.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

from factfade import FactFadeCallback
from factfade.world import model_path

SUBJECTS = ("The old mill", "A grey heron", "My neighbour", "The night train", "Nobody in the village", "A small boat")
VERBS = ("waited by", "forgot", "passed", "came back to", "painted", "listened to")
PLACES = ("the river", "the empty station", "a red door", "the long field", "the harbour wall", "the last lamp")


def stories(count: int, *, seed: int = 0) -> list[dict[str, str]]:
    """Rows of text as SFTTrainer takes them: four sentences each."""
    draw = random.Random(seed)

    def sentence() -> str:
        return f"{draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(PLACES)}."

    return [{"text": " ".join(sentence() for _ in range(4))} for _ in range(count)]


def fine_tune(out: Path, *, steps: int, every: int, items: int, max_seconds: float | None) -> tuple[Any, Any]:
    """The trainer and the callback after the training."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    callback = FactFadeCallback(
        questions="world",
        formats=["multiple_choice", "open_ended"],
        settings={"evaluation": {"prompts": 32, "texts": 16}},
        every=every,
        items=items,
        max_seconds=max_seconds,
        out=out / "factfade",
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model_path()),
        processing_class=AutoTokenizer.from_pretrained(model_path()),
        args=SFTConfig(
            output_dir=str(out), max_steps=steps, per_device_train_batch_size=8, learning_rate=1e-3, max_length=64,
            bf16=False, gradient_checkpointing=False, save_strategy="no", report_to=[], logging_steps=10,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(stories(8 * steps)),
        callbacks=[callback],
    )  # fmt: skip
    trainer.train()
    return trainer, callback


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("sft"))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--max-seconds", type=float, default=30.0)
    given = parser.parse_args()
    trainer, callback = fine_tune(
        given.out, steps=given.steps, every=given.every, items=given.items, max_seconds=given.max_seconds
    )
    for row in trainer.state.log_history:
        if row.get("factfade/measured"):
            right, low, high, n = (row[f"factfade/open_ended/right{part}"] for part in ("", "_low", "_high", "_n"))
            print(f"step {row['step']:>4}: {right:.1%} right [{low:.1%}, {high:.1%}], n = {n:.0f}")
    if callback.measured and callback.measured[-1].overall is not None:
        print(callback.measured[-1].overall.sentence)


if __name__ == "__main__":
    main()

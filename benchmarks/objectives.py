"""What each objective costs beside cross-entropy: `python benchmarks/objectives.py [--steps N] [--repeat N]`.

The embedded world's model is trained for a few optimizer steps on documents of its own corpus, on one thread, with
every objective in turn; the turns go round `--repeat` times. A line gives the median of the processor seconds of the
training as a ratio to that of cross-entropy, and what the objective logged.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

OBJECTIVES: dict[str, dict[str, Any]] = {
    "cross_entropy": {"kind": "cross_entropy"},
    "truncated, 0.99": {"kind": "truncated_cross_entropy"},
    "truncated, dynamic": {"kind": "truncated_cross_entropy", "gamma": "dynamic"},
    "spectral_decoupling": {"kind": "spectral_decoupling"},
    "spectral_decoupling, centred": {"kind": "spectral_decoupling", "centred": True},
    "format_consistency, letters": {"kind": "format_consistency"},
    "format_consistency, texts": {"kind": "format_consistency", "formats": ["multiple_choice", "short_answer"]},
    "kl_to_start, forward": {"kind": "kl_to_start"},
    "kl_to_start, reverse": {"kind": "kl_to_start", "direction": "reverse"},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one line for each objective."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args(arguments)

    from factfade import registry
    from factfade.assembly import assemble
    from factfade.config import parse
    from factfade.progress import Silent
    from factfade.records import Document
    from factfade.training.trainer import HfTrainer

    parts = assemble(parse({"arms": {"plain": {"synthetic_fraction": 0.0}}}), "plain")
    texts = itertools.islice(parts.corpus.documents(split="train", seed=1), 200)
    documents = [Document(id=str(i), text=text, source="human") for i, (text, _) in enumerate(texts)]
    trainer = HfTrainer(steps=options.steps, threads=1, device="cpu")
    seconds: dict[str, list[float]] = defaultdict(list)
    logs: dict[str, dict[str, float]] = {}
    # The first round is not counted: it pays for what is loaded once.
    for turn in range(options.repeat + 1):
        for name, spec in OBJECTIVES.items():
            with tempfile.TemporaryDirectory() as folder:
                objective = registry.build("objective", spec)
                begun = time.process_time()
                trained = trainer.train(
                    parts.start(),
                    documents,
                    objective,
                    out=Path(folder) / "out",
                    seed=turn,
                    progress=Silent(),
                    sources=parts.sources(),
                )
                if turn:
                    seconds[name].append(time.process_time() - begun)
            logs[name] = dict(trained.record["logs"])
    plain = statistics.median(seconds["cross_entropy"])
    print(f"{options.steps} steps of {trainer.batch} x {trainer.chunk_tokens} tokens; cross_entropy {plain:.2f} s")
    print(f"{'objective':<30} {'ratio':>6}  logs")
    for name, taken in seconds.items():
        shown = ", ".join(f"{key} {value:.4g}" for key, value in logs[name].items())
        print(f"{name:<30} {statistics.median(taken) / plain:>6.2f}  {shown}")


if __name__ == "__main__":
    main()

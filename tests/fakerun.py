"""A small experiment that goes through every kind of durable write of the store, made of hashes instead of models.

`run(root)` makes or continues it: two arms, two generations, three steps each, the evaluations in shards. Equal
arguments give equal stored bytes, times aside. Started as a program it is the zygote of the kill tests: it forks a
child for each line of its input, lets the child run to its death there, and answers with its status.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factfade import durable, identity, store, tables
from factfade.keys import sha256_of

TOML = """
[experiment]
name = "fake"
seeds = [0]
generations = {generations}
[training]
learning_rate = {rate}
[arms.general]
synthetic_fraction = 1.0
[arms.human_only]
synthetic_fraction = 0.0
"""
ARMS = ("general", "human_only")
FORMATS = ("multiple_choice", "open_ended")
EXPECTED_SHARDS = 2 * len(FORMATS)
executed: list[str] = []
"""What was computed and not skipped: "arm/generation/step" and "arm/generation/shard name"."""


def safetensors_bytes(tensors: dict[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    """A safetensors file by hand: name -> (dtype, shape, bytes)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def weights(*seed: Any) -> bytes:
    """A checkpoint file whose bytes follow from its inputs."""
    raw = bytes.fromhex(sha256_of(list(seed))) * 4
    return safetensors_bytes({"b.weight": ("F32", (8, 4), raw), "a.weight": ("F16", (64,), raw)})


def evidence_rows(lineage: str, seed: int, generation: int, form: str, block: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for item in range(3):
        digest = int(sha256_of([lineage, generation, form, block, item])[:6], 16)
        right = digest % 3 == 0
        rows.append(
            {
                "lineage": lineage, "seed": seed, "generation": generation, "item": f"item-{block}-{item}",
                "format": form, "wording": "", "options": ["x", "y"], "gold": 0, "choice": 0 if right else 1,
                "choice_correct": right, "option_logprob": [-1.0, -(digest % 7) / 2],
                "outcome": "correct" if right else "wrong", "answer": f"answer {digest}",
            }
        )  # fmt: skip
    return rows


def key(step: str, rate: float, inputs: dict[str, str], seed: int = 0) -> store.StepKey:
    return store.StepKey(
        version=1, settings={"step": step, "rate": rate}, inputs=inputs, seed=seed, package="1.0",
        libraries={"torch": "2.0"},
    )  # fmt: skip


def run(root: Path, *, rate: float = 0.5, generations: int = 2, arms: tuple[str, ...] = ARMS) -> None:
    """Make the experiment, or go on with it; what is committed is skipped."""
    executed.clear()
    toml = TOML.format(rate=rate, generations=generations)
    experiment = store.create_experiment(root, toml=toml, environment={"versions": {"python": "3"}})
    with store.start_lock(experiment):
        evaluate(experiment.start, "start", 0, 0, rate, "start")
    for arm in arms:
        folder = experiment.run(arm, 0)
        with folder.lock():
            for generation in range(1, generations + 1):
                one_generation(folder, generation, rate)


def one_generation(folder: store.RunFolder, generation: int, rate: float) -> None:
    place, arm = folder.generation(generation), folder.arm
    before = "start"
    if generation > 1:
        before = identity.checkpoint_identity(folder.generation(generation - 1) / "checkpoint")
    synthesize(place, arm, generation, rate, before)
    step = store.step(place, "train", key("train", rate, {"completions": store.step_identity(place, "synthesize")}))
    if not step.committed:
        executed.append(f"{arm}/{generation}/train")
        with step.writing() as draft:
            durable.make_folder(draft.path / "checkpoint")
            # A library writes by itself: not through `durable`.
            (draft.path / "checkpoint" / "model.safetensors").write_bytes(weights(arm, generation, rate))
            (draft.path / "checkpoint" / "config.json").write_text("{}")
            draft.record["steps"] = generation
    evaluate(place, arm, 0, generation, rate, identity.checkpoint_identity(step.path("checkpoint")))


def synthesize(place: Path, arm: str, generation: int, rate: float, before: str) -> None:
    step = store.step(place, "synthesize", key("synthesize", rate, {"checkpoint": before}))
    if step.committed:
        return
    executed.append(f"{arm}/{generation}/synthesize")
    batches = [step.scratch(f"batch-{n}") for n in range(2)]
    for number, batch in enumerate(batches):
        if not batch.committed:
            executed.append(f"{arm}/{generation}/batch-{number}")
            batch.write_rows(list(completions(arm, generation - 1, number)), "completions")
    with step.writing() as draft:
        rows = [row for batch in batches for row in tables.rows(batch.read_rows("completions"))]
        tables.write(draft.path / "completions.parquet", rows, "completions")
        draft.record["completions"] = len(rows)


def completions(arm: str, generation: int, batch: int) -> Iterator[dict[str, Any]]:
    for n in range(2):
        yield {
            "lineage": arm, "seed": 0, "generation": generation, "prompt": f"p-{batch}-{n}",
            "completion": f"text {arm} {generation} {n}", "tokens": 3, "ended": False, "empty": False,
            "near_constant": False, "repetitive": False, "duplicate": False,
        }  # fmt: skip


def evaluate(place: Path, lineage: str, seed: int, generation: int, rate: float, checkpoint: str) -> None:
    step = store.step(place, "evaluate", key("evaluate", rate, {"checkpoint": checkpoint}))
    if step.committed:
        return
    for form in FORMATS:
        for block in range(2):
            shard = step.shard(f"{form}-{block:04d}")
            if not shard.committed:
                executed.append(f"{lineage}/{generation}/{shard.place}")
                shard.write_rows(evidence_rows(lineage, seed, generation, form, block), "evidence", record={"n": 3})
    with step.writing() as draft:
        row = {"lineage": lineage, "seed": seed, "generation": generation, "text": "t", "kind": "held_out"}
        tables.write(draft.path / "fluency.parquet", [{**row, "tokens": 5, "nll": 1.5 + generation}], "fluency")
        draft.record["shards"] = EXPECTED_SHARDS


def stored(root: Path) -> dict[str, Any]:
    """Every visible file by its path: bytes, or for a manifest its content without times and its own hash."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_dir() or any(part.startswith(".") for part in parts):
            continue
        content: Any = path.read_bytes()
        if path.suffix == ".json" and b"manifest_version" in content:
            content = json.loads(content)
            del content["times"], content["manifest_sha256"]
        found["/".join(parts)] = content
    return found


def zygote() -> None:
    """Answer lines of JSON [DIE_AT or null, root, arguments] with the exit status of a forked child that ran there."""
    import pandas  # noqa: F401  here, once, and not in every child
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401

    os.fsync = lambda descriptor: None  # kills do not lose what the kernel has; only power cuts do
    for line in sys.stdin:
        point, root, arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            if point is not None:
                os.environ[durable.DIE_AT] = point
            try:
                run(Path(root), **arguments)
            except BaseException as error:  # noqa: BLE001  a child must not go on as the zygote
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    zygote()

"""Items per second against lm-evaluation-harness: `python benchmarks/scoring.py --mmlu FOLDER [--path MODEL]`.

Both score the same options after the same prompts with the same model: texts in, log-likelihoods out, tokenization
included. Each stands in a process of its own with one thread; they take turns, `--repeat` times, and the order of the
turns alternates. The harness (its `HFLM.loglikelihood`) runs with each of `--batches`, and its fastest one counts. A
line gives the ratio of the medians of processor seconds, that of wall-clock seconds beside it, and the memory that
each took beyond the loaded model. The largest difference of a log-likelihood is checked. Needs the extra `lm-eval`.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

# (prompt, options) of every question.
Job = list[tuple[str, tuple[str, ...]]]
TOLERANCE = 1e-3

CASES: dict[str, dict[str, Any]] = {
    "letters": {"kind": "multiple_choice"},
    "letters, 5 shots": {"kind": "multiple_choice_few_shot", "examples": 5},
    "continuation": {"kind": "open_ended", "wordings": ("question",)},
    "continuation, 5 shots": {"kind": "open_ended", "wordings": ("question",), "examples": 5},
    "texts, options shown": {"kind": "short_answer"},
}


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One run of one side: seconds, the memory at its peak beyond what the loaded model took, and the values."""

    cpu: float
    wall: float
    extra: int
    values: list[float]


# ---------------------------------------------------------------------------------------------------------------
# The two sides, each in a process of its own


def _status(field: str) -> int:
    """A field of the process's memory in bytes (Linux); 0 elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), 0)


def _timed(work: Callable[[], list[float]], loaded: int) -> Turn:
    if loaded:  # The peak starts anew.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    wall, cpu = time.perf_counter(), time.process_time()
    values = work()
    return Turn(
        cpu=time.process_time() - cpu,
        wall=time.perf_counter() - wall,
        extra=max(0, _status("VmHWM") - loaded),
        values=values,
    )


def ours(path: str, pipe: Connection) -> None:
    """Serves jobs with this package's scorer."""
    from factfade.models.hf import HfModel
    from factfade.models.prompting import continuation, last_word, moved_blank

    with HfModel(path=path).open() as model:
        loaded = _status("VmRSS")

        def score(job: Job) -> list[float]:
            memo: dict[tuple[str, str], list[int]] = {}
            prompts: list[list[int]] = []
            targets: list[list[list[int]]] = []
            for text, options in job:
                prompts.append(model.prompt(moved_blank(text, "")[0]))
                own: list[list[int]] = []
                for option in options:
                    bare, moved = moved_blank(text, option)
                    key = (last_word(bare), moved)
                    if key not in memo:
                        memo[key] = continuation(model.encode, *key)
                    own.append(memo[key])
                targets.append(own)
            return [one.logprob for found in model.score(prompts, targets) for one in found]

        _serve(pipe, loaded, lambda job, _: score(job))


def theirs(path: str, pipe: Connection) -> None:
    """Serves jobs with the harness's HFLM."""
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(1)
    model = HFLM(pretrained=path, device="cpu", dtype="float32", batch_size=1)
    loaded = _status("VmRSS")

    def score(job: Job, batch: int) -> list[float]:
        model.batch_size_per_gpu = batch
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=(prompt, option), idx=0)
            for prompt, options in job
            for option in options
        ]
        return [value for value, _ in model.loglikelihood(requests, disable_tqdm=True)]

    _serve(pipe, loaded, score)


def _serve(pipe: Connection, loaded: int, score: Callable[[Job, int], list[float]]) -> None:
    pipe.send("ready")
    while (asked := pipe.recv()) is not None:
        job, batch = asked
        pipe.send(_timed(lambda job=job, batch=batch: score(job, batch), loaded))


class Side:
    """A process that scores."""

    def __init__(self, work: Callable[[str, Connection], None], path: str) -> None:
        context = get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(path, other), daemon=True)
        self.process.start()
        self.pipe.recv()

    def turn(self, job: Job, batch: int = 0) -> Turn:
        """Scores the job."""
        self.pipe.send((job, batch))
        return self.pipe.recv()

    def close(self) -> None:
        """Ends the process."""
        self.pipe.send(None)
        self.process.join()


# ---------------------------------------------------------------------------------------------------------------


def jobs(mmlu: str, subjects: Sequence[str], items: int, context: int, encode: Callable[[str], list[int]]) -> Any:
    """The prompts and options of each case, in the preset `harness`; what does not fit the context is left out."""
    from factfade import registry

    questions = registry.build("questions", {"kind": "mmlu", "path": mmlu, "subjects": tuple(subjects), "first": items})
    dev = questions.dev()
    for name, spec in CASES.items():
        form = registry.build("format", spec, preset="harness")
        job: Job = []
        for question in questions.items():
            for asked in form.ask(question, dev=dev, seed=0):
                longest = max((len(encode(asked.prompt + target)) for target in asked.targets), default=0)
                if asked.not_asked is None and longest < context:
                    job.append((asked.prompt, asked.targets))
        yield name, job


def measured(job: Job, mine: Side, other: Side, batches: Sequence[int], repeat: int) -> str:
    """A line of the table."""
    tries = {batch: other.turn(job, batch) for batch in batches}
    batch = min(tries, key=lambda size: tries[size].cpu)
    mine.turn(job)
    turns: dict[str, list[Turn]] = {"ours": [], "theirs": []}
    for number in range(repeat):
        for side in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
            turns[side].append(mine.turn(job) if side == "ours" else other.turn(job, batch))
    far = max(abs(a - b) for a, b in zip(turns["ours"][0].values, turns["theirs"][0].values, strict=True))
    if far > TOLERANCE:
        raise SystemExit(f"the log-likelihoods differ by {far:.2g}: this would compare two different things")
    cpu, wall, extra = (
        {side: statistics.median(getattr(turn, what) for turn in own) for side, own in turns.items()}
        for what in ("cpu", "wall", "extra")
    )
    low, high = (pick(b.cpu / a.cpu for a, b in zip(*turns.values(), strict=True)) for pick in (min, max))
    memory = " / ".join(f"{extra[side] / 2**20:.0f}" for side in turns) if any(extra.values()) else "-"
    return (
        f"{len(job)} | {len(job) / cpu['ours']:.1f} | {len(job) / cpu['theirs']:.1f} (batch {batch}) | "
        f"**{cpu['theirs'] / cpu['ours']:.1f}** ({low:.1f} to {high:.1f}) | {wall['theirs'] / wall['ours']:.1f} | "
        f"{memory} | {far:.0e}"
    )


def main() -> None:
    """Measures and prints rows of a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mmlu", required=True, help="a folder with test.jsonl and dev.jsonl")
    parser.add_argument("--subjects", nargs="+", default=["world_religions", "management"])
    parser.add_argument("--path", default="world", help="a model folder; the embedded world's without it")
    parser.add_argument("--items", type=int, default=16, help="questions of each subject")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    given = parser.parse_args()
    from factfade.models import loading
    from factfade.models.hf import HfModel

    folder = str(loading.locate(given.path, None))
    with HfModel(path=folder).open() as model:
        todo = dict(jobs(given.mmlu, given.subjects, given.items, model.context, model.encode))
    mine, other = Side(ours, folder), Side(theirs, folder)
    try:
        for name in given.cases:
            line = measured(todo[name], mine, other, given.batches, given.repeat) if todo[name] else "0 | | | | | |"
            print(f"| {Path(folder).name} | {name} | {line} |", flush=True)
    finally:
        for side in (mine, other):
            side.close()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\nprocessor seconds in all: {used.ru_utime + used.ru_stime:.0f}; load: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

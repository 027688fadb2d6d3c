"""What a second worker brings: the same sweep with one worker and with two, on the embedded world, in one run.

    python -m benchmarks.sweep                 # two arms x two seeds x one generation, each sweep twice, alternating
    python -m benchmarks.sweep --repeats 3 --blocks 256

Each sweep starts from nothing: start-up of the workers, generation 0, every step, stage calls and all. Printed are the
seconds of every sweep, the medians and their ratio, where the time of a generation goes, and the load of the machine
before each sweep: on a machine that does other work the ratio of seconds says little. CPU seconds of all processes
together hold there too: what two workers use more of them is the second start-up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from factfade import config, sweep

STEPS = ("synthesize", "train", "evaluate")


def experiment(*, blocks: int, seeds: int, generations: int) -> config.Experiment:
    """Human text and synthetic text side by side on the embedded world."""
    data: dict[str, Any] = {
        "experiment": {"name": "sweep", "seeds": list(range(seeds)), "generations": generations},
        "synthesis": {"blocks": blocks},
        "training": {"learning_rate": 1.5e-3},
        "arms": {"human_only": {"synthetic_fraction": 0.0}, "general": {"synthetic_fraction": 1.0}},
    }
    return config.parse(data, where="the benchmark")


def cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def once(spec: config.Experiment, workers: int, out: Path) -> tuple[float, float, dict[str, list[float]]]:
    """Seconds and CPU seconds of one whole sweep in a new folder, and the recorded seconds of its steps (generation 0
    left out)."""
    began, used = time.monotonic(), cpu()
    outcome = sweep.run(spec, out, workers=workers)
    spent, used = time.monotonic() - began, cpu() - used
    if outcome.failures:
        raise SystemExit(f"the sweep failed: {outcome.failures[0]['message']}")
    steps: dict[str, list[float]] = defaultdict(list)
    for name in STEPS:
        for path in outcome.path.glob(f"*/seed-*/generation-*/{name}.json"):
            steps[name].append(json.loads(path.read_text())["times"]["seconds"])
    shutil.rmtree(out)
    return spent, used, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--generations", type=int, default=1)
    chosen = parser.parse_args()
    spec = experiment(blocks=chosen.blocks, seeds=chosen.seeds, generations=chosen.generations)
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.machine()}, {cores} cores of {os.cpu_count()}, Python {platform.python_version()}")
    print(f"{2 * chosen.seeds} runs of {chosen.generations} generations, {chosen.blocks} blocks\n")
    print("workers  seconds  CPU seconds  load before")
    found: dict[int, list[float]] = defaultdict(list)
    cpus: dict[int, list[float]] = defaultdict(list)
    steps: dict[int, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(chosen.repeats):
            # The order alternates, so that neither always finds the warmer disk.
            for workers in (1, 2) if repeat % 2 == 0 else (2, 1):
                load = os.getloadavg()[0]
                seconds, used, steps[workers] = once(spec, workers, Path(folder) / f"{repeat}-{workers}")
                found[workers].append(seconds)
                cpus[workers].append(used)
                print(f"{workers:7d}  {seconds:7.1f}  {used:11.1f}  {load:11.2f}", flush=True)
    one, two = statistics.median(found[1]), statistics.median(found[2])
    print(f"\nmedians: one worker {one:.1f} s, two workers {two:.1f} s: two are {one / two:.2f} times as fast")
    one, two = statistics.median(cpus[1]), statistics.median(cpus[2])
    print(f"CPU seconds: one worker {one:.1f}, two workers {two:.1f}: {two / one:.2f} times as many")
    print("\nseconds of a generation's steps (median, last sweep)  one worker  two workers")
    for name in STEPS:
        values = [statistics.median(steps[workers][name]) for workers in (1, 2)]
        print(f"{name:<52}  {values[0]:10.2f}  {values[1]:11.2f}")


if __name__ == "__main__":
    main()

"""The callback in two processes that train together: one asks, both stop at the same step, and none waits for ever."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import small

ROOT = Path(__file__).resolve().parent.parent
STEPS = 4
# Started as torchrun starts it: rank and rendezvous in the environment, gloo on the CPU.
RUN = """
import json, os, sys
from pathlib import Path
import torch
from factfade import evaluate, watch
from tests.test_callback import callback, train

folder, case, rank = Path(sys.argv[1]), sys.argv[2], int(os.environ["RANK"])
begun, asked = [], []
begin, evaluation = watch.Watch.begin, evaluate.evaluate

def counted_begin(self, now):
    begun.append(now.step)
    return begin(self, now)

def counted(*given, **more):
    asked.append(more["generation"])
    if case == "base fails" or (case == "fails" and more["generation"] == 2):
        raise ValueError("planned")
    return evaluation(*given, **more)

watch.Watch.begin, evaluate.evaluate = counted_begin, counted

def stop(now):
    if case == "stop raises":
        raise ValueError("planned")
    return "enough is lost" if case in ("stops", "fails") and now.step >= 3 else None

one = callback(folder, every=1, stop=stop)
done = train(folder / "model", folder / case / "out", [one], use_cpu=True, ddp_backend="gloo", max_steps=4)
assert torch.distributed.get_world_size() == 2 and torch.distributed.get_backend() == "gloo"
said = {
    "step": done.trainer.state.global_step, "asked": asked, "begun": begun,
    "measured": [[row["step"], row["factfade/measured"]] for row in done.measured()],
    "weights": float(sum(tensor.double().abs().sum() for tensor in done.weights.values())),
}
(folder / case / f"rank-{rank}.json").write_text(json.dumps(said))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.materials(tmp_path_factory.mktemp("processes"))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def together(folder: Path, case: str) -> list[dict[str, Any]]:
    """What the two processes say. One that waits for ever is ended after 240 seconds, and the test fails."""
    (folder / case).mkdir()
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    running = []
    for rank in range(2):
        places = {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2", **shared}
        log = (folder / case / f"rank-{rank}.log").open("w")
        command = [sys.executable, "-c", RUN, str(folder), case]
        running.append(subprocess.Popen(command, env={**os.environ, **places}, stdout=log, stderr=log, cwd=ROOT))
    try:
        codes = [one.wait(timeout=240) for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait()
    logs = [(folder / case / f"rank-{rank}.log").read_text(encoding="utf-8")[-3000:] for rank in range(2)]
    assert codes == [0, 0], "\n".join(logs)
    return [json.loads((folder / case / f"rank-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("case", "last", "measured"),
    [
        # The third evaluation gives a reason: both end there.
        ("stops", 3, [[0, 1.0], [1, 1.0], [2, 1.0], [3, 1.0]]),
        # The second evaluation raises in the main process alone; the next one still ends both.
        ("fails", 3, [[0, 1.0], [1, 1.0], [2, 0.0], [3, 1.0]]),
        # Nothing can be measured: the training goes to its end.
        ("base fails", STEPS, [[step, 0.0] for step in range(STEPS + 1)]),
        # The decision itself raises: measured, then said to have failed, and no reason to stop.
        ("stop raises", STEPS, [[0, 1.0], *[[step, value] for step in range(1, STEPS + 1) for value in (1.0, 0.0)]]),
    ],
)
def test_two_processes_stop_at_the_same_step(folder: Path, case: str, last: int, measured: list[Any]) -> None:
    main, other = together(folder, case)
    assert [main["step"], other["step"]] == [last, last]
    assert main["measured"] == measured
    # The other process asks nothing and logs nothing, and trains the same weights.
    assert (other["asked"], other["begun"], other["measured"]) == ([], [], [])
    assert main["begun"] == [0]
    assert main["weights"] == other["weights"]
    record = json.loads((folder / case / "out" / "factfade" / "audit.json").read_text(encoding="utf-8"))
    failed = {step for step, value in measured if value == 0.0}
    assert record["failures"] == [f"step-{step}" for step in sorted(failed)]

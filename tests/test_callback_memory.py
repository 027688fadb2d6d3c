"""Memory of an evaluation in training: flat, however many questions are asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import small

RUN = """
import json, resource, sys
from pathlib import Path
from tests.test_callback import callback, train
folder, count = Path(sys.argv[1]), int(sys.argv[2])
choices = ["Paris", "London", "Rome"]
rows = [{"question": f"What is city {i}?", "choices": choices, "answer": i % 3} for i in range(count)]
(folder / "many.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows))
one = callback(folder, questions=folder / "many.jsonl", items=count, evaluation={"batch_tokens": 1024})
del rows
train(folder / "model", folder / "out", [one], max_steps=1)
assert [now.items for now in one.measured] == [count, count]
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
# Of 570 MB at 100 questions. Measured were 38 MB for 4,900 questions more: the questions as they are put (text and ids)
# and the few columns that stages are called from, of both evaluations. Logits of these questions, kept, would be 300 MB
# at least (40 positions x 384 tokens x 4 bytes); the bootstrap's weights, held at once, 80 MB; whole tables 20 MB.
MOST_KB = 48_000


def peak(folder: Path, count: int) -> int:
    """Largest resident size in KB of a training that asks so many questions twice."""
    small.materials(folder)
    command = [sys.executable, "-c", RUN, str(folder), str(count)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    return int(next(line for line in done.stdout.splitlines() if line.startswith("PEAK")).split()[1])


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_memory_is_flat_from_100_to_5000_questions(tmp_path: Path) -> None:
    few, many = (tmp_path / str(count) for count in (100, 5000))
    few.mkdir(), many.mkdir()
    peaks = {count: peak(tmp_path / str(count), count) for count in (100, 5000)}
    print(json.dumps(peaks))
    assert peaks[5000] - peaks[100] < MOST_KB

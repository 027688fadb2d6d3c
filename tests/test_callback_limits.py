"""What ends an evaluation, and what ends a training: the limit of seconds, a real stage, a real breach of a policy."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from factfade import evaluate, live, watch
from factfade.callback import Stop, stop_at, stop_at_breach
from factfade.models.passes import Net
from tests import small, tiny
from tests.test_callback import callback, record, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Materials with a corpus that is long enough for the 40 prompts of a stage call."""
    folder = small.materials(tmp_path_factory.mktemp("limits"))
    draw, words = random.Random(1), tiny.TEXT.split()
    text = "\n\n".join(" ".join(draw.choices(words, k=12)) for _ in range(1200))
    (folder / "long.txt").write_text(text, encoding="utf-8")
    return folder


# ---------------------------------------------------------------------------------------------------------------
# max_seconds


class SlowDevice:
    """A clock of its own, on which a forward pass takes `seconds` and nothing else takes any."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.seconds, self.passes = 0.0, 0.0, 0
        clock = SimpleNamespace(
            monotonic=lambda: self.now, perf_counter=time.perf_counter, process_time=time.process_time
        )
        for module in (watch, live, evaluate):
            monkeypatch.setattr(module, "time", clock)
        forward = Net.forward

        def slow(net: Any, *given: Any, **more: Any) -> torch.Tensor:
            self.now += self.seconds
            self.passes += 1
            return forward(net, *given, **more)

        monkeypatch.setattr(Net, "forward", slow)


@pytest.mark.parametrize("limit", [2.5, 6.5, 10.5])
def test_a_slow_evaluation_ends_within_one_pass_of_its_seconds(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    """Whatever it is doing then: asking, reading texts, writing its own, or reading that under the start model."""
    device, took, slowed = SlowDevice(monkeypatch), [], []
    measure = watch.Watch.measure

    def timed(self: Any, now: Any) -> Any:
        device.seconds, began = 1.0, device.now
        try:
            return measure(self, now)
        finally:
            device.seconds = 0.0
            took.append(device.now - began)
            slowed.append(self.limits.deadline - began)

    monkeypatch.setattr(watch.Watch, "measure", timed)
    one = callback(folder, max_seconds=limit, every=2)
    done = train(folder / "model", tmp_path, [one], max_steps=4)
    assert slowed == [limit, limit]
    assert all(limit < seconds <= limit + 1.0 for seconds in took)
    assert [row["factfade/measured"] for row in done.measured()] == [1.0, 0.0, 0.0]
    failure = record(tmp_path / "factfade")["checkpoints"][0]["failure"]
    assert "max_seconds" in failure["message"]


@pytest.mark.parametrize("limit", [0.5, 3.5, 30.5])
def test_the_evaluation_before_step_0_keeps_the_limit_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    """Measuring the speed and the check of the batches are part of it."""
    device = SlowDevice(monkeypatch)
    device.seconds = 1.0
    took: list[float] = []
    base = watch.Watch._base

    def timed(self: Any, now: Any) -> Any:
        try:
            return base(self, now)
        finally:
            took.append(device.now)

    monkeypatch.setattr(watch.Watch, "_base", timed)
    done = train(folder / "model", tmp_path, [callback(folder, max_seconds=limit)], max_steps=1)
    assert device.passes > 0
    assert took[0] <= limit + 1.0
    assert done.trainer.state.global_step == 1


# ---------------------------------------------------------------------------------------------------------------
# Stops by what is measured


def by_stage(folder: Path) -> Stop:
    return stop_at("C")


def by_policy(folder: Path) -> Stop:
    path = folder / "policy.toml"
    path.write_text("[gate]\nminimum_n = 12\n\n[margins]\nfluency_nats = 0.1\n", encoding="utf-8")
    return stop_at_breach(path)


@pytest.mark.parametrize("stop_of", [by_stage, by_policy])
def test_a_training_that_breaks_the_model_is_ended_and_one_that_does_not_is_not(
    folder: Path, tmp_path: Path, stop_of: Callable[[Path], Stop]
) -> None:
    """Steps of 0.3 wreck its own text at once; steps of 1e-9 change nothing."""
    last: dict[float, int] = {}
    for rate in (0.3, 1e-9):
        out = tmp_path / str(rate)
        evaluation = {"prompts": 40, "new_tokens": 8}
        one = callback(
            folder, corpus=folder / "long.txt", every=1, evaluation=evaluation, stop=stop_of(tmp_path), out=out / "own"
        )
        done = train(folder / "model", out, [one], learning_rate=rate, max_steps=2)
        last[rate] = done.trainer.state.global_step
        assert [row["factfade/measured"] for row in done.measured()] == [1.0] * (last[rate] + 1)
        loss = one.measured[1].report.calls[0].conditions
        nats = next(found for found in loss if found.endpoint == "fluency_nats")
        assert nats.n == 40
        assert (nats.low > 0.5) if rate == 0.3 else (abs(nats.loss) < 0.01)
        assert (one.measured[-1].overall.stage == "C") == (rate == 0.3)
    assert last == {0.3: 1, 1e-9: 2}

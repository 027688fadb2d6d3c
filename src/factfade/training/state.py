"""The global state of one training: set inside, given back after; and the memory it took."""

from __future__ import annotations

import contextlib
import random
import resource
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@contextmanager
def own_state(*, threads: int, seed: int) -> Generator[None]:
    """Random states, thread count and matrix precision of this training's own; the caller's are given back."""
    import numpy
    import torch
    from transformers import set_seed

    states = random.getstate(), numpy.random.get_state(), torch.random.get_rng_state()
    devices: list[torch.Tensor] = []
    if torch.cuda.is_available():
        devices = torch.cuda.get_rng_state_all()
        torch.cuda.reset_peak_memory_stats()
    before, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    reset_peak()
    set_seed(seed)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision(precision)
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        torch.random.set_rng_state(states[2])
        if devices:
            torch.cuda.set_rng_state_all(devices)


def reset_peak() -> None:
    """Begins a new count of peak memory, where the system lets a process do so (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> dict[str, float]:
    """Peak resident memory in bytes since `reset_peak` (of the whole process where it has no effect), and of the
    device where there is one."""
    import torch

    found: dict[str, float] = {"peak_memory_bytes": _peak_resident()}
    if device == "cuda":
        found["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    return found


def _peak_resident() -> float:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)

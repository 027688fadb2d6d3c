"""What a training goes on from: its weights' identity, and putting everything back as it was before an evaluation."""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from factfade import identity
from factfade.live import bare

# ---------------------------------------------------------------------------------------------------------------
# Identity of weights in memory


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A tensor in memory, hashed as its bytes in a safetensors file are."""

    name: str
    tensor: torch.Tensor

    @property
    def dtype(self) -> str:
        return _DTYPES.get(self.tensor.dtype, str(self.tensor.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def sha256(self) -> str:
        plain = self.tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        digest = hashlib.sha256()
        for start in range(0, plain.numel(), 1 << 26):
            digest.update(plain[start : start + (1 << 26)].cpu().numpy().data)
        return digest.hexdigest()


_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def weights_identity(model: Any) -> str:
    """SHA-256 over the tensors of a model in memory: the identity of the checkpoint that it would be saved as.

    Of an adapted model these are the tensors in memory, adapter and base under the names they have there.
    """
    return identity.identity_of(_Held(name=name, tensor=tensor) for name, tensor in bare(model).state_dict().items())


# ---------------------------------------------------------------------------------------------------------------
# As it was before


@contextmanager
def undisturbed(model: Any) -> Generator[None]:
    """Puts back what a training goes on from: modes, gradients asked for, buffers, settings, random states."""
    whole = [*_settings(model)]
    modes = [(module, module.training) for module in model.modules()]
    asked = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    states = _random_states()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wanted in asked:
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
        for module, held in buffers:
            # A module that makes its tables anew for a longer text makes them in inference mode: of no use in training.
            if any(module._buffers.get(name) is not buffer for name, buffer in held.items()):
                module._buffers.update(held)
        for holder, values in whole:
            holder.__dict__.clear()
            holder.__dict__.update(values)
        _restore_random(states)


def _settings(model: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    inner = bare(model)
    for name in ("config", "generation_config"):
        holder = getattr(inner, name, None)
        if holder is not None:
            yield holder, copy.copy(holder.__dict__)


def _random_states() -> tuple[Any, Any, torch.Tensor, list[torch.Tensor]]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _restore_random(states: tuple[Any, Any, torch.Tensor, list[torch.Tensor]]) -> None:
    python, numpy, cpu, cuda = states
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)

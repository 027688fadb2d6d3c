"""What objectives share: the loss of target tokens, their probability, and a look at the net that leaves no trace."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: The label of a position that is no target.
IGNORED = -100


def summed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum over targets of -log p(target) in nats, in float32. `logits` (..., vocabulary), `labels` (...); -100 is no
    target and has no gradient. Without a target the sum is 0, with a gradient of 0."""
    from torch.nn.functional import cross_entropy

    flat = logits.reshape(-1, logits.shape[-1]).float()
    return cross_entropy(flat, labels.reshape(-1), ignore_index=IGNORED, reduction="sum")


def target_probability(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Probability of each label (...), in float32 and without a gradient; of no meaning where the label is -100.

    At most 1: the rounding of exp and log may go beyond.
    """
    import torch

    with torch.no_grad():
        exact = logits.detach().float()
        chosen = exact.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return (chosen - exact.logsumexp(-1)).exp().clamp(max=1.0)


@contextmanager
def looked_at(net: Any) -> Generator[Any]:
    """The net for reading while it is trained: no gradient, evaluation mode.

    Every module's mode and the random states are afterwards what they were.
    """
    import torch

    modes = [(module, module.training) for module in net.modules()]
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        net.eval()
        try:
            yield net
        finally:
            for module, mode in modes:
                module.training = mode

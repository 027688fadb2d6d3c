"""Divergences of next-token and answer distributions, with their gradients. Heavy: imported when training starts."""

from __future__ import annotations

from typing import Any

import torch

#: Logits of the start model that are held at once, in numbers (64 MiB of float32), but at least one sequence.
HELD = 2**24


class StartDivergence(torch.autograd.Function):
    """Sum over targets of the KL divergence between a start model's next-token distributions and the trained ones.

    `logits` (batch, position, vocabulary) are the trained model's, `targets` (batch, position) says where to look,
    `ids` (batch, position + 1) is what both read. `reverse` False is KL(start || trained), True KL(trained || start).
    The start model reads a few sequences at a time, and the gradient is written down on the way: beside the logits'
    gradient, which any loss needs, nothing of their size is held beyond that chunk. In float32.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, targets: torch.Tensor, ids: torch.Tensor, start: Any, reverse: bool
    ) -> torch.Tensor:
        """The sum, a float32 scalar."""
        gradient = torch.zeros_like(logits)
        total = torch.zeros((), dtype=torch.float32, device=logits.device)
        size = max(1, HELD // max(1, logits.shape[1] * logits.shape[2]))
        for begin in range(0, len(ids), size):
            rows = slice(begin, begin + size)
            here = targets[rows]
            theirs = start(input_ids=ids[rows], use_cache=False).logits[:, :-1][here].float().log_softmax(-1)
            own = logits[rows][here].float().log_softmax(-1)
            gap = own - theirs
            if reverse:
                divergence = (own.exp() * gap).sum(-1, keepdim=True)
                slope = own.exp() * (gap - divergence)
            else:
                divergence = -(theirs.exp() * gap).sum(-1, keepdim=True)
                slope = own.exp() - theirs.exp()
            total += divergence.sum()
            gradient[rows][here] = slope.to(gradient.dtype)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        """The gradient that `forward` wrote down, times that of the sum."""
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None, None, None


def symmetric_kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """`stats.information.symmetric_kl` with a gradient: mean of the two KL divergences, over the last axis.

    `first` and `second` are log-probabilities of the same options, normalised here.
    """
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1) / 2

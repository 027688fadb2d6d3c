"""The start-up check: a batch of ragged prompts gives what its rows give one by one."""

from __future__ import annotations

from typing import Any

import torch

from factfade.errors import NonFinite, RunFailed
from factfade.models.passes import Net, Prefilled, prefill
from factfade.models.prompting import Prompter

# Largest difference of a token's log-probability (nats) that rounding explains, for tokens of at least 0.1 %
# probability. A wrong mask or position shifts them by whole nats.
TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.3}
FLOOR = 1e-3
LENGTHS = (3, 7, 12, 20)
STEPS = 3
TEXT = "The river flows through ten countries, and its mouth lies in a sea that no question asks about: so much for it."


def check_batching(net: Net, prompter: Prompter, context: int, *, dtype: str | None = None) -> dict[str, Any]:
    """Compares next-token log-probabilities, after the prompts and over a few cached steps. Raises RunFailed.

    `dtype` is what the forward pass casts to, None for the weights' own. Returns the record: the largest difference
    seen, the tolerance, the lengths.
    """
    text = prompter.encode(TEXT)
    lengths = [length for length in LENGTHS if length + STEPS + len(prompter.opening) <= context]
    prompts = [[*prompter.opening, *(text * length)[:length]] for length in lengths]
    worst = 0.0
    ragged = prefill(net, prompts, room=STEPS)
    single = [prefill(net, [prompt], room=STEPS) for prompt in prompts]
    logits = [ragged.last]
    alone = [torch.cat([state.last for state in single])]
    for step in range(STEPS):
        tokens = torch.tensor([[text[(step + row) % len(text)]] for row in range(len(prompts))], device=net.device)
        logits.append(ragged.step(tokens)[:, -1])
        alone.append(torch.cat([_fed(state, tokens[row : row + 1]) for row, state in enumerate(single)]))
    for together, apart in zip(logits, alone, strict=True):
        worst = max(worst, difference(together, apart))
    dtype = dtype or str(net.model.dtype).removeprefix("torch.")
    tolerance = TOLERANCE.get(dtype, TOLERANCE["bfloat16"])
    if worst > tolerance:
        raise RunFailed(
            f"batched and one-by-one log-probabilities differ by {worst:.3g} nats ({dtype} allows {tolerance:g}): "
            "this model does not read padded batches as it reads single texts",
            hint='set model.dtype = "float32"; if they differ still, models of this type cannot be used: report it',
        )
    return {"largest_difference": worst, "tolerance": tolerance, "lengths": lengths, "steps": STEPS}


def _fed(state: Prefilled, tokens: torch.Tensor) -> torch.Tensor:
    return state.step(tokens)[:, -1]


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference of log-probabilities among tokens of at least `FLOOR` probability in either."""
    a, b = one.log_softmax(-1), other.log_softmax(-1)
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise NonFinite("the model's log-probabilities are not finite numbers", hint='set model.dtype = "float32"')
    likely = torch.maximum(a, b).exp() >= FLOOR
    return float((a - b).abs()[likely].max())

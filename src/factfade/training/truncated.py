"""Truncated cross-entropy: tokens that the model is sure of are not learned from (ForTIFAI, arXiv 2509.08972)."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from factfade.errors import ConfigError, RunFailed
from factfade.protocols import Bench
from factfade.training.tokens import IGNORED, looked_at, summed_cross_entropy, target_probability

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 4096  # of held-out text that is read at once


@dataclass(frozen=True, kw_only=True)
class TruncatedCrossEntropy:
    """TCE(p) = 1[p <= gamma] * CE(p), p the probability of the target token; no gradient goes through the indicator.

    `gamma` 0.99 is the paper's for language models; 1 is cross-entropy. "dynamic" sets it at the start of every epoch
    to mean + `deviations` * standard deviation of the target probability on held-out text under the net as it is then
    (at most 1): `texts` texts of `text_tokens` tokens each. `normalise` "all" divides by all targets, as published;
    "kept" by those below gamma, so that the size of a step does not fall with the share that is masked.

    Probabilities and logarithms are in float32 whatever the logits' precision. Source: ForTIFAI, arXiv 2509.08972.
    """

    gamma: float | Literal["dynamic"] = 0.99
    normalise: Literal["all", "kept"] = "all"
    deviations: float = 0.5
    texts: int = 64
    text_tokens: int = 64

    def __post_init__(self) -> None:
        number = isinstance(self.gamma, (int, float)) and not isinstance(self.gamma, bool)
        if not (self.gamma == "dynamic" or (number and 0.0 < float(self.gamma) <= 1.0)):
            raise ValueError(f'gamma is a probability above 0 and at most 1, or "dynamic", not {self.gamma!r}')
        if self.normalise not in ("all", "kept"):
            raise ValueError(f'normalise is "all" or "kept", not {self.normalise!r}')
        if not math.isfinite(self.deviations):
            raise ValueError(f"deviations is a finite number, not {self.deviations}")
        if self.texts < 1 or self.text_tokens < 2:
            raise ValueError("texts is at least 1 and text_tokens at least 2: a text's first token is no target")

    @contextmanager
    def open(self, bench: Bench) -> Generator[LiveTruncated]:
        """The objective for one training. Held-out text is asked for where gamma is dynamic only.

        RunFailed when there is none that is long enough; ConfigError when it would not fit the model's context.
        """
        if self.gamma != "dynamic":
            yield LiveTruncated(settings=self)
            return
        context = getattr(bench.net.config, "max_position_embeddings", None)
        if isinstance(context, int) and self.text_tokens > context:
            raise ConfigError(
                f"{self.text_tokens} is longer than the model's context of {context} tokens",
                field="objective.text_tokens",
                hint=f"set it to at most {context}",
            )
        found = bench.sources.held_out(bench.encode, count=self.texts, tokens=self.text_tokens)
        if not found:
            raise RunFailed(
                f"the corpus has no held-out text of {self.text_tokens} tokens to set gamma by",
                hint="lower objective.text_tokens, or give a fixed gamma",
            )
        yield LiveTruncated(settings=self, bench=bench, held_out=found)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """The loss under a fixed gamma: `truncated`. ValueError where gamma is dynamic, which needs `open`."""
        if self.gamma == "dynamic":
            raise ValueError("a dynamic gamma is set during a training: use open()")
        return truncated(logits, labels, gamma=self.gamma, normalise=self.normalise)


def truncated(
    logits: torch.Tensor, labels: torch.Tensor, *, gamma: float, normalise: Literal["all", "kept"]
) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    """Sum of the losses of targets with p <= gamma, the normaliser, and logs: `gamma`, `kept_share` of the targets.

    A masked token becomes one that is no target: its gradient is exactly 0, and what is left goes through the same
    sum as in cross-entropy. All masked gives 0 with a gradient of 0.
    """
    targets = labels != IGNORED
    kept = targets & (target_probability(logits, labels) <= gamma)
    total = summed_cross_entropy(logits, labels.masked_fill(~kept, IGNORED))
    among, number = int(targets.sum()), kept.sum()
    logs = {"gamma": gamma} | ({"kept_share": int(number) / among} if among else {})
    return total, targets.sum() if normalise == "all" else number, logs


@dataclass(kw_only=True)
class LiveTruncated:
    """A truncated cross-entropy in one training; a dynamic gamma is set anew when an epoch begins."""

    settings: TruncatedCrossEntropy
    bench: Bench | None = None
    held_out: Sequence[Sequence[int]] = ()
    _epoch: int | None = field(default=None, init=False)
    _set: dict[str, float] = field(default_factory=dict[str, float], init=False)

    def step_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, *, ids: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """The loss under the epoch's gamma; a dynamic one logs the mean and the deviation that it comes from too."""
        if self.bench is None:
            return self.settings.loss(logits, labels)
        epoch = step // self.bench.steps_per_epoch
        if epoch != self._epoch:
            self._epoch, self._set = epoch, self._measured(self.bench)
        gamma = min(1.0, self._set["held_out_mean"] + self.settings.deviations * self._set["held_out_deviation"])
        total, normaliser, logs = truncated(logits, labels, gamma=gamma, normalise=self.settings.normalise)
        return total, normaliser, logs | self._set

    def _measured(self, bench: Bench) -> dict[str, float]:
        values = held_out_probabilities(bench.net, self.held_out, device=bench.device)
        return {
            "held_out_texts": float(len(self.held_out)),
            "held_out_mean": float(values.mean()),
            "held_out_deviation": float(values.std(correction=0)),
        }


def held_out_probabilities(net: Any, texts: Sequence[Sequence[int]], *, device: str) -> torch.Tensor:
    """p(token | those before it) of every token but the first of texts of equal length, in float64, on the CPU.

    The net's modes and the random states stay what they were.
    """
    import torch

    rows = torch.tensor([list(text) for text in texts], dtype=torch.long)
    size = max(1, BATCH_TOKENS // rows.shape[1])
    found: list[torch.Tensor] = []
    with looked_at(net):
        for batch in rows.split(size):
            ids = batch.to(device)
            logits = net(input_ids=ids, use_cache=False).logits
            found.append(target_probability(logits[:, :-1], ids[:, 1:]).cpu().double())
    return torch.cat([values.reshape(-1) for values in found])

"""transformers' Trainer with an objective in place of the model's own loss. Heavy: imported when training starts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments

from factfade.errors import NonFinite
from factfade.protocols import LiveObjective, Progress
from factfade.training.packing import Packed
from factfade.training.tokens import IGNORED


class Chunks(Dataset[torch.Tensor]):
    """The chunks in the order they are trained on; each is its ids, shape (tokens,)."""

    def __init__(self, packed: Packed, visits: Sequence[int]) -> None:
        self._tokens = torch.tensor(packed.tokens, dtype=torch.long)
        self._spans = [packed.span(chunk) for chunk in visits]

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> torch.Tensor:
        begin, end = self._spans[index]
        return self._tokens[begin:end]


def collate(chunks: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Chunks as one batch: `input_ids` and `labels` (batch, width). The first token of a chunk is no target.

    A shorter chunk is filled on the right, where a causal model's earlier positions do not see it: no mask is needed.
    """
    width = max(len(chunk) for chunk in chunks)
    ids = torch.zeros(len(chunks), width, dtype=torch.long)
    labels = torch.full((len(chunks), width), IGNORED)
    for row, chunk in enumerate(chunks):
        ids[row, : len(chunk)] = chunk
        labels[row, 1 : len(chunk)] = chunk[1:]
    return {"input_ids": ids, "labels": labels}


class Engine(Trainer):
    """A Trainer whose step loss is the objective's sum over all micro-batches, divided by their normalisers' sum.

    The Trainer counts targets before a step, but an objective may normalise by something that only its logits tell
    (the tokens it keeps). So each micro-batch is scaled by the number of targets, and the gradient is rescaled once
    the step is complete, before it is clipped. Where the normaliser is the number of targets nothing is rescaled.
    """

    def __init__(
        self, model: Any, args: TrainingArguments, *, chunks: Chunks, objective: LiveObjective, progress: Progress
    ) -> None:
        self._chunks = chunks
        self._objective = objective
        self._progress = progress
        self._total_steps = math.ceil(
            len(chunks) / (args.per_device_train_batch_size * args.gradient_accumulation_steps)
        )
        self._open: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._logs: defaultdict[str, list[float]] = defaultdict(list)
        self._ids: torch.Tensor | None = None
        self.losses: list[float] = []
        # One device: more of them would be wrapped in DataParallel, which averages what is already a sum.
        args._n_gpu = min(args.n_gpu, 1)  # pyright: ignore[reportPrivateUsage]
        super().__init__(
            model=model, args=args, train_dataset=chunks, data_collator=collate, compute_loss_func=self._loss
        )
        self.remove_callback(PrinterCallback)

    @property
    def logs(self) -> dict[str, float]:
        """What the objective logged, averaged over micro-batches."""
        return {name: math.fsum(values) / len(values) for name, values in self._logs.items()}

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        # The order is part of the plan; the Trainer's own shuffling would depend on its version.
        return SequentialSampler(self._chunks)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """0: counting them walks through all parameters in every micro-batch."""
        return 0

    def _loss(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        assert self._ids is not None  # noqa: S101 - training_step has just set them
        total, normaliser, logs = self._objective.step_loss(
            outputs.logits[:, :-1], labels[:, 1:], ids=self._ids, step=len(self.losses)
        )
        self._open.append((total.detach(), normaliser.detach()))
        for name, value in logs.items():
            self._logs[name].append(float(value))
        return total / self._scale(num_items_in_batch)

    def _scale(self, targets: torch.Tensor | int | None) -> float:
        """What micro-batches are divided by: the number of targets of the step (1 where it is not known)."""
        return max(float(targets), 1.0) if targets is not None else 1.0

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """A micro-batch; the last one of a step closes it. NonFinite when its loss is not a finite number."""
        self._ids = inputs["input_ids"].to(self.args.device)
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            self._close_step(model, self._scale(num_items_in_batch))
        return loss

    def _close_step(self, model: Any, scale: float) -> None:
        total = math.fsum(float(part) for part, _ in self._open)
        normaliser = math.fsum(float(part) for _, part in self._open)
        self._open.clear()
        step = len(self.losses) + 1
        if not math.isfinite(total) or not math.isfinite(normaliser):
            raise NonFinite(
                f"the loss of training step {step} of {self._total_steps} is not a finite number",
                hint="lower training.learning_rate, or lower training.max_grad_norm; nothing was published",
            )
        if normaliser > 0 and normaliser != scale:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(scale / normaliser)
        self.losses.append(total / normaliser if normaliser > 0 else 0.0)
        self._progress.step("train", step, self._total_steps)

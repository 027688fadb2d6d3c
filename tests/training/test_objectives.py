"""Objectives: sums and normalisers, in float32."""

from __future__ import annotations

import pytest
import torch

from factfade.protocols import Objective
from factfade.training.objectives import CrossEntropy


def planted() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 11, generator=generator) * 4
    labels = torch.randint(0, 11, (3, 5), generator=generator)
    labels[0, 2:] = -100
    return logits, labels


def test_cross_entropy_is_the_sum_over_targets() -> None:
    logits, labels = planted()
    objective: Objective = CrossEntropy()
    total, number, logs = objective.loss(logits, labels)
    expected = -sum(
        float(logits[row, at].double().log_softmax(-1)[labels[row, at]])
        for row in range(3)
        for at in range(5)
        if labels[row, at] != -100
    )
    assert float(total) == pytest.approx(expected, rel=1e-6)
    assert (int(number), logs) == (12, {})


def test_cross_entropy_takes_the_logarithm_in_float32() -> None:
    logits, labels = planted()
    rounded = logits.bfloat16()
    total, _, _ = CrossEntropy().loss(rounded, labels)
    exact, _, _ = CrossEntropy().loss(rounded.double().float(), labels)
    assert total.dtype == torch.float32
    assert float(total) == float(exact)
    # In bfloat16 itself the sum is visibly another one.
    low = torch.nn.functional.cross_entropy(rounded.flatten(0, 1), labels.flatten(), reduction="sum")
    assert abs(float(low) - float(exact)) > 1e-3


def test_cross_entropy_without_targets_is_zero_with_a_finite_gradient() -> None:
    logits = torch.randn(1, 3, 5, requires_grad=True)
    total, number, _ = CrossEntropy().loss(logits, torch.full((1, 3), -100))
    total.backward()
    assert (float(total.detach()), int(number)) == (0.0, 0)
    assert logits.grad is not None
    assert bool((logits.grad == 0).all())

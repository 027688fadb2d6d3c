"""Objectives: sums and normalisers, in float32."""

from __future__ import annotations

import pytest
import torch

from factfade import registry
from factfade.errors import ConfigError
from factfade.protocols import Objective
from factfade.training.objectives import CrossEntropy, SpectralDecoupling


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


@pytest.mark.parametrize("centred", [False, True])
def test_spectral_decoupling_adds_half_the_square_norm_of_target_logits(centred: bool) -> None:
    logits, labels = planted()
    logits = logits + 2.0
    part = SpectralDecoupling(coefficient=0.03, centred=centred)
    total, number, logs = part.loss(logits.requires_grad_(), labels)
    plain, _, _ = CrossEntropy().loss(logits.detach(), labels)
    squares = list[float]()
    for row, at in (labels != -100).nonzero().tolist():
        values = [float(z) for z in logits[row, at]]
        middle = sum(values) / len(values) if centred else 0.0
        squares.append(sum((z - middle) ** 2 for z in values))
    assert int(number) == len(squares) == 12
    assert float(total.detach()) == pytest.approx(float(plain) + 0.03 / 2 * sum(squares), rel=1e-5)
    assert logs == {"logit_norm": pytest.approx(sum(s**0.5 for s in squares) / 12, rel=1e-5)}
    total.backward()
    assert logits.grad is not None
    assert bool((logits.grad[labels == -100] == 0).all())
    # The penalty's gradient is coefficient * logits (less their mean), beside cross-entropy's.
    other = logits.detach().clone().requires_grad_()
    CrossEntropy().loss(other, labels)[0].backward()
    assert other.grad is not None
    own = logits.detach() - (logits.detach().mean(-1, keepdim=True) if centred else 0.0)
    kept = labels != -100
    torch.testing.assert_close((logits.grad - other.grad)[kept], 0.03 * own[kept], atol=1e-5, rtol=1e-4)


def test_centred_logits_cost_the_same_wherever_they_lie() -> None:
    logits, labels = planted()
    near, far = (SpectralDecoupling(coefficient=0.1, centred=True).loss(logits + c, labels)[0] for c in (0.0, 5.0))
    assert float(near) == pytest.approx(float(far), rel=1e-5)
    near, far = (SpectralDecoupling(coefficient=0.1).loss(logits + c, labels)[0] for c in (0.0, 5.0))
    assert float(far) > 1.5 * float(near)


def test_spectral_decoupling_of_nothing_is_cross_entropy_to_the_bit() -> None:
    logits, labels = planted()
    first, second = (logits.clone().requires_grad_() for _ in range(2))
    total, number, _ = SpectralDecoupling(coefficient=0.0).loss(first, labels)
    expected, targets, _ = CrossEntropy().loss(second, labels)
    total.backward()
    expected.backward()
    assert torch.equal(total, expected)
    assert int(number) == int(targets)
    assert first.grad is not None
    assert second.grad is not None
    assert torch.equal(first.grad, second.grad)


def test_spectral_decoupling_upcasts_and_takes_no_target() -> None:
    logits, labels = planted()
    rounded = logits.bfloat16()
    part = SpectralDecoupling(coefficient=0.03)
    low, exact = (part.loss(values, labels)[0] for values in (rounded, rounded.float()))
    assert low.dtype == torch.float32
    assert float(low) == float(exact)
    nothing = torch.randn(1, 3, 5, requires_grad=True)
    total, number, logs = part.loss(nothing, torch.full((1, 3), -100))
    total.backward()
    assert (float(total.detach()), int(number), logs) == (0.0, 0, {})
    assert nothing.grad is not None
    assert bool((nothing.grad == 0).all())


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
def test_a_coefficient_is_a_number_of_at_least_0(wrong: float) -> None:
    with pytest.raises(ConfigError, match="coefficient"):
        registry.build("objective", {"kind": "spectral_decoupling", "coefficient": wrong})

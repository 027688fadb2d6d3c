"""Turnover: firm losses against wavering items, and the Poisson bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from factfade.stats.turnover import poisson_upper, turnover


def test_nothing_turned_gives_nothing() -> None:
    found = turnover(np.zeros(50))
    assert (found.lost, found.gained, found.threshold, found.wavering_share) == (0, 0, None, None)
    assert not found.firm.any()
    assert found.wavering == pytest.approx(-np.log(0.05))
    assert turnover([]).lost == 0


def test_the_threshold_is_the_least_that_holds_the_share() -> None:
    # 20 losses of strength 3 and 5 of strength 1; gains: 3 of strength 1.
    strength = [3.0] * 20 + [1.0] * 5 + [-1.0] * 3
    found = turnover(strength, share=0.1)
    assert found.threshold == 3.0  # at 1: (1 + 3) / 25 = .16; at 3: 1 / 20
    assert found.firm.sum() == 20
    assert turnover(strength, share=0.2).threshold == 1.0
    assert turnover([5.0] * 9, share=0.1).threshold is None  # 1 / 9 is above a tenth


def test_wavering_items_are_seldom_called_firm() -> None:
    """The expected share of wavering items among the firm ones stays below the bound, with and without true losses."""
    random = np.random.default_rng(0)
    shares = []
    for true in (0, 300):
        for _ in range(150):
            size = random.integers(1, 7, 60).astype(float)
            wavering = size * random.choice([-1.0, 0.0, 1.0], 60, p=[0.3, 0.4, 0.3])
            lost = random.integers(3, 7, true).astype(float)
            firm = turnover(np.concatenate([wavering, lost])).firm
            shares.append((true, firm[:60].sum() / max(firm.sum(), 1), firm[60:].mean() if true else 0.0))
    for true in (0, 300):
        own = np.array([s for t, s, _ in shares if t == true])
        assert own.mean() <= 0.1 + 2 * own.std() / np.sqrt(len(own))
    assert np.mean([p for t, _, p in shares if t == 300]) > 0.3


@given(st.lists(st.integers(-6, 6), max_size=80), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_exchange_turns_losses_to_gains(values: list[int], random: object) -> None:
    found, again = turnover(values), turnover(list(reversed(values)))
    assert found.threshold == again.threshold
    assert found.firm[::-1].tolist() == again.firm.tolist()
    back = turnover([-v for v in values])
    assert (back.lost, back.gained) == (found.gained, found.lost)
    assert all(v > 0 for v, firm in zip(values, found.firm.tolist(), strict=True) if firm)


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_the_poisson_bound_is_the_exact_one(count: int) -> None:
    assert poisson_upper(count) == pytest.approx(chi2.ppf(0.95, 2 * count + 2) / 2, rel=1e-9)


def test_what_is_no_strength_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers"):
        turnover([1.0, float("nan")])
    with pytest.raises(ValueError, match="share"):
        turnover([1.0], share=0.0)

"""Leads of one series over another: planted ones, the rate of false ones, the correlation, degenerate input."""

from __future__ import annotations

import numpy as np
import pytest

from factfade.stats.lead_lag import LeadLag, lead_lag

random = np.random.default_rng(0)


def walks(runs: int, steps: int) -> np.ndarray:
    return random.standard_normal((runs, steps)).cumsum(axis=1)


def leading(lead: int, *, runs: int = 4, steps: int = 30, noise: float = 0.5) -> LeadLag:
    """The outcome follows the indicator after `lead` steps (before it, where negative)."""
    cause = walks(runs, steps + 10)
    x = cause[:, 5 : 5 + steps]
    y = cause[:, 5 - lead : 5 - lead + steps] + noise * walks(runs, steps)
    return lead_lag(list(x), list(y))


def shown(found: LeadLag) -> bool:
    return found.p is not None and found.p <= 0.05 and found.low is not None and found.low >= 1


@pytest.mark.parametrize("lead", [1, 2, 3])
def test_a_planted_lead_is_recovered(lead: int) -> None:
    found = leading(lead)
    assert shown(found)
    assert (found.low, found.lead, found.high) == (lead, lead, lead)
    assert max(found.correlations, key=lambda lag: abs(found.correlations[lag])) == lead


@pytest.mark.parametrize("lead", [0, -1, -2])
def test_what_moves_together_or_after_does_not_lead(lead: int) -> None:
    found = leading(lead)
    assert not shown(found)
    assert found.lead == lead


@pytest.mark.parametrize("kind", ["walk", "white", "the same decay"])
def test_independent_noise_has_no_lead(kind: str) -> None:
    """At most 5% of tests alarm on independent noise (a decay that both share may: the lead's interval then says 0)."""
    alarms, leads = [], []
    for _ in range(60):
        pair = [random.standard_normal((4, 14)) for _ in range(2)]
        if kind == "walk":
            pair = [one.cumsum(axis=1) for one in pair]
        if kind == "the same decay":
            pair = [0.3 * one + 5 * np.exp(-np.arange(14) / 4) for one in pair]
        found = lead_lag(list(pair[0]), list(pair[1]), resamples=99)
        alarms.append(found.p is not None and found.p <= 0.05)
        leads.append(shown(found))
    # 60 draws at 5%: 8 or more happen in less than 1%.
    assert kind == "the same decay" or sum(alarms) < 8
    assert sum(leads) < 8


def test_a_lead_is_the_partial_correlation_given_the_outcomes_past() -> None:
    x, y = walks(1, 40), walks(1, 40)
    found = lead_lag([x[0]], [y[0]])
    dx, dy = (np.diff(one[0]) - np.diff(one[0]).mean() for one in (x, y))
    for lag in (1, 2, 3):
        a, b, past = dx[3 - lag + 0 : len(dx) - lag], dy[3:], dy[2:-1]
        if lag < 3:
            a, b, past = dx[: len(dx) - lag], dy[lag:], dy[lag - 1 : -1]
        design = np.column_stack([np.ones_like(past), past])
        rest = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (a, b)]
        assert found.correlations[lag] == pytest.approx(np.corrcoef(rest[0], rest[1])[0, 1], abs=1e-9)
    assert found.correlations[-1] == pytest.approx(np.corrcoef(dx[1:], dy[:-1])[0, 1], abs=1e-9)
    assert found.correlations[0] == pytest.approx(np.corrcoef(dx, dy)[0, 1], abs=1e-9)


def test_levels_signs_and_the_order_of_runs_do_not_matter() -> None:
    x, y = walks(3, 20), walks(3, 20)
    found = lead_lag(list(x), list(y))
    assert lead_lag(list(7 - 3 * x), list(y)).p == found.p
    turned = lead_lag(list(x[::-1]), list(y[::-1]))
    assert turned.correlations == pytest.approx(found.correlations)
    assert (turned.p or 0.0) == pytest.approx(found.p or 0.0, abs=0.05)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([], [], "0 pairs"),
        ([[1.0]], [[1.0]], "0 pairs"),
        ([[1.0, 2.0, 4.0]], [[1.0, 3.0, 4.0]], "1 pairs"),
        ([np.arange(20.0)], [np.arange(20.0) ** 2], "the indicator does not vary"),
        ([np.arange(20.0) ** 2], [np.ones(20)], "the outcome does not vary"),
        ([np.arange(12.0) ** 2], [np.arange(12.0) ** 3], "11 shifts cannot give"),
        ([np.full(20, np.nan)], [np.arange(20.0)], "0 pairs"),
    ],
)
def test_too_little_is_undetermined(x: list[object], y: list[object], reason: str) -> None:
    found = lead_lag(x, y)  # type: ignore[arg-type]
    assert reason in found.reason
    assert (found.p, found.lead, found.low) == (None, None, None)


def test_gaps_and_shorter_runs_are_left_out() -> None:
    cause = walks(5, 24)
    x, y = [one[1:] for one in cause], [one[:-1].copy() for one in cause]
    y[0][7] = np.nan
    x[1], y[1] = x[1][:12], y[1][:12]
    found = lead_lag(x, y)
    assert found.lead == 1
    assert found.pairs == 4 * 21 + 10 - 2
    with pytest.raises(ValueError, match="one grid"):
        lead_lag([np.ones(3)], [np.ones(4)])
    with pytest.raises(ValueError, match="same runs"):
        lead_lag([np.ones(3)], [])


def test_a_single_run_has_no_interval() -> None:
    found = leading(1, runs=1, steps=60)
    assert found.p is not None
    assert found.p <= 0.05
    assert found.lead == 1
    assert found.low is None

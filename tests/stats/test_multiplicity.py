"""Holm against statsmodels; margins against statsmodels' TOST."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from factfade.stats import intervals, multiplicity, paired


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_statsmodels(p: list[float]) -> None:
    assert multiplicity.holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


def test_holm_leaves_out_what_was_not_tested() -> None:
    found = multiplicity.holm([0.01, np.nan, 0.04, 0.03])
    assert found[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(found[1])
    assert multiplicity.holm([]).tolist() == []
    assert np.isnan(multiplicity.holm([np.nan])).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        multiplicity.holm([1.2])


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2])
def test_tost_is_statsmodels(shift: float) -> None:
    random = np.random.default_rng(5)
    x, y = random.normal(size=40), random.normal(size=40)
    y = x - shift + 0.2 * y
    found = multiplicity.tost(paired.paired_mean(x, y, level=0.9), 0.1)
    p, low, high = ttost_paired(x, y, -0.1, 0.1)
    assert found.p == pytest.approx(p, abs=1e-9)
    assert found.shown is bool(p < 0.05)
    worse = multiplicity.non_inferior(paired.paired_mean(x, y, level=0.9), 0.1)
    assert worse.p == pytest.approx(high[1], abs=1e-9)
    assert worse.shown is bool(high[1] < 0.05)
    assert low[1] <= p


def test_a_wide_interval_shows_nothing_and_none_is_not_no() -> None:
    wide = intervals.mean([-1.0, 1.0, 0.5, -0.5], level=0.9)
    assert multiplicity.tost(wide, 0.1).shown is False
    one = multiplicity.tost(intervals.mean([0.0]), 0.1)
    assert one.shown is None
    assert one.reason
    score = paired.paired_loss([1] * 60, [1] * 60).interval
    assert multiplicity.non_inferior(score, 0.1).shown is True
    assert multiplicity.non_inferior(score, 0.1).p is None
    assert multiplicity.non_inferior(score, 0.1).alpha == pytest.approx(0.05)
    gain = paired.paired_loss([0] * 60, [1] * 60).interval
    assert multiplicity.non_inferior(gain, 0.1).shown is True
    assert multiplicity.tost(gain, 0.1).shown is False
    with pytest.raises(ValueError, match="above 0"):
        multiplicity.tost(score, 0.0)

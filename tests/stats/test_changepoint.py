"""The change point: found where planted, its threshold and its set calibrated on unchanged and on stepped models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from factfade.stats import changepoint
from factfade.stats.intervals import Floats

G = np.arange(9)


def chain(items: int, random: np.random.Generator, *, flips: float = 0.09, right: float = 0.6) -> Floats:
    out = np.empty((items, len(G)))
    out[:, 0] = random.random(items) < right
    for j in range(1, len(G)):
        leave = np.where(out[:, j - 1] == 1, flips / 2 / right, flips / 2 / (1 - right))
        out[:, j] = np.where(random.random(items) < leave, 1 - out[:, j - 1], out[:, j - 1])
    return out


def stepped(items: int, random: np.random.Generator, at: int, share: float) -> Floats:
    """Independent flips about a level of each item; at generation `at` a share of the items is lost for good."""
    chance = random.beta(4, 1, (items, 1))
    y = (random.random((items, len(G))) < chance).astype(float)
    y[: int(share * items), at:] = 0.0
    return y


def test_a_planted_step_is_found() -> None:
    y = stepped(300, np.random.default_rng(0), 4, 0.3)
    found = changepoint.change_point(y, G)
    assert found.generation == 4
    assert found.p == pytest.approx(1 / 2000)
    assert 4 in found.candidates
    assert len(found.candidates) <= 2
    assert found.drop == pytest.approx(y[:, :4].mean() - y[:, 4:].mean(), abs=1e-12)
    assert (found.n, found.clusters, found.draws) == (300, 300, 1999)


def test_a_gradual_fall_is_no_step() -> None:
    lost_at = np.random.default_rng(1).integers(1, 16, (400, 1))
    found = changepoint.change_point((G[None] < lost_at).astype(float), G)
    assert found.p is not None
    assert found.p < 0.001
    assert found.candidates == ()


def test_a_rise_is_no_drop() -> None:
    y = 1 - stepped(300, np.random.default_rng(2), 4, 0.3)
    assert changepoint.change_point(y, G).p > 0.5


def test_two_generations_are_the_sign_flip_test() -> None:
    """Seven lost and one gained: the reversal p is near the exact one of the signs, 9 / 256."""
    y = np.ones((40, 2))
    y[:7, 1] = 0
    y[7, 0] = 0
    found = changepoint.change_point(y, [0, 3], draws=20_000)
    assert found.p == pytest.approx(sps.binom.cdf(1, 8, 0.5), abs=0.005)
    assert found.generation == 3
    assert found.candidates == (3,)


@pytest.mark.parametrize("per", [1, 3])
def test_threshold_on_unchanged_chains(per: int) -> None:
    """Persistent flips, in clusters that move together: at most 5% (binomial band) are called a drop."""
    random = np.random.default_rng(3)
    hits = 0
    for i in range(300):
        y = np.repeat(chain(80, random), per, axis=0)
        found = changepoint.change_point(y, G, np.arange(len(y)) // per, draws=199, seed=i)
        hits += found.p <= 0.05
    low, high = sps.binom.ppf([0.001, 0.999], 300, 0.05)
    assert low <= hits <= high


def test_the_set_holds_the_truth() -> None:
    """A step of 8% of the items: the 95% set misses it in about 5% of the runs or fewer."""
    random = np.random.default_rng(4)
    runs = [
        changepoint.change_point(stepped(150, random, 5, 0.08), G, draws=199, seed=i).candidates for i in range(200)
    ]
    assert sum(5 not in run for run in runs) <= sps.binom.ppf(0.999, 200, 0.05)
    assert np.mean([len(run) for run in runs]) < len(G) - 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_order_and_names_change_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    y = chain(40, random)
    y[random.random(y.shape) < 0.2] = np.nan
    clusters = random.integers(0, 12, 40)
    found = changepoint.change_point(y, G, clusters, draws=99)
    order = random.permutation(40)
    again = changepoint.change_point(y[order], G, 50 - clusters[order], draws=99)
    assert again.p == found.p
    assert (again.generation, again.candidates) == (found.generation, found.candidates)


def test_rows_of_one_item_share_its_weight() -> None:
    y = stepped(60, np.random.default_rng(6), 3, 0.2)
    once = changepoint.change_point(y, G, draws=99)
    twice = changepoint.change_point(np.vstack([y, y]), G, items=np.tile(np.arange(60), 2), draws=99)
    assert twice.drop == pytest.approx(once.drop, abs=1e-12)
    assert (twice.n, twice.p) == (60, once.p)


def test_too_little_to_say() -> None:
    for y, g in (
        (np.ones((5, 1)), [0]),
        (np.full((5, 3), np.nan), [0, 1, 2]),
        (np.ones((1, 3)), [0, 1, 2]),
        (np.zeros((0, 3)), [0, 1, 2]),
        (np.zeros((0, 0)), []),
    ):
        found = changepoint.change_point(y, g)
        assert (found.generation, found.p, found.candidates) == (None, None, ())
        assert found.reason
    same = changepoint.change_point(np.ones((30, 4)), np.arange(4))
    assert (same.p, same.drop) == (1.0, 0.0)
    assert same.candidates == (1, 2, 3)
    with pytest.raises(ValueError, match="ascending"):
        changepoint.change_point(np.ones((3, 2)), [1, 0])

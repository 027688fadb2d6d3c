"""Transitions, chains, losses and survival: published data, closed forms against simulation, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.duration.survfunc import SurvfuncRight

from factfade.stats import survival, transitions
from factfade.stats.intervals import wilson_bounds
from factfade.stats.survival import losses, median_time, support, survival_curve, time_to_failure, turnbull
from factfade.stats.transitions import Chain, chain_first_wrong, chain_survival, flips, stationary_chain

Floats = NDArray[np.float64]
NAN = math.nan
INF = math.inf
GENERATIONS = tuple(range(11))


def chain_of(right: float, persistence: float) -> Chain:
    return Chain(right=np.asarray(right), persistence=np.asarray(persistence), capped=False)


def simulate(
    items: int, right: float, churn: float, generations: tuple[int, ...] = GENERATIONS, rng: int = 0
) -> Floats:
    """A stationary chain with this share right and this churn a generation, one generation at a time."""
    random = np.random.default_rng(rng)
    state = random.random(items) < right
    seen = [state]
    for _ in range(generations[-1]):
        draw = random.random(items)
        state = np.where(state, draw >= churn / 2 / right, draw < churn / 2 / (1 - right))
        seen.append(state)
    return np.array(seen, dtype=float).T[:, generations]


# ---------------------------------------------------------------------------------------------------------------
# Transitions and the chain


def test_the_four_way_table_by_hand() -> None:
    before = [1, 1, 1, 1, 0, 0, 0, NAN, 1]
    after = [1, 1, 1, 0, 1, 0, 0, 1, NAN]
    found = transitions.transitions(before, after)
    assert found.counts == (3, 1, 1, 2)
    assert [s.value for s in found.shares] == pytest.approx([3 / 7, 1 / 7, 1 / 7, 2 / 7])
    assert (found.retention.value, found.retention.n) == (0.75, 4)
    assert found.recovery.value == pytest.approx(1 / 3)
    empty = transitions.transitions([], [])
    assert empty.counts == (0, 0, 0, 0)
    assert empty.retention.value is None


def test_first_wrong_survival_of_an_unchanged_model_with_nine_percent_flips() -> None:
    """Nothing is forgotten, and yet half of the items have been wrong once by generation 10: .49."""
    churn, right = 0.09, 0.65
    chain = chain_of(right, 1 - churn / (2 * right * (1 - right)))
    assert chain_first_wrong(chain, GENERATIONS)[-1] == pytest.approx(0.49, abs=0.005)
    states = simulate(20_000, right, churn)
    started = states[states[:, 0] == 1]
    assert np.mean(started.min(axis=1)) == pytest.approx(0.49, abs=0.015)
    fitted = stationary_chain(flips(states, GENERATIONS))
    assert chain_first_wrong(fitted, GENERATIONS)[-1] == pytest.approx(0.49, abs=0.015)
    # The loss that we count is rarer, .74 are not lost, and the chain foretells it.
    curve = survival_curve(*times(states), GENERATIONS, draws=10)
    assert chain_survival(chain, GENERATIONS)[-1] == pytest.approx(0.74, abs=0.005)
    assert curve.values[-1] == pytest.approx(0.74, abs=0.015)


def times(states: Floats, generations: tuple[int, ...] = GENERATIONS) -> tuple[Floats, Floats]:
    found = losses(states, generations)
    return found.left, found.right


@pytest.mark.parametrize("generations", [GENERATIONS, (0, 2, 4, 6, 8), (0, 1, 3, 4, 8, 10)])
@pytest.mark.parametrize(("right", "churn"), [(0.65, 0.09), (0.9, 0.1), (0.4, 0.3)])
def test_the_chain_s_losses_are_those_of_simulated_chains(
    generations: tuple[int, ...], right: float, churn: float
) -> None:
    states = simulate(20_000, right, churn, generations, rng=4)
    truth = chain_of(right, 1 - churn / (2 * right * (1 - right)))
    curve = survival_curve(*times(states, generations), generations, draws=2)
    assert curve.values == pytest.approx(chain_survival(truth, generations), abs=0.015)
    fitted = stationary_chain(flips(states, generations))
    assert fitted.right == pytest.approx(right, abs=0.01)
    assert fitted.persistence == pytest.approx(truth.persistence, abs=0.02)
    assert chain_survival(fitted, generations) == pytest.approx(chain_survival(truth, generations), abs=0.02)
    kept = states[states[:, 0] == 1][:, -1].mean()
    assert kept == pytest.approx(truth.retained(generations[-1]), abs=0.015)


def test_a_steady_loss_is_not_the_chain_s_own_course() -> None:
    """Items that are lost for good, 5% a generation: the chain with as many flips foretells far fewer losses."""
    random = np.random.default_rng(1)
    onset = random.geometric(0.05, 4000)
    states = (onset[:, None] > np.arange(11)) & (random.random((4000, 1)) < 0.8)
    curve = survival_curve(*times(states.astype(float)), GENERATIONS, draws=2)
    chain = stationary_chain(flips(states.astype(float), GENERATIONS))
    assert curve.values[-1] == pytest.approx(0.95**9, abs=0.02)
    assert chain_survival(chain, GENERATIONS)[-1] > curve.values[-1] + 0.15


def test_chains_without_flips_or_without_items() -> None:
    still = stationary_chain(flips(np.ones((5, 3)), (0, 1, 2)))
    assert chain_survival(still, (0, 1, 2)).tolist() == [1.0, 1.0, 1.0]
    nothing = stationary_chain(flips(np.zeros((0, 3)), (0, 1, 2)))
    assert np.isnan(nothing.persistence)
    one = stationary_chain(flips(np.ones((5, 1)), (0,)))
    assert one.right == 1.0
    assert np.isnan(one.persistence)
    busy = stationary_chain(flips([[1, 0], [0, 1], [1, 0], [0, 1]], (0, 1)))
    assert busy.capped
    assert busy.persistence == 0.0
    assert stationary_chain(flips([[1, 0], [1, 1]], (0, 1))).capped
    with pytest.raises(ValueError, match="ascend"):
        flips(np.ones((2, 2)), (1, 1))
    with pytest.raises(ValueError, match="one column"):
        flips(np.ones((2, 3)), (0, 1))


# ---------------------------------------------------------------------------------------------------------------
# Losses


def test_losses_by_hand() -> None:
    states = [
        [1, 1, 1, 1, 1],  # kept
        [1, 1, 0, 0, 0],  # lost in (1, 2]
        [1, 0, 1, 0, 0],  # lost in (2, 3]: an earlier flip is none
        [1, 1, 1, 1, 0],  # wrong once at the end: not lost
        [1, 0, 0, 0, 1],  # back again
        [0, 0, 0, 0, 0],  # never right
        [1, NAN, 0, 0, 0],  # lost in (0, 2]
        [1, 1, 0, NAN, 0],  # two evaluated generations wrong
        [1, NAN, NAN, NAN, NAN],  # not seen again
        [NAN, 1, 0, 0, 0],  # not evaluated at generation 0
    ]
    found = losses(states, (0, 1, 2, 3, 4))
    assert found.items.tolist() == [0, 1, 2, 3, 4, 6, 7, 8]
    assert found.left.tolist() == [4, 1, 2, 3, 4, 0, 1, 0]
    assert found.right.tolist() == [INF, 2, 3, INF, INF, 2, 2, INF]
    assert found.single.tolist() == [False, False, False, True, False, False, False, False]
    assert found.lost.sum() == 4


def test_losses_of_nothing() -> None:
    assert not losses(np.zeros((3, 4)), range(4)).items.size
    assert losses(np.ones((3, 1)), (0,)).right.tolist() == [INF] * 3
    with pytest.raises(ValueError, match="one column"):
        losses(np.ones((3, 0)), ())


@given(st.lists(st.lists(st.sampled_from([1.0, 0.0, NAN]), min_size=5, max_size=5), min_size=1, max_size=20))
def test_a_loss_is_what_its_definition_says(rows: list[list[float]]) -> None:
    found = losses(rows, (0, 1, 2, 3, 4))
    for at, low, high in zip(found.items, found.left, found.right, strict=True):
        seen = [(g, v) for g, v in enumerate(rows[at]) if not math.isnan(v)]
        assert rows[at][0] == 1.0
        assert low == max(g for g, v in seen if v == 1.0)
        wrong = [g for g, _ in seen if g > low]
        assert high == (wrong[0] if len(wrong) >= 2 else INF)


# ---------------------------------------------------------------------------------------------------------------
# Turnbull

# Breast cosmesis, radiotherapy alone: months to retraction (Finkelstein and Wolfe 1985).
COSMESIS = """45- 6,10 0,7 46- 46- 7,16 17- 7,14 37,44 0,8 4,11 15- 11,15 22- 46- 46- 25,37 46- 26,40 46- 27,34 36,44
46- 36,48 37- 40- 17,25 46- 11,18 38- 5,12 37- 0,5 18- 24- 36- 5,11 19,35 17,25 24- 32- 33- 19,26 37- 34- 36-"""


def test_the_cosmesis_data() -> None:
    """The NPMLE as published for these data (R packages Icens and interval)."""
    pairs = [(float(a), float(b)) for a, b in (p.replace("-", ",inf").split(",") for p in COSMESIS.split())]
    assert len(pairs) == 46
    left, right = np.array(pairs).T
    found = support(left, right)
    mass = turnbull(found.holds, np.ones(46))
    kept = mass > 1e-6
    intervals = list(zip(found.starts[kept], found.ends[kept], strict=True))
    assert intervals == [(4, 5), (6, 7), (7, 8), (11, 12), (24, 25), (33, 34), (38, 40), (46, 48)]
    published = [0.0463, 0.0334, 0.0887, 0.0708, 0.0926, 0.0818, 0.1209, 0.4656]
    assert mass[kept] == pytest.approx(published, abs=1e-4)
    # The Kuhn-Tucker conditions: no mass can move and gain.
    gradient = (found.holds / (found.holds @ mass)[:, None]).sum(axis=0)
    assert gradient.max() <= 46 * (1 + 1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30).filter(
        lambda rows: any(lost for _, lost in rows)
    )
)
def test_it_is_kaplan_meier_where_times_are_known_to_the_generation(rows: list[tuple[int, bool]]) -> None:
    left = np.array([g for g, _ in rows], dtype=float)
    right = np.array([g + 1.0 if lost else INF for g, lost in rows])
    curve = survival_curve(left, right, range(8), draws=2)
    # An item last seen right at g is at risk until g and no longer, a loss in (g, g + 1] happens at g + 1.
    km = SurvfuncRight(np.where(np.isfinite(right), right, left + 0.5), np.isfinite(right).astype(int))
    last = float(left.max())
    for g in range(8):
        if g <= last or np.isfinite(right[left == last]).all():
            before = km.surv_times <= g
            expected = km.surv_prob[before][-1] if before.any() else 1.0
            assert curve.values[g] == pytest.approx(expected, abs=1e-6)


def test_survival_is_monotone_and_its_bounds_hold_it() -> None:
    states = simulate(300, 0.8, 0.1)
    states[np.random.default_rng(0).random(states.shape) < 0.1] = NAN
    curve = survival_curve(*times(states), GENERATIONS, draws=200)
    assert np.all(np.diff(curve.values) <= 1e-9)
    assert curve.values[0] == 1.0
    for value, low, high in zip(curve.values, curve.low, curve.high, strict=True):
        assert low is not None
        assert high is not None
        assert low <= value <= high
        assert low < high or value == 1.0
    assert (curve.low[0], curve.high[0]) == (1.0, 1.0)
    assert curve.low[2] is not None
    assert curve.low[2] < 1.0


def test_coverage_of_the_survival_curve_with_clusters() -> None:
    """Five items a cluster are lost together half of the time; ignoring that covers too rarely."""
    truth = 0.9**3

    def covered(random: np.random.Generator, *, aware: bool) -> bool:
        owner = np.arange(300) // 5
        together = random.random(60)[owner] < 0.7
        onset = np.where(together, random.geometric(0.1, 60)[owner], random.geometric(0.1, 300)).astype(float)
        left = np.minimum(onset - 1, 8)
        right = np.where(onset <= 8, onset, INF)
        curve = survival_curve(left, right, (3,), owner if aware else None, draws=200)
        return bool((curve.low[0] or 0) <= truth <= (curve.high[0] or 0))

    random = np.random.default_rng(8)
    assert 0.90 <= np.mean([covered(random, aware=True) for _ in range(200)]) <= 0.99
    assert np.mean([covered(random, aware=False) for _ in range(200)]) < 0.85


@pytest.mark.slow
@pytest.mark.parametrize(("items", "hazard"), [(50, 0.02), (100, 0.02), (300, 0.02), (100, 0.1), (300, 0.1)])
def test_coverage_of_the_survival_curve_near_one(items: int, hazard: float) -> None:
    """Censored at random up to generation 8; percentiles of the same resamples cover 90% of the first."""
    random, truth = np.random.default_rng(1), (1 - hazard) ** 5
    covered = []
    for _ in range(400):
        onset = random.geometric(hazard, items)
        end = random.integers(3, 12, items)
        curve = survival_curve(np.minimum(onset - 1, end), np.where(onset <= end, onset, INF), (5,), draws=200)
        covered.append((curve.low[0] or 0) <= truth <= (curve.high[0] or 0))
    assert 0.92 <= np.mean(covered) <= 0.98


def test_no_loss_and_nothing_but_loss_keep_a_width() -> None:
    kept = survival_curve([4.0] * 50, [INF] * 50, (0, 4))
    assert kept.values == (1.0, 1.0)
    assert (kept.low[1], kept.high[1]) == pytest.approx(wilson_bounds(50, 50, 1.959964), abs=1e-6)
    gone = survival_curve([0.0] * 50, [1.0] * 50, (0, 1))
    assert gone.values == (1.0, 0.0)
    assert (gone.low[1], gone.high[1]) == pytest.approx(wilson_bounds(0, 50, 1.959964), abs=1e-6)
    clustered = survival_curve([4.0] * 50, [INF] * 50, (0, 4), np.arange(50) // 5)
    assert clustered.low[1] is not None
    assert clustered.low[1] < 0.75  # Ten clusters count as ten.
    censored = survival_curve([4.0] * 10 + [0.0] * 40, [INF] * 50, (0, 4))
    assert censored.low[1] == pytest.approx(wilson_bounds(10, 10, 1.959964)[0], abs=1e-6)
    alone = survival_curve([0.0, 4.0], [1.0, INF], (0, 1), ["a", "a"])
    assert alone.values[1] == 0.5
    assert alone.low == (None, None)
    assert survival_curve([], [], (0, 1)).values == ()
    with pytest.raises(ValueError, match="left < right"):
        survival_curve([2.0], [2.0], (0, 1))


def test_neither_order_nor_names_change_a_bound() -> None:
    states = simulate(120, 0.8, 0.1)
    owner = np.arange(120) // 3
    order = np.random.default_rng(5).permutation(120)
    first, second = losses(states, GENERATIONS), losses(states[order], GENERATIONS)
    names = np.array([f"n{(17 * g) % 40:02d}" for g in owner[order]])
    one = survival_curve(first.left, first.right, GENERATIONS, owner[first.items], draws=50)
    two = survival_curve(second.left, second.right, GENERATIONS, names[second.items], draws=50)
    assert one.low == pytest.approx(two.low, abs=1e-12)


# ---------------------------------------------------------------------------------------------------------------
# Time to failure


def test_time_to_failure_by_hand() -> None:
    found = time_to_failure((0, 2, 4), (0.9, 0.8, 0.7), (0.8, 0.7, 0.6), (0.95, 0.9, 0.74))
    assert (found.left, found.right, found.earliest, found.surely) == (2, 4, 2, 4)
    never = time_to_failure((0, 2), (0.9, 0.9), (0.8, 0.8), (1.0, 1.0))
    assert not never.failed
    assert never.left == 2
    already = time_to_failure((0, 2), (0.5, 0.9), (0.4, 0.8), (0.6, 1.0))
    assert (already.left, already.right) == (-INF, 0)
    holes = time_to_failure((0, 2, 4), (0.9, None, 0.7), (None, None, None), (None, None, None))
    assert (holes.left, holes.right, holes.earliest) == (0, 4, None)


def test_the_median_over_seeds_and_its_censoring() -> None:
    def failing(*at: float) -> list[survival.Failure]:
        return [survival.Failure(left=0, right=t, earliest=None, surely=None) for t in at]

    five = median_time(failing(5, 3, 4, INF, 6))
    assert (five.value, five.low, five.n) == (5, None, 5)
    six = median_time(failing(3, 4, 5, 6, 7, 8))
    assert (six.value, six.low, six.high) == (5.5, 3, 8)
    open_end = median_time(failing(3, 4, 5, 6, 7, INF))
    assert (open_end.low, open_end.high) == (3, None)
    assert median_time(failing(3, INF, INF)).value is None
    assert median_time([]).value is None

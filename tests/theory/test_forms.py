"""The closed forms: against each other, against exact sums, and against a plain simulation without the loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from factfade.theory import forms

sizes = st.integers(2, 60)


@given(n=sizes, generations=st.integers(0, 12), data=st.data())
def test_the_recursion_of_covariances_has_the_closed_form_of_replace(
    n: int, generations: int, data: st.DataObject
) -> None:
    human = data.draw(st.integers(0, n))
    found = forms.drift("replace", n, generations, human=human)
    np.testing.assert_allclose(found, forms.replaced_drift(n, generations, human=human), atol=1e-12)
    if human == 0:
        np.testing.assert_allclose(1 - found, forms.variance_left(n, generations), atol=1e-12)


@given(n=sizes, generations=st.integers(0, 12), original=st.booleans())
def test_the_recursion_of_covariances_has_the_closed_form_of_accumulate(
    n: int, generations: int, original: bool
) -> None:
    found = forms.drift("accumulate", n, generations, text="first" if original else "trained")
    np.testing.assert_allclose(found, forms.accumulated_drift(n, generations, original=original), atol=1e-12)


def test_accumulation_is_bounded_for_ever_and_replacement_is_not() -> None:
    n, long = 12, 20_000
    for original in (True, False):
        drift = forms.accumulated_drift(n, long, original=original)
        assert (np.diff(drift) > 0).all()
        assert drift[-1] < forms.ACCUMULATED / n
    # Without original data: Euler's product of the sine.
    at = math.pi / math.sqrt(n)
    assert 1 - drift[-1] == pytest.approx(math.sin(at) / at, abs=1e-5)
    assert forms.replaced_drift(n, long)[-1] == pytest.approx(1.0)


@given(n=sizes, share=st.floats(0.02, 1.0))
def test_a_constant_human_share_stops_the_drift(n: int, share: float) -> None:
    human = max(1, round(share * n))
    drift = forms.replaced_drift(n, 5000, human=human)
    s = 1 - human / n
    assert drift[-1] == pytest.approx((1 / n) / (1 - s * s + s / n))
    assert drift[-1] <= 1 / (n * (1 - s * s))


def test_a_subsample_lies_between_replacing_and_accumulating() -> None:
    for n in (2, 8, 50):
        replace, subsample, accumulate = (
            forms.drift(workflow, n, 12) for workflow in ("replace", "accumulate_subsample", "accumulate")
        )
        assert (accumulate[1:] < subsample[1:]).all()
        assert (subsample[2:] < replace[2:]).all()
        assert subsample[1] == pytest.approx(replace[1]), "both take n draws of the truth in generation 1"


def test_drift_is_g_over_n_while_g_is_small() -> None:
    n, g = 1000, np.arange(21)
    np.testing.assert_allclose(forms.replaced_drift(n, 20), g / n, rtol=0.011)
    # The condition is needed: at g = n a share of e^-1 is left and not nothing.
    assert forms.replaced_drift(n, n)[-1] == pytest.approx(1 - math.exp(-1), abs=1e-3)


@pytest.mark.parametrize("human", [0, 2])
@pytest.mark.parametrize("text", ["first", "trained", "all"])
def test_the_subsample_against_a_plain_simulation(human: int, text: forms.HumanText) -> None:
    """No code is shared: documents are numbers in a list, and every repetition draws its own subsamples."""
    n, generations, repetitions = 4, 3, 40_000
    random = np.random.default_rng([human, len(text)])
    pool, mean, deviation = np.empty((repetitions, 0)), np.zeros(repetitions), np.ones(repetitions)
    expected = forms.drift("accumulate_subsample", n, generations, human=human, text=text)
    for g in range(1, generations + 1):
        fresh = random.standard_normal((repetitions, n))
        written = mean[:, None] + deviation[:, None] * random.standard_normal((repetitions, n - human))
        keep = n if text == "all" or (text == "first" and g == 1) else human
        pool = np.concatenate([pool, fresh[:, :keep], written], axis=1)
        chosen = random.random(pool.shape).argsort(axis=1)[:, :n]
        drawn = np.take_along_axis(pool, chosen, axis=1)
        mean, deviation = drawn.mean(1), drawn.std(1)
        for values, value in ((mean**2, expected[g]), (deviation**2, 1 - expected[g])):
            assert abs(values.mean() - value) < 4.5 * values.std() / math.sqrt(repetitions)


# Symbols


def entropy_after_one_fit(shares: np.ndarray, n: int) -> float:
    """The exact mean of the plug-in entropy, symbol by symbol."""
    x = np.arange(1, n + 1)
    return float(sum((stats.binom.pmf(x, n, p) * -(x / n) * np.log(x / n)).sum() for p in shares))


@pytest.mark.parametrize(("symbols", "n"), [(2, 40), (8, 400), (30, 3000)])
def test_entropy_loss_against_the_exact_mean(symbols: int, n: int) -> None:
    shares = np.full(symbols, 1 / symbols)
    lost = math.log(symbols) - entropy_after_one_fit(shares, n)
    assert lost == pytest.approx(forms.entropy_loss(symbols, n), rel=0.05)


def test_entropy_loss_needs_many_draws_of_every_symbol() -> None:
    shares = np.array([0.999, 0.001])
    lost = float(-(shares * np.log(shares)).sum()) - entropy_after_one_fit(shares, 50)
    assert lost < 0.5 * forms.entropy_loss(2, 50)


@given(n=st.integers(1, 80), share=st.floats(0.001, 0.999), generations=st.integers(1, 12))
@settings(deadline=None)
def test_survival_is_above_its_bound_and_below_one_draw_of_the_truth(n: int, share: float, generations: int) -> None:
    alive = forms.survival(n, share, generations)
    assert (alive >= forms.survival_bound(n * share, generations) - 1e-12).all()
    assert alive[1] == pytest.approx(1 - (1 - share) ** n)
    assert (np.diff(alive) <= 1e-12).all()


def test_survival_in_the_long_run_is_fixation_at_the_human_share() -> None:
    """Under drift alone one symbol is left, and it is this one with the probability that it had."""
    assert forms.survival(10, 0.3, 400)[-1] == pytest.approx(0.3, abs=1e-6)


def test_human_text_brings_symbols_back() -> None:
    with_human, without = forms.survival(40, 0.05, 200, human=20), forms.survival(40, 0.05, 200)
    assert with_human[-1] > 1 - (1 - 0.05) ** 20
    assert with_human[-1] == pytest.approx(with_human[-2])
    assert without[-1] == pytest.approx(0.05, abs=0.01)


def test_the_pool_of_every_workflow() -> None:
    def named(workflow: forms.Workflow, text: forms.HumanText = "first") -> list[tuple[str, int, int]]:
        return [(g.source, g.generation, g.size) for g in forms.pool(workflow, 2, n=5, human=2, text=text)]

    assert named("replace") == [("human", 2, 2), ("synthetic", 2, 3)]
    both = [("human", 1, 2), ("synthetic", 1, 3), ("human", 2, 2), ("synthetic", 2, 3)]
    assert named("accumulate", "trained") == both
    assert named("accumulate") == [both[0], ("replaced", 1, 3), *both[1:]]
    assert named("accumulate_subsample", "all") == [
        both[0],
        ("replaced", 1, 3),
        *both[1:3],
        ("replaced", 2, 3),
        both[3],
    ]

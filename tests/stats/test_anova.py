"""The two-way analysis of variance against statsmodels; the permutation test's level, power and invariance."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm

from factfade.stats import anova, ratios

NAMES = {"first": "C(a, Sum)", "second": "C(b, Sum)", "interaction": "C(a, Sum):C(b, Sum)", "residual": "Residual"}


def table(cells: int, *, holes: int = 0, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    a, b, _ = np.meshgrid(range(3), range(5), range(cells), indexing="ij")
    frame = pd.DataFrame({"a": a.ravel(), "b": b.ravel()})
    frame["y"] = 0.6 - 0.02 * frame.b * (1 + frame.a) + 0.05 * random.normal(size=len(frame))
    return frame.drop(index=random.choice(len(frame), holes, replace=False))


@pytest.mark.parametrize("squares", [1, 2, 3])
@pytest.mark.parametrize("holes", [0, 4])
def test_replicated_is_statsmodels(squares: anova.SumsOfSquares, holes: int) -> None:
    data = table(4, holes=holes)
    expected = anova_lm(smf.ols("y ~ C(a, Sum) * C(b, Sum)", data).fit(), typ=squares)
    found = anova.two_way(data.y, data.a, data.b, squares=squares)
    assert found is not None
    assert found.replicated
    assert len(found.effects) == 4
    for line in found.effects:
        row = expected.loc[NAMES[line.source]]
        assert (line.df, line.sum_squares) == pytest.approx((row["df"], row["sum_sq"]), abs=1e-9)
        if line.source != "residual":
            assert (line.f, line.p) == pytest.approx((row["F"], row["PR(>F)"]), abs=1e-9)


@pytest.mark.parametrize("squares", [1, 2, 3])
def test_unreplicated_leaves_the_interaction_to_the_residual(squares: anova.SumsOfSquares) -> None:
    data = table(1)
    expected = anova_lm(smf.ols("y ~ C(a, Sum) + C(b, Sum)", data).fit(), typ=squares)
    found = anova.two_way(data.y, data.a, data.b, squares=squares)
    assert found is not None
    assert not found.replicated
    assert found.effect("interaction") is None
    for line in found.effects:
        row = expected.loc[NAMES[line.source]]
        assert (line.df, line.sum_squares) == pytest.approx((row["df"], row["sum_sq"]), abs=1e-9)
    rest = found.effect("residual")
    assert rest is not None
    assert rest.df == 2 * 4


def test_tables_without_an_answer() -> None:
    assert anova.two_way([], [], []) is None
    assert anova.two_way([1.0, 2.0], ["x", "x"], [0, 1]) is None
    assert anova.two_way([1.0, 2.0, 3.0, np.nan], ["x", "x", "y", "y"], [0, 1, 0, 1]) is None
    flat = anova.two_way([0.5] * 8, ["x", "y"] * 4, [0, 0, 1, 1] * 2)
    assert flat is not None
    assert [line.f for line in flat.effects] == [None] * 4


def parts(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope parts (items, formats) of answers (items, formats, generations)."""
    made = [ratios.slope_parts(y[:, f], range(y.shape[2])) for f in range(y.shape[1])]
    return np.stack([m[0] for m in made], axis=1), np.stack([m[1] for m in made], axis=1)


def answers(
    random: np.random.Generator, falls: list[float], *, items: int = 60, wobble: tuple[float, ...] = (0.0, 0.0, 0.0)
) -> np.ndarray:
    """0/1 answers of items that share their ease over formats; formats differ in level, and in `wobble` of slopes."""
    generations = np.arange(6)
    ease = random.normal(size=(items, 1, 1))
    level = np.linspace(-0.3, 0.3, len(falls))[None, :, None]
    slope = 0.3 * random.normal(size=(items, len(falls), 1)) * np.array(wobble)[None, :, None]
    noise = random.normal(size=(items, len(falls), 6))
    centred = generations - generations.mean()
    return (ease + level + (slope - np.array(falls)[None, :, None]) * centred + noise > 0).astype(float)


def rejected(random: np.random.Generator, falls: list[float], runs: int, **settings: Any) -> float:
    found = [
        anova.interaction(*parts(answers(random, falls, **settings)), permutations=199, seed=at).p for at in range(runs)
    ]
    return float(np.mean([p is not None and p <= 0.05 for p in found]))


def test_size() -> None:
    """No slope, unequal levels; then one format whose items move more than the others': near 5% either way."""
    random = np.random.default_rng(3)
    assert 0.02 <= rejected(random, [0.0, 0.0, 0.0], 400) <= 0.08
    assert 0.02 <= rejected(random, [0.0, 0.0, 0.0], 400, wobble=(0.0, 0.0, 1.5)) <= 0.08


def test_a_planted_interaction_is_found() -> None:
    random = np.random.default_rng(4)
    assert rejected(random, [0.0, 0.0, 0.3], 40) >= 0.9
    assert rejected(random, [0.3, 0.3, 0.3], 100) <= 0.11  # Parallel falls are none.


def test_two_formats_are_a_sign_flip() -> None:
    """With two formats the statistic is a monotone function of the mean difference: enumerate all flips."""
    random = np.random.default_rng(6)
    difference = random.normal(0.5, 1.0, size=10)
    n = np.stack([difference, np.zeros(10)], axis=1)
    found = anova.interaction(n, np.ones_like(n), permutations=20000)
    flips = np.array(list(itertools.product([-1, 1], repeat=10))) @ difference
    exact = float(np.mean(np.abs(flips) >= abs(difference.sum()) * (1 - 1e-9)))
    assert found.p == pytest.approx(exact, abs=0.01)
    assert found.spread == pytest.approx(difference.mean())


def test_names_and_order_change_nothing() -> None:
    random = np.random.default_rng(8)
    n, w = parts(answers(random, [0.0, 0.1, 0.2]))
    one = anova.interaction(n, w, permutations=499)
    rows, columns = random.permutation(60), [2, 0, 1]
    two = anova.interaction(n[rows][:, columns], w[rows][:, columns], permutations=499)
    assert (one.p, one.spread, one.units) == (two.p, pytest.approx(two.spread), two.units)
    assert one.statistic == pytest.approx(two.statistic)
    assert [one.slopes[c] for c in columns] == pytest.approx(list(two.slopes))


def test_clusters_are_summed_whole() -> None:
    n, w = anova.cluster_parts([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.ones((3, 2)), ["x", "y", "x"])
    assert n.tolist() == [[6.0, 8.0], [3.0, 4.0]]
    assert w.tolist() == [[2.0, 2.0], [1.0, 1.0]]


def test_degenerate_interactions() -> None:
    one = anova.interaction(np.ones((5, 1)), np.ones((5, 1)))
    assert one.p is None
    assert "two formats" in one.reason
    lone = anova.interaction(np.ones((1, 2)), np.ones((1, 2)))
    assert lone.p is None
    assert "two clusters" in lone.reason
    same = anova.interaction(np.zeros((5, 3)), np.ones((5, 3)))
    assert (same.p, same.spread) == (1.0, 0.0)
    parallel = anova.interaction(np.full((5, 3), -0.1), np.ones((5, 3)))
    assert parallel.p == 1.0
    # Every item of one format falls alike: no spread within, and still the strongest evidence there is.
    sure = anova.interaction(np.tile([-0.1, 0.0, 0.0], (30, 1)), np.ones((30, 3)), permutations=999)
    assert sure.p == pytest.approx(0.001)
    half = anova.interaction(np.ones((4, 2)), np.array([[1, 1], [1, 0], [0, 0], [1, 1]]))
    assert (half.units, half.left_out) == (2, 1)
    with pytest.raises(ValueError, match="two equal"):
        anova.interaction(np.ones((5, 3)), np.ones((5, 2)))

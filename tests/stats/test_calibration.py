"""Calibration: scikit-learn, exact identities, coverage, invariance, degenerate inputs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, roc_auc_score

from factfade.stats.calibration import bins_of, brier, calibration_error
from factfade.stats.discrimination import auroc, auroc_change

Floats = NDArray[np.float64]
BINNINGS = ("width", "mass")
ANSWERS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.55, 0.8, 0.95, 1.0]), st.booleans()), min_size=1)


def answers(n: int, *, rng: int = 0, sharpen: float = 1.0) -> tuple[Floats, Floats]:
    """Calibrated confidences where `sharpen` is 1; overconfident above."""
    random = np.random.default_rng(rng)
    p = random.beta(4, 1.5, n)
    right = (random.random(n) < p).astype(float)
    return p**sharpen / (p**sharpen + (1 - p) ** sharpen), right


def split(pairs: list[tuple[float, bool]]) -> tuple[Floats, Floats]:
    return np.array([c for c, _ in pairs]), np.array([float(y) for _, y in pairs])


def test_brier_and_its_bins_are_scikit_learn_s() -> None:
    c, y = answers(300)
    assert brier(c, y).score.value == pytest.approx(brier_score_loss(y, c), abs=1e-12)
    seen, said = calibration_curve(y, c, n_bins=10, strategy="uniform")
    at = bins_of(c, 10, "width")
    counts = np.bincount(at, minlength=10)
    counts = counts[counts > 0]
    expected = float(np.sum(counts / 300 * np.abs(seen - said)))
    assert calibration_error(c, y, draws=2).value == pytest.approx(expected, abs=1e-9)
    assert brier(c, y).reliability.value == pytest.approx(float(np.sum(counts / 300 * (seen - said) ** 2)), abs=1e-9)


@given(ANSWERS, st.sampled_from(BINNINGS), st.integers(1, 15))
def test_the_parts_add_up(pairs: list[tuple[float, bool]], binning: str, bins: int) -> None:
    c, y = split(pairs)
    found = brier(c, y, bins=bins, binning=binning)  # type: ignore[arg-type]
    parts = [found.score, found.reliability, found.resolution, found.uncertainty, found.within]
    score, reliability, resolution, uncertainty, within = (p.value or 0.0 for p in parts)
    assert score == pytest.approx(reliability - resolution + uncertainty + within, abs=1e-12)
    assert min(reliability, resolution, uncertainty) >= 0.0
    # The within-bin term is the within-bin variance less twice the within-bin covariance (Stephenson et al. 2008).
    at = bins_of(c, bins, binning)  # type: ignore[arg-type]
    cc, yy = c.copy(), y.copy()
    for k in np.unique(at):
        cc[at == k] -= c[at == k].mean()
        yy[at == k] -= y[at == k].mean()
    assert within == pytest.approx(np.mean(cc**2) - 2 * np.mean(cc * yy), abs=1e-12)


def test_forecasts_of_one_value_a_bin_leave_nothing_within() -> None:
    """Murphy's three parts by hand: .2 (1 of 4 right) and .8 (3 of 4 right)."""
    found = brier([0.2] * 4 + [0.8] * 4, [1, 0, 0, 0, 1, 1, 1, 0])
    assert found.reliability.value == pytest.approx(0.0025)
    assert found.resolution.value == pytest.approx(0.0625)
    assert found.uncertainty.value == pytest.approx(0.25)
    assert found.within.value == pytest.approx(0.0)
    assert found.score.value == pytest.approx(0.19)


def test_the_intervals_of_the_parts_are_those_of_the_jackknife() -> None:
    c, y = answers(400, sharpen=2.0)
    owner = np.arange(400) // 4
    found = brier(c, y, owner, bins=5)
    for name in ("reliability", "resolution", "uncertainty", "within"):
        part = getattr(found, name)
        left_out = [getattr(brier(c[owner != g], y[owner != g], bins=5), name).value for g in range(100)]
        error = math.sqrt(99 / 100 * float(np.sum((np.array(left_out) - np.mean(left_out)) ** 2)))
        assert part.deviation / 10 == pytest.approx(error, rel=0.1), name


@given(ANSWERS, st.integers(1, 12))
def test_bins_of_equal_mass_never_part_ties(pairs: list[tuple[float, bool]], bins: int) -> None:
    c, _ = split(pairs)
    at = bins_of(c, bins, "mass")
    assert len(np.unique(at)) <= bins
    for value in np.unique(c):
        assert len(np.unique(at[c == value])) == 1
    assert np.all(np.diff(at[np.argsort(c)]) >= 0)


def test_bins_of_equal_mass_are_equal_without_ties() -> None:
    assert np.bincount(bins_of(np.linspace(0, 1, 100), 10, "mass")).tolist() == [10] * 10
    assert bins_of([0.0, 0.1, 0.11, 1.0], 10).tolist() == [0, 0, 1, 9]


@pytest.mark.parametrize("binning", BINNINGS)
def test_a_calibrated_model_lies_in_its_null_band(binning: str) -> None:
    """The test at 5% rejects about 5% of calibrated models, the band's mean is their mean; a bent one is seen."""
    found = [calibration_error(*answers(150, rng=i), binning=binning, draws=99, seed=i) for i in range(200)]  # type: ignore[arg-type]
    assert 0.01 <= np.mean([f.p <= 0.05 for f in found if f.p is not None]) <= 0.09
    assert np.mean([f.value or 0.0 for f in found]) == pytest.approx(
        np.mean([f.expected or 0.0 for f in found]), rel=0.1
    )
    bent = calibration_error(*answers(400, sharpen=4.0), binning=binning)  # type: ignore[arg-type]
    assert bent.value is not None
    assert bent.high is not None
    assert bent.value > bent.high
    assert bent.p is not None
    assert bent.p < 0.01


def test_copies_of_an_item_widen_the_null_band() -> None:
    """Four wordings that always agree are one item: the band is that of the items, not of the rows."""
    c, y = answers(100)
    single = calibration_error(c, y, binning="mass")
    rows = calibration_error(np.repeat(c, 4), np.repeat(y, 4), binning="mass")
    items = calibration_error(np.repeat(c, 4), np.repeat(y, 4), np.repeat(np.arange(100), 4), binning="mass")
    assert items.dependence > 0.9
    assert rows.high is not None
    assert items.high is not None
    assert items.high > 1.5 * rows.high
    assert items.high == pytest.approx(single.high, rel=0.2)


def test_calibrated_clusters_are_rejected_as_often_as_said() -> None:
    """Four wordings an item, latent correlation .6: 5% are rejected, and half of them where clusters are ignored."""
    random = np.random.default_rng(5)
    owner, calls = np.arange(200) // 4, []
    for seed in range(150):
        c = np.repeat(random.beta(4, 1.5, 50), 4)
        z = math.sqrt(0.6) * random.standard_normal(50)[owner] + math.sqrt(0.4) * random.standard_normal(200)
        y = (z <= ndtri(c)).astype(float)
        found = [calibration_error(c, y, own, binning="mass", draws=99, seed=seed).p for own in (owner, None)]
        calls.append([p is not None and p <= 0.05 for p in found])
    aware, blind = np.mean(calls, axis=0)
    assert aware <= 0.1
    assert blind >= 0.3


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_neither_order_nor_names_change_anything(random: object) -> None:
    c, y = answers(60, rng=3)
    c = np.round(c, 1)
    owner = np.arange(60) // 3
    order = np.array(sorted(range(60), key=lambda _: random.random()))  # type: ignore[attr-defined]
    names = np.array([f"n{(7 * g) % 20}" for g in owner])
    first = calibration_error(c, y, owner, draws=50)
    second = calibration_error(c[order], y[order], names[order], draws=50)
    assert second.high == pytest.approx(first.high, abs=1e-12)
    assert second.value == pytest.approx(first.value, abs=1e-12)
    one, two = auroc(c, y, owner), auroc(c[order], y[order], names[order])
    assert one.interval.low == pytest.approx(two.interval.low, abs=1e-9)


@given(ANSWERS)
def test_auroc_is_scikit_learn_s(pairs: list[tuple[float, bool]]) -> None:
    c, y = split(pairs)
    found = auroc(c, y)
    if len(set(y)) < 2:
        assert found.interval.value is None
        assert found.interval.low is None
        return
    assert found.interval.value == pytest.approx(roc_auc_score(y, c), abs=1e-9)
    assert found.influences.mean() == pytest.approx(0.0, abs=1e-12)
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert 0 <= found.interval.low <= found.interval.value <= found.interval.high <= 1
    assert found.interval.low < found.interval.high


def test_the_influences_give_delong_s_variance() -> None:
    """DeLong et al. 1988: S10 / m + S01 / k with sample variances of the placements."""
    c, y = answers(200, rng=5)
    found = auroc(c, y)
    above = np.array([np.mean((c[y == 0] < v) + 0.5 * (c[y == 0] == v)) for v in c[y == 1]])
    below = np.array([np.mean((c[y == 1] > v) + 0.5 * (c[y == 1] == v)) for v in c[y == 0]])
    delong = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    assert np.sum(found.influences**2) / 200**2 == pytest.approx(delong, rel=0.02)


def coverage(make: Callable[[np.random.Generator], bool], runs: int = 400) -> float:
    random = np.random.default_rng(11)
    return float(np.mean([make(random) for _ in range(runs)]))


@pytest.mark.parametrize(("shift", "n"), [(0.0, 100), (1.0, 100), (2.0, 60)])
def test_auroc_covers(shift: float, n: int) -> None:
    truth = 0.5 * math.erfc(-shift / 2)

    def one(random: np.random.Generator) -> bool:
        y = (np.arange(n) % 3 > 0).astype(float)
        z = random.standard_normal(n) + shift * y
        found = auroc(1 / (1 + np.exp(-z)), y).interval
        return bool((found.low or 0) <= truth <= (found.high or 0))

    assert 0.92 <= coverage(one) <= 0.99


def test_auroc_covers_with_clusters() -> None:
    """Four rows a cluster share class and half of the variance; without clusters the interval is too short."""

    def one(random: np.random.Generator, *, aware: bool) -> bool:
        owner = np.arange(240) // 4
        y = (owner % 2).astype(float)
        z = math.sqrt(0.8) * random.standard_normal(60)[owner] + math.sqrt(0.2) * random.standard_normal(240) + y
        found = auroc(1 / (1 + np.exp(-z)), y, owner if aware else None).interval
        return bool((found.low or 0) <= 0.5 * math.erfc(-0.5) <= (found.high or 0))

    assert 0.92 <= coverage(lambda r: one(r, aware=True)) <= 0.99
    assert coverage(lambda r: one(r, aware=False)) < 0.85


def test_the_change_of_auroc_covers_and_is_shorter_for_paired_items() -> None:
    def one(random: np.random.Generator) -> tuple[bool, float, float]:
        y = (random.random(200) < 0.6).astype(float)
        shared = random.standard_normal(200)
        first, second = (shared + 0.4 * random.standard_normal(200) + s * y for s in (1.5, 0.8))
        squash = [1 / (1 + np.exp(-z)) for z in (first, second)]
        found = auroc_change((squash[0], y), (squash[1], y))
        spread = math.sqrt(2 * 1.16)
        truth = 0.5 * math.erfc(-0.8 / spread / math.sqrt(2)) - 0.5 * math.erfc(-1.5 / spread / math.sqrt(2))
        assert found.low is not None
        assert found.high is not None
        apart = [auroc(c, y).interval for c in squash]
        wide = math.hypot(*[(i.high or 0) - (i.low or 0) for i in apart])
        return found.low <= truth <= found.high, found.high - found.low, wide

    random = np.random.default_rng(2)
    runs = [one(random) for _ in range(300)]
    assert 0.92 <= np.mean([r[0] for r in runs]) <= 0.99
    assert np.mean([r[1] for r in runs]) < 0.8 * np.mean([r[2] for r in runs])


def test_perfect_separation_keeps_a_width() -> None:
    found = auroc([0.9] * 20 + [0.1] * 20, [1] * 20 + [0] * 20).interval
    assert found.value == 1.0
    assert found.high == 1.0
    assert found.low is not None
    assert 0.8 < found.low < 0.99
    change = auroc_change(([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0]), ([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0]))
    assert change.value == 0.0
    assert change.low is not None
    assert change.low < 0 < (change.high or 0)


def test_degenerate_inputs_are_defined() -> None:
    assert brier([], []).score.value is None
    assert calibration_error([], []).value is None
    one = brier([0.7], [1])
    assert one.score.value == pytest.approx(0.09)
    assert one.score.low is None
    assert calibration_error([0.7], [1], draws=10).value == pytest.approx(0.3)
    assert auroc([0.7], [1]).interval.value is None
    assert auroc_change(([0.7, 0.2], [1, 0]), ([0.7, 0.2], [1, 1])).value is None
    same = auroc([0.5] * 10, [1, 0] * 5).interval
    assert same.value == 0.5
    cluster = auroc([0.2, 0.8, 0.4], [0, 1, 1], ["a", "a", "a"]).interval
    assert (cluster.value, cluster.low) == (1.0, None)
    sure = calibration_error([1.0] * 20, [1.0] * 20)
    assert (sure.value, sure.high, sure.p) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(("confidence", "right"), [([0.5, math.nan], [1, 0]), ([1.2], [1]), ([0.5], [2]), ([0.5], [])])
def test_what_is_no_confidence_is_refused(confidence: list[float], right: list[float]) -> None:
    for method in (brier, calibration_error, auroc):
        with pytest.raises(ValueError, match=r"confidence|right"):
            method(confidence, right)

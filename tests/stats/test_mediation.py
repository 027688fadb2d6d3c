"""Natural direct and indirect effects: planted truths, the closed forms, coverage, degenerate inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.stats.mediation import PARTS, Mediation, mediation

Side = tuple[np.ndarray, np.ndarray]


def drawn(
    m: tuple[float, float], q: tuple[float, float], *, n: int = 4000, seed: int = 0, paired: bool = False
) -> tuple[Side, Side]:
    """Readable with probability m, right with q where readable; paired: one draw for both times."""
    random = np.random.default_rng(seed)
    draws = random.random((2, 2, n))
    if paired:
        draws[1] = draws[0]
    sides = []
    for t in (0, 1):
        read = (draws[t, 0] < m[t]).astype(float)
        sides.append((read, read * (draws[t, 1] < q[t])))
    return sides[0], sides[1]


def truth(m: tuple[float, float], q: tuple[float, float]) -> dict[str, float]:
    return {
        "total": m[0] * q[0] - m[1] * q[1],
        "direct": m[0] * (q[0] - q[1]),
        "indirect": q[0] * (m[0] - m[1]),
        "overlap": -(m[0] - m[1]) * (q[0] - q[1]),
    }


@pytest.mark.parametrize(
    ("m", "q"),
    [((0.95, 0.5), (0.9, 0.9)), ((0.95, 0.95), (0.9, 0.5)), ((0.95, 0.6), (0.9, 0.6)), ((0.9, 0.9), (0.8, 0.8))],
    ids=["format only", "knowledge only", "both", "neither"],
)
def test_planted_effects_are_recovered(m: tuple[float, float], q: tuple[float, float]) -> None:
    for paired in (False, True):
        found = mediation(*drawn(m, q, paired=paired), level=0.99)
        assert found.reason == ""
        for part, value in truth(m, q).items():
            one = getattr(found, part)
            assert one.value == pytest.approx(value, abs=0.04), part
            assert one.low <= value <= one.high, part


@given(st.integers(0, 10**6), st.booleans())
def test_the_parts_make_the_whole(seed: int, stratified: bool) -> None:
    before, after = drawn((0.9, 0.7), (0.8, 0.6), n=120, seed=seed)
    strata = np.arange(120) % 2 if stratified else None
    found = mediation(before, after, strata=strata)
    if found.reason:
        return
    values = [getattr(found, part).value for part in PARTS]
    assert values[0] == pytest.approx(sum(values[1:]), abs=1e-12)
    assert values[0] == pytest.approx(float(np.mean(before[1] - after[1])), abs=1e-12)


def test_intervals_cover_as_often_as_they_say() -> None:
    m, q = (0.92, 0.7), (0.85, 0.7)
    inside = dict.fromkeys(PARTS, 0)
    for seed in range(500):
        found = mediation(*drawn(m, q, n=200, seed=seed), level=0.90)
        for part, value in truth(m, q).items():
            one = getattr(found, part)
            inside[part] += one.low <= value <= one.high
    for part, count in inside.items():
        assert 0.865 <= count / 500 <= 0.935, part


def test_the_delta_method_is_the_jackknife() -> None:
    before, after = drawn((0.9, 0.7), (0.8, 0.6), n=300, seed=3)
    clusters = np.arange(300) // 3
    strata = (np.arange(300) // 3) % 2
    for chosen in (None, strata):
        found = mediation(before, after, clusters, strata=chosen, level=0.9)
        for part in PARTS:
            one = getattr(found, part)
            left_out = []
            for cluster in range(100):
                keep = clusters != cluster
                some = None if chosen is None else chosen[keep]
                again: Mediation = mediation(
                    (before[0][keep], before[1][keep]), (after[0][keep], after[1][keep]), strata=some
                )
                left_out.append(getattr(again, part).value)
            error = np.sqrt(99 / 100 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
            assert one.deviation / np.sqrt(one.clusters) == pytest.approx(error, rel=0.06), (part, chosen is None)


def test_a_confounder_that_is_stratified_goes_away() -> None:
    """Easy items lose their form, hard ones were never known: nothing is lost directly, within items of one kind."""
    random = np.random.default_rng(0)
    n = 4000
    easy = random.random(n) < 0.5
    right = np.where(easy, 0.95, 0.1)
    read = (np.full(n, 0.95), np.where(easy, 0.4, 0.95))
    sides = []
    for m in read:
        form = (random.random(n) < m).astype(float)
        sides.append((form, form * (random.random(n) < right)))
    plain, adjusted = mediation(*sides), mediation(*sides, strata=easy)
    assert plain.direct.low is not None
    assert plain.direct.low > 0.1
    assert adjusted.direct.value == pytest.approx(0.0, abs=0.02)
    assert adjusted.indirect.value == pytest.approx(float(plain.total.value or 0), abs=0.03)


def test_degenerate_inputs_have_a_defined_answer() -> None:
    ones, zeros = np.ones(50), np.zeros(50)
    same = mediation((ones, ones), (ones, ones))
    assert same.direct.value == same.indirect.value == same.total.value == 0.0
    assert same.direct.low == pytest.approx(-(1 - 0.05 ** (1 / 50)))
    assert same.direct.method.startswith("nothing varies")
    silent = mediation((ones, ones), (zeros, zeros))
    assert (silent.total.value, silent.indirect.value) == (1.0, 1.0)
    assert silent.direct.value is None
    assert silent.reason == "after, 0 answers can be read; it takes 20"
    never = mediation((zeros, zeros), (ones, ones))
    assert (never.total.value, never.indirect.value, never.direct.value) == (-1.0, None, None)
    empty = mediation(([], []), ([], []))
    assert (empty.total.value, empty.total.n) == (None, 0)
    one_cluster = mediation(*drawn((0.9, 0.7), (0.8, 0.6), n=200), np.zeros(200))
    assert one_cluster.total.value is not None
    assert one_cluster.total.low is None
    strata = mediation((ones, ones), (ones, ones), strata=[0] * 48 + [1] * 2)
    assert "of a stratum" in strata.reason
    with pytest.raises(ValueError, match="can be read"):
        mediation((zeros, ones), (ones, ones))
    with pytest.raises(ValueError, match="same items"):
        mediation((ones, ones), (np.ones(3), np.ones(3)))

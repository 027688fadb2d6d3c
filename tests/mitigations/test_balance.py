"""constant_human_fraction and golden_ratio: shares that are met, by documents and tokens, and what is repeated."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from factfade import registry
from factfade.errors import ConfigError, RunFailed
from factfade.mitigations.balance import ConstantHumanFraction, GoldenRatio, golden_weight
from factfade.mitigations.counting import drawn_counts, whole_weights
from factfade.mitigations.pools import Accumulate
from factfade.records import Document, Mixed
from factfade.training.packing import drawn
from tests.mitigations.pasts import Past


def ragged(source: str, place: int) -> int:
    """Synthetic text is longer than human text, and both vary."""
    return 5 + place % 7 if source == "human" else 9 + place % 5


def trained_share(mixed: Mixed, unit: str) -> float:
    """The human share of what training really draws."""
    found = drawn(mixed.documents, seed=3)
    size = {d.id: 1 if unit == "documents" else len(d.tokens or ()) for d in found}
    whole = sum(size[d.id] for d in found)
    return sum(size[d.id] for d in found if d.source == "human") / whole


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 4, allow_nan=False)), max_size=60), st.integers(0, 2**32))
def test_whole_weights_are_floor_or_ceiling_and_keep_the_sum(rows: list[tuple[int, float]], seed: int) -> None:
    documents = [Document(id=str(i), text="", source="human", tokens=(0,) * n) for i, (n, _) in enumerate(rows)]
    wanted = [w for _, w in rows]
    found = whole_weights(documents, wanted, Random(seed))
    assert all(math.floor(w) <= n <= math.ceil(w) for w, n in zip(wanted, found, strict=True))
    assert abs(sum(found) - sum(wanted)) < 1 + 1e-9


def test_whole_weights_are_unbiased() -> None:
    documents = [Document(id=str(i), text="", source="human", tokens=(0,) * (i + 1)) for i in range(5)]
    wanted = [0.2, 0.9, 1.3, 0.0, 2.5]
    times = [whole_weights(documents, wanted, Random(seed)) for seed in range(4000)]
    means = [sum(t[i] for t in times) / len(times) for i in range(5)]
    assert means == pytest.approx(wanted, abs=0.04)


@pytest.mark.parametrize("by", ["documents", "tokens"])
@pytest.mark.parametrize("human", ["given", "drawn"])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9])
def test_the_share_is_met_under_accumulate(by: str, human: str, fraction: float) -> None:
    past = Past(blocks_=300, synthesized=300, length=ragged)
    pool = Accumulate().mix(past.now(4), past, generation=4, seed=0)
    spec = {"kind": "constant_human_fraction", "fraction": fraction, "by": by, "human": human, "reserve": "all"}
    mixed = registry.build("pool", spec).mix(pool.documents, past, generation=4, seed=0)
    assert trained_share(mixed, by) == pytest.approx(fraction, abs=0.01)
    size = mixed.requested[f"drawn_{by}"]
    assert mixed.achieved[f"drawn_{by}"] == pytest.approx(size, rel=0.01), "the amount of text stays"
    other = "tokens" if by == "documents" else "documents"
    missed = abs(trained_share(mixed, other) - fraction) > 0.01
    assert missed == any(other in note for note in mixed.notes), "what is missed is said"


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_the_share_is_met_under_replace_from_the_reserve(fraction: float) -> None:
    past = Past(blocks_=200, synthesized=200)
    mixed = ConstantHumanFraction(fraction=fraction).mix(past.now(3), past, generation=3, seed=1)
    assert trained_share(mixed, "tokens") == pytest.approx(fraction, abs=0.01)
    assert mixed.achieved["most_repeats"] == 1
    assert {d.id for d in mixed.documents if d.source == "human"} <= {
        d.id for d in past.human(generation=3, replaced=True)
    }
    assert mixed == ConstantHumanFraction(fraction=fraction).mix(past.now(3), past, generation=3, seed=1)
    assert mixed != ConstantHumanFraction(fraction=fraction).mix(past.now(3), past, generation=3, seed=2)


def test_a_share_that_is_met_changes_nothing() -> None:
    past = Past(blocks_=40, synthesized=20)
    documents = past.now(2)
    for part in (ConstantHumanFraction(fraction=0.5), ConstantHumanFraction(fraction=0.5, human="given")):
        mixed = part.mix(documents, past, generation=2, seed=0)
        assert list(mixed.documents) == documents
        assert not mixed.dropped


@pytest.mark.parametrize(("fraction", "left"), [(0.0, "synthetic"), (1.0, "human")])
def test_a_share_of_nothing_or_all_drops_exactly_one_source(fraction: float, left: str) -> None:
    past = Past(blocks_=40, synthesized=20)
    mixed = ConstantHumanFraction(fraction=fraction, human="given").mix(past.now(2), past, generation=2, seed=0)
    gone = "human" if left == "synthetic" else "synthetic"
    assert [d.id for d in mixed.documents] == [d.id for d in past.now(2) if d.source == left]
    assert mixed.dropped == {f"{gone} text above its share": 20}
    assert {d.weight for d in mixed.documents} == {2.0}


def test_weights_of_earlier_parts_count() -> None:
    """A document that came in with weight 2 is two documents."""
    human = [Document(id=f"h{i}", text="", source="human", tokens=(1,) * 4, weight=2.0) for i in range(50)]
    synthetic = [Document(id=f"s{i}", text="", source="synthetic", tokens=(1,) * 4) for i in range(100)]
    mixed = ConstantHumanFraction(fraction=0.5, human="given").mix([*human, *synthetic], Past(), generation=1, seed=0)
    assert list(mixed.documents) == [*human, *synthetic]


def test_a_small_reserve_is_repeated_and_said() -> None:
    past = Past(blocks_=40, synthesized=36)
    mixed = ConstantHumanFraction(fraction=0.5, human="given").mix(past.now(2), past, generation=2, seed=0)
    assert mixed.achieved["most_repeats"] == 5
    assert any("5.00 times" in note for note in mixed.notes)


def test_the_control_is_passed_on_and_no_human_text_is_refused() -> None:
    control = Past(synthesized=0)
    mixed = ConstantHumanFraction().mix(control.now(1), control, generation=1, seed=0)
    assert list(mixed.documents) == control.now(1)
    assert mixed.notes
    past = Past()
    with pytest.raises(RunFailed, match="there is none"):
        ConstantHumanFraction(human="given").mix(past.now(1), past, generation=1, seed=0)


def test_text_without_ids_is_counted_by_documents_only() -> None:
    documents = [Document(id="a", text="a b", source="human"), Document(id="b", text="a", source="synthetic")]
    with pytest.raises(RunFailed, match="no token ids"):
        ConstantHumanFraction(human="given").mix(documents, Past(), generation=1, seed=0)
    mixed = ConstantHumanFraction(human="given", fraction=0.5, by="documents").mix(
        documents, Past(), generation=1, seed=0
    )
    assert list(mixed.documents) == documents


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "constant_human_fraction", "fraction": 1.2},
        {"kind": "constant_human_fraction", "by": "rows"},
        {"kind": "golden_ratio", "ratio": 0.0},
        {"kind": "golden_ratio", "human": "some"},
        {"kind": "golden_ratio", "reserve": "never"},
    ],
)
def test_settings_are_checked(spec: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"between 0 and 1|is one of|above 0"):
        registry.build("pool", spec)


# ---------------------------------------------------------------------------------------------------------------
# The golden ratio


def test_one_to_one_is_the_inverse_golden_ratio() -> None:
    assert golden_weight(1.0) == pytest.approx((math.sqrt(5) - 1) / 2, abs=1e-15)
    assert golden_weight(1.0) == pytest.approx(0.6180339887, abs=1e-10)
    assert golden_weight(0.0) == 0.0


@given(st.floats(1e-6, 1e6))
def test_the_closed_form(k: float) -> None:
    w = golden_weight(k)
    assert 0 < w < 1
    assert w * w == pytest.approx(k * (1 - w), rel=1e-4)
    if k < 1e3:
        assert w == pytest.approx((math.sqrt(k * k + 4 * k) - k) / 2, rel=1e-6)


@pytest.mark.parametrize("k", [0.1, 0.5, 1.0, 3.0])
def test_it_minimises_the_error_of_the_recursion(k: float) -> None:
    """The limit of v -> w^2 / n + (1 - w)^2 (v + 1 / m), iterated as it stands, is least there for k = n / m."""
    n, m = 100 * k, 100.0

    def limit(w: float) -> float:
        v = 1 / n
        for _ in range(3000):
            v = w * w / n + (1 - w) ** 2 * (v + 1 / m)
        return v

    best = minimize_scalar(limit, bounds=(1e-3, 1 - 1e-6), method="bounded", options={"xatol": 1e-7}).x
    assert golden_weight(k) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("by", ["documents", "tokens"])
@pytest.mark.parametrize("synthesized", [100, 200, 300])
def test_the_share_trained_on_is_the_weight(by: str, synthesized: int) -> None:
    past = Past(blocks_=400, synthesized=synthesized, length=ragged)
    mixed = registry.build("pool", {"kind": "golden_ratio", "by": by}).mix(past.now(1), past, generation=1, seed=0)
    sizes = drawn_counts(past.now(1))
    share = sizes[f"human_share_of_drawn_{by}"]
    k = share / (1 - share)
    assert mixed.requested["ratio"] == pytest.approx(k)
    assert trained_share(mixed, by) == pytest.approx((math.sqrt(k * k + 4 * k) - k) / 2, abs=0.01)


def test_a_reserve_as_large_as_the_synthetic_text_gives_the_golden_ratio() -> None:
    past = Past(blocks_=200, synthesized=200)
    mixed = GoldenRatio(human="drawn").mix(past.now(2), past, generation=2, seed=0)
    assert mixed.requested["ratio"] == 1.0
    assert trained_share(mixed, "tokens") == pytest.approx(0.618, abs=0.01)


@pytest.mark.parametrize(("synthesized", "missing"), [(0, "synthetic"), (40, "human")])
def test_one_source_alone_is_passed_on(synthesized: int, missing: str) -> None:
    past = Past(synthesized=synthesized)
    mixed = GoldenRatio().mix(past.now(1), past, generation=1, seed=0)
    assert list(mixed.documents) == past.now(1)
    assert missing in mixed.notes[0]

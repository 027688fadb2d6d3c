"""Agreement: statsmodels' kappa, hand-made answers, strata, degenerate choices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from factfade.stats import agreement as ag
from factfade.stats.intervals import student_quantile

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=5, max_size=80)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(PAIRS)
def test_kappa_is_statsmodels(pairs: list[tuple[int, int]]) -> None:
    gold, choice = np.array(pairs).T
    table = np.zeros((4, 4))
    np.add.at(table, (gold, choice), 1)
    found = ag.agreement(gold, choice)
    if found.expected == 1.0:
        assert found.kappa.value is None
        return
    expected = cohens_kappa(table)
    assert found.kappa.value == pytest.approx(expected.kappa, abs=1e-9)
    n = len(gold)
    if found.kappa.method == "linearised t":
        # Fleiss' variance with n - 1 in place of n.
        variance = (found.kappa.deviation or 0) ** 2 / n
        assert variance == pytest.approx(expected.var_kappa * n / (n - 1), abs=1e-9)
        half = student_quantile(0.975, n - 1) * variance**0.5
        assert found.kappa.low == pytest.approx(max(-1.0, expected.kappa - half), abs=1e-9)


@given(PAIRS)
def test_balanced_accuracy_is_the_mean_recall(pairs: list[tuple[int, int]]) -> None:
    gold, choice = np.array(pairs).T
    recalls = [np.mean(choice[gold == g] == g) for g in set(gold.tolist())]
    found = ag.agreement(gold, choice).balanced
    assert found.value == pytest.approx(np.mean(recalls))
    assert found.low is not None
    assert found.high is not None
    assert 0.0 <= found.low <= found.value + 1e-12 <= found.high + 2e-12 <= 1.0 + 2e-12


def test_hand_made_scores() -> None:
    gold = [0, 0, 0, 1, 1, 2]
    choice = [0, 0, 1, 1, 2, 2]
    found = ag.agreement(gold, choice)
    assert found.accuracy.value == pytest.approx(4 / 6)
    assert found.majority == pytest.approx(0.5)
    assert found.skill.value == pytest.approx((4 / 6 - 0.5) / 0.5)
    expected = 3 / 6 * 2 / 6 + 2 / 6 * 2 / 6 + 1 / 6 * 2 / 6
    assert found.expected == pytest.approx(expected)
    assert found.kappa.value == pytest.approx((4 / 6 - expected) / (1 - expected))
    assert found.balanced.value == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found.chance == 0.5


def test_a_constant_letter_has_no_skill_and_no_kappa() -> None:
    gold = [0] * 40 + [1] * 20 + [2] * 20 + [3] * 20
    found = ag.agreement(gold, [0] * 100)
    assert found.accuracy.value == pytest.approx(0.40)
    assert found.kappa.value == pytest.approx(0.0, abs=1e-12)
    assert found.skill.value == pytest.approx(0.0, abs=1e-12)
    assert found.balanced.value == pytest.approx(0.25)


def test_no_answer_is_a_category_that_is_never_right() -> None:
    some = ag.agreement([0, 1, 0, 1], [0, 1, ag.NO_ANSWER, ag.NO_ANSWER])
    assert some.accuracy.value == 0.5
    assert some.expected == pytest.approx(0.25)
    none = ag.agreement([0, 1, 0, 1], [ag.NO_ANSWER] * 4)
    assert (none.accuracy.value, none.expected, none.kappa.value) == (0.0, 0.0, 0.0)


def test_baselines_are_taken_within_strata() -> None:
    """Answer 5 is right for half of one relation and answer 6 for half of the other; together each is a quarter."""
    gold = [5, 5, 1, 2, 6, 6, 3, 4]
    strata = ["a"] * 4 + ["b"] * 4
    assert ag.majority_baseline(gold) == pytest.approx(0.25)
    assert ag.majority_baseline(gold, strata) == pytest.approx(0.5)
    found = ag.agreement(gold, [5, 5, 5, 5, 6, 6, 6, 6], strata=strata)
    assert found.accuracy.value == found.expected == 0.5
    assert found.kappa.value == pytest.approx(0.0)


def test_the_same_text_in_two_relations_is_two_categories() -> None:
    found = ag.agreement([1, 1, 2, 2], [2, 2, 1, 1], strata=[0, 0, 1, 1])
    assert found.expected == 0.0


def test_all_right_and_all_wrong_have_an_interval() -> None:
    right = ag.agreement([0, 1, 2, 3] * 5, [0, 1, 2, 3] * 5)
    assert right.kappa.value == right.balanced.value == right.skill.value == 1.0
    assert (right.kappa.low or 1) < 1
    assert (right.balanced.low or 1) < 1
    wrong = ag.agreement([0, 1, 2, 3] * 5, [1, 2, 3, 0] * 5)
    assert wrong.accuracy.value == 0.0
    assert (wrong.kappa.value or 0) < 0
    assert (wrong.accuracy.high or 0) > 0


def test_degenerate_sets() -> None:
    empty = ag.agreement([], [])
    assert empty.accuracy.value is None
    assert empty.chance is None
    single = ag.agreement([2, 2, 2], [2, 2, 2])
    assert single.majority == 1.0
    assert single.skill.value is None
    assert single.kappa.value is None
    with pytest.raises(ValueError, match="right answer"):
        ag.agreement([0, ag.NO_ANSWER], [0, 0])


def test_codes_are_positions_where_options_are_as_many() -> None:
    codes = ag.answer_codes([["b", "a"], ["a", "b"]], [0, 1], [0, None], [None, None], ["t", "t"])
    assert codes.positional
    assert codes.strata is None
    assert codes.gold.tolist() == [0, 1]
    assert codes.choice.tolist() == [0, ag.NO_ANSWER]


def test_codes_are_texts_where_options_differ_in_number() -> None:
    codes = ag.answer_codes(
        [["x", "y", "z"], ["y", "x"], None], [1, 0, None], [0, 0, None], [None, None, ["y", "why"]], ["t", "t", "u"]
    )
    assert not codes.positional
    assert codes.gold[0] == codes.gold[1] == codes.gold[2]
    assert codes.choice[0] != codes.gold[0]
    assert codes.choice[1] == codes.gold[1]
    assert codes.choice[2] == ag.NO_ANSWER
    assert codes.strata is not None
    assert codes.strata[0] == codes.strata[1] != codes.strata[2]

"""Metrics on hand-made and planted tables: values, counts, reasons for what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import metrics, registry
from factfade.errors import ConfigError, DataError
from factfade.metrics.calibration import Confidence
from factfade.metrics.diversity import Diversity
from factfade.metrics.fluency import Junk, Perplexity
from factfade.metrics.formats import Outcomes
from factfade.metrics.knowledge import Accuracy, Choices
from factfade.protocols import Metric
from factfade.records import OUTCOMES
from factfade.verdicts import Score, ScoreRow
from tests import planted
from tests.planted import World

EMPTY = pd.DataFrame()


def evidence_of(**columns: Sequence[Any]) -> pd.DataFrame:
    """Evidence of one lineage, generation and format with the given columns."""
    n = len(next(iter(columns.values())))
    key = {"lineage": "arm", "seed": 0, "generation": 0, "format": "f", "wording": ""}
    return pd.DataFrame({**{k: [v] * n for k, v in key.items()}, "item": [f"i{i}" for i in range(n)], **columns})


def fluency_of(nll: Sequence[float], tokens: Sequence[int], kind: str = "held_out") -> pd.DataFrame:
    names = [f"t{i}" for i in range(len(nll))]
    return pd.DataFrame(
        {"lineage": "arm", "seed": 0, "generation": 0, "text": names, "kind": kind, "tokens": tokens, "nll": nll}
    )


def completions_of(texts: Sequence[str], **marks: Sequence[bool]) -> pd.DataFrame:
    names = [f"p{i}" for i in range(len(texts))]
    return pd.DataFrame({"lineage": "arm", "seed": 0, "generation": 0, "prompt": names, "completion": texts, **marks})


def by_name(rows: Sequence[ScoreRow], domain: str = "") -> dict[str, Score]:
    return {r.score.name: r.score for r in rows if r.domain == domain}


def accuracy(table: pd.DataFrame, domain: str = "") -> dict[str, Score]:
    return by_name(Accuracy().scores(table, EMPTY, EMPTY), domain)


# ---------------------------------------------------------------------------------------------------------------
# All of them


def test_every_built_in_metric_is_a_part_with_its_name() -> None:
    for kind in registry.BUILTIN["metric"]:
        part = registry.build("metric", kind)
        assert isinstance(part, Metric)
        assert part.name == kind


def test_compute_runs_them_through_the_registry() -> None:
    tables = planted.tables({"arm": World()}, items=40, generations=(0, 1))
    rows = metrics.compute(*tables)
    some = metrics.compute(*tables, kinds=["junk", "outcomes"])
    assert {r.score.name for r in some} < {r.score.name for r in rows}
    with pytest.raises(ConfigError, match="no kind"):
        metrics.compute(*tables, kinds=["accuracies"])
    table = metrics.frame(rows)
    place = ["lineage", "seed", "generation", "format", "domain", "name"]
    assert list(table.columns[:6]) == place
    assert not table.duplicated(place).any()
    assert set(table["domain"]) == {"", "geo", "chem"}


def test_every_value_has_its_n_and_its_interval() -> None:
    for row in metrics.compute(*planted.tables({"arm": World()}, items=40, generations=(0, 3), wordings=2)):
        score = row.score
        if score.value is None:
            assert score.reason
            continue
        assert math.isfinite(score.value)
        assert score.n > 0
        assert score.method
        if score.low is None or score.high is None:
            if score.name.endswith(("ece", "ece_mass")):
                assert "compare with" in score.reason
                continue
            assert score.n == 1
            assert score.reason == "a single unit carries no interval"
            continue
        assert score.low <= score.value + 1e-12
        assert score.value <= score.high + 1e-12


def test_the_order_of_rows_is_nothing() -> None:
    tables = planted.tables({"arm": World()}, items=60, generations=(0, 1))
    shuffled = [t.sample(frac=1, random_state=3).reset_index(drop=True) for t in tables]
    first, second = (metrics.frame(metrics.compute(*t)) for t in (tables, shuffled))
    pd.testing.assert_frame_equal(first, second, rtol=1e-9)


def test_empty_tables_have_no_scores() -> None:
    assert metrics.compute(EMPTY, EMPTY, EMPTY) == []
    assert metrics.frame([]).empty


def test_bare_keys_give_reasons_and_never_a_crash() -> None:
    evidence = evidence_of(item=["a", "b"])
    fluency = fluency_of([1.0], [1]).drop(columns=["nll", "tokens"])
    completions = completions_of(["x"]).drop(columns=["completion"])
    rows = metrics.compute(evidence, fluency, completions)
    assert rows
    assert all(r.score.value is None and r.score.reason for r in rows)


def test_a_table_without_its_key_is_refused() -> None:
    with pytest.raises(DataError, match="no column 'generation'"):
        metrics.compute(evidence_of(outcome=["correct"]).drop(columns="generation"), EMPTY, EMPTY)


# ---------------------------------------------------------------------------------------------------------------
# Knowledge


def test_accuracy_by_position() -> None:
    gold, choice = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    right = [g == c for g, c in zip(gold, choice, strict=True)]
    found = accuracy(evidence_of(options=[["a", "b", "c"]] * 6, gold=gold, choice=choice, choice_correct=right))
    assert found["accuracy"].value == pytest.approx(4 / 6)
    assert found["accuracy"].n == 6
    assert found["majority_baseline"].value == pytest.approx(0.5)
    assert found["skill_over_majority"].value == pytest.approx(1 / 3)
    assert found["balanced_accuracy"].value == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found["kappa"].value == pytest.approx((4 / 6 - 1 / 3) / (1 - 1 / 3))


def test_a_choice_that_could_not_be_made_is_no_answer_and_wrong() -> None:
    found = accuracy(
        evidence_of(
            options=[["a", "b"]] * 4,
            gold=[0, 1, 0, 1],
            choice=[0, 1, None, None],
            choice_correct=[True, True, None, None],
        )
    )
    assert (found["accuracy"].value, found["accuracy"].n) == (0.5, 4)
    assert found["kappa"].value == pytest.approx((0.5 - 0.25) / 0.75)


def test_the_majority_baseline_of_open_answers_is_per_relation() -> None:
    options = [["asia", "africa", "europe"]] * 4 + [["euro", "peso"]] * 4
    table = evidence_of(
        options=options,
        gold=[0, 0, 0, 1, 0, 0, 1, 1],
        choice=[0] * 8,
        choice_correct=[True, True, True, False, True, True, False, False],
        template=["continent"] * 4 + ["currency"] * 4,
    )
    found = accuracy(table)
    assert found["majority_baseline"].value == pytest.approx((3 + 2) / 8)
    assert found["skill_over_majority"].value == pytest.approx(0.0)
    assert found["kappa"].value == pytest.approx(0.0)
    assert "answer within its relation" in found["kappa"].method


def test_without_stored_choices_only_kappa_is_unknown() -> None:
    found = accuracy(evidence_of(options=[["a", "b"]] * 3, gold=[0, 1, 0], choice_correct=[True, False, True]))
    assert found["kappa"].value is None
    assert found["kappa"].reason == "the evidence stores no choices"
    assert found["balanced_accuracy"].value == pytest.approx(0.5)
    assert found["majority_baseline"].value == pytest.approx(2 / 3)


def test_contradicting_columns_are_said_and_not_guessed() -> None:
    found = accuracy(
        evidence_of(options=[["a", "b"]] * 3, gold=[0, 1, 0], choice=[0, 1, 1], choice_correct=[True, True, True])
    )
    assert found["accuracy"].value == 1.0
    assert found["kappa"].reason == "choice_correct contradicts choice and gold"


def test_accuracy_by_domain_and_without_choices() -> None:
    found = evidence_of(choice_correct=[True, False, True], domain=["geo", "geo", ""])
    assert accuracy(found, "geo")["accuracy"].value == 0.5
    assert accuracy(found)["accuracy"].n == 3
    free = accuracy(evidence_of(outcome=["correct", "wrong"]))
    assert free["accuracy"].value is None
    assert "choice_correct" in free["accuracy"].reason


def test_wordings_of_an_item_count_as_one_unit() -> None:
    tables = planted.tables({"arm": World()}, items=200, generations=(0,), wordings=1)
    once = accuracy(tables[0][tables[0]["format"] == "open_ended"].assign(entity=""))
    twice = pd.concat([tables[0], tables[0].assign(wording="other")], ignore_index=True).assign(entity="")
    both = accuracy(twice[twice["format"] == "open_ended"])
    assert both["accuracy"].n == 2 * once["accuracy"].n
    width = [f["accuracy"].high - f["accuracy"].low for f in (once, both)]  # type: ignore[operator]
    assert width[1] == pytest.approx(width[0], rel=0.03)


def test_greedy_rate_and_max_frequency() -> None:
    table = evidence_of(
        options=[["a", "b", "c"]] * 5,
        gold=[0, 1, 1, 1, 2],
        choice=[0, 1, 1, 0, 1],
        choice_correct=[True, True, True, False, False],
        choice_greedy=[True, False, True, True, True],
    )
    found = by_name(Choices().scores(table, EMPTY, EMPTY))
    assert (found["greedy_rate"].value, found["greedy_rate"].n) == (pytest.approx(2 / 3), 3)
    assert (found["max_frequency"].value, found["max_frequency"].n) == (pytest.approx(3 / 5), 5)
    open_ended = table.assign(options=[["a"], ["a", "b"], ["a", "b"], ["a", "b"], ["a", "b", "c"]])
    assert "positions" in by_name(Choices().scores(open_ended, EMPTY, EMPTY))["max_frequency"].reason


# ---------------------------------------------------------------------------------------------------------------
# Free answers


@given(st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=60))
def test_outcomes_are_never_folded_and_sum_to_n(outcomes: list[str]) -> None:
    found = by_name(Outcomes().scores(evidence_of(outcome=outcomes), EMPTY, EMPTY))
    asked = [o for o in outcomes if o != "not_asked"]
    counts = dict.fromkeys(OUTCOMES, 0.0)
    for name in OUTCOMES:
        score = found[f"outcome_{name}"]
        if score.value is not None:
            counts[name] = score.value * score.n
    assert {o: round(c) for o, c in counts.items()} == {o: outcomes.count(o) for o in OUTCOMES}
    assert round(sum(counts.values())) == len(outcomes)
    if asked:
        assert found["parse_rate"].n == len(asked)
        assert sum(found[f"outcome_{o}"].value or 0 for o in OUTCOMES if o != "not_asked") == pytest.approx(1.0)


def test_free_accuracy_is_among_the_parseable_beside_the_parse_rate() -> None:
    table = evidence_of(outcome=["correct", "correct", "wrong", "unparseable", "empty", "not_asked"])
    found = by_name(Outcomes().scores(table, EMPTY, EMPTY))
    assert (found["parse_rate"].value, found["parse_rate"].n) == (pytest.approx(3 / 5), 5)
    assert (found["free_accuracy"].value, found["free_accuracy"].n) == (pytest.approx(2 / 3), 3)
    assert found["free_accuracy_asked"].value == pytest.approx(2 / 5)
    assert found["outcome_not_asked"].value == pytest.approx(1 / 6)


def test_outcomes_beyond_the_schema_are_counted() -> None:
    found = by_name(Outcomes().scores(evidence_of(outcome=["correct", "timeout", None]), EMPTY, EMPTY))
    assert (found["outcome_unknown"].value, found["outcome_unknown"].n) == (0.5, 2)


def test_confidences_of_right_and_wrong() -> None:
    table = evidence_of(
        choice_correct=[True, True, False, False, None],
        choice_confidence=[0.9, 0.7, 0.85, 0.4, 0.99],
        outcome=["correct", "wrong", "wrong", "unparseable", "empty"],
        answer_confidence=[0.5, 0.6, 0.8, 1.0, 1.0],
    )
    found = by_name(Confidence(tau=0.8).scores(table, EMPTY, EMPTY))
    assert (found["confidence_right"].value, found["confidence_right"].n) == (pytest.approx(0.8), 2)
    assert found["confidence_wrong"].value == pytest.approx(0.625)
    assert (found["wrong_and_confident"].value, found["wrong_and_confident"].n) == (0.25, 4)
    assert found["answer_confidence_wrong"].value == pytest.approx(0.7)
    assert (found["answer_wrong_and_confident"].value, found["answer_wrong_and_confident"].n) == (
        pytest.approx(1 / 3),
        3,
    )


def test_no_confident_error_has_the_exact_bound() -> None:
    table = evidence_of(choice_correct=[True] * 59, choice_confidence=[0.9] * 59)
    found = by_name(Confidence().scores(table, EMPTY, EMPTY))["wrong_and_confident"]
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 59))
    assert "none seen" in found.method
    with pytest.raises(ConfigError, match="probability"):
        registry.build("metric", {"kind": "confidence", "tau": 1.5})


# ---------------------------------------------------------------------------------------------------------------
# Fluency and diversity


def perplexity(table: pd.DataFrame) -> dict[str, Score]:
    return by_name(Perplexity().scores(EMPTY, table, EMPTY))


def test_perplexity_is_weighted_by_tokens_and_the_paper_s_is_not() -> None:
    found = perplexity(fluency_of([10.0, 90.0], [10, 30]))
    assert found["nats_held_out"].value == pytest.approx(100 / 40)
    assert found["perplexity_held_out"].value == pytest.approx(math.exp(2.5))
    assert found["perplexity_held_out_paper"].value == pytest.approx((math.exp(1) + math.exp(3)) / 2)


def test_the_kinds_of_text_are_apart_and_by_domain() -> None:
    table = pd.concat(
        [
            fluency_of([10.0, 20.0], [10, 10]).assign(domain=["geo", "chem"]),
            fluency_of([30.0, 30.0], [10, 10], "own_under_start"),
        ]
    )
    rows = Perplexity().scores(EMPTY, table, EMPTY)
    assert by_name(rows)["nats_own_under_start"].value == pytest.approx(3.0)
    assert by_name(rows, "geo")["nats_held_out"].value == pytest.approx(1.0)
    assert "nats_own_under_start" not in by_name(rows, "geo")


def test_texts_without_a_token_and_huge_losses_are_defined() -> None:
    assert perplexity(fluency_of([0.0, 20.0], [0, 10]))["perplexity_held_out"].n == 1
    assert perplexity(fluency_of([0.0], [0]))["perplexity_held_out"].value is None
    huge = perplexity(fluency_of([9e5, 9e5], [100, 100]))
    assert huge["nats_held_out"].value == pytest.approx(9000)
    assert huge["perplexity_held_out"].value is None
    assert "too large" in huge["perplexity_held_out"].reason
    assert huge["perplexity_held_out_paper"].value is None
    assert perplexity(fluency_of([float("nan"), 20.0], [10, 10]))["nats_held_out"].value == 2.0


def test_junk_is_any_of_three_marks() -> None:
    table = completions_of(
        ["", "a a a", "b", "c"],
        empty=[True, False, False, False],
        near_constant=[True, True, False, False],
        repetitive=[False, True, False, False],
        duplicate=[False, False, True, True],
        ended=[True, False, True, True],
    )
    found = by_name(Junk().scores(EMPTY, EMPTY, table))
    values = {name: score.value for name, score in found.items()}
    assert values == {
        "share_empty": 0.25,
        "share_near_constant": 0.5,
        "share_repetitive": 0.25,
        "share_duplicate": 0.5,
        "share_ended": 0.75,
        "share_junk": 0.5,
    }


def diversity(texts: Sequence[str], words: int = 4) -> dict[str, Score]:
    return by_name(Diversity(words=words).scores(EMPTY, EMPTY, completions_of(texts)))


def test_entropy_at_fixed_length() -> None:
    found = diversity(["a a b b and more", "a b c d", "short one", ""])
    assert found["entropy"].value == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert found["entropy"].n == 2
    assert "2 of 4 completions have 4 words" in found["entropy"].method
    full = -(2 * (2 / 6) * math.log(2 / 6) + 2 * (1 / 6) * math.log(1 / 6))
    assert found["entropy_paper"].value == pytest.approx((full + math.log(4) + math.log(2)) / 3)


def reference_distinct(texts: Sequence[str], words: int, order: int) -> float:
    grams = [
        tuple(s[i : i + order]) for t in texts if len(s := t.split()[:words]) >= words for i in range(words - order + 1)
    ]
    return len(set(grams)) / len(grams)


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=4, max_size=9), min_size=2, max_size=8))
def test_distinct_is_the_plain_count(words: list[list[str]]) -> None:
    texts = [" ".join(w) for w in words]
    found = diversity(texts)
    for order in (1, 2, 3, 4):
        assert found[f"distinct_{order}"].value == pytest.approx(reference_distinct(texts, 4, order))


def test_the_jackknife_of_distinct_is_the_plain_one() -> None:
    random = np.random.default_rng(2)
    texts = [" ".join(random.choice(list("abcdefgh"), 6)) for _ in range(12)]
    without = [reference_distinct(texts[:i] + texts[i + 1 :], 6, 2) for i in range(12)]
    error = math.sqrt(11 / 12 * sum((w - np.mean(without)) ** 2 for w in without))
    score = diversity(texts, words=6)["distinct_2"]
    assert score.low is not None
    assert score.value is not None
    assert (score.value - score.low) / 2.200985 == pytest.approx(error, rel=1e-5)


def test_repetition_within_a_text() -> None:
    found = diversity(["a b c d a b c d", "a b c d e f g h", "no"])
    assert found["repetition"].value == pytest.approx((1 / 5 + 0) / 2)
    assert found["repetition"].n == 2


def test_a_constant_text_and_none_long_enough() -> None:
    assert diversity(["x x x x x"])["entropy"].value == 0.0
    none = diversity(["x", ""])
    assert none["distinct_1"].value is None
    assert none["distinct_1"].reason == "0 of 2 completions have 4 words"
    with pytest.raises(ConfigError, match="at least 4"):
        registry.build("metric", {"kind": "diversity", "words": 2})


def test_probes_are_no_format_of_a_metric() -> None:
    evidence, fluency, own = planted.tables({"arm": planted.World()}, generations=(0, 1), items=40)
    probe = evidence[evidence["format"] == "open_ended"].assign(format="attribution")
    beside = metrics.compute(pd.concat([evidence, probe], ignore_index=True), fluency, own)
    assert beside == metrics.compute(evidence, fluency, own)
    assert "attribution" not in {row.format for row in beside}

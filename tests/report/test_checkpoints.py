"""The answer of an audit on evidence with planted truths: facts lost and gained, rows, sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.report import checkpoints, turned
from factfade.report.collect import questions_of
from factfade.report.data import CheckpointRow, Checkpoints
from factfade.stage_panel import build_panels
from tests.report.audited import BROKEN, COPY, LOST, WAVERS, Audited, audited


@pytest.fixture(scope="module")
def case() -> Audited:
    return audited()


def told(case: Audited, evidence: pd.DataFrame | None = None) -> Checkpoints:
    rows = case.evidence if evidence is None else evidence
    panels = build_panels(rows, case.fluency, case.own)
    found = checkpoints.compared(rows, panels, case.report, questions_of(rows))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def answer(case: Audited) -> Checkpoints:
    return told(case)


def row(answer: Checkpoints, position: int) -> CheckpointRow:
    return next(r for r in answer.rows if r.position == position)


def lost_items(one: CheckpointRow) -> set[str]:
    assert one.facts is not None
    return {change.change.item for domain in one.facts.domains for change in domain.lost}


def test_the_planted_losses_are_listed_and_nothing_else(case: Audited, answer: Checkpoints) -> None:
    found = row(answer, LOST)
    assert lost_items(found) == case.planted
    assert found.facts is not None
    assert (found.facts.lost, found.facts.gained, found.facts.firm) == (40, 0, 40)
    assert found.facts.known == 216
    assert found.facts.lost_share.value == pytest.approx(40 / 216)
    assert found.stage == "B"
    first = found.facts.domains[0]
    assert (first.domain, len(first.lost), first.asked) == ("chemistry", 40, 80)
    assert all(c.turned == c.of == c.ways == 4 and c.firm and c.since == LOST for c in first.lost)
    change = first.lost[0].change
    assert change.question.startswith("What is the colour of")
    assert (change.before.answer, change.after.answer) == (change.right, change.after.choice)


def test_an_identical_copy_loses_and_gains_nothing(answer: Checkpoints) -> None:
    found = row(answer, COPY)
    assert found.facts is not None
    assert (found.facts.lost, found.facts.gained, found.facts.firm, found.stage) == (0, 0, 0, "A")
    assert found.knowledge == answer.base[0].knowledge
    assert "lost none of the 216 facts" in found.sentence
    assert "format and fluency held" in found.sentence


def test_wavering_is_told_apart_from_loss(answer: Checkpoints) -> None:
    found = row(answer, WAVERS)
    assert found.facts is not None
    assert (found.facts.lost, found.facts.gained, found.facts.firm) == (12, 12, 0)
    assert found.facts.wavering > 12
    assert found.facts.wavering_share == 1.0
    assert "no more than wavering explains" in found.sentence


def test_a_broken_format_loses_no_fact(answer: Checkpoints) -> None:
    found = row(answer, BROKEN)
    assert found.facts is not None
    assert found.facts.lost == 0
    assert found.stage == "C"
    assert found.format.value == pytest.approx(0.25)
    assert found.knowledge.value == answer.base[0].knowledge.value
    assert "answers can no longer be read" in found.sentence


def test_every_number_has_its_n_and_its_interval(answer: Checkpoints) -> None:
    for one in (*answer.base, *answer.rows):
        scores = [one.knowledge, one.format, one.nats, one.junk, one.confident_wrong]
        scores += [s for s in (one.knowledge_loss, one.format_loss) if s is not None]
        for score in scores:
            assert score.n > 0
            assert score.value is not None
            assert score.low is not None
            assert score.high is not None
            assert score.low <= score.value <= score.high
    assert [(r.name, r.step) for r in answer.rows][:2] == [("checkpoint-9", 9), ("checkpoint-10", 10)]


def test_confident_wrong_answers_are_counted(case: Audited, answer: Checkpoints) -> None:
    rows = case.evidence[case.evidence["generation"] == LOST]
    wrong = (~rows["choice_correct"] & (rows["choice_confidence"] >= 0.8)).mean()
    assert row(answer, LOST).confident_wrong.value == pytest.approx(wrong)


def test_one_sentence_says_it_all(answer: Checkpoints) -> None:
    text = answer.sentence
    assert text.startswith("1 of 4 checkpoints lost facts that the base knows: checkpoint-10 40 of 216 (18.5%")
    assert "all in chemistry" in text
    assert "checkpoint-200 does not answer or write as the base does any more (stage C)" in text
    assert text.endswith(".")


def test_order_of_rows_and_names_changes_nothing(case: Audited, answer: Checkpoints) -> None:
    shuffled = case.evidence.sample(frac=1.0, random_state=3).reset_index(drop=True)
    assert told(case, shuffled) == answer


def test_what_is_lost_from_an_earlier_position_on_says_since_when(case: Audited) -> None:
    again = case.evidence[case.evidence["generation"] == LOST].assign(generation=COPY)
    rest = case.evidence[~case.evidence["generation"].isin([COPY])]
    found = row(told(case, pd.concat([rest, again], ignore_index=True)), LOST)
    assert found.facts is not None
    assert {c.since for d in found.facts.domains for c in d.lost} == {COPY}


@pytest.mark.parametrize("missing", ["choice_confidence", "question", "domain", "entity", "answer", "checkpoint"])
def test_absent_columns_leave_an_answer(case: Audited, missing: str) -> None:
    found = row(told(case, case.evidence.drop(columns=missing)), LOST)
    assert lost_items(found) == case.planted


def test_without_a_base_there_is_no_answer(case: Audited) -> None:
    rows = case.evidence[case.evidence["generation"] > 0]
    panels = build_panels(rows, case.fluency, case.own)
    assert checkpoints.compared(rows, panels, case.report, {}) is None
    only = case.evidence[case.evidence["generation"] == 0]
    assert checkpoints.compared(only, build_panels(only, None, None), case.report, {}) is None


def test_one_item_and_all_wrong_give_defined_answers(case: Audited) -> None:
    one = case.evidence[case.evidence["item"] == case.evidence["item"].iloc[0]]
    assert row(told(case, one), LOST).facts is not None
    wrong = case.evidence.assign(choice_correct=False)
    found = row(told(case, wrong), LOST)
    assert found.facts is not None
    assert found.facts.known == 0
    assert "nothing to lose" in found.sentence


counts = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))


@given(st.lists(counts, min_size=1, max_size=30))
def test_exchanging_the_ends_turns_losses_into_gains(tables: list[tuple[int, int, int, int]]) -> None:
    kept, gone, came, never = np.array(tables, dtype=np.intp).T
    ways, right, now = kept + gone + came + never, kept + gone, kept + came
    forth = turned.strength(ways, right, now, gone, came)
    back = turned.strength(ways, now, right, came, gone)
    assert (forth == -back).all()
    assert ((forth > 0) <= (2 * right > ways)).all()

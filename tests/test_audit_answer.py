"""The answer of an audit from a case: lists, plain data, and what it does where there is nothing to compare."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from factfade import audit_answer
from factfade.errors import Inconclusive
from factfade.judging import Case
from tests.report.audited import COPY, LOST, Audited, audited


@pytest.fixture(scope="module")
def planted() -> Audited:
    return audited(items=120, lost=20, wavering=12)


@pytest.fixture(scope="module")
def case(planted: Audited) -> Case:
    return Case(
        evidence=planted.evidence, fluency=planted.fluency, own=planted.own, controls={"checkpoints": None}
    )  # fmt: skip


def test_the_lists_hold_what_was_planted(case: Case, planted: Audited) -> None:
    found = audit_answer.lost_items(audit_answer.answer(case, planted.report))
    assert set(found["checkpoints", 0, LOST]) == planted.planted
    assert found["checkpoints", 0, COPY] == ()


def test_the_answer_is_plain_data(case: Case, planted: Audited) -> None:
    answer = audit_answer.answer(case, planted.report)
    data = json.loads(json.dumps(audit_answer.to_json(answer), allow_nan=False))
    assert data["sentence"] == answer.sentence
    row = next(r for r in data["rows"] if r["position"] == LOST)
    listed = [change["change"]["item"] for domain in row["facts"]["domains"] for change in domain["lost"]]
    assert sorted(listed) == sorted(planted.planted)
    assert row["knowledge"]["n"] == 120


def test_the_calls_are_made_where_they_are_not_given(case: Case, planted: Audited) -> None:
    made = audit_answer.answer(case)
    assert [r.stage for r in made.rows] == [r.stage for r in audit_answer.answer(case, planted.report).rows]


def test_a_base_alone_is_inconclusive(case: Case) -> None:
    alone = replace(case, evidence=case.evidence[case.evidence["generation"] == 0])
    with pytest.raises(Inconclusive, match="beside its base"):
        audit_answer.answer(alone)

"""Evidence with only what is required, and any subset of the rest: metrics, stages and analyses answer with reasons."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factfade import analysis, foreign, metrics, tables
from factfade.records import EVIDENCE_COLUMNS, EVIDENCE_KEY, OUTCOMES
from factfade.stages import Rule, call_stages
from factfade.verdicts import StageReport
from tests import planted

NO_FLUENCY, NO_OWN = tables.combine([], "fluency"), tables.combine([], "completions")
FALLING = planted.World(right=planted.falling(0.95, 0.15))
FULL, FLUENCY, OWN = planted.tables(
    {"arm": FALLING, "control": planted.World()}, items=120, prompts=40, generations=range(3)
)
KEY = list(EVIDENCE_KEY)


def as_read(evidence: pd.DataFrame, folder: Path) -> foreign.Tables:
    """The evidence as a file of another tool, read back: present columns only."""
    rows = [{n: v for n, v in row.items() if v is not None} for row in tables.rows(evidence)]
    file = folder / "evidence.jsonl"
    file.write_text("".join(json.dumps(row, default=lambda value: value.item()) + "\n" for row in rows))
    return foreign.open_tables(file)


def everything(found: foreign.Tables) -> tuple[list[Any], StageReport, list[Any]]:
    """Every metric, the stages and every analysis of foreign tables, checked for what always holds."""
    fluency = NO_FLUENCY if found.fluency is None else found.fluency
    own = NO_OWN if found.own is None else found.own
    scores = metrics.compute(found.evidence, fluency, own)
    for row in scores:
        assert row.score.value is not None or row.score.reason, row
        assert row.score.value is None or math.isfinite(row.score.value), row
    report = call_stages(found.evidence, found.fluency, found.own, Rule(), controls=found.controls, draws=20)
    for call in report.calls:
        assert call.sentence
        assert all(c.loss is not None or c.sentence for c in call.conditions), call
    study = analysis.study_of(found.evidence, found.fluency, found.own, controls=found.controls)
    findings = analysis.analyse(study)
    for finding in findings:
        assert finding.sentence, finding
    return scores, report, findings


@pytest.mark.parametrize("column", ["choice_correct", "outcome"])
def test_the_key_and_one_answer_are_enough(tmp_path: Path, column: str) -> None:
    found = as_read(FULL[[*KEY, column]], tmp_path)
    scores, report, _ = everything(found)
    assert any(row.score.value is not None for row in scores)
    assert len(report.calls) == 2 * 2 * 2
    assert {call.stage for call in report.calls} == {"undetermined"}
    for call in report.calls:
        by_name = {c.endpoint: c for c in call.conditions}
        assert by_name["knowledge"].loss is not None
        assert (by_name["format"].loss is not None) == (column == "outcome")
        assert "no completions" in by_name["fluency_nats"].sentence
    lost = [c for call in report.calls if (call.lineage, call.generation) == ("arm", 2) for c in call.conditions]
    assert all(c.shown_worse for c in lost if c.endpoint == "knowledge")


@pytest.mark.parametrize("column", ["choice_correct", "outcome"])
@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("generations", [1, 2])
def test_a_question_or_two_and_a_generation_or_two(tmp_path: Path, column: str, items: int, generations: int) -> None:
    few = planted.evidence(FALLING, items=items, generations=range(generations), formats=["f"])
    _, report, _ = everything(as_read(few[[*KEY, column]], tmp_path))
    assert len(report.calls) == generations - 1


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_one_outcome_for_all(tmp_path: Path, outcome: str) -> None:
    everything(as_read(FULL[KEY].assign(outcome=outcome), tmp_path))


@pytest.mark.parametrize("right", [True, False])
def test_all_right_and_all_wrong(tmp_path: Path, right: bool) -> None:
    everything(as_read(FULL[KEY].assign(choice_correct=right), tmp_path))


def test_without_generation_0_nothing_is_called_and_it_is_said(tmp_path: Path) -> None:
    late = FULL.loc[FULL["generation"] > 0, [*KEY, "outcome"]]
    _, report, _ = everything(as_read(late, tmp_path))
    assert report.calls == ()
    assert any("generation 0" in note for note in report.notes)


OPTIONAL = sorted(set(EVIDENCE_COLUMNS) & set(FULL.columns) - set(KEY) - {"choice_correct", "outcome"})
SMALL = FULL[FULL["item"] < "item-0012"]
SMALL_FLUENCY, SMALL_OWN = FLUENCY[FLUENCY["text"] < "prompt-008"], OWN[OWN["prompt"] < "prompt-008"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answers=st.sampled_from([("choice_correct",), ("outcome",), ("choice_correct", "outcome")]),
    columns=st.sets(st.sampled_from(OPTIONAL)),
    holes=st.sets(st.sampled_from(OPTIONAL), max_size=3),
    texts=st.tuples(st.booleans(), st.booleans()),
    control=st.booleans(),
    order=st.randoms(use_true_random=False),
)
def test_any_subset_of_the_columns_gives_answers_with_reasons(
    tmp_path: Path,
    answers: tuple[str, ...],
    columns: set[str],
    holes: set[str],
    texts: tuple[bool, bool],
    control: bool,
    order: Any,
) -> None:
    chosen = SMALL[[*KEY, *answers, *sorted(columns | holes)]].astype(object)
    for index, name in enumerate(sorted(holes)):
        chosen[name] = chosen[name].where(pd.Series(range(len(chosen)), index=chosen.index) % (index + 2) == 0, None)
    places = list(range(len(chosen)))
    order.shuffle(places)
    found = as_read(chosen.iloc[places], tmp_path)
    everything(
        foreign.Tables(
            evidence=found.evidence,
            fluency=SMALL_FLUENCY if texts[0] else None,
            own=SMALL_OWN if texts[1] else None,
            controls={"arm": "control", "control": None} if control else {},
        )
    )

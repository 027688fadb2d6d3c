"""What an audit's places are called, and that its sentences speak of checkpoints where the loop's do of generations."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import analysis, stage_text
from factfade.places import Places
from tests.report.audited import audited

STEPS = Places.of({0: ("base", None), 1: ("checkpoint-9", 9), 2: ("checkpoint-10", 10), 3: ("checkpoint-100", 100)})
FOREIGN = re.compile(r"\b[Gg]enerations?\b|start model|\bthe start\b|\bcheckpoints \(seed 0\)|control of its own")


def test_checkpoints_are_called_by_their_steps() -> None:
    assert [STEPS.at(g) for g in range(4)] == ["the base", "step 9", "step 10", "step 100"]
    assert [STEPS.tick(g) for g in range(4)] == ["base", "9", "10", "100"]
    assert (STEPS.axis, STEPS.head(0), STEPS.head(3)) == ("step", "The base", "Step 100")


def test_without_steps_of_their_own_they_are_called_by_name_and_numbered_on_an_axis() -> None:
    found = Places.of({0: ("base", None), 1: ("a/x", 5), 2: ("b/x", 5), 3: ("late", 7), 4: ("final-model", None)})
    assert [found.at(g) for g in range(5)] == ["the base", "a/x", "b/x", "step 7", "final-model"]
    assert (found.axis, [found.tick(g) for g in range(5)]) == ("checkpoint", ["base", "1", "2", "3", "4"])
    # A name is a name: it is not made a word of ours.
    assert found.head(4) == "final-model"
    assert found.at(9) == "checkpoint 9"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Stage B at generation 2, open_ended: x", "Stage B at step 10, open_ended: x"),
        ("Generation 3, seed 0", "Step 100, seed 0"),
        ("worse than at generation 0", "worse than at the base"),
        ("from generation 1 in a (b from 2, c from 3)", "from step 9 in a (b from step 10, c from step 100)"),
        ("surprise under the start model", "surprise under the base"),
        ("not worse than at the start by more than 10 points", "not worse than at the base by more than 10 points"),
        ("provisional until a next generation repeats it", "provisional until a next checkpoint repeats it"),
        ("3 questions are there in only one of the two generations", "3 questions are there in only one of the two"),
        ("checkpoints (seed 0): Stage A", "Stage A"),
        ("a rule declared before generation 1", "a rule declared before the first evaluation"),
        ("from 3 to 10 points", "from 3 to 10 points"),
        ("a/generation-003/checkpoint is kept", "a/generation-003/checkpoint is kept"),
        ("regeneration 3 of generational change", "regeneration 3 of generational change"),
    ],
)
def test_sentences_are_said_of_checkpoints(text: str, says: str) -> None:
    assert STEPS.said(text) == says


@given(st.text())
def test_a_runs_sentences_stay_as_they_are(text: str) -> None:
    assert Places().said(text) == text


def test_a_runs_places_are_generations() -> None:
    assert (Places().at(0), Places().tick(3), Places().axis) == ("generation 0", "3", "generation")


def test_no_sentence_of_a_report_speaks_of_generations_and_no_number_changes() -> None:
    case = audited(items=120, lost=20, wavering=12)
    found = STEPS.report(case.report)
    conditions = [c for call in found.calls for c in call.conditions]
    texts = [call.sentence for call in found.calls] + [call.attribution_sentence for call in found.calls]
    texts += [c.sentence for c in conditions] + [one.sentence for one in found.overall]
    texts += [*found.sentences.values(), *found.notes, *found.guards]
    assert [text for text in texts if FOREIGN.search(text)] == []
    # The test can fail: as they are made, many of them do.
    assert sum(bool(FOREIGN.search(call.sentence)) for call in case.report.calls) == len(case.report.calls)
    assert [(c.stage, c.generation, c.format) for c in found.calls] == [
        (c.stage, c.generation, c.format) for c in case.report.calls
    ]
    before = [c for call in case.report.calls for c in call.conditions]
    assert [(c.loss, c.low, c.high, c.n) for c in conditions] == [(c.loss, c.low, c.high, c.n) for c in before]
    assert found.onsets == case.report.onsets


def test_the_lines_of_stages_and_findings_are_said_of_checkpoints() -> None:
    case = audited(items=120, lost=20, wavering=12)
    study = analysis.study_of(
        case.evidence, case.fluency, case.own, controls={"checkpoints": None}, alpha=0.05, margin=0.05
    )
    found = analysis.beside_stages(study)
    lines = stage_text.lines(case.report, found, why=True, places=STEPS)
    assert [line for line in lines if FOREIGN.search(line)] == []
    assert [line.split() for line in lines if line.startswith("  step ")] == [["step", "9", "10", "100", "4"]]
    assert any(line.startswith("  - Stage C at checkpoint 4, ") for line in lines)
    assert sum(bool(FOREIGN.search(line)) for line in stage_text.lines(case.report, found, why=True)) > 10
    assert [line for line in stage_text.findings_lines(found, places=STEPS) if FOREIGN.search(line)] == []

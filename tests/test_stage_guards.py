"""Artefact guards: each finds what is planted, and says nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factfade.stages import Rule, call_stages
from factfade.verdicts import StageReport
from tests import planted
from tests.planted import World
from tests.test_stages import call_at

Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


@pytest.fixture
def tables() -> Tables:
    evidence, fluency, own = planted.tables({"arm": World(), "human": World()}, items=300, generations=(0, 1, 2))
    key = evidence["item"] + evidence["format"] + evidence["wording"]
    evidence["prompt_sha256"] = key.map(lambda text: f"{hash(text):064x}")
    evidence["template_sha256"] = ""
    return evidence, fluency, own


def judged(tables: Tables, **settings: object) -> StageReport:
    return call_stages(*tables, Rule(), controls={"arm": "human"}, draws=0, **settings)  # type: ignore[arg-type]


def test_clean_evidence_raises_no_guard(tables: Tables) -> None:
    report = judged(tables)
    assert report.guards == ()
    assert all(call.flags == () for call in report.calls)


def test_other_prompts_withhold_the_call_of_their_generation_alone(tables: Tables) -> None:
    evidence = tables[0]
    changed = (evidence["lineage"] == "arm") & (evidence["generation"] == 2) & (evidence["format"] == "open_ended")
    evidence.loc[changed, "prompt_sha256"] = "f" * 64
    report = judged(tables)
    call = call_at(report, 2)
    assert call.stage == "undetermined"
    assert "prompts_changed" in call.flags
    assert "the prompts differ from those of generation 0" in call.sentence
    assert call_at(report, 1).stage == "A"
    assert call_at(report, 2, format="multiple_choice").stage == "A"
    assert any("the call is withheld" in note for note in report.guards)


def test_another_chat_template_withholds_the_call(tables: Tables) -> None:
    evidence = tables[0]
    evidence.loc[(evidence["lineage"] == "arm") & (evidence["generation"] == 1), "template_sha256"] = "a" * 64
    report = judged(tables)
    assert call_at(report, 1).stage == "undetermined"
    assert "template_changed" in call_at(report, 1).flags
    assert call_at(report, 2).stage == "A"


def test_a_control_that_was_asked_otherwise_is_said(tables: Tables) -> None:
    evidence = tables[0]
    other = evidence["lineage"] == "human"
    evidence.loc[other, "prompt_sha256"] = evidence.loc[other, "prompt_sha256"].str[::-1]
    report = judged(tables)
    assert "control_asked_otherwise" in call_at(report, 1).flags
    assert call_at(report, 1).stage == "A"
    assert "control_asked_otherwise" not in call_at(report, 1, lineage="human").flags


def test_one_prompt_under_two_items_is_said(tables: Tables) -> None:
    evidence = tables[0]
    mine = evidence["format"] == "open_ended"
    same = evidence["item"].isin(["item-0001", "item-0002", "item-0003"])
    evidence.loc[mine & same, "prompt_sha256"] = "e" * 64
    report = judged(tables)
    assert "items_duplicated" in call_at(report, 1).flags
    assert "items_duplicated" not in call_at(report, 1, format="multiple_choice").flags
    assert any("2 of 300 prompts repeat another item's" in note for note in report.guards)


def test_unbalanced_keys_and_balanced_ones(tables: Tables) -> None:
    evidence = tables[0]
    wrong = evidence["choice_correct"]
    evidence["gold"] = np.where(evidence["item"] < "item-0150", 1, evidence["gold"])
    evidence["choice"] = np.where(wrong, evidence["gold"], (evidence["gold"] + 1) % 4)
    report = judged(tables)
    assert "unbalanced_keys" in call_at(report, 1).flags
    note = next(n for n in report.guards if "constant answer looks like knowledge" in n)
    assert "option 2 is the right one" in note


def test_a_growing_preference_for_a_position_is_said_of_its_generation(tables: Tables) -> None:
    evidence = tables[0]
    late = (evidence["lineage"] == "arm") & (evidence["generation"] == 2) & (evidence["format"] == "multiple_choice")
    lost = late & (evidence["item"] < "item-0120")
    evidence.loc[lost, "choice"] = 3
    evidence.loc[lost, "choice_correct"] = evidence.loc[lost, "gold"] == 3
    report = judged(tables)
    assert "position_bias_grew" in call_at(report, 2, format="multiple_choice").flags
    assert "position_bias_grew" not in call_at(report, 1, format="multiple_choice").flags
    assert sum("a preference for a position" in note for note in report.guards) == 1


def test_marks_of_the_record_are_flags(tables: Tables) -> None:
    report = judged(tables, marks={"arm": ("right_padding",)})
    assert "right_padding" in call_at(report, 1).flags
    assert "right_padding" not in call_at(report, 1, lineage="human").flags
    assert any("padded on the right" in note for note in report.guards)

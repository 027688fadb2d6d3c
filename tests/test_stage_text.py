"""What `factfade stages` prints: guards first, then sentences, the table and the reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from factfade import analysis, judging, stage_text, stages
from factfade.errors import ConfigError, NotFound
from factfade.stage_panel import build_panels
from factfade.stage_sensitivity import moves
from factfade.stages import Rule, call_stages
from tests import planted
from tests.planted import World, falling
from tests.test_stages import called


def test_the_guards_come_first_and_the_table_shows_calls_and_onsets() -> None:
    worlds = {"arm": World(right=lambda g: 0.95 if g < 2 else 0.5, junk=lambda g: 0.3), "human": World()}
    report = called(worlds, controls={"arm": "human"}, generations=(0, 1, 2, 3))
    lines = stage_text.lines(report)
    text = "\n".join(lines)
    assert lines[0].startswith("Before the stages")
    assert "junk already" in lines[1]
    assert text.index("Before the stages") < text.index("stage B, knowledge collapse, from generation 2")
    assert "  open_ended       A     B*    B" in lines
    assert "  over formats     A     B     B" in lines
    assert "Why, where a call changes" in text
    assert "not declared before the data" in lines[-1]
    # The control's part is said once, the arm's per call.
    assert text.count("This is the control of arm") == 1


def test_every_call_has_its_reason_with_why() -> None:
    report = called({"arm": World()})
    assert sum(line.startswith("  - Stage A") for line in stage_text.lines(report)) == 2
    assert sum(line.startswith("  - Stage A") for line in stage_text.lines(report, why=True)) == len(report.calls)


def test_findings_stand_under_their_estimand() -> None:
    tables = planted.tables({"arm": World(right=falling(0.95, 0.06)), "human": World()})
    study = analysis.study_of(*tables, controls={"arm": "human"})
    found = analysis.beside_stages(study)
    lines = stage_text.lines(call_stages(*tables, Rule(), controls={"arm": "human"}, draws=0), found)
    items, runs = (lines.index(heading) for heading in stage_text.ESTIMANDS.values())
    assert items < runs
    assert any("These checkpoints fell (arm" in line for line in lines[items:runs])
    assert any("one seed is one training run" in line for line in lines[runs:])


def test_another_rule_marks_the_report(tmp_path: Path) -> None:
    file = tmp_path / "rule.toml"
    file.write_text("knowledge = 0.2\n", encoding="utf-8")
    rule = Rule.from_toml(file)
    assert (rule.knowledge, rule.format) == (0.2, 0.1)
    file.write_text('[stages]\nknowledge = 0.2\nfamily = "generation"\n', encoding="utf-8")
    assert Rule.from_toml(file).family == "generation"
    tables = planted.tables({"arm": World()}, generations=(0, 1))
    declared = Rule().sha256
    later = call_stages(*tables, rule, controls={}, draws=0, declared_sha256=declared)
    assert any("a later reading, not the declared test" in note for note in later.notes)
    assert stage_text.lines(later)[-1] == f"rule {rule.sha256[:12]}; declared before generation 1 was {declared[:12]}"
    same = call_stages(*tables, Rule(), controls={}, draws=0, declared_sha256=declared)
    assert stage_text.lines(same)[-1].endswith("declared before generation 1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("knowledge = 2.0", "stages.knowledge"),
        ("knwoledge = 0.1", "stages.knwoledge"),
        ('family = "all"', "stages.family"),
        ("knowledge = [", "no TOML"),
        ("alpha = 0.7", "stages.alpha"),
    ],
)
def test_a_malformed_rule_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "rule.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        Rule.from_toml(file)


def test_no_rule_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Rule.from_toml(tmp_path / "none.toml")


def test_onsets_move_with_the_margin() -> None:
    tables = planted.tables({"arm": World(right=falling(0.95, 0.04))}, items=600, generations=range(9))
    found = moves(build_panels(*tables), Rule(), controls={})
    knowledge = [m for m in found if (m.margin, m.stage) == ("knowledge", "B")]
    assert [m.value for m in knowledge] == pytest.approx([0.025, 0.0375, 0.05, 0.075, 0.1])
    onsets = [99 if m.generation is None else m.generation for m in knowledge]
    assert onsets == sorted(onsets)
    assert onsets[0] < onsets[-1]
    report = call_stages(*tables, Rule(), controls={}, draws=0)
    lines = stage_text.lines(report, (), found)
    assert any("margin of knowledge: 2.5 points: generation" in line for line in lines)


def test_foreign_evidence_is_judged_with_the_control_that_is_named(tmp_path: Path) -> None:
    evidence, _, _ = planted.tables(
        {"arm": World(right=lambda g: 0.95 if g < 2 else 0.5), "human": World()}, generations=(0, 1, 2, 3)
    )
    columns = ["lineage", "seed", "generation", "item", "format", "wording", "choice_correct"]
    path = tmp_path / "evidence.jsonl"
    evidence[columns].to_json(path, orient="records", lines=True)
    case = judging.open_case(path, control="human")
    assert case.controls == {"arm": "human", "human": None}
    report = case.stages()
    assert {c.stage for c in report.calls} == {"undetermined"}
    assert all("fluency: no completions" in c.sentence for c in report.calls)
    assert any(
        "Knowledge: 45" in c.sentence or "Knowledge: 4" in c.sentence for c in report.calls if c.lineage == "arm"
    )
    found = analysis.beside_stages(case.study())
    assert any(f.name == "trend_over_control" and f.p is not None and f.p < 0.001 for f in found)
    data = judging.to_json(report, found)
    assert json.loads(json.dumps(data, allow_nan=False))["findings"]
    with pytest.raises(NotFound, match="nobody"):
        judging.open_case(path, control="nobody")
    assert stages.from_json(data).guards == report.guards


def test_findings_of_one_seed_stand_for_the_others_and_the_recipe_comes_first() -> None:
    worlds = {"arm": World(right=falling(0.95, 0.06)), "human": World()}
    tables = [planted.tables(worlds, seed=s, generations=(0, 1, 2), items=120) for s in (0, 1, 2)]
    joined = [pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True)]
    found = analysis.analyse(analysis.study_of(*joined, controls={"arm": "human"}), ["trend"])
    lines = stage_text.findings_lines(found)
    text = "\n".join(lines)
    assert lines[0] == stage_text.ESTIMANDS["recipe"]
    assert "seed 0" in text
    assert "seed 1" not in text
    assert "findings on further seeds are not printed" in lines[-1]
    assert "seed 1" in "\n".join(stage_text.findings_lines(found, all_seeds=True))

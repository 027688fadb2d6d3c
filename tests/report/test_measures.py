"""Every number of the report against the same number counted again from the stored rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from factfade.report import measures, summary
from factfade.report.data import ArmPage, PageData, Panel
from factfade.report.material import Material


def arm_of(data: PageData, name: str) -> ArmPage:
    return next(arm for arm in data.arms if arm.name == name)


def panel_of(arm: ArmPage, format: str) -> Panel:
    return next(panel for panel in arm.panels if panel.format == format)


def rows(material: Material, **where: object) -> pd.DataFrame:
    found = material.evidence
    for column, value in where.items():
        found = found[found[column] == value]
    return found


def test_knowledge_is_the_share_of_right_choices_at_every_generation(material: Material, data: PageData) -> None:
    stored = material.evidence.assign(right=material.evidence["choice_correct"].astype(float))
    means = stored.groupby(["lineage", "format", "generation"])["right"].mean()
    for arm in data.arms:
        for panel in arm.panels:
            main = panel.knowledge.main
            assert main is not None
            assert [p.generation for p in main.points] == list(range(6))
            for point in main.points:
                assert point.score.value == pytest.approx(means[arm.name, panel.format, point.generation])
                assert point.score.n == 102


def test_the_interval_of_single_answers_is_wilsons(material: Material, data: PageData) -> None:
    last = panel_of(arm_of(data, "general"), "short_answer").knowledge.last
    assert last is not None
    assert last.value is not None
    low, high = proportion_confint(round(last.value * 102), 102, method="wilson")
    assert (last.low, last.high) == (pytest.approx(low), pytest.approx(high))
    assert last.level == 0.95


def test_two_wordings_count_as_one_item(material: Material, data: PageData) -> None:
    last = panel_of(arm_of(data, "general"), "open_ended").knowledge.last
    assert last is not None
    assert len(rows(material, lineage="general", format="open_ended", generation=5)) == 204
    assert last.n == 102
    assert "cluster" in last.method


def test_parseable_answers_are_counted_among_the_asked(material: Material, data: PageData) -> None:
    panel = panel_of(arm_of(data, "general"), "no_instruction")
    assert panel.parse.main is not None
    for point in panel.parse.main.points:
        stored = rows(material, lineage="general", format="no_instruction", generation=point.generation)
        assert point.score.value == pytest.approx(float(stored["outcome"].isin(["correct", "wrong"]).mean()))


def test_the_control_is_the_controls_own_curve(data: PageData) -> None:
    control = panel_of(arm_of(data, "human_only"), "short_answer").knowledge.main
    assert panel_of(arm_of(data, "general"), "short_answer").knowledge.control == control
    assert panel_of(arm_of(data, "domain"), "short_answer").knowledge.control is None
    assert panel_of(arm_of(data, "human_only"), "short_answer").knowledge.control is None
    assert [arm.control for arm in data.arms] == [None, "human_only", None]
    assert [arm.is_control for arm in data.arms] == [True, False, False]


def test_fluency_is_token_weighted(material: Material, data: PageData) -> None:
    own, held, junk = arm_of(data, "general").fluency
    texts = material.fluency
    texts = texts[(texts["lineage"] == "general") & (texts["generation"] == 5)]
    for measure, kind, transform in ((own, "own_under_start", float), (held, "held_out", math.exp)):
        of = texts[texts["kind"] == kind]
        nats = float(of["nll"].sum() / of["tokens"].sum())
        assert measure.last is not None
        assert measure.last.value == pytest.approx(transform(nats))
        assert measure.last.n == 64
    assert junk.last is not None
    assert junk.last.value == pytest.approx(7 / 128)
    assert own.first is not None
    assert own.reference == pytest.approx((own.first.value or 0) + 0.25)


def test_transitions_are_counted_from_the_rows(material: Material, data: PageData) -> None:
    for found in arm_of(data, "general").transitions:
        key = ["item", "wording"]
        ends = [
            rows(material, lineage="general", format=found.format, generation=g).set_index(key)["choice_correct"]
            for g in (0, 5)
        ]
        a, b = (end.sort_index().astype(bool).to_numpy() for end in ends)
        counted = [int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum())]
        assert [found.right_right, found.right_wrong, found.wrong_right, found.wrong_wrong] == counted
        assert found.n == len(a)
        assert found.kept.value == pytest.approx(b[a].mean())


def test_lost_questions_are_exactly_those_that_were_right_and_are_wrong(material: Material) -> None:
    changed = material.evidence.copy()
    # Two items swap: one is lost in one format only, one is gained back.
    at = (changed["lineage"] == "human_only") & (changed["format"] == "short_answer")
    changed.loc[at, "choice_correct"] = True
    lost = at & (changed["item"] == "item0007") & (changed["generation"] >= 3)
    gained = at & (changed["item"] == "item0008") & (changed["generation"] < 5)
    changed.loc[lost | gained, "choice_correct"] = False
    only = changed[changed["format"] == "short_answer"]
    arm = arm_of(summary.summarise(replace(material, evidence=only)), "human_only")
    assert [(c.item, c.since, c.formats, c.formats_asked) for c in arm.lost] == [("item0007", 3, 1, 1)]
    assert [(c.item, c.since) for c in arm.gained] == [("item0008", 5)]
    assert (arm.lost_total, arm.gained_total) == (1, 1)


def test_a_change_shows_both_answers_as_they_are_stored(material: Material, data: PageData) -> None:
    for change in arm_of(data, "general").lost[:10]:
        of = rows(
            material, lineage="general", item=change.item, format=change.format, wording=change.wording
        ).set_index("generation")
        for said, generation in ((change.before, 0), (change.after, 5)):
            row = of.loc[generation]
            assert said.answer == row["answer"]
            assert said.choice == row["options"][int(row["choice"])]
            assert said.choice_confidence == row["choice_confidence"]
        assert bool(of.loc[0, "choice_correct"])
        assert not bool(of.loc[5, "choice_correct"])
        assert change.right == of.loc[0, "accepted"][0]


def test_telling_changes_come_first(data: PageData) -> None:
    lost = arm_of(data, "general").lost
    assert len(lost) == min(arm_of(data, "general").lost_total, summary.SHOWN_LOST)
    assert [c.formats for c in lost] == sorted((c.formats for c in lost), reverse=True)
    assert lost[0].formats == 5


def test_an_answer_that_is_wrong_as_well_tells_more_than_one_that_is_still_right(material: Material) -> None:
    rows_ = material.evidence[material.evidence["format"].isin(["short_answer", "open_ended"])].copy()
    at = (rows_["item"] == "item0003") & (rows_["lineage"] == "general")
    rows_.loc[at, "choice_correct"] = rows_.loc[at, "generation"] == 0
    rows_.loc[at, "outcome"] = "correct"
    rows_.loc[at & (rows_["format"] == "open_ended") & (rows_["wording"] == "statement"), "outcome"] = "wrong"
    rows_.loc[at & (rows_["format"] == "short_answer"), "choice_confidence"] = 0.99
    lost = arm_of(summary.summarise(replace(material, evidence=rows_)), "general").lost
    change = next(c for c in lost if c.item == "item0003")
    assert (change.format, change.wording) == ("open_ended", "statement")


def test_domains_show_the_planted_difference(data: PageData) -> None:
    def last(arm: str, domain: str) -> float:
        found = [s for s in arm_of(data, arm).domains if s.domain == domain and s.format == "short_answer"]
        assert found[0].last.value is not None
        return found[0].last.value

    assert last("domain", "geography") > last("general", "geography") + 0.2
    assert abs(last("domain", "chemistry") - last("general", "chemistry")) < 0.05


def test_kept_counts_only_what_was_right_at_first(material: Material, data: PageData) -> None:
    score = next(s for s in arm_of(data, "general").domains if (s.domain, s.format) == ("cities", "short_answer"))
    of = rows(material, lineage="general", format="short_answer", domain="cities")
    ends = [of[of["generation"] == g].set_index("item")["choice_correct"].astype(bool) for g in (0, 5)]
    held = ends[1][ends[0]]
    assert score.kept.value == pytest.approx(held.mean())
    assert score.kept.n == len(held)


def test_outcomes_sum_to_the_rows(material: Material, data: PageData) -> None:
    sizes = material.evidence.groupby(["lineage", "format", "generation"]).size()
    for arm in data.arms:
        assert len(arm.outcomes) == 5 * 6
        for row in arm.outcomes:
            assert sum(row.counts.values()) == sizes[arm.name, row.format, row.generation]
            assert row.asked == sum(row.counts.values()) - row.counts["not_asked"]


def test_not_asked_stays_outside_n_and_is_counted_with_its_reason(material: Material) -> None:
    changed = material.evidence.copy()
    skipped = (changed["format"] == "multiple_choice") & changed["item"].isin(["item0001", "item0002"])
    empty = ["choice", "choice_correct", "choice_confidence", "answer", "answer_confidence"]
    for column in empty:
        changed.loc[skipped, column] = None
    changed.loc[skipped, "outcome"] = "not_asked"
    changed.loc[skipped, "reason"] = "the prompt is too long"
    panel = panel_of(arm_of(summary.summarise(replace(material, evidence=changed)), "general"), "multiple_choice")
    assert panel.not_asked == (("the prompt is too long", 2),)
    assert panel.knowledge.first is not None
    assert panel.knowledge.first.n == 100
    assert panel.parse.first is not None
    assert panel.parse.first.n == 100


def test_without_choices_knowledge_is_read_from_parseable_answers(material: Material) -> None:
    changed = material.evidence[material.evidence["format"] == "no_instruction"].copy()
    for column in ("choice_correct", "choice", "choice_confidence", "gold", "options"):
        changed[column] = None
    panel = panel_of(arm_of(summary.summarise(replace(material, evidence=changed)), "general"), "no_instruction")
    stored = changed[(changed["lineage"] == "general") & (changed["generation"] == 5)]
    parsed = stored[stored["outcome"].isin(["correct", "wrong"])]
    assert panel.basis == "free answer"
    assert panel.knowledge.last is not None
    assert panel.knowledge.last.value == pytest.approx((parsed["outcome"] == "correct").mean())
    assert panel.knowledge.last.n == len(parsed)


def test_chance_is_a_quarter_for_four_even_options(data: PageData) -> None:
    reference = panel_of(arm_of(data, "general"), "multiple_choice").knowledge.reference
    assert reference is not None
    assert 0.25 <= reference < 0.36


def test_several_seeds_give_their_mean_with_an_interval_over_seeds(seeded: PageData) -> None:
    measure = panel_of(arm_of(seeded, "general"), "short_answer").knowledge
    assert [c.seed for c in measure.curves] == [0, 1, 2, None]
    assert measure.main is not None
    assert measure.main.seed is None
    values = [c.points[-1].score.value for c in measure.seeds]
    last = measure.last
    assert last is not None
    assert last.value == pytest.approx(np.mean(values))
    half = scipy_stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / math.sqrt(3)
    assert last.high == pytest.approx(min(np.mean(values) + half, 1.0))
    assert "3 seeds" in last.method


def test_seeds_are_counted_in_words(seeded: PageData) -> None:
    said = " ".join(arm_of(seeded, "general").over_seeds)
    assert "of 3 seeds" in said


def test_row_order_changes_nothing(material: Material, data: PageData) -> None:
    shuffled = material.evidence.sample(frac=1.0, random_state=1).reset_index(drop=True)
    assert summary.summarise(replace(material, evidence=shuffled)) == data


def test_a_run_that_is_not_finished_is_said_to_be(material: Material) -> None:
    until = material.evidence[~((material.evidence["lineage"] == "domain") & (material.evidence["generation"] > 3))]
    found = summary.summarise(replace(material, evidence=until))
    assert "Arm domain, seed 0 is evaluated up to generation 3 of 5." in found.warnings


def test_a_planned_arm_without_evidence_is_said_to_be_missing(material: Material) -> None:
    until = material.evidence[material.evidence["lineage"] != "domain"]
    found = summary.summarise(replace(material, evidence=until))
    assert "Arm domain, seed 0 has no evidence yet." in found.warnings


def test_outcomes_of_probes_stay_out_of_the_report(material: Material) -> None:
    some = material.evidence[material.evidence["format"] == "short_answer"]
    probe = some.assign(format="attribution", outcome="wrong")
    both = pd.concat([some, probe], ignore_index=True)
    alone = measures.outcome_rows(some, "general", ("short_answer",))
    assert alone
    assert measures.outcome_rows(both, "general", ("short_answer",)) == alone

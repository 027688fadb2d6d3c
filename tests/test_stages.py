"""Stage calls on planted truths: what is planted is called, what cannot be known is undetermined with its reason."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factfade.errors import ConfigError, DataError
from factfade.sections import StagesSection
from factfade.stages import ENDPOINTS, Rule, call_stages, decide, find_onsets, from_json, sentence_for_lineage, to_json
from factfade.verdicts import Condition, StageCall, StageReport
from tests import planted
from tests.planted import World, falling

RULE = Rule()


def called(
    worlds: dict[str, World], rule: Rule = RULE, controls: dict[str, str | None] | None = None, **settings: Any
) -> StageReport:
    return call_stages(*planted.tables(worlds, **settings), rule, controls=controls or {})


def stages(report: StageReport, lineage: str = "arm", format: str = "open_ended") -> str:
    """The calls of a lineage and format as one word: "ABBC", u for undetermined."""
    mine = sorted((c for c in report.calls if (c.lineage, c.format) == (lineage, format)), key=lambda c: c.generation)
    return "".join(c.stage[0] for c in mine)


def call_at(report: StageReport, generation: int, lineage: str = "arm", format: str = "open_ended") -> StageCall:
    return next(c for c in report.calls if (c.lineage, c.generation, c.format) == (lineage, generation, format))


def condition(call: StageCall, endpoint: str) -> Condition:
    return next(c for c in call.conditions if c.endpoint == endpoint)


# ---------------------------------------------------------------------------------------------------------------
# Planted truths


def test_nothing_planted_is_stage_a_everywhere() -> None:
    report = called({"arm": World()})
    assert stages(report) == stages(report, format="multiple_choice") == "AAAAAA"
    assert {(o.stage, o.generation, o.provisional) for o in report.onsets} == {("A", 1, False)}
    assert "stage A" in sentence_for_lineage(report, "arm", 0)


def test_slow_decay_is_preserved_then_open_then_collapsed() -> None:
    """Two points a generation against a margin of five: A while it is shown below, u while it is open, then B."""
    found = stages(called({"arm": World(right=falling(0.95, 0.02))}, items=600, generations=range(9)))
    assert re.fullmatch(r"A+u+B{3,}", found)


def test_sudden_loss_is_stage_b_from_its_generation() -> None:
    report = called({"arm": World(right=lambda g: 0.95 if g < 3 else 0.55)})
    assert stages(report) == "AABBBB"
    onset = next(o for o in report.onsets if o.stage == "B" and o.format == "open_ended")
    assert (onset.generation, onset.provisional) == (3, False)
    loss = condition(call_at(report, 3), "knowledge")
    assert loss.loss == pytest.approx(0.40, abs=0.04)
    assert loss.low is not None
    assert loss.high is not None
    assert 0.05 < loss.low < loss.loss < loss.high  # type: ignore[operator]
    assert loss.n == 400
    sentence = sentence_for_lineage(report, "arm", 0)
    assert "stage B, knowledge collapse, from generation 3" in sentence
    assert "n = 400" in sentence
    assert "plain forgetting is not excluded" in sentence


def test_format_only_is_stage_c_and_knowledge_is_not_lost() -> None:
    report = called({"arm": World(parse=lambda g: 0.98 if g < 4 else 0.6)})
    assert stages(report) == "AAACCC"
    call = call_at(report, 5)
    assert condition(call, "knowledge").shown_not_worse
    assert condition(call, "format").shown_worse
    assert not call.at_chance
    assert "instruction-following collapse, from generation 4" in sentence_for_lineage(report, "arm", 0)


@pytest.mark.parametrize(
    "world", [World(nats=lambda g: 0.0 if g < 4 else 0.6), World(junk=lambda g: 0.02 if g < 4 else 0.5)]
)
def test_fluency_only_is_stage_c_in_every_format(world: World) -> None:
    report = called({"arm": world})
    assert stages(report) == stages(report, format="multiple_choice") == "AAACCC"


def test_less_surprise_under_the_start_model_is_not_worse() -> None:
    assert stages(called({"arm": World(nats=lambda g: -0.3 * g)})) == "AAAAAA"


def test_everything_at_chance_is_flagged() -> None:
    report = called({"arm": World(right=lambda g: 0.95 if g < 3 else 0.25, parse=lambda g: 0.98 if g < 3 else 0.3)})
    assert stages(report) == "AACCCC"
    assert all(call_at(report, g).at_chance for g in (3, 4, 5, 6))
    assert "with knowledge at chance" in sentence_for_lineage(report, "arm", 0)
    assert "equivalent to chance" in call_at(report, 4).sentence


def test_too_few_items_are_undetermined_and_say_how_many() -> None:
    report = called({"arm": World(right=lambda g: 0.95 if g < 3 else 0.5)}, items=60)
    assert set(stages(report)) == {"u"}
    assert "at least 100 items are needed" in call_at(report, 4).sentence
    assert not condition(call_at(report, 4), "knowledge").shown_worse


def test_a_loss_near_its_margin_says_what_it_would_take() -> None:
    report = called({"arm": World(right=lambda g: 0.95 if g == 0 else 0.88)}, items=150)
    call = call_at(report, 3)
    assert call.stage == "undetermined"
    assert re.search(r"about [\d,]+ items would settle it", call.sentence)


def test_a_loss_within_the_margin_is_a_with_a_notice() -> None:
    report = called({"arm": World(right=lambda g: 0.95 if g == 0 else 0.925)}, items=1000)
    call = call_at(report, 2)
    assert call.stage == "A"
    assert "notice" in call.sentence


def test_two_wordings_of_an_item_are_one_unit() -> None:
    evidence, fluency, own = planted.tables({"arm": World(right=falling(0.95, 0.08))}, items=300)
    twice = pd.concat([evidence, evidence.assign(wording="other")], ignore_index=True)
    once_report = call_stages(evidence, fluency, own, RULE, controls={})
    report = call_stages(twice, fluency, own, RULE, controls={})
    for generation in range(1, 7):
        a, b = (condition(call_at(r, generation), "knowledge") for r in (once_report, report))
        assert b.n == a.n == 300
        assert b.loss == pytest.approx(a.loss)
        assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.1)  # type: ignore[operator]


# ---------------------------------------------------------------------------------------------------------------
# The table, onsets


def plain(endpoint: str, verdict: str) -> Condition:
    return Condition(
        endpoint=endpoint,
        loss=0.0,
        low=0.0,
        high=0.0,
        margin=0.1,
        n=400,
        unit="share",
        shown_not_worse=verdict == "same",
        shown_worse=verdict == "worse",
        sentence="",
    )


@pytest.mark.parametrize(
    ("verdicts", "stage"),
    [
        (("same", "same", "same", "same"), "A"),
        (("worse", "same", "same", "same"), "B"),
        (("open", "same", "same", "same"), "undetermined"),
        (("worse", "open", "same", "same"), "undetermined"),
        (("worse", "same", "same", "open"), "undetermined"),
        (("same", "same", "open", "same"), "undetermined"),
        (("worse", "worse", "same", "same"), "C"),
        (("open", "open", "worse", "open"), "C"),
        (("same", "same", "same", "worse"), "C"),
    ],
)
def test_the_table_of_stages(verdicts: Sequence[str], stage: str) -> None:
    found = {e: plain(e, v) for e, v in zip(ENDPOINTS, verdicts, strict=True)}
    assert decide(found) == stage


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("ABBB", {("B", 1, False)}),
        ("AABA", {("A", 0, False)}),
        ("BABB", {("B", 2, False)}),
        ("AAAB", {("A", 0, False), ("B", 3, True)}),
        ("uuCC", {("C", 2, False)}),
        ("BuBu", set()),
        ("uuuu", set()),
        ("C", {("C", 0, True)}),
    ],
)
def test_onsets(word: str, expected: set[tuple[str, int, bool]]) -> None:
    names = {"u": "undetermined"}
    base = call_at(called({"arm": World()}, generations=(0, 1)), 1)
    # Evaluated generations 10, 13, 16, ...: the next evaluated one repeats a call, not the next number.
    calls = [replace(base, generation=10 + 3 * i, stage=names.get(s, s)) for i, s in enumerate(word)]  # type: ignore[arg-type]
    found = {(o.stage, (o.generation - 10) // 3, o.provisional) for o in find_onsets(reversed(calls))}
    assert found == expected


# ---------------------------------------------------------------------------------------------------------------
# Attribution


def test_a_loss_that_the_control_shares_is_not_due_to_the_recursion() -> None:
    loss = World(right=lambda g: 0.95 if g < 2 else 0.60)
    evidence, fluency, own = planted.tables({"arm": loss}, items=400)
    # The control answers as the arm does: same items, same draws.
    tables = [pd.concat([t, t.assign(lineage="human")]) for t in (evidence, fluency, own)]
    report = call_stages(*tables, RULE, controls={"arm": "human", "human": None})
    call = call_at(report, 4)
    assert call.stage == "B"
    assert call.attribution is not None
    assert call.attribution.loss == 0.0
    assert not call.attribution.shown_worse
    assert call.attribution_sentence.startswith("Not due to the recursion by more than 5 points")
    assert "control of arm" in call_at(report, 4, lineage="human").attribution_sentence


def test_a_loss_beyond_the_control_is_due_to_the_recursion() -> None:
    worlds = {"arm": World(right=falling(0.95, 0.1)), "human": World(right=falling(0.95, 0.02))}
    report = called(worlds, controls={"arm": "human"})
    call = call_at(report, 5)
    assert call.attribution is not None
    assert call.attribution.loss == pytest.approx(0.40, abs=0.06)
    assert call.attribution.endpoint == "knowledge"
    assert call.attribution_sentence.startswith("Due to the recursion")
    assert "Due to the recursion" in sentence_for_lineage(report, "arm", 0)


@pytest.mark.parametrize(
    ("world", "endpoint"),
    [
        (World(parse=lambda g: 0.98 if g < 3 else 0.5, right=falling(0.95, 0.1)), "format"),
        (World(nats=lambda g: 0.5 * g), "fluency_nats"),
        (World(junk=lambda g: 0.02 + 0.2 * g), "fluency_junk"),
    ],
)
def test_a_break_is_attributed_on_the_endpoint_that_broke(world: World, endpoint: str) -> None:
    call = call_at(called({"arm": world, "human": World()}, controls={"arm": "human"}), 4)
    assert call.stage == "C"
    assert call.attribution is not None
    assert call.attribution.endpoint == endpoint
    assert call.attribution.shown_worse


def test_a_control_without_this_generation_or_seed_is_said() -> None:
    evidence, fluency, own = planted.tables({"arm": World(right=falling(0.95, 0.2)), "human": World()})
    short = evidence[(evidence["lineage"] == "arm") | (evidence["generation"] < 3)]
    call = call_at(call_stages(short, fluency, own, RULE, controls={"arm": "human"}), 4)
    assert call.attribution is None
    assert "human has no evidence at generation 4" in call.attribution_sentence


# ---------------------------------------------------------------------------------------------------------------
# Confidently wrong


@pytest.mark.parametrize(("now", "expected"), [(0.88, True), (0.40, False)])
def test_confidently_wrong_compares_items_with_themselves(now: float, expected: bool) -> None:
    evidence, fluency, own = planted.tables({"arm": World(right=falling(0.95, 0.1))})
    evidence["choice_confidence"] = np.where(evidence["choice_correct"], 0.88, now)
    call = call_at(call_stages(evidence, fluency, own, RULE, controls={}), 4)
    sure = condition(call, "confidently_wrong")
    assert sure.shown_not_worse is expected
    assert ("confidently_wrong" in call.flags) is expected
    assert sure.loss == pytest.approx(0.88 - now)
    if expected:
        assert "wrong with confidence of 0.8 or more" in sure.sentence
    else:
        assert "none of 400 items" in sure.sentence
        assert "at most 0.7%" in sure.sentence


def test_confidently_wrong_needs_its_own_number() -> None:
    report = called({"arm": World(right=lambda g: 0.95 if g == 0 else 0.93)})
    sure = condition(call_at(report, 3), "confidently_wrong")
    assert sure.n < 20
    assert not sure.shown_not_worse
    assert not sure.shown_worse
    assert "at least 20 items are needed" in sure.sentence


# ---------------------------------------------------------------------------------------------------------------
# Invariance


def test_the_order_of_rows_is_nothing() -> None:
    tables = planted.tables({"arm": World(right=falling(0.95, 0.06)), "human": World()}, wordings=2)
    shuffled = [t.sample(frac=1, random_state=5).reset_index(drop=True) for t in tables]
    controls = {"arm": "human"}
    assert to_json(call_stages(*tables, RULE, controls=controls)) == to_json(
        call_stages(*shuffled, RULE, controls=controls)
    )


def test_names_of_lineages_items_and_formats_are_nothing() -> None:
    tables = planted.tables({"arm": World(right=falling(0.95, 0.06)), "human": World()})
    renamed = [t.assign(lineage=t["lineage"].map({"arm": "zeta", "human": "alpha"})) for t in tables]
    renamed[0]["item"] = "x" + renamed[0]["item"].str[::-1]
    first = call_stages(*tables, RULE, controls={"arm": "human"})
    second = call_stages(*renamed, RULE, controls={"zeta": "alpha"})
    for call in first.calls:
        other = call_at(second, call.generation, {"arm": "zeta", "human": "alpha"}[call.lineage], call.format)
        assert other.stage == call.stage
        for mine, its in zip(call.conditions, other.conditions, strict=True):
            assert its.loss == pytest.approx(mine.loss, abs=1e-12)
            assert its.low == pytest.approx(mine.low, abs=1e-12)


def test_another_lineage_changes_nothing() -> None:
    alone = called({"arm": World(right=falling(0.95, 0.06))})
    beside = called({"arm": World(right=falling(0.95, 0.06)), "other": World(parse=falling(0.98, 0.1))})
    assert [c for c in beside.calls if c.lineage == "arm"] == list(alone.calls)


# ---------------------------------------------------------------------------------------------------------------
# Degenerate and missing evidence


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_all_right_and_all_wrong_are_defined(rate: float) -> None:
    report = called({"arm": World(right=lambda g: rate, parse=lambda g: 1.0)}, generations=(0, 1, 2))
    assert stages(report) == "AA"
    knowledge = condition(call_at(report, 1), "knowledge")
    assert knowledge.loss == 0.0
    assert (knowledge.high or 0) > 0
    assert ("little_known_at_start" in call_at(report, 1).flags) is (rate == 0.0)


def test_one_item() -> None:
    report = called({"arm": World()}, items=1, generations=(0, 1))
    assert stages(report) == "u"


@pytest.mark.parametrize(
    ("drop", "says"),
    [
        (["outcome"], "no item has a free answer"),
        (["choice_correct", "choice_confidence", "answer_confidence"], "Stage A"),
        (["entity", "template", "domain", "options", "gold", "choice"], "Stage A"),
    ],
)
def test_missing_columns_cost_only_what_needs_them(drop: list[str], says: str) -> None:
    evidence, fluency, own = planted.tables({"arm": World()})
    report = call_stages(evidence.drop(columns=drop), fluency, own, RULE, controls={})
    assert says in call_at(report, 2).sentence


def test_free_answers_alone_are_judged_among_the_parseable() -> None:
    """Format loss is not knowledge loss: what is unparseable leaves the comparison of knowledge."""
    evidence, fluency, own = planted.tables({"arm": World(parse=lambda g: 0.98 if g < 2 else 0.5)})
    evidence = evidence.drop(columns=["choice_correct", "choice", "options", "gold"])
    call = call_at(call_stages(evidence, fluency, own, RULE, controls={}), 4)
    knowledge = condition(call, "knowledge")
    assert knowledge.shown_not_worse
    assert knowledge.n < 300
    assert "accuracy among parseable free answers" in knowledge.sentence
    assert call.stage == "C"


@pytest.mark.parametrize("absent", ["fluency", "own", "both"])
def test_without_fluency_neither_a_nor_b_can_be_called(absent: str) -> None:
    evidence, fluency, own = planted.tables({"arm": World(right=lambda g: 0.95 if g < 2 else 0.5)})
    report = call_stages(
        evidence,
        None if absent != "own" else fluency,
        pd.DataFrame() if absent != "fluency" else own,
        RULE,
        controls={},
    )
    assert set(stages(report)) == {"u"}
    assert "fluency: no completions" in call_at(report, 4).sentence


def test_no_evidence_is_an_empty_report() -> None:
    report = call_stages(pd.DataFrame(), pd.DataFrame(), None, RULE, controls={"arm": None})
    assert (report.calls, report.onsets) == ((), ())
    assert from_json(to_json(report)) == report


def test_a_lineage_without_a_start_is_a_note() -> None:
    evidence, fluency, own = planted.tables({"arm": World()})
    report = call_stages(evidence[evidence["generation"] > 0], fluency, own, RULE, controls={})
    assert report.calls == ()
    assert any("no generation 0" in note for note in report.notes)


def test_repeated_keys_are_refused_and_name_the_place() -> None:
    evidence, fluency, own = planted.tables({"arm": World()}, items=20)
    with pytest.raises(DataError, match="repeat a key, such as lineage=arm"):
        call_stages(pd.concat([evidence, evidence.tail(2)]), fluency, own, RULE, controls={})
    with pytest.raises(DataError, match="no column 'item'"):
        call_stages(evidence.drop(columns="item"), fluency, own, RULE, controls={})
    with pytest.raises(DataError, match="neither choice_correct nor outcome"):
        call_stages(evidence.drop(columns=["choice_correct", "outcome"]), fluency, own, RULE, controls={})


def test_missing_items_are_flagged_and_left_out_of_the_pairs() -> None:
    evidence, fluency, own = planted.tables({"arm": World()})
    gone = (evidence["generation"] == 3) & (evidence["item"] < "item-0030")
    report = call_stages(evidence[~gone], fluency, own, RULE, controls={})
    assert "items_missing" in call_at(report, 3).flags
    assert condition(call_at(report, 3), "knowledge").n == 370
    assert "items_missing" not in call_at(report, 4).flags
    assert any("missing in one generation" in note for note in report.guards)


def test_not_asked_is_outside_n_and_counted() -> None:
    evidence, fluency, own = planted.tables({"arm": World()})
    never = evidence["item"] < "item-0050"
    evidence.loc[never, "outcome"] = "not_asked"
    evidence["choice_correct"] = evidence["choice_correct"].astype(object)
    evidence.loc[never, "choice_correct"] = None
    report = call_stages(evidence, fluency, own, RULE, controls={})
    call = call_at(report, 2)
    assert condition(call, "format").n == condition(call, "knowledge").n == 350
    assert "not_asked" in call.flags
    assert any("50 of 400 questions are not asked" in note for note in report.guards)


def test_artefacts_at_the_start_speak_first() -> None:
    report = called({"arm": World(junk=lambda g: 0.4)})
    assert "junk_at_start" in call_at(report, 1).flags
    assert any("junk already" in note for note in report.guards)
    evidence, fluency, own = planted.tables({"arm": World()})
    evidence["choice"] = 0
    evidence["choice_correct"] = evidence["gold"] == 0
    biased = call_stages(evidence, fluency, own, RULE, controls={})
    assert {"position_bias_at_start", "little_known_at_start"} <= set(call_at(biased, 1).flags)
    assert any("picks option 1 in 100.0%" in note for note in biased.guards)


# ---------------------------------------------------------------------------------------------------------------
# Rule, notes, JSON


def test_the_rule_is_the_experiment_file_s() -> None:
    assert Rule.from_section(StagesSection()) == RULE
    other = Rule.from_section(StagesSection(knowledge=0.1))
    assert other.knowledge == 0.1
    assert other.sha256 != RULE.sha256 == Rule().sha256
    with pytest.raises(ConfigError, match="one-sided"):
        Rule(alpha=0.6)


def test_a_wider_margin_calls_later() -> None:
    worlds = {"arm": World(right=falling(0.95, 0.05))}
    first = [
        min((o.generation for o in called(worlds, Rule(knowledge=m)).onsets if o.stage == "B"), default=99)
        for m in (0.02, 0.05, 0.15)
    ]
    assert first == sorted(first)
    assert first[0] < first[-1]


def test_one_seed_says_what_it_cannot_say() -> None:
    one = called({"arm": World()})
    assert any("the unit there is the training run" in note for note in one.notes)
    assert one.rule_sha256 == RULE.sha256


def test_a_report_goes_through_json() -> None:
    report = called({"arm": World(right=falling(0.95, 0.1)), "human": World()}, controls={"arm": "human"})
    text = json.dumps(to_json(report), allow_nan=False)
    assert from_json(json.loads(text)) == report
    with pytest.raises(DataError, match="no report of stages"):
        from_json({"calls": [{"stage": "A"}]})


def test_a_lineage_that_does_not_exist_has_a_sentence() -> None:
    assert "no generation after the start" in sentence_for_lineage(called({"arm": World()}), "nobody", 0)


def test_tables_may_come_from_arrow_with_nulls() -> None:
    pa = pytest.importorskip("pyarrow")
    evidence, fluency, own = planted.tables({"arm": World(right=falling(0.95, 0.1))})
    evidence["choice_correct"] = evidence["choice_correct"].astype(object).where(evidence["item"] != "item-0003", None)
    arrow = [pa.Table.from_pandas(t).to_pandas(types_mapper=m) for t, m in ((evidence, pd.ArrowDtype), (fluency, None))]
    expected = call_stages(evidence, fluency, own, RULE, controls={})
    assert call_stages(*arrow, own, RULE, controls={}) == expected
    assert condition(call_at(expected, 1), "knowledge").n == 400


def test_no_change_is_hardly_ever_called_a_break() -> None:
    """Independent flips of a tenth of the items in every generation, no net loss: no B, no C in 40 runs of 10."""
    random = np.random.default_rng(11)
    fluency, own = planted.texts(World(), generations=range(11))
    alarms = 0
    for run in range(40):
        base = planted.evidence(World(), items=200, formats=("open_ended",), generations=range(11), rng=run)
        base["choice_correct"] = random.random(len(base)) < 0.93
        base["outcome"] = np.where(random.random(len(base)) < 0.97, "correct", "unparseable")
        report = call_stages(base, fluency, own, RULE, controls={})
        alarms += any(c.stage in "BC" for c in report.calls)
    assert alarms <= 2

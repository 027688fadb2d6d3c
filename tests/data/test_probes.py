"""The probe formats: what they put, and that their rows are stored like any other format's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import registry, store, tables
from factfade.data.answers import normalise
from factfade.data.probes import Attribution, CueRecovery, KnowledgeRetention
from factfade.errors import ConfigError
from factfade.evaluate import evaluate, prepare
from factfade.models.hf import HfModel
from factfade.progress import Silent
from factfade.protocols import Format
from factfade.records import PROBES, Asked, Question
from factfade.sections import EvaluationSection, SynthesisSection
from factfade.world.questions import WorldQuestions

PERU = Question(
    text="What is the capital of Peru?",
    statement="The capital of Peru is",
    choices=("Lima", "Quito", "Cusco", "La Paz"),
    answer=0,
    candidates=("Bogota", "Lima", "Quito"),
    closed=True,
    domain="geography",
    entity="Peru",
    template="capital",
)
CLOZE = Question(
    text="", statement="The mother tongue of Danielle Darrieux is", accepted=("French",), entity="Danielle Darrieux"
)


def put(form: Format, question: Question = PERU, seed: int = 0) -> dict[str, Asked]:
    return {asked.wording: asked for asked in form.ask(question, dev=(), seed=seed)}


def test_the_probes_are_those_that_the_records_name() -> None:
    assert set(registry.kinds("format")) >= PROBES
    for kind in PROBES:
        form = registry.build("format", kind, preset="paper")
        assert isinstance(form, Format)
        assert form.name == kind
        assert {asked.format for asked in form.ask(PERU, dev=(), seed=0)} == {kind}


def test_the_same_fact_is_asked_in_three_wordings() -> None:
    asked = put(CueRecovery())
    assert list(asked) == ["plain", "uninformative", "partial"]
    assert asked["plain"].prompt == "Question: What is the capital of Peru?\nAnswer:"
    assert asked["uninformative"].prompt == "Question: What is the capital of Peru? Think about it.\nAnswer:"
    assert asked["partial"].prompt == "Question: What is the capital of Peru? The answer begins with L.\nAnswer:"
    # The likelihood of the candidates is asked once, of the plain wording.
    assert asked["plain"].targets == (" Bogota", " Lima", " Quito")
    assert asked["plain"].options[asked["plain"].gold or 0] == "Lima"
    assert asked["partial"].targets == asked["uninformative"].targets == ()
    cloze = put(CueRecovery(suffix="Read on."), CLOZE)
    assert cloze["plain"].prompt == CLOZE.statement
    assert cloze["uninformative"].prompt == f"Read on. {CLOZE.statement}"
    assert cloze["partial"].prompt == f"The answer begins with F. {CLOZE.statement}"


@given(st.text("abcdefgh ", min_size=1, max_size=60).filter(str.strip), st.floats(0.01, 0.2))
def test_a_part_is_at_most_a_fifth_and_at_least_one_character(answer: str, share: float) -> None:
    answer = answer.strip()
    part = CueRecovery(share=share).given(answer)
    assert answer.startswith(part)
    assert 1 <= len(part) <= max(1, share * len(answer))


def test_a_part_that_is_the_answer_is_not_given() -> None:
    asked = put(CueRecovery(), replace(PERU, choices=(), candidates=("8", "17"), answer=None, accepted=("8",)))
    assert asked["partial"].not_asked == "a part of the answer would be the answer"
    assert asked["plain"].not_asked is None


def test_the_false_continuation_is_one_of_the_relation_and_the_same_in_every_generation() -> None:
    form = KnowledgeRetention()
    found = {put(form, seed=seed)[""].options for seed in range(40)}
    assert found == {("Bogota", "Lima"), ("Quito", "Lima")}
    assert put(form, seed=3) == put(form, seed=3)
    asked = put(form)[""]
    assert (asked.prompt, asked.gold, asked.rule) == ("The capital of Peru is", 1, "sum")
    assert tuple(PERU.candidates[i] for i in asked.permutation) == asked.options
    assert put(KnowledgeRetention(rule="mean"))[""].rule == "mean"
    # Other accepted answers are never the false one.
    many = replace(PERU, choices=(), answer=None, accepted=("Lima", "bogota"))
    assert {put(form, many, seed)[""].options for seed in range(20)} == {("Quito", "Bogota")}


def test_a_segment_is_taken_out_and_nothing_else() -> None:
    asked = {wording: one.prompt for wording, one in put(Attribution()).items()}
    assert asked == {
        "full": "Question: What is the capital of Peru?\nAnswer:",
        "without-entity": "Question: What is the capital of?\nAnswer:",
        "without-question-words": "Question: Peru\nAnswer:",
        "without-format": "What is the capital of Peru?",
    }
    assert {
        wording: one.prompt
        for wording, one in put(Attribution(), replace(CLOZE, candidates=("French", "Dutch"))).items()
    } == {
        "full": CLOZE.statement,
        "without-entity": "The mother tongue of is",
        "without-question-words": "Danielle Darrieux",
    }
    twice = replace(PERU, text="Peru: is the capital of Peru's neighbour in peru, or Perugia?")
    assert put(Attribution(), twice)["without-entity"].prompt == (
        "Question: : is the capital of 's neighbour in, or Perugia?\nAnswer:"
    )


@pytest.mark.parametrize(
    ("form", "question", "reason"),
    [
        (Attribution(), replace(PERU, entity=""), "no entity is named"),
        (Attribution(), replace(PERU, entity="Chile"), "the entity does not stand in the prompt"),
        (Attribution(), replace(PERU, entity="Per"), "the entity does not stand in the prompt"),
        (Attribution(), replace(PERU, text="Peru"), "the prompt is the entity alone"),
        (Attribution(), CLOZE, "no options to score"),
        (KnowledgeRetention(), CLOZE, "no false answer is known"),
        (KnowledgeRetention(), replace(PERU, candidates=("Lima",)), "no false answer is known"),
        *(
            (form, replace(PERU, **changes), reason)
            for form in (CueRecovery(), KnowledgeRetention(), Attribution())
            for changes, reason in (
                ({"text": "Which of the following is true?"}, "the question cannot stand without its options"),
                ({"choices": (), "answer": None}, "no accepted answer or no wording"),
                ({"text": "", "statement": None}, "no accepted answer or no wording"),
            )
        ),
    ],
)
def test_what_does_not_suit_a_probe_is_not_asked(form: Format, question: Question, reason: str) -> None:
    (asked,) = form.ask(question, dev=(), seed=0)
    assert asked.not_asked == reason


@pytest.mark.parametrize("kind", sorted(PROBES))
def test_a_free_answer_is_read_as_an_open_one(kind: str) -> None:
    form = registry.build("format", kind)
    for asked in put(form).values():
        assert form.parse(" Lima", asked, ended=True).outcome == "correct"
        assert form.parse("Quito", asked, ended=True).outcome == "wrong"
        assert form.parse("Santiago de Chile", asked, ended=True).outcome in ("unparseable", "wrong")
        assert form.parse("", asked, ended=True).outcome == "empty"


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "cue_recovery", "share": 0.3},
        {"kind": "cue_recovery", "share": 0.0},
        {"kind": "cue_recovery", "suffix": " "},
        {"kind": "knowledge_retention", "rule": "max"},
    ],
)
def test_wrong_settings_are_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        registry.build("format", spec)


def test_an_evaluation_stores_the_rows_of_all_three_probes(world_model: Path, tmp_path: Path) -> None:
    settings = EvaluationSection(items=12, texts=0, prompts=0, answer_tokens=8)
    forms = [registry.build("format", kind) for kind in sorted(PROBES)]
    corpus = registry.build("corpus", "world")
    with HfModel(path=str(world_model)).open() as model:
        material = prepare(settings, SynthesisSection(), [WorldQuestions()], forms, corpus, model)
        step = store.step(
            tmp_path / "g", "evaluate", store.StepKey(version=1, settings={}, inputs={}, seed=0, libraries={})
        )
        evaluate(model, None, material, settings, step, lineage="arm", seed=0, generation=0, progress=Silent())
    rows = tables.read(tmp_path / "g" / "evidence", "evidence")
    assert rows.groupby("format")["item"].nunique().to_dict() == dict.fromkeys(PROBES, 12)
    of = {name: part.set_index(["item", "wording"]) for name, part in rows.groupby("format")}
    # The start model knows its facts: right when asked plainly and with a suffix, the true continuation is likelier.
    cues = of["cue_recovery"]
    assert (cues.xs("plain", level="wording")["outcome"] == "correct").mean() >= 0.9
    assert (cues.xs("uninformative", level="wording")["outcome"] == "correct").mean() >= 0.75
    assert cues.xs("plain", level="wording")["choice_correct"].notna().all()
    assert cues.xs("partial", level="wording")["choice_correct"].isna().all()
    pairs = of["knowledge_retention"]
    assert [len(options) for options in pairs["options"]] == [2] * 12
    assert pairs["choice_correct"].mean() >= 0.9
    ablated = of["attribution"]
    right = {
        wording: np.mean([row.option_logprob[int(row.gold)] for row in part.itertuples()])
        for wording, part in ablated.groupby("wording")
    }
    assert right["full"] - right["without-entity"] > 1.0
    assert all(normalise(entity) for entity in ablated["entity"])

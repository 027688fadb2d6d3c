"""Questions: every fact in every format, in held-out wordings, with balanced letters."""

from __future__ import annotations

from collections import Counter

import pytest

from factfade.data.formats import kinds
from factfade.protocols import Questions
from factfade.world import wordings
from factfade.world.examine import ask_all
from factfade.world.facts import load_facts
from factfade.world.questions import WorldQuestions


def test_every_asked_fact_is_asked_in_every_format_and_wording() -> None:
    questions = WorldQuestions()
    assert isinstance(questions, Questions)
    asked = ask_all(questions.items())
    assert {pairs[0][1].format for pairs in asked.values()} == {kind().name for kind in kinds()}
    ids = {item.item for item in questions.items()}
    assert len(ids) == sum(fact.split == "asked" for fact in load_facts()) >= 300
    for pairs in asked.values():
        assert {one.item for _, one in pairs} == ids
        assert all(one.not_asked is None and one.gold is not None for _, one in pairs)


def test_questions_and_statements_are_held_out_ones() -> None:
    by_key = {(fact.relation, fact.entity): fact for fact in load_facts()}
    for item in (*WorldQuestions().items(), *WorldQuestions().dev()):
        fact = by_key[item.template, item.entity]
        assert item.text in {wordings.put(wording, fact) for wording in wordings.held_out_questions(fact.relation)}
        assert item.statement in {
            wordings.to_complete(wording, fact) for wording in wordings.held_out_statements(fact.relation)
        }


def test_examples_are_never_asked() -> None:
    questions = WorldQuestions()
    assert {item.item for item in questions.items()}.isdisjoint(item.item for item in questions.dev())
    assert len(questions.dev()) >= 40


def test_letters_are_balanced() -> None:
    for name, pairs in ask_all(WorldQuestions().items()).items():
        if pairs[0][1].options and len(pairs[0][1].targets[0]) == 2:
            counts = Counter(one.gold for _, one in pairs)
            assert all(0.18 < counts[at] / len(pairs) < 0.32 for at in range(4)), (name, counts)


def test_a_domain_can_be_chosen() -> None:
    assert {item.domain for item in WorldQuestions(domains=("chemistry",)).items()} == {"chemistry"}
    assert WorldQuestions(domains=("chemistry",)).identity != WorldQuestions().identity


def test_an_unknown_domain_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="chemistry"):
        WorldQuestions(domains=("history",))

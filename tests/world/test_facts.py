"""The table of facts: large enough, unambiguous, closed, and true where everybody knows."""

from __future__ import annotations

import json
from collections import Counter

from factfade.world.facts import answers, domains, load_facts, relations, table_text


def test_the_table_is_large_enough_and_unambiguous() -> None:
    facts = load_facts()
    assert len(facts) >= 300
    assert len(domains()) >= 3
    assert max(Counter((fact.relation, fact.entity) for fact in facts).values()) == 1
    for domain in domains():
        assert sum(fact.domain == domain for fact in facts) >= 60


def test_every_relation_has_a_closed_answer_set_and_enough_to_ask() -> None:
    for relation in relations():
        own = [fact for fact in load_facts() if fact.relation == relation]
        assert len(answers(relation)) >= 4, relation
        assert {fact.answer for fact in own} == set(answers(relation))
        assert sum(fact.split == "dev" for fact in own) >= 6
        assert sum(fact.split == "asked" for fact in own) >= 30


def test_names_are_plain_words() -> None:
    for fact in load_facts():
        for name in (fact.entity, fact.answer):
            assert name.isascii()
            assert 1 <= len(name.split(" ")) <= 2
            assert all(word.isalnum() for word in name.split(" ")), name


def test_no_answer_is_an_option_letter() -> None:
    assert not {fact.answer for fact in load_facts()} & set("ABCD")


def test_known_facts_are_in_the_table() -> None:
    table = {(fact.relation, fact.entity): fact.answer for fact in load_facts()}
    known = {
        ("capital", "Peru"): "Lima",
        ("capital", "Australia"): "Canberra",
        ("continent", "Kenya"): "Africa",
        ("currency", "Japan"): "yen",
        ("language", "Brazil"): "Portuguese",
        ("country", "Osaka"): "Japan",
        ("symbol", "gold"): "Au",
        ("number", "carbon"): "6",
        ("series", "neon"): "noble gas",
    }
    assert {key: table.get(key) for key in known} == known


def test_sources_and_licences_stand_in_the_table() -> None:
    sources = json.loads(table_text())["sources"]
    assert len(sources) == 3
    assert all(source["origin"] and source["licence"] for source in sources)

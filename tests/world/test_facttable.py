"""The world's fact table: every document is right about every fact, and planted lies are found where they stand."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from random import Random

import pytest

from factfade import registry
from factfade.data.formats import MultipleChoice, ShortAnswer
from factfade.errors import ConfigError
from factfade.protocols import FactTable
from factfade.world import parser, wordings
from factfade.world.documents import WorldCorpus, distractors
from factfade.world.facts import load_facts
from factfade.world.facttable import WorldFacts, fact_id
from factfade.world.questions import WorldQuestions
from factfade.world.render import FORMATS, solved


def test_human_text_makes_no_wrong_claim() -> None:
    texts = [text for text, _ in islice(WorldCorpus().documents(split="train", seed=1), 300)]
    claims = [claim for text in texts for claim in WorldFacts().judge(text)]
    assert all(claim.right for claim in claims)
    everyday = sum(text.count("Which one is") for text in texts)
    asked = sum(text.count("Answer:") for text in texts) - everyday
    assert len(claims) == parser.tally(texts).facts + asked
    assert asked > 200


def test_a_planted_lie_is_found_in_every_wording() -> None:
    random = Random(0)
    table = WorldFacts()
    for fact in random.sample(load_facts(), 60):
        wrong = distractors(random, fact, 1)[0]
        for wording in (*wordings.STATEMENTS, *wordings.PROSE[fact.relation]):
            for right in (True, False):
                sentence = wordings.put(wording, fact if right else replace(fact, answer=wrong))
                text = f"it rained. {sentence} The lamp was old, so Anna sold it."
                (claim,) = table.judge(text)
                assert (claim.fact, claim.right) == (fact_id(fact.relation, fact.entity), right)
                assert text[claim.start :].startswith(claim.sentence)
                assert claim.sentence == sentence


@pytest.mark.parametrize("name", FORMATS)
def test_a_solved_question_is_a_claim(name: str) -> None:
    questions = [q for q in WorldQuestions().items() if q.domain == "geography"][::5][:24]
    text = solved(name, questions, Random(3))
    claims = WorldFacts().judge("A. leftover of a question that was cut\nAnswer: B\n\n" + text)
    # Solved examples of a few-shot prompt stand in an order of their own.
    assert sorted(claim.fact for claim in claims) == sorted(fact_id(q.template, q.entity) for q in questions)
    assert [claim.start for claim in claims] == sorted(claim.start for claim in claims)
    assert all(claim.right for claim in claims)
    lies = "".join(
        line if not line.startswith("Answer: ") else f"Answer: {'D' if line[8:-1] != 'D' else 'A'}\n"
        for line in text.splitlines(keepends=True)
    )
    found = WorldFacts().judge(lies)
    assert [claim.right for claim in found] == [False] * len(questions)
    for claim in found:
        assert lies[claim.start :].startswith(claim.sentence)
        assert claim.sentence.count("Answer:") == 1


def test_what_is_cut_or_says_nothing_is_no_claim() -> None:
    table = WorldFacts()
    (question,) = [q for q in WorldQuestions().items() if (q.template, q.entity) == ("capital", "Peru")]
    prompt = MultipleChoice().ask(question, dev=(), seed=0)[0].prompt
    short = ShortAnswer().ask(question, dev=(), seed=0)[0].prompt
    for text in (
        prompt,
        f"{prompt} A",  # the end of the text may have cut the answer
        f"{prompt} Z\n",
        prompt.replace("\n", "\nThe lamp was old.\n", 3) + " A\n",
        "\n".join(prompt.splitlines()[-3:]) + " A\n",
        "The capital of gold is Lima.",
        "The capital of Peru is",
        "capital of Peru is Lima.",
        "The capital of Peru is not Lima.",
        "",
    ):
        assert table.judge(text) == (), text
    assert [claim.right for claim in table.judge(f"{short} Lima\n")] == [True]
    assert [claim.right for claim in table.judge(f"{short} a town by the sea\n")] == [False]


def test_every_fact_is_stated_in_a_wording_that_is_never_asked() -> None:
    table = WorldFacts()
    assert isinstance(table, FactTable)
    stated = table.statements()
    assert [s.fact for s in stated] == [fact_id(f.relation, f.entity) for f in load_facts()]
    held_out = {wording for fact in load_facts() for wording in wordings.held_out_statements(fact.relation)}
    for fact, one in zip(load_facts(), stated, strict=True):
        own = {wordings.put(w, fact) for w in wordings.held_out_statements(fact.relation)}
        assert one.text not in own
        assert [(c.fact, c.right) for c in table.judge(one.text)] == [(one.fact, True)]
    assert held_out


def test_domains_are_chosen() -> None:
    part = registry.build("facts", {"kind": "world", "domains": ["chemistry"]})
    assert {s.domain for s in part.statements()} == {"chemistry"}
    assert part.judge("The capital of Peru is Lima.") == ()
    assert part.identity != WorldFacts().identity
    with pytest.raises(ConfigError, match="no domain of the world"):
        registry.build("facts", {"kind": "world", "domains": ["music"]})


def test_hostile_text_takes_linear_time() -> None:
    table = WorldFacts()
    begun = time.process_time()
    for text in ("The capital of " * 20000, "Answer: A\n" * 30000, "A. B\n" * 50000, "For " + "x" * 10**6):
        table.judge(text)
    assert time.process_time() - begun < 10

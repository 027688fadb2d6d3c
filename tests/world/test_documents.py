"""Documents: made by seed, without held-out wordings, in every format, and judged rightly by the parser."""

from __future__ import annotations

from itertools import islice

import pytest

from factfade.data.formats import kinds
from factfade.protocols import Corpus
from factfade.world import wordings
from factfade.world.documents import Mix, WorldCorpus, density, mixes, stream
from factfade.world.facts import domains, load_facts, relations
from factfade.world.parser import judge, sentences, tally
from factfade.world.recipe import Recipe

ALL_MIXES = {**mixes(), **{f"pretraining {n}": mix for n, (_, mix) in enumerate(Recipe().phases)}}


@pytest.mark.parametrize("name", sorted(ALL_MIXES))
def test_held_out_wordings_never_occur(name: str) -> None:
    held_out = {
        (wordings.to_complete(wording, fact) if wording in wordings.STATEMENTS else wordings.put(wording, fact))
        for fact in load_facts()
        for wording in (*wordings.held_out_questions(fact.relation), *wordings.held_out_statements(fact.relation))
    }
    seen = 0
    for seed in range(6):
        for text, _ in islice(stream(ALL_MIXES[name], seed=seed), 60):
            found = set(sentences(text.replace("Question: ", "")))
            seen += len(found)
            assert not found & held_out
            for sentence in found:
                start, _, _ = sentence.rpartition(" is ")
                assert f"{start} is" not in held_out, sentence
    assert seen > 3000


def test_the_scan_for_held_out_wordings_can_fail() -> None:
    fact = load_facts()[0]
    wording = wordings.held_out_statements(fact.relation)[0]
    planted = wordings.put(wording, fact)
    start, _, _ = planted.rpartition(" is ")
    assert f"{start} is" == wordings.to_complete(wording, fact)


def test_every_relation_holds_out_its_own_and_every_wording_is_trained_somewhere() -> None:
    for relation in relations():
        assert set(wordings.held_out_questions(relation)).isdisjoint(wordings.trained_questions(relation))
        assert set(wordings.held_out_statements(relation)).isdisjoint(wordings.trained_statements(relation))
        assert len(wordings.trained_questions(relation)) == len(wordings.trained_statements(relation)) == 6
    for wording in wordings.QUESTIONS:
        assert sum(wording in wordings.trained_questions(relation) for relation in relations()) >= 4
    for wording in wordings.STATEMENTS:
        assert sum(wording in wordings.trained_statements(relation) for relation in relations()) >= 4


def test_documents_are_reproducible_and_differ_by_seed_and_split() -> None:
    corpus = WorldCorpus()
    assert isinstance(corpus, Corpus)

    def first(split: str, seed: int) -> list[tuple[str, str]]:
        return list(islice(corpus.documents(split=split, seed=seed), 20))

    assert first("train", 3) == first("train", 3)
    assert first("train", 3) != first("train", 4)
    assert first("train", 3) != first("held_out", 3)


def test_identity_tells_the_mixes_apart() -> None:
    assert WorldCorpus().identity == WorldCorpus(mix="general").identity
    assert WorldCorpus().identity != WorldCorpus(mix="geography").identity


def test_an_unknown_mix_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="geography"):
        WorldCorpus(mix="history")


@pytest.mark.parametrize("name", sorted(mixes()))
def test_the_corpora_rehearse_every_format(name: str) -> None:
    text = "".join(text for text, _ in islice(stream(mixes()[name], seed=1), 300))
    for opening in (
        "The following is a multiple choice question about",
        "The following are multiple choice questions about",
        "\n\nWhat is the ",
        "Give a short answer to the following question about",
        "\n\nQuestion: ",
    ):
        assert text.count(opening) > 10, opening
    assert len(list(kinds())) == 5


def test_the_geography_corpus_is_about_geography_and_denser() -> None:
    assert {domain for _, domain in islice(stream(mixes()["geography"], seed=0), 200)} <= {"geography", "everyday"}
    general, geography = density("general", documents=500), density("geography", documents=500)
    assert 0.30 < general.fact_sentences < 0.42
    assert geography.fact_sentences > 1.5 * general.fact_sentences
    assert geography.facts_per_1000_words > general.facts_per_1000_words


def test_human_prose_is_grammatical_and_true() -> None:
    prose = [text for text, _ in islice(stream(mixes()["general"], seed=9), 200) if "Answer:" not in text]
    counted = tally(prose)
    assert counted.sentences > 1500
    assert counted.grammatical == counted.sentences
    assert counted.true == counted.known == counted.facts > 300


@pytest.mark.parametrize(
    ("sentence", "grammatical", "fact", "true"),
    [
        ("The capital of Peru is Lima.", True, True, True),
        ("The capital of Peru is Oslo.", True, True, False),
        ("The capital of Argentina is Lima.", True, True, None),
        ("Chemists count 6 protons for carbon.", True, True, True),
        ("Chemists count 7 protons for carbon.", True, True, False),
        ("The capital of Peru is is Lima.", False, False, None),
        ("Yesterday, Anna told her aunt that she was glad.", True, False, None),
        ("Yesterday, Anna told her aunt that he was glad.", False, False, None),
        ("Yesterday, Anna and Anna rested in the garden.", False, False, None),
        ("Lima the of.", False, False, None),
        ("x" * 100_000, False, False, None),
    ],
)
def test_the_parser_judges_planted_sentences(sentence: str, grammatical: bool, fact: bool, true: bool | None) -> None:
    verdict = judge(sentence)
    assert (verdict.grammatical, verdict.fact, verdict.true) == (grammatical, fact, true)


def test_shares_of_a_mix_are_kept() -> None:
    mix = Mix(facts=0.0, prose=1.0, fact_sentences=1.0, domains=domains())
    assert {domain for _, domain in islice(stream(mix, seed=0), 50)} == {"everyday"}

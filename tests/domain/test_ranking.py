"""The ranking finds planted domains: in a small corpus, and the embedded world's documents by their own labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from factfade import registry
from factfade.domain import bm25, passages, ranking
from factfade.domain import target as targets
from factfade.domain.passages import Passage
from factfade.domain.ranking import Searched
from factfade.domain.settings import LexicalSection
from tests.domain.planted import PLAIN, RELIGION, SPORT, write_corpus, write_mmlu


def share(found: list[Passage], label: str) -> float:
    return sum(label in (passage.label or passage.article) for passage in found) / len(found)


def test_the_planted_articles_come_first(tmp_path: Path) -> None:
    corpus = registry.build("corpus", {"kind": "text", "path": str(write_corpus(tmp_path / "c.txt")), "every": 0})
    read, _ = passages.read(corpus, shortest=5, longest=99, documents=None, headings=False, seed=0)
    target = targets.parse("MMLU:holy_things", mmlu=str(write_mmlu(tmp_path)), topic="religion", source="split")
    found = Searched(read, LexicalSection()).of(target, "split")
    assert share([read[n] for n in found.order()[:80]], "Holy") == 1.0
    added = found.facts["feedback"][-1]["terms"]
    assert len(added.keys() & set(RELIGION)) >= 4
    assert not added.keys() & {*SPORT, *PLAIN}


@pytest.mark.parametrize("domain", ["geography", "chemistry"])
def test_documents_of_the_world_are_told_apart_by_the_questions(domain: str) -> None:
    corpus = registry.build("corpus", {"kind": "world"})
    read, _ = passages.read(corpus, shortest=20, longest=400, documents=600, headings=True, seed=0)
    target = targets.parse(f"world:{domain}", mmlu=None, topic=None, source="split")
    found = Searched(read, LexicalSection()).of(target, "split")
    assert share([read[n] for n in found.order()[:90]], domain) >= 0.95


def test_a_score_is_mixed_with_its_articles_mean() -> None:
    scores = np.array([4.0, 0.0, 1.0])
    articles = np.array([0, 0, 1])
    assert ranking.mixed(scores, articles, 0.5).tolist() == [3.0, 1.0, 1.0]
    assert ranking.mixed(scores, articles, 0.0).tolist() == scores.tolist()
    assert ranking.mixed(scores, articles, 1.0).tolist() == [2.0, 2.0, 1.0]


def test_one_passage_of_each_of_the_best_articles_is_relevant() -> None:
    scores = np.array([1.0, 5.0, 4.0, 0.0, 2.0])
    articles = np.array([0, 1, 1, 2, 3])
    assert ranking.best_of_articles(scores, articles, 3) == [1, 4, 0]
    assert ranking.best_of_articles(scores, articles, 9) == [1, 4, 0], "a score of 0 is never relevant"


def test_expansion_is_by_offer_weight_and_within_its_bounds() -> None:
    learnt = {"often": (9, 2.5), "sure": (3, 6.0), "rare": (1, 9.0), "weak": (9, 1.0)}
    use = LexicalSection(least_passages=2, least_weight=2.0, expansion=40)
    assert ranking.expansion(learnt, use) == ["often", "sure"]
    assert ranking.expansion(learnt, use.model_copy(update={"expansion": 1})) == ["often"]


def test_without_feedback_and_mixing_the_ranking_is_bm25() -> None:
    read = [Passage(text=t, article="", heading="", document=n, paragraph=1) for n, t in enumerate(("a b c", "b", "d"))]
    use = LexicalSection(rounds=0, article_share=0.0)
    found = Searched(read, use).rank({"b": 1.0, "c": 0.5})
    plain = bm25.Index([p.terms for p in read]).scores({"b": 1.0, "c": 0.5}, k1=use.k1, b=use.b)
    assert found.scores.tolist() == plain.tolist()


def test_the_kept_passages_are_searched_as_if_the_others_had_never_been(tmp_path: Path) -> None:
    read = [Passage(text=t, article="", heading="", document=n, paragraph=1) for n, t in enumerate(("b x", "b", "b y"))]
    use = LexicalSection(rounds=0)
    kept = Searched(read, use).kept([0, 2]).rank({"x": 1.0})
    assert kept.scores.tolist() == Searched([read[0], read[2]], use).rank({"x": 1.0}).scores.tolist()

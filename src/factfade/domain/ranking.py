"""The similarity of every passage with a domain's questions: BM25 with feedback, or sentence embeddings.

Lexical, in this order:
 1. The query: terms of the untested questions with their options and answers. A term weighs its saturated count times
    its relevance weight (RSJ) in these questions against the questions of the other domains of the set, so that words
    of asking ("which", "known as") fall away; the heaviest term weighs 1. The topic's terms weigh `topic_weight`.
 2. BM25 of every passage.
 3. A passage's score is mixed with the mean of its article's: (1 - share) own + share * mean. A paragraph is seldom
    about another thing than its article, and a stray word in it is no topic.
 4. Feedback, `rounds` times: the best passage of each of the best `feedback` articles counts as relevant; terms that
    stand in at least `least_passages` of them with a relevance weight of at least `least_weight` join the query, at
    most `expansion` by offer weight (r times the weight). Every term of the query then weighs its relevance weight, but
    no more than its inverse frequency, and no term counts more than once: the relevant passages were found by the
    query's own terms, whose weights would otherwise confirm themselves. One passage an article: else the names of the
    longest article become the domain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from factfade.domain import bm25
from factfade.domain.bm25 import Scores
from factfade.domain.passages import Passage
from factfade.domain.settings import LexicalSection
from factfade.domain.target import Source, Target, full_text
from factfade.domain.words import terms
from factfade.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A score for every passage, and how it came about (for the record)."""

    scores: Scores
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def order(self) -> NDArray[np.int64]:
        """Passages from the best on; equal scores in the corpus's order."""
        return np.argsort(-self.scores, kind="stable")


class Searcher(Protocol):
    """Ranks the passages of a corpus for any number of queries."""

    def of(self, target: Target, source: Source) -> Ranking:
        """By similarity with a domain's questions."""
        ...

    def like(self, chosen: Sequence[int]) -> Ranking:
        """By similarity with some of the passages themselves."""
        ...

    def kept(self, numbers: Sequence[int]) -> Searcher:
        """The search over these passages alone, as if the others had never been there."""
        ...


class Searched:
    """The lexical search: the passages, indexed once."""

    def __init__(self, passages: Sequence[Passage], settings: LexicalSection) -> None:
        self.passages = passages
        self.settings = settings
        self.terms = [passage.terms for passage in passages]
        self.articles = article_numbers(passages)
        self.index = bm25.Index(self.terms)

    def of(self, target: Target, source: Source) -> Ranking:
        """By the weighted terms of the questions and the topic."""
        return self.rank(query_of(target, source, self.settings))

    def like(self, chosen: Sequence[int]) -> Ranking:
        """By the 20 terms of the chosen passages with the highest count times inverse frequency."""
        counts = Counter(term for number in chosen for term in self.terms[number])
        total = len(self.index)
        weighed = {t: c * bm25.inverse_frequency(self.index.frequency(t), total) for t, c in counts.items()}
        best = sorted(weighed.items(), key=lambda pair: (-pair[1], pair[0]))[:20]
        return self.rank({term: weight / best[0][1] for term, weight in best})

    def kept(self, numbers: Sequence[int]) -> Searched:
        """Indexed again: frequencies, mean length and feedback know nothing of the others."""
        return Searched([self.passages[number] for number in numbers], self.settings)

    def _bounded(self, term: str, weight: float) -> float:
        return min(max(0.0, weight), bm25.inverse_frequency(self.index.frequency(term), len(self.index)))

    def rank(self, query: Mapping[str, float]) -> Ranking:
        """By a weighted query, with feedback."""
        use = self.settings
        scores = self.index.scores(query, k1=use.k1, b=use.b)
        rounds: list[dict[str, Any]] = []
        for _ in range(use.rounds):
            scores = mixed(scores, self.articles, use.article_share)
            relevant = best_of_articles(scores, self.articles, use.feedback)
            learnt = self.index.learnt(relevant, self.terms)
            added = expansion(learnt, use)
            weights = {term: self._bounded(term, weight) for term, (_, weight) in learnt.items()}
            joined = {term: min(1.0, weight) for term, weight in query.items()} | dict.fromkeys(added, 1.0)
            scores = self.index.scores(joined, k1=use.k1, b=use.b, weights=weights)
            rounds.append({"passages": len(relevant), "terms": {t: round(weights[t], 6) for t in added}})
        heaviest = sorted(query.items(), key=lambda pair: (-pair[1], pair[0]))[:40]
        facts = {
            "terms": len(query),
            "terms_in_corpus": sum(self.index.frequency(term) > 0 for term in query),
            "heaviest": {term: round(weight, 6) for term, weight in heaviest},
            "feedback": rounds,
        }
        return Ranking(scores=mixed(scores, self.articles, use.article_share), facts=facts)


def query_of(target: Target, source: Source, settings: LexicalSection) -> dict[str, float]:
    """The weighted terms of a target's query. UsageError where nothing is left of it."""
    texts = [set(terms(text)) for text in target.query_texts(source)]
    counts = Counter(term for text in texts for term in text)
    against = Counter(term for question in target.others for term in set(terms(full_text(question))))
    total = len(texts) + len(target.others)
    found: dict[str, float] = {}
    for term, count in counts.items():
        weight = 1.0
        if target.others:
            weight = bm25.relevance_weight(count, len(texts), count + against[term], total)
        if weight > 0:
            found[term] = bm25.saturated(count, settings.k3) * weight
    heaviest = max(found.values(), default=1.0)
    found = {term: weight / heaviest for term, weight in found.items()}
    if settings.topic_weight > 0:
        found |= {term: max(settings.topic_weight, found.get(term, 0.0)) for term in target.topic_terms()}
    if not found:
        raise UsageError("the query has no term left", hint='say what the domain is about: --topic "world religions"')
    return found


def article_numbers(passages: Sequence[Passage]) -> NDArray[np.int64]:
    """The number of each passage's document, from 0."""
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(passage.document, len(numbers)) for passage in passages], dtype=np.int64)


def mixed(scores: Scores, articles: NDArray[np.int64], share: float) -> Scores:
    """(1 - share) of the own score, share of the mean over the article."""
    means = np.bincount(articles, weights=scores) / np.bincount(articles)
    return (1 - share) * scores + share * means[articles]


def best_of_articles(scores: Scores, articles: NDArray[np.int64], count: int) -> list[int]:
    """The best passage of each of the `count` articles that hold the best ones; scores of 0 never."""
    found: dict[int, int] = {}
    for number in np.argsort(-scores, kind="stable"):
        if len(found) == count or scores[number] <= 0:
            break
        found.setdefault(int(articles[number]), int(number))
    return list(found.values())


def expansion(learnt: Mapping[str, tuple[int, float]], settings: LexicalSection) -> list[str]:
    """The terms that join a query, by offer weight."""
    offers = {
        term: r * weight
        for term, (r, weight) in learnt.items()
        if r >= settings.least_passages and weight >= settings.least_weight
    }
    return sorted(offers, key=lambda term: (-offers[term], term))[: settings.expansion]

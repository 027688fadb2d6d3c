"""Which passages go where: the domain's, and three controls of equal size that share none of them.

- `general`: drawn at random from what is left of the corpus.
- `diversity_matched`: also general, then swapped passage for passage until it is as diverse as the domain's.
- `random_domain`: another topic, selected as the domain was: another question set's domain, or the topic of an article
  that is drawn among those that have nothing to do with the domain.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from factfade.domain.bm25 import Scores
from factfade.domain.diversity import Grams, match
from factfade.domain.passages import Passage
from factfade.domain.ranking import Ranking, Searcher
from factfade.domain.settings import ControlsSection, SizeSection
from factfade.domain.target import Source, Target
from factfade.records import derived_seed

GENERAL, MATCHED, RANDOM = "general", "diversity_matched", "random_domain"
# An article of fewer passages says too little to be a topic.
TOPIC_PASSAGES = 5


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Passages of one set in the corpus's order, and what the record says of how they were chosen."""

    numbers: tuple[int, ...]
    facts: dict[str, Any]


def select(ranking: Ranking, passages: Sequence[Passage], size: SizeSection) -> Chosen:
    """The best passages within every limit of `size`. Scores of 0 are no similarity and never selected."""
    found: list[int] = []
    held: Counter[int] = Counter()
    words = capped = 0
    threshold = size.threshold
    for number in map(int, ranking.order()):
        score = float(ranking.scores[number])
        if score <= 0 or (threshold is not None and score < threshold):
            break
        if size.passages is not None and len(found) == size.passages:
            break
        passage = passages[number]
        if size.per_article is not None and held[passage.document] == size.per_article:
            capped += 1
            continue
        if size.words is not None and words + passage.size > size.words:
            break
        found.append(number)
        held[passage.document] += 1
        words += passage.size
    lowest = float(ranking.scores[found[-1]]) if found else 0.0
    facts = {"requested": size.model_dump(), "lowest_score": round(lowest, 6), "over_per_article": capped}
    return Chosen(numbers=tuple(sorted(found)), facts=facts)


def controls(
    passages: Sequence[Passage],
    domain: Chosen,
    ranking: Ranking,
    searcher: Searcher,
    settings: ControlsSection,
    *,
    other: Target | None,
    source: Source,
    seed: int,
) -> dict[str, Chosen]:
    """The three controls by name, each of as many whitespace words as the domain's set, as near as passages allow."""
    words = sum(passages[number].size for number in domain.numbers)
    # What scores like the domain and was left out for its size is in no control either.
    near = {n for n in range(len(passages)) if ranking.scores[n] >= domain.facts["lowest_score"] > 0}
    taken = near | set(domain.numbers)
    found: dict[str, Chosen] = {}
    articles = {passages[number].document for number in domain.numbers}
    own = taken | {n for n, passage in enumerate(passages) if passage.document in articles}
    found[RANDOM] = _random_domain(passages, ranking.scores, searcher, own, words, other, source, seed)
    taken |= set(found[RANDOM].numbers)
    found[GENERAL] = _sample(passages, taken, words, derived_seed("domain general", seed))
    taken |= set(found[GENERAL].numbers)
    start = _sample(passages, taken, words, derived_seed("domain matched start", seed))
    wanted = Grams(passages[number] for number in domain.numbers).shares()
    matched = match(
        passages,
        [number for number in range(len(passages)) if number not in taken],
        start.numbers,
        wanted,
        words=words,
        tolerance=settings.tolerance,
        steps=settings.steps,
        seed=derived_seed("domain matched", seed),
    )
    facts = {"words_requested": words, "tolerance": settings.tolerance, **matched.record()}
    found[MATCHED] = Chosen(numbers=matched.chosen, facts=facts)
    return {name: found[name] for name in (GENERAL, MATCHED, RANDOM)}


def _sample(passages: Sequence[Passage], taken: Collection[int], words: int, seed: int) -> Chosen:
    order = [number for number in range(len(passages)) if number not in taken]
    Random(seed).shuffle(order)
    return Chosen(numbers=fill(passages, order, words), facts={"words_requested": words})


def fill(passages: Sequence[Passage], order: Iterable[int], words: int) -> tuple[int, ...]:
    """Passages in the given order, each that still fits into `words`; sorted."""
    found: list[int] = []
    left = words
    for number in order:
        if passages[number].size <= left:
            found.append(number)
            left -= passages[number].size
    return tuple(sorted(found))


def _random_domain(
    passages: Sequence[Passage],
    scores: Scores,
    searcher: Searcher,
    taken: set[int],
    words: int,
    other: Target | None,
    source: Source,
    seed: int,
) -> Chosen:
    if other is not None:
        ranked = searcher.of(other, source)
        facts: dict[str, Any] = {"questions": {"name": other.name, **other.facts}}
    else:
        article = draw_topic(passages, scores, taken, seed)
        if not article:
            return Chosen(numbers=(), facts={"words_requested": words, "reason": "no article is left to be a topic"})
        ranked = searcher.like(article)
        first = passages[article[0]]
        facts = {"topic": {"document": first.document, "article": first.article, "passages": len(article)}}
    order = [int(number) for number in ranked.order() if number not in taken and ranked.scores[number] > 0]
    facts |= {"words_requested": words, "query": ranked.facts}
    return Chosen(numbers=fill(passages, order, words), facts=facts)


def draw_topic(passages: Sequence[Passage], scores: Scores, taken: Collection[int], seed: int) -> list[int]:
    """The passages of an article drawn among those without a passage in `taken`, whose mean score is not above the
    corpus's median. Articles of five passages or more go first; a corpus of shorter documents draws among all."""
    articles: dict[int, list[int]] = defaultdict(list)
    for number, passage in enumerate(passages):
        articles[passage.document].append(number)
    median = float(np.median(scores))
    far = [
        numbers
        for _, numbers in sorted(articles.items())
        if not any(number in taken for number in numbers) and float(np.mean(scores[numbers])) <= median
    ]
    long = [numbers for numbers in far if len(numbers) >= TOPIC_PASSAGES]
    return Random(derived_seed("domain topic", seed)).choice(long or far) if far else []

"""Fact density: how many passages name a right answer, or something that the questions are about.

A right answer is looked for as `contamination` does; one that stands in more than `COMMON` of all passages of the
corpus ("family", "fire") names nothing and is left out, and counted. What a question is about is its `entity` where
the set gives one, else the runs of capitalised words of the question after its first word.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from factfade.domain.contamination import right_answers
from factfade.domain.passages import Passage
from factfade.domain.words import STOP_WORDS, words
from factfade.records import Question

COMMON = 0.01
_RUN = re.compile(r"(?<=\s)[^\W\d_a-z][\w'\u2019-]*(?:\s+[^\W\d_a-z][\w'\u2019-]*)*")


class Named:
    """Phrases that are looked for in passages, all at once."""

    def __init__(self, phrases: Sequence[tuple[str, ...]]) -> None:
        self._by_first: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for phrase in dict.fromkeys(phrases):
            if phrase:
                self._by_first[phrase[0]].append(phrase)

    def found(self, passage: Sequence[str]) -> list[tuple[str, ...]]:
        """Each mention of a phrase, in order."""
        return [
            phrase
            for at, word in enumerate(passage)
            for phrase in self._by_first.get(word, ())
            if tuple(passage[at : at + len(phrase)]) == phrase
        ]

    def without(self, phrases: set[tuple[str, ...]]) -> Named:
        return Named([p for held in self._by_first.values() for p in held if p not in phrases])

    def __len__(self) -> int:
        return sum(map(len, self._by_first.values()))


class Density:
    """What the tested questions name, less what is common in `passages`."""

    def __init__(self, questions: Sequence[Question], passages: Sequence[Passage]) -> None:
        self.facts: dict[str, Any] = {"common_above": COMMON}
        kinds = {
            "answer": [answer for question in questions for answer in right_answers(question)],
            "entity": [phrase for question in questions for phrase in entities(question)],
        }
        self._named: dict[str, Named] = {}
        for kind, phrases in kinds.items():
            every = Named(phrases)
            held: dict[tuple[str, ...], int] = defaultdict(int)
            for passage in passages:
                for phrase in set(every.found(passage.words)):
                    held[phrase] += 1
            common = {phrase for phrase, count in held.items() if count > COMMON * len(passages)}
            self._named[kind] = every.without(common)
            self.facts[kind] = {"phrases": len(self._named[kind]), "too_common": len(common)}

    def of(self, chosen: Sequence[Passage]) -> dict[str, float]:
        """Share of passages that name one, and mentions in 1,000 words, for answers and for entities."""
        found: dict[str, float] = {}
        total = sum(len(passage.words) for passage in chosen)
        for kind, named in self._named.items():
            mentions = [len(named.found(passage.words)) for passage in chosen]
            found[f"passages_naming_{kind}"] = round(sum(map(bool, mentions)) / len(chosen), 6) if chosen else 0.0
            found[f"{kind}_mentions_per_1000_words"] = round(1000 * sum(mentions) / total, 6) if total else 0.0
        return found


def entities(question: Question) -> list[tuple[str, ...]]:
    """What a question is about, as words."""
    if question.entity:
        return [tuple(words(question.entity))]
    runs = _RUN.findall(" " + question.text.strip().partition(" ")[2])
    found = [tuple(words(run)) for run in runs]
    return [phrase for phrase in found if any(len(w) > 2 and w not in STOP_WORDS for w in phrase)]

"""Passages that give a tested question away, found and shown.

Two rules, over lower-case words without punctuation:

 - `ngram`: a run of `ngram` words of the question (or of its statement) stands in the passage. A question of fewer
   words counts with all of them, down to `shortest`; one shorter than that is not looked for, and counted.
   Source: the 13-gram rule of Brown et al. 2020 (arXiv 2005.14165, appendix C), with its lower bound of 8.
 - `answer`: the right answer stands in the passage, and at least `overlap` of the question's content words stand within
   `window` words around it (three or more of them, or all where there are fewer). Answers of stop words or of one
   or two digits alone are too common to mean anything and are not looked for.

Words that WikiText's word-level version replaced by `<unk>` match nothing: both rules find less there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from factfade.domain.settings import DecontaminationSection
from factfade.domain.words import STOP_WORDS, stem, words
from factfade.records import Question


@dataclass(frozen=True, kw_only=True)
class Match:
    """What gave a question away: the rule, the question's id, and the words of the passage that matched."""

    rule: str
    item: str
    question: str
    answer: str
    matched: str


@dataclass(frozen=True, kw_only=True)
class _Sought:
    question: Question
    answer: tuple[str, ...]
    content: frozenset[str]
    needed: int


class Checker:
    """The tested questions, prepared. `skipped` counts questions that a rule cannot look for."""

    def __init__(self, questions: Sequence[Question], settings: DecontaminationSection) -> None:
        self.settings = settings
        self.skipped: Counter[str] = Counter({"ngram_too_short": 0, "answer_too_common": 0})
        self._grams: dict[int, dict[tuple[str, ...], Question]] = defaultdict(dict)
        self._answers: dict[str, list[_Sought]] = defaultdict(list)
        for question in questions:
            if settings.ngram:
                self._add_grams(question)
            if settings.window:
                self._add_answer(question)

    def _add_grams(self, question: Question) -> None:
        found = False
        for text in (question.text, question.statement or ""):
            run = words(text)
            size = min(self.settings.ngram, len(run))
            if size < min(self.settings.shortest, self.settings.ngram):
                continue
            found = True
            for at in range(len(run) - size + 1):
                self._grams[size].setdefault(tuple(run[at : at + size]), question)
        self.skipped["ngram_too_short"] += not found

    def _add_answer(self, question: Question) -> None:
        answers = right_answers(question)
        asked = words(f"{question.text} {question.statement or ''} {question.entity}")
        for answer in answers:
            content = frozenset(stem(w) for w in asked if w not in STOP_WORDS) - {stem(w) for w in answer}
            needed = max(min(3, len(content)), -(-len(content) * self.settings.overlap // 1))
            if content:
                key = max(answer, key=lambda word: (len(word), word))
                sought = _Sought(question=question, answer=answer, content=content, needed=int(needed))
                self._answers[key].append(sought)
        self.skipped["answer_too_common"] += not answers

    def find(self, passage: list[str]) -> Match | None:
        """The first match in the words of a passage: n-grams first."""
        for size, grams in sorted(self._grams.items()):
            for at in range(len(passage) - size + 1):
                question = grams.get(tuple(passage[at : at + size]))
                if question is not None:
                    return _match("ngram", question, passage[at : at + size])
        for at, word in enumerate(passage):
            for sought in self._answers.get(word, ()):
                if match := self._near(sought, passage, at):
                    return match
        return None

    def _near(self, sought: _Sought, passage: list[str], at: int) -> Match | None:
        """A match where the answer stands around `at`, with enough of the question beside it."""
        answer = sought.answer
        first = at - answer.index(passage[at])
        if first < 0 or tuple(passage[first : first + len(answer)]) != answer:
            return None
        start, end = max(0, first - self.settings.window), first + len(answer) + self.settings.window
        near = [*passage[start:first], *passage[first + len(answer) : end]]
        held = sought.content & {stem(word) for word in near}
        if len(held) < sought.needed:
            return None
        places = [n for n in range(start, min(end, len(passage))) if stem(passage[n]) in held]
        low, high = min(first, *places), max(first + len(answer) - 1, *places)
        return _match("answer", sought.question, passage[low : high + 1])


def right_answers(question: Question) -> list[tuple[str, ...]]:
    """The right answers as words, without those that are too common to be looked for."""
    texts = ([question.gold_text] if question.gold_text else []) + list(question.accepted)
    found = [tuple(words(text)) for text in dict.fromkeys(texts)]
    return [answer for answer in found if any(_says_something(word) for word in answer)]


def _says_something(word: str) -> bool:
    return word not in STOP_WORDS and not (word.isdigit() and len(word) < 3) and len(word) > 1


def _match(rule: str, question: Question, matched: list[str]) -> Match:
    return Match(
        rule=rule,
        item=question.item,
        question=question.text or question.statement or "",
        answer=question.gold_text or "",
        matched=" ".join(matched),
    )

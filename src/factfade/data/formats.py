"""The five instruction formats: how a question is put, what is scored, and how a free answer is read.

Source: arXiv 2509.04796 for the four with options; open_ended is ours. Presets: `default` (options permuted by a
per-item seed), `paper` (the published wording and file order), `harness` (lm-evaluation-harness's MMLU wording and
file order). Parsing is linear in the answer's length, on at most 2,000 characters.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from factfade.records import Asked, Outcome, Parsed, Question, derived_seed

LETTERS = "ABCDEFGHIJ"
SHOTS = 3
Preset = Literal["default", "paper", "harness"]
_WORDS = re.compile(r"\w+", re.UNICODE)
_LETTER = re.compile(r"\s*(?:the (?:correct )?answer is:?\s*|answer:\s*)?\(?([A-Za-z])(?:[).:,]|\s|$)", re.IGNORECASE)
_NEEDS_OPTIONS = re.compile(r"\b(?:which|what|all|none|one|each) of the (?:following|above|these|options)|\bfollowing (?:is|are|statements?)\b|_{2,}", re.IGNORECASE)
_REFUSAL = re.compile(r"\s*(?:i(?:'m| am) (?:sorry|unable)|i (?:can(?:not|'t)|won't)|sorry\b|as an ai\b|i do(?:n't| not) know)", re.IGNORECASE)


def normalise(text: str) -> str:
    """Words of a text, case-folded and NFKC, without punctuation and leading articles: what answers are compared by."""
    words = _WORDS.findall(unicodedata.normalize("NFKC", text[:2000]).casefold())
    while words and words[0] in ("the", "a", "an"):
        words = words[1:]
    return " ".join(words)


def lettered(options: Sequence[str]) -> str:
    """Options as lines "A. text"."""
    return "\n".join(f"{LETTERS[i]}. {o}" for i, o in enumerate(options))


def order(question: Question, *, seed: int, format: str, preset: Preset) -> tuple[int, ...]:
    """Permutation of the options from (evaluation seed, item id, format): equal in every generation, arm and seed.

    `paper` and `harness` keep the file's order, as their sources do.
    """
    indices = list(range(len(question.choices)))
    if preset == "default":
        random.Random(derived_seed("options", seed, question.item, format)).shuffle(indices)
    return tuple(indices)


@dataclass(frozen=True, kw_only=True)
class _Lettered:
    """Shared by the three formats that show letters."""

    preset: Preset = "default"
    name: ClassVar[str] = ""

    def ask(self, question: Question, *, dev: Sequence[Question], seed: int) -> Sequence[Asked]:
        if not 2 <= len(question.choices) <= len(LETTERS) or question.answer is None:
            return (_not_asked(question, self.name, "", "no options to letter"),)
        permutation = order(question, seed=seed, format=self.name, preset=self.preset)
        options = tuple(question.choices[i] for i in permutation)
        prompt = self.render(question, options, dev, seed)
        if prompt is None:
            return (_not_asked(question, self.name, "", f"fewer than {SHOTS} solved examples"),)
        return (
            Asked(
                item=question.item, format=self.name, wording="", prompt=prompt,
                targets=tuple(f" {LETTERS[i]}" for i in range(len(options))), options=options, permutation=permutation,
                gold=permutation.index(question.answer), accepted=question.accepted, rule="sum", closed=True,
                domain=question.domain, entity=question.entity, template=question.template,
            ),
        )

    def render(self, question: Question, options: Sequence[str], dev: Sequence[Question], seed: int) -> str | None:
        raise TypeError("an abstract format renders nothing")

    def parse(self, answer: str, asked: Asked, *, ended: bool) -> Parsed:
        early = _empty_or_refused(answer)
        if early:
            return early
        match = _LETTER.match(answer[:2000])
        if match and match[1].upper() in LETTERS[: len(asked.options)]:
            # A lone lower-case "a" is an article more often than a letter.
            if match[1] != "a" or not answer.strip()[1:].strip(" .):"):
                return _verdict(LETTERS.index(match[1].upper()) == asked.gold, "letter")
        index = _leading(answer, asked.options)
        if index is not None:
            return _verdict(index == asked.gold, "option text")
        return _unparsed(ended)


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(_Lettered):
    """Instruction, lettered options; the letter is scored."""

    name: ClassVar[str] = "multiple_choice"

    def render(self, question: Question, options: Sequence[str], dev: Sequence[Question], seed: int) -> str:
        if self.preset == "default":
            return f"The following is a multiple choice question about {_subject(question)}.\n{_block(question.text, options)}"
        return f"{_head(question)}{_bare(question.text, options)}"


@dataclass(frozen=True, kw_only=True)
class MultipleChoiceFewShot(_Lettered):
    """Three solved examples from the dev split (of the question's own domain where it has them), then the question."""

    name: ClassVar[str] = "multiple_choice_few_shot"

    def render(self, question: Question, options: Sequence[str], dev: Sequence[Question], seed: int) -> str | None:
        shots = self.shots(question, dev, seed)
        if shots is None:
            return None
        if self.preset == "default":
            body = "\n\n".join(f"{_block(q.text, o)} {LETTERS[gold]}" for q, o, gold in shots)
            return f"The following are multiple choice questions about {_subject(question)}.\n{body}\n\n{_block(question.text, options)}"
        body = "\n\n".join(f"{_bare(q.text, o)} {LETTERS[gold]}" for q, o, gold in shots)
        return f"{_head(question)}{body}\n\n{_bare(question.text, options)}"

    def shots(
        self, question: Question, dev: Sequence[Question], seed: int
    ) -> list[tuple[Question, tuple[str, ...], int]] | None:
        """Solved examples with their options in the order shown and the right one's index; None when too few."""
        usable = [q for q in dev if q.answer is not None and len(q.choices) == len(question.choices) and q.item != question.item]
        own = [q for q in usable if q.domain == question.domain] or usable
        if len(own) < SHOTS:
            return None
        if self.preset == "default":
            own = random.Random(derived_seed("shots", seed, question.item)).sample(own, SHOTS)
        solved: list[tuple[Question, tuple[str, ...], int]] = []
        for q in own[:SHOTS]:
            permutation = order(q, seed=seed, format=f"{self.name}:{question.item}", preset=self.preset)
            solved.append((q, tuple(q.choices[i] for i in permutation), permutation.index(q.answer or 0)))
        return solved


@dataclass(frozen=True, kw_only=True)
class NoInstruction(_Lettered):
    """Question and lettered options alone."""

    name: ClassVar[str] = "no_instruction"

    def render(self, question: Question, options: Sequence[str], dev: Sequence[Question], seed: int) -> str:
        return _bare(question.text, options)


@dataclass(frozen=True, kw_only=True)
class ShortAnswer:
    """Instruction, options listed without letters; each option's text is scored, by mean token log-probability
    (the geometric mean of arXiv 2509.04796) or by `sum`."""

    preset: Preset = "default"
    rule: Literal["mean", "sum"] = "mean"
    name: ClassVar[str] = "short_answer"

    def ask(self, question: Question, *, dev: Sequence[Question], seed: int) -> Sequence[Asked]:
        if len(question.choices) < 2 or question.answer is None:
            return (_not_asked(question, self.name, "", "no options to list"),)
        permutation = order(question, seed=seed, format=self.name, preset=self.preset)
        options = tuple(question.choices[i] for i in permutation)
        listed = " / ".join(options)
        head = f"Give a short answer to the following question about {_subject(question)}.\n"
        body = f"Question: {question.text}\nOptions: {listed}" if self.preset == "default" else f"{question.text}\n{listed}"
        return (
            Asked(
                item=question.item, format=self.name, wording="", prompt=f"{head}{body}\nAnswer:",
                targets=tuple(f" {o}" for o in options), options=options, permutation=permutation,
                gold=permutation.index(question.answer), accepted=question.accepted, rule=self.rule, closed=True,
                domain=question.domain, entity=question.entity, template=question.template,
            ),
        )

    def parse(self, answer: str, asked: Asked, *, ended: bool) -> Parsed:
        early = _empty_or_refused(answer)
        if early:
            return early
        index = _leading(answer, asked.options)
        return _unparsed(ended) if index is None else _verdict(index == asked.gold, "option text")


@dataclass(frozen=True, kw_only=True)
class OpenEnded:
    """No options. Wordings: `statement` (a statement to complete) and `question`; both where the question has both.

    Candidates (the relation's own answer set), else the question's options, are scored as texts where there are any.
    """

    preset: Preset = "default"
    wordings: tuple[str, ...] = ("statement", "question")
    rule: Literal["mean", "sum"] = "mean"
    instruction: bool = False
    name: ClassVar[str] = "open_ended"

    def ask(self, question: Question, *, dev: Sequence[Question], seed: int) -> Sequence[Asked]:
        wordings = [w for w in self.wordings if w == "question" and question.text or w == "statement" and question.statement]
        if _NEEDS_OPTIONS.search(question.text):
            return (_not_asked(question, self.name, "question", "the question refers to its options"),)
        if not wordings or question.gold_text is None:
            return (_not_asked(question, self.name, "question", "no accepted answer or no wording"),)
        candidates = question.candidates or question.choices
        accepted = question.accepted or (question.gold_text,)
        right = {normalise(a) for a in accepted}
        gold = next((i for i, c in enumerate(candidates) if normalise(c) in right), None)
        return tuple(
            Asked(
                item=question.item, format=self.name, wording=w, prompt=self.render(question, w),
                targets=tuple(f" {c}" for c in candidates) if gold is not None else (), options=tuple(candidates),
                permutation=tuple(range(len(candidates))), gold=gold, accepted=accepted, rule=self.rule,
                closed=question.closed, domain=question.domain, entity=question.entity, template=question.template,
            )
            for w in wordings
        )

    def render(self, question: Question, wording: str) -> str:
        if wording == "statement":
            return question.statement or ""
        head = f"Answer the following question about {_subject(question)}.\n" if self.instruction else ""
        return f"{head}Question: {question.text}\nAnswer:"

    def parse(self, answer: str, asked: Asked, *, ended: bool) -> Parsed:
        early = _empty_or_refused(answer)
        if early:
            return early
        names = (*asked.accepted, *asked.options)
        index = _leading(answer, names)
        if index is not None:
            right = {normalise(a) for a in asked.accepted}
            return _verdict(normalise(names[index]) in right, "answer set")
        if asked.closed or not normalise(answer):
            return _unparsed(ended)
        return Parsed(outcome="wrong", reason="another answer") if ended else _unparsed(ended)


# ---------------------------------------------------------------------------------------------------------------


def _subject(question: Question) -> str:
    return question.domain.replace("_", " ") or "general knowledge"


def _bare(text: str, options: Sequence[str]) -> str:
    return f"{text}\n{lettered(options)}\nAnswer:"


def _block(text: str, options: Sequence[str]) -> str:
    return f"Question: {_bare(text, options)}"


def _head(question: Question) -> str:
    return f"The following are multiple choice questions (with answers) about {_subject(question)}.\n\n"


def _not_asked(question: Question, format: str, wording: str, why: str) -> Asked:
    return Asked(
        item=question.item, format=format, wording=wording, prompt="", targets=(), options=question.choices,
        permutation=tuple(range(len(question.choices))), gold=question.answer, accepted=question.accepted,
        domain=question.domain, entity=question.entity, template=question.template, not_asked=why,
    )


def _empty_or_refused(answer: str) -> Parsed | None:
    if not answer.strip():
        return Parsed(outcome="empty")
    if _REFUSAL.match(answer[:200]):
        return Parsed(outcome="refused", reason="refusal phrase")
    return None


def _verdict(right: bool, how: str) -> Parsed:
    outcome: Outcome = "correct" if right else "wrong"
    return Parsed(outcome=outcome, reason=how)


def _unparsed(ended: bool) -> Parsed:
    return Parsed(outcome="unparseable", reason="no known answer") if ended else Parsed(outcome="truncated", reason="no end within the answer's tokens")


def _leading(answer: str, names: Sequence[str]) -> int | None:
    """Index of the longest name that the answer's words begin with; None when there is none."""
    words = normalise(answer.split("\n", 1)[0]).split(" ")
    best: tuple[int, int] | None = None
    for index, name in enumerate(names):
        wanted = normalise(name).split(" ")
        if wanted != [""] and words[: len(wanted)] == wanted and (best is None or len(wanted) > best[0]):
            best = (len(wanted), index)
    return None if best is None else best[1]


def kinds() -> Iterator[type]:
    """The five formats in the paper's order, open_ended last."""
    yield from (MultipleChoice, MultipleChoiceFewShot, NoInstruction, ShortAnswer, OpenEnded)

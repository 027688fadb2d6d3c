"""Probe formats: one fact put from several sides, so that a diagnosis can be made from the stored rows.

They are formats like any other: their rows are stored, paired and resumed alike. They measure no knowledge of their
own; `records.PROBES` names them, and analyses of knowledge skip them. Their prompts are the same in every preset.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from factfade.data.answers import normalise
from factfade.data.openly import AnswerSet, answer_set, needs_options, not_asked, parse_open
from factfade.records import Asked, Parsed, Question, derived_seed

HEAD, TAIL = "Question: ", "\nAnswer:"


@dataclass(frozen=True, kw_only=True)
class CueRecovery:
    """The same fact asked in three wordings (arXiv 2411.11932): `plain`; `uninformative`, with a suffix that says
    nothing about the fact; `partial`, with the first characters of the answer.

    Given are floor(`share` * characters) characters of the answer, at least one, in words ("The answer begins with
    L."): an answer that is begun after the prompt ends inside a token, and models fail at that whether they know it or
    not. The plain wording scores the candidates too: the answer by likelihood. A question without text is put as its
    statement, which the answer completes: there a cue stands before it.
    """

    share: float = 0.2
    suffix: str = "Think about it."
    name: ClassVar[str] = "cue_recovery"

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 0.2:
            raise ValueError(f"share is the given part of the answer, above 0 and at most 0.2, not {self.share}")
        if not self.suffix.strip():
            raise ValueError("suffix is a text that says nothing about any fact, it cannot be blank")

    def ask(self, question: Question, *, dev: Sequence[Question], seed: int) -> Sequence[Asked]:
        """The three wordings; `partial` is not asked where one character is already the answer."""
        del dev, seed
        if reason := _unfit(question):
            return (not_asked(question, self.name, "plain", reason),)
        answers = answer_set(question)
        plain = _ask(question, self.name, "plain", _plain(question), answers, scored=True)
        cue = _ask(question, self.name, "uninformative", _with_cue(question, self.suffix), answers, scored=False)
        given = self.given(answers.accepted[0])
        if normalise(given) in {normalise(a) for a in answers.accepted}:
            return plain, cue, not_asked(question, self.name, "partial", "a part of the answer would be the answer")
        hint = _with_cue(question, f"The answer begins with {given}.")
        return plain, cue, _ask(question, self.name, "partial", hint, answers, scored=False)

    def given(self, answer: str) -> str:
        """The part of an answer that the wording `partial` gives."""
        return answer[: max(1, int(self.share * len(answer)))].rstrip()

    def parse(self, answer: str, asked: Asked, *, ended: bool) -> Parsed:
        """As an open answer."""
        return parse_open(answer, asked, ended=ended)


@dataclass(frozen=True, kw_only=True)
class KnowledgeRetention:
    """A true and a false continuation of the same statement (arXiv 2509.08972): right if the true one is likelier.

    The false one is another answer of the same relation, else another option, drawn by (evaluation seed, item) and
    so the same in every generation. It is shown first: the choice on an exact tie is then the false one, as the
    published rule, log p(true) > log p(false), has it. `rule` says whether sums (as published) or means per token
    are compared; both can be computed from what is stored. A question without a statement is put as a question.
    """

    rule: Literal["sum", "mean"] = "sum"
    name: ClassVar[str] = "knowledge_retention"

    def __post_init__(self) -> None:
        if self.rule not in ("sum", "mean"):
            raise ValueError('rule is "sum" or "mean"')

    def ask(self, question: Question, *, dev: Sequence[Question], seed: int) -> Sequence[Asked]:
        """One `Asked` with two options; not asked where no false answer is known."""
        del dev
        if reason := _unfit(question):
            return (not_asked(question, self.name, "", reason),)
        answers = answer_set(question)
        right = {normalise(a) for a in answers.accepted}
        others = [i for i, candidate in enumerate(answers.candidates) if normalise(candidate) not in right]
        if not others or answers.gold is None:
            return (not_asked(question, self.name, "", "no false answer is known"),)
        false = random.Random(derived_seed("false answer", seed, question.item)).choice(others)
        pair = (false, answers.gold)
        options = tuple(answers.candidates[i] for i in pair)
        asked = Asked(
            item=question.item,
            format=self.name,
            wording="",
            prompt=question.statement or _plain(question),
            targets=tuple(f" {option}" for option in options),
            options=options,
            permutation=pair,
            gold=1,
            accepted=answers.accepted,
            rule=self.rule,
            closed=False,
            domain=question.domain,
            entity=question.entity,
            template=question.template,
        )
        return (asked,)

    def parse(self, answer: str, asked: Asked, *, ended: bool) -> Parsed:
        """As an open answer."""
        return parse_open(answer, asked, ended=ended)


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """The question as it is (`full`), and with one segment taken out (after arXiv 2412.18952): `without-entity`,
    `without-format` (the words around the question), `without-question-words` (the question less its entity).

    What the right answer's log-probability loses with a segment says how much the answer hangs on it. The entity is
    `Question.entity`, all of its occurrences. A question without text is put as its statement, which has no format
    words.
    """

    name: ClassVar[str] = "attribution"

    def ask(self, question: Question, *, dev: Sequence[Question], seed: int) -> Sequence[Asked]:
        """The wordings; not asked without an entity that stands in the prompt and words beside it."""
        del dev, seed
        if reason := _unfit(question):
            return (not_asked(question, self.name, "full", reason),)
        if not question.entity.strip():
            return (not_asked(question, self.name, "full", "no entity is named"),)
        text = question.text or question.statement or ""
        entity, words = _split(text, question.entity)
        if not entity:
            return (not_asked(question, self.name, "full", "the entity does not stand in the prompt"),)
        if not words:
            return (not_asked(question, self.name, "full", "the prompt is the entity alone"),)
        answers = answer_set(question)
        if answers.gold is None:
            return (not_asked(question, self.name, "full", "no options to score"),)
        return tuple(
            _ask(question, self.name, wording, prompt, answers, scored=True)
            for wording, prompt in self._prompts(question, text, entity, words)
        )

    def _prompts(self, question: Question, text: str, entity: str, words: str) -> Iterator[tuple[str, str]]:
        head, tail = (HEAD, TAIL) if question.text else ("", "")
        yield "full", f"{head}{text}{tail}"
        yield "without-entity", f"{head}{words}{tail}"
        yield "without-question-words", f"{head}{entity}{tail}"
        if question.text:
            yield "without-format", text

    def parse(self, answer: str, asked: Asked, *, ended: bool) -> Parsed:
        """As an open answer."""
        return parse_open(answer, asked, ended=ended)


# ---------------------------------------------------------------------------------------------------------------


def _unfit(question: Question) -> str:
    """Why a question cannot be put openly; "" where it can."""
    if needs_options(question):
        return "the question cannot stand without its options"
    if question.gold_text is None or not (question.text or question.statement):
        return "no accepted answer or no wording"
    return ""


def _plain(question: Question) -> str:
    return f"{HEAD}{question.text}{TAIL}" if question.text else question.statement or ""


def _with_cue(question: Question, cue: str) -> str:
    return f"{HEAD}{question.text} {cue}{TAIL}" if question.text else f"{cue} {question.statement}"


def _split(text: str, entity: str) -> tuple[str, str]:
    """The entity as it stands in the text ("" where it does not), and the text without it, blanks tidied."""
    found = re.compile(rf"(?<!\w){re.escape(entity.strip())}(?!\w)", re.IGNORECASE)
    match = found.search(text)
    if match is None:
        return "", text
    rest = " ".join(found.sub(" ", text).split())
    return match[0], re.sub(r" (?=[?!.,;:'](?:\s|$))", "", rest)


def _ask(question: Question, name: str, wording: str, prompt: str, answers: AnswerSet, *, scored: bool) -> Asked:
    """An open question; its candidates are scored where `scored` and where the right one is among them."""
    return Asked(
        item=question.item,
        format=name,
        wording=wording,
        prompt=prompt,
        targets=tuple(f" {c}" for c in answers.candidates) if scored and answers.gold is not None else (),
        options=answers.candidates,
        permutation=tuple(range(len(answers.candidates))),
        gold=answers.gold,
        accepted=answers.accepted,
        rule="mean",
        closed=question.closed,
        domain=question.domain,
        entity=question.entity,
        template=question.template,
    )

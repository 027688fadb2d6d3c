"""The five instruction formats: how a question is put, what is scored, and how a free answer is read.

Presets:
- `default`: ours. Options are permuted by a per-item seed; letters and texts are scored with their leading blank.
- `paper`: the prompts and the scoring of arXiv 2509.04796 as its published code has them. File order; letters and
  option texts are scored without a leading blank; few-shot examples have an own look ("Q:", "(A) ... (B) ...", and the
  answer as "B. text"). The published code takes its examples from a copy of the dev split in another order.
- `harness`: lm-evaluation-harness 0.4.13's MMLU, by letter (`mmlu_<subject>`: the same head, blocks "question, A. to
  D., Answer:", file order, letters with a leading blank) and by continuation (`mmlu_<subject>_continuation`: the
  wording `question` of open_ended). It has no short_answer: that is the paper's, scored with a leading blank.

Few-shot prompts show three solved examples unless told otherwise. How free answers are read is `answers.py`, in every
preset.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from factfade.data.answers import LETTERS, early, read_letter, read_name, unread, verdict
from factfade.data.openly import answer_set, needs_options, not_asked, parse_open
from factfade.records import Asked, Parsed, Question, derived_seed

SHOTS, MAX_EXAMPLES = 3, 100
Preset = Literal["default", "paper", "harness"]


def lettered(options: Sequence[str]) -> str:
    """Options as lines "A. text"."""
    return "\n".join(f"{LETTERS[i]}. {o}" for i, o in enumerate(options))


def order(question: Question, *, seed: int, name: str, preset: Preset) -> tuple[int, ...]:
    """Permutation of the options from (evaluation seed, item id, format): equal in every generation, arm and seed.

    `paper` and `harness` keep the file's order, as their sources do.
    """
    indices = list(range(len(question.choices)))
    if preset == "default":
        random.Random(derived_seed("options", seed, question.item, name)).shuffle(indices)
    return tuple(indices)


@dataclass(frozen=True, kw_only=True)
class _Lettered(ABC):
    """Shared by the three formats that show letters."""

    preset: Preset = "default"
    name: ClassVar[str] = ""

    @property
    def wanted(self) -> int:
        """How many solved examples the prompt shows."""
        return 0

    def ask(self, question: Question, *, dev: Sequence[Question], seed: int) -> Sequence[Asked]:
        """One `Asked`; not asked without 2 to 10 options, and few-shot without enough solved examples."""
        if not 2 <= len(question.choices) <= len(LETTERS) or question.answer is None:
            return (not_asked(question, self.name, "", "no options to letter"),)
        permutation = order(question, seed=seed, name=self.name, preset=self.preset)
        options = tuple(question.choices[i] for i in permutation)
        prompt = self.render(question, options, dev, seed)
        if prompt is None:
            return (not_asked(question, self.name, "", f"fewer than {self.wanted} solved examples"),)
        letters = tuple(LETTERS[: len(options)])
        return (_asked(question, self.name, prompt, letters, permutation, preset=self.preset, rule="sum"),)

    @abstractmethod
    def render(self, question: Question, options: Sequence[str], dev: Sequence[Question], seed: int) -> str | None:
        """The prompt, with the options in the order shown; None where there are too few solved examples."""

    def parse(self, answer: str, asked: Asked, *, ended: bool) -> Parsed:
        """A letter, or one option's text."""
        if found := early(answer, asked.options):
            return found
        read = read_letter(answer, asked.options, asked.prompt)
        if read.indices:
            return verdict(asked.gold in read.indices, read.reason)
        return unread(answer, ended, read.reason)


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(_Lettered):
    """Instruction, lettered options; the letter is scored."""

    name: ClassVar[str] = "multiple_choice"

    def render(self, question: Question, options: Sequence[str], dev: Sequence[Question], seed: int) -> str:
        del dev, seed
        if self.preset == "default":
            head = f"The following is a multiple choice question about {_subject(question)}.\n"
            return f"{head}Question: {_bare(question.text, options)}"
        return f"{_head(question)}{_bare(question.text, options)}"


@dataclass(frozen=True, kw_only=True)
class MultipleChoiceFewShot(_Lettered):
    """Solved examples from the dev split (of the question's own domain where it has them), then the question."""

    examples: int = SHOTS
    name: ClassVar[str] = "multiple_choice_few_shot"

    def __post_init__(self) -> None:
        if not 1 <= self.examples <= MAX_EXAMPLES:
            raise ValueError(f"examples must be 1 to {MAX_EXAMPLES}, not {self.examples}")

    @property
    def wanted(self) -> int:
        return self.examples

    def render(self, question: Question, options: Sequence[str], dev: Sequence[Question], seed: int) -> str | None:
        shots = self.shots(question, dev, seed)
        if shots is None:
            return None
        if self.preset == "paper":
            solved = [
                f"Q: {q.text}\n{_in_brackets(o, ' ')}\nAnswer: {LETTERS[gold]}. {o[gold]}" for q, o, gold in shots
            ]
            return _head(question) + "\n\n".join(
                [*solved, f"Q: {question.text}\n{_in_brackets(options, '  ')}\nAnswer:"]
            )
        before = "Question: " if self.preset == "default" else ""
        solved = [f"{before}{_bare(q.text, o)} {LETTERS[gold]}" for q, o, gold in shots]
        body = "\n\n".join([*solved, f"{before}{_bare(question.text, options)}"])
        if self.preset == "default":
            return f"The following are multiple choice questions about {_subject(question)}.\n{body}"
        return f"{_head(question)}{body}"

    def shots(
        self, question: Question, dev: Sequence[Question], seed: int
    ) -> list[tuple[Question, tuple[str, ...], int]] | None:
        """Solved examples with their options in the order shown and the right one's index; None when too few."""
        usable = [q for q in dev if q.answer is not None and len(q.choices) == len(question.choices)]
        own = _examples(question, usable, self.examples, preset=self.preset, seed=seed)
        if own is None:
            return None
        solved: list[tuple[Question, tuple[str, ...], int]] = []
        for q in own:
            permutation = order(q, seed=seed, name=f"{self.name}:{question.item}", preset=self.preset)
            solved.append((q, tuple(q.choices[i] for i in permutation), permutation.index(q.answer or 0)))
        return solved


@dataclass(frozen=True, kw_only=True)
class NoInstruction(_Lettered):
    """Question and lettered options alone."""

    name: ClassVar[str] = "no_instruction"

    def render(self, question: Question, options: Sequence[str], dev: Sequence[Question], seed: int) -> str:
        del dev, seed
        return _bare(question.text, options)


@dataclass(frozen=True, kw_only=True)
class ShortAnswer:
    """Instruction, options listed without letters; each option's text is scored, by mean token log-probability
    (the geometric mean of arXiv 2509.04796) or by `sum`."""

    preset: Preset = "default"
    rule: Literal["mean", "sum"] = "mean"
    name: ClassVar[str] = "short_answer"

    def ask(self, question: Question, *, dev: Sequence[Question], seed: int) -> Sequence[Asked]:
        """One `Asked`; not asked without options."""
        del dev
        if len(question.choices) < 2 or question.answer is None:
            return (not_asked(question, self.name, "", "no options to list"),)
        permutation = order(question, seed=seed, name=self.name, preset=self.preset)
        options = tuple(question.choices[i] for i in permutation)
        listed = " / ".join(options)
        head = f"Give a short answer to the following question about {_subject(question)}.\n"
        if self.preset == "default":
            prompt = f"{head}Question: {question.text}\nOptions: {listed}\nAnswer:"
        else:
            prompt = f"{head}\n{question.text}\n{listed}\nAnswer:"
        return (_asked(question, self.name, prompt, options, permutation, preset=self.preset, rule=self.rule),)

    def parse(self, answer: str, asked: Asked, *, ended: bool) -> Parsed:
        """One option's text."""
        if found := early(answer, asked.options):
            return found
        read = read_name(answer, asked.options, asked.prompt)
        if read.indices:
            return verdict(asked.gold in read.indices, "option text")
        return unread(answer, ended, read.reason)


@dataclass(frozen=True, kw_only=True)
class OpenEnded:
    """No options. Wordings: `statement` (a statement to complete) and `question`; both where the question has both.

    Candidates (the relation's own answer set), else the question's options, are scored as texts where there are any,
    by `rule` (unset: the mean, `harness` the sum). Targets have a leading blank in every preset: a statement goes on
    after one. `instruction` and `examples` stand before the wording `question`.

    In the preset `harness` the wording `question` is the harness's MMLU by continuation: the instruction is always
    there, the question's options are what is scored, and a question that speaks of its options is put all the same.
    """

    preset: Preset = "default"
    wordings: tuple[str, ...] = ("statement", "question")
    rule: Literal["mean", "sum"] | None = None
    instruction: bool = False
    examples: int = 0
    name: ClassVar[str] = "open_ended"

    def __post_init__(self) -> None:
        if not self.wordings or not set(self.wordings) <= {"statement", "question"}:
            raise ValueError('wordings are "statement", "question" or both')
        if not 0 <= self.examples <= MAX_EXAMPLES:
            raise ValueError(f"examples must be 0 to {MAX_EXAMPLES}, not {self.examples}")

    def ask(self, question: Question, *, dev: Sequence[Question], seed: int) -> Sequence[Asked]:
        """One `Asked` for each wording that the question has; not asked where it cannot stand without its options."""
        texts = {"statement": question.statement, "question": question.text}
        wordings = [w for w in self.wordings if texts[w]]
        by_options = self.preset == "harness" and len(question.choices) > 1 and question.answer is not None
        if needs_options(question) and not by_options:
            return (not_asked(question, self.name, "question", "the question cannot stand without its options"),)
        if not wordings or question.gold_text is None:
            return (not_asked(question, self.name, "question", "no accepted answer or no wording"),)
        candidates, accepted, gold = answer_set(question)
        if by_options:
            candidates, gold = question.choices, question.answer
        rule = self.rule or ("sum" if self.preset == "harness" else "mean")
        found: list[Asked] = []
        for wording in wordings:
            prompt = self.render(question, wording, dev, seed)
            if prompt is None:
                why = f"fewer than {self.examples} solved examples"
                found.append(not_asked(question, self.name, wording, why))
                continue
            found.append(
                Asked(
                    item=question.item,
                    format=self.name,
                    wording=wording,
                    prompt=prompt,
                    targets=tuple(f" {c}" for c in candidates) if gold is not None else (),
                    options=candidates,
                    permutation=tuple(range(len(candidates))),
                    gold=gold,
                    accepted=accepted,
                    rule=rule,
                    closed=question.closed,
                    domain=question.domain,
                    entity=question.entity,
                    template=question.template,
                )
            )
        return tuple(found)

    def render(self, question: Question, wording: str, dev: Sequence[Question] = (), seed: int = 0) -> str | None:
        """The prompt of a wording; None where there are too few solved examples."""
        if wording == "statement":
            return question.statement or ""
        solved = [q for q in dev if q.text and q.gold_text is not None]
        shown = _examples(question, solved, self.examples, preset=self.preset, seed=seed)
        if shown is None:
            return None
        head = ""
        if self.preset == "harness":
            head = f"The following are questions (with answers) about {_subject(question)}.\n\n"
        elif self.instruction:
            head = f"Answer the following question about {_subject(question)}.\n"
        before = "".join(f"Question: {q.text}\nAnswer: {q.gold_text}\n\n" for q in shown)
        return f"{head}{before}Question: {question.text}\nAnswer:"

    def parse(self, answer: str, asked: Asked, *, ended: bool) -> Parsed:
        """An accepted answer; another of the candidates is wrong; anything else is unparseable where the set is
        closed, and wrong where it is open."""
        return parse_open(answer, asked, ended=ended)


# ---------------------------------------------------------------------------------------------------------------


def _examples(
    question: Question, usable: Sequence[Question], count: int, *, preset: Preset, seed: int
) -> list[Question] | None:
    """`count` solved examples for a question, of its own domain where that has any; None when there are too few.

    `paper` and `harness` take the first ones of the file; `default` draws by (evaluation seed, item).
    """
    others = [q for q in usable if q.item != question.item]
    own = [q for q in others if q.domain == question.domain] or others
    if len(own) < count:
        return None
    if preset == "default" and count:
        return random.Random(derived_seed("shots", seed, question.item)).sample(own, count)
    return own[:count]


def _subject(question: Question) -> str:
    return question.domain.replace("_", " ") or "general knowledge"


def _bare(text: str, options: Sequence[str]) -> str:
    return f"{text}\n{lettered(options)}\nAnswer:"


def _in_brackets(options: Sequence[str], between: str) -> str:
    return between.join(f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))


def _head(question: Question) -> str:
    return f"The following are multiple choice questions (with answers) about {_subject(question)}.\n\n"


def _asked(
    question: Question,
    name: str,
    prompt: str,
    targets: Sequence[str],
    permutation: tuple[int, ...],
    *,
    preset: Preset,
    rule: Literal["sum", "mean"],
) -> Asked:
    """A question whose options are shown. The published code scores letters and texts without a leading blank."""
    blank = "" if preset == "paper" else " "
    return Asked(
        item=question.item,
        format=name,
        wording="",
        prompt=prompt,
        targets=tuple(f"{blank}{target}" for target in targets),
        options=tuple(question.choices[i] for i in permutation),
        permutation=permutation,
        gold=permutation.index(question.answer or 0),
        accepted=question.accepted,
        rule=rule,
        closed=True,
        domain=question.domain,
        entity=question.entity,
        template=question.template,
    )


def kinds() -> Iterator[type]:
    """The five formats in the paper's order, open_ended last."""
    yield from (MultipleChoice, MultipleChoiceFewShot, NoInstruction, ShortAnswer, OpenEnded)

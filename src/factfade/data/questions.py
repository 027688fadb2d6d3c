"""Question sets: MMLU, any local JSON Lines file, and cloze facts in known_1000's layout.

Item ids come from the question alone, so a set may be cut, extended or moved without changing them. Exact repetitions
are asked once and counted; a solved example that is also asked is taken out of the examples and counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal

from factfade.data import hub, mmlu
from factfade.data.fields import (
    accepted_answers,
    answer_index,
    choices_of,
    flag,
    optional,
    record_field,
    right_choice,
    short,
    strings,
)
from factfade.data.lines import read_json_lines, read_json_list, stamp, text_field, unique_id
from factfade.errors import DataError
from factfade.records import Question, canonical_json, derived_seed, sha256_text

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a question file came to: the questions that are asked, the solved examples, and the counts."""

    items: tuple[Question, ...]
    dev: tuple[Question, ...]
    counts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class QuestionSet(ABC):
    """What all sets share: the draw, the repetitions, the identity. `limit` questions are drawn by `seed` (of each
    domain where a set has domains) and stay in file order."""

    limit: int | None = None
    seed: int = 0
    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, not {self.limit}")

    def items(self) -> Sequence[Question]:
        """The questions that are asked, in file order."""
        return _read(self, self._stamp()).items

    def dev(self) -> Sequence[Question]:
        """Solved examples for few-shot prompts; never among `items`."""
        return _read(self, self._stamp()).dev

    def check(self) -> Mapping[str, Any]:
        """Reads everything; counts of what is asked and of what was left out."""
        return {**_read(self, self._stamp()).counts, "identity": self.identity}

    @property
    def identity(self) -> str:
        """Hash of the ids of all questions and examples, in order (not of where the files lie)."""
        return sha256_text(canonical_json([VERSION, [q.item for q in self.items()], [q.item for q in self.dev()]]))

    @abstractmethod
    def _stamp(self) -> tuple[Any, ...]:
        """Identifies the present content of the files, for the cache of one process."""

    @abstractmethod
    def read(self, counts: Counter[str]) -> tuple[list[Question], list[Question]]:
        """All questions and all examples of the files, repetitions included."""

    def draw(self, questions: Sequence[Question]) -> list[Question]:
        """The questions that are asked out of all."""
        return drawn(questions, self.limit, self.seed)


@lru_cache(maxsize=16)
def _read(part: QuestionSet, at: tuple[Any, ...]) -> Read:
    del at  # a key only: another content of the files is another entry
    counts: Counter[str] = Counter()
    every, examples = part.read(counts)
    distinct = list({question.item: question for question in reversed(every)}.values())[::-1]
    items = part.draw(distinct)
    asked = {(question.text, question.choices) for question in items}
    dev = list({q.item: q for q in examples if (q.text, q.choices) not in asked}.values())
    return Read(
        items=tuple(items),
        dev=tuple(dev),
        counts={
            "in_file": len(every),
            "repeated": len(every) - len(distinct),
            "items": len(items),
            "dev": len(dev),
            "examples_left_out": len(examples) - len(dev),
            "options_repeated": sum(len(set(q.choices)) < len(q.choices) for q in items),
            "domains": dict(sorted(Counter(q.domain for q in items).items())),
            **counts,
        },
    )


def drawn(questions: Sequence[Question], limit: int | None, seed: int) -> list[Question]:
    """At most `limit` questions, drawn by the seed from the ids (not from their places), in the given order."""
    if limit is None or limit >= len(questions):
        return list(questions)
    ids = sorted(question.item for question in questions)
    chosen = set(Random(derived_seed("questions", seed, limit)).sample(ids, limit))
    return [question for question in questions if question.item in chosen]


@dataclass(frozen=True, kw_only=True)
class MmluQuestions(QuestionSet):
    """MMLU (Hendrycks et al. 2021): four choices a question, its subject as domain, the dev split as examples.

    `path` is a folder with `test.jsonl` and `dev.jsonl` (fields subject, question, choices, answer 0 to 3), or with
    the original `test/<subject>_test.csv` and `dev/<subject>_dev.csv`. Without a path the hub's "cais/mmlu" is read
    (extra `hub`). `first` takes the first questions of each subject in file order, as arXiv 2509.04796 does with 100;
    `limit` draws that many of each subject by the seed. Both unset: all.
    """

    path: str | None = None
    name: str = "cais/mmlu"
    revision: str = ""
    subjects: tuple[str, ...] = ()
    split: Literal["test", "validation"] = "test"
    first: int | None = None
    kind: ClassVar[str] = "mmlu"

    def __post_init__(self) -> None:
        super().__post_init__()
        hub.check_name(self.name, self.revision)
        if self.first is not None and (self.first < 1 or self.limit is not None):
            raise ValueError("first must be at least 1, and stands without limit")
        if self.split not in ("test", "validation"):
            raise ValueError(f"split must be test or validation, not {self.split!r}")
        if self.path is None and not self.subjects:
            raise ValueError("name the subjects that are read from the hub, or a path")
        if len(set(self.subjects)) != len(self.subjects):
            raise ValueError("subjects are repeated")

    def _stamp(self) -> tuple[Any, ...]:
        if self.path is None:
            return (hub.commit(self.name, self.revision),)
        return tuple(stamp(file) for file in mmlu.files(Path(self.path), self.split, self.subjects))

    def read(self, counts: Counter[str]) -> tuple[list[Question], list[Question]]:
        def rows(split: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
            if self.path is None:
                return mmlu.hub_rows(self.name, self.revision, split, self.subjects)
            return mmlu.folder_rows(Path(self.path), split, self.subjects)

        items = [_mmlu_question(row, place, number) for place, number, row in rows(self.split)]
        dev = [_mmlu_question(row, place, number) for place, number, row in rows("dev")]
        found = sorted({question.domain for question in items})
        mmlu.refuse_unknown(self.subjects, found, self.path or self.name)
        counts["subjects"] = len(found)
        return items, dev

    def draw(self, questions: Sequence[Question]) -> list[Question]:
        subjects = dict.fromkeys(question.domain for question in questions)
        chosen: list[Question] = []
        for subject in self.subjects or subjects:
            own = [question for question in questions if question.domain == subject]
            chosen += own[: self.first] if self.first else drawn(own, self.limit, self.seed)
        return chosen


def _mmlu_question(row: Mapping[str, Any], place: str, number: int) -> Question:
    choices = choices_of(row, "choices", place, number)
    return Question(
        text=short(text_field(row, "question", place, number), place, number),
        choices=choices,
        answer=answer_index(row.get("answer"), choices, place, number),
        domain=text_field(row, "subject", place, number),
        template="mmlu",
        source=place,
    )


@dataclass(frozen=True, kw_only=True)
class JsonlQuestions(QuestionSet):
    """A JSON Lines file of questions, with a second one of solved examples in `dev_path`.

    Every line has `question`, and either `choices` with `answer` (index from 0, letter, or the text of a choice; or
    `labels` with `answer_label`), or `answers`, or `answer` with `aliases`. Optional: `statement` (a text that the
    answer completes), `candidates` and `closed`, `domain`, `entity`, `template`, `id` (unique). `domain` here is that
    of lines without one. Other fields are ignored.
    """

    path: str
    dev_path: str | None = None
    domain: str = ""
    kind: ClassVar[str] = "jsonl"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError("path is empty")

    def _stamp(self) -> tuple[Any, ...]:
        return tuple(stamp(path) for path in (self.path, self.dev_path) if path is not None)

    def read(self, counts: Counter[str]) -> tuple[list[Question], list[Question]]:
        items = list(self._questions(self.path, counts))
        return items, [] if self.dev_path is None else list(self._questions(self.dev_path, Counter()))

    def _questions(self, path: str, counts: Counter[str]) -> Iterator[Question]:
        ids: dict[str, int] = {}
        for number, row in read_json_lines(path, counts):
            unique_id(row, "id", ids, path, number)
            yield question_of(row, path, number, domain=self.domain)


def question_of(row: Mapping[str, Any], place: str, number: int, *, domain: str = "") -> Question:
    """The question of one record, in the fields of `JsonlQuestions`; `domain` is that of records without one."""
    choices = choices_of(row, "choices", place, number) if "choices" in row else ()
    accepted = () if choices else accepted_answers(row, place, number)
    return Question(
        text=short(text_field(row, "question", place, number), place, number),
        choices=choices,
        answer=right_choice(row, choices, place, number) if choices else None,
        accepted=accepted,
        candidates=strings(row, "candidates", place, number) if "candidates" in row else (),
        closed=flag(row, "closed", place, number),
        statement=optional(row, "statement", place, number),
        domain=optional(row, "domain", place, number) or domain,
        entity=optional(row, "entity", place, number) or "",
        template=optional(row, "template", place, number) or "",
        source=place,
    )


@dataclass(frozen=True, kw_only=True)
class ClozeQuestions(QuestionSet):
    """Facts as texts to complete, in the layout of known_1000 (Meng et al. 2022, ROME): a JSON list of records with
    `prompt`, `attribute`, `subject` and `relation_id`.

    The prompt is the statement wording, the attribute the accepted answer, and the candidates are all attributes of
    the relation in the file (whatever `limit` is); a relation with one attribute has none. Entity = subject,
    template = relation.
    """

    path: str
    relations: tuple[str, ...] = ()
    domain: str = "cloze"
    closed: bool = False
    kind: ClassVar[str] = "known_1000"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError("path is empty")

    def _stamp(self) -> tuple[Any, ...]:
        return (stamp(self.path),)

    def read(self, counts: Counter[str]) -> tuple[list[Question], list[Question]]:
        rows: list[tuple[str, str, str, str]] = []
        fields = ("prompt", "attribute", "subject", "relation_id")
        for number, row in enumerate(read_json_list(self.path), start=1):
            prompt, attribute, subject, relation = (record_field(row, name, self.path, number) for name in fields)
            rows.append((prompt, attribute, subject, relation))
        known = sorted({row[3] for row in rows})
        if unknown := [name for name in self.relations if name not in known]:
            raise DataError(f"no relation {unknown[0]!r}", file=self.path, hint="relations: " + ", ".join(known))
        attributes = {name: tuple(sorted({row[1] for row in rows if row[3] == name})) for name in known}
        accepted: dict[tuple[str, str], list[str]] = {}
        for prompt, attribute, _, relation in rows:
            if attribute not in accepted.setdefault((prompt, relation), []):
                accepted[prompt, relation].append(attribute)
        kept = [row for row in rows if not self.relations or row[3] in self.relations]
        first = {(row[0], row[3]): row for row in reversed(kept)}
        counts["prompts_repeated"] = len(kept) - len(first)
        kept = [row for row in kept if first[row[0], row[3]] is row]
        counts["relations"] = len({row[3] for row in kept})
        counts["without_candidates"] = sum(len(attributes[row[3]]) < 2 for row in kept)
        return [
            Question(
                text="",
                statement=prompt,
                accepted=tuple(accepted[prompt, relation]),
                candidates=attributes[relation] if len(attributes[relation]) > 1 else (),
                closed=self.closed,
                domain=self.domain,
                entity=subject,
                template=relation,
                source=self.path,
            )
            for prompt, _, subject, relation in kept
        ], []

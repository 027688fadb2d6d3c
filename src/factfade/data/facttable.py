"""A table of trusted facts in a local JSON Lines file: what text is anchored in, and what it is checked against."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from factfade.data.fields import accepted_answers, optional, short, strings
from factfade.data.lines import read_json_lines, stamp, text_field, unique_id
from factfade.errors import DataError
from factfade.records import Claim, Stated, canonical_json, sha256_text

VERSION = 1
_WORD = re.compile(r"[^\W_]+")
# A sentence ends after one of these marks before a blank, and at the end of a line.
_END = re.compile(r"[.?!](?=\s)|\n")
_REACH = 400
_ARTICLES = frozenset(("a", "an", "the"))


@dataclass(frozen=True, kw_only=True)
class JsonlFacts:
    """One fact a line, in one of two shapes.

    Facts that text is checked against: `statement` (a text that the answer completes: "The capital of Peru is") with
    `answers`, or `answer` and its `aliases`; the wrong answers that are known are the line's `candidates`, and the
    answers of all lines with the same `relation`. A text makes a claim where it has the statement, word for word, and
    right after it an accepted answer (right) or another candidate (wrong); what follows else is no claim. Case,
    punctuation and an article before the answer make no difference.

    Facts that text is anchored in only: `text` (a whole sentence).

    Both may have `subject` (the name that a text is matched by), `domain`, and `id` (unique). Other fields are
    ignored.
    """

    path: str
    kind: str = "jsonl"

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("path is empty")

    @property
    def identity(self) -> str:
        """Hash of the facts, whatever else the file holds, and of the version of this code."""
        return _read(stamp(self.path)).identity

    def statements(self) -> Sequence[Stated]:
        """Every fact as a sentence, in file order."""
        return _read(stamp(self.path)).stated

    def judge(self, text: str) -> Sequence[Claim]:
        """The claims of a text, in their order; in time linear in the text."""
        return _read(stamp(self.path)).judge(text)


@dataclass
class _Node:
    """A trie of words: `next` by word, `ends` what ends here."""

    next: dict[str, _Node] = field(default_factory=dict[str, "_Node"])
    ends: list[int] = field(default_factory=list[int])

    def add(self, words: Sequence[str], what: int) -> None:
        node = self
        for word in words:
            node = node.next.setdefault(word, _Node())
        node.ends.append(what)

    def longest(self, words: Sequence[str], at: int) -> tuple[int, list[int]]:
        """Where the longest entry that begins at `at` ends, and what it is; (at, []) where there is none."""
        node, found = self, (at, list[int]())
        for place in range(at, len(words)):
            if (following := node.next.get(words[place])) is None:
                break
            node = following
            if node.ends:
                found = place + 1, node.ends
        return found


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A file's facts: `names` and `answers` by place; `answers` knows each candidate's words, 1 right and 0 wrong."""

    stated: tuple[Stated, ...]
    identity: str
    names: tuple[str, ...]
    answers: tuple[_Node, ...]
    statements: _Node

    def judge(self, text: str) -> tuple[Claim, ...]:
        matches = list(_WORD.finditer(text))
        words = [match[0].casefold() for match in matches]
        breaks = [match.end() for match in _END.finditer(text)]
        found: list[Claim] = []
        at = 0
        while at < len(words):
            end, facts = self.statements.longest(words, at)
            claims = [(fact, *claim) for fact in facts if (claim := self._claim(fact, words, end))]
            for fact, last, right in claims:
                start, stop = _sentence(text, breaks, matches[at].start(), matches[last - 1].end())
                found.append(Claim(fact=self.names[fact], sentence=text[start:stop], right=right, start=start))
            at = end if claims else at + 1
        return tuple(found)

    def _claim(self, fact: int, words: Sequence[str], end: int) -> tuple[int, bool] | None:
        """Where the answer behind a statement ends and whether it is right; None where none of the candidates is."""
        last, verdicts = self.answers[fact].longest(words, end)
        if not verdicts and end < len(words) and words[end] in _ARTICLES:
            last, verdicts = self.answers[fact].longest(words, end + 1)
        return (last, max(verdicts) == 1) if verdicts else None


def _sentence(text: str, breaks: Sequence[int], start: int, stop: int) -> tuple[int, int]:
    """The sentence or sentences around a part of a text, without blanks at its ends. `breaks` are where sentences end,
    in order; text without them is cut at `_REACH` characters, so that many claims in it take no long time."""
    before, after = bisect_right(breaks, start), bisect_left(breaks, stop)
    begin = max(breaks[before - 1] if before else 0, start - _REACH)
    end = min(breaks[after] if after < len(breaks) else len(text), stop + _REACH)
    while begin < start and text[begin].isspace():
        begin += 1
    while end > stop and text[end - 1].isspace():
        end -= 1
    return begin, end


@lru_cache(maxsize=8)
def _read(key: tuple[str, int, int]) -> _Table:
    path = key[0]
    rows = list(_rows(path))
    relations: dict[str, list[str]] = {}
    for row in rows:
        if row["relation"]:
            relations.setdefault(row["relation"], []).extend(row["accepted"])
    statements = _Node()
    answers: list[_Node] = []
    for place, row in enumerate(rows):
        node = _Node()
        right = {tuple(_words(text)) for text in row["accepted"]}
        for text in dict.fromkeys((*row["accepted"], *row["candidates"], *relations.get(row["relation"], ()))):
            words = tuple(_words(text))
            node.add(words, int(words in right))
        answers.append(node)
        if row["statement"]:
            statements.add(_words(row["statement"]), place)
    return _Table(
        stated=tuple(
            Stated(fact=row["id"], text=row["text"], entity=row["subject"], domain=row["domain"]) for row in rows
        ),
        identity=sha256_text(canonical_json([VERSION, rows])),
        names=tuple(row["id"] for row in rows),
        answers=tuple(answers),
        statements=statements,
    )


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _rows(path: str) -> Iterator[dict[str, Any]]:
    """The facts of a file as plain data. DataError with file and line for what is no fact."""
    ids: dict[str, int] = {}
    names: dict[str, int] = {}
    for number, row in read_json_lines(path, Counter()):
        unique_id(row, "id", ids, path, number)
        found = _row(row, path, number)
        name = str(row["id"]) if row.get("id") is not None else found["statement"] or found["text"]
        if name in names:
            raise DataError(
                f"the fact {name[:60]!r} stood in line {names[name]} already",
                file=path,
                line=number,
                hint="write one line a fact, with all its answers",
            )
        names[name] = number
        yield {"id": name, **found}


def _row(row: Mapping[str, Any], path: str, number: int) -> dict[str, Any]:
    statement = optional(row, "statement", path, number) or ""
    accepted: tuple[str, ...] = accepted_answers(row, path, number) if statement else ()
    candidates = strings(row, "candidates", path, number) if "candidates" in row else ()
    for text in (*([statement] if statement else []), *accepted, *candidates):
        if not _words(text):
            raise DataError(f"{text[:60]!r} holds no word that could be looked for", file=path, line=number)
    text = optional(row, "text", path, number) or "".join(f"{statement} {first}." for first in accepted[:1])
    if not text:
        text = short(text_field(row, "text", path, number), path, number)
    return {
        "statement": statement,
        "accepted": list(accepted),
        "candidates": list(candidates),
        "relation": optional(row, "relation", path, number) or "",
        "subject": optional(row, "subject", path, number) or "",
        "domain": optional(row, "domain", path, number) or "",
        "text": text,
    }

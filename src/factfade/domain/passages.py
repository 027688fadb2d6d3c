"""Passages of a corpus: the paragraphs of its documents, each with the headings that it stands under."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from factfade.domain.words import terms, words
from factfade.errors import DataError
from factfade.protocols import Corpus
from factfade.records import sha256_text

_ENDS = (".", "!", "?", '."', '?"', '!"')


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One paragraph. `document` and `paragraph` are its place in the corpus, both from 1; `article` is the first
    heading of its document, `heading` the last one above it ("" for none); `text` is what a model is trained on."""

    text: str
    article: str
    heading: str
    document: int
    paragraph: int
    label: str = ""

    @cached_property
    def id(self) -> str:
        """16 hex digits of the SHA-256 of the text."""
        return sha256_text(self.text)[:16]

    @cached_property
    def words(self) -> list[str]:
        """Its words, lower case, headings included where the text has them."""
        return words(self.text)

    @cached_property
    def size(self) -> int:
        """Number of whitespace words of the text: what sizes are counted in."""
        return len(self.text.split())

    @cached_property
    def terms(self) -> list[str]:
        """What a search compares: the terms of headings and text."""
        return terms(self.text if self.text.startswith("= ") else f"{self.article} {self.heading} {self.text}")


def read(
    corpus: Corpus, *, shortest: int, longest: int, documents: int | None, headings: bool, seed: int
) -> tuple[list[Passage], Mapping[str, Any]]:
    """All passages of the training split, each text once, and the counts of what was read and left out.

    Paragraphs of fewer than `shortest` whitespace words are left out; longer ones than `longest` are cut at the last
    end of a sentence before it. `documents` bounds how many documents are read and must be given for an endless
    corpus. `headings` puts the article's title and the section's heading in front of each text.
    """
    if corpus.endless and documents is None:
        raise DataError("the corpus has no end", hint="say how many of its documents are read: --documents 2000")
    counts: Counter[str] = Counter(dict.fromkeys(("documents", "short", "cut", "repeated"), 0))
    found: dict[str, Passage] = {}
    for number, (text, label) in enumerate(islice(corpus.documents(split="train", seed=seed), documents), 1):
        counts["documents"] += 1
        place = 0
        for article, heading, paragraph in paragraphs(text, longest):
            pieces = list(cut(paragraph, longest))
            counts["cut"] += len(pieces) > 1
            for piece in pieces:
                place += 1
                if len(piece.split()) < shortest:
                    counts["short"] += 1
                    continue
                above = _above(article, heading) if headings else ""
                passage = Passage(
                    text=above + piece, article=article, heading=heading, document=number, paragraph=place, label=label
                )
                if passage.text in found:
                    counts["repeated"] += 1
                else:
                    found[passage.text] = passage
    if not found:
        raise DataError(
            f"no paragraph of the corpus has {shortest} words", hint="set passages.shortest lower, or give more text"
        )
    return list(found.values()), {**counts, "passages": len(found)}


def _above(article: str, heading: str) -> str:
    lines = [f"= {article} ="] if article else []
    if heading and heading != article:
        lines.append(f"= = {heading} = =")
    return "".join(f"{line}\n" for line in lines)


def paragraphs(text: str, longest: int) -> Iterator[tuple[str, str, str]]:
    """(article, heading, paragraph) of a document.

    In a document with WikiText's headings each other line is a paragraph. Without headings the document is one
    paragraph as it stands, or, where it has more than `longest` words, one for each of its parts between blank lines.
    """
    lines = [line.strip() for line in text.split("\n")]
    if not any(_heading(line) for line in lines):
        whole = len(text.split()) <= longest
        for part in [text] if whole else re.split(r"\n[^\S\n]*(?=\n)", text):
            if part.strip():
                yield "", "", part.strip()
        return
    article = heading = ""
    for line in lines:
        if found := _heading(line):
            level, name = found
            if level == 1 or not article:
                article, heading = name, ""
            else:
                heading = name
        elif line:
            yield article, heading, line


def _heading(line: str) -> tuple[int, str] | None:
    """(level, name) of a line such as "= Title =" or "= = Section = ="; None for other lines."""
    if not line.startswith("= ") or not line.endswith(" ="):
        return None
    name = line.strip("= ")
    before, after = line[: line.find(name)], line[line.rfind(name) + len(name) :]
    return (before.count("="), name) if name and before.count("=") == after.count("=") else None


def cut(paragraph: str, longest: int) -> Iterator[str]:
    """Pieces of at most `longest` whitespace words, each ending with a sentence where one ends in its second half."""
    rest = paragraph.split()
    if len(rest) <= longest:
        yield paragraph
        return
    while len(rest) > longest:
        ends = [at for at in range(longest // 2, longest) if rest[at].endswith(_ENDS)]
        at = ends[-1] + 1 if ends else longest
        yield " ".join(rest[:at])
        rest = rest[at:]
    if rest:
        yield " ".join(rest)

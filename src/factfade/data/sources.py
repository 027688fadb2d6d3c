"""What the corpora share: the split in training and held-out documents, the repetitions, the counts, the identity."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from factfade.data.lines import file_sha256, regular_file
from factfade.errors import DataError
from factfade.records import canonical_json, sha256_text

VERSION = 1
Row = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Documents(ABC):
    """What all corpora share: the split, the repetitions, the counts, the identity.

    `every` = k holds out the documents k, 2k, 3k ... (0: none). It does not matter where a held-out source is named.
    """

    every: int = 20
    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if self.every < 0 or self.every == 1:
            raise ValueError(f"every must be 0 (nothing held out) or at least 2, not {self.every}")

    @property
    def endless(self) -> bool:
        """Files end."""
        return False

    @property
    def identity(self) -> str:
        """Hash of the files' bytes and of the settings that shape documents (not of where the files lie)."""
        return sha256_text(canonical_json([self.kind, VERSION, self._shape(), self._content()]))

    def documents(self, *, split: str, seed: int) -> Iterator[Row]:
        """(text, domain) in file order, the same for every `seed`. Raises DataError as `check` does."""
        del seed  # a file has one order
        return self._documents(split, Counter())

    def check(self) -> Mapping[str, Any]:
        """Reads every file to its end. Counts of documents in either split, and of what was skipped."""
        self._sources_exist()
        counts: dict[str, Any] = {}
        for split in ("train", "held_out"):
            skipped: Counter[str] = Counter()
            documents = characters = 0
            for text, _ in self._documents(split, skipped):
                documents += 1
                characters += len(text)
            counts[split] = {"documents": documents, "characters": characters, **dict(sorted(skipped.items()))}
        if not counts["train"]["documents"]:
            raise DataError("no document is left for training", file=self._name(), hint="give a larger file")
        wanted = self._has_held_out() or self.every
        if wanted and not counts["held_out"]["documents"]:
            raise DataError(
                f"no document is held out: there are fewer than {self.every}",
                file=self._name(),
                hint="give a held_out file, or a smaller `every` (every = 0: hold out nothing)",
            )
        return {**counts, "identity": self.identity, **self._facts()}

    def _documents(self, split: str, counts: Counter[str]) -> Iterator[Row]:
        if split not in ("train", "held_out"):
            raise ValueError(f"split must be train or held_out, not {split!r}")
        own = self._has_held_out()
        if split == "held_out" and own:
            yield from _distinct(self._rows("held_out", counts), counts)
            return
        held_out = {_digest(text) for text, _ in self._rows("held_out", Counter())} if own else set[bytes]()
        for index, row in enumerate(_distinct(self._rows("train", counts), counts)):
            if own:
                if _digest(row[0]) in held_out:
                    counts["in_held_out"] += 1
                    continue
                yield row
            elif (self.every > 0 and index % self.every == self.every - 1) == (split == "held_out"):
                yield row

    @abstractmethod
    def _rows(self, split: str, counts: Counter[str]) -> Iterator[Row]:
        """Rows of the source of a split (of the only source there is), repetitions included."""

    @abstractmethod
    def _has_held_out(self) -> bool:
        """Whether the held-out documents have a source of their own."""

    def _sources_exist(self) -> None:
        """Raises before anything is read when a file is missing; a corpus without local files has nothing to do."""
        return

    @abstractmethod
    def _content(self) -> list[str]:
        """What identifies the bytes that are read."""

    @abstractmethod
    def _shape(self) -> dict[str, Any]:
        """The settings that shape documents."""

    def _facts(self) -> dict[str, Any]:
        return {}

    def _name(self) -> str:
        return self.kind


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()


def _distinct(rows: Iterable[Row], counts: Counter[str]) -> Iterator[Row]:
    """Rows without those whose text stood before; `repeated` counts them."""
    seen: set[bytes] = set()
    for text, domain in rows:
        digest = _digest(text)
        if digest in seen:
            counts["repeated"] += 1
            continue
        seen.add(digest)
        yield text, domain


@dataclass(frozen=True, kw_only=True)
class Files(Documents):
    """A corpus of one local file, with another one held out or none."""

    path: str
    held_out: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError("path is empty")

    def _paths(self) -> list[str]:
        return [self.path] if self.held_out is None else [self.path, self.held_out]

    def _has_held_out(self) -> bool:
        return self.held_out is not None

    def _sources_exist(self) -> None:
        for path in self._paths():
            regular_file(path)

    def _content(self) -> list[str]:
        return [file_sha256(path) for path in self._paths()]

    def _rows(self, split: str, counts: Counter[str]) -> Iterator[Row]:
        return self._read(self.path if split == "train" or self.held_out is None else self.held_out, counts)

    @abstractmethod
    def _read(self, path: str, counts: Counter[str]) -> Iterator[Row]:
        """Rows of one file."""

    def _name(self) -> str:
        return self.path

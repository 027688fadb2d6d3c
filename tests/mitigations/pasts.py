"""A past of planted documents for pool parts: blocks of which some are continued, in every generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from factfade.records import Document, derived_seed

WORDS = "the river bank gold city mountain salt tree law king stone water metal road house field night day".split()


def tokens_of(seed: str, *, size: int) -> tuple[int, ...]:
    """`size` ids below 50, drawn from a name."""
    random = Random(derived_seed(seed))
    return tuple(random.randrange(50) for _ in range(size))


@dataclass(frozen=True)
class Past:
    """A run of `blocks` blocks a generation, of which the first `synthesized` are continued.

    `length` gives the tokens of a document by its source and place; `evidences` are planted data frames.
    """

    blocks_: int = 40
    synthesized: int = 40
    generation: int = 9
    length: Callable[[str, int], int] = lambda source, place: 8
    evidences: dict[int, Any] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def document(self, source: str, generation: int, place: int) -> Document:
        name = f"{generation}-{place}"
        tokens = tokens_of(f"{source}-{name}", size=self.length(source, place))
        text = " ".join(WORDS[token % len(WORDS)] for token in tokens)
        if source == "human":
            return Document(id=f"b{name}", text=text, source="human", tokens=tokens, origin=f"b{name}")
        return Document(
            id=f"{generation - 1}-b{name}",
            text=text,
            source="synthetic",
            tokens=tokens,
            origin=f"b{name}",
            generation=generation - 1,
        )

    def human(self, *, generation: int, replaced: bool = False) -> Sequence[Document]:
        first = 0 if replaced else self.synthesized
        return [self.document("human", generation, i) for i in range(first, self.blocks_)]

    def completions(self, *, generation: int) -> Sequence[Document]:
        return [self.document("synthetic", generation, i) for i in range(self.synthesized)]

    def checkpoint(self, *, generation: int) -> Any:
        raise AssertionError("this part asks for no weights")

    def model(self, *, generation: int | None = None) -> Any:
        raise AssertionError("this part asks for no model")

    def evidence(self, *, generation: int) -> Any:
        self.asked.append(generation)
        return self.evidences.get(generation)

    def encode(self, text: str) -> list[int]:
        raise AssertionError("no model is open here")

    def blocks(self, *, count: int, generation: int, seed: int, domain: str | None = None) -> Any:
        raise AssertionError("a pool part cuts no blocks")

    def now(self, generation: int) -> list[Document]:
        """What the loop hands to the first part."""
        return [*self.human(generation=generation), *self.completions(generation=generation)]

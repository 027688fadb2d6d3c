"""What makes a completion junk, from its text alone: empty, near-constant, repetitive, an exact duplicate.

Words are what whitespace separates; entropies are in nats.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

# Right-padded batches of a small chat model wrote texts of a few words over and over: 18 of 27 lay below 1.5 nats,
# none of the sound ones did. 1.5 nats are the entropy of about four and a half equally frequent words.
NEAR_CONSTANT_NATS = 1.5
# Below 16 words a short plain sentence may reach so little entropy by itself (four words: at most 1.39).
NEAR_CONSTANT_WORDS = 16
# The same bound on characters finds runs without blanks ("!!!!!!"). Ordinary text has about 3 nats a character.
NEAR_CONSTANT_CHARACTERS = 32
# A text in which fewer than half of the 4-grams are distinct says most of what it says twice. Ordinary prose of a
# few dozen words has a share near 1, lists of questions in one wording about 0.8.
REPETITIVE_SHARE = 0.5
REPETITIVE_WORDS = 16
NGRAM = 4


@dataclass(frozen=True, kw_only=True)
class Junk:
    """The flags of one text that can be told from itself."""

    empty: bool
    near_constant: bool
    repetitive: bool

    @property
    def any(self) -> bool:
        """Whether any flag is set."""
        return self.empty or self.near_constant or self.repetitive


def junk_of(text: str) -> Junk:
    """The flags of a text. Linear in its length."""
    words = text.split()
    return Junk(empty=not words, near_constant=_near_constant(words), repetitive=_repetitive(words))


def duplicates(texts: Sequence[str]) -> list[bool]:
    """For each text, whether an earlier one is exactly equal. Empty texts are counted as empty, not as duplicates."""
    seen: set[str] = set()
    flags: list[bool] = []
    for text in texts:
        flags.append(bool(text.strip()) and text in seen)
        seen.add(text)
    return flags


def entropy(values: Iterable[Hashable]) -> float:
    """Entropy of the values' frequencies in nats; 0 for none."""
    counts = Counter(values)
    total = counts.total()
    return -sum(n / total * math.log(n / total) for n in counts.values()) if total else 0.0


def distinct_share(words: Sequence[str], n: int = NGRAM) -> float | None:
    """Share of distinct ones among the n-grams of words; None when there are none."""
    grams = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def _near_constant(words: Sequence[str]) -> bool:
    if len(words) >= NEAR_CONSTANT_WORDS and entropy(words) < NEAR_CONSTANT_NATS:
        return True
    characters = "".join(words)
    return len(characters) >= NEAR_CONSTANT_CHARACTERS and entropy(characters) < NEAR_CONSTANT_NATS


def _repetitive(words: Sequence[str]) -> bool:
    share = distinct_share(words) if len(words) >= REPETITIVE_WORDS else None
    return share is not None and share < REPETITIVE_SHARE

"""Lexical diversity of a set of passages, and a general sample that is as diverse as another set.

Type-token ratio (= distinct-1) and distinct-2, distinct-3 (Li et al. 2016): different runs of 1, 2, 3 words over all of
them, in the whole set, lower case, without punctuation. They fall with the number of words, so they are compared
between sets of equal size only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from factfade.domain.passages import Passage

ORDERS = (1, 2, 3)
NAMES = ("type_token_ratio", "distinct_2", "distinct_3")


class Grams:
    """Counts of the 1-, 2- and 3-grams of a set that grows and shrinks."""

    def __init__(self, passages: Iterable[Passage] = ()) -> None:
        self._counts: tuple[Counter[tuple[str, ...]], ...] = tuple(Counter() for _ in ORDERS)
        self._totals = [0 for _ in ORDERS]
        for passage in passages:
            self.add(passage)

    def add(self, passage: Passage) -> None:
        for place, order in enumerate(ORDERS):
            grams = list(_grams(passage.words, order))
            self._counts[place].update(grams)
            self._totals[place] += len(grams)

    def remove(self, passage: Passage) -> None:
        for place, order in enumerate(ORDERS):
            counts = self._counts[place]
            for gram in _grams(passage.words, order):
                if counts[gram] == 1:
                    del counts[gram]
                else:
                    counts[gram] -= 1
                self._totals[place] -= 1

    def shares(self) -> dict[str, float]:
        """Different over all n-grams, by name; 0 for an empty set."""
        return {
            name: len(counts) / total if total else 0.0
            for name, counts, total in zip(NAMES, self._counts, self._totals, strict=True)
        }


def _grams(words: Sequence[str], order: int) -> Iterable[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(order)), strict=False)


def errors(found: Mapping[str, float], wanted: Mapping[str, float]) -> dict[str, float]:
    """Relative differences, found / wanted - 1."""
    return {name: found[name] / wanted[name] - 1 if wanted[name] else 0.0 for name in wanted}


@dataclass(frozen=True, kw_only=True)
class Matched:
    """A sample and how near it came. `errors` are relative; `reached` where none is beyond the tolerance."""

    chosen: tuple[int, ...]
    reached: bool
    errors: Mapping[str, float]
    swaps: int
    steps: int

    def record(self) -> dict[str, Any]:
        return {
            "reached": self.reached,
            "relative_errors": {name: round(error, 6) for name, error in self.errors.items()},
            "swaps": self.swaps,
            "steps": self.steps,
        }


def match(
    passages: Sequence[Passage],
    pool: Sequence[int],
    start: Sequence[int],
    wanted: Mapping[str, float],
    *,
    words: int,
    tolerance: float,
    steps: int,
    seed: int,
) -> Matched:
    """Swaps passages of `start` for others of `pool` while that brings the diversity nearer to `wanted`.

    At each of at most `steps` steps one passage is drawn to leave and one to come, every other time from an article
    that the sample already holds (passages of one article share words, so this is what lowers diversity). A swap is
    kept where the largest relative error falls and the size stays within half the tolerance of `words`. It ends as
    soon as no error is beyond half the tolerance.
    """
    random = Random(seed)
    chosen = sorted(start)
    inside = set(chosen)
    by_article: dict[int, list[int]] = defaultdict(list)
    for number in pool:
        by_article[passages[number].document].append(number)
    grams = Grams(passages[number] for number in chosen)
    size = sum(passages[number].size for number in chosen)
    error = _largest(grams, wanted)
    swaps = step = 0
    while chosen and pool and error > tolerance / 2 and step < steps:
        step += 1
        place = random.randrange(len(chosen))
        leaving = chosen[place]
        near = by_article[passages[chosen[random.randrange(len(chosen))]].document] if step % 2 else pool
        coming = near[random.randrange(len(near))] if near else leaving
        grown = size + passages[coming].size - passages[leaving].size
        if coming in inside or (abs(grown - words) > tolerance / 2 * words and abs(grown - words) > abs(size - words)):
            continue
        grams.remove(passages[leaving])
        grams.add(passages[coming])
        now = _largest(grams, wanted)
        if now < error:
            error, size, swaps = now, grown, swaps + 1
            inside ^= {leaving, coming}
            chosen[place] = coming
        else:
            grams.remove(passages[coming])
            grams.add(passages[leaving])
    found = errors(grams.shares(), wanted)
    reached = bool(chosen) and max(map(abs, found.values())) <= tolerance
    return Matched(chosen=tuple(sorted(chosen)), reached=reached, errors=found, swaps=swaps, steps=step)


def _largest(grams: Grams, wanted: Mapping[str, float]) -> float:
    return max(map(abs, errors(grams.shares(), wanted).values()))

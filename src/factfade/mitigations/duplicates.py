"""One of several documents that say almost the same: near-duplicates by the n-grams that they share."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from factfade.errors import RunFailed
from factfade.mitigations.counting import counts
from factfade.protocols import History
from factfade.records import Document, Mixed

Units = Literal["words", "tokens"]
Keep = Literal["human", "first", "longest"]
Drop = Literal["synthetic", "all"]
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Drops a document whose n-grams are almost those of one that is kept: Jaccard similarity of `threshold` or more.

    A document is the set of its runs of `ngram` words (lower case, punctuation left out) or tokens; a shorter one is
    one run. `keep` says which of two stays: human text before synthetic, then the earlier one ("human"); the earlier
    one ("first"); the longer one, then the earlier one ("longest"). `drop` says what may be dropped: synthetic
    documents alone, or both. Documents are gone through in that order and kept unless one that is kept is near: every
    dropped document is near a kept one, and no two kept ones that may be dropped are near each other.

    Exact, not estimated: candidates are found by the prefix filter of set similarity joins, which misses none.
    Sources: Lee et al., arXiv 2107.06499 (near-duplicates in training text); Bayardo, Ma and Srikant 2007 (the filter).
    """

    threshold: float = 0.8
    ngram: int = 3
    units: Units = "words"
    keep: Keep = "human"
    drop: Drop = "synthetic"

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is a similarity above 0 and at most 1, not {self.threshold}")
        if self.ngram < 1:
            raise ValueError(f"ngram is at least 1, not {self.ngram}")
        for name, value, known in (("units", self.units, Units), ("keep", self.keep, Keep), ("drop", self.drop, Drop)):
            if value not in get_args(known):
                raise ValueError(f"{name} is one of {', '.join(get_args(known))}, not {value!r}")

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The documents that stay, in the order in which they came."""
        live = [document for document in documents if document.weight > 0]
        sets = [self._grams(document) for document in live]
        order = sorted(range(len(live)), key=lambda place: self._rank(live[place], sets[place], place))
        may_go = [self.drop == "all" or document.source == "synthetic" for document in live]
        kept_beside = near_kept(sets, order, may_go, self.threshold)
        kept = tuple(document for place, document in enumerate(live) if kept_beside[place] is None)
        reasons: Counter[str] = Counter()
        same = 0
        for place, by in enumerate(kept_beside):
            if by is not None:
                reasons[f"{live[place].source} text near {live[by].source} text"] += 1
                same += sets[place] == sets[by]
        if len(live) < len(documents):
            reasons["weight 0"] = len(documents) - len(live)
        return Mixed(
            documents=kept,
            requested={"documents": len(documents), "threshold": self.threshold},
            achieved={**counts(kept), "near_duplicates": len(live) - len(kept), "of_equal_n_grams": same},
            dropped=dict(reasons),
        )

    def _grams(self, document: Document) -> frozenset[str]:
        if self.units == "words":
            units: Sequence[str] = _WORD.findall(document.text.lower())
        elif document.tokens is None:
            raise RunFailed(
                f"the document {document.id} has no token ids, so it has no runs of tokens",
                hint='compare words: units = "words"',
            )
        else:
            units = [str(token) for token in document.tokens]
        last = max(len(units) - self.ngram, 0)
        return frozenset(" ".join(units[at : at + self.ngram]) for at in range(last + 1))

    def _rank(self, document: Document, grams: frozenset[str], place: int) -> tuple[int, int]:
        if self.keep == "human":
            return (document.source != "human", place)
        return (-len(grams) if self.keep == "longest" else 0, place)


def near_kept(
    sets: Sequence[frozenset[str]], order: Sequence[int], may_go: Sequence[bool], threshold: float
) -> list[int | None]:
    """For every set the earliest kept one in `order` that is near it, or None where it is kept itself.

    Two sets with a Jaccard similarity of t or more share at least ceil(t * size) elements of either. With the elements
    in one fixed order, rare ones first, they therefore share one of the first size - ceil(t * size) + 1 of each: only
    these are looked up.
    """
    common = Counter(gram for grams in sets for gram in grams)
    index: dict[str, list[int]] = defaultdict(list)
    found: list[int | None] = [None] * len(sets)
    rank = {place: number for number, place in enumerate(order)}
    for place in order:
        grams = sets[place]
        # A ceiling that rounding lifted would cut the prefix too short.
        share = math.ceil(threshold * len(grams) - 1e-9)
        prefix = sorted(grams, key=lambda gram: (common[gram], gram))[: len(grams) - share + 1]
        if may_go[place]:
            candidates = sorted({other for gram in prefix for other in index[gram]}, key=rank.__getitem__)
            found[place] = next((c for c in candidates if jaccard(grams, sets[c]) >= threshold), None)
        if found[place] is None:
            for gram in prefix:
                index[gram].append(place)
    return found


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Size of the intersection over that of the union."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)

"""BM25 over term lists, and the weights of terms that are learnt from texts taken as relevant.

Source: S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), equations 3.3
(relevance weights), 3.15 (BM25) and section 3.1 (the choice of expansion terms by offer weight, after Robertson 1990).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def relevance_weight(r: float, relevant: float, n: float, total: float) -> float:
    """Log odds ratio of a term in relevant against other texts, with one half added to each cell (RSJ weight).

    `r` of `relevant` texts hold the term, and `n` of all `total`; the relevant ones are among them.
    """
    return math.log(((r + 0.5) * (total - n - relevant + r + 0.5)) / ((n - r + 0.5) * (relevant - r + 0.5)))


def inverse_frequency(n: float, total: float) -> float:
    """ln(1 + (N - n + 1/2) / (n + 1/2)): a term's weight without relevant texts, above zero as Lucene keeps it."""
    return math.log1p((total - n + 0.5) / (n + 0.5))


def saturated(count: float, k3: float) -> float:
    """(k3 + 1) q / (k3 + q): what `count` occurrences in the query weigh."""
    return (k3 + 1) * count / (k3 + count)


class Index:
    """Term lists by term. Texts are numbered in the order given."""

    def __init__(self, texts: Iterable[Sequence[str]]) -> None:
        postings: dict[str, tuple[array[int], array[int]]] = {}
        lengths = array("l")
        for number, text in enumerate(texts):
            lengths.append(len(text))
            for term, count in Counter(text).items():
                places, counts = postings.setdefault(term, (array("l"), array("l")))
                places.append(number)
                counts.append(count)
        self.lengths: Scores = np.array(lengths, dtype=np.float64)
        self._postings = {
            term: (np.array(places, dtype=np.int64), np.array(counts, dtype=np.float64))
            for term, (places, counts) in postings.items()
        }

    def __len__(self) -> int:
        return len(self.lengths)

    def frequency(self, term: str) -> int:
        """In how many texts the term stands."""
        return len(self._postings[term][0]) if term in self._postings else 0

    def scores(
        self, query: Mapping[str, float], *, k1: float, b: float, weights: Mapping[str, float] | None = None
    ) -> Scores:
        """BM25 of every text: sum over the query of q * w * tf (k1 + 1) / (tf + k1 (1 - b + b * length / mean length)).

        `query` gives q of each term; `weights` gives w, else it is `inverse_frequency`.
        """
        found = np.zeros(len(self))
        mean = float(self.lengths.mean()) if len(self) else 1.0
        norm = k1 * (1 - b + b * self.lengths / (mean or 1.0))
        for term in sorted(query):  # one order of the additions, so one result to the last bit
            if term not in self._postings:
                continue
            places, counts = self._postings[term]
            weight = inverse_frequency(len(places), len(self)) if weights is None else weights.get(term, 0.0)
            found[places] += query[term] * weight * counts * (k1 + 1) / (counts + norm[places])
        return found

    def learnt(self, relevant: Sequence[int], terms: Sequence[Sequence[str]]) -> dict[str, tuple[int, float]]:
        """(texts of `relevant` that hold it, relevance weight) of every term in one of them."""
        held = Counter(term for number in relevant for term in set(terms[number]))
        return {
            term: (r, relevance_weight(r, len(relevant), self.frequency(term), len(self))) for term, r in held.items()
        }

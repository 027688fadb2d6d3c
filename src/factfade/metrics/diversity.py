"""Diversity of completions: word entropy at a fixed length, distinct n-grams, repetition within a text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from factfade.columns import Codes, as_text
from factfade.metrics.shared import groups, missing, score_of, unknown
from factfade.stats.intervals import Interval, mean, student_quantile, two_sided
from factfade.verdicts import Score, ScoreRow

if TYPE_CHECKING:
    import pandas as pd

ORDERS = (1, 2, 3, 4)
REPETITION_ORDER = 4


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Diversity of completions over whitespace tokens, with the text as the unit.

    `entropy`: per text -sum p ln p over its first `words` words, mean over the texts that have as many (ceiling
    ln words); `entropy_paper`: the same over all words of every text that is not empty (arXiv 2509.04796: it depends
    on length). `distinct_N`: different N-grams over all N-grams in the first `words` words of those texts (Li et al.
    2016), with a jackknife over texts; it falls as texts are added, so compare equal n. `repetition`: per text the
    share of 4-grams that stood in it before (Welleck et al. 2020).
    """

    words: int = 20
    level: float = 0.95
    name: ClassVar[str] = "diversity"

    def __post_init__(self) -> None:
        if self.words < max(ORDERS):
            raise ValueError(f"words must be at least {max(ORDERS)}, not {self.words}")

    def scores(self, evidence: pd.DataFrame, fluency: pd.DataFrame, completions: pd.DataFrame) -> Sequence[ScoreRow]:
        """entropy, entropy_paper, distinct_1 to distinct_4 and repetition of each generation's completions."""
        reason = missing(completions, ["completion"])
        texts = as_text(completions, "completion")
        return [
            group.row(score)
            for group in groups(completions, domains=False)
            for score in self._group(texts[group.rows], reason)
        ]

    def _group(self, texts: NDArray[Any], reason: str) -> Iterator[Score]:
        split = [str(t).split() for t in texts]
        vocabulary = {w: i for i, w in enumerate(sorted({w for s in split for w in s}))}
        coded = [np.array([vocabulary[w] for w in s], dtype=np.int64) for s in split]
        full = [c[: self.words] for c in coded if len(c) >= self.words]
        some = [c for c in coded if len(c)]
        repeated = [c for c in coded if len(c) >= REPETITION_ORDER]
        long_enough = f"{len(full)} of {len(coded)} completions have {self.words} words"

        def average(name: str, values: list[float], unit: str, empty: str, note: str = "") -> Score:
            if reason or not values:
                return unknown(name, reason or empty, unit=unit)
            return score_of(name, mean(values, level=self.level), unit=unit, note=note)

        yield average("entropy", [_entropy(c) for c in full], "nats", long_enough, long_enough)
        yield average("entropy_paper", [_entropy(c) for c in some], "nats", "every completion is empty")
        for order in ORDERS:
            if reason or not full:
                yield unknown(f"distinct_{order}", reason or long_enough, unit="share")
            else:
                yield score_of(f"distinct_{order}", self._distinct(full, order), unit="share", note=long_enough)
        shares = [1 - _different(c) / (len(c) - REPETITION_ORDER + 1) for c in repeated]
        yield average("repetition", shares, "share", f"no completion has {REPETITION_ORDER} words")

    def _distinct(self, texts: list[Codes], order: int) -> Interval:
        """Distinct over all n-grams; without text i, the n-grams that stand in it alone are gone too."""
        found = _grams(np.stack(texts).astype(np.int64), order)
        count, each = found.shape
        grams, owner = found.ravel(), np.repeat(np.arange(count), each)
        _, inverse = np.unique(grams, return_inverse=True)
        pairs = np.unique(inverse.astype(np.int64) * count + owner)
        gram, text = pairs // count, pairs % count
        texts_with = np.bincount(gram)
        total = len(texts_with)
        alone = np.bincount(text[texts_with[gram] == 1], minlength=count)
        value = total / len(grams)
        method = "jackknife over texts"
        if count < 2:
            return Interval(value=value, low=None, high=None, n=count, clusters=count, level=self.level, method=method)
        without = (total - alone) / (len(grams) - each)
        error = math.sqrt((count - 1) / count * float(np.sum((without - without.mean()) ** 2)))
        half = student_quantile(two_sided(self.level), count - 1) * error
        return Interval(
            value=value,
            low=max(0.0, value - half),
            high=min(1.0, value + half),
            n=count,
            clusters=count,
            level=self.level,
            method=method,
            deviation=error * math.sqrt(count),
        )


def _entropy(codes: Codes) -> float:
    """-sum p ln p of the words of one text, in nats."""
    p = np.unique(codes, return_counts=True)[1] / len(codes)
    return float(-np.sum(p * np.log(p)))


def _different(codes: Codes) -> int:
    """Number of different 4-grams of one text."""
    return len(np.unique(_grams(codes[None, :].astype(np.int64), REPETITION_ORDER)))


def _grams(words: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """Codes of the n-grams of texts of equal length, (texts, words) to (texts, words - order + 1).

    Codes are made dense at each step, so that no product overflows.
    """
    width = int(words.max()) + 1
    grams = words
    for step in range(1, order):
        joined = grams[:, :-1] * width + words[:, step:]
        grams = np.unique(joined, return_inverse=True)[1].reshape(joined.shape).astype(np.int64)
    return grams

"""Fluency: perplexities out of stored negative log-likelihoods, and the shares of junk completions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from factfade.columns import Floats, as_float
from factfade.metrics.shared import Group, groups, missing, score_of, unknown
from factfade.stats.intervals import Interval, mean, ratio, share
from factfade.verdicts import Score, ScoreRow

if TYPE_CHECKING:
    import pandas as pd

MARKS = ("empty", "near_constant", "repetitive", "duplicate", "ended")


def _exponential(found: Interval) -> Interval:
    """Nats to perplexity: the estimate and its bounds through exp; None where that overflows."""

    def through(x: float | None) -> float | None:
        return None if x is None or x > 700.0 else math.exp(x)

    return replace(
        found,
        value=through(found.value),
        low=through(found.low),
        high=through(found.high),
        method=f"{found.method}, exponentiated",
    )


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """Perplexity per kind of text (held_out, own, own_under_start), over texts as the unit.

    `nats_KIND` = sum of nll / sum of tokens; `perplexity_KIND` = its exponential (token-weighted);
    `perplexity_KIND_paper` = mean of the texts' own perplexities (arXiv 2509.04796). Texts without a predicted
    token count in no mean of texts.
    """

    level: float = 0.95
    name: ClassVar[str] = "perplexity"

    def scores(self, evidence: pd.DataFrame, fluency: pd.DataFrame, completions: pd.DataFrame) -> Sequence[ScoreRow]:
        """nats_*, perplexity_* and perplexity_*_paper for every kind of text, by domain."""
        nll, tokens = as_float(fluency, "nll"), as_float(fluency, "tokens")
        reason = missing(fluency, ["nll", "tokens"])
        return [
            group.row(score) for group in groups(fluency, "kind") for score in self._group(group, nll, tokens, reason)
        ]

    def _group(self, group: Group, nll: Floats, tokens: Floats, reason: str) -> Iterator[Score]:
        kind = group.within
        rows = group.rows[~np.isnan(nll[group.rows]) & (tokens[group.rows] > 0)]
        names = (f"nats_{kind}", f"perplexity_{kind}", f"perplexity_{kind}_paper")
        if reason or not len(rows):
            yield from (unknown(name, reason or "no text has a predicted token") for name in names)
            return
        found = ratio(nll[rows], tokens[rows], level=self.level)
        yield score_of(names[0], found, unit="nats per token")
        why = "it is too large to be represented"
        yield score_of(names[1], _exponential(found), unit="perplexity", reason=why)
        per_text = nll[rows] / tokens[rows]
        if per_text.max() > 700.0:
            yield unknown(names[2], why, n=len(rows), unit="perplexity")
        else:
            yield score_of(names[2], mean(np.exp(per_text), level=self.level), unit="perplexity")


@dataclass(frozen=True, kw_only=True)
class Junk:
    """Shares of empty, near-constant, repetitive and duplicated completions, of any of the first three (`junk`), and
    of those that ended by themselves. Wilson over completions."""

    level: float = 0.95
    name: ClassVar[str] = "junk"

    def scores(self, evidence: pd.DataFrame, fluency: pd.DataFrame, completions: pd.DataFrame) -> Sequence[ScoreRow]:
        """share_junk and share_MARK for each mark."""
        marks = {name: as_float(completions, name) for name in MARKS}
        # Unknown where a mark is, unless another already says junk.
        first = [marks[name] for name in MARKS[:3]]
        if len(completions):
            marks["junk"] = np.where(np.any([m == 1.0 for m in first], axis=0), 1.0, np.sum(first, axis=0))
        return [
            group.row(self._one(group, name, values, completions))
            for group in groups(completions, domains=False)
            for name, values in marks.items()
        ]

    def _one(self, group: Group, name: str, values: Floats, completions: pd.DataFrame) -> Score:
        known = values[group.rows]
        known = known[~np.isnan(known)]
        if not len(known):
            columns = list(MARKS[:3]) if name == "junk" else [name]
            why = missing(completions, columns) or "no completion is marked"
            return unknown(f"share_{name}", why, unit="share")
        return score_of(f"share_{name}", share(known, level=self.level), unit="share")

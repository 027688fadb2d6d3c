"""Keep what repeats itself least: entropy rates by match lengths, the model-free sibling of surplexity."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

import numpy as np

from factfade.errors import RunFailed
from factfade.mitigations.counting import counts, means
from factfade.protocols import History
from factfade.records import Document, Mixed, derived_seed

Units = Literal["words", "tokens"]
#: Fewer units hold no term of the estimator: its first one is that of the third unit.
LEAST = 3


@dataclass(frozen=True, kw_only=True)
class EntropyRate:
    """Keep the documents of highest entropy rate (nats per unit), estimated by match lengths; no model is asked.

    A share `keep` of the documents goes on, those of both sources ranked together. `upper` is the quantile above which
    documents are not taken. `per_domain` ranks and cuts within each domain. Only the first `length` tokens or words
    (`units`) of a document are read. The estimate grows with a document's length; `length_free` divides it by that of
    a text of the same length in which nothing repeats, so the value is at most 1. Equal values are ordered by a draw.

    Source: the estimator of Kontoyiannis, Algoet, Suhov and Wyner 1998 with a growing window (`entropy_rate`); keeping
    the least predictable text is arXiv 2410.12341, whose measure asks the model (`surplexity`).
    """

    keep: float = 0.5
    upper: float = 1.0
    per_domain: bool = False
    units: Units = "tokens"
    length: int = 512
    length_free: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep is a share above 0 and at most 1, not {self.keep}")
        if not 0 < self.upper <= 1:
            raise ValueError(f"upper is a quantile above 0 and at most 1, not {self.upper}")
        if self.length < LEAST:
            raise ValueError(f"length is at least {LEAST}, not {self.length}")
        if self.units not in get_args(Units):
            raise ValueError(f"units is one of {', '.join(get_args(Units))}, not {self.units!r}")

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The chosen documents in the order in which they came. One too short for an estimate ranks last."""
        live = [document for document in documents if document.weight > 0]
        rates = [self._rate(document) for document in live]
        draw = Random(derived_seed("entropy_rate", seed, generation))
        ties = [draw.random() for _ in live]
        groups: dict[str, list[int]] = {}
        for place, document in enumerate(live):
            groups.setdefault(document.domain if self.per_domain else "", []).append(place)
        chosen: set[int] = set()
        wanted, above = 0, 0
        for own in groups.values():
            ranked = sorted(own, key=lambda place: (-(rates[place] or 0.0), ties[place]))
            cut = round((1 - self.upper) * len(own))
            size = round(self.keep * len(own))
            chosen.update(ranked[cut : cut + size])
            wanted, above = wanted + size, above + cut
        kept = tuple(document for place, document in enumerate(live) if place in chosen)
        dropped = {
            "above the upper cut": above,
            "below the kept ones": len(live) - above - len(kept),
            "weight 0": len(documents) - len(live),
        }
        notes = [] if len(kept) == wanted else [f"{wanted} documents were asked for, the upper cut left {len(kept)}"]
        return Mixed(
            documents=kept,
            requested={"documents": wanted, "upper": self.upper},
            achieved={
                **counts(kept),
                **means("entropy_rate", rates, live, chosen),
                "too_short": sum(rate is None for rate in rates),
            },
            notes=tuple(notes),
            dropped={reason: number for reason, number in dropped.items() if number},
        )

    def _rate(self, document: Document) -> float | None:
        """The value that ranks a document; None for one that is too short."""
        if self.units == "words":
            units: Sequence[Hashable] = document.text.lower().split()[: self.length]
        elif document.tokens is None:
            raise RunFailed(
                f"the document {document.id} has no token ids, so its tokens have no entropy rate",
                hint='read words: units = "words"',
            )
        else:
            units = document.tokens[: self.length]
        if len(units) < LEAST:
            return None
        rate = entropy_rate(units)
        return rate / _without_repeats(len(units)) if self.length_free else rate


def match_lengths(units: Sequence[Hashable]) -> list[int]:
    """For every place i the length of the shortest run that starts there and does not lie within the i units before.

    1 where the unit is new. A run that reaches the end of the text counts as if one more unit followed.
    """
    codes: dict[Hashable, int] = {}
    x = np.array([codes.setdefault(unit, len(codes)) for unit in units], dtype=np.int64)
    n = len(x)
    found = [1] * n
    # same[j]: how far the texts that start at i and at j agree; from the end, since it builds on i + 1 and j + 1.
    same = np.zeros(n + 1, dtype=np.int64)
    for i in range(n - 1, 0, -1):
        same[:i] = np.where(x[:i] == x[i], same[1 : i + 1] + 1, 0)
        # A match may not reach into the present: from j it is at most i - j long.
        found[i] = 1 + int(np.minimum(same[:i], i - np.arange(i)).max())
    return found


def entropy_rate(units: Sequence[Hashable]) -> float:
    """Entropy rate in nats per unit: 1 / mean over i = 2 .. n - 1 of L_i / log i.

    L_i is the match length at place i (from 0), whose past holds i units. Kontoyiannis et al. 1998 (IEEE Transactions
    on Information Theory 44:1319-1327), growing window. ValueError for fewer than three units.
    """
    n = len(units)
    if n < LEAST:
        raise ValueError(f"an entropy rate takes at least {LEAST} units")
    lengths = np.array(match_lengths(units)[2:], dtype=np.float64)
    return float(1.0 / np.mean(lengths / np.log(np.arange(2, n))))


def _without_repeats(n: int) -> float:
    """The entropy rate of `n` units that are all different: every match length is 1."""
    return float(1.0 / np.mean(1.0 / np.log(np.arange(2, n))))

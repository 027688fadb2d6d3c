"""Keep what surprises the model that is about to be trained: ranking by surplexity (arXiv 2410.12341)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from factfade.mitigations.counting import counts, means
from factfade.mitigations.reading import nll_of
from factfade.mitigations.shares import apportion
from factfade.protocols import History
from factfade.records import Document, Mixed


@dataclass(frozen=True, kw_only=True)
class Surplexity:
    """Keep the documents of highest surplexity: exp of the mean negative log-likelihood (nats) of a document's first
    `tokens` tokens under the model that is about to be trained.

    Documents of both sources are ranked together; nothing tells them apart. A share `keep` of them goes on, or
    `count` of them where it is set, the most surprising first. `upper` is the quantile above which documents are not
    taken: the most surprising text of all is often junk. `per_domain` ranks and cuts within each domain, so that the
    domains' shares of the pool stay. Source: arXiv 2410.12341.
    """

    keep: float = 0.5
    count: int | None = None
    upper: float = 1.0
    per_domain: bool = False
    tokens: int = 512

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep is a share above 0 and at most 1, not {self.keep}")
        if self.count is not None and self.count < 1:
            raise ValueError(f"count is at least 1, not {self.count}")
        if not 0 < self.upper <= 1:
            raise ValueError(f"upper is a quantile above 0 and at most 1, not {self.upper}")
        if self.tokens < 2:
            raise ValueError(f"tokens is at least 2, not {self.tokens}")

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The chosen documents in the order in which they came.

        A document without a token to predict has no surplexity: it ranks last and is counted as `unscored`.
        """
        with history.model().open() as model:
            scored = nll_of(model, documents, tokens=self.tokens)
        surprise = [math.exp(min(total / n, 700.0)) if n else 0.0 for total, n in scored]
        groups: dict[str, list[int]] = {}
        for place, document in enumerate(documents):
            groups.setdefault(document.domain if self.per_domain else "", []).append(place)
        cut = {place for own in groups.values() for place in self._too_surprising(own, surprise)}
        sizes = {name: float(len(own)) for name, own in groups.items()}
        wanted = round(self.keep * len(documents)) if self.count is None else min(self.count, len(documents))
        room = {name: len(set(own) - cut) for name, own in groups.items()}
        quotas = apportion(wanted, sizes, room)
        chosen: set[int] = set()
        for name, own in groups.items():
            ranked = sorted(set(own) - cut, key=lambda place: (-surprise[place], place))
            chosen.update(ranked[: quotas[name]])
        kept = tuple(document for place, document in enumerate(documents) if place in chosen)
        notes = [] if len(kept) == wanted else [f"{wanted} documents were asked for, the upper cut left {len(kept)}"]
        return Mixed(
            documents=kept,
            requested={"documents": wanted, "upper": self.upper},
            achieved={
                **counts(kept),
                **means("surplexity", surprise, documents, chosen),
                "unscored": sum(not n for _, n in scored),
            },
            notes=tuple(notes),
            dropped={"above the upper cut": len(cut), "below the kept ones": len(documents) - len(cut) - len(kept)},
            costs={"scored_tokens": sum(n for _, n in scored)},
        )

    def _too_surprising(self, places: Sequence[int], surprise: Sequence[float]) -> list[int]:
        """The places above the upper quantile: a share 1 - upper of them, rounded, the most surprising first."""
        above = round((1 - self.upper) * len(places))
        return sorted(places, key=lambda place: (-surprise[place], place))[:above]

"""Replay human text of earlier generations, most of the domains whose text has become hardest (arXiv 2411.11932)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from factfade.mitigations.counting import counts
from factfade.mitigations.shares import apportion
from factfade.protocols import History, ModelSpec
from factfade.records import Document, Mixed, derived_seed


@dataclass(frozen=True, kw_only=True)
class RgdReplay:
    """Replace a share of the pool by human documents of earlier generations, shared out by domain as

        share_j = RGD_j / sum of RGD,   RGD_j = PPL_j(text | prompt) after / PPL_j(text | prompt) before.

    A document's first `prompt_tokens` tokens are the prompt, the rest is the text; PPL_j is exp of the mean negative
    log-likelihood (nats) over all text tokens of up to `probe` documents of domain j, drawn by seed. After is the model
    that is about to be trained, before is the run's start model. The replayed documents take the place of as many
    documents of the pool, drawn by seed, or stand `beside` them: `share` is their share of what goes on.
    Source: arXiv 2411.11932.
    """

    share: float = 0.1
    prompt_tokens: int = 16
    probe: int = 64
    beside: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share is at least 0 and below 1, not {self.share}")
        if self.prompt_tokens < 1:
            raise ValueError(f"prompt_tokens is at least 1, not {self.prompt_tokens}")
        if self.probe < 1:
            raise ValueError(f"probe is at least 1, not {self.probe}")

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The pool in its order, then the replayed documents, by domain in the order of their names."""
        random = Random(derived_seed("rgd_replay", seed, generation))
        reserve = self._reserve(documents, history, generation)
        size = len(documents)
        wanted = round(self.share * size / (1 - self.share)) if self.beside else round(self.share * size)
        if not wanted or not reserve:
            note = () if not wanted else ("there is no human text of earlier generations to replay yet",)
            requested = {"share": self.share, "replayed_documents": wanted}
            achieved = {**counts(documents), "replayed_documents": 0}
            return Mixed(documents=tuple(documents), requested=requested, achieved=achieved, notes=note)
        probes = {
            name: random.sample(own, min(self.probe, len(own))) if len(own) > self.probe else own
            for name, own in reserve.items()
        }
        before, read = self._perplexities(history.model(generation=0), probes)
        after, again = self._perplexities(history.model(), probes)
        rgd = {name: after[name] / before[name] for name in before}
        shares = {name: value / sum(rgd.values()) for name, value in rgd.items()}
        limits = {name: len(reserve[name]) for name in shares}
        quotas = apportion(wanted, shares, limits)
        replayed = [
            own
            for name in sorted(quotas)
            for own in _in_order(reserve[name], random.sample(range(limits[name]), quotas[name]))
        ]
        away = set() if self.beside else set(random.sample(range(size), min(len(replayed), size)))
        kept = (*(document for place, document in enumerate(documents) if place not in away), *replayed)
        achieved: dict[str, float] = {
            **counts(kept),
            "replayed_documents": len(replayed),
            "replayed_share_of_documents": len(replayed) / len(kept),
        }
        requested: dict[str, float] = {"share": self.share, "replayed_documents": wanted}
        for name in sorted(shares):
            requested[f"share[{name}]"] = shares[name]
            achieved[f"share[{name}]"] = quotas[name] / max(len(replayed), 1)
            achieved[f"rgd[{name}]"] = rgd[name]
        return Mixed(
            documents=kept,
            requested=requested,
            achieved=achieved,
            notes=self._notes(wanted, shares, quotas, limits),
            dropped={"replaced by replayed text": len(away)} if away else {},
            costs={"scored_tokens": read + again},
        )

    def _reserve(self, documents: Sequence[Document], history: History, generation: int) -> dict[str, list[Document]]:
        """Human documents of all blocks of earlier generations by domain, once each; none that is in the pool."""
        seen = {document.id for document in documents}
        found: dict[str, list[Document]] = {}
        for earlier in range(1, generation):
            for document in history.human(generation=earlier, replaced=True):
                if document.id not in seen and len(document.tokens or ()) > self.prompt_tokens:
                    seen.add(document.id)
                    found.setdefault(document.domain, []).append(document)
        return found

    def _perplexities(self, spec: ModelSpec, probes: Mapping[str, Sequence[Document]]) -> tuple[dict[str, float], int]:
        """Perplexity of text after prompt by domain, and the tokens that were scored."""
        names = [name for name, own in probes.items() for _ in own]
        with spec.open() as model:
            room = model.context - self.prompt_tokens
            ids = [tuple(d.tokens or ()) for own in probes.values() for d in own]
            heads = [model.wrap(one[: self.prompt_tokens]) for one in ids]
            tails = [one[self.prompt_tokens :][: room - 1] for one in ids]
            scored = [one[0] for one in model.score(heads, [[tail] for tail in tails])]
        sums = {name: [0.0, 0.0] for name in probes}
        for name, one in zip(names, scored, strict=True):
            sums[name][0] -= one.logprob
            sums[name][1] += one.tokens
        return {name: math.exp(total / n) for name, (total, n) in sums.items()}, sum(one.tokens for one in scored)

    def _notes(
        self, wanted: int, shares: Mapping[str, float], quotas: Mapping[str, int], limits: Mapping[str, int]
    ) -> tuple[str, ...]:
        notes: list[str] = []
        if sum(quotas.values()) < wanted:
            notes.append(f"{wanted} documents were to be replayed, {sum(quotas.values())} are there")
        short = [
            name for name in sorted(quotas) if quotas[name] == limits[name] and quotas[name] < shares[name] * wanted
        ]
        if short:
            notes.append(
                "all human text of a domain was taken, and less than its share: " + ", ".join(map(repr, short))
            )
        if len(shares) == 1:
            notes.append("the reserve is of one domain: its text is replayed without preference")
        return tuple(notes)


def _in_order(documents: Sequence[Document], places: Sequence[int]) -> list[Document]:
    return [documents[place] for place in sorted(places)]

"""Filter completions by an external check: text that contradicts a trusted table of facts is not trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal, get_args

from factfade.mitigations.counting import counts
from factfade.mitigations.trusting import Trusting
from factfade.protocols import History, Model
from factfade.records import Claim, Document, Mixed, derived_seed

Drop = Literal["document", "sentence"]


@dataclass(frozen=True, kw_only=True)
class Verifier(Trusting):
    """Drop completions that make a wrong claim, or only the sentences that make one.

    `facts` names the trusted table, a part of the group facts. A text without a claim passes: the verifier checks
    what it can. `audit_share` of the table's facts, drawn by the run seed once for all generations, is hidden from the
    verifier: claims about them decide nothing, and show what the filter does to facts that it does not know. Human
    documents are not checked. Source: arXiv 2602.23446.
    """

    drop: Drop = "document"
    audit_share: float = 0.2

    def __post_init__(self) -> None:
        if self.drop not in get_args(Drop):
            raise ValueError(f"drop is one of {', '.join(get_args(Drop))}, not {self.drop!r}")
        if not 0 <= self.audit_share < 1:
            raise ValueError(f"audit_share is a share of at least 0 and below 1, not {self.audit_share}")
        super().__post_init__()

    def hidden(self, seed: int) -> frozenset[str]:
        """Ids of the audit facts: round(audit_share * n) of them, the same in every generation of a run."""
        names = sorted({fact.fact for fact in self.table.statements()})
        size = round(self.audit_share * len(names))
        return frozenset(Random(derived_seed("verifier", seed, "audit")).sample(names, size))

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The documents that pass, in their order, with keep rates of right and wrong claims of both kinds of facts.

        In the mode "sentence" the tokens of a wrong sentence are taken out and the rest stays as it was; what is
        empty then is dropped.
        """
        tally = _Tally(hidden=self.hidden(seed))
        checked = {place: self._judged(d) for place, d in enumerate(documents) if d.source == "synthetic"}
        wrong = {
            place: bad
            for place, claims in checked.items()
            if (bad := [claim for claim in claims if not claim.right and claim.fact not in tally.hidden])
        }
        rewritten: dict[int, Document] = {}
        if self.drop == "sentence" and wrong:
            with history.model().open() as model:
                rewritten = {place: without(model, documents[place], bad) for place, bad in wrong.items()}
        kept: list[Document] = []
        emptied = 0
        for place, document in enumerate(documents):
            gone = wrong.get(place, []) if self.drop == "sentence" else checked.get(place, [])
            left = rewritten.get(place, document)
            if place in wrong and (self.drop == "document" or not (left.tokens or left.text)):
                emptied += self.drop == "sentence"
                tally.add(checked[place], kept=False)
                continue
            sentences = {(claim.start, claim.sentence) for claim in gone} if place in wrong else set()
            for claim in checked.get(place, []):
                tally.add([claim], kept=(claim.start, claim.sentence) not in sentences)
            kept.append(left)
        dropped = {"wrong claim": len(wrong)} if self.drop == "document" else {"nothing left of it": emptied}
        return Mixed(
            documents=tuple(kept),
            requested={"audit_share": self.audit_share, "documents": len(documents)},
            achieved={
                **counts(kept),
                **tally.rates(),
                "checked_documents": len(checked),
                "documents_with_claims": sum(bool(claims) for claims in checked.values()),
                "documents_with_wrong_claims": len(wrong),
                "rewritten_documents": len(rewritten) - emptied,
                "verified_facts": len({s.fact for s in self.table.statements()}) - len(tally.hidden),
                "audit_facts": len(tally.hidden),
            },
            dropped={reason: n for reason, n in dropped.items() if n},
            costs={"verifier_calls": len(checked)},
        )

    def _judged(self, document: Document) -> Sequence[Claim]:
        return self.table.judge(document.text)


@dataclass(kw_only=True)
class _Tally:
    """Claims by kind of fact (verified, audit), by verdict and by what became of them."""

    hidden: frozenset[str]
    seen: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    kept: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def add(self, claims: Sequence[Claim], *, kept: bool) -> None:
        for claim in claims:
            key = ("audit" if claim.fact in self.hidden else "verified", "right" if claim.right else "wrong")
            self.seen[key] += 1
            self.kept[key] += kept

    def rates(self) -> Mapping[str, float]:
        """Of each kind: claims, and the share that goes on. A rate of nothing is left out."""
        found: dict[str, float] = {}
        for kind in ("verified", "audit"):
            for verdict in ("right", "wrong"):
                key = (kind, verdict)
                found[f"{kind}_{verdict}_claims"] = self.seen[key]
                if self.seen[key]:
                    found[f"{kind}_{verdict}_keep_rate"] = self.kept[key] / self.seen[key]
        return found


def without(model: Model, document: Document, claims: Sequence[Claim]) -> Document:
    """The document less the sentences of the claims: the tokens that touch one of them are taken out."""
    spans = {(claim.start, claim.start + len(claim.sentence)) for claim in claims}
    # Ids that do not say what the text says tell no place in it: then the text is cut, and encoded when it is trained.
    if document.tokens is None or model.decode(document.tokens) != document.text:
        text = document.text
        for start, end in sorted(spans, reverse=True):
            text = text[:start] + text[end:]
        return replace(document, text=text, tokens=None)
    # Where each token's text ends: decoded from the beginning, since a character may be written in several tokens.
    ends = [len(model.decode(document.tokens[:n])) for n in range(len(document.tokens) + 1)]
    left = tuple(
        token
        for place, token in enumerate(document.tokens)
        if not any(ends[place] < end and ends[place + 1] > start for start, end in spans)
    )
    return replace(document, tokens=left, text=model.decode(left))

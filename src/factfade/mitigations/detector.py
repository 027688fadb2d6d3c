"""Text that a detector takes for human is drawn more often: importance resampling by detector confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from factfade.classifiers import ClassifierSpec
from factfade.mitigations.counting import counts, drawn_counts
from factfade.mitigations.detecting import cross_fitted
from factfade.protocols import History
from factfade.records import Document, Mixed, derived_seed
from factfade.stats.discrimination import auroc


@dataclass(frozen=True, kw_only=True)
class DetectorWeights:
    """Resamples the pool with weights (1 - confidence)^bias, confidence = P(synthetic) by a detector.

    `draw` times as many documents as came in are drawn with replacement, none more than `repeats` times. Human and
    synthetic documents are weighed alike; where a document comes from is not looked at when it is drawn.

    The detector is one logistic regression on hashed runs of up to `ngram` words, trained on the human documents and
    completions of the last `generations` generations, the present one included. It is fitted across `folds`: a
    document is scored by a detector that saw neither it, nor text of its block, nor a copy of it. With `classifier` (a
    folder or a hub name) any Hugging Face sequence classifier takes its place; `label` is its class of synthetic text.

    Source: Drayson, Yilmaz and Lampos, arXiv 2502.15654.
    """

    bias: float = 10.0
    draw: float = 1.5
    repeats: int = 3
    generations: int = 3
    folds: int = 5
    ngram: int = 2
    features: int = 16384
    penalty: float = 1.0
    classifier: str | None = None
    label: str | None = None
    revision: str | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.bias < math.inf:
            raise ValueError(f"bias is a number of at least 0, not {self.bias}")
        if not 0 < self.draw <= self.repeats:
            raise ValueError(f"draw lies above 0 and at most at repeats ({self.repeats}), not at {self.draw}")
        if not 0 < self.penalty < math.inf:
            raise ValueError(f"penalty is a number above 0, not {self.penalty}")
        least = {"repeats": 1, "generations": 1, "folds": 2, "ngram": 1, "features": 2, "batch": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} is at least {bound}, not {getattr(self, name)}")
        if self.classifier is not None and not self.label:
            raise ValueError('classifier needs label: the name of its class of synthetic text, such as "LABEL_1"')
        if self.classifier is None and (self.label or self.revision):
            raise ValueError("label and revision belong to a classifier: name one, or leave them out")

    @property
    def identity(self) -> str | None:
        """Hash of the classifier's weights; None for the detector that is trained here."""
        return None if self.classifier is None else self._spec().identity

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The documents that were drawn, in the order in which they came, weighted by how often."""
        live = [document for document in documents if document.weight > 0]
        found, extra, note = self._log_human(live, history, generation, seed)
        if found is None:
            return Mixed(
                documents=tuple(live),
                requested={"documents": len(documents)},
                achieved={**counts(live), **drawn_counts(live)},
                notes=(note,),
                dropped={"weight 0": len(documents) - len(live)} if len(live) < len(documents) else {},
            )
        logs = np.array([self.bias * value + math.log(d.weight) for value, d in zip(found, live, strict=True)])
        size = round(self.draw * sum(document.weight for document in live))
        times = drawn_times(logs, size, repeats=self.repeats, seed=derived_seed("detector_weights", seed, generation))
        kept = tuple(replace(d, weight=float(n)) for d, n in zip(live, times, strict=True) if n)
        dropped = {
            f"{of} text not drawn": sum(d.source == of and not n for d, n in zip(live, times, strict=True))
            for of in ("human", "synthetic")
        }
        dropped["weight 0"] = len(documents) - len(live)
        shares = np.exp(logs - logs.max())
        drawn = sum(times)
        notes = [note] if note else []
        if drawn < size:
            notes.append(
                f"{size} draws were asked for; {len(live)} documents at most {self.repeats} times give {drawn}"
            )
        return Mixed(
            documents=kept,
            requested={"documents": len(documents), "drawn_documents": size},
            achieved={
                **counts(kept),
                **drawn_counts(kept),
                **_confidences(live, found),
                **extra,
                "effective_documents": float(shares.sum() ** 2 / (shares @ shares)),
                "most_repeats": max(times, default=0),
            },
            notes=tuple(notes),
            dropped={reason: number for reason, number in dropped.items() if number},
            costs={"detector_calls": len(live)},
        )

    def _log_human(
        self, live: Sequence[Document], history: History, generation: int, seed: int
    ) -> tuple[list[float] | None, dict[str, float], str]:
        """log P(human) of every document, more counts, and a note; None where there is no detector, with why."""
        if not live:
            return None, {}, "nothing came in"
        if self.classifier is not None:
            with self._spec().open() as detector:
                found = detector.log_others([document.text for document in live])
            return found, {"cut_documents": detector.cut}, ""
        past: list[Document] = []
        for earlier in range(max(1, generation - self.generations + 1), generation + 1):
            past.extend(history.human(generation=earlier, replaced=True))
            past.extend(history.completions(generation=earlier))
        fitted = None
        if past:
            fitted = cross_fitted(
                live, past, folds=self.folds, ngram=self.ngram, size=self.features, penalty=self.penalty, seed=seed
            )
        extra = {"detector_documents": float(len(past))}
        why = "the past holds too little human or synthetic text to train a detector on: what came in is passed on"
        return fitted, extra, why if fitted is None else ""

    def _spec(self) -> ClassifierSpec:
        return ClassifierSpec(
            path=self.classifier or "", label=self.label or "", revision=self.revision, batch=self.batch
        )


def drawn_times(logs: np.ndarray, size: int, *, repeats: int, seed: int) -> list[int]:
    """How often each of the documents with log weights `logs` is drawn: `size` draws with replacement by the weights,
    where a document that was drawn `repeats` times leaves the urn.

    Equal in distribution to draws one after the other: a draw of a document that is full is void either way.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    times = np.zeros(len(logs), dtype=np.int64)
    while (left := size - int(times.sum())) > 0:
        open_places = np.flatnonzero(times < repeats)
        if not len(open_places):
            break
        own = logs[open_places]
        shares = np.exp(own - own.max())
        drawn = generator.multinomial(left, shares / shares.sum())
        times[open_places] = np.minimum(times[open_places] + drawn, repeats)
    return [int(n) for n in times]


def _confidences(documents: Sequence[Document], log_human: Sequence[float]) -> dict[str, float]:
    """Mean confidence by source, and how well it tells them apart (area under the curve), where both are there."""
    confidence = np.array([-math.expm1(value) for value in log_human])
    synthetic = np.array([document.source == "synthetic" for document in documents])
    found: dict[str, float] = {}
    for name, of in (("human", ~synthetic), ("synthetic", synthetic)):
        if of.any():
            found[f"mean_confidence_{name}"] = float(confidence[of].mean())
    if len(found) == 2:
        # By their ranks as logarithms: confidences that round to 1 stay apart.
        _, ranks = np.unique(-np.array(log_human), return_inverse=True)
        area = auroc(ranks / max(1, int(ranks.max())), synthetic).interval.value
        found["auroc"] = 0.5 if area is None else area
    return found

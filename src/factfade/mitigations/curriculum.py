"""Synthetic text by steps: its share (or difficulty) rises by generation, each step gated on what the model knows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal, get_args

from factfade.errors import RunFailed
from factfade.mitigations.counting import counts
from factfade.protocols import History
from factfade.records import PARSEABLE, PROBES, Document, Mixed, derived_seed

if TYPE_CHECKING:
    import pandas as pd

Order = Literal["random", "rarity", "length"]
Rest = Literal["human", "nothing"]


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """The share of synthetic documents that train goes from `start` to `end` in steps of `step`, one a generation.

    A step is taken in generation g where the model of generation g - 1 is still competent: its competence is at most
    `tolerance` below that of generation 0. Competence is the share right of the stored evidence, by choice where there
    is one, else among parseable free answers; the same questions in both generations, the mean over the `formats`
    named (all, less probes, where none is). Where it is not, the share stays, or with `back` goes a step back; so it
    does where a generation is not evaluated (it stays).

    `order` says which synthetic documents train first: any ("random"), those of common tokens ("rarity": the mean of
    -log of a token's share in the human text of generation 1, add-one smoothed), or short ones ("length"). With
    an order of difficulty the share is the quantile of the hardest document that trains. `rest`: what stands in for
    the others: the human document of the same block, or nothing.

    Only this generation's completions are chosen among; text of earlier generations is passed on. Source:
    arXiv 2511.07372 (harder tasks once the easier ones are mastered), transferred to the training set's text.
    """

    start: float = 0.25
    step: float = 0.25
    end: float = 1.0
    tolerance: float = 0.02
    back: bool = False
    formats: tuple[str, ...] = ()
    order: Order = "random"
    rest: Rest = "human"

    reads_evidence = True  # the stored answers of earlier generations are inputs of the step

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end <= 1:
            raise ValueError(f"0 <= start <= end <= 1 does not hold: start {self.start}, end {self.end}")
        if not 0 <= self.step <= 1:
            raise ValueError(f"step is a share between 0 and 1, not {self.step}")
        if not 0 <= self.tolerance <= 1:
            raise ValueError(f"tolerance is a share of answers between 0 and 1, not {self.tolerance}")
        for name, value, known in (("order", self.order, Order), ("rest", self.rest, Rest)):
            if value not in get_args(known):
                raise ValueError(f"{name} is one of {', '.join(get_args(known))}, not {value!r}")

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The synthetic documents that train, and human documents in the places of the others."""
        share, last, notes = self._share(history, generation)
        live = [document for document in documents if document.weight > 0]
        new = [d for d in live if d.source == "synthetic" and d.generation == generation - 1]
        beside = history.human(generation=generation)
        wanted = round(share * (len(new) + len(beside)))
        chosen = {document.id for document in self._ranked(new, history, generation, seed)[:wanted]}
        replaced = history.human(generation=generation, replaced=True) if self.rest == "human" else ()
        stand_in = {document.id: document for document in replaced}
        candidates, there = {document.id for document in new}, {document.id for document in live}
        kept: list[Document] = []
        taken: Counter[str] = Counter()
        for document in live:
            human = stand_in.get(document.origin)
            if document.id not in candidates or document.id in chosen:
                kept.append(document)
            elif human is None:
                taken["above the level"] += 1
            elif human.id in there:
                taken["above the level, its human document is in the pool"] += 1
            else:
                taken["above the level, its human document stands in"] += 1
                kept.append(human)
        if wanted > len(new):
            notes.append(f"{wanted} synthetic documents were asked for, there are {len(new)}")
        if self.rest == "human" and taken["above the level"]:
            notes.append(f"{taken['above the level']} documents have no human document of their block")
        if len(live) < len(documents):
            taken["weight 0"] = len(documents) - len(live)
        return Mixed(
            documents=tuple(kept),
            requested={"share": share, "new_synthetic_documents": wanted},
            achieved={**counts(kept), "new_synthetic_documents": len(chosen), **last},
            notes=tuple(notes),
            dropped=dict(taken),
        )

    def _share(self, history: History, generation: int) -> tuple[float, dict[str, float], list[str]]:
        """The share of this generation, walked up from the first by the evidence; the last competences; what to say."""
        share, said = self.start, list[str]()
        last: dict[str, float] = {}
        base = history.evidence(generation=0) if generation > 1 else None
        for past in range(1, generation):
            frame = history.evidence(generation=past) if base is not None else None
            if base is None or frame is None:
                said.append(f"generation {0 if base is None else past} is not evaluated, so the share stays")
                continue
            at_start, now = competences(base, frame, self.formats)
            last = {"competence_at_start": at_start, "competence": now}
            if now >= at_start - self.tolerance - 1e-12:
                share = min(self.end, share + self.step)
            else:
                share = max(self.start, share - self.step) if self.back else share
                if past == generation - 1:
                    verb = "goes back" if self.back else "stays"
                    said.append(f"competence fell from {at_start:.3f} to {now:.3f}, so the share {verb}")
        return round(share, 12), last, said[-1:]

    def _ranked(self, new: Sequence[Document], history: History, generation: int, seed: int) -> list[Document]:
        """Synthetic documents, those that train first in front; ties by a draw."""
        found = list(new)
        Random(derived_seed("curriculum", seed, generation)).shuffle(found)
        if self.order == "length":
            found.sort(key=lambda document: len(_units(document, True)))
        if self.order == "rarity":
            reference = history.human(generation=1, replaced=True)
            ids = all(document.tokens is not None for document in [*reference, *found])
            values = rarity([_units(d, ids) for d in found], [_units(d, ids) for d in reference])
            ranked = sorted(range(len(found)), key=lambda place: values[place])
            found = [found[place] for place in ranked]
        return found


def rarity(texts: Sequence[Sequence[Hashable]], reference: Iterable[Sequence[Hashable]]) -> list[float]:
    """Mean of -log((n + 1) / (N + V + 1)) over a text's units: n is a unit's count among the N of the reference, which
    has V different ones. 0 for a text without units."""
    seen: Counter[Hashable] = Counter(unit for text in reference for unit in text)
    whole = seen.total() + len(seen) + 1
    return [sum(-math.log((seen[unit] + 1) / whole) for unit in text) / len(text) if text else 0.0 for text in texts]


def competences(start: pd.DataFrame, now: pd.DataFrame, formats: Sequence[str]) -> tuple[float, float]:
    """Share right at the start and now, over the (item, format, wording) that have an answer in both.

    Right by choice where there is one, else among free answers that are parseable in both; the mean over formats.
    RunFailed where nothing is comparable.
    """
    before, after = _right(start), _right(now)
    both = sorted(before.keys() & after.keys())
    by_format: dict[str, list[tuple[bool, bool]]] = {}
    for key in both:
        if key[1] in formats or (not formats and key[1] not in PROBES):
            by_format.setdefault(key[1], []).append((before[key], after[key]))
    missing = [name for name in formats if name not in by_format]
    if missing or not by_format:
        raise RunFailed(
            "the curriculum finds no answers to read competence from"
            + (f" in the format {missing[0]}" if missing else ""),
            hint="name formats that evaluation.formats holds, or none for all of them",
        )
    means = [[sum(pair[side] for pair in pairs) / len(pairs) for pairs in by_format.values()] for side in (0, 1)]
    return sum(means[0]) / len(means[0]), sum(means[1]) / len(means[1])


def _right(frame: pd.DataFrame) -> dict[tuple[str, str, str], bool]:
    import pandas as pd

    found: dict[tuple[str, str, str], bool] = {}
    columns = [frame[name] for name in ("item", "format", "wording", "choice_correct", "outcome")]
    for item, of, wording, choice, outcome in zip(*columns, strict=True):
        if not pd.isna(choice):
            found[item, of, wording] = bool(choice)
        elif outcome in PARSEABLE:
            found[item, of, wording] = outcome == "correct"
    return found


def _units(document: Document, ids: bool) -> Sequence[Hashable]:
    """Token ids, or words where there are none or they are not wanted."""
    return document.tokens if ids and document.tokens is not None else document.text.lower().split()

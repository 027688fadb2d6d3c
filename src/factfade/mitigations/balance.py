"""A constant weight of human text: a share that is chosen, or the golden ratio's.

Both parts take each document a whole number of times, so that the record's counts are those of the training set.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, get_args

from factfade.errors import RunFailed
from factfade.mitigations.counting import Unit, counts, drawn_counts, mass, whole_weights
from factfade.protocols import History
from factfade.records import Document, Mixed, derived_seed

HumanText = Literal["given", "drawn"]
Reserve = Literal["now", "first", "all"]

#: A share that is missed by more than this is said in a note.
TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class ConstantHumanFraction:
    """Human text is the share `fraction` of what is trained on, in every generation and under every workflow.

    The amount of text stays what came in (in documents or tokens, as `by` says); only its parts change. `human` says
    where human text comes from when there is too little: "given" takes the human documents that came in more often;
    "drawn" takes documents of `reserve` that are not in the pool, and repeats only when those are used up. The
    reserve is the human text of blocks that a completion stood in for: of this generation ("now"), of generation 1
    ("first"), or of all generations so far ("all").

    Source: arXiv 2502.18865 (a constant share of human text keeps the recursion stable).
    """

    fraction: float = 0.1
    by: Unit = "tokens"
    human: HumanText = "drawn"
    reserve: Reserve = "now"

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"fraction lies between 0 and 1, not at {self.fraction}")
        _check(self.by, self.human, self.reserve)

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The documents with whole weights; drawn human documents stand after those that came in."""
        live = [document for document in documents if document.weight > 0]
        extra = _reserve(live, history, self.reserve, generation) if self.human == "drawn" else []
        if not mass(_synthetic(live), self.by):
            return _passed_on(live, "synthetic", asked=len(documents))
        if self.fraction > 0 and not mass(_human([*live, *extra]), self.by):
            raise RunFailed(
                f"human text shall be {self.fraction:.0%} of what is trained on, and there is none",
                hint='set human = "drawn", or synthetic_fraction below 1'
                if self.human == "given"
                else "take prompts that are human text: a model's own text has no human document beside it",
            )
        random = Random(derived_seed("constant_human_fraction", seed, generation))
        return _balanced(live, extra, fraction=self.fraction, by=self.by, random=random, asked=len(documents))


@dataclass(frozen=True, kw_only=True)
class GoldenRatio:
    """Human text gets the weight w = (sqrt(k^2 + 4k) - k) / 2, where k is the size of human over synthetic text.

    w is the share of human text in what is trained on. It solves w^2 = k (1 - w): 0.618 (the inverse of the golden
    ratio) where both are of one size, 1 without synthetic text, 0 without human text. It minimises the limit of the
    error when a mean is estimated again and again from human samples and samples of the last estimate. That k is
    human over synthetic is our reading of the source. `ratio` fixes k; without it k is counted in what comes in, in
    documents or tokens (`by`). `human` and `reserve` as in `constant_human_fraction`, but the whole reserve counts
    as human text that there is.

    Source: He et al., arXiv 2502.18049.
    """

    ratio: float | None = None
    by: Unit = "tokens"
    human: HumanText = "given"
    reserve: Reserve = "now"

    def __post_init__(self) -> None:
        if self.ratio is not None and not 0 < self.ratio < math.inf:
            raise ValueError(f"ratio is human over synthetic text, a number above 0, not {self.ratio}")
        _check(self.by, self.human, self.reserve)

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The documents with whole weights; without human or without synthetic text as they came, with a note."""
        live = [document for document in documents if document.weight > 0]
        extra = _reserve(live, history, self.reserve, generation) if self.human == "drawn" else []
        human, synthetic = mass(_human([*live, *extra]), self.by), mass(_synthetic(live), self.by)
        if not human or not synthetic:
            return _passed_on(live, "human" if not human else "synthetic", asked=len(documents))
        ratio = human / synthetic if self.ratio is None else self.ratio
        random = Random(derived_seed("golden_ratio", seed, generation))
        fraction = golden_weight(ratio)
        mixed = _balanced(live, extra, fraction=fraction, by=self.by, random=random, asked=len(documents))
        return replace(mixed, requested={**mixed.requested, "ratio": ratio})


def golden_weight(k: float) -> float:
    """The weight of human text for k = human / synthetic size: (sqrt(k^2 + 4k) - k) / 2, without cancellation."""
    return 0.0 if k <= 0 else 2.0 / (1.0 + math.sqrt(1.0 + 4.0 / k))


def _check(by: str, human: str, reserve: str) -> None:
    for name, value, known in (("by", by, Unit), ("human", human, HumanText), ("reserve", reserve, Reserve)):
        if value not in get_args(known):
            raise ValueError(f"{name} is one of {', '.join(get_args(known))}, not {value!r}")


def _human(documents: Iterable[Document]) -> list[Document]:
    return [document for document in documents if document.source == "human"]


def _synthetic(documents: Iterable[Document]) -> list[Document]:
    return [document for document in documents if document.source == "synthetic"]


def _reserve(documents: Sequence[Document], history: History, reserve: Reserve, generation: int) -> list[Document]:
    """Human documents of the past that are not in the pool, each once, oldest first."""
    wanted = {"now": range(generation, generation + 1), "first": range(1, 2), "all": range(1, generation + 1)}[reserve]
    taken = {document.id for document in documents}
    found: list[Document] = []
    for past in wanted:
        for document in history.human(generation=past, replaced=True):
            if document.id not in taken:
                taken.add(document.id)
                found.append(document)
    return found


def _balanced(
    live: Sequence[Document], extra: Sequence[Document], *, fraction: float, by: Unit, random: Random, asked: int
) -> Mixed:
    """As much text as `live` holds, of which `fraction` is human. `extra` is taken only where `live` has too little."""
    size = mass(live, by)
    human_here, human_more, synthetic = mass(_human(live), by), mass(extra, by), mass(_synthetic(live), by)
    human_wanted, synthetic_wanted = fraction * size, (1 - fraction) * size
    if human_wanted <= human_here:
        here, more = _factor(human_wanted, human_here), 0.0
    elif human_wanted <= human_here + human_more:
        here, more = 1.0, _factor(human_wanted - human_here, human_more)
    else:
        here = more = _factor(human_wanted, human_here + human_more)
    factors = {"human": here, "synthetic": _factor(synthetic_wanted, synthetic)}
    pool = [*live, *extra]
    wanted = [d.weight * (factors[d.source] if place < len(live) else more) for place, d in enumerate(pool)]
    # Human and synthetic text are rounded apart: each then has its own size.
    times = [0] * len(pool)
    for of in ("human", "synthetic"):
        places = [place for place, document in enumerate(pool) if document.source == of]
        found = whole_weights([pool[p] for p in places], [wanted[p] for p in places], random)
        for place, number in zip(places, found, strict=True):
            times[place] = number
    kept = tuple(replace(d, weight=float(n)) for d, n in zip(pool, times, strict=True) if n)
    dropped = {
        f"{of} text above its share": sum(d.source == of and not n for d, n in zip(live, times, strict=False))
        for of in ("human", "synthetic")
    }
    dropped["weight 0"] = asked - len(live)
    achieved = {
        **counts(kept),
        **drawn_counts(kept),
        "drawn_from_the_reserve": sum(times[len(live) :]),
        "most_repeats": max(times, default=0),
    }
    requested = {"documents": asked, f"drawn_{by}": size, f"human_share_of_drawn_{by}": fraction}
    notes = [_missed(achieved[f"human_share_of_drawn_{unit}"], fraction, unit) for unit in get_args(Unit)]
    if here > 1:
        notes.append(f"there is too little human text: its documents are taken {here:.2f} times on average")
    return Mixed(
        documents=kept,
        requested=requested,
        achieved=achieved,
        notes=tuple(note for note in notes if note),
        dropped={reason: number for reason, number in dropped.items() if number},
    )


def _passed_on(live: Sequence[Document], missing: str, *, asked: int) -> Mixed:
    """What came in, where one side of the balance is empty."""
    note = f"there is no {missing} text, so there is nothing to weigh: what came in is passed on"
    return Mixed(
        documents=tuple(live),
        requested={"documents": asked},
        achieved={**counts(live), **drawn_counts(live)},
        notes=(note,),
        dropped={"weight 0": asked - len(live)} if asked > len(live) else {},
    )


def _factor(wanted: float, there: float) -> float:
    return round(wanted / there, 12) if there else 0.0  # a share that is met stays exactly 1


def _missed(share: float, wanted: float, unit: str) -> str:
    """A note where a share is not what was asked for; "" where it is."""
    if abs(share - wanted) <= TOLERANCE:
        return ""
    return f"human text is {share:.1%} of the {unit}, not {wanted:.1%}"

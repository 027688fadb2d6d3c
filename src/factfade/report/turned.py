"""Which facts a checkpoint lost and gained against the base: one call per item over all its formats and wordings.

An item is known where it is right in more than half of the ways it was put and judged at both ends. It is lost where
it was known and is wrong now in more than half of the ways in which it was right, and right in fewer ways than before.
Gained is the same with the two ends exchanged, so that a model that only wavers shows as many of the one as of the
other, and `stats.turnover` can tell how many of the losses that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from factfade.columns import Codes, Floats
from factfade.records import PROBES
from factfade.stage_panel import Panel, Panels
from factfade.stats.turnover import Turnover, turnover


@dataclass(frozen=True, kw_only=True)
class Turned:
    """The items of one lineage and seed at the base and at one position. Arrays have one entry per item.

    `ways` counts the formats and wordings judged at both ends, `right` and `now` those right at the base and here,
    `wrong_now` those right at the base and wrong here, `right_now` the opposite. `unjudged` counts items that the base
    was judged on and this position nowhere (no answer that could be read): they are neither lost nor kept.
    """

    items: Codes
    clusters: Codes
    ways: Codes
    right: Codes
    now: Codes
    wrong_now: Codes
    right_now: Codes
    unjudged: int
    turns: Turnover

    @property
    def known(self) -> NDArray[np.bool_]:
        """Right in more than half of its ways at the base."""
        return 2 * self.right > self.ways

    @property
    def known_now(self) -> NDArray[np.bool_]:
        """Right in more than half of its ways here."""
        return 2 * self.now > self.ways

    @property
    def strength(self) -> Floats:
        """Ways that turned wrong of a lost item, less than 0 and ways that turned right of a gained one, else 0."""
        return strength(self.ways, self.right, self.now, self.wrong_now, self.right_now)

    @property
    def lost(self) -> NDArray[np.bool_]:
        """The items that are lost."""
        return self.strength > 0

    @property
    def gained(self) -> NDArray[np.bool_]:
        """The items that are gained."""
        return self.strength < 0


def strength(ways: Codes, right: Codes, now: Codes, wrong_now: Codes, right_now: Codes) -> Floats:
    """The signed strength of each item, of counts as in `Turned`. Exchanging the ends turns its sign and no more."""
    lost = (2 * right > ways) & (2 * wrong_now > right) & (now < right)
    gained = (2 * now > ways) & (2 * right_now > now) & (right < now)
    return np.where(lost, wrong_now, 0) - np.where(gained, right_now, 0).astype(np.float64)


def turned(panels: Panels, lineage: str, seed: int, position: int) -> Turned | None:
    """The items of a lineage at a position against its base (generation 0); None where one of both is not evaluated."""
    own = [p for p in pair_of(panels, lineage, seed, position).formats.values() if p.format not in PROBES]
    if not own:
        return None
    items = np.concatenate([p.items for p in own])
    clusters = np.concatenate([p.clusters for p in own])
    ends = np.concatenate([p.knowledge for p in own])
    codes, first, at = np.unique(items, return_index=True, return_inverse=True)
    both = np.asarray(~np.isnan(ends).any(axis=1), dtype=np.bool_)
    before, after = both & (ends[:, 0] == 1.0), both & (ends[:, 1] == 1.0)

    def counted(marks: NDArray[np.bool_]) -> Codes:
        return np.bincount(at, weights=marks, minlength=len(codes)).astype(np.intp)

    counts = {
        "ways": counted(both),
        "right": counted(before),
        "now": counted(after),
        "wrong_now": counted(before & ~after),
        "right_now": counted(~before & after),
    }
    judged = counts["ways"] > 0
    asked = counted(~np.isnan(ends[:, 0])) > 0
    kept = {name: values[judged] for name, values in counts.items()}
    return Turned(
        items=codes[judged],
        clusters=clusters[first][judged],
        unjudged=int((asked & ~judged).sum()),
        turns=turnover(strength(**kept)),
        **kept,
    )


def pair_of(panels: Panels, lineage: str, seed: int, position: int) -> Panels:
    """The panels of one lineage and seed with two columns alone: the base and one position."""
    found = {
        place: _columns(panel, (0, position))
        for place, panel in panels.formats.items()
        if place[:2] == (lineage, seed) and {0, position} <= set(panel.generations)
    }
    return replace(panels, formats=found, nats={}, junk={})


def _columns(panel: Panel, generations: Sequence[int]) -> Panel:
    at = [panel.generations.index(g) for g in generations]
    return replace(
        panel,
        generations=tuple(generations),
        choice=panel.choice[:, at],
        free=panel.free[:, at],
        parseable=panel.parseable[:, at],
        choice_confidence=panel.choice_confidence[:, at],
        answer_confidence=panel.answer_confidence[:, at],
        rows=panel.rows[:, at],
        not_asked=tuple(panel.not_asked[i] for i in at),
    )

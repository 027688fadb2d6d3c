"""Two columns of aligned panels, compared endpoint by endpoint, over all questions or those of one domain.

The comparisons themselves are those of the stages (`stage_conditions`). Here stands what a comparison of two
checkpoints and a gate need beside them: domains, the rise of the confidently wrong, and what could not be paired.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from factfade import stage_conditions as conditions
from factfade.columns import as_text
from factfade.stage_conditions import Look, Pairs, Side, Test, absent
from factfade.stage_family import fluency
from factfade.stage_panel import Panel, Panels, TextPanel, text_side
from factfade.stats.paired import paired_loss
from factfade.verdicts import Condition

if TYPE_CHECKING:
    import pandas as pd

ITEM_ENDPOINTS = ("knowledge", "format", "confidence")
TEXT_ENDPOINTS = ("fluency_nats", "fluency_junk")
UNITS = {"fluency_nats": "nats"}


@dataclass(frozen=True, kw_only=True)
class Unpaired:
    """Questions (or texts) with a value on one side only: they enter no difference. `of` counts those with any."""

    before: int
    after: int
    of: int

    @property
    def total(self) -> int:
        return self.before + self.after


def testing(endpoint: str, margin: float, *, level: float, minimum: int) -> Test:
    """The test of an endpoint in its unit."""
    return Test(endpoint=endpoint, margin=margin, level=level, minimum=minimum, unit=UNITS.get(endpoint, "share"))


def domains_of(evidence: pd.DataFrame, panel: Panel) -> NDArray[Any]:
    """The domain of every question of a panel, as its first row that has one says; "" where none does."""
    values = as_text(evidence, "domain")
    found = np.full(len(panel.keys), "", dtype=object)
    for column in range(len(panel.generations)):
        rows = panel.rows[:, column]
        here = np.where(rows >= 0, values[np.maximum(rows, 0)], "")
        found = np.where(found == "", here, found)
    return found


def part(panel: Panel, chosen: NDArray[np.bool_]) -> Panel:
    """Some of the questions of a panel."""
    names = (
        "keys", "items", "clusters", "choice", "free", "parseable", "choice_confidence", "answer_confidence", "rows",
        "by_choice",
    )  # fmt: skip
    return replace(panel, **{name: getattr(panel, name)[chosen] for name in names})


def item_look(test: Test, panel: Panel, before: int, after: int, *, tau: float = 0.8) -> Look | Condition:
    """Knowledge, format or confidence between two generations of a panel, given by their positions."""
    first, second = Side(panel=panel, column=before), Side(panel=panel, column=after)
    if test.endpoint == "knowledge":
        return conditions.knowledge(test, first, second)
    if test.endpoint == "format":
        return conditions.parseable(test, first, second)
    return confident(test, panel, before, after, tau)


def confident(test: Test, panel: Panel, before: int, after: int, tau: float) -> Look | Condition:
    """Rise of the share of questions that are wrong with a confidence of `tau` or more, paired."""
    x, y = (_sure(panel, column, tau) for column in (before, after))
    keep = ~np.isnan(x) & ~np.isnan(y)
    if not keep.any():
        return absent(test, "confidence: no question has an answer with its confidence at both")
    x, y, clusters = x[keep], y[keep], panel.clusters[keep]
    found = paired_loss(1 - x, 1 - y, clusters, level=test.level)
    words = (
        f"rise of answers that are wrong with confidence of {tau:g} or more, "
        f"from {100 * x.mean():.1f}% to {100 * y.mean():.1f}%"
    )
    return Look(
        test=test,
        found=found.interval,
        n=len(np.unique(panel.items[keep])),
        units="items",
        words=words,
        p=found.p_beyond(test.margin),
        sample=Pairs(difference=y - x, clusters=clusters, effect=found.effect),
        ends=(float(x.mean()), float(y.mean())),
    )


def _sure(panel: Panel, column: int, tau: float) -> NDArray[np.float64]:
    """1 where wrong with confidence of tau or more, NaN where the answer or its confidence is not known."""
    right, confidence = panel.knowledge[:, column], panel.confidence[:, column]
    known = ~np.isnan(right) & ~np.isnan(confidence)
    return np.where(known, (right == 0.0) & (confidence >= tau), np.nan)


def unpaired_items(endpoint: str, panel: Panel, before: int, after: int) -> Unpaired:
    """Questions whose value is there on one side only.

    Knowledge by free answers is defined for parseable ones alone: an answer that cannot be read is no missing value
    there, a question that was not put is.
    """
    if endpoint == "format":
        there = [~np.isnan(panel.parseable[:, column]) for column in (before, after)]
    else:
        put = [panel.rows[:, column] >= 0 for column in (before, after)]
        judged = [
            ~np.isnan(panel.choice[:, column]) | ~np.isnan(panel.parseable[:, column]) for column in (before, after)
        ]
        by = [
            np.where(panel.by_choice, ~np.isnan(panel.choice[:, column]), judged[i])
            for i, column in enumerate((before, after))
        ]
        there = [own & known for own, known in zip(put, by, strict=True)]
        if endpoint == "confidence":
            sure = [~np.isnan(panel.confidence[:, column]) for column in (before, after)]
            there = [own & known for own, known in zip(there, sure, strict=True)]
    first, second = there
    return Unpaired(
        before=int(np.sum(first & ~second)), after=int(np.sum(~first & second)), of=int(np.sum(first | second))
    )


def text_look(test: Test, panels: Panels, run: tuple[str, int], before: int, after: int) -> Look | Condition:
    """Fluency between two generations of a run."""
    return fluency(panels, test, (run, before), (run, after))


def unpaired_texts(endpoint: str, panels: Panels, run: tuple[str, int], before: int, after: int) -> Unpaired:
    """Fixed prompts whose completion is known on one side only."""
    table = panels.nats if endpoint == "fluency_nats" else panels.junk
    first, second = text_side(table, run, before), text_side(table, run, after)
    known = [set[int]() if side is None else _known(*side) for side in (first, second)]
    return Unpaired(before=len(known[0] - known[1]), after=len(known[1] - known[0]), of=len(known[0] | known[1]))


def _known(panel: TextPanel, column: int) -> set[int]:
    there = ~np.isnan(np.sum([values[:, column] for values in panel.values.values()], axis=0))
    return set(panel.keys[there].tolist())


def changed_prompts(panels: Panels, panel: Panel, before: int, after: int) -> dict[str, int]:
    """Questions whose prompt or chat template is another one at the second generation, by what changed."""
    found: dict[str, int] = {}
    rows = [panel.rows[:, column] for column in (before, after)]
    both = (rows[0] >= 0) & (rows[1] >= 0)
    for name in ("prompt_sha256", "template_sha256"):
        values = getattr(panels.answers, name)
        first, second = (values[np.maximum(one, 0)] for one in rows)
        known = both if name == "template_sha256" else both & (first != "") & (second != "")
        count = int(np.sum(known & (first != second)))
        if count:
            found[name.removesuffix("_sha256")] = count
    return found

"""Two checkpoints, runs, arms or evidence files, compared question by question.

Both sides become one table of two generations, A before and B after, so that pairing, losses and lost items are those
of the stages. Losses are A minus B: positive where B is worse. `docs/compare-and-gate.md` argues for every choice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from factfade import compare_looks as looks
from factfade.analysis import slope_formats, study_of
from factfade.compare_contrasts import LINEAGE, Contrast, contrasts_of, over_seeds, settled
from factfade.compare_prints import Fingerprint, check_allowed, fingerprints, refuse
from factfade.compare_sides import Picked, pick
from factfade.errors import UsageError
from factfade.records import PROBES
from factfade.stage_panel import Panels, build_panels
from factfade.verdicts import Finding

if TYPE_CHECKING:
    import pandas as pd

    from factfade.report.data import Change


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What one side turned out to be."""

    label: str
    lineage: str
    seeds: tuple[int, ...]
    generation: int
    checkpoint: str
    step: int | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that is said of B against A. `interactions` ask whether formats fell differently, by pair of seeds;
    `lost` and `gained` are questions, most telling first; `unpaired` counts questions that only one side judged."""

    a: Chosen
    b: Chosen
    fingerprints: tuple[Fingerprint, ...]
    contrasts: tuple[Contrast, ...]
    interactions: tuple[Finding, ...]
    lost: tuple[Change, ...]
    gained: tuple[Change, ...]
    unpaired: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def contrast(self, endpoint: str, format: str = "", domain: str = "") -> Contrast | None:
        """The first line of that endpoint, format and domain; None where there is none."""
        at = (endpoint, format, domain)
        return next((c for c in self.contrasts if (c.endpoint, c.format, c.domain) == at), None)


def compare(a: str | Path | Picked, b: str | Path | Picked, *, allow: Collection[str] = ()) -> Comparison:
    """B against A, paired by question. Each side is `PATH[:LINEAGE][#SEED][@WHERE]` or picked already.

    `allow` names fields of the fingerprint that may differ. Raises UsageError where another one differs, where the
    sides have no seed or no question in common, and what the readers raise.
    """
    check_allowed(allow)
    first = a if isinstance(a, Picked) else pick(a)
    second = b if isinstance(b, Picked) else pick(b)
    prints = fingerprints(first, second, allow=allow)
    refuse(prints)
    pairs = _seed_pairs(first, second)
    evidence, panels = _joined(first, second, pairs)
    silent = next(one for one in prints if one.field == "reference").state == "differs"
    found = [c for at, seeds in enumerate(pairs) for c in contrasts_of(evidence, panels, at, seeds, silent=silent)]
    if all(c.loss is None for c in found if c.endpoint in looks.ITEM_ENDPOINTS):
        raise UsageError("no question was judged on both sides", hint="compare evidence of the same questions")
    lost, gained = _changes(evidence, panels)
    return Comparison(
        a=_chosen(first),
        b=_chosen(second),
        fingerprints=prints,
        contrasts=tuple(settled([*over_seeds(found), *found] if len(pairs) > 1 else found)),
        interactions=_interactions(evidence, len(pairs)),
        lost=lost,
        gained=gained,
        unpaired=_unpaired(panels),
        notes=_notes(first, second, pairs),
    )


def _chosen(side: Picked) -> Chosen:
    return Chosen(
        label=side.label, lineage=side.lineage, seeds=side.seeds, generation=side.generation,
        checkpoint=side.checkpoint, step=side.step,
    )  # fmt: skip


def _seed_pairs(a: Picked, b: Picked) -> list[tuple[int, int]]:
    """Seeds that stand for each other: one of each side, or the same on both."""
    if len(a.seeds) == len(b.seeds) == 1:
        return [(a.seeds[0], b.seeds[0])]
    both = sorted(set(a.seeds) & set(b.seeds))
    if not both:
        raise UsageError(
            f"the sides have no seed in common: {list(a.seeds)} and {list(b.seeds)}", hint="name one each: PATH#SEED"
        )
    return [(seed, seed) for seed in both]


def _joined(a: Picked, b: Picked, pairs: Sequence[tuple[int, int]]) -> tuple[pd.DataFrame, Panels]:
    """One lineage of two generations, and its panels; its seeds are numbers of pairs."""
    import pandas as pd

    def table(name: str) -> pd.DataFrame | None:
        parts: list[pd.DataFrame] = []
        for at, seeds in enumerate(pairs):
            for generation, (side, seed) in enumerate(zip((a, b), seeds, strict=True)):
                whole: pd.DataFrame | None = getattr(side.case, name)
                if whole is not None:
                    rows = side.rows(whole, seed)
                    parts.append(rows.assign(lineage=LINEAGE, seed=at, generation=generation))
        parts = [one for one in parts if len(one)]
        return pd.concat(parts, ignore_index=True) if parts else None

    evidence = table("evidence")
    if evidence is None:
        raise UsageError("there is no evidence on either side", hint="see docs/evidence.md")
    evidence = evidence[~evidence["format"].isin(PROBES)].reset_index(drop=True)
    return evidence, build_panels(evidence, table("fluency"), table("own"))


def _interactions(evidence: pd.DataFrame, pairs: int) -> tuple[Finding, ...]:
    """Whether formats lost differently, by pair of seeds: format labels permuted within clusters of questions."""
    found: list[Finding] = []
    for at in range(pairs):
        study = study_of(evidence[evidence["seed"] == at].reset_index(drop=True))
        found += [f for f in slope_formats.findings(study, LINEAGE) if f.name == "format_interaction"]
    return tuple(found)


def _changes(evidence: pd.DataFrame, panels: Panels) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    from factfade.report.changes import changes
    from factfade.report.collect import questions_of

    formats = sorted({name for _, _, name in panels.formats})
    return changes(evidence, panels, LINEAGE, formats, questions_of(evidence))


def _unpaired(panels: Panels) -> dict[str, int]:
    """Answers by endpoint that one side has and the other has not; those without any are left out."""
    found: dict[str, int] = {}
    for panel in panels.formats.values():
        if len(panel.generations) == 2:
            for endpoint in ("knowledge", "format"):
                count = looks.unpaired_items(endpoint, panel, 0, 1).total
                if count:
                    found[endpoint] = found.get(endpoint, 0) + count
    return found


def _notes(a: Picked, b: Picked, pairs: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    notes: list[str] = []
    for name, own in (("A", a), ("B", b)):
        alone = sorted(set(own.seeds) - {pair[name == "B"] for pair in pairs})
        if alone:
            notes.append(f"Seeds of {name} that the other side does not have are left out: {alone}.")
    precisions = [
        {str(record.record.get("model", {}).get("dtype", "")) for record in side.records.values()} - {""}
        for side in (a, b)
    ]
    if all(precisions) and precisions[0] != precisions[1]:
        notes.append(f"The models ran in different precisions: {sorted(precisions[0])} and {sorted(precisions[1])}.")
    return tuple(notes)

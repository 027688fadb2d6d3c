"""The notes of a report of stages: how to read it, what its runs cannot say, and what the artefact guards found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factfade.stage_panel import Panel, Panels

if TYPE_CHECKING:
    from factfade.stage_rule import Rule

FAMILIES = {
    "run": "all endpoints, formats and generations of a run",
    "generation": "all endpoints and formats of a generation, not over generations",
}


def general_notes(panels: Panels, rule: Rule, declared_sha256: str | None) -> list[str]:
    """What holds for the whole report: how to read the brackets, and what these runs cannot say."""
    alpha = rule.alpha
    family = (
        f"a loss counts as shown beyond its margin after Holm's correction over {FAMILIES[rule.family]}"
        if rule.family in FAMILIES
        else "calls are not corrected over generations and formats"
    )
    notes = [
        f"Brackets hold the two one-sided {100 * (1 - alpha):g}% bounds of a loss (a {100 * (1 - 2 * alpha):g}% "
        f"interval); a loss is positive when it is worse than at generation 0; {family}."
    ]
    if declared_sha256 is not None and declared_sha256 != rule.sha256:
        notes.append(
            f"Read with another rule ({rule.sha256[:12]}) than the one declared before the data "
            f"({declared_sha256[:12]}): a later reading, not the declared test."
        )
    if declared_sha256 is None:
        notes.append("No rule was declared before these data: read the calls as exploration.")
    seeds: dict[str, set[int]] = {}
    for name, seed, _ in panels.formats:
        seeds.setdefault(name, set()).add(seed)
    one = sorted(name for name, found in seeds.items() if len(found) == 1)
    if one:
        notes.append(
            f"One run each of {', '.join(one)}: the calls speak of these checkpoints. Whether the recipe makes models "
            "fall, and at which generation, needs several seeds: the unit there is the training run, not the item."
        )
    if any(len(found) > 1 for found in seeds.values()):
        notes.append(
            "Calls are made per run. How often a recipe leads to them is a question over runs: the run is the unit."
        )
    if panels.missing_columns:
        notes.append(f"The evidence has no column {' and no '.join(panels.missing_columns)}.")
    if panels.unknown_outcomes:
        notes.append(f"{panels.unknown_outcomes:,} outcomes are none of the schema's and are left out.")
    return notes


def _place(panel: Panel) -> str:
    return f"{panel.lineage} (seed {panel.seed}), {panel.format}"


def no_start(panel: Panel) -> str:
    return f"{_place(panel)}: no generation 0, so nothing can be called."


def not_asked(panel: Panel, count: int, rows: int) -> str:
    return f"{_place(panel)}: {count:,} of {rows:,} questions are not asked (outside every n)."


def items_missing(panel: Panel, count: int) -> str:
    return f"{_place(panel)}: up to {count:,} questions are missing in one generation and are left out of its pairs."


def junk_at_start(panel: Panel, share: float, n: int) -> str:
    return (
        f"{panel.lineage} (seed {panel.seed}): {100 * share:.1f}% of the start model's own completions (n = {n}) are "
        "junk already: check padding, template and decoding before reading any stage."
    )


MARKS = {
    "right_padding": "the prompts of its synthesis are padded on the right, which a decoder continues with junk: a "
    "published artefact is replicated here, and what it shows is not collapse alone."
}


def marked(panel: Panel, mark: str) -> str:
    return f"{panel.lineage} (seed {panel.seed}): {MARKS.get(mark, f'its record says {mark}.')}"


def items_duplicated(panel: Panel, count: int, rows: int) -> str:
    return (
        f"{_place(panel)}: {count:,} of {rows:,} prompts repeat another item's: these items are not independent, and "
        "n is smaller than it looks."
    )


def changed(panel: Panel, generation: int, flag: str, count: int, rows: int) -> str:
    what = "prompts" if flag == "prompts_changed" else "chat templates"
    return (
        f"{_place(panel)}, generation {generation}: the {what} of {count:,} of {rows:,} questions differ from those of "
        "generation 0: the call is withheld."
    )


def control_differs(panel: Panel, control: str, count: int, rows: int) -> str:
    return (
        f"{_place(panel)}: {count:,} of {rows:,} questions were put otherwise to its control {control}: what is "
        "attributed to the recursion may be the prompt."
    )


def unbalanced_keys(panel: Panel, position: int, share: float, size: int, n: int) -> str:
    return (
        f"{_place(panel)}: option {position + 1} is the right one in {100 * share:.1f}% of {n:,} questions with {size} "
        "options: a constant answer looks like knowledge; read kappa and balanced accuracy beside it."
    )


def position_drift(panel: Panel, generation: int, position: int, before: float, after: float) -> str:
    return (
        f"{_place(panel)}, generation {generation}: option {position + 1} is chosen in {100 * after:.1f}% of the "
        f"choices, at the start in {100 * before:.1f}%: a part of the loss is a preference for a position."
    )


def position_bias(panel: Panel, position: int, chosen: float, right: float) -> str:
    return (
        f"{_place(panel)}: the start model picks option {position + 1} in {100 * chosen:.1f}% of its choices, where it "
        f"is right in {100 * right:.1f}%: part of its accuracy is position, not knowledge."
    )


def little_known(panel: Panel, share: float, chance: float, n: int) -> str:
    return (
        f"{_place(panel)}: the start model is right in {100 * share:.1f}% (n = {n:,}), chance is {100 * chance:.1f}%: "
        "there is little knowledge to lose, and stage A says little."
    )

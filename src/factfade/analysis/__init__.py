"""Analyses: what the stored tables say over generations, beyond one stage call. Pure functions; no model is touched.

Each module below answers one question and returns findings; `docs/statistics.md` says which method and why.
`analyse` runs them. The estimand is in every finding: "checkpoints" (these models fell; questions are the unit) or
"recipe" (training like this makes models fall; training runs are the unit).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from factfade import registry
from factfade.analysis.study import Study, study_of
from factfade.errors import ConfigError
from factfade.verdicts import Finding

__all__ = ["ANALYSES", "Study", "analyse", "beside_stages", "study_of"]

# The kinds in the order in which they are printed; other packages may add theirs (`registry`).
ANALYSES: tuple[str, ...] = tuple(registry.BUILTIN["analysis"])
# What the papers call them.
ALIASES = {
    "error_floor": "decay",
    "cue_recovery": "cues",
    "knowledge_retention": "continuations",
    "attribution": "ablation",
    "format_sensitivity": "sensitivity",
    "recursive_stability": "stability",
}


# Names of the findings that stand beside the stages: the primary alarm of each run, the same against the control, and
# what the recipe does over all formats. The others are `factfade analyse`'s.
BESIDE_STAGES = ("trend", "trend_over_control", "recipe_trend")


def beside_stages(study: Study) -> list[Finding]:
    """The few findings that every report of stages carries."""
    return [one for one in analyse(study, ["trend"]) if one.name in BESIDE_STAGES and not one.format]


def analyse(study: Study, kinds: Sequence[str] | None = None) -> list[Finding]:
    """The findings of every analysis, or of those named. Raises ConfigError for a kind that does not exist."""
    found: list[Finding] = []
    known = registry.kinds("analysis")
    for kind in dict.fromkeys(ALIASES.get(name, name) for name in (known if kinds is None else kinds)):
        if kind not in known:
            raise ConfigError(f"there is no analysis {kind!r}", hint=f"one of {', '.join(known)}")
        run = cast("Callable[[Study], list[Finding]]", registry.find("analysis", kind))
        found += run(study)
    return found

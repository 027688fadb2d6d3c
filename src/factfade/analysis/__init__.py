"""Analyses: what the stored tables say over generations, beyond one stage call. Pure functions; no model is touched.

Each module below answers one question and returns findings; `docs/statistics.md` says which method and why.
`analyse` runs them. The estimand is in every finding: "checkpoints" (these models fell; questions are the unit) or
"recipe" (training like this makes models fall; training runs are the unit).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

from factfade.analysis.study import Study, study_of
from factfade.errors import ConfigError
from factfade.verdicts import Finding

__all__ = ["ANALYSES", "Study", "analyse", "beside_stages", "study_of"]

# Kind -> module with `findings(study) -> list[Finding]`, in the order in which they are printed.
ANALYSES: dict[str, str] = {
    "trend": "factfade.analysis.trends",
    "slope": "factfade.analysis.slopes",
    "decay": "factfade.analysis.decay",
    "retention": "factfade.analysis.retention",
    "calibration": "factfade.analysis.calibration",
    "cues": "factfade.analysis.cues",
    "continuations": "factfade.analysis.continuations",
    "ablation": "factfade.analysis.ablation",
    "sensitivity": "factfade.analysis.sensitivity",
    "mediation": "factfade.analysis.mediation",
    "lead_lag": "factfade.analysis.lead_lag",
    "stability": "factfade.analysis.stability",
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
    for kind in ANALYSES if kinds is None else kinds:
        if kind not in ANALYSES:
            raise ConfigError(f"there is no analysis {kind!r}", hint=f"one of {', '.join(ANALYSES)}")
        run: Callable[[Study], list[Finding]] = importlib.import_module(ANALYSES[kind]).findings
        found += run(study)
    return found

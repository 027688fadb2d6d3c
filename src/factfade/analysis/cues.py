"""Erased, or not elicited? What comes back of lost items when they are cued (after arXiv 2411.11932).

Lost is an item that was answered right at generation 0 and is not answered right now, both asked plainly. It is asked
again with a suffix that says nothing, with a part of the answer, and by likelihood among the candidates. A cue also
helps with facts that were never known: what it brings to items that were wrong at generation 0 is the base rate, and
only what comes back above it was not erased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from factfade.analysis.aligned import Aligned, aligned, right_answers
from factfade.analysis.saying import finding, number, plain, said
from factfade.columns import Codes, Floats, as_float, as_lists, as_text
from factfade.stats.intervals import Interval, share
from factfade.stats.unpaired import difference

if TYPE_CHECKING:
    import pandas as pd

    from factfade.analysis.study import Study
    from factfade.verdicts import Finding

FORMAT = "cue_recovery"
CUES = {
    "uninformative": "with a suffix that says nothing",
    "partial": "with a part of the answer",
    "likelihood": "by likelihood",
}
# Items below which a share of them decides nothing: Wilson's interval of 20 is 40 points wide.
MINIMUM = 20
# What comes back above the base rate by less than this counts as nothing: the loss is then called an erasure.
MARGIN = 0.10
# A cue under which fewer of the items answered at generation 0 are still answered disturbs more than it helps.
WORKS = 0.5


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """One cue at one generation. `kept`: of the items right plainly at generation 0, those right under the cue there.

    `base` is the share of items wrong plainly at generation 0 that are right under the cue there; None where there are
    fewer than `MINIMUM` of them and no guessing level stands in. `excess` is `recovered` minus it.
    """

    recovered: Interval
    base: Interval | None
    kept: Interval
    excess: Interval | None
    verdict: str
    reason: str


def findings(study: Study) -> list[Finding]:
    """One finding per run and cue, of its last generation, with the curve over generations in `extra`."""
    runs = aligned(study.evidence, FORMAT)
    if not runs:
        return []
    right = right_answers(study.evidence)
    choice = as_float(study.evidence, "choice_correct")
    guess = guessing(study.evidence)
    return [_finding(run, cue, right, choice, guess, study.alpha) for run in runs for cue in CUES]


def guessing(evidence: pd.DataFrame) -> Floats:
    """What guessing gets of each row's question: the larger of one in the number of its candidates and the share of its
    relation's most frequent answer; NaN where neither is known."""
    options, gold = as_lists(evidence, "options"), as_float(evidence, "gold")
    template = as_text(evidence, "template")
    item = as_text(evidence, "item")
    answers: dict[str, dict[str, str]] = {}
    for row, shown in enumerate(options):
        if shown is not None and not np.isnan(gold[row]) and 0 <= int(gold[row]) < len(shown):
            answers.setdefault(str(template[row]), {})[str(item[row])] = str(shown[int(gold[row])])
    majority = {name: _most(list(own.values())) for name, own in answers.items()}
    return np.array(
        [
            np.nan if shown is None or len(shown) < 2 else max(1 / len(shown), majority.get(str(name), 0.0))
            for shown, name in zip(options, template, strict=True)
        ]
    )


def _most(answers: list[str]) -> float:
    counts = np.unique(np.array(answers, dtype=str), return_counts=True)[1]
    return float(counts.max() / counts.sum())


def recovery(
    plainly: Floats,
    start: Floats,
    cued: Floats,
    cued_start: Floats,
    clusters: Codes,
    *,
    guess: Floats | None = None,
    alpha: float = 0.05,
) -> Recovery:
    """The diagnosis of one cue: 0/1 answers now and at generation 0, plainly and cued, NaN where not asked.

    `guess` is what guessing gets of each item; it stands in for the base rate where fewer than `MINIMUM` items were
    wrong at generation 0. Bounds are one-sided at `alpha`.
    """
    level = 1 - 2 * alpha

    def of(where: np.ndarray, values: Floats) -> Interval:
        use = where & ~np.isnan(values)
        return share(values[use], clusters[use], level=level)

    lost = (start == 1.0) & (plainly == 0.0)
    recovered, kept = of(lost, cued), of(start == 1.0, cued_start)
    unknown = of(start == 0.0, cued_start)
    base: Interval | None = unknown
    if unknown.n < MINIMUM:
        base = None if guess is None else _guessed(guess[lost & ~np.isnan(cued)], level)
    excess = None if base is None else difference(recovered, base)
    verdict, reason = _verdict(recovered, unknown, kept, excess)
    return Recovery(recovered=recovered, base=base, kept=kept, excess=excess, verdict=verdict, reason=reason)


def _guessed(guess: Floats, level: float) -> Interval | None:
    """The guessing level of the items that were lost, taken as known."""
    if not len(guess) or np.isnan(guess).any():
        return None
    value = float(guess.mean())
    n = len(guess)
    return Interval(value=value, low=value, high=value, n=n, clusters=n, level=level, method="guessing")


def _verdict(recovered: Interval, unknown: Interval, kept: Interval, excess: Interval | None) -> tuple[str, str]:
    if recovered.n < MINIMUM:
        return "undetermined", f"{recovered.n} items were lost and asked with the cue; it takes {MINIMUM}"
    if kept.value is not None and kept.value < WORKS:
        return "undetermined", (
            f"the cue disturbs: of the items right at generation 0 only {said(kept, 'share')} are right with it there"
        )
    if excess is None or excess.low is None or excess.high is None:
        return "undetermined", (
            f"{unknown.n} items were wrong at generation 0; it takes {MINIMUM} to know what the cue brings to a fact "
            "that is not known"
        )
    if excess.high < MARGIN:
        return "erased", ""
    if excess.low > 0.0:
        return "not elicited", ""
    return "undetermined", f"{said(excess, 'share')} above the base rate holds both nothing and more than {MARGIN:.0%}"


def _finding(run: Aligned, cue: str, right: Floats, choice: Floats, guess: Floats, alpha: float) -> Finding:
    place = (run.lineage, run.seed, FORMAT)
    name = f"recovered_{cue}"
    plainly = run.matrix("plain", right)
    cued = run.matrix("plain", choice) if cue == "likelihood" else run.matrix(cue, right)
    start = run.start
    later = [j for j, g in enumerate(run.generations) if g > 0]
    if start is None or not later:
        reason = "generation 0 is missing" if start is None else "there is no later generation"
        return finding("cues", name, place, None, f"Undetermined: {reason}.", reason=reason)
    if np.isnan(plainly).all():
        reason = "there are no free answers"
        return finding("cues", name, place, None, f"Undetermined: {reason}.", reason=reason)
    # A part of the answer narrows the candidates by an amount that is not stored: nothing stands in for its base rate.
    stands_in = None if cue == "partial" else run.matrix("plain", guess)[:, start]
    found = [
        recovery(
            plainly[:, j], plainly[:, start], cued[:, j], cued[:, start], run.clusters, guess=stands_in, alpha=alpha
        )
        for j in later
    ]
    last, generation = found[-1], run.generations[later[-1]]
    sentence = _sentence(last, cue, generation)
    return finding(
        "cues",
        name,
        place,
        last.recovered,
        sentence,
        reason=last.reason,
        verdict=last.verdict,
        generation=generation,
        recovered=plain(last.recovered),
        base=None if last.base is None else {**plain(last.base), "method": last.base.method},
        kept=plain(last.kept),
        excess=None if last.excess is None else plain(last.excess),
        curve=[
            {"generation": run.generations[j], "verdict": one.verdict, **plain(one.recovered)}
            for j, one in zip(later, found, strict=True)
        ],
    )


def _sentence(found: Recovery, cue: str, generation: int) -> str:
    how = CUES[cue]
    if found.verdict == "undetermined" or found.base is None or found.excess is None:
        return f"Undetermined whether the facts lost at generation {generation} are erased ({how}): {found.reason}."
    against = f"{said(found.base, 'share')} for facts not known at generation 0"
    if found.base.method == "guessing":
        against = f"{number(found.base.value or 0.0, 'share')} by guessing"
    judged = "they were not all erased" if found.verdict == "not elicited" else "no cue of this kind brings them back"
    return (
        f"Of the items lost at generation {generation}, {said(found.recovered, 'share')} are right {how}, against "
        f"{against}: {said(found.excess, 'share')} more; {judged}."
    )

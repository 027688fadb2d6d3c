"""Does the answer hang on the entity asked about? Token ablation by segment (after arXiv 2412.18952).

The drop of a segment is the right answer's log-probability in the whole prompt less that in the prompt without it. The
share of the entity is its mean drop over the sum of the mean drops of entity, question words and format. A segment
whose removal does not lower the answer's probability carries nothing. A share that falls over generations means that
the answer comes more and more from something else than what was asked: spurious answering.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from factfade.analysis.aligned import Aligned, aligned, option_values
from factfade.analysis.saying import finding, plain, said
from factfade.columns import Codes, Floats, as_float
from factfade.stats.information import log_normalised
from factfade.stats.intervals import Interval, mean, ratio
from factfade.stats.paired import paired_ratio

if TYPE_CHECKING:
    import pandas as pd

    from factfade.analysis.study import Study
    from factfade.verdicts import Finding

FORMAT = "attribution"
SEGMENTS = ("entity", "question-words", "format")
MINIMUM = 20
# "said": the log-probability of the right answer's text. "chosen": its share among the candidates, per token.
KINDS = {"said": "the right answer's text", "chosen": "the right answer among the candidates"}


def findings(study: Study) -> list[Finding]:
    """Per run and kind of drop: the entity's share at the last generation, and its change since generation 0."""
    runs = aligned(study.evidence, FORMAT)
    if not runs:
        return []
    level = 1 - 2 * study.alpha
    return [
        one
        for kind, values in zip(KINDS, right_values(study.evidence), strict=True)
        for run in runs
        for one in _run(run, kind, drops(run, values), level)
    ]


def right_values(evidence: pd.DataFrame) -> tuple[Floats, Floats]:
    """Log-probability of the right answer: of its text (sum), and among the candidates (means, normalised)."""
    gold = as_float(evidence, "gold")
    spoken, chosen = np.full(len(gold), np.nan), np.full(len(gold), np.nan)
    for row, (sums, means) in enumerate(zip(*option_values(evidence), strict=True)):
        at = -1 if np.isnan(gold[row]) else int(gold[row])
        if sums is not None and 0 <= at < len(sums):
            spoken[row] = sums[at]
        if means is not None and 0 <= at < len(means) and len(means) > 1:
            chosen[row] = log_normalised(means)[at]
    return spoken, chosen


def drops(run: Aligned, values: Floats) -> Floats:
    """(segments, items, generations): what the right answer loses with each segment, in nats.

    NaN for an item without its entity's or its question words' wording; an item without format words has no drop there.
    """
    full = run.matrix("full", values)
    found = np.stack([full - run.matrix(f"without-{segment}", values) for segment in SEGMENTS])
    there = ~np.isnan(found[0]) & ~np.isnan(found[1])
    found[2] = np.where(there & np.isnan(found[2]), 0.0, found[2])
    return np.where(there, found, np.nan)


def _sides(drop: Floats) -> tuple[Floats, Floats]:
    """Numerators and denominators of the entity's share: segments whose mean drop is not positive carry nothing."""
    carrying = drop.mean(axis=1) > 0.0
    return drop[0] * carrying[0], (drop * carrying[:, None]).sum(axis=0)


def entity_share(drop: Floats, clusters: Codes, level: float) -> tuple[Interval, str]:
    """The entity's share of one generation's drops (segments, items), and why it is not determined ("" where it is).

    Bounds are linearised, and cut at 0 and 1.
    """
    n = drop.shape[1]
    if n < MINIMUM:
        return Interval(value=None, low=None, high=None, n=n, clusters=0, level=level, method=""), (
            f"{n} items have their entity in the prompt and were asked without it; it takes {MINIMUM}"
        )
    top, bottom = _sides(drop)
    total = mean(bottom, clusters, level=level)
    found = ratio(top, bottom, clusters, level=level)
    if total.low is None or total.low <= 0.0:
        return found, "no segment is shown to carry the answer: " + said(total, "nats") + " in all"
    clipped = Interval(
        value=found.value,
        low=None if found.low is None else max(0.0, found.low),
        high=None if found.high is None else min(1.0, found.high),
        n=found.n,
        clusters=found.clusters,
        level=level,
        method=found.method,
    )
    return clipped, ""


def _run(run: Aligned, kind: str, drop: Floats, level: float) -> list[Finding]:
    place = (run.lineage, run.seed, FORMAT)
    known = [~np.isnan(drop[0, :, j]) for j in range(len(run.generations))]
    shares = [entity_share(drop[:, use, j], run.clusters[use], level) for j, use in enumerate(known)]
    means = [
        {segment: plain(mean(drop[s, use, j], run.clusters[use], level=level)) for s, segment in enumerate(SEGMENTS)}
        for j, use in enumerate(known)
    ]
    (last, reason), generation = shares[-1], run.generations[-1]
    name = f"entity_share_{kind}"
    sentence = f"Undetermined at generation {generation}: {reason}."
    if not reason:
        parts = ", ".join(f"{s.replace('-', ' ')} {means[-1][s]['value']:.2f}" for s in SEGMENTS)
        sentence = (
            f"At generation {generation}, {said(last, 'share')} of the support of {KINDS[kind]} comes from the entity "
            f"asked about (mean drops in nats: {parts})."
        )
    curve = [
        {"generation": g, **plain(one), "reason": why, "drops": own}
        for g, (one, why), own in zip(run.generations, shares, means, strict=True)
    ]
    found = [finding("ablation", name, place, last, sentence, reason=reason, generation=generation, curve=curve)]
    return [*found, _change(run, kind, drop, shares, level)]


def _change(run: Aligned, kind: str, drop: Floats, shares: list[tuple[Interval, str]], level: float) -> Finding:
    """The entity's share at the last generation less that at generation 0, on the items of both."""
    place = (run.lineage, run.seed, FORMAT)
    name, generation = f"entity_share_{kind}_change", run.generations[-1]
    start = run.start
    reason = "generation 0 is missing" if start is None else "there is no later generation" if generation == 0 else ""
    if not reason and start is not None:
        reason = shares[start][1] or shares[-1][1]
    if reason or start is None:
        return finding("ablation", name, place, None, f"Change undetermined: {reason}.", reason=reason)
    both = ~np.isnan(drop[0, :, start]) & ~np.isnan(drop[0, :, -1])
    if int(both.sum()) < MINIMUM:
        reason = f"{int(both.sum())} items were asked in both generations; it takes {MINIMUM}"
        return finding("ablation", name, place, None, f"Change undetermined: {reason}.", reason=reason)
    change = paired_ratio(_sides(drop[:, both, start]), _sides(drop[:, both, -1]), run.clusters[both], level=level)
    if change.value is None or change.low is None or change.high is None:
        reason = "no segment carries the answer in one of the two generations, or there is one entity only"
        return finding("ablation", name, place, change, f"Change undetermined: {reason}.", reason=reason)
    verdict = "falls" if change.high < 0.0 else "rises" if change.low > 0.0 else "undetermined"
    meaning = {
        "falls": "the answer hangs less on what is asked, which is spurious answering where the control's does not",
        "rises": "the answer hangs more on what is asked",
        "undetermined": "no direction is shown",
    }[verdict]
    sentence = (
        f"From generation 0 to {generation} the entity's share of the support of {KINDS[kind]} changes by "
        f"{said(change, 'share')}: {meaning}."
    )
    return finding("ablation", name, place, change, sentence, verdict=verdict, generation=generation)

"""Does the answer depend on how the question is put? Divergence of the answer distributions between formats, wordings.

A distribution is the normalised likelihood of the options under the format's own rule (sum, or mean per token), brought
back to the original options: shown in another order, or as letters, they are the same options. Two ways of asking are
compared over the options that every one of them has (an open question has more candidates than a lettered one has
options). Jensen-Shannon (0 to ln 2) is the headline, since a symmetric KL hangs on the least likely options; both are
in nats, with the share of items for which both ways choose the same option.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from factfade.analysis.aligned import option_values
from factfade.analysis.saying import finding, plain, said
from factfade.columns import Codes, Floats, as_float, as_lists, as_text, clusters_of, factorized
from factfade.records import PROBES
from factfade.stats.information import jensen_shannon, log_normalised, symmetric_kl
from factfade.stats.intervals import Interval, mean, zero_event_bound

if TYPE_CHECKING:
    import pandas as pd

    from factfade.analysis.study import Study
    from factfade.verdicts import Finding

MINIMUM = 20
ENOUGH = 500  # rows out of which a format's rule is read
Key = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What two ways of asking differ by: (pairs, items, generations), NaN where one was not asked or scored."""

    generations: tuple[int, ...]
    clusters: Codes
    js: Floats
    kl: Floats
    same: Floats


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The scored rows of the evidence by run: where each belongs, its options' keys and their values under the rule."""

    runs: Mapping[tuple[str, int], Codes]
    generation: Codes
    item: Codes
    cluster: Codes
    view: Sequence[tuple[str, str]]
    keys: Sequence[tuple[Key, ...]]
    values: Sequence[Floats]

    def of(self, run: tuple[str, int]) -> Codes:
        """The rows of one (lineage, seed)."""
        return self.runs.get(run, np.zeros(0, dtype=np.intp))


def findings(study: Study) -> list[Finding]:
    """Per run the sensitivity to the format, and per format of several wordings that to the wording; with changes."""
    rows = scored_rows(study.evidence)
    level = 1 - 2 * study.alpha
    found: list[Finding] = []
    for (lineage, seed), here in rows.runs.items():
        views = sorted({rows.view[r] for r in here})
        names = sorted({format for format, _ in views})
        if len(names) > 1:
            pairs = [(a, b) for a, b in combinations(views, 2) if a[0] != b[0]]
            found += _findings((lineage, seed, ""), "format", compare(rows, here, pairs), level)
        for name in names:
            own = [view for view in views if view[0] == name]
            if len(own) > 1:
                pairs = list(combinations(own, 2))
                found += _findings((lineage, seed, name), "wording", compare(rows, here, pairs), level)
    return found


def scored_rows(evidence: pd.DataFrame) -> Rows:
    """Rows of formats that ask for knowledge and have at least two options with log-probabilities."""
    sums, means = option_values(evidence)
    format, wording = as_text(evidence, "format"), as_text(evidence, "wording")
    options, order = as_lists(evidence, "options"), as_lists(evidence, "permutation")
    scored = [r for r, own in enumerate(sums) if own is not None and len(own) > 1 and str(format[r]) not in PROBES]
    rule = {
        name: rule_of(evidence, [r for r in scored if format[r] == name], sums, means)
        for name in sorted({str(format[r]) for r in scored})
    }
    values, kept = list[Floats](), list[int]()
    for r in scored:
        own = (means if rule[str(format[r])] == "mean" else sums)[r]
        if own is not None and not np.isnan(own).any():
            kept.append(r)
            values.append(own)
    at = np.array(kept, dtype=np.intp)
    runs: dict[tuple[str, int], Codes] = {}
    if len(at):
        groups = evidence.iloc[at].groupby(["lineage", "seed"], sort=True, observed=True).indices
        runs = {(str(lineage), int(seed)): np.asarray(own, dtype=np.intp) for (lineage, seed), own in groups.items()}
    named: dict[tuple[object, ...], tuple[Key, ...]] = {}  # the same options come again in every generation
    return Rows(
        runs=runs,
        generation=evidence["generation"].to_numpy()[at].astype(np.intp) if len(at) else at,
        item=factorized(as_text(evidence, "item"))[at] if len(at) else at,
        cluster=clusters_of(evidence)[at] if len(at) else at,
        view=[(str(format[r]), str(wording[r])) for r in kept],
        keys=[_named(named, options[r], order[r], len(values[i])) for i, r in enumerate(kept)],
        values=values,
    )


def _named(
    known: dict[tuple[object, ...], tuple[Key, ...]],
    options: Sequence[str] | None,
    permutation: Sequence[int] | None,
    n: int,
) -> tuple[Key, ...]:
    shown = None if options is None else tuple(options)
    original = None if permutation is None else tuple(permutation)
    if (shown, original, n) not in known:
        known[shown, original, n] = keys_of(shown, original, n)
    return known[shown, original, n]


def keys_of(options: Sequence[str] | None, permutation: Sequence[int] | None, n: int) -> tuple[Key, ...]:
    """Names of the original options, in the order shown: their texts, equal texts told apart by original position.

    Without texts the original position alone; without a permutation the position shown.
    """
    original = list(range(n)) if permutation is None or len(permutation) != n else [int(i) for i in permutation]
    if options is None or len(options) != n:
        return tuple(("", i) for i in original)
    texts = [str(text) for text in options]
    return tuple(
        (text, sum(t == text and o < own for t, o in zip(texts, original, strict=True)))
        for text, own in zip(texts, original, strict=True)
    )


def rule_of(
    evidence: pd.DataFrame, rows: Sequence[int], sums: Sequence[Floats | None], means: Sequence[Floats | None]
) -> str:
    """The rule of a format, "sum" or "mean": the one under which the stored confidences come out.

    The record of a run names it; a table alone does not. Where nothing tells them apart, "mean" if options differ in
    length (option texts), else "sum" (they are then the same for letters).
    """
    stored = as_float(evidence, "choice_confidence")
    misses: dict[str, list[float]] = {"sum": [], "mean": []}
    for r in rows[:: max(1, len(rows) // ENOUGH)]:
        by_sum, by_mean = sums[r], means[r]
        if by_sum is None or by_mean is None or np.isnan(stored[r]):
            continue
        for name, own in (("sum", by_sum), ("mean", by_mean)):
            misses[name].append(abs(float(np.exp(log_normalised(own).max())) - float(stored[r])))
    if not misses["sum"]:
        pairs = [(s, m) for r in rows if (s := sums[r]) is not None and (m := means[r]) is not None]
        return "mean" if any(len(np.unique(np.round(s / m, 6))) > 1 for s, m in pairs) else "sum"
    return "mean" if np.mean(misses["mean"]) < np.mean(misses["sum"]) else "sum"


def compare(rows: Rows, here: Codes, pairs: Sequence[tuple[tuple[str, str], tuple[str, str]]]) -> Compared:
    """Divergences of each pair of views for each item and generation, over the options that all the views have."""
    views = {view: i for i, view in enumerate(sorted({view for pair in pairs for view in pair}))}
    used = np.array([r for r in here if rows.view[r] in views], dtype=np.intp)
    items, first, item = np.unique(rows.item[used], return_index=True, return_inverse=True)
    generations, column = np.unique(rows.generation[used], return_inverse=True)
    distinct = {(int(i), rows.keys[r]) for r, i in zip(used, item, strict=True)}
    shared: dict[int, set[Key]] = {}
    for i, keys in distinct:
        shared[i] = shared[i] & set(keys) if i in shared else set(keys)
    slots = {i: {key: k for k, key in enumerate(sorted(keys))} for i, keys in shared.items()}
    width = max((len(own) for own in slots.values()), default=0)
    # For each way in which an item's options are shown: positions of the shared ones, and where they go.
    moves = {
        (i, keys): tuple(
            np.array(places, dtype=np.intp)
            for places in (
                [p for p, key in enumerate(keys) if key in slots[i]],
                [slots[i][key] for key in keys if key in slots[i]],
            )
        )
        for i, keys in distinct
    }
    logs = np.full((len(views), len(items), len(generations), max(width, 2)), np.nan)
    for r, i, j in zip(used, item, column, strict=True):
        shown, slot = moves[int(i), rows.keys[r]]
        logs[views[rows.view[r]], i, j, slot] = rows.values[r][shown]
    left, right = (np.array([views[pair[side]] for pair in pairs]) for side in (0, 1))
    js = jensen_shannon(logs[left], logs[right])
    best = np.where(np.isnan(logs), -np.inf, logs).argmax(axis=-1)
    same = np.where(np.isnan(js), np.nan, best[left] == best[right])
    return Compared(
        generations=tuple(int(g) for g in generations),
        clusters=rows.cluster[used][first],
        js=js,
        kl=np.where(np.isnan(js), np.nan, symmetric_kl(logs[left], logs[right])),
        same=same,
    )


def over_pairs(values: Floats, use: np.ndarray) -> Floats:
    """Mean over pairs of each item, of those in `use`; NaN for an item without any."""
    count = use.sum(axis=0)
    total = np.where(use, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mean(values: Floats, clusters: Codes, level: float, *, scale: tuple[float, float] | None = None) -> Interval:
    """Mean with its t interval, cut at the ends of the scale.

    Where nothing varies the bounds are as far as an independent item could lie unseen: 1 - alpha^(1/n) of the scale.
    """
    known = np.isfinite(values)
    found = mean(values[known], clusters[known], level=level)
    if scale is None or found.value is None or found.low is None or found.high is None:
        return found
    low, high, method = found.low, found.high, found.method
    if high - low < 1e-12:
        reach = zero_event_bound(found.clusters, (1 - level) / 2) * (scale[1] - scale[0])
        low, high, method = low - reach, high + reach, "nothing varies: 1 - alpha^(1/n)"
    return replace(found, low=max(scale[0], low), high=min(scale[1], high), method=method)


def _findings(place: tuple[str, int, str], between: str, found: Compared, level: float) -> list[Finding]:
    """The mean divergence at the last generation and its change since generation 0, on the same items and pairs."""
    name, ways = f"{between}_sensitivity", f"{between}s"
    asked = ~np.isnan(found.js)
    curves: dict[str, list[Interval]] = {
        what: [
            _mean(over_pairs(values[:, :, j], asked[:, :, j]), found.clusters, level, scale=scale)
            for j in range(len(found.generations))
        ]
        for what, values, scale in (
            ("js", found.js, (0.0, float(np.log(2.0)))),
            ("kl", found.kl, None),
            ("same", found.same, (0.0, 1.0)),
        )
    }
    last, generation = curves["js"][-1], found.generations[-1]
    reason = "" if last.n >= MINIMUM else f"{last.n} items have two options in all {ways}; it takes {MINIMUM}"
    sentence = f"Sensitivity to the {between} undetermined: {reason}."
    if not reason:
        sentence = (
            f"At generation {generation} answers differ between {ways} by {said(last, 'nats')} (Jensen-Shannon, at "
            f"most 0.693); the same option is chosen in {said(curves['same'][-1], 'share')} of the pairs."
        )
    curve = [
        {"generation": g, **{what: plain(own[j]) for what, own in curves.items()}}
        for j, g in enumerate(found.generations)
    ]
    level_now = finding(
        "sensitivity", name, place, last, sentence, unit="nats", reason=reason, generation=generation, curve=curve
    )
    return [level_now, _change(place, between, found, asked, level)]


def _change(place: tuple[str, int, str], between: str, found: Compared, asked: np.ndarray, level: float) -> Finding:
    name, generation = f"{between}_sensitivity_change", found.generations[-1]
    reason = ""
    if 0 not in found.generations:
        reason = "generation 0 is missing"
    elif generation == 0:
        reason = "there is no later generation"
    if reason:
        sentence = f"Change undetermined: {reason}."
        return finding("sensitivity", name, place, None, sentence, unit="nats", reason=reason)
    start = found.generations.index(0)

    def changed(values: Floats, j: int) -> Interval:
        use = asked[:, :, start] & asked[:, :, j]
        difference = over_pairs(values[:, :, j], use) - over_pairs(values[:, :, start], use)
        return _mean(difference, found.clusters, level, scale=(-1.0, 1.0))

    change, same = changed(found.js, -1), changed(found.same, -1)
    if change.n < MINIMUM or change.low is None or change.high is None:
        reason = f"{change.n} items of {change.clusters} clusters were asked in both generations; it takes {MINIMUM}"
        sentence = f"Change undetermined: {reason}."
        return finding("sensitivity", name, place, change, sentence, unit="nats", reason=reason)
    verdict = "grows" if change.low > 0.0 else "shrinks" if change.high < 0.0 else "undetermined"
    meaning = "no direction is shown" if verdict == "undetermined" else f"the dependence on the {between} {verdict}"
    sentence = (
        f"From generation 0 to {generation} the divergence between {between}s changes by {said(change, 'nats')}: "
        f"{meaning}. The share of equal choices changes by {said(same, 'share')}."
    )
    curve = [
        {"generation": g, "js": plain(changed(found.js, j)), "same": plain(changed(found.same, j))}
        for j, g in enumerate(found.generations)
        if g > 0
    ]
    return finding(
        "sensitivity", name, place, change, sentence, unit="nats", verdict=verdict, generation=generation, curve=curve,
        same=plain(same),
    )  # fmt: skip

"""May this checkpoint be released? A policy's margins against the intervals of the losses: pass, breach, inconclusive.

With loss > 0 for worse, margin m and the interval [L, U] of the loss against generation 0: pass if U < m (with a
notice where L > 0), breach if L > m, else inconclusive, with the number of questions that would settle it. What the
policy asks for and the evidence does not hold is missing; a checkpoint whose evaluation failed is failed. Neither
passes. `docs/compare-and-gate.md` has the table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from factfade import compare_looks as looks
from factfade import compare_sides as sides
from factfade.errors import EXIT_BREACHED, EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_PASS, ConfigError
from factfade.gate_measures import (
    GATE_VERSION,
    Candidate,
    Cell,
    Failure,
    Measure,
    Measured,
    cells,
    measure,
    read_measured,
)
from factfade.judging import Case
from factfade.policy import Policy
from factfade.stage_conditions import Correction, Look, Pairs, amount_of, settle, units_needed
from factfade.stats.intervals import Interval
from factfade.stats.multiplicity import holm

Status = Literal["pass", "breach", "inconclusive", "missing", "failed"]
Result = Literal["pass", "breach", "inconclusive", "failed"]
STATUSES: tuple[Status, ...] = ("breach", "failed", "missing", "inconclusive", "pass")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of a verdict: a measure against its margin. `needed` is the number of units that would settle an
    inconclusive one; `notice` is set where a loss is shown that stays within the margin. `exit_code` is that of a
    failed evaluation: 4, or 5 where the checkpoint was refused."""

    measure: Measure
    status: Status
    margin: float
    minimum: int
    sentence: str
    needed: int | None = None
    notice: bool = False
    p: float | None = None
    exit_code: int | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict over all checks, with the policy it was made by. Equal inputs give an equal verdict.

    `formats` and `domains` are what the evidence holds, `not_gated` what of it the policy does not judge.
    """

    verdict: Result
    exit_code: int
    sentence: str
    policy: Mapping[str, Any]
    policy_sha256: str
    candidates: tuple[Candidate, ...]
    checks: tuple[Check, ...]
    formats: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    not_gated: tuple[str, ...] = ()

    def count(self, status: Status) -> int:
        """How many checks have this status."""
        return sum(one.status == status for one in self.checks)


def judge(source: str | Path | Case, policy: Policy) -> Verdict:
    """The verdict on an audit's folder or its audit.json, an experiment or run, foreign evidence, a verdict's JSON, or
    an open case. A path may name its checkpoint: `PATH[:LINEAGE][#SEED][@WHERE]`.

    Raises UsageError where several lineages are there and none is named, and what the readers raise.
    """
    if isinstance(source, Case):
        return decide(measure(source, policy), policy)
    wanted = sides.address(source)
    path = sides.folder_of(wanted.path)
    if path.is_file() and path.suffix == ".json":
        return decide(read_measured(path), policy)
    from factfade import judging

    return decide(measure(judging.open_case(path), policy, wanted=wanted, path=path), policy)


# ---------------------------------------------------------------------------------------------------------------
# The verdict


def decide(measured: Measured, policy: Policy) -> Verdict:
    """Every check that the policy asks for, of every candidate, and the verdict over them."""
    by_key = {one.key: one for one in measured.measures}
    found: list[tuple[Measure, Cell]] = []
    for one in measured.candidates:
        for cell in cells(policy, measured.formats, measured.domains):
            endpoint, format, domain, margin, _ = cell
            key = (one.lineage, one.seed, one.generation, endpoint, format, domain)
            absent = Measure(
                lineage=one.lineage, seed=one.seed, generation=one.generation, endpoint=endpoint, format=format,
                domain=domain, margin=margin, level=policy.level, problem="it was not measured",
            )  # fmt: skip
            measure_of = by_key.get(key, absent)
            if abs(measure_of.level - policy.level) > 1e-12:
                raise ConfigError(
                    f"the measures have intervals at the level {measure_of.level:g}, not {policy.level:g}",
                    hint="judge the folder of the evidence instead",
                )
            found.append((measure_of, cell))
    corrections = _corrections(found, policy)
    checks = [_check(one, cell, fix, policy) for (one, cell), fix in zip(found, corrections, strict=True)]
    checks += [_failed(one) for one in measured.failures]
    if not measured.candidates and not measured.failures:
        nothing = "no checkpoint after generation 0 was evaluated"
        checks.append(_failed(Failure(sentence=nothing, exit_code=EXIT_INCONCLUSIVE)))
    verdict, code = _overall(checks, policy)
    return Verdict(
        verdict=verdict,
        exit_code=code,
        sentence=_sentence(verdict, checks),
        policy=policy.resolved(),
        policy_sha256=policy.sha256,
        candidates=measured.candidates,
        checks=tuple(sorted(checks, key=lambda one: (STATUSES.index(one.status), one.measure.key, one.sentence))),
        formats=measured.formats,
        domains=measured.domains,
        not_gated=_not_gated(measured, policy),
    )


def _corrections(found: Sequence[tuple[Measure, Cell]], policy: Policy) -> list[Correction]:
    """What the family does to each p; alone, a bound beyond the margin is the test."""
    alpha = policy.gate.alpha
    if policy.gate.family == "none":
        return [
            Correction(p=0.0 if one.low is not None and one.low > cell[3] else 1.0, looks=1, alpha=alpha)
            for one, cell in found
        ]
    other = [one for one, cell in found if one.p is not None and one.margin != cell[3]]
    if other:
        raise ConfigError(
            "the measures were tested at other margins than the policy's, and its family corrects these tests",
            hint="judge the folder of the evidence instead",
        )
    ps = [one.p if one.p is not None and one.n >= cell[4] else math.nan for one, cell in found]
    adjusted = holm(ps)
    tested = int(np.sum(~np.isnan(ps)))
    rejected = int(np.sum(adjusted <= alpha))
    return [
        Correction(
            p=None if math.isnan(p) else float(p), looks=tested, alpha=alpha / max(1, tested - rejected + (p <= alpha))
        )
        for p in adjusted
    ]


def _check(one: Measure, cell: Cell, fix: Correction, policy: Policy) -> Check:
    endpoint, _, _, margin, minimum = cell
    blank = Check(measure=one, status="missing", margin=margin, minimum=minimum, sentence=one.problem)
    if one.problem or one.loss is None:
        return replace(blank, sentence=one.problem or "there is no loss")
    if one.unpaired > policy.gate.missing * one.of:
        said = (
            f"{one.unpaired:,} of {one.of:,} {one.units} have a value on one side only: what is left may not speak for "
            "all of them"
        )
        return replace(blank, sentence=said)
    test = looks.testing(endpoint, margin, level=one.level, minimum=minimum)
    interval = Interval(
        value=one.loss, low=one.low, high=one.high, n=one.answers, clusters=one.clusters, level=one.level,
        method=one.method, deviation=one.deviation,
    )  # fmt: skip
    nothing = Pairs(difference=np.zeros(0), clusters=np.zeros(0, dtype=np.intp), effect=1.0)
    look = Look(
        test=test, found=interval, n=one.n, units=one.units, words=one.words, p=one.p, sample=nothing, ends=(0.0, 0.0)
    )
    condition = settle(look, fix)
    status: Status = "inconclusive"
    if condition.shown_worse:
        status = "breach"
    elif condition.shown_not_worse:
        status = "pass"
    needed = None
    if status == "inconclusive":
        needed = (
            minimum if one.n < minimum else units_needed(look, alpha=fix.alpha if one.loss > margin else test.alpha)
        )
    notice = status == "pass" and one.low is not None and one.low > 0
    said = "; a loss is shown, within the margin" if notice else ""
    return Check(
        measure=one, status=status, margin=margin, minimum=minimum, sentence=f"{condition.sentence}{said}",
        needed=needed, notice=notice, p=fix.p if policy.gate.family == "gate" else None,
    )  # fmt: skip


def _failed(one: Failure) -> Check:
    """A checkpoint that was not evaluated: nothing of it can pass."""
    blank = Measure(lineage="", seed=0, generation=0, endpoint="evaluation", problem=one.sentence)
    missing = one.exit_code == EXIT_INCONCLUSIVE
    return Check(
        measure=blank, status="missing" if missing else "failed", margin=0.0, minimum=0, sentence=one.sentence,
        exit_code=None if missing else one.exit_code,
    )  # fmt: skip


def _overall(checks: Sequence[Check], policy: Policy) -> tuple[Result, int]:
    found = {one.status for one in checks}
    if "breach" in found:
        return "breach", EXIT_BREACHED
    if "failed" in found:
        return "failed", max(one.exit_code or EXIT_FAILED for one in checks if one.status == "failed")
    if found == {"pass"}:
        return "pass", EXIT_PASS
    if found <= {"pass", "inconclusive"} and found and policy.gate.inconclusive == "warn":
        return "inconclusive", EXIT_PASS
    return "inconclusive", EXIT_INCONCLUSIVE


def _sentence(verdict: str, checks: Sequence[Check]) -> str:
    counts = {status: sum(one.status == status for one in checks) for status in STATUSES}
    n = len(checks) - counts["failed"]
    if verdict == "pass":
        notices = sum(one.notice for one in checks)
        noticed = f"; in {notices} of them a loss is shown that stays within its margin" if notices else ""
        return f"Passed: each of {n} losses is shown to be less than its margin{noticed}."
    failed = counts["failed"]
    rest = [f"{failed} checkpoint{'s' if failed > 1 else ''} could not be evaluated" if failed else ""]
    rest += [f"{counts['missing']} cannot be judged" if counts["missing"] else ""]
    rest += [f"{counts['inconclusive']} are not settled by this many questions" if counts["inconclusive"] else ""]
    also = ", ".join(text for text in rest if text)
    if verdict == "breach":
        more = f"; of the others {also}" if also else ""
        return f"Breached: {counts['breach']} of {n} losses are shown to be beyond their margins{more}."
    if verdict == "failed":
        return (
            f"Failed: {also}."
            if n == 0
            else f"Failed: of {n} losses none is shown to be beyond its margin, but {also}."
        )
    return f"Inconclusive: of {n} losses none is shown to be beyond its margin, but {also or 'nothing was judged'}."


def _not_gated(measured: Measured, policy: Policy) -> tuple[str, ...]:
    """What was asked and the policy does not judge, in words: nobody shall take a pass for more than it is."""
    found: list[str] = []
    margins = policy.margins.margins()
    silent = [name for name in (*looks.ITEM_ENDPOINTS, *looks.TEXT_ENDPOINTS) if name not in margins]
    if silent:
        found.append(f"endpoints without a margin over all questions: {', '.join(silent)}")
    if policy.gate.formats is not None and (rest := sorted(set(measured.formats) - set(policy.gate.formats))):
        found.append(f"formats: {', '.join(sides.shown(name, 60) for name in rest)}")
    rest = [name for name in measured.domains if policy.domain(name) is None]
    if rest:
        more = f" and {len(rest) - 20} more" if len(rest) > 20 else ""
        found.append(f"domains by themselves: {', '.join(sides.shown(name, 60) for name in rest[:20])}{more}")
    return tuple(found)


def plain(verdict: Verdict) -> dict[str, Any]:
    """Plain data of a verdict; with `measured`, it is judged again by `judge` under another policy."""
    measures = [asdict(one.measure) for one in verdict.checks if one.measure.endpoint != "evaluation"]
    failures = [
        {"sentence": one.sentence, "exit_code": one.exit_code or EXIT_INCONCLUSIVE}
        for one in verdict.checks
        if one.measure.endpoint == "evaluation"
    ]
    checks = [
        {
            **{name: getattr(one.measure, name) for name in _PLACE},
            "status": one.status, "margin": one.margin, "loss": one.measure.loss, "low": one.measure.low,
            "high": one.measure.high, "n": one.measure.n, "units": one.measure.units, "minimum": one.minimum,
            "needed": one.needed, "notice": one.notice, "p_family": one.p, "sentence": one.sentence,
        }
        for one in verdict.checks
    ]  # fmt: skip
    return {
        "gate_version": GATE_VERSION,
        "verdict": verdict.verdict,
        "exit_code": verdict.exit_code,
        "sentence": verdict.sentence,
        "policy_sha256": verdict.policy_sha256,
        "policy": dict(verdict.policy),
        "checks": checks,
        "not_gated": list(verdict.not_gated),
        "measured": {
            "candidates": [asdict(one) for one in verdict.candidates],
            "formats": list(verdict.formats),
            "domains": list(verdict.domains),
            "measures": measures,
            "failures": failures,
        },
    }


_PLACE = ("endpoint", "lineage", "seed", "generation", "format", "domain")


def place_of(check: Check) -> str:
    """What a check is about, in words, on one line."""
    one = check.measure
    parts = [one.format, one.domain and f"domain {one.domain}"]
    where = ", ".join(sides.shown(part, 80) for part in parts if part)
    return f"{one.endpoint}{f' ({where})' if where else ''}"


def margin_of(check: Check) -> str:
    """The margin with its unit."""
    return amount_of(check.margin, check.measure.unit)

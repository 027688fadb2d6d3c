"""What predicts an early loss: a discrete-time hazard model of the losses of one run and format.

One row per question and generation in which it could be lost (evaluated, not lost before, not its last evaluation);
the event is the first wrong answer of the final wrong run. Every generation with a loss has an intercept of its own,
so that nothing is assumed of how the rate changes. This way a question that goes early counts more than one that goes
late, and one that is seen for a shorter time counts for that time, where a regression of "lost at the end" would
take both as the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factfade.columns import Codes, Floats
from factfade.stats.intervals import Interval
from factfade.stats.logistic import Logistic, logistic
from factfade.stats.survival import Losses

# Peduzzi et al. 1996; Firth's penalty takes the bias of small samples away, not their noise.
EVENTS_PER_VARIABLE = 10
CONFIDENCE_STEP = 0.1


@dataclass(frozen=True, kw_only=True)
class Odds:
    """How a predictor multiplies the odds of being lost in a generation: `log_odds` per `step`."""

    predictor: str
    step: str
    log_odds: Interval
    p: float | None


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The model's odds ratios, or the reason why there are none; `events` losses of `questions`, `variables` fitted.

    `notes` say what was left out.
    """

    odds: tuple[Odds, ...]
    reason: str
    events: int
    questions: int
    variables: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What is known of the questions at generation 0: `confidence` and `frequency` (NaN unknown), `domain` ("")."""

    confidence: Floats
    frequency: Floats
    domain: NDArray[np.object_]
    clusters: Codes


@dataclass(frozen=True, kw_only=True)
class _Column:
    predictor: str
    step: str
    values: Floats


def predicted(found: Losses, states: Floats, generations: Sequence[int], traits: Traits) -> Predicted:
    """Odds ratios of the traits. `traits` has one entry per row of `states`.

    A trait that is unknown for more than half of the questions, or the same for all, is left out; so are questions
    with an unknown value of another, and the domains first when there are too few losses for them. Domains are
    compared with the average of the domains (effect coding), so that no reference is picked.
    """
    rows, at, event = _risk(found, states, generations)
    columns, domains, keep, notes = _traits(traits, found.items)
    use = keep[rows]
    rows, at, event = rows[use], at[use], event[use]
    # A generation without a loss says nothing about which question is lost: its intercept takes all of it.
    useful = np.isin(at, at[event == 1.0])
    rows, at, event = rows[useful], at[useful], event[useful]
    questions, losses = int(keep.sum()), int(event.sum())
    # Question-generations without a loss count on the other side: questions that all go, at different times, will do.
    rare = min(losses, len(event) - losses)
    domains = sorted(set(domains) & {str(d) for d in traits.domain[found.items][rows]})
    domains = domains if len(domains) > 1 else []

    def answer(reason: str, odds: Sequence[Odds] = ()) -> Predicted:
        return Predicted(
            odds=tuple(odds),
            reason=reason,
            events=losses,
            questions=questions,
            variables=len(columns) + max(len(domains) - 1, 0),
            notes=tuple(notes),
        )

    if domains and rare < EVENTS_PER_VARIABLE * (len(columns) + len(domains) - 1):
        needed = EVENTS_PER_VARIABLE * (len(columns) + len(domains) - 1)
        notes.append(f"domains are left out: with them it takes {needed:,} losses, there are {losses:,}")
        domains = []
    variables = len(columns) + max(len(domains) - 1, 0)
    if not variables:
        return answer("no predictor is known and differs between the questions")
    if rare < EVENTS_PER_VARIABLE * variables:
        return answer(
            f"{losses:,} of {questions:,} questions were lost; {variables} predictor{'s' * (variables > 1)} "
            f"would take {EVENTS_PER_VARIABLE * variables:,} losses, and as many generations of a question without one"
        )
    clusters = traits.clusters[found.items][rows]
    if len(np.unique(clusters)) < 2:
        return answer("all questions belong to one cluster")
    baseline = (at[:, None] == np.unique(at)).astype(np.float64)
    parts = [column.values[rows][:, None] for column in columns]
    if domains:
        codes = np.array([domains.index(d) for d in traits.domain[found.items][rows]], dtype=np.intp)
        effects = np.vstack([np.eye(len(domains) - 1), -np.ones(len(domains) - 1)])
        parts.append(effects[codes])
    try:
        model = logistic(np.hstack([baseline, *parts]), event, clusters)
    except ValueError:
        return answer("the predictors are collinear: one of them says what the others say")
    if not model.converged:
        return answer("the regression did not converge")
    odds = [
        _odds(model, baseline.shape[1], _unit(variables, i), column.predictor, column.step)
        for i, column in enumerate(columns)
    ]
    for i, name in enumerate(domains):
        weights = np.concatenate([np.zeros(len(columns)), _effect(i, len(domains))])
        odds.append(_odds(model, baseline.shape[1], weights, f"domain {name}", "against the average domain"))
    return answer("", odds)


def _risk(found: Losses, states: Floats, generations: Sequence[int]) -> tuple[Codes, Codes, Floats]:
    """Rows of the hazard model: positions among the followed items, columns, and whether the loss happened there."""
    x = states[found.items]
    when = np.asarray(generations, dtype=np.float64)
    columns = np.arange(x.shape[1])
    seen = ~np.isnan(x)
    final = np.max(np.where(seen, columns, 0), axis=1, initial=0)
    possible = seen & (columns > 0) & (columns < final[:, None])
    here = when == found.right[:, None]
    at_risk = possible & ((when <= found.left[:, None]) | here)
    rows, at = np.nonzero(at_risk)
    return rows, at, here[rows, at].astype(np.float64)


def _traits(traits: Traits, items: Codes) -> tuple[list[_Column], list[str], NDArray[np.bool_], list[str]]:
    """Columns that can be used, domains that can, the questions with all of them known, and notes of the others."""
    confidence, frequency = traits.confidence[items], traits.frequency[items]
    frequency = np.where(frequency >= 0, frequency, np.nan)
    columns: list[_Column] = []
    notes: list[str] = []
    keep = np.ones(len(items), dtype=bool)
    for column in (
        _Column(
            predictor="confidence at generation 0",
            step=f"per {CONFIDENCE_STEP:g} more confidence",
            values=confidence / CONFIDENCE_STEP,
        ),
        _Column(
            predictor="frequency in the training text", step="per tenfold 1 + frequency", values=np.log10(1 + frequency)
        ),
    ):
        known = np.isfinite(column.values)
        if 2 * known.sum() <= len(items) or np.ptp(column.values[known]) == 0.0:
            # A frequency is rarely there, and its absence needs no note.
            if known.any() or column.predictor.startswith("confidence"):
                notes.append(f"{column.predictor} is left out: unknown for most questions, or the same for all")
            continue
        columns.append(column)
        keep &= known
    domain = traits.domain[items]
    domains = sorted({str(d) for d in domain[keep]} - {""})
    if len(domains) < 2 or 2 * np.sum(domain[keep] == "") >= keep.sum():
        domains = []
    else:
        keep &= domain != ""
    if not keep.all():
        notes.append(f"{int((~keep).sum()):,} questions with an unknown predictor are left out")
    return columns, domains, keep, notes


def _unit(size: int, position: int) -> Floats:
    weights = np.zeros(size)
    weights[position] = 1.0
    return weights


def _effect(position: int, domains: int) -> Floats:
    return -np.ones(domains - 1) if position == domains - 1 else _unit(domains - 1, position)


def _odds(model: Logistic, intercepts: int, weights: Floats, predictor: str, step: str) -> Odds:
    from scipy.special import ndtr, stdtr

    found = model.contrast(np.concatenate([np.zeros(intercepts), weights]))
    p = None
    if found.value is not None and found.deviation:
        z = -abs(found.value) / (found.deviation / np.sqrt(found.clusters))
        p = 2 * float(stdtr(found.clusters - 1, z) if found.clusters < found.n else ndtr(z))
    return Odds(predictor=predictor, step=step, log_odds=found, p=p)

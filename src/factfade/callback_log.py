"""What an evaluation says in a trainer's log: numbers by name, each with its n and its bounds.

    factfade/measured                        1 where this step was measured, 0 where it was not
    factfade/stage                           over all formats: 0 A, 1 B, 2 C, -1 undetermined
    factfade/<format>/right (_low _high _n)  share right by choice
    factfade/<format>/parseable (...)        share of asked questions whose free answer could be read
    factfade/<format>/stage                  the call of the format
    factfade/<format>/knowledge_loss (...)   loss against the model before step 0: above 0 is worse
    factfade/fluency_nats_loss (...)         the same of fluency

Trackers take numbers alone, so that a stage is one here; its sentence stands in stages.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from factfade.records import PARSEABLE
from factfade.stats.intervals import normal_quantile, wilson_bounds
from factfade.verdicts import Condition, Stage
from factfade.watch import Measured

PREFIX = "factfade/"
STAGES: dict[Stage, float] = {"A": 0.0, "B": 1.0, "C": 2.0, "undetermined": -1.0}
NOT_MEASURED: Mapping[str, float] = {f"{PREFIX}measured": 0.0}
LEVEL = 0.95


def numbers(found: Measured) -> dict[str, float]:
    """The numbers of an evaluation, under the names that they have in a log."""
    said: dict[str, float] = {
        "measured": 1.0,
        "items": float(found.items),
        "left_out": float(found.left_out),
        "seconds": round(found.seconds, 3),
    }
    for name, counts in _by_format(found.record):
        said |= _share(f"{name}/right", counts["choices_correct"], counts["choices"], found.items)
        said |= _share(f"{name}/parseable", sum(counts[read] for read in PARSEABLE), _free(counts), found.items)
    if found.overall is not None:
        said["stage"] = STAGES[found.overall.stage]
    for call in found.report.calls if found.report else ():
        if call.generation != found.position:
            continue
        said[f"{call.format}/stage"] = STAGES[call.stage]
        for one in call.conditions:
            place = "" if one.endpoint.startswith("fluency") else f"{call.format}/"
            said |= _loss(f"{place}{one.endpoint}_loss", one)
    return {f"{PREFIX}{name}": value for name, value in said.items()}


def _by_format(record: Mapping[str, Any]) -> Iterator[tuple[str, Counter[str]]]:
    """The tallies of the shards (`<format>-<block>`) by format."""
    formats: dict[str, Counter[str]] = {}
    for shard, tally in record.get("evidence", {}).items():
        own = formats.setdefault(str(shard).rpartition("-")[0], Counter())
        own.update({"choices": tally["choices"], "choices_correct": tally["choices_correct"]})
        own.update(tally["outcomes"])
    yield from formats.items()


def _free(counts: Counter[str]) -> int:
    return sum(n for name, n in counts.items() if name not in ("choices", "choices_correct", "not_asked"))


def _share(name: str, successes: int, n: int, items: int) -> dict[str, float]:
    """The share with Wilson's bounds, at most the questions counted: the wordings of one may move together."""
    if n == 0:
        return {}
    units = min(n, items)
    low, high = wilson_bounds(successes / n * units, units, normal_quantile((1 + LEVEL) / 2))
    return {name: successes / n, f"{name}_low": low, f"{name}_high": high, f"{name}_n": float(n)}


def _loss(name: str, one: Condition) -> dict[str, float]:
    values = {name: one.loss, f"{name}_low": one.low, f"{name}_high": one.high, f"{name}_n": float(one.n)}
    return {key: float(value) for key, value in values.items() if value is not None}

"""A report of stages as plain data, and back: what stages.json holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from factfade.errors import DataError
from factfade.verdicts import Condition, Onset, Overall, StageCall, StageReport


def to_json(report: StageReport) -> dict[str, Any]:
    """Plain data of a report, for stages.json: lists, dicts, numbers and text."""
    data = asdict(report)
    for key in ("calls", "onsets", "notes", "guards", "overall"):
        data[key] = list(data[key])
    for call in data["calls"]:
        call["conditions"], call["flags"] = list(call["conditions"]), list(call["flags"])
        call["probabilities"] = dict(call["probabilities"])
    for one in data["overall"]:
        one["formats"] = {stage: list(names) for stage, names in one["formats"].items()}
    data["rule"], data["sentences"] = dict(report.rule), dict(report.sentences)
    return data


def from_json(data: Mapping[str, Any]) -> StageReport:
    """The report that `to_json` made plain. Raises DataError when it is none."""
    try:
        calls: list[StageCall] = []
        for raw in data["calls"]:
            made = tuple(Condition(**c) for c in raw["conditions"])
            against = None if raw["attribution"] is None else Condition(**raw["attribution"])
            values: dict[str, Any] = {**raw, "conditions": made, "attribution": against, "flags": tuple(raw["flags"])}
            calls.append(StageCall(**values))
        return StageReport(
            calls=tuple(calls),
            onsets=tuple(Onset(**o) for o in data["onsets"]),
            rule=dict(data["rule"]),
            rule_sha256=str(data["rule_sha256"]),
            sentences=dict(data.get("sentences", {})),
            notes=tuple(data.get("notes", ())),
            guards=tuple(data.get("guards", ())),
            overall=tuple(_overall(one) for one in data.get("overall", ())),
            declared_sha256=data.get("declared_sha256"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"this is no report of stages: {error}", hint="run `factfade stages` again") from error


def _overall(raw: Mapping[str, Any]) -> Overall:
    formats = {str(stage): tuple(names) for stage, names in raw["formats"].items()}
    values: dict[str, Any] = {**raw, "formats": formats}
    return Overall(**values)

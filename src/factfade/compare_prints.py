"""Fingerprints: whether two sides were asked the same things in the same way, field by field.

Rows say what was asked (their hashes of prompt and template, the answer key); the manifest of an evaluation says how
answers were drawn and scored. What one side did not store cannot be compared, and is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from factfade.columns import as_text
from factfade.compare_sides import Picked, nearest_field, shown
from factfade.errors import UsageError
from factfade.manifest import Manifest
from factfade.records import PROBES

if TYPE_CHECKING:
    import pandas as pd

State = Literal["same", "differs", "allowed", "not_stored"]
# What each field is, in the order in which they are told. The first seven refuse, `reference` silences the nats.
FIELDS: dict[str, str] = {
    "formats": "the instruction formats",
    "questions": "the questions that were put",
    "answers": "the options and the right answers",
    "prompt": "the prompts, to the letter",
    "template": "the chat template",
    "texts": "the fixed prompts that were continued",
    "decoding": "how completions and free answers were drawn",
    "scorer": "how answers were scored and read",
    "reference": "the start model under which completions are scored",
}
KEY = ["item", "format", "wording"]


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """One field: whether it is the same on both sides, and in words what differs or what is not stored."""

    field: str
    state: State
    words: str = ""


def check_allowed(allow: Collection[str]) -> None:
    """Raises UsageError for a name that is no field."""
    for name in allow:
        if name not in FIELDS:
            raise UsageError(
                f"there is no field {shown(name)!r} that may differ", hint=nearest_field(name, list(FIELDS))
            )


def fingerprints(a: Picked, b: Picked, *, allow: Collection[str] = ()) -> tuple[Fingerprint, ...]:
    """Every field, over all rows and records of both sides. `allow` names those that may differ."""
    check_allowed(allow)
    found = {**_of_rows(a, b), **_of_texts(a, b), **_of_records(a, b)}
    return tuple(
        Fingerprint(field=name, state="allowed" if state == "differs" and name in allow else state, words=words)
        for name in FIELDS
        for state, words in [found[name]]
    )


def refuse(found: Sequence[Fingerprint]) -> None:
    """Raises UsageError where a field differs that nobody allowed; `reference` alone refuses nothing."""
    wrong = [one for one in found if one.state == "differs" and one.field != "reference"]
    if wrong:
        lines = [f"  {one.field}: {one.words}" for one in wrong]
        allowed = " ".join(f"--allow {one.field}" for one in wrong)
        raise UsageError(
            "\n".join(["the two sides were not asked the same way, so they are not compared:", *lines]),
            hint=f"evaluate both with the same settings; or, where the difference is meant, add {allowed}",
        )


Found = tuple[State, str]


def _of_rows(a: Picked, b: Picked) -> dict[str, Found]:
    left, right = (_put(side) for side in (a, b))
    names = [set(as_text(table, "format").tolist()) for table in (left, right)]
    both = names[0] & names[1]
    found: dict[str, Found] = {"formats": ("same", "")}
    if names[0] != names[1]:
        parts = [_only("A", names[0] - names[1]), _only("B", names[1] - names[0])]
        found["formats"] = ("differs", "; ".join(part for part in parts if part))
    left, right = (table[table["format"].isin(both)] for table in (left, right))
    where = [_places(table) for table in (left, right)]
    shared = where[0].keys() & where[1].keys()
    found["questions"] = ("same", "")
    if len(shared) < max(len(where[0]), len(where[1])):
        alone = [len(where[i]) - len(shared) for i in (0, 1)]
        found["questions"] = (
            "differs",
            f"{alone[0]:,} stand only in A and {alone[1]:,} only in B, {len(shared):,} in both",
        )
    order = sorted(shared)
    rows = [t.iloc[[w[k] for k in order]] for t, w in zip((left, right), where, strict=True)]
    found["answers"] = _texts("questions", *(_answer_key(table) for table in rows))
    for name, column in (("prompt", "prompt_sha256"), ("template", "template_sha256")):
        stored = [
            column in side.case.evidence.columns and table[column].notna().any()
            for side, table in zip((a, b), rows, strict=True)
        ]
        found[name] = _not_stored(stored) or _texts(
            "questions", *(as_text(table, column) for table in rows), blank_differs=name == "template"
        )
    return found


def _put(side: Picked) -> pd.DataFrame:
    """The questions of a side, once each: every seed is asked the same ones."""
    table = side.rows(side.case.evidence)
    table = table[~table["format"].isin(PROBES)]
    return table.drop_duplicates(KEY)


def _places(table: pd.DataFrame) -> dict[tuple[str, ...], int]:
    columns = [as_text(table, name).tolist() for name in KEY]
    return {key: at for at, key in enumerate(zip(*columns, strict=True))}


def _only(side: str, names: Collection[str]) -> str:
    return f"only {side} has {', '.join(shown(name, 60) for name in sorted(names))}" if names else ""


def _not_stored(stored: Sequence[Any]) -> Found | None:
    if all(stored):
        return None
    missing = [name for name, has in zip("AB", stored, strict=True) if not has]
    return "not_stored", f"{' and '.join(missing)} {'do' if len(missing) > 1 else 'does'} not store it"


def _texts(what: str, left: NDArray[Any], right: NDArray[Any], *, blank_differs: bool = False) -> Found:
    """Compares entry by entry; a blank entry is one that is not stored, unless `blank_differs`."""
    known = np.full(len(left), True) if blank_differs else (left != "") & (right != "")
    count = int(np.sum(known & (left != right)))
    if count:
        return "differs", f"other for {count:,} of {int(known.sum()):,} {what}"
    return ("same", "") if known.any() or not len(left) else ("not_stored", "neither side stores it")


def _answer_key(table: pd.DataFrame) -> NDArray[Any]:
    """Options in any order, the right one's text and the accepted answers, as one text; "" where none is stored."""
    found = np.full(len(table), "", dtype=object)
    columns = [
        table[name].tolist() if name in table.columns else [None] * len(table)
        for name in ("options", "gold", "accepted")
    ]
    for at, (options, gold, accepted) in enumerate(zip(*columns, strict=True)):
        texts = [str(one) for one in options] if isinstance(options, list) else []
        right = str(texts[int(gold)]) if isinstance(gold, (int, np.integer)) and 0 <= int(gold) < len(texts) else ""
        taken = sorted(str(one) for one in accepted) if isinstance(accepted, list) else []
        if texts or taken:
            found[at] = json.dumps([sorted(texts), right, taken])
    return found


def _of_texts(a: Picked, b: Picked) -> dict[str, Found]:
    """The prompts of the own completions: their ids are hashes of their tokens."""
    ids: list[set[str]] = []
    for side in (a, b):
        table = side.case.own
        ids.append(set() if table is None else set(as_text(side.rows(table), "prompt").tolist()))
    missing = _not_stored([bool(one) for one in ids])
    if missing:
        return {"texts": missing}
    if ids[0] == ids[1]:
        return {"texts": ("same", "")}
    both = len(ids[0] & ids[1])
    words = f"{len(ids[0]) - both:,} only in A, {len(ids[1]) - both:,} only in B, {both:,} in both"
    return {"texts": ("differs", words)}


# ---------------------------------------------------------------------------------------------------------------
# Records


def _of_records(a: Picked, b: Picked) -> dict[str, Found]:
    found: dict[str, Found] = {}
    shared = set(a.formats) & set(b.formats)
    readers: dict[str, Callable[[Manifest], Mapping[str, Any] | None]] = {
        "decoding": _decoding,
        "scorer": lambda record: _scorer(record, shared),
        "reference": _reference,
    }
    for name, read in readers.items():
        values = [_distinct([read(record) for record in side.records.values()]) for side in (a, b)]
        missing = _not_stored([bool(own) for own in values])
        if missing:
            found[name] = missing
        elif values[0] == values[1]:
            found[name] = ("same", "")
        else:
            found[name] = ("differs", _difference(values[0], values[1]))
    return found


def _distinct(values: Sequence[Mapping[str, Any] | None]) -> list[str]:
    return sorted({json.dumps(value, sort_keys=True) for value in values if value is not None})


def _difference(left: Sequence[str], right: Sequence[str]) -> str:
    """The settings that differ, by name, both values."""
    first, second = json.loads(left[0]), json.loads(right[0])
    names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    if not names:
        return "the seeds of one side differ among themselves"
    return "; ".join(
        f"{n}: {shown(json.dumps(first.get(n)), 120)} and {shown(json.dumps(second.get(n)), 120)}" for n in names
    )


def _settings(record: Manifest, name: str) -> Mapping[str, Any]:
    found = record.key.get("settings", {})
    part = found.get(name, {}) if isinstance(found, dict) else {}
    return part if isinstance(part, dict) else {}


def _decoding(record: Manifest) -> Mapping[str, Any] | None:
    evaluation, synthesis = _settings(record, "evaluation"), _settings(record, "synthesis")
    drawn = record.record.get("decoding", evaluation.get("decoding"))
    if drawn is None and not evaluation:
        return None
    own = {name: evaluation.get(name, synthesis.get(name)) for name in ("prompt_tokens", "new_tokens")}
    asked = {name: evaluation.get(name) for name in ("answer_tokens", "seed")}
    rest = {name: synthesis.get(name) for name in ("system", "through_end")}
    return {"decoding": drawn, **own, **asked, **rest}


def _scorer(record: Manifest, formats: Collection[str]) -> Mapping[str, Any] | None:
    evaluation = _settings(record, "evaluation")
    if not evaluation:
        return None
    specs = [spec for spec in evaluation.get("formats", []) if isinstance(spec, dict)]
    own = {str(spec.get("kind")): spec for spec in specs if spec.get("kind") in formats}
    rule = {name: evaluation.get(name) for name in ("preset", "free_answers")}
    chat = _settings(record, "model").get("chat")
    return {**rule, "formats": own, "chat": chat, "version": record.key.get("version")}


def _reference(record: Manifest) -> Mapping[str, Any] | None:
    inputs = record.key.get("inputs", {})
    found = inputs.get("reference") if isinstance(inputs, dict) else None
    return None if found is None else {"start model": found}

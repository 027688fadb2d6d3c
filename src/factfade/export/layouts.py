"""The columns of every sheet, with their kinds (docs/export-and-verify.md)."""

from __future__ import annotations

PLACE = {"lineage": "text", "seed": "int", "generation": "int", "format": "text"}
SCORE = {
    "value": "float", "low": "float", "high": "float", "n": "int", "level": "float", "method": "text", "unit": "text",
    "reason": "text",
}  # fmt: skip
SAID = {f"{when}_{what}": kind for when in ("before", "after") for what, kind in (
    ("choice", "text"), ("choice_confidence", "float"), ("answer", "text"), ("answer_confidence", "float"),
    ("outcome", "text"),
)}  # fmt: skip
COLUMNS: dict[str, dict[str, str]] = {
    "items": {
        **PLACE, "item": "text", "wording": "text", "domain": "text", "entity": "text", "template": "text",
        "cluster": "text", "knowledge": "float", "parseable": "float", "choice_correct": "float", "outcome": "text",
        "choice_confidence": "float", "answer_confidence": "float", "right": "text", "choice": "text",
        "answer": "text", "question": "text",
    },
    "texts": {
        "lineage": "text", "seed": "int", "generation": "int", "kind": "text", "text": "text", "domain": "text",
        "tokens": "float", "nll": "float",
    },
    "own": {
        "lineage": "text", "seed": "int", "generation": "int", "prompt": "text", "tokens": "float", "empty": "float",
        "near_constant": "float", "repetitive": "float", "duplicate": "float", "junk": "float",
    },
    "curves": {
        **PLACE, "measure": "text", **SCORE, "reference": "float", "reference_label": "text", "control": "text",
    },
    "scores": {**PLACE, "domain": "text", "name": "text", **SCORE},
    "calls": {
        **PLACE, "stage": "text", "at_chance": "bool", "flags": "text", "probability_A": "float",
        "probability_B": "float", "probability_C": "float", "probability_undetermined": "float", "sentence": "text",
        "attribution": "text",
    },
    "conditions": {
        **PLACE, "role": "text", "endpoint": "text", "loss": "float", "low": "float", "high": "float",
        "margin": "float", "n": "int", "unit": "text", "shown_not_worse": "bool", "shown_worse": "bool", "p": "float",
        "p_family": "float", "method": "text", "sentence": "text",
    },
    "onsets": {**PLACE, "stage": "text", "provisional": "bool"},
    "overall": {"lineage": "text", "seed": "int", "generation": "int", "stage": "text", "sentence": "text"},
    "changes": {
        "lineage": "text", "direction": "text", "item": "text", "question": "text", "right": "text", "domain": "text",
        "format": "text", "wording": "text", "since": "int", "formats": "int", "formats_asked": "int", "seeds": "int",
        "seeds_run": "int", **SAID,
    },
    "transitions": {
        "lineage": "text", "seed": "int", "format": "text", "right_right": "int", "right_wrong": "int",
        "wrong_right": "int", "wrong_wrong": "int", "n": "int", "kept": "float", "kept_n": "int", "kept_low": "float",
        "kept_high": "float", "reason": "text",
    },
    "domains": {"lineage": "text", "format": "text", "domain": "text", "when": "text", **SCORE},
    "outcomes": {**PLACE, "outcome": "text", "count": "int", "asked": "int"},
    "findings": {
        "analysis": "text", "name": "text", "estimand": "text", "lineage": "text", "seed": "int", "format": "text",
        "domain": "text", "value": "float", "low": "float", "high": "float", "unbounded": "bool", "level": "float",
        "p": "float", "n": "int", "units": "text", "unit": "text", "method": "text", "sentence": "text",
        "reason": "text", "extra": "text",
    },
    "notes": {"kind": "text", "text": "text"},
}  # fmt: skip

"""How numbers, names and scores are put in words: used by the page, the figures and the terminal alike."""

from __future__ import annotations

from factfade.verdicts import Score

# Between two bounds, and where there is no number.
DASH = "\u2013"
LETTERS = {"A": "A", "B": "B", "C": "C", "undetermined": "?"}
STAGE_NAMES = {
    "A": "preserved",
    "B": "knowledge collapse",
    "C": "instruction-following collapse",
    "undetermined": "undetermined",
}
ENDPOINTS = {
    "knowledge": "knowledge",
    "format": "format: parseable answers",
    "fluency_nats": "fluency: own text under the start model",
    "fluency_junk": "fluency: junk in own text",
    "confidently_wrong": "confidence of answers that became wrong (enters no call)",
}


def endpoint(name: str) -> str:
    """What a condition compares, in words."""
    return ENDPOINTS.get(name, plain_name(name))


def plain_name(name: str) -> str:
    """An identifier as words: `multiple_choice` gives "multiple choice"."""
    return name.replace("_", " ")


def percent(value: float, decimals: int = 1) -> str:
    """A share as a percentage."""
    return f"{100 * value:.{decimals}f}%"


def amount(value: float | None, unit: str) -> str:
    """A value in its unit; a dash where there is none."""
    if value is None:
        return DASH
    return percent(value) if unit == "share" else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def interval(score: Score) -> str:
    """Both bounds in the score's unit, without the unit's sign; a dash where there are none."""
    if score.low is None or score.high is None:
        return DASH
    if score.unit == "share":
        return f"{100 * score.low:.1f}{DASH}{100 * score.high:.1f}"
    return f"{amount(score.low, score.unit)}{DASH}{amount(score.high, score.unit)}"


def full(score: Score | None) -> str:
    """A score in one line: value, interval, n; or why there is none."""
    if score is None:
        return "not evaluated"
    if score.value is None:
        return f"no value: {score.reason} (n {score.n:,})"
    level = f"{100 * score.level:g}% interval "
    bounds = f"{level}{interval(score)}" if score.low is not None else score.reason or "no interval"
    return f"{amount(score.value, score.unit)} ({bounds}, n {score.n:,})"


def short(value: float | None, unit: str) -> str:
    """A value as short as a label in a figure wants it."""
    if value is None:
        return DASH
    if unit == "share":
        return f"{100 * value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"


def loss(value: float | None, unit: str) -> str:
    """A loss: shares in points, the rest in its unit; always signed."""
    if value is None:
        return DASH
    return f"{100 * value:+.1f}" if unit == "share" else f"{value:+.3f}"

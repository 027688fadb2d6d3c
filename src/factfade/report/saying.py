"""What an audit found, in sentences that a reader without statistics can act on; each number with n and interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from factfade.report.data import CheckpointRow, Facts
from factfade.report.wording import DASH, interval, percent, plain_name
from factfade.stats.intervals import zero_event_bound
from factfade.verdicts import StageCall

# Checkpoints that the one sentence names; the rest is counted.
NAMED = 3
ENDPOINTS = {
    "format": "its answers can no longer be read",
    "fluency_nats": "it no longer writes as the base does",
    "fluency_junk": "more of its own text is junk",
}


def with_sentence(row: CheckpointRow, calls: Sequence[StageCall]) -> CheckpointRow:
    """The row with what it says: facts first, then what else broke."""
    if row.position == 0:
        return replace(row, sentence=f"{row.name} is the base that the others are compared with.")
    if row.facts is None:
        return replace(row, sentence=f"{row.name} cannot be compared: no question was put to it and to the base.")
    broke = _broke(calls)
    return replace(row, broke=broke, sentence=f"{row.name} {_lost(row.facts)}; {broke or _held(calls)}.")


def audit(rows: Sequence[CheckpointRow]) -> str:
    """All checkpoints in one sentence: which lost facts, which broke otherwise, and how the others stand."""
    lost = sorted((r for r in rows if has_lost(r)), key=lambda r: (-_share(r), r.position, r.name))
    broken = [r for r in rows if r.broke]
    rest = [r for r in rows if r not in lost and r not in broken]
    parts: list[str] = []
    if lost:
        told = [f"{r.name} {_short(r.facts)}" for r in lost[:NAMED] if r.facts is not None]
        more = [f"{len(lost) - NAMED} more"] if len(lost) > NAMED else []
        parts.append(f"{_count(len(lost), len(rows))} lost facts that the base knows: {_listed([*told, *more])}")
    if broken:
        verb = "do" if len(broken) > 1 else "does"
        more = "" if any(r not in lost for r in broken) or not lost else ", too"
        parts.append(f"{_names(broken)} {verb} not answer or write as the base does any more{more} (stage C)")
    if rest:
        parts += _rest(rest, alone=not parts)
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def has_lost(row: CheckpointRow) -> bool:
    """Whether more facts are shown lost than gained: the interval of the net loss lies above 0."""
    return row.facts is not None and row.facts.net.low is not None and row.facts.net.low > 0.0


def _rest(rows: Sequence[CheckpointRow], *, alone: bool) -> list[str]:
    """How the checkpoints stand that neither lost nor broke: nothing lost, wavering, nothing to compare."""
    found: list[str] = []
    some = [r for r in rows if r.facts is not None and r.facts.lost]
    none = [r for r in rows if r.facts is not None and not r.facts.lost and r.facts.known]
    other = [r for r in rows if r not in some and r not in none]
    every = alone and len(rows) > NAMED
    if none:
        facts = [r.facts for r in none if r.facts is not None]
        bound = percent(zero_event_bound(min(f.known_entities for f in facts)))
        whom = "none of the checkpoints" if every and len(none) == len(rows) else _names(none)
        what = "any" if whom.startswith("none") else "none"
        known = max(f.known for f in facts)
        found.append(f"{whom} lost {what} of the {known:,} facts that the base knows (at most {bound}, one-sided 95%)")
    if some:
        most = max((r.facts for r in some if r.facts is not None), key=lambda f: f.lost)
        found.append(
            f"{_names(some)} lost no more facts than a model that only wavers (at most {most.lost} of "
            f"{most.known:,}, {_bounds(most)}, with {most.gained} gained)"
        )
    if other:
        found.append(f"{_names(other)} cannot be compared with the base")
    return found


def _lost(facts: Facts) -> str:
    """What became of the facts that the base knows."""
    if facts.known == 0:
        return f"has nothing to lose: of {facts.asked:,} facts the base knows none"
    if facts.lost == 0:
        bound = percent(zero_event_bound(facts.known_entities))
        kept = f"lost none of the {facts.known:,} facts that the base knows (at most {bound}, one-sided 95%)"
        return f"{kept} and gained {facts.gained}" if facts.gained else kept
    text = f"lost {facts.lost} of the {facts.known:,} facts that the base knows ({_bounds(facts)})"
    text += f"{_where(facts)}, and gained {facts.gained}"
    if facts.net.low is None or facts.net.low <= 0.0:
        return f"{text}, no more than wavering explains"
    return f"{text}; {facts.firm} of the losses stand out from wavering"


def _short(facts: Facts) -> str:
    return f"{facts.lost} of {facts.known:,} ({_bounds(facts)}{_where(facts)})"


def _bounds(facts: Facts) -> str:
    score = facts.lost_share
    value = DASH if score.value is None else percent(score.value)
    return f"{value} [{interval(score).replace(DASH, ', ')}]"


def _where(facts: Facts) -> str:
    """The domain that lost most, where there are several."""
    named = [d for d in facts.domains if d.domain and d.lost]
    if len([d for d in facts.domains if d.asked]) < 2 or not named:
        return ""
    first = named[0]
    if len(first.lost) == facts.lost:
        return f", all in {plain_name(first.domain)}"
    return f", most in {plain_name(first.domain)}: {len(first.lost)} of {first.known:,}"


def _broke(calls: Sequence[StageCall]) -> str:
    """What broke beside the facts, by the stage rule's conditions over formats; "" where nothing is shown to."""
    worse: dict[str, set[str]] = {}
    for call in calls:
        for condition in call.conditions:
            if condition.endpoint in ENDPOINTS and condition.shown_worse:
                worse.setdefault(condition.endpoint, set()).add(call.format)
    every = len({call.format for call in calls})
    said = [
        f"{ENDPOINTS[e]} (in {len(worse[e])} of {every} formats)" if e == "format" else ENDPOINTS[e]
        for e in ENDPOINTS
        if e in worse
    ]
    return " and ".join(said)


def _held(calls: Sequence[StageCall]) -> str:
    """Format and fluency where neither is shown to break: held, or not settled by this evidence."""
    conditions = [c for call in calls for c in call.conditions if c.endpoint in ENDPOINTS]
    if not conditions:
        return "format and fluency were not compared"
    unsettled = {"format" if c.endpoint == "format" else "fluency" for c in conditions if not c.shown_not_worse}
    if not unsettled:
        return "format and fluency held"
    return f"whether {' and '.join(sorted(unsettled, reverse=True))} held is not settled by this evidence"


def _share(row: CheckpointRow) -> float:
    return 0.0 if row.facts is None else row.facts.lost_share.value or 0.0


def _count(some: int, every: int) -> str:
    return "the checkpoint" if every == 1 else f"{some} of {every} checkpoints"


def _names(rows: Sequence[CheckpointRow]) -> str:
    shown = [r.name for r in rows[:NAMED]]
    return _listed([*shown, f"{len(rows) - NAMED} more"] if len(rows) > NAMED else shown)


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]

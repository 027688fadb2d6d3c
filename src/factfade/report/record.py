"""What was run, told from the stored settings, the environment and the steps' manifests: sections of small tables.

Manifests' records differ with the parts that wrote them, so beside the tables that are known (mixes, steps) every
record is shown flat, key by key: what is equal in all generations once, the rest by generation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from factfade.manifest import Manifest
from factfade.places import Places
from factfade.report.data import RecordTable
from factfade.report.wording import DASH, percent

Manifests = Mapping[tuple[str, int, int], Mapping[str, Manifest]]
MAX_ROWS = 120
MAX_VALUE = 160
# Longer tables are folded.
OPEN_ROWS = 36
STEPS = ("synthesize", "train", "evaluate")
JUNK = ("empty", "near_constant", "repetitive", "junk", "duplicate")


def arm_facts(
    settings: Mapping[str, Any], arm: str, control: str | None, *, is_control: bool
) -> tuple[tuple[str, str], ...]:
    """What makes an arm what it is: label and value."""
    spec = _map(_map(settings.get("arms")).get(arm))
    against = "is one" if is_control and control is None else control or "none of its own"
    if not spec:
        return (("control", against),)
    facts = [
        ("synthetic fraction", value(spec.get("synthetic_fraction"))),
        ("workflow", value(spec.get("workflow"))),
        ("prompts", part(spec.get("prompts"))),
        ("objective", part(spec.get("objective"))),
    ]
    for group in ("pool", "after_training"):
        if spec.get(group):
            facts.append((group.replace("_", " "), ", ".join(part(p) for p in spec[group])))
    for section in ("corpus", "synthesis", "training"):
        if spec.get(section):
            facts.append((f"own {section}", ", ".join(f"{k} = {v}" for k, v in flat(spec[section]))))
    facts.append(("control", against))
    return tuple((k, v) for k, v in facts if v)


def tables(settings: Mapping[str, Any], environment: Mapping[str, Any], steps: Manifests) -> tuple[RecordTable, ...]:
    """All tables of the record, the short ones first."""
    found = [
        mixes(steps),
        densities(environment, steps),
        pools(steps),
        *(
            RecordTable(caption=_captions(name), head=("setting", "value"), rows=_set(settings[name]))
            for name in ("model", "corpus", "synthesis", "training", "evaluation")
            if settings.get(name)
        ),
        model_facts(steps),
        identities(steps),
        times(steps),
        RecordTable(
            caption="Environment and versions", head=("what", "value"), rows=tuple(flat(environment))[:MAX_ROWS]
        ),
        *everything(steps),
    ]
    return tuple(table for table in found if table is not None and table.rows)


def of_checkpoints(table: RecordTable, places: Places) -> RecordTable:
    """A table of the record as an audit shows it: one column for the checkpoint, in its own words."""
    head, rows = table.head, table.rows
    if head[:2] == ("arm", "seed"):
        head = ("checkpoint", *head[3:])
        rows = tuple((places.at(int(row[2])) if row[2].isdigit() else row[2], *row[3:]) for row in rows)
    caption = table.caption.removesuffix(": checkpoints, seed 0")
    return replace(
        table,
        caption=places.said(caption),
        head=tuple(places.said(name) for name in head),
        rows=rows,
        note=places.said(table.note),
    )


def _set(section: Any) -> tuple[tuple[str, str], ...]:
    """The settings of a section that have a value."""
    return tuple((key, shown) for key, shown in flat(section) if shown)


def _captions(section: str) -> str:
    return {
        "model": "Model settings",
        "synthesis": "Synthesis settings, decoding included",
        "training": "Training settings",
        "evaluation": "Evaluation settings, decoding included",
        "corpus": "Corpus",
    }[section]


def mixes(steps: Manifests) -> RecordTable:
    """Requested against achieved: what was synthesized for each training, and how much of it was junk."""
    records = [(place, found["synthesize"].record) for place, found in steps.items() if "synthesize" in found]
    marks = [name for name in JUNK if any(name in _map(record.get("junk")) for _, record in records)]
    rows = [
        (
            arm,
            str(seed),
            str(generation),
            value(record.get("blocks")),
            value(record.get("human")),
            value(record.get("synthetic")),
            share(record.get("requested_synthetic_fraction")),
            share(record.get("achieved_synthetic_fraction")),
            *(share(_map(record.get("junk")).get(name)) if record.get("synthetic") else DASH for name in marks),
        )
        for (arm, seed, generation), record in records
    ]
    head = ("arm", "seed", "training", "blocks", "human", "synthetic", "synthetic, requested", "achieved")
    return RecordTable(
        caption="Requested and achieved mixes",
        head=(*head, *(name.replace("_", " ") for name in marks)),
        rows=tuple(rows),
        folded=len(rows) > OPEN_ROWS,
        note="Blocks become human or synthetic documents. Empty to duplicate are shares of the synthetic ones, which "
        "are their n; junk is empty, near-constant or repetitive.",
    )


def densities(environment: Mapping[str, Any], steps: Manifests) -> RecordTable:
    """How dense the corpora are in facts, where a part recorded it: every recorded key that has "density" in it.

    One row per run where all its generations agree, else one per generation.
    """
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    runs: dict[tuple[str, str], list[dict[str, str]]] = {}
    for (arm, seed, generation), made in steps.items():
        record = {k: v for name in STEPS if name in made for k, v in _dense(made[name].record)}
        if record:
            found[arm, str(seed), str(generation)] = record
            runs.setdefault((arm, str(seed)), []).append(record)
    for (arm, seed), records in runs.items():
        if len(records) > 1 and all(record == records[0] for record in records):
            found = {place: record for place, record in found.items() if place[:2] != (arm, seed)}
            found[arm, seed, "all"] = records[0]
    if recorded := dict(_dense(environment)):
        found["(experiment)", "", ""] = recorded
    keys = list(dict.fromkeys(key for record in found.values() for key in record))
    return RecordTable(
        caption="Fact density of the corpora",
        head=("arm", "seed", "training", *(key.rsplit(".", 1)[-1].replace("_", " ") for key in keys)),
        rows=tuple((*place, *(record.get(key, "") for key in keys)) for place, record in found.items()),
        folded=len(found) > OPEN_ROWS,
    )


def _dense(mapping: Any) -> Iterator[tuple[str, str]]:
    return ((key, shown) for key, shown in flat(mapping) if "density" in key)


def pools(steps: Manifests) -> RecordTable:
    """What each pool part was given, asked for and achieved, training by training."""
    rows: list[tuple[str, ...]] = []
    for (arm, seed, generation), found in steps.items():
        if "train" not in found:
            continue
        for mix in _list(found["train"].record.get("pool")):
            mix = _map(mix)
            rows.append(
                (
                    arm,
                    str(seed),
                    str(generation),
                    part(mix.get("part")),
                    value(mix.get("in")),
                    value(mix.get("out")),
                    pairs(mix.get("requested")),
                    pairs(mix.get("achieved")),
                    " ".join(str(n) for n in _list(mix.get("notes"))),
                )
            )
    head = ("arm", "seed", "training", "part", "documents in", "out", "requested", "achieved", "notes")
    return RecordTable(caption="Pool parts, in order", head=head, rows=tuple(rows), folded=True)


def model_facts(steps: Manifests) -> RecordTable | None:
    """Facts of the start model, as the first step that opened it recorded them."""
    for found in steps.values():
        for name in STEPS:
            if name in found and _map(found[name].record.get("model")):
                rows = tuple(flat(found[name].record["model"]))
                return RecordTable(caption="Model facts", head=("fact", "value"), rows=rows)
    return None


def identities(steps: Manifests) -> RecordTable:
    """Identity of every step's input checkpoint and of what it published."""
    rows: list[tuple[str, ...]] = []
    for (arm, seed, generation), found in _once(steps):
        for name in STEPS:
            if name in found:
                key = found[name].key
                checkpoint = value(_map(key.get("inputs")).get("checkpoint"))
                own = value(found[name].record.get("identity"))
                rows.append((arm, str(seed), str(generation), name, checkpoint, own, found[name].key_sha256))
    head = (
        "arm",
        "seed",
        "generation",
        "step",
        "input checkpoint (SHA-256)",
        "weights made (SHA-256)",
        "key (SHA-256)",
    )
    return RecordTable(caption="Identities", head=head, rows=tuple(rows), folded=True)


def times(steps: Manifests) -> RecordTable:
    """When each step ended, how long it took, its peak memory: what differs between equal runs."""
    names = sorted({name for found in steps.values() for s in found.values() for name, _ in flat(s.times)})
    rows: list[tuple[str, ...]] = []
    for (arm, seed, generation), found in _once(steps):
        for name in STEPS:
            if name in found:
                known = dict(flat(found[name].times))
                rows.append((arm, str(seed), str(generation), name, *(known.get(n, "") for n in names)))
    head = ("arm", "seed", "generation", "step", *names)
    return RecordTable(caption="Times", head=head, rows=tuple(rows), folded=True)


def everything(steps: Manifests) -> Iterator[RecordTable]:
    """Every key of every step's record, per run and step: columns are generations."""
    runs: dict[tuple[str, int], list[int]] = {}
    for arm, seed, generation in steps:
        runs.setdefault((arm, seed), []).append(generation)
    for (arm, seed), generations in runs.items():
        for name in STEPS:
            have = [g for g in sorted(generations) if name in steps[arm, seed, g]]
            records = {g: dict(flat(steps[arm, seed, g][name].record)) for g in have}
            keys = list(dict.fromkeys(k for g in have for k in records[g]))
            rows: list[tuple[str, ...]] = []
            for key in keys[:MAX_ROWS]:
                values = [records[g].get(key, "") for g in have]
                same = len(set(values)) == 1
                rows.append((key, values[0] if same else "", *("" if same else v for v in values)))
            more = f" {len(keys) - MAX_ROWS} more keys are in the manifests." if len(keys) > MAX_ROWS else ""
            yield RecordTable(
                caption=f"Record of {name}: {arm}, seed {seed}",
                head=("key", "every generation", *(f"generation {g}" for g in have)),
                rows=tuple(rows),
                folded=True,
                note=f"A value that is equal in all generations stands once.{more}",
            )


def _once(steps: Manifests) -> Iterator[tuple[tuple[str, int, int], Mapping[str, Manifest]]]:
    """Every generation of every run; generation 0, which runs share, once per folder."""
    seen: set[str] = set()
    for (arm, seed, generation), found in steps.items():
        folder = str(next(iter(found.values())).folder) if found else ""
        if generation == 0 and folder in seen:
            continue
        seen.add(folder)
        yield (("(start model)" if generation == 0 else arm), seed, generation), found


# ---------------------------------------------------------------------------------------------------------------
# Values as text


def flat(mapping: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested mappings as (dotted key, text); lists of mappings are numbered."""
    for key, inner in _map(mapping).items():
        path = f"{prefix}{key}"
        if isinstance(inner, Mapping) and inner:
            yield from flat(inner, f"{path}.")
        elif isinstance(inner, (list, tuple)) and inner and all(isinstance(x, Mapping) for x in inner):
            if len(inner) == 1 or all(set(x) == {"kind"} for x in inner):
                yield path, ", ".join(part(x) for x in inner)
            else:
                for index, entry in enumerate(inner):
                    yield from flat(entry, f"{path}[{index}].")
        else:
            yield path, value(inner)


def value(x: Any) -> str:
    """A leaf as text: numbers to at most six digits, long lists by their ends."""
    if x is None:
        return ""
    if isinstance(x, bool):
        return "yes" if x else "no"
    if isinstance(x, float):
        return f"{x:.6g}"
    if isinstance(x, int):
        return f"{x:,}" if abs(x) >= 10_000 else str(x)
    if isinstance(x, (list, tuple)):
        if len(x) > 8 and all(isinstance(v, (int, float)) for v in x):
            return f"{len(x)} values: {value(x[0])}, {value(x[1])} … {value(x[-2])}, {value(x[-1])}"
        return ", ".join(value(v) for v in x[:20]) + (f" … ({len(x)} in all)" if len(x) > 20 else "")
    if isinstance(x, Mapping):
        return pairs(x)
    text = str(x)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text)} characters)"


def share(x: Any) -> str:
    """A share as a percentage; anything else as it is."""
    return percent(float(x)) if isinstance(x, (int, float)) and not isinstance(x, bool) else value(x)


def part(spec: Any) -> str:
    """A part as it is written in an experiment file: its kind, then its settings."""
    if isinstance(spec, Mapping):
        rest = pairs({k: v for k, v in spec.items() if k != "kind"})
        kind = value(spec.get("kind"))
        return f"{kind} ({rest})" if rest and kind else kind or rest
    return value(spec)


def pairs(mapping: Any) -> str:
    """A mapping on one line."""
    return ", ".join(f"{k} = {v}" for k, v in flat(mapping))


def _map(x: Any) -> Mapping[str, Any]:
    return x if isinstance(x, Mapping) else {}


def _list(x: Any) -> Sequence[Any]:
    return x if isinstance(x, (list, tuple)) else ()

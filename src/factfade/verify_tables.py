"""Every stored table computed again from evidence, and compared: counts, keys, stages.json, the page's numbers."""

from __future__ import annotations

import html
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from factfade import durable, judging, stages, tables
from factfade.errors import FactfadeError, Inconclusive
from factfade.history import COMPLETIONS_FILE, HUMAN_FILE
from factfade.judging import Case
from factfade.manifest import Manifest
from factfade.paths import slug
from factfade.store import ExperimentFolder
from factfade.text import safe_text
from factfade.verdicts import StageReport
from factfade.verify_files import Check, Found, same_code

if TYPE_CHECKING:
    import pandas as pd

STAGES_FILE = "stages.json"
PAGE = "report.html"
MAX_BYTES = 2**30
TOLERANCE = 1e-9


def records(found: Found) -> Iterator[Check]:
    """The rows of every step against the counts in its record."""
    counted = 0
    for manifest in found.manifests:
        read = {"evaluate": _evaluated, "synthesize": _synthesized}.get(manifest.step)
        try:
            for problem in read(manifest) if read else ():
                place = found.relative(manifest.folder / f"{manifest.step}.json")
                yield Check(what="counts", state="damaged", said=problem, path=place)
        except (FactfadeError, OSError) as error:
            # A file whose hash is wrong is named among the files; what it holds cannot be counted.
            said = f"could not be counted: {error}"
            place = found.relative(manifest.folder)
            yield Check(what="counts", state="unchecked", said=safe_text(said, limit=400, keep=""), path=place)
            continue
        counted += read is not None
    if counted:
        yield Check(what="counts", state="verified", said=f"the rows of {counted} steps are those that were counted")


def _evaluated(manifest: Manifest) -> Iterator[str]:
    """What evaluate.json says of its shards and of the own completions, against the rows."""
    said = manifest.record.get("evidence")
    files = {name for name in manifest.files if name.startswith("evidence/")}
    if isinstance(said, Mapping):
        shards = {f"evidence/{slug(name)}.parquet": tally for name, tally in said.items()}
        for name in sorted(set(shards) ^ files):
            yield f"{name} is {'counted, but not published' if name in shards else 'published, but not counted'}"
        for name in sorted(set(shards) & files):
            rows = _rows(manifest, name, "evidence")
            for what, value in _tally(rows).items():
                if what in shards[name] and shards[name][what] != value:
                    yield f"{name} holds {what} {value}, and the record says {shards[name][what]}"
    if "own_completions" in manifest.record and "own.parquet" in manifest.files:
        rows = _rows(manifest, "own.parquet", "completions")
        now: dict[str, Any] = {"own_completions": len(rows)}
        own = manifest.record.get("own")
        for name, value in own.items() if isinstance(own, Mapping) else ():
            now[f"own {name}"] = int(rows[name].sum())
            if value != now[f"own {name}"]:
                yield f"own.parquet holds {now[f'own {name}']} {name}, and the record says {value}"
        if now["own_completions"] != manifest.record["own_completions"]:
            yield f"own.parquet holds {len(rows)} rows, and the record says {manifest.record['own_completions']}"


def _tally(rows: pd.DataFrame) -> dict[str, Any]:
    """The counts that an evaluation makes of a shard."""
    right = rows["choice_correct"].dropna()
    outcomes = Counter(str(one) for one in rows["outcome"].dropna() if one)
    return {
        "rows": len(rows),
        "outcomes": dict(outcomes),
        "choices": len(right),
        "choices_correct": int(right.astype(bool).sum()),
    }


def _synthesized(manifest: Manifest) -> Iterator[str]:
    """What synthesize.json says of completions and human documents, against the rows and lines."""
    if "synthetic" in manifest.record and COMPLETIONS_FILE in manifest.files:
        rows = len(_rows(manifest, COMPLETIONS_FILE, "completions"))
        if rows != manifest.record["synthetic"]:
            yield f"{COMPLETIONS_FILE} holds {rows} rows, and the record says {manifest.record['synthetic']}"
    if "human" in manifest.record and HUMAN_FILE in manifest.files:
        lines = manifest.read_file(HUMAN_FILE).splitlines()
        kept = sum(bool(json.loads(line).get("kept")) for line in lines)
        if kept != manifest.record["human"]:
            yield f"{HUMAN_FILE} keeps {kept} documents, and the record says {manifest.record['human']}"


def _rows(manifest: Manifest, name: str, table: tables.Table) -> pd.DataFrame:
    return tables.from_bytes(manifest.read_file(name), table, name=manifest.folder / name)


# ---------------------------------------------------------------------------------------------------------------
# The tables as a whole


def open_case(folder: ExperimentFolder) -> Case | Check:
    """The case of the folder, read as every judgement reads it; a check where it cannot be read."""
    try:
        return judging.experiment_case(folder)
    except Inconclusive as error:
        return Check(what="evidence", state="unchecked", said=error.message)
    except (FactfadeError, OSError, ValueError) as error:
        said = safe_text(f"cannot be read as a whole: {error}", limit=600, keep="")
        return Check(what="evidence", state="damaged", said=said)


def evidence(case: Case, found: Found) -> Iterator[Check]:
    """Rows, unique keys, completeness. Reading has checked every row and key, or `open_case` had failed."""
    counts = {"evidence": len(case.evidence)}
    counts |= {"fluency": len(case.fluency)} if case.fluency is not None else {}
    counts |= {"own completions": len(case.own)} if case.own is not None else {}
    shown = ", ".join(f"{count:,} rows of {name}" for name, count in counts.items())
    yield Check(what="keys", state="verified", said=f"{shown}: every row is well formed and every key unique")
    missing = tables.missing_items(case.evidence)
    if missing:
        first = missing[0]
        what = safe_text(f"{first.item} ({first.format}, {first.lineage}/seed-{first.seed})", limit=200, keep="")
        said = f"{len(missing):,} questions lack a generation, the first is {what} in generation {first.generation}"
        yield Check(what="completeness", state="damaged", said=said)
    else:
        said = "every question is there in every evaluated generation of its lineage and format"
        yield Check(what="completeness", state="verified", said=said)
    absent = [
        f"{run.arm}/seed-{run.seed}"
        for run in found.folder.runs()
        if not any(key[:2] == (run.arm, run.seed) and key[2] > 0 and "evaluate" in s for key, s in found.steps.items())
    ]
    if absent:
        said = f"nothing after generation 0 is evaluated in {', '.join(absent[:8])}"
        yield Check(what="completeness", state="unchecked", said=said)


# ---------------------------------------------------------------------------------------------------------------
# stages.json


def stage_calls(folder: ExperimentFolder, case: Case, report: StageReport) -> Iterator[Check]:
    """stages.json against the calls computed now."""
    path = folder.root / STAGES_FILE
    if folder.only is not None or not path.is_file():
        said = "is of the whole experiment: give its folder" if path.is_file() else "is not there"
        yield Check(what="stage calls", state="unchecked", said=f"{STAGES_FILE} {said}", path=STAGES_FILE)
        return
    try:
        raw = _bounded(path)
        stored = json.loads(raw)
        stages.from_json(stored)
        if durable.json_bytes(stored) != raw:
            raise ValueError("it has another form than was written")
    except (FactfadeError, ValueError, OSError, RecursionError) as error:
        said = safe_text(f"is damaged: {error}", limit=300, keep="")
        yield Check(what="stage calls", state="damaged", said=said, path=STAGES_FILE)
        return
    yield _compared(stored, folder, case, report)


def _compared(stored: Mapping[str, Any], folder: ExperimentFolder, case: Case, report: StageReport) -> Check:
    declared = folder.environment().get("stage_rule_sha256")
    if stored["rule_sha256"] != report.rule_sha256 and stored["rule_sha256"] == declared:
        said = "were made by another version of the rule's code: they could not be computed again"
        return Check(what="stage calls", state="unchecked", said=said, path=STAGES_FILE)
    differs = difference(stored, _plain(report))
    if differs is None:
        said = f"{len(report.calls)} calls with every condition, bound and sentence are what the evidence gives"
        return Check(what="stage calls", state="verified", said=said, path=STAGES_FILE)
    # A run without a call had its start model evaluated then, or was not there at all.
    earlier = [older for unknown in (0, -1) if (older := _older(stored, case, unknown=unknown)) is not None]
    if any(difference(stored, _plain(older.stages())) is None for older in earlier):
        said = "are older than the evidence, and right for what there was then: `factfade run` makes them again"
        return Check(what="stage calls", state="unchecked", said=said, path=STAGES_FILE)
    said = safe_text(f"are not what the evidence gives: {differs}", limit=600, keep="")
    if not same_code(folder.environment()):
        said += "; another version of factfade made this folder"
        return Check(what="stage calls", state="unchecked", said=said, path=STAGES_FILE)
    return Check(what="stage calls", state="damaged", said=said, path=STAGES_FILE)


def _plain(report: StageReport) -> Any:
    return json.loads(durable.json_bytes(stages.to_json(report)))


def _older(stored: Mapping[str, Any], case: Case, *, unknown: int) -> Case | None:
    """The case up to the generations that the stored calls know, `unknown` for a run without any; None where that is
    all of it, or nothing."""
    last: dict[tuple[str, int], int] = {}
    for call in stored["calls"]:
        run = (str(call["lineage"]), int(call["seed"]))
        last[run] = max(last.get(run, 0), int(call["generation"]))

    def cut(table: pd.DataFrame | None) -> pd.DataFrame | None:
        if table is None or not len(table):
            return table
        places = zip(table["lineage"], table["seed"], table["generation"], strict=True)
        return table[[int(g) <= last.get((str(name), int(seed)), unknown) for name, seed, g in places]]

    known = cut(case.evidence)
    if known is None or len(known) in (0, len(case.evidence)):
        return None
    return replace(case, evidence=known, fluency=cut(case.fluency), own=cut(case.own))


def difference(stored: Any, computed: Any, place: str = "") -> str | None:
    """The first place at which two plain values differ, in words; numbers are equal to 1e-9."""
    if isinstance(stored, dict) and isinstance(computed, dict):
        for name in sorted({*stored, *computed}):
            if name not in stored or name not in computed:
                return f"{place}.{name} is {'not stored' if name in computed else 'stored, and not computed'}".lstrip(
                    "."
                )
            if found := difference(stored[name], computed[name], f"{place}.{name}"):
                return found
        return None
    if isinstance(stored, list) and isinstance(computed, list):
        if len(stored) != len(computed):
            return f"{place.lstrip('.')} has {len(stored)} entries, computed are {len(computed)}"
        pairs = enumerate(zip(stored, computed, strict=True))
        return next((f for i, (a, b) in pairs if (f := difference(a, b, f"{place}[{i}]"))), None)
    if _number(stored) and _number(computed):
        same = math.isclose(stored, computed, rel_tol=TOLERANCE, abs_tol=1e-12)
    else:
        same = type(stored) is type(computed) and stored == computed
    return None if same else f"{place.lstrip('.')} is {_shown(stored)}, computed is {_shown(computed)}"


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return safe_text(json.dumps(value), limit=120, keep="")


# ---------------------------------------------------------------------------------------------------------------
# The page


def page_numbers(folder: ExperimentFolder, report: StageReport, *, current: bool) -> Iterator[Check]:
    """report.html against the page that the evidence gives now. `current`: stages.json agrees with the evidence."""
    from factfade.report import collect, page

    path = collect.place(folder.root if folder.only is None else folder.only.path, PAGE)
    name = path.relative_to(folder.root).as_posix()
    if not path.is_file():
        yield Check(what="page", state="unchecked", said=f"there is no {PAGE}: `factfade report` makes it", path=name)
        return
    try:
        stored = _bounded(path)
        made = page.render(page.collect(folder.root if folder.only is None else folder.only.path, report))
    except (FactfadeError, OSError, ValueError) as error:
        said = safe_text(f"could not be made again: {error}", limit=400, keep="")
        yield Check(what="page", state="unchecked", said=said, path=name)
        return
    if stored == made.encode("utf-8"):
        yield Check(what="page", state="verified", said="is, byte for byte, what the evidence gives", path=name)
        return
    excused = "" if current else "it may be older than the evidence"
    excused = excused or ("" if same_code(folder.environment()) else "another version of factfade made it")
    said = f"is not what the evidence gives: {_first_change(stored.decode('utf-8', 'replace'), made)}"
    if excused:
        said += f"; {excused}: `factfade report` makes it again"
    yield Check(what="page", state="unchecked" if excused else "damaged", said=said, path=name)


def _first_change(stored: str, made: str) -> str:
    """The first visible words that differ, or where the files do."""
    old, new = _words(stored), _words(made)
    for at, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b:
            before = " ".join(old[max(0, at - 6) : at])
            return safe_text(f"after {before!r} it says {a!r} where {b!r} is computed", limit=400, keep="")
    if len(old) != len(new):
        return f"it has {len(old):,} words where {len(new):,} are computed"
    return "its words are, its figures or markup are not"


def _words(text: str) -> list[str]:
    plain = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", plain)).split()


def _bounded(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES:,} bytes")
    return path.read_bytes()

"""What an audit's folder says beyond a run's: its settings, its record, and the checkpoints that were audited.

    audit.toml    against the hash that environment.json holds
    audit.json    against its own hash, the manifests of the evaluations, and the names in the evidence
    checkpoints   hashed again where they were found: the same, changed, or gone

The checkpoints lie outside the folder. One that changed is named as damage, since the audit speaks of other weights;
one that is gone could not be checked, and what is stored of it stands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from factfade import durable, keys, stages, world
from factfade.auditfolder import AUDIT, EARLIER, RECORD, AuditFolder
from factfade.columns import names_of
from factfade.config import Experiment
from factfade.errors import FactfadeError, NotFound
from factfade.evidence_cache import Content, content_of, has_tokenizer
from factfade.identity import ADAPTER_CONFIG
from factfade.judging import Case
from factfade.models.loading import WORLD
from factfade.places import Places
from factfade.records import sha256_text
from factfade.text import safe_text
from factfade.verify_files import Check, Found, rule_check

FIELDS = ("weights", "config", "tokenizer", "template")
CALLED = {"weights": "weights", "config": "configuration", "tokenizer": "tokenizer", "template": "chat template"}


def settings(folder: AuditFolder, environment: Mapping[str, Any]) -> Iterator[Check]:
    """audit.toml against the hash that was recorded with it, and the stage rule against the declared one."""
    try:
        experiment = Experiment.model_validate(folder.settings())
        text = folder.path(AUDIT).read_bytes().decode("utf-8")
    except (FactfadeError, ValueError, OSError) as error:
        said = safe_text(error, limit=400, keep="")
        yield Check(what="settings", state="damaged", said=f"cannot be read: {said}", path=AUDIT)
        return
    recorded = environment.get("settings_sha256")
    if not recorded:
        said = "no hash of the settings is recorded, but that of the stage rule among them"
        yield Check(what="settings", state="unchecked", said=said, path=AUDIT)
    elif recorded != sha256_text(text):
        yield Check(what="settings", state="damaged", said="are not those whose hash was recorded", path=AUDIT)
    else:
        said = f"are those whose hash was recorded ({recorded[:12]})"
        yield Check(what="settings", state="verified", said=said, path=AUDIT)
    found = rule_check(experiment, environment)
    if found.state == "damaged":
        # `audit --force` takes another rule and says so in the calls; the first one stays the declared one.
        found = Check(what=found.what, state="unchecked", said=f"{found.said}: the calls say so too")
    yield found


# ---------------------------------------------------------------------------------------------------------------
# audit.json


def record(folder: AuditFolder, found: Found) -> Iterator[Check]:
    """audit.json against its own hash and against the manifests: which checkpoints, where, of which identity."""
    path = folder.path(RECORD)
    if not path.is_file():
        said = "is not there: no audit of this folder has come to its end"
        yield Check(what="record", state="unchecked", said=said, path=RECORD)
        return
    try:
        stored = folder.record()
        plain = durable.json_bytes(stored) == path.read_bytes()
    except (FactfadeError, OSError, ValueError) as error:
        said = safe_text(error, limit=400, keep="")
        yield Check(what="record", state="damaged", said=f"cannot be read: {said}", path=RECORD)
        return
    seal = keys.seal_holds(stored)
    problems = [] if plain else ["it has another form than was written"]
    problems += ["it is not what its own hash says"] if seal is False else []
    problems += list(_disagreements(folder, stored, found))
    for problem in problems:
        said = safe_text(problem, limit=600, keep="")
        yield Check(what="record", state="damaged", said=said, path=RECORD)
    if problems:
        return
    if seal is None:
        said = "it carries no hash of itself; what it says of identities agrees with the evaluations"
        yield Check(what="record", state="unchecked", said=said, path=RECORD)
        return
    rows = checkpoints(stored)
    failed = sum(bool(row.get("failure")) for row in rows)
    more = f"; {failed} could not be evaluated, and have no evidence here" if failed else ""
    said = f"names the base and {len(rows) - failed} checkpoints as their evaluations do, by place and identity{more}"
    yield Check(what="record", state="verified", said=said, path=RECORD)


def _disagreements(folder: AuditFolder, stored: Mapping[str, Any], found: Found) -> Iterator[str]:
    """Where audit.json and the rest of the folder say different things."""
    evaluated = {g: made["evaluate"] for (_, _, g), made in found.steps.items() if "evaluate" in made}
    damaged = {check.path for check in found.damaged}
    rows = [base_of(stored), *checkpoints(stored)]
    base = _mapping(rows[0].get("identity"))
    if [row.get("position") for row in rows] != list(range(len(rows))):
        yield "the positions of its checkpoints are not 0, 1, 2 and so on"
        return
    for position, row in enumerate(rows):
        name, manifest = _name(row), evaluated.get(position)
        if row.get("failure"):
            if manifest is not None:
                yield f"{name} could not be evaluated, it says, and an evaluation of it is stored"
            continue
        if manifest is None:
            if f"{row.get('folder')}/evaluate.json" not in damaged:  # a damaged manifest is named already
                yield f"{name} is evaluated, it says, and no evaluation stands at position {position}"
            continue
        if found.relative(manifest.folder) != row.get("folder"):
            yield f"{name} stands in {row.get('folder')}, it says, and is in {found.relative(manifest.folder)}"
        for whose, prefix, said in ((name, "checkpoint", row.get("identity")), ("the base", "reference", base)):
            yield from _identities(whose, prefix, _mapping(said), _mapping(manifest.key.get("inputs")), name)
    for position in sorted(set(evaluated) - set(range(len(rows)))):
        yield f"it does not name the checkpoint that is evaluated at position {position}"
    if stored.get("failures") != [row.get("name") for row in rows if row.get("failure")]:
        yield "its list of failures is not that of the checkpoints that failed"
    try:
        environment = folder.environment()
        rule = stages.Rule.from_section(Experiment.model_validate(folder.settings()).stages).sha256
    except (FactfadeError, ValueError, OSError):
        return  # said of the settings and the environment already
    for what in ("questions", "corpus"):
        if stored.get(what) != environment.get(what):
            yield f"the counts of its {what} are not those of environment.json"
    if stored.get("rule_sha256") != rule:
        yield "its stage rule is not that of audit.toml"


def _identities(
    whose: str, prefix: str, said: Mapping[str, Any], inputs: Mapping[str, Any], name: str
) -> Iterator[str]:
    for field in FIELDS:
        key = prefix if field == "weights" else f"{prefix}_{field}"
        # Evidence made without a key by content names the weights alone.
        if key in inputs and inputs[key] != said.get(field):
            told, read = str(said.get(field))[:12], str(inputs[key])[:12]
            yield f"the {CALLED[field]} of {whose}: {told}, it says, and the evaluation of {name} read {read}"


def names(stored: Mapping[str, Any], case: Case) -> Iterator[Check]:
    """The names and steps of audit.json against those in the evidence."""
    told = {row.get("position"): (row.get("name"), row.get("step")) for row in checkpoints(stored)}
    for (_, _, position), (name, step) in sorted(names_of(case.evidence).items()):
        if position in told and "checkpoint" in case.evidence.columns and told[position] != (name, step):
            said = (
                f"position {position} is {_shown(told[position])}, it says, and {_shown((name, step))} in the evidence"
            )
            yield Check(what="record", state="damaged", said=safe_text(said, limit=400, keep=""), path=RECORD)


def _shown(one: tuple[Any, Any]) -> str:
    return f"{one[0]} (no step)" if one[1] is None else f"{one[0]} (step {one[1]})"


# ---------------------------------------------------------------------------------------------------------------
# What was audited, where it was found


def audited(folder: AuditFolder, stored: Mapping[str, Any]) -> Iterator[Check]:
    """The base and every checkpoint hashed again at the path that audit.json names."""
    row = base_of(stored)
    recorded = _content(row)
    if recorded is None:
        said = "no record names what was audited: neither the base nor a checkpoint is looked at"
        yield Check(what="checkpoints", state="unchecked", said=said)
        return
    base = _base_place(folder, str(row.get("path") or ""))
    same = 0
    for one in (row, *(one for one in checkpoints(stored) if not one.get("failure"))):
        place = base if one is row else Path(str(one.get("path") or "."))
        check = _looked_at(one, place, base, recorded, first=one is row)
        same += check is None
        if check is not None:
            yield check
    if same:
        said = f"{same} of base and checkpoints are where they were, and what was audited: {', '.join(CALLED.values())}"
        yield Check(what="checkpoints", state="verified", said=said)


def _looked_at(
    row: Mapping[str, Any], place: Path | None, base: Path | None, recorded: Content, *, first: bool
) -> Check | None:
    """None where a checkpoint is still what was audited."""
    name, said = _name(row), _content(row)
    where = safe_text(row.get("path"), limit=300, keep="")
    if said is None:
        return Check(
            what="checkpoints", state="unchecked", said=f"{name} could not be checked: no identity is recorded"
        )
    try:
        if place is None or not place.is_dir():
            raise NotFound("nothing is there any more")
        now = _content_of(place, base, None if first else recorded)
    except NotFound as error:
        text = f"{name} could not be checked at {where}: {error.message}"
        return Check(what="checkpoints", state="unchecked", said=safe_text(text, limit=600, keep=""))
    except OSError as error:
        text = f"{name} could not be checked at {where}: {error.strerror}"
        return Check(what="checkpoints", state="unchecked", said=safe_text(text, limit=600, keep=""))
    except FactfadeError as error:
        text = f"{name} is no longer what was audited: {error.message}"
        return Check(what="checkpoints", state="damaged", said=safe_text(text, limit=600, keep=""), path=where)
    changed = [
        f"{CALLED[f]} ({getattr(said, f)[:12]} then, {getattr(now, f)[:12]} now)"
        for f in FIELDS
        if getattr(said, f) != getattr(now, f)
    ]
    if not changed:
        return None
    text = f"{name} is no longer what was audited: other {' and '.join(changed)}"
    return Check(what="checkpoints", state="damaged", said=safe_text(text, limit=600, keep=""), path=where)


def _content_of(place: Path, base: Path | None, recorded: Content | None) -> Content:
    """The content of a checkpoint now; an adapter's beside the base as it was recorded, wherever that is."""
    if recorded is None or not (place / ADAPTER_CONFIG).is_file():
        return content_of(place)
    found = content_of(place, base=base, base_content=recorded)
    if has_tokenizer(place):
        return found
    return replace(found, tokenizer=recorded.tokenizer, template=recorded.template)


def _base_place(folder: AuditFolder, named: str) -> Path | None:
    """Where the base is: the shipped model, the path of the record, or the folder that a hub name stood for."""
    if named == WORLD:
        return world.model_path()
    if os.path.isabs(named):
        return Path(named)
    try:
        resolved = str(_mapping(folder.stored().get("model")).get("path") or "")
    except (FactfadeError, OSError):
        resolved = ""
    return Path(resolved) if resolved else None


def earlier(folder: AuditFolder) -> Iterator[Check]:
    """Evidence that is kept for reuse and stands for no checkpoint of this audit."""
    root = folder.path(EARLIER)
    count = sum(one.is_dir() for one in root.iterdir()) if root.is_dir() else 0
    if count:
        said = f"{count} evaluations kept for reuse are in no table; they are hashed before they are reused"
        yield Check(what="kept evidence", state="unchecked", said=said, path=EARLIER)


# ---------------------------------------------------------------------------------------------------------------
# The record's rows


def base_of(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row of the base; empty where the record has none."""
    return _mapping(stored.get("base"))


def checkpoints(stored: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of the checkpoints, in their order."""
    rows = stored.get("checkpoints")
    return [_mapping(row) for row in cast("list[Any]", rows)] if isinstance(rows, list) else []


def places(folder: AuditFolder) -> Places:
    """What the checkpoints of the record are called; positions where it cannot be read."""
    try:
        rows = checkpoints(folder.record())
    except (FactfadeError, OSError, ValueError):
        rows = []
    found: dict[int, tuple[str, int | None]] = {}
    for row in rows:
        position, step = row.get("position"), row.get("step")
        if isinstance(position, int):
            found[position] = (_name(row), step if isinstance(step, int) else None)
    return Places.of(found)


def _content(row: Mapping[str, Any]) -> Content | None:
    said = _mapping(row.get("identity"))
    values = {field: said.get(field) for field in FIELDS}
    return Content(**values) if all(isinstance(value, str) for value in values.values()) else None  # type: ignore[arg-type]


def _name(row: Mapping[str, Any]) -> str:
    return "the base" if row.get("position") == 0 else safe_text(row.get("name"), limit=120, keep="")


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}

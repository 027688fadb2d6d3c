"""Verify a run folder: hash it again, compute every table again from evidence, and say what could not be checked.

    files         every file of every manifest against its SHA-256; the manifests against their own
    identity      weights against what each step says it read and wrote
    settings      experiment.toml and the stage rule against the hashes recorded before generation 1
    counts        rows against the records; keys unique; no question missing in a generation
    stage calls   stages.json against the calls computed now
    page          report.html against the page computed now

An audit's folder beyond that (`verify_audit`): its record against the evaluations, and the checkpoints that were
audited against what they were, where they still are.

A folder is what it says, or it is not: nobody signs it, so one whose every file and hash was rewritten together
passes. No model is loaded. Works on the folder of an experiment or an audit, and on one run in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from factfade import auditfolder, verify_audit, verify_files, verify_tables
from factfade.auditfolder import AuditFolder
from factfade.errors import EXIT_PASS, FactfadeError, IntegrityError
from factfade.store import ExperimentFolder
from factfade.text import safe_text
from factfade.verify_files import Check

__all__ = ["Check", "Verification", "verify"]

ALWAYS = (
    ("sampling", "that the models gave these answers and wrote these texts: it would take asking them again"),
    ("training", "that training on these texts gives these weights: it would take training again"),
    ("authorship", "who made the folder: hashes find damage and single edits, not a folder made anew as a whole"),
)
AUDITED = (
    ("sampling", "that the models gave these answers and wrote these texts: it would take asking them again"),
    ("training", "how the checkpoints were made: an audit does not know"),
    ALWAYS[-1],
)
MARKS = {"verified": "ok", "damaged": "DAMAGED", "unchecked": "not checked"}


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Every check of a folder, in order."""

    path: Path
    checks: tuple[Check, ...]

    @property
    def damaged(self) -> tuple[Check, ...]:
        """What is not as it was written, or not what the evidence gives."""
        return tuple(check for check in self.checks if check.state == "damaged")

    @property
    def verified(self) -> bool:
        """Whether something was verified and nothing is damaged."""
        return not self.damaged and any(check.state == "verified" for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0, or that of an IntegrityError."""
        return EXIT_PASS if self.verified else IntegrityError.exit_code

    def to_json(self) -> dict[str, Any]:
        """Plain data: the verdict, and every check."""
        counts = {state: sum(check.state == state for check in self.checks) for state in MARKS}
        return {"verified": self.verified, "counts": counts, "checks": [asdict(check) for check in self.checks]}

    def lines(self) -> list[str]:
        """The checks as text: what is verified, what is not checked, what is damaged, and the verdict."""
        found: list[str] = []
        for state, mark in (("verified", "ok"), ("unchecked", MARKS["unchecked"]), ("damaged", MARKS["damaged"])):
            for check in self.checks:
                if check.state == state:
                    place = f"{check.path}: " if check.path else ""
                    found.append(f"{mark:<12} {check.what:<13} {safe_text(place + check.said, limit=1500, keep='')}")
        if self.damaged:
            named = dict.fromkeys(check.path for check in self.damaged if check.path)
            shown = ", ".join(safe_text(name, limit=200, keep="") for name in list(named)[:5])
            found.append(f"Not verified: {len(self.damaged)} things are damaged" + (f" ({shown})." if shown else "."))
        elif not self.verified:
            found.append("Not verified: nothing could be checked.")
        else:
            found.append("Verified; what could not be checked is named above.")
        return found


def verify(path: str | Path) -> Verification:
    """Check the folder of an experiment or an audit at `path`, or one run in it (with generation 0 and its control).

    Damage is in the result, never an exception. Raises NotFound where there is no such folder.
    """
    folder = auditfolder.open_folder(path)
    checks = tuple(_checks(folder))
    if isinstance(folder, AuditFolder):
        places = verify_audit.places(folder)
        checks = tuple(replace(check, said=places.said(check.said)) for check in checks)
    return Verification(path=folder.root, checks=checks)


def _checks(folder: ExperimentFolder) -> Iterator[Check]:
    audit = folder if isinstance(folder, AuditFolder) else None
    settings = list(verify_files.settings(folder))
    if audit is not None and settings[0].state != "damaged":
        settings += verify_audit.settings(audit, audit.environment())
    yield from settings
    try:
        found = verify_files.find(folder)
    except (FactfadeError, OSError) as error:
        yield Check(what="files", state="damaged", said=safe_text(error, limit=600, keep=""))
        return
    files = list(verify_files.files(found))
    yield from files
    yield from verify_files.strangers(found)
    yield from verify_files.weights(found)
    readable = not any(check.what in ("settings", "environment") and check.state == "damaged" for check in settings)
    stored: Mapping[str, Any] = {}
    if audit is not None:
        record = list(verify_audit.record(audit, found))
        yield from record
        # What a damaged record says of places is not followed.
        stored = {} if any(check.state == "damaged" for check in record) else audit.record()
        yield from verify_audit.audited(audit, stored)
        yield from verify_audit.earlier(audit)
    elif readable:
        yield from verify_files.start_model(found, folder.settings())
    yield from verify_tables.records(found)
    if readable:
        yield from _computed(folder, found, stored, whole=not any(check.state == "damaged" for check in files))
    else:
        yield Check(what="stage calls", state="unchecked", said="the settings are damaged: no rule to compute them by")
    for what, said in ALWAYS if audit is None else AUDITED:
        yield Check(what=what, state="unchecked", said=said)


def _computed(
    folder: ExperimentFolder, found: verify_files.Found, stored: Mapping[str, Any], *, whole: bool
) -> Iterator[Check]:
    """What is computed from evidence and compared. `stored` is an audit's record, empty for a run."""
    case = verify_tables.open_case(folder)
    if isinstance(case, Check):
        # A damaged file is named already; the tables it belongs to are merely out of reach.
        yield case if whole else Check(what=case.what, state="unchecked", said=case.said)
        return
    yield from verify_tables.evidence(case, found)
    yield from verify_audit.names(stored, case)
    report = case.stages()
    calls = list(verify_tables.stage_calls(folder, case, report))
    yield from calls
    current = folder.only is not None or not any(check.state == "unchecked" for check in calls)
    yield from verify_tables.page_numbers(folder, report, current=current)

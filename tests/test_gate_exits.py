"""The exit codes of the gate, a row each: every row is a run of the command, with all that it prints and writes.

0 pass, 1 breached, 2 usage or settings, 3 inconclusive or missing, 4 failed, 5 refused, 130/143 interrupted. Whatever is
missing, empty or no number is never 0, and 1 is a breach and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

import factfade
from factfade import gate_files
from factfade import policy as policies
from factfade.gate import judge
from tests import fakerun
from tests.test_cli import call
from tests.test_gate import POLICY, Change, later, same, stored_audit, unjudged, world, write

# ruff: noqa: E501  (a row of the matrix is a line)
LOOSE = "[gate]\nminimum_n = 5\n[margins]\nknowledge = 0.9\n"
STRICT = "[gate]\nminimum_n = 5\n[margins]\nknowledge = 0.1\n"


JUDGED: list[tuple[str, dict[str, float], Change, str, int, int, str]] = [
    # name, planted, change, policy, exit code, exit code with --inconclusive warn, what is said
    ("pass", {}, same, POLICY, 0, 0, "Passed: each of 8 losses"),
    ("notice", {"lost": 0.04}, same, POLICY, 0, 0, "a loss is shown that stays within its margin"),
    ("breach", {"lost": 0.4}, same, POLICY, 1, 1, "Breached: 4 of 8"),
    ("breach of fluency", {"nats": 0.9}, same, POLICY, 1, 1, "Breached: 1 of 8"),
    ("inconclusive", {"lost": 0.1}, same, POLICY, 3, 0, "would settle it"),
    ("too few", {"items": 80}, same, POLICY, 3, 0, "at least 100 items are needed"),
    ("no fluency", {}, lambda m: (m[0], None, None), POLICY, 3, 3, "2 cannot be judged"),
    ("format gone", {}, lambda m: (m[0][~later(m[0])], *m[1:]), POLICY, 3, 3, "asked of one of the two only"),
    ("format never asked", {}, lambda m: (m[0][m[0]["format"] != "open_ended"], *m[1:]), POLICY, 3, 3, "was not asked"),
    ("domain never asked", {}, same, POLICY.replace("geo", "law"), 3, 3, "no question of the domain"),
    ("domains not stored", {}, lambda m: (m[0].drop(columns="domain"), *m[1:]), POLICY, 3, 3, "no question of the domain"),
    ("empty set", {}, lambda m: tuple(t[t["generation"] == 0] for t in m), POLICY, 3, 3, "no checkpoint after generation 0"),
    ("no base", {}, lambda m: tuple(t[t["generation"] == 1] for t in m), POLICY, 3, 3, "8 cannot be judged"),
    ("nan", {}, unjudged, POLICY, 3, 3, "have a value on one side only"),
    ("question gone", {}, lambda m: (m[0].drop(m[0].index[later(m[0])][0]), *m[1:]), POLICY, 3, 3, "on one side only"),
    ("text gone", {}, lambda m: (m[0], m[1].drop(m[1].index[-200]), m[2]), POLICY, 3, 3, "1 of 128 prompts"),
    ("outcomes gone", {}, lambda m: (m[0].drop(columns="outcome"), *m[1:]), POLICY, 3, 3, "no item has a free answer"),
    ("asked otherwise", {}, lambda m: (m[0].assign(prompt_sha256="p" + m[0]["generation"].astype(str)), *m[1:]), POLICY, 3, 3, "another prompt for"),
    ("another template", {}, lambda m: (m[0].assign(template_sha256=["chat" if g else "" for g in m[0]["generation"]]), *m[1:]), POLICY, 3, 3, "another template"),
    ("breach and missing", {"lost": 0.4}, lambda m: (m[0], None, None), POLICY, 1, 1, "of the others 2 cannot be judged"),
    ("no confidence", {}, lambda m: (m[0].drop(columns="choice_confidence"), *m[1:]), POLICY + "confidence = 0.1\n", 3, 3, "with its confidence"),
]  # fmt: skip
VERDICTS = {0: "pass", 1: "breach", 3: "inconclusive", 4: "failed", 5: "failed"}


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path | str, policy: str, out: Path,
    *options: str,
) -> tuple[int, str]:  # fmt: skip
    """The exit code of the command and all that it prints."""
    rule = out.parent / "policy.toml"
    rule.write_text(policy, encoding="utf-8")
    code = call(monkeypatch, "gate", str(folder), "--policy", str(rule), "--out", str(out), *options)
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return code, said.out + said.err


def check_files(out: Path, code: int, *, warned: bool = False) -> dict[str, int]:
    """The three files say what the exit code says; returns how many checks have each status."""
    data = json.loads((out / gate_files.JSON).read_text(encoding="utf-8"))
    verdict = "inconclusive" if warned else VERDICTS[code]
    assert (data["verdict"], data["exit_code"]) == (verdict, code)
    statuses = [check["status"] for check in data["checks"]]
    assert statuses, "a verdict over nothing"
    counts = {status: statuses.count(status) for status in ("breach", "failed", "missing", "inconclusive", "pass")}
    if code == 0 and not warned:
        assert counts["pass"] == len(statuses)
    suite = ET.parse(out / gate_files.JUNIT).getroot().find("testsuite")
    assert suite is not None
    skipped = counts["inconclusive"] if code == 0 else 0
    errors = counts["failed"] + counts["missing"] + counts["inconclusive"] - skipped
    told = {name: int(suite.get(name, "-1")) for name in ("tests", "failures", "errors", "skipped")}
    assert told == {"tests": len(statuses), "failures": counts["breach"], "errors": errors, "skipped": skipped}
    for tag, count in (("testcase", len(statuses)), ("failure", counts["breach"]), ("error", errors)):
        assert len(suite.findall(f".//{tag}")) == count
    summary = (out / gate_files.SUMMARY).read_text(encoding="utf-8")
    assert summary.startswith(f"## factfade gate: {verdict}\n")
    table = [line for line in summary.splitlines() if line.startswith("| ")][1:]
    marks = [line.split("|")[1].strip(" *").removesuffix(", with a notice") for line in table]
    assert marks == [gate_files.MARKS[status] for status in statuses]
    for name in (gate_files.JSON, gate_files.JUNIT, gate_files.SUMMARY):
        assert data["policy_sha256"] in (out / name).read_text(encoding="utf-8")
    return counts


@pytest.mark.parametrize(
    ("name", "plant", "change", "policy", "code", "warned", "says"), JUDGED, ids=[r[0] for r in JUDGED]
)
def test_what_is_measured_is_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str,
    plant: dict[str, float], change: Change, policy: str, code: int, warned: int, says: str,
) -> None:  # fmt: skip
    folder = write(tmp_path / "audit", change(world(**plant)))  # type: ignore[arg-type]
    found, said = run(monkeypatch, capsys, folder, policy, tmp_path / "out")
    assert (found, says in said) == (code, True), said
    check_files(tmp_path / "out", code)
    found, _ = run(
        monkeypatch, capsys, tmp_path / "out" / "gate.json", policy, tmp_path / "again", "--inconclusive", "warn"
    )
    assert found == warned, "judged again from its JSON, warning only"
    counts = check_files(tmp_path / "again", warned, warned=warned == 0 and code == 3)
    assert bool(counts["inconclusive"]) == (name in ("inconclusive", "too few"))
    hashes = [json.loads((tmp_path / d / "gate.json").read_text())["policy_sha256"] for d in ("out", "again")]
    assert hashes[0] != hashes[1]


ROWS = fakerun.evidence_rows


def all_lost(lineage: str, seed: int, generation: int, form: str, block: int) -> list[dict[str, object]]:
    """What was asked, all of it right at generation 0 and nothing later."""
    right = generation == 0
    return [
        {**row, "choice": int(row["gold"]) if right else 1 - int(row["gold"]), "choice_correct": right}
        for row in ROWS(lineage, seed, generation, form, block)
    ]


AUDITS: list[tuple[str, dict[str, object], str, str, int, str]] = [
    # name, what the audit's record says, policy, which checkpoint, exit code, what is said
    ("all evaluated", {"failures": []}, LOOSE, "", 0, "Passed"),
    ("not ended", {"failures": [], "ended": False}, LOOSE, "", 3, "the audit has not come to its end"),
    ("evaluation failed", {"failures": ["checkpoint-1500"]}, LOOSE, "", 4, "checkpoint-1500 could not be evaluated: weights are missing"),
    ("two failed", {"failures": ["checkpoint-7", "checkpoint-8"]}, LOOSE, "", 4, "2 checkpoints could not be evaluated"),
    ("refused", {"failures": ["checkpoint-1500"], "code": 5}, LOOSE, "", 5, "could not be evaluated"),
    ("interrupted there", {"failures": ["checkpoint-1500"], "code": 130}, LOOSE, "", 4, "could not be evaluated"),
    ("failed and breached", {"failures": ["checkpoint-1500"]}, STRICT, "", 1, "Breached"),
    ("another one is named", {"failures": ["checkpoint-1500"]}, LOOSE, "@2", 0, "Passed"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "record", "policy", "which", "code", "says"), AUDITS, ids=[r[0] for r in AUDITS])
@pytest.mark.parametrize("inconclusive", ["fail", "warn"])
def test_an_audit_whose_checkpoints_failed_never_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str,
    record: dict[str, object], policy: str, which: str, code: int, says: str, inconclusive: str,
) -> None:  # fmt: skip
    if policy == STRICT:
        monkeypatch.setattr(fakerun, "evidence_rows", all_lost)
    root = stored_audit(tmp_path / "audit", **record)  # type: ignore[arg-type]
    found, said = run(monkeypatch, capsys, f"{root}{which}", policy, tmp_path / "out", "--inconclusive", inconclusive)
    assert (found, says in said) == (code, True), said
    check_files(tmp_path / "out", code)
    again, _ = run(
        monkeypatch, capsys, tmp_path / "out" / "gate.json", policy, tmp_path / "again", "--inconclusive", inconclusive
    )
    assert again == code, "the verdict's JSON holds the failure"
    check_files(tmp_path / "again", code)


def test_a_failure_in_a_verdict_s_json_is_no_pass_by_another_code(tmp_path: Path) -> None:
    root = stored_audit(tmp_path / "audit", failures=["checkpoint-1500"])
    data = json.loads(gate_files.to_json(judge(root, policies.load(_file(tmp_path / "p.toml", LOOSE)))))
    for code in (0, 1, 75):
        data["measured"]["failures"][0]["exit_code"] = code
        file = _file(tmp_path / "gate.json", json.dumps(data))
        with pytest.raises(factfade.errors.DataError, match="damaged"):
            judge(file, policies.load(tmp_path / "p.toml"))


def _file(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def damaged_shard(folder: Path) -> str:
    fakerun.run(folder / "run")
    shard = sorted((folder / "run" / "general" / "seed-0" / "generation-002").rglob("open_ended-0001*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:-7] + b"damaged")
    return f"{folder / 'run'}:general"


def lost_shard(folder: Path) -> str:
    fakerun.run(folder / "run")
    sorted((folder / "run" / "general" / "seed-0" / "generation-002").rglob("open_ended-0001*.parquet"))[0].unlink()
    return f"{folder / 'run'}:general"


def damaged_manifest(folder: Path) -> str:
    root = stored_audit(folder / "audit", failures=[])
    manifest = root / "checkpoints" / "002-checkpoint-1000" / "evaluate.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"shards": 4', '"shards": 5'), encoding="utf-8")
    return str(root)


def damaged_record(folder: Path) -> str:
    root = stored_audit(folder / "audit", failures=[])
    (root / "audit.json").write_text('{"checkpoints": [', encoding="utf-8")
    return str(root)


def damaged_table(folder: Path) -> str:
    audit = write(folder / "audit", world(items=20))
    (audit / "evidence.parquet").write_bytes(b"PAR1 is not all")
    return str(audit)


def no_number(folder: Path) -> str:
    """A log-likelihood of the checkpoint is NaN."""
    audit = write(folder / "audit", world(items=20))
    fluency = pd.read_parquet(audit / "fluency.parquet")
    fluency.loc[fluency.index[-1], "nll"] = float("nan")
    fluency.to_parquet(audit / "fluency.parquet")
    return str(audit)


def evidence(folder: Path) -> str:
    return str(write(folder / "audit", world(items=20)))


def nowhere(folder: Path) -> str:
    return str(folder / "nowhere")


def no_evidence(folder: Path) -> str:
    (folder / "empty").mkdir()
    return str(folder / "empty")


def two_arms(folder: Path) -> str:
    fakerun.run(folder / "run")
    return str(folder / "run")


def not_json(folder: Path) -> str:
    return str(_file(folder / "gate.json", '{"gate_version": NaN'))


REFUSED: list[tuple[str, Callable[[Path], str], list[str], str, int, str]] = [
    # name, what makes the evidence, options, policy, exit code, what is said
    ("nothing there", nowhere, [], POLICY, 2, "there is nothing at"),
    ("no evidence", no_evidence, [], POLICY, 2, "empty"),
    ("no such checkpoint", lambda f: f"{evidence(f)}@checkpoint-7", [], POLICY, 2, "checkpoint-7"),
    ("which arm", two_arms, [], LOOSE, 2, "lineages"),
    ("unknown key", evidence, [], "[margins]\nknowlege = 0.1", 2, "margins.knowlege"),
    ("no margin", evidence, [], "[gate]\nalpha = 0.1", 2, "no margin is set"),
    ("NaN margin", evidence, [], "[margins]\nknowledge = nan", 2, "finite"),
    ("no TOML", evidence, [], "[gate", 2, "no valid TOML"),
    ("unknown option", evidence, ["--lenient"], POLICY, 2, "--lenient"),
    ("unknown word", evidence, ["--inconclusive", "pass"], POLICY, 2, "inconclusive"),
    ("no verdict", not_json, [], POLICY, 2, "cannot be read as JSON"),
    ("damaged table", damaged_table, [], POLICY, 2, "evidence.parquet"),
    ("no number", no_number, [], POLICY, 2, "nll"),
    ("damaged shard", damaged_shard, [], LOOSE, 5, "open_ended-0001"),
    ("lost shard", lost_shard, [], LOOSE, 5, "parquet"),
    ("damaged manifest", damaged_manifest, [], LOOSE, 5, "evaluate.json"),
    ("damaged record", damaged_record, [], LOOSE, 5, "audit.json"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "options", "policy", "code", "says"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_cannot_be_judged_writes_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str,
    make: Callable[[Path], str], options: list[str], policy: str, code: int, says: str,
) -> None:  # fmt: skip
    found, said = run(monkeypatch, capsys, make(tmp_path), policy, tmp_path / "out", *options)
    assert (found, says in said) == (code, True), said
    assert not (tmp_path / "out").exists()


def test_without_evidence_or_policy_it_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(monkeypatch, "gate", "--policy", str(_file(tmp_path / "policy.toml", POLICY))) == 2
    assert call(monkeypatch, "gate", evidence(tmp_path), "--policy", str(tmp_path / "none.toml")) == 2
    assert call(monkeypatch, "gate", "--init", "--ci", "jenkins", "--policy", str(tmp_path / "new.toml")) == 2
    assert "Traceback" not in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------
# The disk


@contextmanager
def nobody() -> Iterator[None]:
    """As a user whom the permissions of files hold: root reads everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("locked", "code"), [("evidence", 4), ("audit", 4), ("audit/checkpoints", 4), ("evidence/evidence.parquet", 2)]
)
def test_what_may_not_be_read_is_no_verdict_and_no_breach(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], locked: str, code: int
) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write(folder / "evidence", world(items=120))
        stored_audit(folder / "audit", failures=[])
        rule = _file(folder / "policy.toml", LOOSE)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        target = folder / locked.split("/")[0]
        assert call(monkeypatch, "gate", str(target), "--policy", str(rule)) == 0
        (folder / locked).chmod(0)
        try:
            with nobody():
                assert call(monkeypatch, "gate", str(target), "--policy", str(rule)) == code
        finally:
            (folder / locked).chmod(0o755)
    said = capsys.readouterr().err
    assert "ermission denied" in said
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_written_is_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _file(tmp_path / "taken", "a file")
    code, said = run(monkeypatch, capsys, evidence(tmp_path), LOOSE, tmp_path / "taken")
    assert code == 4
    assert "taken" in said
    assert "check the disk" in said


def test_a_fault_of_the_program_is_4_and_never_the_code_of_a_breach(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("factfade.gate.judge", broken)
    rule = _file(tmp_path / "policy.toml", LOOSE)
    assert call(monkeypatch, "gate", str(tmp_path), "--policy", str(rule), "--out", str(tmp_path / "out")) == 4
    assert "ZeroDivisionError: a fault" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------------------------------------------
# Interruption


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_has_its_code_and_leaves_no_verdict(tmp_path: Path, number: int, code: int) -> None:
    """The command waits for its policy, which is a pipe: it is in the middle when the signal comes."""
    folder = evidence(tmp_path)
    rule = tmp_path / "policy.toml"
    os.mkfifo(rule)
    command = [sys.executable, "-m", "factfade", "gate", folder, "--policy", str(rule), "--out", str(tmp_path / "out")]
    source = str(Path(factfade.__file__).parent.parent)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": source}) as one:
        pipe = os.open(rule, os.O_WRONLY)  # opens when the command reads
        one.send_signal(number)
        _, said = one.communicate(timeout=60)
        os.close(pipe)
    assert one.returncode == code
    assert "Traceback" not in said
    assert "what is done is kept" in said
    assert not (tmp_path / "out").exists()

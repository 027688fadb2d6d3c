"""Verification of an audit: its files, its record, and the checkpoints that were audited, one flipped byte each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from factfade import audit as auditing
from factfade import durable, keys, verify_audit
from factfade.auditfolder import AuditFolder
from factfade.evidence_cache import content_of
from factfade.progress import Silent
from factfade.report import page
from factfade.verify import Verification, verify
from tests import small
from tests.test_audit import disturb, settings
from tests.test_verify import flip, rewritten, states

PLACE = "checkpoints/001-checkpoint-9"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a changed checkpoint, one that fails, and their audit with its page."""
    root = small.materials(tmp_path_factory.mktemp("origin"))
    for step in (9, 100):
        shutil.copytree(root / "model", root / "runs" / f"checkpoint-{step}")
    disturb(root / "runs" / "checkpoint-9", 0.3)
    broken = root / "runs" / "checkpoint-100"
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    done = auditing.audit(
        [root / "runs"], against=root / "model", out=root / "audit", settings=settings(root), progress=Silent()
    )
    assert [one.state for one in done.checkpoints] == ["evaluated", "failed"]
    page.build(root / "audit")
    return root


@pytest.fixture
def copy(origin: Path, tmp_path: Path) -> Path:
    """Everything copied, and the paths of the record led to the copies."""
    root = Path(shutil.copytree(origin, tmp_path / "copy"))

    def lead(data: dict[str, Any]) -> None:
        for row in (data["base"], *data["checkpoints"]):
            row["path"] = row["path"].replace(str(origin), str(root))

    resealed(root / "audit" / "audit.json", lead)
    return root


def resealed(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """A sealed record changed and hashed anew, as a careful forger would."""
    data = json.loads(path.read_bytes())
    data.pop("sha256")
    change(data)
    path.write_bytes(durable.json_bytes(keys.sealed(data)))


def of(found: Verification, what: str) -> list[tuple[str, str]]:
    return [(check.state, check.said) for check in found.checks if check.what == what]


def test_an_untouched_audit_is_verified_as_fully_as_a_run(copy: Path) -> None:
    found = verify(copy / "audit")
    assert found.damaged == ()
    assert found.exit_code == 0
    assert set(states(found, "verified")) == {
        "environment", "settings", "stage rule", "files", "identity", "record", "checkpoints", "counts", "keys",
        "completeness", "stage calls", "page",
    }  # fmt: skip
    assert set(states(found, "unchecked")) == {"sampling", "training", "authorship"}
    assert "2 of base and checkpoints" in states(found, "verified")["checkpoints"]
    assert "1 could not be evaluated" in states(found, "verified")["record"]


@pytest.mark.parametrize(
    "name",
    [
        "audit.toml", "audit.json", "environment.json", "stages.json", "report.html", "base/evaluate.json",
        "base/fluency.parquet", f"{PLACE}/evaluate.json", f"{PLACE}/own.parquet", "base/evidence", f"{PLACE}/evidence",
    ],
)  # fmt: skip
def test_a_flipped_bit_in_any_file_of_an_audit_is_found_and_named(copy: Path, name: str) -> None:
    path = copy / "audit" / name
    touched = sorted(path.iterdir())[0] if path.is_dir() else path
    flip(touched)
    found = verify(copy / "audit")
    assert found.exit_code == 5
    named = touched.relative_to(copy / "audit").as_posix()
    assert named in {check.path for check in found.damaged}
    assert named in found.lines()[-1]


def test_flipped_bits_in_several_files_are_all_named(copy: Path) -> None:
    names = ("audit.toml", "audit.json", "base/fluency.parquet", f"{PLACE}/own.parquet")
    for name in names:
        flip(copy / "audit" / name)
    assert set(names) <= {check.path for check in verify(copy / "audit").damaged}


@pytest.mark.parametrize(
    ("file", "which", "says"),
    [
        ("runs/checkpoint-9/model.safetensors", "checkpoint-9", "other weights"),
        ("model/model.safetensors", "the base", "other weights"),
    ],
)
def test_one_flipped_byte_in_audited_weights_is_found_and_the_checkpoint_named(
    copy: Path, file: str, which: str, says: str
) -> None:
    data = bytearray((copy / file).read_bytes())
    data[-1] ^= 1
    (copy / file).write_bytes(bytes(data))
    found = verify(copy / "audit")
    assert found.exit_code == 5
    assert [check.path for check in found.damaged] == [str((copy / file).parent)]
    assert found.damaged[0].said.startswith(f"{which} is no longer what was audited: {says}")


@pytest.mark.parametrize(
    ("file", "says"),
    [("config.json", "configuration"), ("tokenizer.json", "tokenizer"), ("tokenizer_config.json", "chat template")],
)
def test_a_changed_configuration_tokenizer_or_template_is_named(copy: Path, file: str, says: str) -> None:
    path = copy / "runs" / "checkpoint-9" / file
    data = json.loads(path.read_text())
    changes: dict[str, Any] = {
        "config.json": {"rms_norm_eps": 0.5},
        "tokenizer_config.json": {"chat_template": "{{ 1 }}"},
    }
    if file == "tokenizer.json":
        data["model"]["merges"].pop()
    path.write_text(json.dumps({**data, **changes.get(file, {})}))
    found = verify(copy / "audit")
    assert [check.what for check in found.damaged] == ["checkpoints"]
    assert f"other {says}" in found.damaged[0].said


def test_a_damaged_header_of_audited_weights_is_a_change(copy: Path) -> None:
    path = copy / "runs" / "checkpoint-9" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    found = verify(copy / "audit")
    assert found.exit_code == 5
    assert "checkpoint-9 is no longer what was audited: corrupt" in found.damaged[0].said


def test_a_checkpoint_or_a_base_that_is_gone_could_not_be_checked(copy: Path) -> None:
    shutil.move(copy / "runs" / "checkpoint-9", copy / "elsewhere")
    found = verify(copy / "audit")
    assert found.exit_code == 0
    assert [state for state, _ in of(found, "checkpoints")] == ["unchecked", "verified"]
    assert "checkpoint-9 could not be checked" in states(found, "unchecked")["checkpoints"]
    assert "1 of base and checkpoints" in states(found, "verified")["checkpoints"]
    shutil.move(copy / "model", copy / "moved")
    found = verify(copy / "audit")
    assert found.exit_code == 0
    assert [said.split(" could")[0] for _, said in of(found, "checkpoints")] == ["the base", "checkpoint-9"]


def test_weights_that_were_removed_are_gone_not_changed(copy: Path) -> None:
    (copy / "runs" / "checkpoint-9" / "model.safetensors").unlink()
    found = verify(copy / "audit")
    assert found.exit_code == 0
    assert "checkpoint-9 could not be checked" in states(found, "unchecked")["checkpoints"]


FORGED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "identity": (lambda d: d["checkpoints"][0]["identity"].update(weights="0" * 64), "the weights of checkpoint-9"),
    "template": (
        lambda d: d["checkpoints"][0]["identity"].update(template="0" * 64),
        "the chat template of checkpoint-9",
    ),
    "base": (lambda d: d["base"]["identity"].update(config="0" * 64), "the configuration of the base"),
    "place": (lambda d: d["checkpoints"][0].update(folder="checkpoints/001-other"), "stands in checkpoints/001-other"),
    "name": (lambda d: d["checkpoints"][0].update(name="checkpoint-8"), "checkpoint-8 (step 9), it says"),
    "step": (lambda d: d["checkpoints"][0].update(step=8), "checkpoint-9 (step 8), it says"),
    "a failure": (lambda d: d["checkpoints"][0].update(failure={"message": "x"}), "could not be evaluated, it says"),
    "no failure": (lambda d: d["checkpoints"][1].update(failure=None), "no evaluation stands at position 2"),
    "left out": (lambda d: d.update(checkpoints=[], failures=[]), "does not name the checkpoint"),
    "positions": (lambda d: d["checkpoints"].reverse(), "not 0, 1, 2"),
    "failures": (lambda d: d.update(failures=[]), "list of failures"),
    "questions": (lambda d: d.update(questions=[{"items": 9}]), "counts of its questions"),
    "rule": (lambda d: d.update(rule_sha256="0" * 64), "stage rule"),
}


@pytest.mark.parametrize("change", FORGED)
def test_a_record_that_was_edited_and_sealed_anew_disagrees_with_the_evaluations(copy: Path, change: str) -> None:
    edit, says = FORGED[change]
    resealed(copy / "audit" / "audit.json", edit)
    found = verify(copy / "audit")
    assert found.exit_code == 5
    # The page names the failures of the record, so it may differ, too.
    assert {"audit.json"} <= {check.path for check in found.damaged} <= {"audit.json", "report.html"}
    assert any(says in check.said for check in found.damaged)


def test_an_evaluation_of_other_weights_is_found_although_its_hash_fits(copy: Path) -> None:
    path = copy / "audit" / PLACE / "evaluate.json"
    rewritten(path, lambda body: body["key"]["inputs"].update(checkpoint="0" * 64))
    said = states(verify(copy / "audit"), "damaged")["record"]
    assert "the weights of checkpoint-9" in said


def test_an_audit_that_did_not_come_to_its_end_is_said(copy: Path) -> None:
    (copy / "audit" / "audit.json").unlink()
    found = verify(copy / "audit")
    assert "no audit of this folder has come to its end" in states(found, "unchecked")["record"]
    assert "no record names what was audited" in states(found, "unchecked")["checkpoints"]


def test_kept_evidence_is_said(copy: Path) -> None:
    (copy / "audit" / ".earlier" / "0123").mkdir(parents=True)
    assert "1 evaluations kept" in states(verify(copy / "audit"), "unchecked")["kept evidence"]


def test_an_adapter_is_looked_at_on_the_base_as_it_was_recorded(origin: Path, tmp_path: Path) -> None:
    base = content_of(origin / "model")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    shutil.copy(origin / "model" / "model.safetensors", adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text('{"r": 4}')
    own = content_of(adapter, base=origin / "model", base_content=base)
    folder = AuditFolder(root=origin / "audit")

    def looked_at(base_path: Path) -> list[str]:
        rows = [
            {"position": 0, "name": "base", "path": str(base_path), "identity": asdict(base)},
            {"position": 1, "name": "tuned", "path": str(adapter), "identity": asdict(own)},
        ]
        return [c.state for c in verify_audit.audited(folder, {"base": rows[0], "checkpoints": rows[1:]})]

    assert looked_at(origin / "model") == ["verified"]
    (adapter / "adapter_config.json").write_text('{"r": 8}')
    assert looked_at(origin / "model") == ["damaged", "verified"]

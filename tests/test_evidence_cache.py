"""The content that evidence is reused by: one changed field is another key, a moved folder is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factfade import assembly, evidence_cache
from factfade.assembly import assemble
from factfade.audit_settings import AuditSettings, load
from factfade.auditfolder import SERIES
from factfade.evidence_cache import content_of, key_of
from factfade.keys import StepKey
from tests import small


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small.materials(tmp_path_factory.mktemp("origin"))
    config = json.loads((folder / "model" / "tokenizer_config.json").read_text())
    (folder / "model" / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": "{{ messages }}"}))
    return folder


def settings(folder: Path, **evaluation: Any) -> AuditSettings:
    asked = {"questions": [{"kind": "jsonl", "path": str(folder / "questions.jsonl")}], **evaluation}
    return load(flags={"evaluation": asked, "corpus": {"kind": "text", "path": str(folder / "corpus.txt")}})


def key(folder: Path, asked: AuditSettings | None = None, *, base: Path | None = None) -> StepKey:
    own = base or folder / "model"
    parts = assemble((asked or settings(folder)).resolved(own).experiment(), SERIES)
    return key_of(parts, content_of(folder / "model"), content_of(own))


def edited(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_moved_folder_has_the_same_key(origin: Path, tmp_path: Path) -> None:
    there = tmp_path / "somewhere" / "else"
    shutil.copytree(origin, there)
    assert key(there).sha256 == key(origin).sha256
    # Where a model came from, and what wrote its files, is no part of what it answers.
    edited(there / "model" / "config.json", lambda c: c.update(_name_or_path="x", transformers_version="0"))
    assert key(there).sha256 == key(origin).sha256


CHANGES: dict[str, Callable[[Path], None]] = {
    "one byte of one weight": lambda f: flip(f / "model" / "model.safetensors"),
    "configuration": lambda f: edited(f / "model" / "config.json", lambda c: c.update(rms_norm_eps=0.5)),
    "end tokens": lambda f: edited(f / "model" / "generation_config.json", lambda c: c.update(eos_token_id=[1, 5])),
    "tokenizer": lambda f: edited(f / "model" / "tokenizer.json", lambda c: c["model"]["merges"].pop()),
    "special tokens": lambda f: edited(f / "model" / "tokenizer_config.json", lambda c: c.update(eos_token="<s>")),
    "template": lambda f: edited(f / "model" / "tokenizer_config.json", lambda c: c.update(chat_template="{{ 1 }}")),
    "template file": lambda f: (f / "model" / "chat_template.jinja").write_text("{{ 1 }}") and None,
    "one character of one prompt": lambda f: replace_text(f / "questions.jsonl", "city 3?", "city 3!"),
    "one answer": lambda f: replace_text(f / "questions.jsonl", '"answer": 2', '"answer": 1'),
    "fixed prompts": lambda f: replace_text(f / "corpus.txt", "Danube", "danube"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_one_changed_field_of_the_content_is_another_key(origin: Path, tmp_path: Path, change: str) -> None:
    shutil.copytree(origin, tmp_path / "other")
    CHANGES[change](tmp_path / "other")
    assert key(tmp_path / "other").sha256 != key(origin).sha256


@pytest.mark.parametrize(
    "evaluation",
    [
        {"formats": ["multiple_choice"]},
        {"formats": [{"kind": "short_answer", "rule": "sum"}]},
        {"preset": "paper"},
        {"decoding": {"temperature": 0.5}},
        {"seed": 1},
        {"items": 5},
        {"answer_tokens": 3},
        {"new_tokens": 9},
        {"prompt_tokens": 9},
        {"prompts": 9},
        {"texts": 9},
        {"free_answers": False},
    ],
    ids=str,
)
def test_one_changed_setting_is_another_key(origin: Path, evaluation: dict[str, Any]) -> None:
    assert key(origin, settings(origin, **evaluation)).sha256 != key(origin).sha256


def test_the_base_the_scorer_and_the_versions_are_in_the_key(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = key(origin)
    shutil.copytree(origin / "model", tmp_path / "base")
    flip(tmp_path / "base" / "model.safetensors")
    assert key(origin, base=tmp_path / "base").sha256 != first.sha256
    with monkeypatch.context() as patch:
        patch.setitem(assembly.STEP_VERSIONS, "evaluate", 99)
        assert key(origin).sha256 != first.sha256
    with monkeypatch.context() as patch:
        patch.setattr("factfade.versions.relevant", lambda: {"torch": "0"})
        assert first.differences(key(origin).fields(), key(origin).libraries)


def test_dtype_and_chat_are_in_the_key_and_threads_are_not(origin: Path) -> None:
    plain = settings(origin)
    model = plain.model
    for change, same in (({"dtype": "bfloat16"}, False), ({"chat": "chat"}, False), ({"threads": 3}, True)):
        other = plain.model_copy(update={"model": model.model_copy(update=change)})
        assert (key(origin, other).sha256 == key(origin).sha256) is same, change


def test_the_device_that_auto_finds_is_in_the_key(origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"auto": "cpu", "cpu": "cpu", "cuda": "cuda"}
    monkeypatch.setattr("factfade.models.loading.pick_device", lambda wanted: found[wanted])

    def on(device: str) -> str:
        plain = settings(origin)
        return key(origin, plain.model_copy(update={"model": plain.model.model_copy(update={"device": device})})).sha256

    # "auto" is what it finds, and no third kind.
    assert on("auto") == on("cpu") != on("cuda")
    found["auto"] = "cuda"
    assert on("auto") == on("cuda") != on("cpu")


def test_an_adapter_is_its_own_weights_its_settings_and_its_base(origin: Path, tmp_path: Path) -> None:
    base = content_of(origin / "model")
    shutil.copytree(origin / "model", tmp_path / "adapter")
    (tmp_path / "adapter" / "config.json").unlink()
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"r": 4}')
    one = content_of(tmp_path / "adapter", base=origin / "model", base_content=base)
    assert one.config == base.config
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"r": 8}')
    other = content_of(tmp_path / "adapter", base=origin / "model", base_content=base)
    assert one.weights != other.weights != base.weights


def test_the_worlds_tokenizer_is_recognised_by_what_it_does(origin: Path, world_model: Path, tmp_path: Path) -> None:
    shutil.copytree(world_model, tmp_path / "tuned")
    edited(tmp_path / "tuned" / "tokenizer.json", lambda c: c.update(padding=None, truncation=None))
    assert evidence_cache.same_tokenizer(tmp_path / "tuned", world_model)
    assert not evidence_cache.same_tokenizer(origin / "model", world_model)
    (tmp_path / "tuned" / "tokenizer.json").write_text("{")
    assert not evidence_cache.same_tokenizer(tmp_path / "tuned", world_model)


def test_evidence_that_others_can_write_is_not_looked_through(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir()
    assert evidence_cache._ours(folder)
    folder.chmod(0o777)
    assert not evidence_cache._ours(folder)

"""Models in a hub cache: their files are links into the blobs of their repository, and into nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from factfade import audit as auditing
from factfade import checkpoints
from factfade.errors import NotFound, UnsafeArtifact, UnsafePath, UsageError
from factfade.evidence_cache import content_of
from factfade.identity import checkpoint_identity
from factfade.models import loading
from factfade.progress import Silent
from tests import small
from tests.test_audit import settings, states

REVISION = "0123456789abcdef0123456789abcdef01234567"


def cached(model: Path, cache: Path, name: str = "owner/tiny-step-40", revision: str = REVISION) -> Path:
    """The snapshot of a made-up cache: every file a relative link to a blob that its hash names."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir(exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(revision)
    for file in sorted(model.iterdir()):
        blob = hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, repository / "blobs" / blob)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob)
    return snapshot


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that the hub's client looks into, offline."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.materials(tmp_path_factory.mktemp("materials"))


def test_a_snapshot_is_the_model_that_it_links_to(materials: Path, cache: Path) -> None:
    snapshot = cached(materials / "model", cache)
    assert (snapshot / "model.safetensors").is_symlink()
    assert checkpoint_identity(snapshot) == checkpoint_identity(materials / "model")
    assert content_of(snapshot) == content_of(materials / "model")
    assert loading.look_through(snapshot)["model_type"]


def sharded(folder: Path) -> None:
    """The same weights as one shard and its index."""
    from safetensors import safe_open

    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    with safe_open(folder / "model-00001-of-00001.safetensors", framework="numpy") as weights:
        names = dict.fromkeys(weights.keys(), "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def test_shards_and_their_index_are_read_through_links(materials: Path, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(materials / "model", tmp_path / "shards")
    sharded(tmp_path / "shards")
    snapshot = cached(tmp_path / "shards", cache)
    assert checkpoint_identity(snapshot) == checkpoint_identity(materials / "model")


@pytest.mark.parametrize(
    "target",
    ["outside", "blobs of another repository", "beside the blobs", "blobs that lead away", "a folder like a snapshot"],
)
def test_links_that_lead_elsewhere_are_refused(materials: Path, cache: Path, tmp_path: Path, target: str) -> None:
    snapshot = cached(materials / "model", cache)
    other = cached(materials / "model", cache, "owner/other")
    weights, blob = snapshot / "model.safetensors", (other / "model.safetensors").resolve()
    place = {
        "outside": tmp_path / "elsewhere.safetensors",
        "blobs of another repository": blob,
        "beside the blobs": snapshot.parent.parent / "refs" / "weights",
    }.get(target)
    if place is not None:
        if not place.exists():
            shutil.copy(blob, place)
        weights.unlink()
        weights.symlink_to(place)
    elif target == "blobs that lead away":
        blobs = snapshot.parent.parent / "blobs"
        shutil.move(blobs, tmp_path / "away")
        blobs.symlink_to(tmp_path / "away")
    else:  # another folder's name earns no links
        shutil.move(snapshot.parent.parent, cache / "checkpoints")
        snapshot = cache / "checkpoints" / "snapshots" / REVISION
    assert (snapshot / "model.safetensors").is_file()
    with pytest.raises(UnsafePath):
        checkpoint_identity(snapshot)


def test_pickles_behind_links_are_refused(materials: Path, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(materials / "model", tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    snapshot = cached(tmp_path / "pickled", cache)
    with pytest.raises(UnsafeArtifact):
        checkpoint_identity(snapshot)
    with pytest.raises(UnsafeArtifact):
        loading.look_through(snapshot)


def test_a_hub_name_is_a_checkpoint_under_that_name(materials: Path, cache: Path) -> None:
    snapshot = cached(materials / "model", cache)
    (one,) = checkpoints.discover(["owner/tiny-step-40"])
    assert (one.path.resolve(), one.name, one.step, one.kind) == (snapshot, "owner/tiny-step-40", 40, "model")
    (cache / "models--owner--tiny-step-40" / "refs" / "step700").write_text(REVISION)
    (one,) = checkpoints.discover(["owner/tiny-step-40@step700"])
    assert (one.name, one.step) == ("owner/tiny-step-40@step700", 700)
    assert checkpoints.single("owner/tiny-step-40@step700").resolve() == snapshot
    # By its folder it has the repository's name, not that of a hash.
    (one,) = checkpoints.discover([snapshot])
    assert (one.name, one.step) == (f"owner/tiny-step-40@{REVISION[:12]}", None)
    assert checkpoints.discover([cache / "models--owner--tiny-step-40"]) == (one,)


def test_without_a_network_the_error_says_what_to_do(cache: Path) -> None:
    for ask in (lambda: checkpoints.discover(["owner/absent"]), lambda: checkpoints.single("owner/absent")):
        with pytest.raises(UsageError, match="could not be fetched") as refused:
            ask()
        assert "hf download owner/absent" in refused.value.hint


def test_a_misspelt_path_asks_for_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_fetch", lambda *_: pytest.fail("the network was asked"))
    (tmp_path / "runs").mkdir()
    for text in ("runs/chekpoint-5", "./runs", "../owner/name", "~nobody/x", "a/b/c", "absent", "owner/*"):
        with pytest.raises((NotFound, UsageError)):
            checkpoints.discover([text])


def test_an_audit_of_hub_names_says_what_the_same_folders_do(
    materials: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(materials / "model", cache)
    own: dict[str, Any] = {"settings": settings(materials), "progress": Silent()}
    found = auditing.audit(["owner/tiny-step-40"], against="owner/tiny-step-40", out=tmp_path / "out", **own)
    assert states(found) == [("base", "evaluated"), ("owner/tiny-step-40", "reused")]
    assert found.base.path == "owner/tiny-step-40"
    monkeypatch.setattr(loading, "load_weights", lambda *_, **__: pytest.fail("a model was loaded"))
    again = auditing.audit(
        [materials / "model"], against=materials / "model", out=tmp_path / "beside", reuse=[tmp_path / "out"], **own
    )
    assert again.loaded == 0
    assert os.path.lexists(tmp_path / "out" / "checkpoints")

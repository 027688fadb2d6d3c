"""Reading an experiment's tables: only what is committed, the shared start under every lineage, damage refused; and
what upkeep finds beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from factfade import reading, store, tables, upkeep
from factfade.errors import IntegrityError, Locked
from tests import fakerun


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fakerun.run(tmp_path / "run", generations=2)
    return tmp_path / "run"


def test_all_evidence_with_the_start_under_each_lineage(root: Path) -> None:
    evidence = reading.load_evidence(store.open_experiment(root))
    counts = evidence.groupby(["lineage", "seed", "generation"]).size().to_dict()
    assert counts == {(arm, 0, g): 12 for arm in fakerun.ARMS for g in range(3)}
    assert evidence["lineage"].unique().tolist() == list(fakerun.ARMS)
    start = {arm: evidence[(evidence["generation"] == 0) & (evidence["lineage"] == arm)] for arm in fakerun.ARMS}
    one, other = (rows.drop(columns="lineage").reset_index(drop=True) for rows in start.values())
    assert one.equals(other)
    assert tables.missing_items(evidence) == []
    assert tables.to_bytes(evidence, "evidence")  # one key for every row


def test_some_lineages_and_generations(root: Path) -> None:
    experiment = store.open_experiment(root)
    some = reading.load_evidence(experiment, lineages=[("general", 0)], generations=[0, 2])
    assert set(zip(some["lineage"], some["generation"], strict=True)) == {("general", 0), ("general", 2)}
    one = reading.load_fluency(store.open_experiment(root / "human_only" / "seed-0"))
    assert set(one["lineage"]) == {"human_only"}
    assert one["generation"].tolist() == [0, 1, 2]


def test_some_columns_of_all_rows(root: Path) -> None:
    experiment = store.open_experiment(root)
    whole = reading.load_evidence(experiment)
    columns = [*tables.LAYOUTS["evidence"].key, "options", "outcome"]
    some = reading.load_evidence(experiment, columns=columns)
    assert sorted(some.columns) == sorted(columns)
    assert some.equals(whole[list(some.columns)])


def test_a_bad_value_in_a_column_that_is_dropped_is_refused(root: Path) -> None:
    columns = tables.LAYOUTS["evidence"].key
    shard = root / "general" / "seed-0" / "generation-001" / "evidence" / "open_ended-0000.parquet"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="open_ended-0000"):
        reading.load_evidence(store.open_experiment(root), columns=columns)


def test_completions_carry_the_generation_that_wrote_them(root: Path) -> None:
    completions = reading.load_completions(store.open_experiment(root))
    assert sorted(set(completions["generation"])) == [0, 1]
    assert len(completions) == 16


def test_a_table_that_nobody_wrote_is_empty(root: Path) -> None:
    own = reading.load_own(store.open_experiment(root))
    assert len(own) == 0
    assert list(own.columns) == list(tables.LAYOUTS["completions"].columns)


def test_manifests_in_order(root: Path) -> None:
    found = reading.manifests(store.open_experiment(root))
    assert list(found) == [(arm, 0, g) for arm in fakerun.ARMS for g in range(3)]
    assert list(found["general", 0, 1]) == ["evaluate", "synthesize", "train"]
    assert list(found["general", 0, 0]) == ["evaluate"]


def test_what_is_not_committed_is_not_read(root: Path) -> None:
    place = root / "general" / "seed-0" / "generation-002"
    (place / "evaluate.json").unlink()
    (place / "evidence" / "stray.parquet").write_bytes(b"x")
    (root / "generation-000" / "evidence" / "stray.parquet").write_bytes(b"x")
    evidence = reading.load_evidence(store.open_experiment(root), lineages=[("general", 0)])
    assert sorted(set(evidence["generation"])) == [0, 1]


def test_a_damaged_shard_is_refused(root: Path) -> None:
    shard = root / "general" / "seed-0" / "generation-001" / "evidence" / "open_ended-0000.parquet"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(IntegrityError, match="open_ended-0000"):
        reading.load_evidence(store.open_experiment(root))
    shard.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        reading.load_evidence(store.open_experiment(root))


@pytest.mark.parametrize("target", ["human_only/seed-0/generation-001", "general/seed-0/generation-002"])
def test_a_folder_copied_from_another_place_is_refused(root: Path, target: str) -> None:
    import shutil

    shutil.rmtree(root / target)
    shutil.copytree(root / "general" / "seed-0" / "generation-001", root / target)
    with pytest.raises(IntegrityError, match=r"where .* is expected"):
        reading.load_evidence(store.open_experiment(root))


# ---------------------------------------------------------------------------------------------------------------
# Upkeep


def test_leftovers_are_found_by_kind_and_cleaned(root: Path) -> None:
    place = root / "general" / "seed-0" / "generation-001"
    before = fakerun.stored(root)
    assert upkeep.leftovers(root) == []
    (root / ".experiment.toml.12-0.tmp").write_text("half")
    (place / ".train.json.12-0.tmp").write_text("half")
    (place / "evidence" / ".x.parquet.12-0.tmp").write_text("half")
    for folder in (".train.writing/checkpoint", ".incomplete/train", ".evaluate.shards/evidence"):
        (place / folder).mkdir(parents=True)
        (place / folder / "x").write_text("123")
    (place / "checkpoint" / "notes.txt").write_text("mine")
    (place / "notes.txt").write_text("mine")
    key = fakerun.key("more", 0.5, {})
    store.step(place, "more", key).shard("a").write(b"1")
    found = {str(leftover.path.relative_to(root)): leftover.kind for leftover in upkeep.leftovers(root)}
    run = "general/seed-0/generation-001"
    assert found == {
        ".experiment.toml.12-0.tmp": "temporary",
        f"{run}/.train.json.12-0.tmp": "temporary",
        f"{run}/evidence/.x.parquet.12-0.tmp": "temporary",
        f"{run}/.train.writing": "draft",
        f"{run}/.evaluate.shards": "draft",
        f"{run}/.incomplete": "set_aside",
        f"{run}/.more.shards": "progress",
        f"{run}/evidence/a.parquet": "progress",
        f"{run}/checkpoint/notes.txt": "unlisted",
        f"{run}/notes.txt": "unlisted",
    }
    assert next(x.bytes for x in upkeep.leftovers(root) if x.kind == "set_aside") == 3
    removed = upkeep.clean(root)
    assert {leftover.kind for leftover in removed} == upkeep.REMOVABLE
    assert {leftover.kind for leftover in upkeep.leftovers(root)} == {"progress", "unlisted"}
    assert store.step(place, "more", key).shard("a").committed
    upkeep.clean(root, kinds=("progress", "unlisted"))
    assert upkeep.leftovers(root) == []
    assert fakerun.stored(root) == before


def test_nothing_is_cleaned_under_a_writer(root: Path) -> None:
    (root / ".x.tmp").write_text("half")
    with store.open_experiment(root).run("general", 0).lock(), pytest.raises(Locked):
        upkeep.clean(root)
    assert (root / ".x.tmp").exists()

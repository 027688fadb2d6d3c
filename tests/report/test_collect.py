"""From a stored folder to the page and the table: nothing is read but what the manifests list."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from factfade import store
from factfade.errors import Inconclusive, IntegrityError, NotFound
from factfade.report import page, terminal
from factfade.report.material import Material
from tests.report import stored, synthetic
from tests.report.reading import Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, material: Material) -> Path:
    return stored.write(tmp_path_factory.mktemp("runs") / "synthetic", material, generations=(0, 2, 5))


def test_the_page_says_what_the_rows_say(folder: Path, material: Material) -> None:
    path = page.build(folder)
    assert path == folder / "report.html"
    data = page.collect(folder)
    assert [arm.name for arm in data.arms] == list(synthetic.ARMS)
    assert data.generations == (0, 2, 5)
    rows = material.evidence
    for arm in data.arms:
        for panel in arm.panels:
            last = panel.knowledge.last
            assert last is not None
            of = rows[(rows["lineage"] == arm.name) & (rows["format"] == panel.format) & (rows["generation"] == 5)]
            assert last.value == pytest.approx(of["choice_correct"].astype(float).mean())
    text = Page(path.read_text(encoding="utf-8")).text
    assert "What is the capital of" in text
    assert "m" * 64 in text
    assert data.rule_sha256 in text


def test_building_again_gives_the_same_bytes(folder: Path) -> None:
    first = page.build(folder).read_bytes()
    assert hashlib.sha256(page.build(folder).read_bytes()).digest() == hashlib.sha256(first).digest()


def test_one_run_is_shown_with_its_control(folder: Path) -> None:
    path = page.build(folder / "general" / "seed-0")
    assert path == folder / "general" / "seed-0" / "report.html"
    data = page.collect(folder / "general" / "seed-0")
    assert [arm.name for arm in data.arms] == ["human_only", "general"]
    assert data.arms[1].panels[0].knowledge.control is not None
    assert not any("domain" in warning for warning in data.warnings)
    path.unlink()


def test_the_terminal_reads_the_same_folder(folder: Path) -> None:
    assert terminal.plain(folder) == terminal.plain(page.collect(folder))


def test_nothing_evaluated_is_inconclusive(tmp_path: Path, material: Material) -> None:
    from factfade import sweep

    store.create_experiment(tmp_path / "new", toml=sweep.to_toml(synthetic.experiment()))
    with pytest.raises(Inconclusive, match="nothing is evaluated yet"):
        page.build(tmp_path / "new")
    with pytest.raises(NotFound):
        page.build(tmp_path)


def test_a_damaged_file_is_refused_and_the_page_stays(tmp_path: Path, material: Material) -> None:
    few = replace(material, evidence=material.evidence[material.evidence["format"] == "short_answer"])
    root = stored.write(tmp_path / "damaged", few, generations=(0, 1))
    before = page.build(root).read_bytes()
    file = next((root / "general" / "seed-0" / "generation-001" / "evidence").glob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(IntegrityError):
        page.build(root)
    assert (root / "report.html").read_bytes() == before

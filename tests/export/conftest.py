"""One synthetic experiment in its folder, exported once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from factfade import judging
from factfade.export import export, sheets, tables
from factfade.export.tables import Source
from factfade.report import page
from factfade.report.data import PageData
from tests.report import stored, synthetic


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    material = synthetic.material(items=102, stages=None)
    return stored.write(tmp_path_factory.mktemp("exported") / "synthetic", material, generations=(0, 2, 5))


@pytest.fixture(scope="session")
def source(root: Path) -> Source:
    case = judging.open_case(root)
    return Source(case=case, report=case.stages())


@pytest.fixture(scope="session")
def data(root: Path, source: Source) -> PageData:
    """What terminal and page print."""
    return page.collect(root, source.report)


@pytest.fixture(scope="session")
def out(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything but the figures."""
    folder = tmp_path_factory.mktemp("out") / "numbers"
    export(root, folder, kinds=["tables", "findings", "latex", "model-card"])
    return folder


@pytest.fixture(scope="session")
def rows(out: Path) -> Mapping[str, sheets.Sheet]:
    """Every exported sheet, read back from its CSV."""
    return {name: sheets.read(out / f"{name}.csv", columns) for name, columns in tables.COLUMNS.items()}

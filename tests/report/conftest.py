"""One synthetic experiment, summarised and rendered once for all tests of the report."""

from __future__ import annotations

import pytest

from factfade.report import page, summary
from factfade.report.data import PageData
from factfade.report.material import Material
from tests.report import synthetic


@pytest.fixture(scope="session")
def material() -> Material:
    return synthetic.material(items=102)


@pytest.fixture(scope="session")
def data(material: Material) -> PageData:
    return summary.summarise(material)


@pytest.fixture(scope="session")
def html(data: PageData) -> str:
    return page.render(data)


@pytest.fixture(scope="session")
def seeded() -> PageData:
    """The same experiment with three seeds and fewer questions."""
    return summary.summarise(synthetic.material(items=102, seeds=(0, 1, 2)))

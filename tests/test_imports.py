"""What importing and asking for help cost: the heavy libraries stay out of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import factfade

HEAVY = {
    "accelerate",
    "datasets",
    "matplotlib",
    "pandas",
    "peft",
    "pyarrow",
    "ray",
    "scipy",
    "statsmodels",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
}


def imported(*arguments: str) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """The top-level packages that a fresh interpreter imports, read from `-X importtime`."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().split(".")[0] for line in lines}, done


def test_the_probe_sees_a_planted_import() -> None:
    packages, done = imported("-c", "import scipy")
    assert done.returncode == 0
    assert "scipy" in packages & HEAVY


def test_importing_factfade_imports_none_of_its_rooms() -> None:
    packages, done = imported("-c", "import factfade, sys; sys.exit('factfade.config' in sys.modules)")
    assert done.returncode == 0
    assert packages & (HEAVY | {"pydantic", "typer", "rich"}) == set()


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("parts",)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    packages, done = imported("-m", "factfade", *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "factfade" in packages
    assert packages & HEAVY == set()


def test_unknown_names_of_the_package_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'generate'"):
        _ = factfade.generate  # type: ignore[attr-defined]


def test_the_public_names_resolve() -> None:
    assert set(factfade.__all__) <= set(dir(factfade))
    assert all(getattr(factfade, name) is not None for name in factfade.__all__)


def test_the_version_is_the_distribution_s() -> None:
    from importlib.metadata import version

    assert factfade.__version__ == version("factfade")

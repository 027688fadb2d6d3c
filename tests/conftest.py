"""Settings and fixtures that every test shares."""

from __future__ import annotations

import os

# Before anything imports a library that reads them: no network, one thread, no parallel tokenizers.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import shutil
import signal
import time
from pathlib import Path

import pytest
from hypothesis import settings

from tests import tiny

ROOT = Path(__file__).resolve().parent.parent
STARTED = time.monotonic()

# A suite that a shell started in its background inherits an ignored interrupt, and its children from it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure; and a suite that draws other examples on each run is no gate.
settings.register_profile("factfade", deadline=None, derandomize=True)
settings.load_profile("factfade")


def shared_folder() -> Path | None:
    """The data folder: FACTFADE_SHARED, or `../shared` beside the checkout; None where there is none."""
    folder = Path(os.environ.get("FACTFADE_SHARED") or ROOT.parent / "shared")
    return folder if (folder / "data").is_dir() else None


def browser() -> str | None:
    """A headless-capable Chromium on PATH, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the reason, what this machine cannot run and what the time budget no longer carries.

    FACTFADE_TEST_BUDGET (seconds since the start of the session) bounds when a test may still start.
    """
    budget = os.environ.get("FACTFADE_TEST_BUDGET")
    if budget and time.monotonic() - STARTED > float(budget):
        pytest.skip(f"the time budget of {budget} s is used up; `make check` runs this test")
    if item.get_closest_marker("shared") and shared_folder() is None:
        pytest.skip("no data folder: set FACTFADE_SHARED or put it at ../shared")
    if item.get_closest_marker("browser") and browser() is None:
        pytest.skip("no Chromium on PATH (Debian: apt-get install chromium)")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The data folder with `data/` and `models/`; the test skips where there is none."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no data folder: set FACTFADE_SHARED or put it at ../shared")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; the test skips where there is none."""
    found = browser()
    if found is None:
        pytest.skip("no Chromium on PATH (Debian: apt-get install chromium)")
    return found


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama (tied weights, rotary positions, 128 of them; BOS added, a pad token)."""
    return tiny.save_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random GPT-2 (learned positions, 128 of them; no BOS added, no pad token)."""
    return tiny.save_gpt2(tmp_path_factory.mktemp("tiny-gpt2"))


@pytest.fixture(scope="session")
def world_model() -> Path:
    """The folder of the model that ships with the embedded world."""
    folder = ROOT / "src" / "factfade" / "world" / "model"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("the shipped model is missing: python -m factfade.world.pretrain makes it")
    return folder

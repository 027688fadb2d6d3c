"""Versions of the libraries that results depend on, read from package metadata: nothing heavy is imported."""

from __future__ import annotations

import platform
from importlib import metadata

# What can change a stored number; a step's key holds these.
RELEVANT = ("torch", "transformers", "tokenizers", "numpy")
RECORDED = (*RELEVANT, "accelerate", "safetensors", "scipy", "pandas", "pyarrow", "pydantic", "peft", "datasets")
# extra -> the package whose presence says that it is installed
EXTRAS = {
    "lora": "peft",
    "hub": "datasets",
    "figures": "matplotlib",
    "ray": "ray",
    "vllm": "vllm",
    "lm-eval": "lm_eval",
    "mauve": "mauve",
    "trl": "trl",
}


def version(package: str) -> str | None:
    """The installed version of a package, None when it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def relevant() -> dict[str, str]:
    """Versions that are part of every step's key."""
    return {name: found for name in RELEVANT if (found := version(name))}


def recorded() -> dict[str, str]:
    """Versions that stand in the run's record, Python and platform with them."""
    libraries = {name: found for name in RECORDED if (found := version(name))}
    return {
        "factfade": version("factfade") or "unknown",
        "python": platform.python_version(),
        "platform": platform.platform(),
        **libraries,
    }

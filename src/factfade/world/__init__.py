"""The embedded world: real facts as a table, documents and questions made of them, the small model that knows them."""

from __future__ import annotations

from pathlib import Path


def model_path() -> Path:
    """Folder of the shipped checkpoint (transformers format, safetensors)."""
    return Path(__file__).with_name("model")

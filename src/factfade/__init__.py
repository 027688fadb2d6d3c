"""factfade: which facts does a language model lose when it is trained again and again on model-written text?

`Experiment` is the specification, `load` reads it from a TOML file, `run` runs its arms and seeds.
`FactFadeCallback` watches a training of transformers' Trainer.
The names are resolved on first use, so that `import factfade` costs nothing.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factfade.callback import FactFadeCallback
    from factfade.config import Experiment, load
    from factfade.sweep import run

__all__ = ["Experiment", "FactFadeCallback", "__version__", "load", "run"]

_HOME = {
    "Experiment": "factfade.config",
    "FactFadeCallback": "factfade.callback",
    "load": "factfade.config",
    "run": "factfade.sweep",
}

try:
    __version__ = version("factfade")
except PackageNotFoundError:  # a source tree that is on the path without being installed
    __version__ = "0.0.0+uninstalled"


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))

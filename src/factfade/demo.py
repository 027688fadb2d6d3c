"""The demo's experiment: the embedded world, three arms, a few minutes on two cores."""

from __future__ import annotations

from importlib import resources

from factfade.config import Experiment, parse


def experiment(*, seed: int = 0, generations: int | None = None) -> Experiment:
    """The experiment that `factfade demo` runs: `demo.toml` of the package, with another seed or length.

    All formats are evaluated at the first and the last generation and at some between.
    """
    import tomllib

    data = tomllib.loads(resources.files("factfade").joinpath("demo.toml").read_text(encoding="utf-8"))
    data["experiment"]["seeds"] = [seed]
    if generations is not None:
        data["experiment"]["generations"] = generations
        data["evaluation"]["generations"] = sorted({0, *(g for g in range(1, generations) if g % 2 == 0), generations})
    return parse(data, where="the demo")

"""`factfade arena`: it parses, calls, prints."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from factfade.errors import UsageError


def arena(
    path: Annotated[Path, typer.Argument(help="An experiment's folder.")],
    baseline: Annotated[str | None, typer.Option(help="Compare with this arm, not the declared one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Plain data, every run's numbers included.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The tables as Markdown.")] = False,
    figure: Annotated[Path | None, typer.Option(help="Draw kept against cost: a .svg, .pdf or .png file.")] = None,
) -> None:
    """Which remedy keeps the facts, at what cost? Every arm against one, paired by seed, at equal budget."""
    from factfade.arena import arena as found_in
    from factfade.arena import tables
    from factfade.export import pareto

    if as_json and markdown:
        raise UsageError("--json and --markdown are two forms of one table", hint="choose one")
    found = found_in(path, baseline=baseline)
    if figure is not None:
        pareto.save(found, figure)
    if as_json:
        print(json.dumps(tables.to_json(found), indent=1))
    elif markdown:
        print(tables.markdown(found), end="")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print("\n".join(tables.lines(found, width=width)))

"""What the commands share: options, and how a result or a problem is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from factfade.errors import NotFound
from factfade.text import safe_text

if TYPE_CHECKING:  # heavy: imported where used
    from factfade.verdicts import StageReport

Out = Annotated[Path, typer.Option(help="Folder that holds the experiments' folders.")]
Set = Annotated[list[str] | None, typer.Option("-o", help="Override a setting: section.key=value. Repeatable.")]
Workers = Annotated[int | None, typer.Option(help="Local processes (default: one per core).", min=1)]
Allow = Annotated[list[str] | None, typer.Option("--allow", help="A library whose version may differ on resume.")]
Force = Annotated[bool, typer.Option("--force", help="Go on where the disk looks too small.")]
Target = Annotated[Path, typer.Argument(help="An experiment's folder, or one run in it.")]


def show(root: Path, stages: StageReport | None = None) -> None:
    """The terminal's summary of a folder, and its page."""
    from factfade.report import page, terminal

    data = page.collect(root, stages)
    terminal.show(data)
    for line in _densities(root):
        print(safe_text(line, limit=300))
    print(f"\nThe page: {safe_text(str(page.build(root, data)), limit=500)}")


def _densities(root: Path) -> list[str]:
    """One line per arm whose corpus knows how dense it is in facts."""
    from factfade import auditfolder

    found: list[str] = []
    for arm, corpus in auditfolder.open_folder(root).environment().get("corpora", {}).items():
        density = corpus.get("density")
        if density:
            found.append(f"  {arm:<20} {density['facts_per_1000_words']:.1f} facts per 1,000 words of human text")
    return ["", "Fact density of each arm's corpus:", *found] if found else []


def existing(path: Path) -> Path:
    """The path; NotFound where there is nothing."""
    if not path.exists():
        raise NotFound(f"there is nothing at {path}", hint="give the folder of an experiment, e.g. runs/demo")
    return path


def problem(message: str, hint: str) -> str:
    """An error for a user: what is wrong, and what to type instead."""
    return f"factfade: {safe_text(message, limit=2000)}" + (f"\n  {safe_text(hint, limit=1000)}" if hint else "")

"""The page: one self-contained HTML file made from an experiment's folder.

No external request, no script library: inline SVG, one stylesheet and one small script, both named by their hash in
the content security policy. Every expression of the template passes `shown`, so model and data set text can neither
act nor hide, and autoescaping keeps it text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from markupsafe import Markup

from factfade import durable
from factfade.report import figures, strokes, wording
from factfade.report.data import PageData
from factfade.text import safe_text

if TYPE_CHECKING:
    from jinja2 import Environment

    from factfade.verdicts import StageReport

REPORT = "report.html"
FIGURES = (
    strokes.arm_class,
    figures.arm_sample,
    figures.domain_figure,
    figures.fluency_figure,
    figures.format_figure,
    figures.patterns,
    figures.sample,
    figures.stage_map,
)


def build(root: str | Path, data: PageData | None = None) -> Path:
    """Writes report.html into the experiment's folder (or into the one run that is named) and returns its path.

    `data` is what `collect` gave for this root, where the caller has it already.

    Raises NotFound where there is no experiment, IntegrityError for a damaged file, Inconclusive where nothing is
    evaluated yet.
    """
    from factfade.report.collect import place

    data = data or collect(root)
    path = place(root, REPORT)
    durable.write_text(path, render(data))
    return path


def collect(root: str | Path, stages: StageReport | None = None) -> PageData:
    """Everything the page says, read from the folder alone. `stages` are its calls where they are made already."""
    from factfade.report.collect import material
    from factfade.report.summary import summarise

    return summarise(material(root, stages))


def render(data: PageData) -> str:
    """The page as HTML. Pure: equal data gives equal text."""
    style, script = _file("page.css"), _file("page.js")
    return (
        _environment()
        .get_template("page.html")
        .render(
            data=data,
            style=Markup(style),  # noqa: S704 -- the package's own file
            script=Markup(script),  # noqa: S704
            policy=policy(style, script),
        )
    )


def policy(style: str, script: str) -> str:
    """The content security policy: nothing may be loaded, and only these two inline texts may act."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def shown(value: Any) -> Any:
    """What an expression of the template becomes: text with everything that acts or hides made visible."""
    if value is None:
        return ""
    return safe_text(value, keep="") if isinstance(value, str) and not isinstance(value, Markup) else value


def cut(value: str | None, limit: int = 160) -> str:
    """Text that may be long, cut with the number of characters that are missing."""
    return "" if value is None else safe_text(value, limit=limit, keep="")


def parts(text: str) -> list[str]:
    """A stage sentence in the pieces that are read one by one: a call, what it is laid to, the next call."""
    found = re.split(r"(?<=\.) (?=[A-Z]|stage [BC],)", text)
    return [piece[:1].upper() + piece[1:] for piece in found if piece]


@cache
def _file(name: str) -> str:
    return resources.files("factfade.report").joinpath(name).read_text(encoding="utf-8").strip("\n")


@cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    environment = Environment(
        loader=DictLoader({name: _file(name) for name in ("page.html", "macros.html", "checkpoints.html")}),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The library types its own filters and globals, not those that are added.
    filters, names = cast("dict[str, Any]", environment.filters), cast("dict[str, Any]", environment.globals)
    filters |= {"cut": cut, "parts": parts, "name": wording.plain_name}
    filters |= {
        f.__name__: f for f in (wording.endpoint, wording.percent, wording.amount, wording.interval, wording.loss)
    }
    names |= {f.__name__: f for f in FIGURES}
    names |= {"stage_names": wording.STAGE_NAMES, "letters": wording.LETTERS}
    return environment

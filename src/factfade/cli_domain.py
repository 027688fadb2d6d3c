"""The subcommands of `factfade domain`: they parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from factfade.text import safe_text

app = typer.Typer(no_args_is_help=True, help="Corpora of one domain, and their matched controls.")
Override = Annotated[list[str] | None, typer.Option("-o", help="Another setting: section.key=value. Repeatable.")]


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]
    """Corpora of one domain, and their matched controls."""


@app.command()
def build(
    corpus: Annotated[str, typer.Option(help="The general corpus: a text, .jsonl or .parquet file, or world.")],
    questions: Annotated[
        str, typer.Option(help="MMLU:subject, world:domain, a JSON Lines file, a pack, or a folder of MMLU:subject.")
    ],
    out: Annotated[Path, typer.Option(help="The file to write (.jsonl); its record is written beside it.")],
    mmlu: Annotated[Path | None, typer.Option(help="Folder of MMLU (without: from the hub).")] = None,
    topic: Annotated[
        str | None, typer.Option(help="What the domain is called in the query (default: its name).")
    ] = None,
    query_from: Annotated[
        str | None, typer.Option(help="split: untested questions; name: the topic alone; all: tested ones, too.")
    ] = None,
    passages: Annotated[int | None, typer.Option(help="At most so many passages (without a size: 500).", min=1)] = None,
    words: Annotated[int | None, typer.Option(help="At most so many whitespace words.", min=1)] = None,
    threshold: Annotated[float | None, typer.Option(help="No passage that scores less.")] = None,
    per_article: Annotated[int | None, typer.Option(help="At most so many passages of one article.", min=1)] = None,
    documents: Annotated[int | None, typer.Option(help="Read so many documents of the corpus.", min=1)] = None,
    encoder: Annotated[str | None, typer.Option(help="A local sentence encoder in place of BM25.")] = None,
    controls: Annotated[bool, typer.Option("--controls/--no-controls", help="Draw the matched controls.")] = True,
    random_domain: Annotated[
        str | None, typer.Option(help="The random domain's questions, written as --questions (default: a drawn topic).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.", min=0)] = 0,
    override: Override = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it exists.")] = False,
) -> None:
    """Select the passages of a corpus that are about what the questions ask, and controls of equal size."""
    from factfade.audit_settings import corpus_spec
    from factfade.config import validated
    from factfade.domain.build import build as built
    from factfade.domain.settings import DomainSettings

    spec = corpus_spec(corpus)
    if spec["kind"] != "world":
        spec["every"] = 0  # the file that is written is what experiments hold documents out of
    sizes = {"passages": passages, "words": words, "threshold": threshold, "per_article": per_article}
    data: dict[str, Any] = {
        "corpus": spec,
        "questions": questions,
        "mmlu": None if mmlu is None else str(mmlu),
        "topic": topic,
        "seed": seed,
        "score": "embedding" if encoder else "lexical",
        "size": {name: value for name, value in sizes.items() if value is not None},
        "passages": {} if documents is None else {"documents": documents},
        "embedding": {} if encoder is None else {"folder": encoder},
        "controls": {"build": controls, "random_domain": random_domain},
        **({} if query_from is None else {"query_from": query_from}),
    }
    done = built(validated(DomainSettings, data, override or (), where="the domain's settings"), out, force=force)
    for line in done.lines():
        print(safe_text(line, limit=1000))

"""The `model-index` block of a Hugging Face model card, one file for each last checkpoint.

The block is the YAML front matter of a README.md on the hub: task, dataset and metrics with values; interval, n and
method stand in each metric's `args`. What a person has to say (license, use, limits) is not made up here.
Format: huggingface_hub's `EvalResult` and `eval_results_to_model_index`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from factfade.export.tables import Source
from factfade.paths import slug
from factfade.report.wording import full, plain_name
from factfade.text import safe_text
from factfade.verdicts import Score

TASK = {"type": "question-answering", "name": "Factual knowledge"}


def cards(source: Source, datasets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(file name, content) for the last evaluated generation of each lineage and seed.

    `datasets` are the kinds of questions that were put ("world", "mmlu"); empty where they are not known.
    """
    import yaml

    for lineage, seed in sorted({(lineage, seed) for lineage, seed, _ in source.panels.formats}):
        found = list(_scores(source, lineage, seed))
        if not found:
            continue
        last = max(generation for _, _, generation, _ in found)
        name = f"{_name(lineage)}-seed-{seed}-generation-{last}"
        index = [{"name": name, "results": [_result(source, (lineage, seed), found, datasets)]}]
        block = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True, width=10_000)
        lines = ["---", block.rstrip("\n"), "---", "", *_body(source, lineage, seed, found)]
        yield f"model-card-{slug(lineage)}-seed-{seed}.md", "\n".join(lines) + "\n"


def _scores(source: Source, lineage: str, seed: int) -> Iterator[tuple[str, str, int, Score]]:
    """(metric's type, its name in words, generation, score) of the last generation, where there is a value."""
    named = [
        *(("accuracy", f"knowledge, {plain_name(form)}", one) for (_, form), one in _of(source.knowledge, lineage)),
        *(("parseable", f"parseable, {plain_name(form)}", one) for (_, form), one in _of(source.parse, lineage)),
        *((name, one.label, one) for (_, name), one in _of(source.fluency, lineage)),
    ]
    for kind, label, measure in named:
        curve = next((c for c in measure.curves if c.seed == seed), None)
        if curve is not None and curve.points and curve.points[-1].score.value is not None:
            yield kind, label, curve.points[-1].generation, curve.points[-1].score


def _of(found: dict[tuple[str, str], Any], lineage: str) -> list[tuple[tuple[str, str], Any]]:
    return [(key, one) for key, one in found.items() if key[0] == lineage]


def _result(
    source: Source, run: tuple[str, int], found: Sequence[tuple[str, str, int, Score]], datasets: Sequence[str]
) -> dict[str, Any]:
    names = [_name(one) for one in datasets] or ["questions"]
    items = max(score.n for kind, _, _, score in found if kind == "accuracy") if _known(found) else 0
    return {
        "task": dict(TASK),
        "dataset": {
            "type": names[0] if len(names) == 1 else "mixed",
            "name": f"factfade questions: {', '.join(names)}",
            "args": {
                "items": items,
                "stage_rule_sha256": source.report.rule_sha256,
                "lineage": _name(run[0]),
                "seed": run[1],
            },
        },
        "metrics": [
            {"type": kind, "value": score.value, "name": _name(label), "args": _args(score, generation)}
            for kind, label, generation, score in found
        ],
    }


def _known(found: Sequence[tuple[str, str, int, Score]]) -> bool:
    return any(kind == "accuracy" for kind, *_ in found)


def _args(score: Score, generation: int) -> dict[str, Any]:
    bounds: dict[str, Any] = {} if score.low is None else {"low": score.low, "high": score.high, "level": score.level}
    return {"generation": generation, "n": score.n, **bounds, "method": score.method, "unit": score.unit}


def _body(source: Source, lineage: str, seed: int, found: Sequence[tuple[str, str, int, Score]]) -> Iterator[str]:
    yield "## Factual knowledge (factfade)"
    yield ""
    sentence = source.report.sentences.get(f"{lineage}/seed-{seed}")
    if sentence:
        yield _markdown(sentence)
        yield ""
    yield "| measure | value, 95% interval and n |"
    yield "|---|---|"
    for _, label, _, score in found:
        yield f"| {_markdown(label)} | {_markdown(full(score))} |"
    yield ""
    yield "License, intended use and limits: to be completed by a person."


def _name(text: str) -> str:
    return safe_text(text, limit=120, keep="")


def _markdown(text: str) -> str:
    """Text in which no character is markup, a link, a mention or HTML."""
    line = safe_text(text, limit=2000, keep="")
    return "".join(f"&#{ord(c)};" if c in "\\`*_{}[]<>()#!|@&~:/" else c for c in line)

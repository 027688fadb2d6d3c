"""The step that asks: a model, what is put to it, and the evidence that comes of it.

Every asked item is answered by choice (the likelihood of its options) and freely (greedily), out of one prompt pass.
Evidence is written in shards (a format x a block of items), each committed alone. Held-out texts, and the model's own
continuations of fixed prompts under itself and under the start model, are the fluency table.

Evaluation changes nothing of a training: the model is opened from its folder, every draw comes from a generator of
its own, and global random states are left as they are.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from factfade import tables
from factfade.errors import NonFinite, UsageError
from factfade.junk import duplicates, junk_of
from factfade.material import FixedText, Material, Put, prepare
from factfade.models import perplexity
from factfade.paths import slug
from factfade.protocols import Model, ModelSpec, Progress
from factfade.records import Asked, Sampled, Scored, canonical_json, derived_seed, sha256_text
from factfade.sections import EvaluationSection
from factfade.steps import Step

__all__ = ["FLUENCY_FILE", "OWN_FILE", "Material", "evaluate", "prepare"]

FLUENCY_FILE = "fluency.parquet"
OWN_FILE = "own.parquet"
Row = dict[str, Any]


class Place(Protocol):
    """Where rows belong: the first columns of every table."""

    def __call__(self, **columns: Any) -> Row: ...


def evaluate(
    model: Model,
    reference: ModelSpec | None,
    material: Material,
    settings: EvaluationSection,
    step: Step,
    *,
    lineage: str,
    seed: int,
    generation: int,
    progress: Progress,
    beside: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Asks everything of `model` and commits the step; returns its record with its times under "times".

    `reference` is the start model, opened after the model has written its own text; None means that `model` is the
    start model. `beside` are further columns of every row of evidence (`checkpoint`, `step`). A committed step is
    returned as it is; committed shards of an interrupted one are kept. Raises NonFinite when a log-probability is no
    finite number.
    """
    if step.committed:
        return {**step.manifest.record, "times": dict(step.manifest.times)}

    def at(**columns: Any) -> Row:
        return {"lineage": lineage, "seed": seed, "generation": generation, **columns}

    began, used = time.monotonic(), time.process_time()
    shards = list(_blocks(material, settings.shard_items))
    total, counts, seconds = len(shards) + 3, {}, 0.0
    for done, (name, block, puts) in enumerate(shards):
        progress.step("evaluate", done, total)
        shard = step.shard(slug(f"{name}-{block:04d}"))
        if not shard.committed:
            started = time.monotonic()
            rows = [{**row, **(beside or {})} for row in _evidence(model, material, puts, settings, at)]
            shard.write_rows(rows, "evidence", record=_tally(rows), times={"seconds": time.monotonic() - started})
        counts[f"{name}-{block:04d}"] = dict(shard.manifest.record)
        seconds += shard.manifest.times.get("seconds", 0.0)
    progress.step("evaluate", total - 3, total)
    held_out, paper = _held_out(model, material, settings, at)
    progress.step("evaluate", total - 2, total)
    own, drawn = _own(model, material, settings, at)
    progress.step("evaluate", total - 1, total)
    under = _own_fluency(model, reference, material, drawn, settings, at)
    record = {
        "material": material.identity,
        "counts": dict(material.counts),
        "evidence": counts,
        "model": dict(model.facts),
        "decoding": settings.decoding.resolved(),
        "own": {name: sum(row[name] for row in own) for name in ("empty", "near_constant", "repetitive", "duplicate")},
        "own_completions": len(own),
        "perplexity_paper": paper,
        "reference": reference is not None,
    }
    with step.writing() as draft:
        tables.write(draft.path / FLUENCY_FILE, [*held_out, *under], "fluency")
        tables.write(draft.path / OWN_FILE, own, "completions")
        draft.record.update(_plain(record))
        draft.times.update(
            seconds=time.monotonic() - began,
            processor_seconds=round(time.process_time() - used, 3),
            evidence_seconds=seconds,
            peak_memory_bytes=_peak_memory(),
        )
    progress.step("evaluate", total, total)
    return {**step.manifest.record, "times": dict(step.manifest.times)}


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as JSON holds it: the same values whether it is read back or not."""
    import json

    return json.loads(canonical_json(record))


def _peak_memory() -> int:
    """Largest resident size of the process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# ---------------------------------------------------------------------------------------------------------------
# Questions


def _blocks(material: Material, size: int) -> Iterator[tuple[str, int, list[Put]]]:
    """The plan of the shards: format, number of the block of items, what is put in it."""
    for name, puts in material.puts.items():
        for block, start in enumerate(range(0, len(material.items), size)):
            items = set(material.items[start : start + size])
            yield name, block, [put for put in puts if put.asked.item in items]


def _evidence(
    model: Model, material: Material, puts: Sequence[Put], settings: EvaluationSection, at: Place
) -> list[Row]:
    """The rows of a shard, in the order of the puts, not asked ones included."""
    answers: dict[int, tuple[list[Scored], Sampled | None]] = {}
    by_stop: dict[tuple[str, ...], list[int]] = {}
    for number, put in enumerate(puts):
        if not put.reason:
            by_stop.setdefault(put.asked.stop, []).append(number)
    for stop, numbers in by_stop.items():
        prompts = [puts[number].prompt for number in numbers]
        targets = [puts[number].targets for number in numbers]
        if settings.free_answers:
            both = model.ask(
                prompts, targets, new_tokens=settings.answer_tokens, stop=stop, batch_tokens=settings.batch_tokens
            )
            answers.update(zip(numbers, both, strict=True))
        else:
            scored = model.score(prompts, targets, batch_tokens=settings.batch_tokens)
            answers.update((number, (own, None)) for number, own in zip(numbers, scored, strict=True))
    rows: list[Row] = []
    for number, put in enumerate(puts):
        row = at(**_question_columns(put, model.facts["template_sha256"]))
        if put.reason:
            row.update(outcome="not_asked", reason=put.reason)
        else:
            scored, sampled = answers[number]
            row.update(_choice_columns(put.asked, scored))
            if sampled is not None:
                row.update(_answer_columns(put.asked, sampled, material, model))
        rows.append(row)
    return rows


def _question_columns(put: Put, template_sha256: str) -> Row:
    asked = put.asked
    shown = asked.prompt if asked.system is None else canonical_json([asked.system, asked.prompt])
    return {
        "item": asked.item,
        "format": asked.format,
        "wording": asked.wording,
        "domain": asked.domain,
        "entity": asked.entity,
        "template": asked.template,
        "options": list(asked.options),
        "permutation": list(asked.permutation),
        "gold": asked.gold,
        "accepted": list(asked.accepted),
        "prompt_sha256": None if put.reason else sha256_text(shown),
        "template_sha256": template_sha256,
        # Beyond the public schema: the question in words, for whoever reads the evidence.
        "question": put.question,
    }


def _choice_columns(asked: Asked, scored: Sequence[Scored]) -> Row:
    """The choice by likelihood: the largest sum, or mean per token; the lowest index on a tie."""
    if not scored:
        return {}
    values = [s.logprob / s.tokens if asked.rule == "mean" else s.logprob for s in scored]
    if not all(math.isfinite(value) for value in values):
        raise NonFinite(f"an option of the question {asked.item} has a log-probability that is no finite number")
    choice = max(range(len(values)), key=values.__getitem__)
    top = values[choice]
    return {
        "option_logprob": [s.logprob for s in scored],
        "option_tokens": [s.tokens for s in scored],
        "choice": choice,
        "choice_correct": None if asked.gold is None else choice == asked.gold,
        "choice_greedy": scored[choice].greedy,
        "choice_confidence": 1.0 / sum(math.exp(value - top) for value in values),
    }


def _answer_columns(asked: Asked, sampled: Sampled, material: Material, model: Model) -> Row:
    """The free answer up to where it stops, how it was read, and the geometric mean of its tokens' probabilities."""
    text = model.decode(sampled.tokens)
    stops = [text.index(stop) for stop in asked.stop if stop in text]
    answer = text[: min(stops)] if stops else text
    parsed = material.formats[asked.format].parse(answer, asked, ended=sampled.ended)
    # A text that ended without a stop string ended with an end token, whose probability is in the sum.
    tokens = len(sampled.tokens) + (sampled.ended and not stops)
    return {
        "answer": answer,
        "outcome": parsed.outcome,
        "reason": parsed.reason,
        "answer_confidence": math.exp(sampled.logprob / tokens) if tokens else None,
    }


def _tally(rows: Sequence[Row]) -> dict[str, Any]:
    """Counts of a shard's rows."""
    right = [row["choice_correct"] for row in rows if row.get("choice_correct") is not None]
    return {
        "rows": len(rows),
        "outcomes": dict(Counter(row["outcome"] for row in rows if row.get("outcome"))),
        "choices": len(right),
        "choices_correct": sum(right),
    }


# ---------------------------------------------------------------------------------------------------------------
# Fluency


def _fluency(at: Place, kind: str, texts: Sequence[FixedText], values: Sequence[tuple[float, int]]) -> list[Row]:
    return [
        at(text=text.id, kind=kind, domain=text.domain, tokens=tokens, nll=nll)
        for text, (nll, tokens) in zip(texts, values, strict=True)
    ]


def _held_out(
    model: Model, material: Material, settings: EvaluationSection, at: Place
) -> tuple[list[Row], float | None]:
    """Likelihood of the held-out texts; for the preset `paper` also its perplexity of all of them in a row."""
    texts = [text.tokens for text in material.texts]
    rows = _fluency(at, "held_out", material.texts, model.nll(texts, batch_tokens=settings.batch_tokens))
    joined = [token for text in texts for token in text]
    paper = perplexity.paper(model, joined) if settings.preset == "paper" and joined else None
    return rows, paper


def _own(model: Model, material: Material, settings: EvaluationSection, at: Place) -> tuple[list[Row], list[Sampled]]:
    """The model's own continuations of the fixed prompts, with their flags. The seed is the evaluation's alone."""
    drawn = model.sample(
        [model.wrap(prompt.tokens, system=material.system) for prompt in material.prompts],
        new_tokens=material.new_tokens,
        decoding=settings.decoding.resolved(),
        seed=derived_seed("own completions", settings.seed),
        through_end=material.through_end,
    )
    texts = [model.decode(one.tokens) for one in drawn]
    rows: list[Row] = []
    for prompt, one, text, again in zip(material.prompts, drawn, texts, duplicates(texts), strict=True):
        junk = junk_of(text)
        rows.append(
            at(
                prompt=prompt.id,
                completion=text,
                tokens=len(one.tokens),
                ended=one.ended,
                empty=junk.empty,
                near_constant=junk.near_constant,
                repetitive=junk.repetitive,
                duplicate=again,
                token_ids=list(one.tokens),
            )
        )
    return rows, drawn


def _own_fluency(
    model: Model,
    reference: ModelSpec | None,
    material: Material,
    drawn: Sequence[Sampled],
    settings: EvaluationSection,
    at: Place,
) -> list[Row]:
    """Likelihood of the own continuations given their prompts, under the model and under the start model.

    Over the continuation's tokens, the end token not included: per token they compare at equal length, and an empty
    one (0 tokens) is counted as junk, not here.
    """
    if not drawn:
        return []
    values = _continued(model, material, drawn, settings)
    if reference is None:
        under = values
    else:
        with reference.open() as start:
            if start.facts["tokenizer_sha256"] != model.facts["tokenizer_sha256"]:
                raise UsageError(
                    "the model and the start model have different tokenizers",
                    hint="compare checkpoints that share one tokenizer",
                )
            under = _continued(start, material, drawn, settings)
    return [*_fluency(at, "own", material.prompts, values), *_fluency(at, "own_under_start", material.prompts, under)]


def _continued(
    model: Model, material: Material, drawn: Sequence[Sampled], settings: EvaluationSection
) -> list[tuple[float, int]]:
    prompts = [model.wrap(prompt.tokens, system=material.system) for prompt in material.prompts]
    scored = model.score(prompts, [[one.tokens] for one in drawn], batch_tokens=settings.batch_tokens)
    return [(-own[0].logprob, own[0].tokens) for own in scored]

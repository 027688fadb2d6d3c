"""Logs of lm-evaluation-harness (`--log_samples`): `samples_<task>_<time>.jsonl` and the results file beside it.

What a task scored becomes evidence: option log-probabilities and the choice of multiple-choice tasks, the answer and
whether it counted of generate_until tasks, whether the target was the greedy continuation of loglikelihood tasks.
The harness's own verdict (`acc`, `exact_match`) is taken as it is logged and never computed again.

Format of the files: lm-evaluation-harness 0.4 (`lm_eval/evaluator.py`, `lm_eval/loggers/evaluation_tracker.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade.errors import DataError
from factfade.importers.harness_files import Log, logs, mapping, texts
from factfade.importers.logs import Imported, Record, Row, domain_of, json_lines, number, once, shown, truth
from factfade.records import sha256_text
from factfade.tablerows import LOGPROB_SLACK

CHOICES = ("format", "rule", "only_filter")
# Which number the harness compares between options: the sum, the sum per character, or per byte of the option.
RULES = ("acc", "acc_norm", "acc_bytes")
PERPLEXITIES = ("word_perplexity", "byte_perplexity", "bits_per_byte")
VERDICTS = ("exact_match", "em", "acc")
# What the harness's regular-expression filters put where nothing matched.
NOT_FOUND = ("[invalid]", "[missing]")


def read(
    path: str | Path,
    *,
    lineage: str,
    seed: int = 0,
    generation: int,
    format: str | None = None,
    rule: str | None = None,
    only_filter: str | None = None,
) -> Imported:
    """The evidence of one generation: a samples file, a results file, or a folder with the logs of its tasks.

    `format` names the instruction format (default: the task, or the group of tasks that ask alike). `rule` is the
    metric that is read: for multiple choice `acc` (the choice is the largest sum of log-probabilities; the default),
    `acc_norm` (per character) or `acc_bytes`; for free answers a metric of 0 and 1 (default `exact_match`).
    `only_filter` is the answer filter that is read, where a task has several (default: its first). Raises DataError
    with file and line for what is no such log.
    """
    notes: list[str] = []
    rows: list[Row] = []
    for log in logs(Path(path), notes):
        made = _task(log, rule, only_filter, notes)
        name = format or log.group()
        place = {"lineage": lineage, "seed": seed, "generation": generation, "format": name, "wording": ""}
        subtask = log.task.removeprefix(f"{name}_") if name != log.task else None
        for row in made:
            row.setdefault("domain", subtask)
        rows += once([{**place, **row} for row in made], shown(log.task), notes)
    return Imported(rows=once(rows, str(path), notes), notes=tuple(notes))


# ---------------------------------------------------------------------------------------------------------------
# Tasks


def _task(log: Log, rule: str | None, only_filter: str | None, notes: list[str]) -> list[Row]:
    records = list(json_lines(log.file))
    if not records:
        raise DataError("the log holds no sample", file=log.file)
    filters = list(dict.fromkeys(_filter(record) for record in records))
    wanted = filters[0] if only_filter is None or len(filters) == 1 else only_filter
    if wanted not in filters:
        known = ", ".join(shown(name) for name in filters[:10])
        raise DataError(f"no sample was read with the filter {shown(wanted)}", file=log.file, hint=f"one of: {known}")
    if len(filters) > 1:
        others = ", ".join(shown(name) for name in filters if name != wanted)
        notes.append(f"{shown(log.task)}: answers as read by the filter {shown(wanted)}; left out: {others}.")
    records = [record for record in records if _filter(record) == wanted]
    kind = _kind(log, records[0])
    if kind == "multiple_choice":
        rows = _choices(log, records, rule, notes)
    elif kind == "loglikelihood":
        rows = [{**_common(log, record), **_cloze(record)} for record in records]
    else:
        rows = [{**_common(log, record), **_answer(record, rule, wanted)} for record in records]
    if kind == "generate_until":
        notes.append(
            "The harness logs whether a free answer is right; wrong answers and unreadable ones are told apart only "
            f"where the filter says {NOT_FOUND[0]} or the answer is empty."
        )
    return rows


def _filter(record: Record) -> str:
    found = record.value.get("filter", "none")
    if not isinstance(found, str):
        raise record.wrong("filter", "a string", found)
    return found


def _kind(log: Log, record: Record) -> str:
    """The output type: as the results file says, else by the shape of the responses."""
    responses = record.items("filtered_resps")
    pairs = bool(responses) and all(_is_pair(one) for one in responses)
    known = log.config.get("output_type")
    rolling = any(name in record.value for name in PERPLEXITIES)
    if known == "loglikelihood_rolling" or (known is None and rolling):
        raise record.fail("the task measures perplexity and has no answers", hint="leave this file out")
    if known in ("multiple_choice", "loglikelihood", "generate_until"):
        return str(known)
    return ("multiple_choice" if len(responses) > 1 else "loglikelihood") if pairs else "generate_until"


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and number(value[0]) is not None and truth(value[1]) is not None


def _common(log: Log, record: Record) -> Row:
    """What every row has: the question's id, its domain, the checkpoint, the hashes of prompt and template."""
    doc = record.part("doc")
    contexts = {_argument(record, index, 0) for index in range(_requests(record))}
    prompt = contexts.pop() if len(contexts) == 1 else None
    row: Row = {"item": record.item(doc.value)}
    if domain := domain_of(doc.value):
        row["domain"] = domain
    if isinstance(prompt, str):
        row["prompt_sha256"] = sha256_text(prompt)
    model = log.results.get("model_name")
    if isinstance(model, str) and model:
        row["checkpoint"] = model
    if "chat_template_sha" in log.results:
        row["template_sha256"] = (
            log.results["chat_template_sha"] if isinstance(log.results["chat_template_sha"], str) else ""
        )
    return row


def _requests(record: Record) -> int:
    return len(record.part("arguments").value)


def _argument(record: Record, request: int, index: int) -> Any:
    """Argument `index` (0: the context, 1: the continuation or the settings) of one request; None where absent."""
    arguments = record.part("arguments").value.get(f"gen_args_{request}")
    found = mapping(arguments).get(f"arg_{index}")
    return found if isinstance(found, str) else None


def _verdict(record: Record, metric: str) -> bool:
    found = truth(record.value.get(metric))
    if found is None:
        raise record.wrong(metric, "0 or 1", record.value.get(metric))
    return found


# ---------------------------------------------------------------------------------------------------------------
# Multiple choice


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one multiple-choice sample holds: its options, their scores, and the two ways to read its target."""

    options: list[str]
    logprobs: list[float]
    greedy: list[bool]
    chosen: int
    confidence: float
    correct: bool
    by_index: int | None
    by_text: int | None


def _choices(log: Log, records: Sequence[Record], rule: str | None, notes: list[str]) -> list[Row]:
    scored = [_scores(log, record, _rule(record, rule)) for record in records]
    golds = _golds(scored)
    if golds is None:
        notes.append(f"{shown(log.task)}: which option is right is not known (several may be), so gold is left out.")
        golds = [None] * len(scored)
    return [
        {
            **_common(log, record),
            "options": one.options,
            "gold": gold,
            "option_logprob": one.logprobs,
            "choice": one.chosen,
            "choice_correct": one.correct,
            "choice_greedy": one.greedy[one.chosen],
            "choice_confidence": one.confidence,
        }
        for record, one, gold in zip(records, scored, golds, strict=True)
    ]


def _rule(record: Record, rule: str | None) -> str:
    """The metric that decides: the one asked for, else the first of acc, acc_norm, acc_bytes that is logged."""
    logged = [name for name in RULES if name in record.value]
    if rule is None and logged:
        return logged[0]
    if rule in RULES:
        return str(rule)
    known = ", ".join(RULES)
    if rule is None:
        raise record.fail(f"a multiple-choice sample without any of {known}", hint="log one of these metrics")
    raise record.fail(f"{shown(rule)} is no rule of a multiple-choice task", hint=f"one of {known}")


def _scores(log: Log, record: Record, rule: str) -> Scores:
    pairs: list[tuple[float, bool]] = []
    for index, response in enumerate(record.items("filtered_resps")):
        logprob, greedy = (number(response[0]), truth(response[1])) if _is_pair(response) else (None, None)
        if logprob is None or greedy is None or logprob > LOGPROB_SLACK:
            raise record.fail(f"option {index} of 'filtered_resps' is no log-probability with its greedy flag")
        pairs.append((logprob, greedy))
    continuations = [_argument(record, index, 1) for index in range(_requests(record))]
    contexts = [_argument(record, index, 0) for index in range(_requests(record))]
    # The metric acc_mutual_info asks every option a second time, without the question.
    if len(pairs) % 2 == 0 and "acc_mutual_info" in record.value and not any(contexts[len(pairs) // 2 :]):
        pairs = pairs[: len(pairs) // 2]
    # Where the options differ in the context (winogrande) it is the contexts that are compared.
    count = len(pairs)
    told = contexts[:count] if len(set(continuations[:count])) == 1 and count > 1 else continuations[:count]
    if not pairs or len(told) != count or any(text is None for text in told):
        raise record.fail("the fields 'arguments' and 'filtered_resps' do not hold the same options")
    delimiter = log.config.get("target_delimiter", " ")
    options = [str(text).removeprefix(delimiter if isinstance(delimiter, str) else " ") for text in told]
    lengths = {"acc_norm": [len(o) for o in options], "acc_bytes": [len(o.encode()) for o in options]}
    per = [max(1, length) for length in lengths.get(rule, [1] * count)]
    normalised = [pair[0] / length for pair, length in zip(pairs, per, strict=True)]
    best = max(range(count), key=lambda index: normalised[index])
    target = record.text("target")
    return Scores(
        options=_named(options, record.part("doc").value),
        logprobs=[min(0.0, logprob) for logprob, _ in pairs],
        greedy=[greedy for _, greedy in pairs],
        chosen=best,
        confidence=1.0 / math.fsum(math.exp(other - normalised[best]) for other in normalised),
        correct=_verdict(record, rule),
        by_index=int(target)
        if target.isascii() and target.isdigit() and len(target) < 6 and int(target) < count
        else None,
        by_text=options.index(target) if target in options else None,
    )


def _named(options: list[str], doc: Mapping[str, Any]) -> list[str]:
    """The options' texts where the model was asked for their letters and the question lists them."""
    if options != [chr(ord("A") + index) for index in range(len(options))]:
        return options
    for name in ("choices", "options"):
        listed = doc.get(name)
        named = texts(mapping(listed).get("text") if isinstance(listed, dict) else listed)
        if len(named) == len(options):
            return named
    return options


def _golds(scored: Sequence[Scores]) -> list[int | None] | None:
    """The right options: the target read as an index or as a text, whichever agrees with every logged verdict."""
    for golds in ([one.by_index for one in scored], [one.by_text for one in scored]):
        known = [
            gold is not None and (one.chosen == gold) == one.correct for one, gold in zip(scored, golds, strict=True)
        ]
        if all(known):
            return golds
    return None


# ---------------------------------------------------------------------------------------------------------------
# Free answers


def _answer(record: Record, rule: str | None, read_by: str) -> Row:
    metric = rule or next((name for name in VERDICTS if name in record.value), None)
    if metric is None or metric not in record.value:
        logged = ", ".join(shown(name) for name in texts(record.value.get("metrics"))[:10])
        wanted = metric or f"none of {', '.join(VERDICTS)}"
        raise record.fail(
            f"the sample has no metric of right or wrong ({shown(wanted)})", hint=f"--rule METRIC, one of: {logged}"
        )
    raw, read = _first(record, "resps"), _first(record, "filtered_resps")
    right = _verdict(record, metric)
    if right:
        outcome = "correct"
    elif not raw.strip():
        outcome = "empty"
    else:
        outcome = "unparseable" if read.strip() in NOT_FOUND else "wrong"
    row: Row = {"answer": raw, "outcome": outcome, "reason": f"{read_by}: {read[:200]}"}
    target = record.value.get("target")
    if isinstance(target, str) and target and not target.startswith("["):
        row["accepted"] = [target]
    return row


def _first(record: Record, field: str) -> str:
    """The first text of nested lists: a request's first response."""
    found: Any = record.items(field)
    while isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, str):
        raise record.fail(f"the field {field!r} holds no text")
    return found


def _cloze(record: Record) -> Row:
    responses = record.items("filtered_resps")
    if len(responses) != 1 or not _is_pair(responses[0]):
        raise record.fail("the field 'filtered_resps' is no log-probability with its greedy flag")
    right = truth(responses[0][1])
    row: Row = {"outcome": "correct" if right else "wrong", "reason": "whether the target is the greedy continuation"}
    target = record.value.get("target")
    return {**row, "accepted": [target]} if isinstance(target, str) and target else row

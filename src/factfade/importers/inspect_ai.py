"""Logs of Inspect (`inspect eval --log-format json`): one task's samples with their scores, as evidence.

A model that Inspect asks answers freely, multiple-choice questions too: the answer and its score become `answer` and
`outcome`, the options and the right one stand beside them. The scorer's verdict is taken as it is logged.

Format of the files: `EvalLog` of Inspect 0.3, log version 2. Binary `.eval` logs are not read: convert them first.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade.data.lines import json_type
from factfade.errors import DataError
from factfade.importers.logs import Imported, Record, Row, domain_of, find, json_object, number, once, shown, truth

CONVERT = "convert it: inspect log convert FILE --to json --output-dir FOLDER"
# Reasons of abnormal scores (inspect_ai.scorer.ScoreReason) and what they mean for the answer.
REASONS = {
    "no_response": "empty",
    "refusal": "refused",
    "invalid_response_format": "unparseable",
    "grader_failed": "not_asked",
    "scoring_failed": "not_asked",
}
STOPS = {"max_tokens": "truncated", "model_length": "truncated", "content_filter": "refused"}
CHOICES = ("format", "rule")
_SAMPLES = re.compile(r'"samples"\s*:\s*\[')


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A sample's score: right, wrong or neither (None), the scorer's own words for it, and the answer it read."""

    right: bool | None
    value: Any
    reason: str
    answer: str | None


def read(
    path: str | Path,
    *,
    lineage: str,
    seed: int = 0,
    generation: int,
    format: str | None = None,
    rule: str | None = None,
) -> Imported:
    """The evidence of one generation: a log in JSON, or a folder with the logs of its tasks.

    `format` names the instruction format (default: the task). `rule` is the scorer that is read, where a task has
    several (default: its first). More than one epoch become the wordings `epoch-1`, `epoch-2` and so on. Raises
    DataError with file and line for what is no such log.
    """
    notes: list[str] = []
    rows: list[Row] = []
    tasks: dict[str, Path] = {}
    for file, log, text in _logs(Path(path), notes):
        header = log.part("eval")
        task = header.text("task")
        if task in tasks:
            raise DataError(
                f"holds two logs of the task {shown(task)}: {shown(tasks[task].name, 120)} and {shown(file.name, 120)}",
                file=path,
                hint="give the files of one run of each task",
            )
        tasks[task] = file
        place = {"lineage": lineage, "seed": seed, "generation": generation, "format": format or task}
        made = _samples(log, text, header, rule, notes)
        rows += once([{**place, **row} for row in made], shown(task), notes)
    return Imported(rows=once(rows, str(path), notes), notes=tuple(notes))


# ---------------------------------------------------------------------------------------------------------------
# Files


def _logs(path: Path, notes: list[str]) -> list[tuple[Path, Record, str]]:
    found: list[tuple[Path, Record, str]] = []
    binary = find(path, "*.eval", what="a log in JSON") if path.is_dir() else []
    for file in find(path, "*.json", what="a log in JSON"):
        if file.suffix == ".eval":
            raise DataError("is a binary Inspect log", file=file, hint=CONVERT)
        log, text = json_object(file)
        if "eval" in log.value:
            found.append((file, log, text))
        elif path.is_dir():
            notes.append(f"{shown(file.name, 120)}: left out, it is no eval log.")
        else:
            raise log.wrong("eval", "an object", None)
    if binary and not found:
        raise DataError("the folder holds binary Inspect logs only", file=path, hint=CONVERT)
    if binary:
        notes.append(f"{len(binary)} binary .eval logs are left out; {CONVERT}.")
    if not found:
        raise DataError("there is no Inspect log in JSON", file=path, hint="run inspect eval with --log-format json")
    return found


def _samples(log: Record, text: str, header: Record, rule: str | None, notes: list[str]) -> list[Row]:
    if not isinstance(log.value.get("samples"), list):
        raise log.fail("the log holds no samples", hint="run inspect eval with --log-samples (its default)")
    task, status = shown(header.value.get("task")), log.value.get("status")
    if status != "success":
        notes.append(f"{task}: the status of its log is {shown(status)}, so samples may be missing.")
    records: list[Record] = []
    for index, value in enumerate(log.items("samples")):
        if not isinstance(value, dict):
            raise log.fail(f"sample {index + 1} is no object")
        where = f"sample {value.get('id')!r}, epoch {value.get('epoch', 1)!r}"
        records.append(Record(value=value, file=log.file, line=_line_of(text, index), within=where))
    several = any(record.value.get("epoch", 1) != 1 for record in records)
    scorer = _scorer(log, records, rule, task, notes)
    rows = [{**_row(record, scorer, several), "checkpoint": _model(header)} for record in records]
    # Logs hold samples in the order in which they ended; the first of equal questions must not depend on it.
    order = sorted(range(len(rows)), key=lambda index: (str(records[index].value.get("id")), index))
    return [rows[index] for index in order]


def _line_of(text: str, index: int) -> Any:
    """A function that finds the line on which a sample starts, for errors only: the file is then read again."""

    def line() -> int | None:
        decoder = json.JSONDecoder()
        for start in _SAMPLES.finditer(text):
            place, left = start.end(), index
            try:
                while True:
                    while text[place] in " \r\n\t,":
                        place += 1
                    if left == 0:
                        return text.count("\n", 0, place) + 1
                    place, left = decoder.raw_decode(text, place)[1], left - 1
            except (ValueError, IndexError):
                continue
        return None

    return line


def _model(header: Record) -> str | None:
    found = header.value.get("model")
    return found if isinstance(found, str) and found else None


def _scorer(log: Record, records: Sequence[Record], rule: str | None, task: str, notes: list[str]) -> str | None:
    """The scorer whose verdict is read: the one asked for, else the first; None where nothing was scored."""
    names = list(dict.fromkeys(name for record in records for name in record.optional("scores").value))
    if not names:
        return None
    if rule is not None and rule not in names:
        known = ", ".join(shown(name) for name in names[:10])
        raise log.fail(f"no sample was scored by {shown(rule)}", hint=f"--rule SCORER, one of: {known}")
    chosen = rule or names[0]
    if len(names) > 1:
        others = ", ".join(shown(name) for name in names if name != chosen)
        notes.append(f"{task}: scores of {shown(chosen)}; left out: {others}.")
    return chosen


# ---------------------------------------------------------------------------------------------------------------
# Samples


def _row(record: Record, scorer: str | None, several: bool) -> Row:
    epoch = record.value.get("epoch", 1)
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 1:
        raise record.wrong("epoch", "a whole number from 1", epoch)
    options, targets = _options(record), _targets(record)
    right = _right_option(options, targets)
    # Options may be shuffled when the data set is read: the question is the same in any order of them.
    named = options[right] if right is not None else targets
    question = {"input": _input(record), "choices": sorted(options), "target": named}
    completion = _completion(record)
    outcome, reason = _outcome(record, scorer, completion)
    row: Row = {
        "item": record.item(question),
        "wording": f"epoch-{epoch}" if several else "",
        "domain": domain_of(record.optional("metadata").value),
        "outcome": outcome,
        "reason": reason[:300] or None,
        "answer": completion,
        "answer_confidence": _confidence(record),
    }
    if options:
        row |= {"options": options, "gold": right}
    else:
        row["accepted"] = targets
    return row


def _options(record: Record) -> list[str]:
    found = record.value.get("choices")
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise record.wrong("choices", "a list of strings", found)
    return [_resolved(record, one) for one in found]


def _targets(record: Record) -> list[str]:
    found = record.value.get("target")
    listed = found if isinstance(found, list) else [found]
    texts = [one for one in listed if isinstance(one, str)]
    if len(texts) < len(listed):
        raise record.wrong("target", "a string or a list of strings", found)
    return [_resolved(record, one) for one in texts]


def _right_option(options: Sequence[str], targets: Sequence[str]) -> int | None:
    """The index of the right option, where the target is one letter."""
    if len(targets) != 1 or not re.fullmatch("[A-Z]", targets[0]):
        return None
    index = ord(targets[0]) - ord("A")
    return index if index < len(options) else None


def _input(record: Record) -> Any:
    """The question: a text, or messages without the ids that differ from run to run."""
    found = record.value.get("input")
    if isinstance(found, str):
        return _resolved(record, found)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise record.wrong("input", "a string or a list of messages", found)
    return [[message.get("role"), _content(record, message.get("content"))] for message in found]


def _content(record: Record, content: Any) -> Any:
    if isinstance(content, str):
        return _resolved(record, content)
    if not isinstance(content, list):
        return None
    return [
        {name: _resolved(record, part) if isinstance(part, str) else part for name, part in one.items() if name != "id"}
        for one in content
        if isinstance(one, dict)
    ]


def _resolved(record: Record, text: str) -> str:
    """The text, or the attachment that stands for it: long texts are logged once, under their hash."""
    if not text.startswith("attachment://"):
        return text
    found = record.optional("attachments").value.get(text.removeprefix("attachment://"))
    if not isinstance(found, str):
        raise record.fail(f"the attachment {shown(text)} is not in the log")
    return found


def _choice(record: Record) -> Mapping[str, Any]:
    """What the model wrote, with why it stopped; empty where it was not reached."""
    choices = record.optional("output").value.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _completion(record: Record) -> str | None:
    """The free answer; None where the model did not come to write one."""
    message = _choice(record).get("message")
    if not isinstance(message, dict):
        return None
    content = _content(record, message.get("content"))
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if part.get("type") == "text")
    return content if isinstance(content, str) else None


def _confidence(record: Record) -> float | None:
    """Geometric mean of the answer's token probabilities, where they were logged."""
    logged = _choice(record).get("logprobs")
    tokens = logged.get("content") if isinstance(logged, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    found = [number(token.get("logprob")) if isinstance(token, dict) else None for token in tokens]
    known = [value for value in found if value is not None]
    if len(known) < len(found) or max(known) > 1e-3:
        raise record.fail("the log-probabilities of the answer are no numbers up to 0")
    return min(1.0, math.exp(math.fsum(known) / len(known)))


# ---------------------------------------------------------------------------------------------------------------
# Outcomes


def _outcome(record: Record, scorer: str | None, completion: str | None) -> tuple[str, str]:
    """The outcome of a sample and why. An answer that counted as right is right, however it ended."""
    if record.value.get("error") is not None:
        return "not_asked", f"error: {shown(record.optional('error').value.get('message', ''), 200)}"
    limit = record.optional("limit").value
    ended = f"limit: {shown(limit.get('type'), 40)}" if limit else ""
    if completion is None:
        return "not_asked", ended or "the model wrote nothing"
    verdict = _verdict(record, scorer)
    if verdict is None:
        return ("truncated", ended) if limit else ("not_asked", "not scored")
    said = f"scored {shown(verdict.value, 20)}" + (f" ({shown(verdict.reason, 60)})" if verdict.reason else "")
    if verdict.right:
        return "correct", said
    if limit:
        return "truncated", ended
    stop = _choice(record).get("stop_reason")
    if isinstance(stop, str) and stop in STOPS:
        return STOPS[stop], f"stopped by {stop}; {said}"
    return _not_right(record, verdict, completion), said


def _not_right(record: Record, verdict: Verdict, completion: str) -> str:
    if verdict.right is None:
        return "not_asked"
    if not completion.strip():
        return "empty"
    if verdict.reason in REASONS:
        return REASONS[verdict.reason]
    if verdict.value == "N":
        return "refused"
    # Without a reason, as older versions log it: the scorer of options found no letter.
    return "unparseable" if record.value.get("choices") and not verdict.answer else "wrong"


def _verdict(record: Record, scorer: str | None) -> Verdict | None:
    scores = record.optional("scores")
    if scorer is None or scorer not in scores.value:
        return None
    score = scores.part(scorer)
    value = score.value.get("value")
    reason, answer = (found if isinstance(found := score.value.get(n), str) else "" for n in ("reason", "answer"))
    right = {"C": True, "I": False, "P": False, "N": False}.get(value) if isinstance(value, str) else None
    if right is None and isinstance(value, str) and value.lower() in ("yes", "no"):
        right = value.lower() == "yes"
    if right is None:
        right = truth(value)
    graded = number(value)
    if right is None and graded is not None and 0.0 < graded < 1.0:
        right = False
    if right is None and not (isinstance(value, float) and math.isnan(value)):
        said = shown(value) if isinstance(value, (str, int, float)) else json_type(value)
        raise score.fail(
            f"the score of {shown(scorer)} is {said}: C, I, P, N, or a number from 0 to 1 is read",
            hint="--rule SCORER names another scorer",
        )
    return Verdict(right=right, value=value, reason=reason, answer=answer)

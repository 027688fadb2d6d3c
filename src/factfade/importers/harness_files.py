"""The files that lm-evaluation-harness writes for one run: which samples belong to which results, and what it asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade.errors import DataError
from factfade.importers.logs import find, json_object, shown

_NAME = re.compile(r"samples_(?P<task>.+?)_(?P<time>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)")


@dataclass(frozen=True, kw_only=True)
class Log:
    """One task's samples, with what the results file says of the task (empty where there is none)."""

    file: Path
    task: str
    results: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """The task's settings."""
        return mapping(mapping(self.results.get("configs")).get(self.task))

    def group(self) -> str:
        """The largest group whose tasks all ask in the same way (mmlu of mmlu_anatomy), else the task."""
        groups = {name: texts(tasks) for name, tasks in mapping(self.results.get("group_subtasks")).items()}
        configs = mapping(self.results.get("configs"))
        name, seen = self.task, {self.task}
        while True:
            parents = [group for group, members in groups.items() if name in members and group not in seen]
            if len(parents) != 1 or not _alike(_leaves(parents[0], groups), configs):
                return name
            name = parents[0]
            seen.add(name)


def logs(path: Path, notes: list[str]) -> Iterator[Log]:
    if path.is_file() and path.suffix == ".json":
        time = path.stem.rpartition("_")[2]
        files = sorted(path.parent.glob(f"samples_*_{time}.jsonl"))
    else:
        files = find(path, "samples_*.jsonl", what="a samples_*.jsonl file")
    if not files:
        hint = "run lm_eval with --log_samples and --output_path, and give the folder that it wrote"
        raise DataError("there is no samples_*.jsonl file", file=path, hint=hint)
    tasks: dict[str, Path] = {}
    for file in files:
        named = _NAME.fullmatch(file.stem)
        task = named["task"] if named else file.stem.removeprefix("samples_")
        if task in tasks:
            raise DataError(
                f"holds two logs of the task {shown(task)}: {shown(tasks[task].name, 120)} and {shown(file.name, 120)}",
                file=path,
                hint="give the results_*.json file of the run that you mean",
            )
        tasks[task] = file
        yield Log(file=file, task=task, results=_results(file, task, named["time"] if named else None, notes))


def _results(file: Path, task: str, time: str | None, notes: list[str]) -> Mapping[str, Any]:
    """The results file that was written with the samples: by its time, or the only one there is."""
    found = sorted(file.parent.glob(f"*_{time}.json")) if time else sorted(file.parent.glob("results*.json"))
    if len(found) != 1:
        notes.append(f"{shown(task)}: no results file beside it, so checkpoint and group are not known.")
        return {}
    return json_object(found[0])[0].value


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _leaves(group: str, groups: Mapping[str, list[str]]) -> list[str]:
    """The tasks below a group, through the groups below it."""
    found: list[str] = []
    waiting, seen = [group], {group}
    while waiting:
        members = groups.get(waiting.pop(), [])
        for member in members:
            if groups.get(member):
                waiting += [member] if member not in seen else []
                seen.add(member)
            else:
                found.append(member)
    return found


def _alike(tasks: Sequence[str], configs: Mapping[str, Any]) -> bool:
    """Whether all tasks put their questions in the same way."""
    asked = ("output_type", "doc_to_text", "doc_to_choice", "num_fewshot", "metric_list", "filter_list")
    ways = {repr([mapping(configs.get(task)).get(name) for name in asked]) for task in tasks}
    return len(ways) == 1 and all(task in configs for task in tasks)

"""The preset `harness` against lm-evaluation-harness 0.4.13: same prompts, likelihoods, choices, accuracy, error.

Its own MMLU tasks are run, with their data read from local files: by letter and by continuation, without examples and
with five. Needs the extra `lm-eval`; the models and data that do not ship are looked for in the data folder, and
SmolLM2-135M-Instruct in the folder that FACTFADE_SMOLLM2 names.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from factfade import registry, store, tables
from factfade.evaluate import evaluate, prepare
from factfade.models.hf import HfModel
from factfade.records import sha256_text
from factfade.sections import EvaluationSection, SynthesisSection
from factfade.stats.intervals import mean

VERSION = "0.4.13"
HOWS = ("letters", "continuation")
SHOTS = (0, 5)
CASES = [(how, shots) for how in HOWS for shots in SHOTS]
FORMATS: dict[tuple[str, int], dict[str, Any]] = {
    ("letters", 0): {"kind": "multiple_choice"},
    ("letters", 5): {"kind": "multiple_choice_few_shot", "examples": 5},
    ("continuation", 0): {"kind": "open_ended", "wordings": ("question",)},
    ("continuation", 5): {"kind": "open_ended", "wordings": ("question",), "examples": 5},
}

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(
        util.find_spec("lm_eval") is None, reason="lm_eval is not installed: pip install 'factfade[lm-eval]'"
    ),
]


class Quiet:
    """Progress that says nothing."""

    def step(self, what: str, done: int, total: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Both:
    """What both made of the same questions, by (how, shots) and subject: our rows, its samples and its results."""

    ours: dict[tuple[str, int, str], pd.DataFrame] = field(default_factory=dict)
    theirs: dict[tuple[str, int, str], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    results: dict[tuple[str, int, str], Mapping[str, float]] = field(default_factory=dict)


Rows = Sequence[Mapping[str, Any]]


def write(file: Path, rows: Rows) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def our_rows(model: Any, folder: Path, case: tuple[str, int], free_answers: bool) -> pd.DataFrame:
    """The evidence of one format over all subjects of the data in `folder / "data"`, through the evaluation step."""
    settings = EvaluationSection(
        preset="harness", texts=0, prompts=0, free_answers=free_answers, answer_tokens=2, batch_tokens=2048
    )
    parts = {
        "questions": [registry.build("questions", {"kind": "mmlu", "path": str(folder / "data")})],
        "formats": [registry.build("format", FORMATS[case], preset=settings.preset)],
        "corpus": registry.build("corpus", {"kind": "world"}),
    }
    material = prepare(settings, SynthesisSection(), model=model, **parts)
    to = folder / f"ours-{case[0]}-{case[1]}"
    key = store.StepKey(version=1, settings={}, inputs={}, seed=0, libraries={})
    evaluate(
        model, None, material, settings, store.step(to, "evaluate", key), lineage="", seed=0, generation=0,
        progress=Quiet(),
    )  # fmt: skip
    return pd.concat([tables.read(file, "evidence") for file in sorted((to / "evidence").rglob("*.parquet"))])


def task(folder: Path, case: tuple[str, int], subject: str, rows: Rows, dev: Rows) -> str:
    """Writes a task of the harness: its own MMLU subject (its template alone for a subject it has not), local data."""
    import lm_eval

    how, shots = case
    own = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / ("default" if how == "letters" else "continuation")
    kind = "multiple choice questions" if how == "letters" else "questions"
    name = f"local_{how}_{shots}_{subject}"
    config: dict[str, Any] = {"include": str(own / f"mmlu_{subject}.yaml")}
    if not Path(config["include"]).is_file():
        config["include"] = str(own / f"_{'default' if how == 'letters' else 'continuation'}_template_yaml")
        config["description"] = f"The following are {kind} (with answers) about {subject.replace('_', ' ')}.\n\n"
    files = {"test": write(folder / name / "test.jsonl", rows), "dev": write(folder / name / "dev.jsonl", dev)}
    config |= {"task": name, "dataset_path": "json", "dataset_name": None, "num_fewshot": shots}
    config |= {"dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")}}
    # JSON is YAML.
    (folder / "tasks").mkdir(exist_ok=True)
    (folder / "tasks" / f"{name}.yaml").write_text(json.dumps(config), encoding="utf-8")
    return name


def compared(model_path: Path, folder: Path, rows: Rows, dev: Rows, *, free_answers: bool = False) -> Both:
    """Puts all rows in the four ways to both. Questions that we do not ask, for they do not fit, are left out."""
    import lm_eval
    import torch
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    assert metadata.version("lm_eval") == VERSION, f"the preset follows {VERSION}"
    write(folder / "data" / "test.jsonl", rows)
    write(folder / "data" / "dev.jsonl", dev)
    both = Both()
    names: dict[tuple[str, int, str], str] = {}
    with HfModel(path=str(model_path)).open() as model:
        for case in CASES:
            evidence = our_rows(model, folder, case, free_answers)
            asked = evidence[evidence["outcome"] != "not_asked"]
            for subject, own in asked.groupby("domain"):
                put = [row for row in rows if row["question"].strip() in set(own["question"])]
                assert len(put) == len(own)
                examples = [row for row in dev if row["subject"] == subject]
                both.ours[*case, str(subject)] = own.set_index("question")
                names[*case, str(subject)] = task(folder, case, str(subject), put, examples)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = lm_eval.simple_evaluate(
            model=HFLM(pretrained=str(model_path), device="cpu", dtype="float32", batch_size=4),
            tasks=list(names.values()),
            task_manager=TaskManager(include_path=str(folder / "tasks"), include_defaults=False),
            log_samples=True,
        )
    finally:
        torch.set_num_threads(threads)
    assert found is not None
    for key, name in names.items():
        both.theirs[key], both.results[key] = found["samples"][name], found["results"][name]
    return both


# ---------------------------------------------------------------------------------------------------------------
# The models and what is asked of them


def mmlu_rows(shared_dir: Path, split: str, subjects: Mapping[str, int]) -> list[dict[str, Any]]:
    """So many first rows of each subject, less those with blanks around an option: we take them off, it does not."""
    file = shared_dir / "data" / "mmlu" / f"{split}.jsonl"
    found: list[dict[str, Any]] = []
    left = dict(subjects)
    for line in file.read_text(encoding="utf-8").rstrip().split("\n"):
        row = json.loads(line)
        if left.get(row["subject"], 0) and all(choice == choice.strip() for choice in row["choices"]):
            left[row["subject"]] -= 1
            found.append(row)
    return found


def _world(folder: Path, request: pytest.FixtureRequest) -> Both:
    """The shipped model and the world's own questions; free answers out of the same pass."""
    questions = registry.build("questions", {"kind": "world"})

    def rows(part: Sequence[Any], each: int) -> list[dict[str, Any]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for q in part:
            row = {"subject": q.domain, "question": q.text, "choices": list(q.choices), "answer": q.answer}
            own = found.setdefault(q.domain, [])
            if len(own) < each and row["question"] not in {other["question"] for other in own}:
                own.append(row)
        return [row for own in found.values() for row in own]

    path = request.getfixturevalue("world_model")
    return compared(path, folder, rows(questions.items(), 25), rows(questions.dev(), 5), free_answers=True)


def _stories(folder: Path, request: pytest.FixtureRequest) -> Both:
    """stories15M, its context widened so that five examples fit: both read the same folder."""
    shared = request.getfixturevalue("shared_dir")
    source = shared / "models" / "stories15M"
    if not source.is_dir():
        pytest.skip(f"no model in {source}")
    path = folder / "stories15M"
    shutil.copytree(source, path)
    for name, setting in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        values = json.loads((path / name).read_text(encoding="utf-8"))
        (path / name).write_text(json.dumps({**values, setting: 2048}), encoding="utf-8")
    subjects = {"world_religions": 8, "abstract_algebra": 6, "human_sexuality": 4}
    examples = mmlu_rows(shared, "dev", dict.fromkeys(subjects, 5))
    return compared(path, folder, mmlu_rows(shared, "test", subjects), examples)


def _smollm2(folder: Path, request: pytest.FixtureRequest) -> Both:
    given = os.environ.get("FACTFADE_SMOLLM2")
    if not given or not Path(given).is_dir():
        pytest.skip("no SmolLM2-135M-Instruct: name its folder in FACTFADE_SMOLLM2")
    shared = request.getfixturevalue("shared_dir")
    subjects = {"world_religions": 6, "management": 2}
    examples = mmlu_rows(shared, "dev", dict.fromkeys(subjects, 5))
    return compared(Path(given), folder, mmlu_rows(shared, "test", subjects), examples)


MODELS = [
    pytest.param(_world, id="world"),
    pytest.param(_stories, id="stories15M", marks=[pytest.mark.slow, pytest.mark.shared]),
    pytest.param(_smollm2, id="smollm2", marks=[pytest.mark.slow, pytest.mark.shared, pytest.mark.timeout(900)]),
]


@pytest.fixture(scope="module", params=MODELS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("oracle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_OFFLINE", "1")
        patch.setenv("HF_HOME", str(folder / "home"))
        yield request.param(folder, request)


# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "shots"), CASES)
def test_prompts_likelihoods_choices_and_accuracy_are_those_of_the_harness(both: Both, how: str, shots: int) -> None:
    keys = [key for key in both.ours if key[:2] == (how, shots)]
    assert keys
    for key in keys:
        ours, theirs, results = both.ours[key], both.theirs[key], both.results[key]
        assert len(ours) == len(theirs)
        for sample in theirs:
            row = ours.loc[sample["doc"]["question"].strip()]
            requests = sample["arguments"]
            pairs = [requests[name] for name in sorted(requests)] if isinstance(requests, dict) else requests
            (prompt,) = {next(iter(pair.values())) if isinstance(pair, dict) else pair[0] for pair in pairs}
            assert sha256_text(prompt) == row["prompt_sha256"]
            values = [float(pair[0]) for pair in sample["filtered_resps"]]
            assert list(row["option_logprob"]) == pytest.approx(values, abs=1e-4)
            choice = max(range(len(values)), key=values.__getitem__)
            assert row["choice"] == choice
            assert row["choice_greedy"] == (str(sample["filtered_resps"][choice][1]) == "True")
            assert row["gold"] == sample["doc"]["answer"]
            assert row["choice_correct"] == (sample["acc"] == 1.0)
        found = mean([float(right) for right in ours["choice_correct"]])
        assert found.value == pytest.approx(results["acc,none"], abs=1e-12)
        if found.n > 1:
            assert found.deviation is not None
            assert found.deviation / math.sqrt(found.n) == pytest.approx(results["acc_stderr,none"], abs=1e-12)


def test_the_comparison_is_not_empty(both: Both) -> None:
    """Every way is put to at least two subjects, options of several tokens among them."""
    for case in CASES:
        assert len([key for key in both.ours if key[:2] == case]) >= 2
    tokens = [
        n for key, own in both.ours.items() if key[0] == "continuation" for ns in own["option_tokens"] for n in ns
    ]
    assert max(tokens) > 1

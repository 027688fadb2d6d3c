"""Make the log files of this folder with the tools themselves: `python make.py lm-eval` and `python make.py inspect`.

Each needs an environment of its own (README.md has the commands). Nothing is downloaded: the questions are those of
the embedded world, the models are the shipped one and a copy of it with noise in its weights, and Inspect's mock model.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NOISE = 0.8  # standard deviation, relative to each weight matrix's own: some questions are lost, not all


def questions() -> list[dict[str, Any]]:
    """Four questions of each of two domains, and the first once more: data sets hold duplicates."""
    from factfade.world.questions import WorldQuestions

    rows: list[dict[str, Any]] = []
    for domain in ("geography", "chemistry"):
        for question in WorldQuestions(domains=(domain,)).items()[:4]:
            rows.append(
                {
                    "question": question.text,
                    "statement": question.statement,
                    "choices": list(question.choices),
                    "answer": question.answer,
                    "gold": question.gold_text,
                    "subject": domain,
                }
            )
    return [*rows, rows[0]]


# ---------------------------------------------------------------------------------------------------------------
# lm-evaluation-harness

LETTERED = "{{question}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:"
TEXT = {
    "output_type": "generate_until",
    "doc_to_text": "{{statement}}",
    "doc_to_target": "{{gold}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 6, "do_sample": False},
    "filter_list": [
        {
            "name": "strict-match",
            "filter": [{"function": "regex", "regex_pattern": "^ ?([A-Z]\\w+)"}, {"function": "take_first"}],
        },
        {"name": "flexible-extract", "filter": [{"function": "take_first"}]},
    ],
    "metric_list": [{"metric": "exact_match", "ignore_case": True, "ignore_punctuation": True}],
}
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{statement}}",
    "doc_to_target": "answer",
    "doc_to_choice": "choices",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
LETTERS = {**CHOICE, "doc_to_text": LETTERED, "doc_to_choice": ["A", "B", "C", "D"], "metric_list": [{"metric": "acc"}]}
CLOZE = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{statement}}",
    "doc_to_target": " {{gold}}",
    "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
}


def lm_eval() -> None:
    folder = Path(tempfile.mkdtemp())
    rows = questions()
    tasks = {"world_choice": (CHOICE, rows), "world_text": (TEXT, rows), "world_cloze": (CLOZE, rows[:3])}
    for domain in ("geography", "chemistry"):
        tasks[f"world_letters_{domain}"] = (LETTERS, [row for row in rows[:8] if row["subject"] == domain])
    (folder / "tasks").mkdir()
    for name, (task, docs) in tasks.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
        # JSON is YAML.
        data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}}
        (folder / "tasks" / f"{name}.yaml").write_text(
            json.dumps({"task": name, "test_split": "test", **data, **task, "metadata": {"version": 1.0}})
        )
    members = [name for name in tasks if name.startswith("world_letters_")]
    mean = [{"metric": "acc", "aggregation": "mean", "weight_by_size": True}]
    (folder / "tasks" / "group.yaml").write_text(
        json.dumps({"group": "world_letters", "task": members, "aggregate_metric_list": mean})
    )
    _models(folder)
    for generation in (0, 1):
        command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--device", "cpu", "--batch_size", "4"]
        command += ["--model_args", f"pretrained=model-{generation},dtype=float32", "--include_path", "tasks"]
        command += ["--tasks", "world_choice,world_letters,world_text,world_cloze", "--num_fewshot", "0"]
        command += ["--output_path", f"out/generation-{generation}", "--log_samples"]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
        subprocess.run(command, cwd=folder, check=True, env={**os.environ, **offline})
        target = HERE / "lm-eval" / f"generation-{generation}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for file in sorted((folder / "out" / f"generation-{generation}").rglob("*.json*")):
            text = file.read_text(encoding="utf-8")
            if file.name.startswith("results_"):
                # The one thing that is changed: what is told of the machine is taken out.
                results = json.loads(text)
                results["pretty_env_info"] = "removed"
                text = json.dumps(results, indent=2, ensure_ascii=False)
            (target / file.name).write_text(text, encoding="utf-8")
    shutil.rmtree(folder)


def _models(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    import factfade.world

    source = Path(factfade.world.__file__).parent / "model"
    for name in ("model-0", "model-1"):
        shutil.copytree(source, folder / name)
    torch.manual_seed(0)
    weights = load_file(source / "model.safetensors")
    for tensor in weights.values():
        tensor += NOISE * tensor.std() * torch.randn_like(tensor) if tensor.dim() > 1 else 0.0
    save_file(weights, folder / "model-1" / "model.safetensors", metadata={"format": "pt"})


# ---------------------------------------------------------------------------------------------------------------
# Inspect


def inspect() -> None:
    import inspect_ai
    from inspect_ai import Epochs, Task
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import CORRECT, INCORRECT, NOANSWER, PARTIAL, Score, choice, match, scorer
    from inspect_ai.solver import generate, multiple_choice, solver

    rows = json.loads((HERE / "questions.json").read_text())
    letters = "ABCD"

    @solver
    def failing():
        async def solve(state, generate):
            if state.sample_id == "broken":
                raise ValueError("the sandbox is gone")
            return await generate(state)

        return solve

    @scorer(metrics=[])
    def graded():
        async def score(state, target):
            said = state.output.completion
            partly = PARTIAL if any(one in said for one in target) else INCORRECT
            value = CORRECT if said in target else partly if said else NOANSWER
            return Score(value=value, answer=said)

        return score

    asked = [
        Sample(
            id=f"q{n}",
            input=row["question"],
            choices=row["choices"],
            target=letters[row["answer"]],
            metadata={"subject": row["subject"]},
        )
        for n, row in enumerate(rows[:4])
    ]
    free = [
        Sample(id="one", input="What is the capital of Peru?", target="Lima", metadata={"subject": "geography"}),
        Sample(id="two", input="What is the capital of Ecuador?", target="Quito"),
        Sample(id="three", input="What is the symbol of iron?", target=["Fe", "fe"]),
        Sample(id="four", input="What is the symbol of lead?", target="Pb"),
        Sample(id="five", input="What is the symbol of tin?", target="Sn"),
        Sample(id="broken", input="What is the symbol of gold?", target="Au"),
    ]
    stops = {"four": "max_tokens", "five": "content_filter"}
    answers = [
        {"one": "Lima", "two": "Quito, perhaps", "three": "", "four": "The symbol of lead is an old", "five": "I"},
        {"one": "Cusco", "two": "Lima", "three": "Fe", "four": "Pb", "five": "Zn"},
    ]

    def said(text: str, stop: Any = "stop") -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", text, stop_reason=stop)
        output.usage = ModelUsage()  # else the mock model counts tokens with a tokenizer that it downloads
        return output

    for generation in (0, 1):

        def put(messages, tools, tool_choice, config):
            text = messages[-1].text
            for n, row in enumerate(rows[:4]):
                if row["question"] in text:
                    if generation and n == 3:  # noqa: B023
                        return said("I do not know.")
                    right = n + generation < 4 and (generation == 0 or n != 1)  # noqa: B023
                    shown = [line[3:] for line in text.splitlines() if line[1:3] == ") "]
                    index = shown.index(row["gold"])
                    return said(f"ANSWER: {letters[index if right else (index + 1) % 4]}")
            for sample in free:
                if sample.input in text:
                    name = str(sample.id)
                    stop = stops.get(name, "stop") if not generation else "stop"  # noqa: B023
                    return said(answers[generation].get(name, ""), stop)  # noqa: B023
            raise AssertionError(text)

        folder = HERE / "inspect" / f"generation-{generation}"
        shutil.rmtree(folder, ignore_errors=True)
        tasks = [
            Task(asked, solver=[multiple_choice(shuffle=True)], scorer=choice(), name="world_choice", epochs=Epochs(2)),
            Task(free, solver=[failing(), generate()][:1], scorer=[graded(), match()], name="world_text"),
            Task(free[:1], solver=[generate()], scorer=match(), name="world_limit", message_limit=1),
        ]
        model = get_model("mockllm/model", custom_outputs=put)
        logged = {"log_dir": str(folder), "log_format": "json", "log_realtime": False, "log_model_api": False}
        inspect_ai.eval(tasks, model=model, fail_on_error=False, display="none", max_tasks=1, **logged)
        for file in folder.glob("*.json"):
            _without_machine(file)


def _without_machine(file: Path) -> None:
    """What is changed: tracebacks, which name paths of the machine, the long timeline of events, and the indent."""
    log = json.loads(file.read_text(encoding="utf-8"))
    for sample in log["samples"]:
        sample["events"] = []
        for name in ("traceback", "traceback_ansi"):
            if sample.get("error"):
                sample["error"][name] = "removed"
    file.write_text(json.dumps(log, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["lm-eval"]:
        (HERE / "questions.json").write_text(json.dumps(questions(), indent=1, ensure_ascii=False) + "\n")
        lm_eval()
    elif sys.argv[1:] == ["inspect"]:
        inspect()
    else:
        sys.exit(__doc__)

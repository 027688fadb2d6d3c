"""The parts of one arm, built from its plan, and the keys of its steps: everything a step's output depends on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade import records, registry, store, versions
from factfade.config import ArmPlan, Experiment
from factfade.protocols import (
    AfterTraining,
    Corpus,
    Format,
    HeavyObjective,
    ModelSpec,
    Objective,
    Pool,
    Prompts,
    Questions,
    Trainer,
)
from factfade.records import Question
from factfade.sections import SynthesisSection

# One number a step, raised when its code would give other output for the same settings.
STEP_VERSIONS = {"synthesize": 1, "train": 1, "evaluate": 1}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of one arm. `common` and `common_corpus` are the experiment's own, which every arm is evaluated by."""

    plan: ArmPlan
    common: SynthesisSection
    corpus: Corpus
    common_corpus: Corpus
    prompts: Prompts
    pool: Sequence[Pool]
    objective: Objective | HeavyObjective
    after_training: Sequence[AfterTraining]
    trainer: Trainer
    questions: Sequence[Questions]
    formats: Sequence[Format]

    def model(self, path: str | Path) -> ModelSpec:
        """The spec of a checkpoint, opened the way the experiment says."""
        section = self.plan.model.model_dump(exclude={"path"})
        return registry.build("model", section | {"path": str(path)})

    def start(self) -> Path:
        """Folder of the start model's weights."""
        return self.model(self.plan.model.path).folder()

    def synthesize_key(self, seed: int, inputs: Mapping[str, str]) -> store.StepKey:
        plan = self.plan
        settings = {
            "synthesis": plan.synthesis.model_dump(),
            "prompts": plan.arm.prompts,
            "synthetic_fraction": plan.arm.synthetic_fraction,
            "corpus": plan.corpus,
            "model": plan.model.model_dump(exclude={"path", "threads"}),
        }
        files = _identities(prompts=self.prompts)
        return _key("synthesize", settings, {**inputs, **files, "corpus": self.corpus.identity}, seed)

    def train_key(self, seed: int, inputs: Mapping[str, str]) -> store.StepKey:
        arm = self.plan.arm
        settings = {
            "training": self.plan.training.model_dump(),
            "pool": list(self.plan.pool),
            "objective": arm.objective,
            "after_training": list(arm.after_training),
        }
        # What parts read from files, beside what their settings say.
        files = _identities(**{f"pool-{i}": part for i, part in enumerate(self.pool)})
        return _key("train", settings, {**inputs, **files}, seed)

    @property
    def reads_evidence(self) -> bool:
        """Whether a pool part looks at the evidence of earlier generations."""
        return any(getattr(part, "reads_evidence", False) for part in self.pool)

    def sources(self) -> TrainingSources:
        """What a heavy objective may use beside the documents."""
        return TrainingSources(
            base=self.start(), corpus=self.corpus, questions=self.questions, preset=self.plan.evaluation.preset
        )

    def evaluate_key(self, inputs: Mapping[str, str]) -> store.StepKey:
        settings = {
            "evaluation": self.plan.evaluation.model_dump(exclude={"generations"}),
            "synthesis": self.common.model_dump(include={"prompt_tokens", "new_tokens", "through_end", "system"}),
            "model": self.plan.model.model_dump(exclude={"path", "threads"}),
        }
        asked = {f"questions-{i}": questions.identity for i, questions in enumerate(self.questions)}
        inputs = {**inputs, **asked, "corpus": self.common_corpus.identity}
        return _key("evaluate", settings, inputs, self.plan.evaluation.seed)


@dataclass(frozen=True, kw_only=True)
class TrainingSources:
    """`protocols.Sources` of one arm: held-out text of its corpus, solved examples, formats."""

    base: Path
    corpus: Corpus
    questions: Sequence[Questions]
    preset: str = "default"

    def held_out(self, encode: Callable[[str], Sequence[int]], *, count: int, tokens: int) -> list[tuple[int, ...]]:
        """The first `count` held-out texts that are long enough, cut to `tokens` ids. An endless corpus gives texts of
        its own here; of a file the evaluation may have read the same ones."""
        found: list[tuple[int, ...]] = []
        stream = self.corpus.documents(split="held_out", seed=records.derived_seed("objective") % 2**31)
        # A corpus without end may hold only short texts.
        for text, _ in itertools.islice(stream, 100 * count):
            ids = tuple(encode(text))[:tokens]
            if len(ids) == tokens:
                found.append(ids)
            if len(found) == count:
                break
        return found

    def dev(self) -> list[Question]:
        """Solved examples of all question sets: never tested items."""
        return [question for part in self.questions for question in part.dev()]

    def format(self, kind: str) -> Format:
        """An instruction format, with the prompts that the evaluation's preset gives it."""
        return registry.build("format", kind, preset=self.preset)


def _identities(**parts: object) -> dict[str, str]:
    """The identities of those parts that have one."""
    found = {name: getattr(part, "identity", None) for name, part in parts.items()}
    return {name: str(identity) for name, identity in found.items() if identity is not None}


def _key(name: str, settings: dict[str, Any], inputs: Mapping[str, str], seed: int) -> store.StepKey:
    return store.StepKey(
        version=STEP_VERSIONS[name], settings=settings, inputs=dict(inputs), seed=seed, libraries=versions.relevant()
    )


def assemble(experiment: Experiment, arm: str) -> Parts:
    """Builds every part that the arm names."""
    plan = experiment.arm(arm)
    trainer = {**plan.training.model_dump(exclude={"start"}), "lora": plan.training.lora}
    return Parts(
        plan=plan,
        common=experiment.synthesis,
        corpus=registry.build("corpus", plan.corpus),
        common_corpus=registry.build("corpus", experiment.corpus),
        prompts=registry.build("prompts", plan.arm.prompts, **plan.prompting),
        pool=[registry.build("pool", spec) for spec in plan.pool],
        objective=registry.build("objective", plan.arm.objective),
        after_training=[registry.build("after_training", spec) for spec in plan.arm.after_training],
        trainer=registry.build("trainer", trainer, threads=plan.model.threads, device=plan.model.device),
        questions=[registry.build("questions", spec) for spec in plan.evaluation.questions],
        formats=[registry.build("format", spec, preset=plan.evaluation.preset) for spec in plan.evaluation.formats],
    )

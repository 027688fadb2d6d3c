"""The experiment: its file, and what one arm of it resolves to. pydantic stands at the file's edge; the sections of the
file are in `sections.py`.

`Experiment(...)` in Python and `load("file.toml")` give the same value; unknown keys are errors that name the
nearest known one; `-o training.epochs=1` overrides before validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from factfade import paths, records, registry
from factfade.sections import (
    About,
    Arm,
    ContrastSection,
    EvaluationSection,
    ModelSection,
    PartTable,
    Section,
    StagesSection,
    SynthesisSection,
    TrainingSection,
)
from factfade.settings_file import merged, read_toml, readable, to_toml, validated

__all__ = ["Experiment", "load", "parse", "read_toml", "to_toml", "validated"]

ARM_SECTIONS = ("corpus", "synthesis", "training")


class Experiment(Section):
    """The whole spec. `run(Experiment(...))` equals `factfade run FILE.toml`."""

    experiment: About = About()
    model: ModelSection = ModelSection()
    corpus: PartTable = Field(default={"kind": "world"})
    synthesis: SynthesisSection = SynthesisSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    stages: StagesSection = StagesSection()
    contrast: ContrastSection | None = None
    arms: dict[str, Arm] = Field(
        default={"human_only": Arm(synthetic_fraction=0.0), "general": Arm(synthetic_fraction=1.0)}, min_length=1
    )

    @model_validator(mode="after")
    def _arms(self) -> Experiment:
        for name, arm in self.arms.items():
            if not paths.is_name(name) or name.startswith("generation-"):
                raise ValueError(f"arm {name!r}: a name is lower-case letters, digits, '_' and '-', at most 64")
            if arm.control is not None and arm.control not in self.arms:
                raise ValueError(f"arm {name!r}: control {arm.control!r} is no arm of this file")
            self.arm(name)
        if self.contrast is not None:
            self._contrast(self.contrast)
        wrong = [g for g in self.evaluation.generations or () if g > self.experiment.generations]
        if wrong:
            raise ValueError(f"evaluation.generations names {wrong[0]}, beyond experiment.generations")
        return self

    def _contrast(self, contrast: ContrastSection) -> None:
        unknown = [name for name in (contrast.baseline, *contrast.arms) if name not in self.arms]
        if unknown:
            raise ValueError(f"contrast: {unknown[0]!r} is no arm of this file")
        if contrast.baseline in contrast.arms:
            raise ValueError(f"contrast: {contrast.baseline!r} is compared with itself")
        kinds = {str(table.get("kind")) for table in self.evaluation.formats}
        missing = [name for name in contrast.formats if name not in kinds]
        if missing:
            raise ValueError(f"contrast: the format {missing[0]!r} is not evaluated")

    def arm(self, name: str) -> ArmPlan:
        """What one arm resolves to: the common sections with its overrides."""
        arm = self.arms[name]
        corpus = dict(arm.corpus) if "kind" in arm.corpus else {**self.corpus, **arm.corpus}
        sections: dict[str, Any] = {}
        for section, over in (("synthesis", arm.synthesis), ("training", arm.training)):
            base: Section = getattr(self, section)
            try:
                sections[section] = type(base).model_validate(merged(base.model_dump(), over))
            except ValidationError as error:
                raise readable(error, type(base), f"arms.{name}.{section}") from error
        return ArmPlan(
            name=name,
            arm=arm,
            about=self.experiment,
            model=self.model,
            corpus=corpus,
            evaluation=self.evaluation,
            stages=self.stages,
            **sections,
        )

    def evaluated(self) -> tuple[int, ...]:
        """The generations that are evaluated: the named ones, 0 and the last."""
        last = self.experiment.generations
        named = self.evaluation.generations
        return tuple(sorted({0, last, *(range(last + 1) if named is None else named)}))

    def control_of(self, name: str) -> str | None:
        """The arm's own control: the named one, else the only arm of human text with the same corpus and prompts.

        An arm whose pool parts change its human text (token editing) is no control, and may have one.
        """
        arm = self.arms[name]
        if arm.control is not None or (arm.synthetic_fraction == 0.0 and not arm.pool):
            return arm.control
        plan = self.arm(name)
        own = [
            other
            for other, o in self.arms.items()
            if o.synthetic_fraction == 0.0
            and not o.pool
            and o.prompts == arm.prompts
            and self.arm(other).corpus == plan.corpus
            and self.arm(other).training == plan.training
        ]
        return own[0] if len(own) == 1 else None

    def twins(self) -> dict[str, str]:
        """Arms with a changed shard of human text, and the one arm beside each that is otherwise the same."""
        found: dict[str, str] = {}
        for name, arm in self.arms.items():
            if arm.prompts.get("kind") != "shard_changed":
                continue
            domain = arm.prompts.get("domain")
            prompts = {"kind": "domain", "domain": domain} if domain else {"kind": "general"}
            same = arm.model_copy(update={"prompts": prompts})
            others = [other for other, one in self.arms.items() if one == same]
            found |= {name: others[0]} if others else {}
        return found

    def resolved(self) -> dict[str, Any]:
        """Plain data of the whole spec, defaults filled in: what is recorded and hashed."""
        return self.model_dump(mode="json")

    @property
    def sha256(self) -> str:
        return records.sha256_text(records.canonical_json(self.resolved()))

    def check_parts(self) -> None:
        """Builds every named part once, so that a wrong name or setting fails before anything is loaded."""
        registry.find("model", self.model.kind)
        for spec in self.evaluation.questions:
            registry.build("questions", spec)
        for spec in self.evaluation.formats:
            registry.build("format", spec)
        for name in self.arms:
            plan = self.arm(name)
            registry.find("trainer", plan.training.kind)
            registry.build("corpus", plan.corpus)
            registry.build("prompts", plan.arm.prompts, **plan.prompting)
            registry.build("objective", plan.arm.objective)
            for group, specs in (("pool", plan.pool), ("after_training", plan.arm.after_training)):
                for spec in specs:
                    registry.build(group, spec)


class ArmPlan(Section):
    """One arm with every section resolved."""

    name: str
    arm: Arm
    about: About
    model: ModelSection
    corpus: dict[str, Any]
    synthesis: SynthesisSection
    training: TrainingSection
    evaluation: EvaluationSection
    stages: StagesSection

    @property
    def pool(self) -> tuple[dict[str, Any], ...]:
        """The pool parts in order: the workflow's shorthand first, then the named ones."""
        return ({"kind": self.arm.workflow}, *self.arm.pool)

    @property
    def prompting(self) -> dict[str, Any]:
        """What a prompts part is offered beside its own settings."""
        return {
            "prompt_tokens": self.synthesis.prompt_tokens,
            "new_tokens": self.synthesis.new_tokens,
            "synthetic_fraction": self.arm.synthetic_fraction,
        }


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Reads an experiment file and applies `section.key=value` overrides. Raises ConfigError with what to type."""
    data = read_toml(path)
    data.setdefault("experiment", {})
    if isinstance(data["experiment"], dict):
        data["experiment"].setdefault("name", paths.slug(Path(path).stem))
    return parse(data, overrides, where=str(path))


def parse(data: dict[str, Any], overrides: Sequence[str] = (), *, where: str = "the experiment") -> Experiment:
    """An Experiment out of plain data. Every error names the field, the value and the nearest known key."""
    experiment = validated(Experiment, data, overrides, where=where)
    experiment.check_parts()
    return experiment

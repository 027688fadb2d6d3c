"""The settings of an audit: a TOML file of the experiment's own sections, flags over it, and what a base resolves.

    [audit]       its name
    [model]       how checkpoints are opened: dtype, device, chat, threads
    [corpus]      where the fixed prompts and the held-out texts come from (default: the embedded world's documents)
    [evaluation]  questions, formats, items, texts and prompts, as in an experiment
    [synthesis]   length of the prompts and of their continuations
    [stages]      the rule

`Experiment` does the rest: an audit is evaluated, judged and shown as an experiment of one arm, whose generations are
the checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from factfade import paths, registry
from factfade.auditfolder import SERIES
from factfade.config import Experiment, read_toml, to_toml, validated
from factfade.errors import ConfigError
from factfade.evidence_cache import same_tokenizer
from factfade.models.loading import WORLD, locate
from factfade.sections import (
    About,
    Arm,
    EvaluationSection,
    ModelSection,
    PartTable,
    Section,
    StagesSection,
    SynthesisSection,
)

QUICK_ITEMS = 100
QUICK_PROMPTS = 48
QUICK_TEXTS = 16
QUICK_FORMATS = ("multiple_choice", "short_answer")
SYNTHESIS = {"prompt_tokens", "new_tokens", "system", "through_end"}


class AuditSection(Section):
    """[audit]: its name, and whether `--quick` has bounded it."""

    name: str = "audit"
    quick: bool = False

    @model_validator(mode="after")
    def _safe(self) -> AuditSection:
        if not paths.is_name(self.name):
            raise ValueError("name must be lower-case letters, digits, '.', '_' and '-', at most 64")
        return self


class AuditSettings(Section):
    """Everything that an audit asks, whatever it is asked of. `resolved` fills in what depends on the base."""

    audit: AuditSection = AuditSection()
    model: ModelSection = ModelSection()
    corpus: PartTable = Field(default={"kind": "world"})
    synthesis: SynthesisSection = SynthesisSection()
    evaluation: EvaluationSection = EvaluationSection()
    stages: StagesSection = StagesSection()

    @model_validator(mode="after")
    def _of_checkpoints(self) -> AuditSettings:
        if self.evaluation.generations is not None:
            raise ValueError("evaluation.generations: an audit evaluates every checkpoint that it is given")
        return self

    def resolved(self, base: Path) -> AuditSettings:
        """The settings with the base's path, the question sets and the formats filled in.

        Without a question set: the embedded world's where the base reads text with the world's own tokenizer (so it is
        the shipped model or a descendant of it), else ConfigError. Without formats: those that a question pack names,
        else all. A chat model's own texts end where it ends them.
        """
        evaluation, synthesis = self.evaluation, self.synthesis
        if "questions" not in evaluation.model_fields_set and not same_tokenizer(base, locate(WORLD)):
            raise ConfigError(
                "no question set is named, and the base is not the embedded world's model",
                field="evaluation.questions",
                hint="--questions FILE.jsonl, or a folder of MMLU, or a question pack (.toml); "
                "--questions world asks the embedded world's facts of any model",
            )
        if "formats" not in evaluation.model_fields_set and (named := _pack_formats(evaluation.questions)):
            evaluation = _with(evaluation, formats=tuple({"kind": kind} for kind in named))
        if self.model.chat == "chat" and "through_end" not in synthesis.model_fields_set:
            synthesis = _with(synthesis, through_end=False)
        model = self.model.model_copy(update={"path": str(base)})
        found = self.model_copy(update={"model": model, "evaluation": evaluation, "synthesis": synthesis})
        return found.quickened() if found.audit.quick else found

    def quickened(self) -> AuditSettings:
        """Bounded to what fits a minute on a small model: fewer questions, formats, prompts and texts."""
        now = self.evaluation
        kept = [spec for spec in now.formats if spec.get("kind") in QUICK_FORMATS] or list(now.formats[:2])
        bounded = _with(
            now,
            formats=tuple(kept),
            items=min(now.items or QUICK_ITEMS, QUICK_ITEMS),
            prompts=min(now.prompts, QUICK_PROMPTS),
            texts=min(now.texts, QUICK_TEXTS),
        )
        return self.model_copy(update={"evaluation": bounded})

    def experiment(self) -> Experiment:
        """The audit as an experiment of one arm: what assembles the parts and makes the keys of the steps."""
        try:
            return Experiment(
                experiment=About(name=self.audit.name),
                model=self.model,
                corpus=self.corpus,
                synthesis=self.synthesis,
                evaluation=self.evaluation,
                stages=self.stages,
                arms={SERIES: Arm(synthetic_fraction=1.0)},
            )
        except ValueError as error:
            raise ConfigError(str(error), hint="see docs/audit.md") from error

    def data(self) -> dict[str, Any]:
        """Plain data, defaults filled in: what audit.toml holds and what must not change under it."""
        data = self.model_dump(mode="json")
        data["synthesis"] = self.synthesis.model_dump(mode="json", include=SYNTHESIS)
        data["evaluation"].pop("generations", None)
        return data

    def toml(self) -> str:
        """`data` as TOML; `load` of it gives the same settings."""
        return to_toml(self.data())


def _with(section: Any, **values: Any) -> Any:
    return type(section).model_validate({**section.model_dump(exclude_unset=True), **values})


def _pack_formats(questions: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The formats that the question packs name, each once."""
    found: dict[str, None] = {}
    for spec in questions:
        if spec.get("kind") == "pack":
            found |= dict.fromkeys(registry.build("questions", spec).formats())
    return tuple(found)


def load(
    file: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
) -> AuditSettings:
    """Settings out of a TOML file (or none), with the flags of the command line over it, then the overrides.

    `flags` are tables by section; a value of None is a flag that was not given. Errors name the field and what to type.
    """
    data: dict[str, Any] = {} if file is None else read_toml(file)
    for section, values in (flags or {}).items():
        given = {key: value for key, value in values.items() if value is not None}
        if given and isinstance(data.setdefault(section, {}), dict):
            data[section].update(given)
    return validated(AuditSettings, data, overrides, where=str(file) if file else "the audit's settings")


def question_spec(text: str) -> dict[str, Any]:
    """What `--questions` names: "world", a JSON Lines file, a question pack (.toml), or a folder of MMLU."""
    path = Path(text)
    if text == WORLD and not path.exists():
        return {"kind": "world"}
    if path.is_dir():
        return {"kind": "mmlu", "path": text}
    if path.suffix == ".toml" or is_pack(path):
        return {"kind": "pack", "path": text}
    return {"kind": "jsonl", "path": text}


def is_pack(path: Path) -> bool:
    """Whether a JSON Lines file begins with a pack's own line."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.readline(4096).lstrip(b"\xef\xbb\xbf \t").startswith((b'{"pack"', b'{ "pack"'))


def corpus_spec(text: str) -> dict[str, Any]:
    """What `--corpus` names: "world", a JSON Lines or parquet file, or a plain text."""
    if text == WORLD and not Path(text).exists():
        return {"kind": "world"}
    return {"kind": {".jsonl": "jsonl", ".parquet": "parquet"}.get(Path(text).suffix, "text"), "path": text}

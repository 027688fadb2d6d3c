"""The models of an audit: the base, opened once, and each checkpoint beside it or on it; what is put to them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factfade import evaluate
from factfade.assembly import Parts
from factfade.checkpoints import Checkpoint
from factfade.evidence_cache import Content
from factfade.material import Material
from factfade.models.lora import Held, attached
from factfade.protocols import Model, ModelSpec, Progress


class Named:
    """Progress that says which checkpoint it is about."""

    def __init__(self, inner: Progress, label: str) -> None:
        self._inner, self._label = inner, label

    def step(self, what: str, done: int, total: int) -> None:
        self._inner.step(f"{self._label}: {what}", done, total)


@dataclass(kw_only=True)
class Bench:
    """The models of an audit. The base is opened once, when it is first needed, and stays: it is every checkpoint's
    reference, and every adapter is put on it."""

    parts: Parts
    path: Path
    stack: ExitStack
    opened: Model | None = None
    materials: dict[tuple[Any, ...], Material] = field(default_factory=dict)

    def base(self) -> Model:
        """The base, open."""
        if self.opened is None:
            self.opened = self.stack.enter_context(self.parts.model(self.path).open())
        return self.opened

    @contextmanager
    def checkpoint(self, one: Checkpoint, content: Content) -> Generator[tuple[Model, ModelSpec | None]]:
        """A checkpoint, open, and the specification of what it is compared with."""
        base: Any = self.base()
        if one.kind == "adapter":
            with attached(base, one.path, name=str(one.path), identity=content.weights) as (model, reference):
                yield model, reference
        else:
            with self.parts.model(one.path).open() as whole:
                yield whole, Held(model=base)

    def material(self, model: Model) -> Material:
        """What is put to a model: made once for all that read and frame text alike."""
        facts = model.facts
        key = (
            model.context,
            *(str(facts[k]) for k in ("tokenizer_sha256", "template_sha256", "chat", "eos", "opening")),
        )
        if key not in self.materials:
            parts = self.parts
            self.materials[key] = evaluate.prepare(
                parts.plan.evaluation, parts.common, parts.questions, parts.formats, parts.common_corpus, model
            )
        return self.materials[key]

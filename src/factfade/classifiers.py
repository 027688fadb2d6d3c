"""A text classifier from a folder or a hub name, for parts that judge documents: safetensors only, opened in `with`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade.errors import UsageError
from factfade.identity import checkpoint_identity
from factfade.models.loading import Opened, load_tokenizer, load_weights, locate, look_through, pick_device, positions
from factfade.text import safe_text

CLASSIFIER = Opened(
    auto="AutoModelForSequenceClassification",
    called="a sequence classifier",
    refused="give a folder that AutoModelForSequenceClassification opens",
    lacking="give a classifier that was trained: a language model without a head for classes detects nothing",
)


@dataclass(frozen=True, kw_only=True)
class ClassifierSpec:
    """A sequence classifier that is not loaded yet. `label` is the name of the class that is asked about, as the
    model's id2label has it; `tokens` the longest text that is read, longer ones are cut."""

    path: str
    label: str
    revision: str | None = None
    batch: int = 16
    tokens: int = 512
    device: str = "auto"

    def folder(self) -> Path:
        """The folder of the weights (a hub name is fetched first)."""
        return locate(self.path, self.revision)

    @property
    def identity(self) -> str:
        """Hash of the weights and of what tells the classes apart."""
        return checkpoint_identity(self.folder())

    @contextmanager
    def open(self) -> Generator[Classifier]:
        """The classifier, in float32 and evaluation mode.

        Raises UnsafeArtifact and UsageError as loading a model does; UsageError where no class has the label.
        """
        folder = self.folder()
        look_through(folder)
        tokenizer = load_tokenizer(folder)
        net = load_weights(folder, dtype="float32", device=pick_device(self.device), kind=CLASSIFIER)
        names = {int(number): str(name) for number, name in (net.config.id2label or {}).items()}
        numbers = [number for number, name in names.items() if name == self.label]
        if len(numbers) != 1 or len(names) < 2:
            shown = ", ".join(safe_text(name, limit=40, keep="") for name in list(names.values())[:10])
            raise UsageError(
                f"{folder} has no single class {safe_text(self.label, limit=40, keep='')!r} among two or more",
                hint=f"name the class of synthetic text: one of {shown}",
            )
        limit = min(self.tokens, positions(net.config, tokenizer))
        # A model that finds the end of a text by its pad token cannot read several at once without one.
        batch = 1 if getattr(net.config, "pad_token_id", None) is None or tokenizer.pad_token is None else self.batch
        yield Classifier(net=net, tokenizer=tokenizer, number=numbers[0], batch=batch, tokens=limit)


@dataclass(kw_only=True)
class Classifier:
    """An open classifier. `cut` counts the texts that were longer than it reads."""

    net: Any
    tokenizer: Any
    number: int
    batch: int
    tokens: int
    cut: int = 0

    def log_others(self, texts: Sequence[str]) -> list[float]:
        """log(1 - P(label)) of every text, natural logarithm: exact also where P(label) rounds to 1."""
        import torch

        ids = [self.tokenizer(text, truncation=True, max_length=self.tokens)["input_ids"] for text in texts]
        # One place is kept free to see that a text is longer than what is read.
        self.cut += sum(len(one) == self.tokens and self._longer(text) for one, text in zip(ids, texts, strict=True))
        order = sorted(range(len(texts)), key=lambda place: (len(ids[place]), place))
        others = [number for number in range(self.net.config.num_labels) if number != self.number]
        found = [0.0] * len(texts)
        with torch.inference_mode():
            for at in range(0, len(order), self.batch):
                places = order[at : at + self.batch]
                logits = self._logits([ids[place] for place in places])
                values = torch.logsumexp(torch.log_softmax(logits, dim=-1)[:, others], dim=-1).tolist()
                for place, value in zip(places, values, strict=True):
                    found[place] = min(float(value), 0.0)
        return found

    def _logits(self, rows: Sequence[Sequence[int]]) -> Any:
        import torch

        width = max(1, *(len(row) for row in rows))
        pad = self.tokenizer.pad_token_id or 0
        filled = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=self.net.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self.net.device)
        return self.net(input_ids=filled, attention_mask=mask).logits.double()

    def _longer(self, text: str) -> bool:
        return len(self.tokenizer(text)["input_ids"]) > self.tokens

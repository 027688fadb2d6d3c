"""Sentence embeddings of passages and questions, by a local encoder in transformers format.

The folder is what `save_pretrained` writes: config.json, safetensors, a tokenizer. Code of its own and pickles are
refused. Vectors are the mean of the last hidden states over the tokens of the text; a folder of sentence-transformers
says in `1_Pooling/config.json` where it is the first token's instead. Vectors have length 1. Source of the pooling:
Reimers and Gurevych 2019 (arXiv 1908.10084).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factfade.domain.passages import Passage
from factfade.domain.ranking import Ranking, article_numbers, mixed
from factfade.domain.settings import EmbeddingSection
from factfade.domain.target import Source, Target
from factfade.errors import NotFound, UsageError
from factfade.identity import checkpoint_identity
from factfade.models.loading import Opened, load_tokenizer, load_weights, look_through, read_json

Vectors = NDArray[np.float64]
ENCODER = Opened(
    auto="AutoModel",
    called="an encoder",
    refused="give a folder that save_pretrained wrote, of a type that this transformers knows",
    lacking="save it again",
    # A pooler's head is trained for another purpose and is not used here.
    unused=("pooler",),
)


class Encoder:
    """An encoder, loaded."""

    def __init__(self, settings: EmbeddingSection) -> None:
        folder = Path(settings.folder or "").expanduser()
        if not folder.is_dir():
            raise NotFound(
                f"there is no folder {folder}", hint="give a local sentence encoder: -o embedding.folder=FOLDER"
            )
        look_through(folder)
        self.settings = settings
        self.pooling = _pooling(folder)
        self.identity = checkpoint_identity(folder)
        self._tokenizer = load_tokenizer(folder)
        self._net = load_weights(folder, dtype="float32", device="cpu", kind=ENCODER)
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        limit = getattr(self._net.config, "max_position_embeddings", None)
        self._tokens = min(settings.tokens, limit) if isinstance(limit, int) and limit > 0 else settings.tokens

    def encode(self, texts: Sequence[str]) -> Vectors:
        """(texts, width), rows of length 1. Texts are batched by length; more than `tokens` tokens are cut off."""
        import torch

        order = sorted(range(len(texts)), key=lambda number: (len(texts[number]), number))
        rows: dict[int, Any] = {}
        for start in range(0, len(order), self.settings.batch):
            part = order[start : start + self.settings.batch]
            batch = self._tokenizer(
                [texts[number] for number in part],
                padding=True,
                truncation=True,
                max_length=self._tokens,
                padding_side="right",
                return_tensors="pt",
            )
            with torch.inference_mode():
                states = self._net(
                    input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
                ).last_hidden_state.double()
            mask = batch["attention_mask"].double().unsqueeze(-1)
            first = self.pooling == "first"
            pooled = states[:, 0] if first else (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            rows |= dict(zip(part, pooled.numpy(), strict=True))
        found = np.stack([rows[number] for number in range(len(texts))]) if texts else np.zeros((0, 1))
        return unit(found)


class Embedded:
    """The search by embeddings: the passages, encoded once. A score is a cosine, mixed with its article's mean."""

    def __init__(
        self,
        passages: Sequence[Passage],
        settings: EmbeddingSection,
        encoder: Encoder | None = None,
        vectors: Vectors | None = None,
    ) -> None:
        self.passages = passages
        self.settings = settings
        self.encoder = encoder or Encoder(settings)
        self.articles = article_numbers(passages)
        self.vectors = self.encoder.encode([_shown(passage) for passage in passages]) if vectors is None else vectors

    def of(self, target: Target, source: Source) -> Ranking:
        """By the cosine with the mean vector of the topic and the questions; the topic counts as half of it."""
        texts = target.query_texts(source)
        topic = self.encoder.encode([target.topic])[0]
        asked = unit(self.encoder.encode(texts).mean(0)) if texts else topic
        return self._rank(unit(topic + asked), len(texts))

    def like(self, chosen: Sequence[int]) -> Ranking:
        """By the cosine with the mean vector of the chosen passages."""
        return self._rank(unit(self.vectors[list(chosen)].mean(0)), len(chosen))

    def kept(self, numbers: Sequence[int]) -> Embedded:
        """The same vectors, without those of the other passages."""
        held = [self.passages[number] for number in numbers]
        return Embedded(held, self.settings, self.encoder, self.vectors[list(numbers)])

    def _rank(self, query: Vectors, texts: int) -> Ranking:
        facts = {"texts": texts, "encoder": self.encoder.identity, "pooling": self.encoder.pooling}
        scores = mixed(self.vectors @ query, self.articles, self.settings.article_share)
        return Ranking(scores=np.round(scores, 6), facts=facts)


def unit(vectors: Vectors) -> Vectors:
    """Each vector divided by its length; a zero vector stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _shown(passage: Passage) -> str:
    above = " ".join(part for part in (passage.article, passage.heading) if part and part not in passage.text)
    return f"{above} {passage.text}".strip()


def _pooling(folder: Path) -> str:
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return "mean"
    said = {key for key, value in read_json(file).items() if key.startswith("pooling_mode_") and value is True}
    if said <= {"pooling_mode_mean_tokens"}:
        return "mean"
    if said == {"pooling_mode_cls_token"}:
        return "first"
    raise UsageError(f"{file} asks for a pooling that is not known here", hint="mean and cls_token are")

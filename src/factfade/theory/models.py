"""Models that have a theory, in the places of the transformer, its trainer and its corpus.

A document is `chains` numbers, one for each of as many independent recursions: number j of every document belongs to
chain j. So one run of the loop is `chains` repetitions of the experiment, and a generation of it n draws for each.
Weights are safetensors like any checkpoint's.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from factfade.errors import RunFailed
from factfade.identity import checkpoint_identity
from factfade.protocols import HeavyObjective, Model, Objective, Progress, Sources
from factfade.records import (
    Decoding,
    Document,
    Likeliest,
    Sampled,
    Scored,
    Trained,
    canonical_json,
    derived_seed,
    sha256_text,
)

WEIGHTS = "model.safetensors"
Values = NDArray[np.int64]
Weights = Mapping[str, NDArray[Any]]
UNIT = 2**20
"""A real number is stored as a token in units of 2^-20: the rounding adds a variance of 8e-14."""


class Family(Protocol):
    """A distribution with its maximum likelihood fit. `draw` gives (n, chains) tokens, `fit` takes them."""

    def truth(self, chains: int) -> dict[str, NDArray[Any]]: ...
    def draw(self, weights: Weights, n: int, random: np.random.Generator) -> Values: ...
    def fit(self, tokens: Values) -> dict[str, NDArray[Any]]: ...


@dataclass(frozen=True, kw_only=True)
class Categorical:
    """Symbols with the given probabilities; the fit is the observed frequencies (chains, symbols)."""

    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.shares) < 2 or min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError("shares are two or more positive numbers that sum to 1")

    def truth(self, chains: int) -> dict[str, NDArray[Any]]:
        """The shares, the same in every chain."""
        return {"shares": np.tile(np.asarray(self.shares), (chains, 1))}

    def draw(self, weights: Weights, n: int, random: np.random.Generator) -> Values:
        """n symbols of every chain."""
        upper = np.cumsum(weights["shares"], axis=1)
        # A sum that rounding left below 1 would now and then bring a symbol back that has died out.
        upper[upper > 1 - 1e-12] = 1.0
        uniform = random.random((n, len(upper)))
        return np.stack([np.searchsorted(row, u, side="right") for row, u in zip(upper, uniform.T, strict=True)], 1)

    def fit(self, tokens: Values) -> dict[str, NDArray[Any]]:
        """Observed frequencies."""
        counts = np.stack([(tokens == symbol).sum(0) for symbol in range(len(self.shares))], axis=1)
        return {"shares": counts / len(tokens)}


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Numbers from N(0, 1); the fit is the mean and the variance with 1/n, one of each for every chain."""

    def truth(self, chains: int) -> dict[str, NDArray[Any]]:
        """Mean 0 and variance 1 in every chain."""
        return {"mean": np.zeros(chains), "variance": np.ones(chains)}

    def draw(self, weights: Weights, n: int, random: np.random.Generator) -> Values:
        """n numbers of every chain, in units."""
        normal = random.standard_normal((n, len(weights["mean"])))
        return np.rint((weights["mean"] + np.sqrt(weights["variance"]) * normal) * UNIT).astype(np.int64)

    def fit(self, tokens: Values) -> dict[str, NDArray[Any]]:
        """Mean and 1/n variance."""
        values = tokens / UNIT
        return {"mean": values.mean(0), "variance": values.var(0)}


@dataclass(frozen=True, kw_only=True)
class TrueCorpus:
    """Human text: draws of the truth without end, another stream for every seed."""

    family: Family
    chains: int

    def check(self) -> Mapping[str, Any]:
        """There is nothing to read."""
        return {}

    def documents(self, *, split: str, seed: int) -> Iterator[tuple[str, str]]:
        """Documents of `chains` numbers each."""
        random = np.random.default_rng(derived_seed("theory", split, seed))
        truth = self.family.truth(self.chains)
        while True:
            for row in self.family.draw(truth, 64, random):
                yield " ".join(map(str, row.tolist())), ""

    @property
    def endless(self) -> bool:
        """Every seed has a stream of its own."""
        return True

    @property
    def identity(self) -> str:
        """Of the family and its settings."""
        return sha256_text(canonical_json(["theory", repr(self.family), self.chains]))


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """An open model: weights and their family. Implements `protocols.Model` as far as synthesis needs it.

    What it writes does not depend on the prompt: the recursion is in the weights alone, as the theory has it.
    """

    family: Family
    weights: Weights
    path: Path

    @property
    def identity(self) -> str:
        """Of the stored weights."""
        return checkpoint_identity(self.path)

    @property
    def context(self) -> int:
        """No text is too long."""
        return 2**31

    @property
    def facts(self) -> Mapping[str, Any]:
        """`trainings` is the number of fits behind these weights: 0 for the truth."""
        return {"eos": None, "chat": "raw", "template_sha256": "", "trainings": self.weights["trainings"].item()}

    def encode(self, text: str) -> list[int]:
        """Tokens are written as numbers."""
        return [int(word) for word in text.split()]

    def decode(self, tokens: Sequence[int]) -> str:
        """The tokens as numbers."""
        return " ".join(map(str, tokens))

    def prompt(self, text: str, *, system: str | None = None) -> list[int]:
        """The ids, unchanged."""
        return self.encode(text)

    def wrap(self, tokens: Sequence[int], *, system: str | None = None) -> list[int]:
        """The ids, unchanged."""
        return list(tokens)

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        new_tokens: int,
        decoding: Decoding,
        seed: int,
        stop: Sequence[str] = (),
        batch: int | None = None,
        padding: Literal["left", "right"] = "left",
        through_end: bool = False,
    ) -> list[Sampled]:
        """A document for every prompt: one draw of every chain's model."""
        if not prompts:
            return []
        drawn = self.family.draw(self.weights, len(prompts), np.random.default_rng(seed))
        if new_tokens != drawn.shape[1] or decoding != Decoding():
            raise RunFailed("a model of the theory writes one plain draw of every chain", hint="report this as a bug")
        return [Sampled(tokens=tuple(row.tolist()), ended=False, logprob=0.0) for row in drawn]

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        *,
        batch_tokens: int | None = None,
    ) -> list[list[Scored]]:
        """It is asked nothing."""
        return [[] for _ in prompts]

    def ask(
        self,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        *,
        new_tokens: int,
        stop: Sequence[str] = (),
        batch_tokens: int | None = None,
    ) -> list[tuple[list[Scored], Sampled]]:
        """It is asked nothing."""
        return [([], Sampled(tokens=(), ended=True, logprob=0.0)) for _ in prompts]

    def nll(self, texts: Sequence[Sequence[int]], *, batch_tokens: int | None = None) -> list[tuple[float, int]]:
        """No text is put to it."""
        return [(0.0, 0) for _ in texts]

    def likeliest(
        self, texts: Sequence[Sequence[int]], *, k: int, at_least: float = 0.0, batch_tokens: int | None = None
    ) -> list[list[Likeliest]]:
        """No text is put to it."""
        return [[] for _ in texts]


@dataclass(frozen=True, kw_only=True)
class FittedSpec:
    """A stored model, not open yet."""

    family: Family
    path: Path

    @contextmanager
    def open(self) -> Generator[Model]:
        """The model, read from its folder."""
        yield Fitted(family=self.family, weights=read(self.path), path=self.path)

    def folder(self) -> Path:
        """Where the weights are."""
        return self.path


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A trainer that fits its documents from scratch: the maximum likelihood of the family.

    Its record counts what it was given as "human" and "synthetic-h" by the generation h of the model that wrote it.
    """

    family: Family

    def train(
        self,
        start: Path,
        documents: Sequence[Document],
        objective: Objective | HeavyObjective,
        *,
        out: Path,
        seed: int,
        progress: Progress,
        sources: Sources | None = None,
    ) -> Trained:
        """Writes the fit of the documents to `out`, one training older than `start`."""
        if not documents or any(document.tokens is None or document.weight != 1 for document in documents):
            raise RunFailed("a fit takes documents of tokens with weight 1", hint="report this as a bug")
        tokens = np.array([document.tokens for document in documents], dtype=np.int64)
        weights = self.family.fit(tokens)
        write(out, {**weights, "trainings": read(start)["trainings"] + 1})
        given: dict[str, int] = {}
        for document in documents:
            name = "human" if document.source == "human" else f"synthetic-{document.generation}"
            given[name] = given.get(name, 0) + 1
        progress.step("train", 1, 1)
        return Trained(
            identity=checkpoint_identity(out), steps=1, tokens=tokens.size, losses=(), record={"documents": given}
        )


def read(folder: Path) -> dict[str, NDArray[Any]]:
    """The weights of a checkpoint's folder."""
    from safetensors.numpy import load_file

    return load_file(folder / WEIGHTS)


def write(folder: Path, weights: Weights) -> None:
    """A checkpoint's folder with the weights."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(values) for name, values in weights.items()}, folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps({"model_type": "theory"}), encoding="utf-8")

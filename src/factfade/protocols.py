"""Every seam of factfade, on one page. A part implements one of these; `registry.py` finds it by (group, kind).

A light part is its own configuration: a frozen keyword-only dataclass whose fields are its knobs and whose one
method is the work. A heavy part (weights) is a small spec that opens into a live object inside `with`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:  # types only: these modules are heavy
    import pandas as pd
    import torch

    from factfade.records import (
        Asked,
        Block,
        Claim,
        Decoding,
        Document,
        Likeliest,
        Mixed,
        Parsed,
        Question,
        Sampled,
        Scored,
        Stated,
        Trained,
    )
    from factfade.verdicts import ScoreRow


@runtime_checkable
class Corpus(Protocol):
    """Human text. `documents` yields (text, domain) in a fixed order for a seed; split is "train" or "held_out".

    The stream may be endless (a generated world) or end (a file); it never repeats a document within a split
    unless it says so in `identity`. `check` reads everything that can be malformed before any model is loaded.
    """

    def check(self) -> Mapping[str, Any]: ...
    def documents(self, *, split: str, seed: int) -> Iterator[tuple[str, str]]: ...
    @property
    def endless(self) -> bool:
        """True where every seed gives another stream without end (a generated world); False for a file."""
        ...

    @property
    def identity(self) -> str:
        """Hash of the content (files' SHA-256, table and code version of a generated one)."""
        ...


@runtime_checkable
class Questions(Protocol):
    """A set of questions. `dev` are solved examples for few-shot prompts: never tested items."""

    def check(self) -> Mapping[str, Any]: ...
    def items(self) -> Sequence[Question]: ...
    def dev(self) -> Sequence[Question]: ...
    @property
    def identity(self) -> str: ...


@runtime_checkable
class Format(Protocol):
    """An instruction format: puts a question, and reads a free answer."""

    @property
    def name(self) -> str: ...
    def ask(self, question: Question, *, dev: Sequence[Question], seed: int) -> Sequence[Asked]:
        """One `Asked` per wording; an `Asked` with `not_asked` set where the question does not suit the format."""
        ...

    def parse(self, answer: str, asked: Asked, *, ended: bool) -> Parsed: ...


@runtime_checkable
class Model(Protocol):
    """A causal language model, open. Token ids in and out; text only through `encode`, `decode` and `prompt`."""

    @property
    def context(self) -> int: ...
    @property
    def identity(self) -> str: ...
    @property
    def facts(self) -> Mapping[str, Any]:
        """What the record needs: path, class, parameters, dtype, device, tokenizer and template hashes, pad, bos."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of raw text, no special tokens."""
        ...

    def decode(self, tokens: Sequence[int]) -> str: ...
    def prompt(self, text: str, *, system: str | None = None) -> list[int]:
        """Ids of a prompt: chat template applied where the run says chat, exactly one BOS where the model has one."""
        ...

    def wrap(self, tokens: Sequence[int], *, system: str | None = None) -> list[int]:
        """Ids of a prompt that is given as ids (a human block): the rules of `prompt`, the ids unchanged if raw."""
        ...

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
        """Continuations in the order of the prompts. `padding="right"` replicates a published artefact."""
        ...

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        *,
        batch_tokens: int | None = None,
    ) -> list[list[Scored]]:
        """log p(continuation | prompt) in float32, one prompt pass shared by its continuations."""
        ...

    def ask(
        self,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        *,
        new_tokens: int,
        stop: Sequence[str] = (),
        batch_tokens: int | None = None,
    ) -> list[tuple[list[Scored], Sampled]]:
        """`score`, and the greedy continuation of every prompt: both out of one prompt pass where the model can."""
        ...

    def nll(self, texts: Sequence[Sequence[int]], *, batch_tokens: int | None = None) -> list[tuple[float, int]]:
        """Sum of negative log-likelihoods of each text and the number of its predicted tokens."""
        ...

    def likeliest(
        self, texts: Sequence[Sequence[int]], *, k: int, at_least: float = 0.0, batch_tokens: int | None = None
    ) -> list[list[Likeliest]]:
        """Of each text the tokens whose own probability is `at_least` or more, with the `k` likeliest tokens there.
        Probabilities in float32; the first token as in `nll`."""
        ...


@runtime_checkable
class ModelSpec(Protocol):
    """A model that is not loaded yet: opens into a `Model`, gives everything back on exit."""

    def open(self) -> AbstractContextManager[Model]: ...
    def folder(self) -> Path:
        """The folder of the weights on this machine (a hub name is fetched first, where the user named one)."""
        ...


@runtime_checkable
class Prompts(Protocol):
    """Which human blocks the model is asked to continue in a generation, and what it is shown before them."""

    def blocks(self, history: History, *, count: int, generation: int, seed: int) -> Sequence[Block]: ...


@runtime_checkable
class Pool(Protocol):
    """Human and synthetic documents in, weighted documents out, with requested and achieved counts.

    `documents` is what the parts before it passed on; the first part gets the generation's human documents and
    all completions of this generation. Earlier synthetic text comes from `history`, and so do models to score with.

    A part may have `identity` (a hash of the files it reads: it goes into the step's key) and `reads_evidence = True`
    (it looks at earlier evidence, which then goes into the key too).
    """

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed: ...


@runtime_checkable
class Objective(Protocol):
    """A loss. `loss` returns the SUM over target tokens and the normaliser, so that gradient accumulation is right.

    `logits` (batch, position, vocabulary) and `labels` (batch, position) are already shifted: logits[:, t] predict
    labels[:, t]; -100 is ignored. Logs (plain floats) are averaged into the training record.
    """

    def loss(
        self, logits: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]: ...


@runtime_checkable
class HeavyObjective(Protocol):
    """A loss that needs more than logits and labels: another model, held-out text, questions.

    It opens into a `LiveObjective` for one training and gives everything back on exit.
    """

    def open(self, bench: Bench) -> AbstractContextManager[LiveObjective]: ...


class LiveObjective(Protocol):
    """An opened `HeavyObjective`. Returns what `Objective.loss` returns, for one micro-batch.

    `ids` (batch, position + 1) are the inputs whose logits and labels these are, unshifted; a filled-up place has the
    label -100. `step` counts optimizer steps from 0.
    """

    def step_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, *, ids: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]: ...


class Sources(Protocol):
    """What the loop offers a trainer beside the documents: none of it is ever asked in the evaluation."""

    @property
    def base(self) -> Path:
        """Folder of the run's start model, generation 0."""
        ...

    def held_out(self, encode: Callable[[str], Sequence[int]], *, count: int, tokens: int) -> Sequence[tuple[int, ...]]:
        """Up to `count` human texts of the arm's held-out split, cut to `tokens` ids; shorter ones are passed over."""
        ...

    def dev(self) -> Sequence[Question]:
        """Solved examples of the question sets: never tested items."""
        ...

    def format(self, kind: str) -> Format:
        """An instruction format by name, as the arm is evaluated with it where it is."""
        ...


class Bench(Protocol):
    """One training as a heavy objective sees it."""

    @property
    def net(self) -> Any:
        """The network that is trained, as transformers opens it."""
        ...

    @property
    def sources(self) -> Sources: ...
    @property
    def device(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def steps_per_epoch(self) -> int: ...
    def base(self) -> Any:
        """The run's start model, for reading: no gradient, in evaluation mode, on the device of the training."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of raw text, no special tokens."""
        ...

    def prompt(self, text: str) -> list[int]:
        """Ids of a prompt as the evaluation puts it raw: exactly one BOS where the model has one."""
        ...

    def continued(self, prompt: str, target: str) -> tuple[list[int], list[int]]:
        """Ids of a raw prompt, and of a target as it stands after it: those that the evaluation scores."""
        ...


@runtime_checkable
class FactTable(Protocol):
    """Facts that are trusted without asking a model: what text is anchored in, and what it is checked against."""

    @property
    def identity(self) -> str:
        """Hash of the table's content and of the code that reads it."""
        ...

    def statements(self) -> Sequence[Stated]:
        """Every fact as a sentence."""
        ...

    def judge(self, text: str) -> Sequence[Claim]:
        """The claims that a text makes about the table's facts, in their order."""
        ...


@runtime_checkable
class AfterTraining(Protocol):
    """Changes the weights of a checkpoint folder after training (recovery, merging). Returns its record."""

    def apply(self, checkpoint: Path, history: History) -> Mapping[str, Any]: ...


@runtime_checkable
class Trainer(Protocol):
    """Trains `start` on the documents and writes a checkpoint folder to `out`."""

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
    ) -> Trained: ...


@runtime_checkable
class Metric(Protocol):
    """A pure function from stored tables to scores; it never touches a model."""

    @property
    def name(self) -> str: ...
    def scores(
        self, evidence: pd.DataFrame, fluency: pd.DataFrame, completions: pd.DataFrame
    ) -> Sequence[ScoreRow]: ...


@runtime_checkable
class Launcher(Protocol):
    """Runs the (arm, seed) pairs of the experiment in folder `root`; returns the failures; one stops no other."""

    def launch(
        self, root: Path, runs: Sequence[tuple[str, int]], *, generations: int, allow: Sequence[str] = ()
    ) -> Sequence[Mapping[str, Any]]: ...


class History(Protocol):
    """The past of a run, read-only.

    `generation` says everywhere whose training the text was made for: `completions(generation=3)` trained model 3
    and were written by model 2. Only generations up to `generation` may be asked for.
    """

    @property
    def generation(self) -> int: ...
    def human(self, *, generation: int, replaced: bool = False) -> Sequence[Document]:
        """Human documents of a generation; `replaced` adds those of blocks that a completion stood in for."""
        ...

    def completions(self, *, generation: int) -> Sequence[Document]: ...
    def checkpoint(self, *, generation: int) -> Path: ...
    def model(self, *, generation: int | None = None) -> ModelSpec:
        """A checkpoint as a model to open; without a generation the one that this generation's training starts from."""
        ...

    def evidence(self, *, generation: int) -> pd.DataFrame | None:
        """The stored evidence of an earlier generation; None where it is not evaluated."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of raw text, in steps where a model is open (synthesis)."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ids, in steps where a model is open (synthesis)."""
        ...

    def room(self, tokens: Sequence[int]) -> int:
        """Positions of the open model that are left behind a prompt of these ids (synthesis)."""
        ...

    def blocks(self, *, count: int, generation: int, seed: int, domain: str | None = None) -> Sequence[Block]: ...


class Progress(Protocol):
    """Where long work says how far it is. Implemented for terminals, pipes, and child processes."""

    def step(self, what: str, done: int, total: int) -> None: ...


SEAMS: dict[str, type] = {
    "corpus": Corpus,
    "questions": Questions,
    "format": Format,
    "model": ModelSpec,
    "prompts": Prompts,
    "pool": Pool,
    "objective": Objective,
    "after_training": AfterTraining,
    "trainer": Trainer,
    "metric": Metric,
    "launcher": Launcher,
}

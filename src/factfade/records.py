"""The values that flow through factfade and the tables that are stored: `docs/evidence.md` in code.

Everything here is frozen plain data. Nothing in this module imports more than the standard library, so every
room may use it. Natural logarithms everywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

SCHEMA_VERSION = 1

Outcome = Literal["correct", "wrong", "unparseable", "empty", "truncated", "refused", "not_asked"]
OUTCOMES: tuple[Outcome, ...] = ("correct", "wrong", "unparseable", "empty", "truncated", "refused", "not_asked")
PARSEABLE: frozenset[str] = frozenset({"correct", "wrong"})
# Formats that probe one question from several sides. They are read by their own diagnostics and enter no stage.
PROBES: frozenset[str] = frozenset({"cue_recovery", "knowledge_retention", "attribution"})

# ---------------------------------------------------------------------------------------------------------------
# Stored tables. Type names are Arrow's; `tables.py` turns them into schemas. The first columns are the key.

EVIDENCE_KEY = ("lineage", "seed", "generation", "item", "format", "wording")
EVIDENCE_COLUMNS: dict[str, str] = {
    "lineage": "string",
    "seed": "int64",
    "generation": "int64",
    "item": "string",
    "format": "string",
    "wording": "string",
    "checkpoint": "string",
    "step": "int64",
    "domain": "string",
    "entity": "string",
    "template": "string",
    "options": "list<string>",
    "permutation": "list<int64>",
    "gold": "int64",
    "accepted": "list<string>",
    "option_logprob": "list<float64>",
    "option_tokens": "list<int64>",
    "choice": "int64",
    "choice_correct": "bool",
    "choice_greedy": "bool",
    "choice_confidence": "float64",
    "answer": "string",
    "outcome": "string",
    "answer_confidence": "float64",
    "reason": "string",
    "prompt_sha256": "string",
    "template_sha256": "string",
}
EVIDENCE_REQUIRED = EVIDENCE_KEY

FLUENCY_KEY = ("lineage", "seed", "generation", "text", "kind")
FLUENCY_COLUMNS: dict[str, str] = {
    "lineage": "string",
    "seed": "int64",
    "generation": "int64",
    "text": "string",
    "kind": "string",
    "domain": "string",
    "tokens": "int64",
    "nll": "float64",
}
FLUENCY_KINDS = ("held_out", "own", "own_under_start")

COMPLETIONS_KEY = ("lineage", "seed", "generation", "prompt")
COMPLETIONS_COLUMNS: dict[str, str] = {
    "lineage": "string",
    "seed": "int64",
    "generation": "int64",
    "prompt": "string",
    "completion": "string",
    "tokens": "int64",
    "ended": "bool",
    "empty": "bool",
    "near_constant": "bool",
    "repetitive": "bool",
    "duplicate": "bool",
    "weight": "float64",
    "dropped_by": "string",
    # Beyond the public schema: the sampled ids, so that training sees exactly what was sampled.
    "token_ids": "list<int64>",
}


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spare blanks: equal values give equal text, so hashes of it are identities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)  # type: ignore[type-var]
    if isinstance(value, tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no canonical JSON")


def sha256_text(text: str) -> str:
    """Hex SHA-256 of the UTF-8 bytes; lone surrogates are kept as such and never raise."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def derived_seed(*parts: Any) -> int:
    """A 63-bit seed from any tuple of plain values (run seed, role, generation, item ...).

    Seeds are derived by hashing, never by counting, so order and parallelism do not matter.
    """
    digest = hashlib.sha256(canonical_json(list(parts)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


# ---------------------------------------------------------------------------------------------------------------
# Questions and what is put to the model


@dataclass(frozen=True, kw_only=True)
class Question:
    """One fact that is asked, before any format is applied.

    `text` is the question ("What is the capital of Peru?"). `choices` are the options in canonical order (empty
    for an open question) and `answer` indexes them. `accepted` are the answers that count as right when the
    model answers freely; `candidates` is the relation's own answer set where it is known (then an answer outside
    it is `unparseable` when `closed`). `statement` is the fact as a text to complete ("The capital of Peru is").
    `wordings` may override text or statement by wording id, `texts` of evaluation being drawn from it.
    `entity`, `template` and `domain` are the clusters of the statistics.
    """

    text: str
    choices: tuple[str, ...] = ()
    answer: int | None = None
    accepted: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    closed: bool = False
    statement: str | None = None
    domain: str = ""
    entity: str = ""
    template: str = ""
    source: str = ""

    @cached_property
    def item(self) -> str:
        """The item id: hash of the canonical record (never a row number). Equal in every format and wording."""
        record = asdict(self)
        record.pop("source")
        return sha256_text(canonical_json(record))[:16]

    @property
    def gold_text(self) -> str | None:
        """The right answer's text: the right choice, else the first accepted answer."""
        if self.answer is not None and self.choices:
            return self.choices[self.answer]
        return self.accepted[0] if self.accepted else None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question in one format and wording, exactly as it is put to the model.

    `targets` are the continuations whose log-probability is scored, one per option (a letter, or the option's
    text, each with its leading blank); `rule` says whether the choice is the largest `sum` or the largest
    `mean` per token. `options` are the texts in the order shown (or the candidate set), `permutation[i]` the
    original index of option i, `gold` the index into `options` of the right one (None when there is none).
    `stop` ends a free answer.
    """

    item: str
    format: str
    wording: str
    prompt: str
    targets: tuple[str, ...]
    options: tuple[str, ...]
    permutation: tuple[int, ...]
    gold: int | None
    accepted: tuple[str, ...]
    rule: Literal["sum", "mean"] = "sum"
    closed: bool = False
    stop: tuple[str, ...] = ("\n",)
    domain: str = ""
    entity: str = ""
    template: str = ""
    not_asked: str | None = None
    system: str | None = None


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a free answer came to: its outcome and how it was read (or why it could not be)."""

    outcome: Outcome
    reason: str = ""


# ---------------------------------------------------------------------------------------------------------------
# Text


@dataclass(frozen=True, kw_only=True)
class Document:
    """A piece of text that may be trained on.

    `source` is "human" or "synthetic"; `tokens` are the ids under the run's tokenizer when known (synthetic
    documents keep the ids that were sampled); `origin` is the prompt or block id, `generation` the generation of
    the model that wrote a synthetic one. `weight` 0 means dropped, by the part named in `dropped_by`.
    """

    id: str
    text: str
    source: Literal["human", "synthetic"]
    tokens: tuple[int, ...] | None = None
    origin: str = ""
    domain: str = ""
    generation: int | None = None
    weight: float = 1.0
    dropped_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A run of `block_tokens` human tokens: its head is the prompt, its tail the human document it could be.

    `source` is "synthetic" where the tokens are a model's own text that is continued: such a block is a prompt only.
    `anchor` is put before the prompt when the block is continued, and is never trained on; `facts` are the ids of the
    trusted facts that it states.
    """

    id: str
    tokens: tuple[int, ...]
    domain: str = ""
    source: Literal["human", "synthetic"] = "human"
    anchor: tuple[int, ...] = ()
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A trusted fact as a sentence. `fact` is its id; `entity` is the name that a text is matched by."""

    fact: str
    text: str
    entity: str = ""
    domain: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a text says about one fact of a table: its id, the sentence, and whether it agrees with the table.

    The sentence is the text from character `start` on.
    """

    fact: str
    sentence: str
    right: bool
    start: int = 0


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Sampling settings, always explicit, never inherited from a model's generation_config. temperature 0 = greedy."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """One continuation: its token ids (the end token not included), whether it stopped by itself, and the sum of
    the log-probabilities of its tokens (the end token's included when it ended) under the model at temperature 1."""

    tokens: tuple[int, ...]
    ended: bool
    logprob: float


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A continuation under a model: sum of token log-probabilities (nats), their number, and whether every token
    is the argmax of its position (the token-wise greedy path)."""

    logprob: float
    tokens: int
    greedy: bool


@dataclass(frozen=True, kw_only=True)
class Likeliest:
    """A token of a text as a model foresees it: its place, its probability given the tokens before it, and the
    likeliest tokens there with their probabilities, the likeliest first."""

    place: int
    probability: float
    tokens: tuple[int, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """What a Pool part returns: the documents, with the counts it was asked for and those it achieved.

    `dropped` counts by reason the documents that came in and did not go on. `costs` are what the part did beside
    training, by the names of `COSTS`, equal in equal runs (seconds are measured by the loop).
    """

    documents: tuple[Document, ...]
    requested: Mapping[str, float] = field(default_factory=dict)
    achieved: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)


#: What a mitigation may cost beside training: tokens that a model read to score text or wrote anew, calls of a
#: verifier, and documents that a detector read.
COSTS = ("scored_tokens", "synthesized_tokens", "verifier_calls", "detector_calls")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training came to: the identity of the new checkpoint and the counts of the record.

    `tokens` are the target tokens trained on, over all epochs; `losses` are per optimizer step, in nats per
    normaliser of the objective. `record` is equal in equal trainings; `times` (seconds) is not.
    """

    identity: str
    steps: int
    tokens: int
    losses: tuple[float, ...]
    record: Mapping[str, Any] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)  # seconds and bytes: kept apart, since they vary

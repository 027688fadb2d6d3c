"""What is put to every generation, prepared once: questions in every format, held-out texts, fixed prompts.

Nothing here depends on a generation, an arm or a run seed: it is made from the questions, the corpus, the evaluation
settings and the tokenizer, so evidence is paired by item across all of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from random import Random
from typing import Any

from factfade.data.blocks import block_id, cut
from factfade.errors import ConfigError, DataError
from factfade.models.prompting import continuation, last_word, moved_blank
from factfade.protocols import Corpus, Format, Model, Questions
from factfade.records import Asked, Question, canonical_json, derived_seed
from factfade.sections import EvaluationSection, SynthesisSection
from factfade.text import safe_text

# A corpus that ends is read up to this many blocks, or this many times those that are wanted, and drawn from there.
MIN_READ, READ_FACTOR = 5000, 50


@dataclass(frozen=True, kw_only=True)
class Put:
    """One question in one format and wording, in token ids. `reason` says why it is not asked ("" when it is)."""

    asked: Asked
    question: str
    prompt: tuple[int, ...] = ()
    targets: tuple[tuple[int, ...], ...] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class FixedText:
    """A run of held-out human tokens: a text whose likelihood is measured, or a prompt that is continued."""

    id: str
    tokens: tuple[int, ...]
    domain: str


@dataclass(frozen=True, kw_only=True)
class Material:
    """What is put to every generation.

    `puts` are the questions by format, each in the order of `items` (sorted ids). `counts` says what was requested
    and what became of it. `identity` is the hash of all of it.
    """

    items: tuple[str, ...]
    puts: Mapping[str, tuple[Put, ...]]
    formats: Mapping[str, Format]
    texts: tuple[FixedText, ...]
    prompts: tuple[FixedText, ...]
    new_tokens: int
    system: str | None
    through_end: bool
    counts: Mapping[str, Any]

    @cached_property
    def identity(self) -> str:
        """Hash of every prompt, option and text, in ids and in words."""
        digest = hashlib.sha256()
        for part in self._canonical():
            digest.update(part.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _canonical(self) -> Iterator[str]:
        """The canonical JSON of [items, puts by format, fixed texts, settings], piece by piece: the whole of it at
        once is many times what the questions take."""
        yield f"[{canonical_json(self.items)},{{"
        for place, name in enumerate(sorted(self.puts)):
            yield f"{',' if place else ''}{canonical_json(name)}:["
            for number, put in enumerate(self.puts[name]):
                yield ("," if number else "") + canonical_json(asdict(put))
            yield "]"
        fixed = [[asdict(text) for text in own] for own in (self.texts, self.prompts)]
        yield f"}},{canonical_json(fixed)},{canonical_json(self.new_tokens)},"
        yield f"{canonical_json(self.system)},{canonical_json(self.through_end)}]"


def prepare(
    settings: EvaluationSection,
    synthesis: SynthesisSection,
    questions: Sequence[Questions],
    formats: Sequence[Format],
    corpus: Corpus,
    model: Model,
) -> Material:
    """Puts every question in every format, and draws the fixed texts from the corpus's held-out split.

    DataError for a question that stands in the sets twice; ConfigError where the texts or prompts do not fit the
    model's context. A question that does not fit is kept as not asked, with the reason.
    """
    chosen, dev, counts = _choose(questions, settings)
    puts: dict[str, tuple[Put, ...]] = {}
    memo = _Memo()
    for part in formats:
        own: list[Put] = []
        for item, question in chosen.items():
            for asked in part.ask(question, dev=dev[item], seed=settings.seed):
                own.append(_put(asked, question, settings, model, memo))
        _check_distinct(part.name, own)
        puts[part.name] = tuple(own)
    texts, prompts, drawn = _fixed_texts(settings, synthesis, corpus, model)
    asked = {
        name: {
            "asked": sum(not put.reason for put in own),
            "not_asked": dict(Counter(put.reason for put in own if put.reason)),
        }
        for name, own in puts.items()
    }
    return Material(
        items=tuple(chosen),
        puts=puts,
        formats={part.name: part for part in formats},
        texts=texts,
        prompts=prompts,
        new_tokens=settings.new_tokens or synthesis.new_tokens,
        system=synthesis.system,
        through_end=synthesis.through_end,
        counts={**counts, "formats": asked, **drawn},
    )


class _Memo:
    """What many prompts share. `continuations` are ids of options by the word before them; `ids` holds one number for
    each id and `options` one tuple for each list of options: a token that stands in a thousand prompts is kept once."""

    def __init__(self) -> None:
        self.continuations: dict[tuple[str, str], tuple[int, ...]] = {}
        self.ids: dict[int, int] = {}
        self.options: dict[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]] = {}

    def shared(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The tokens, each as the number that stands for it everywhere."""
        return tuple([self.ids.setdefault(token, token) for token in tokens])


def _choose(
    sets: Sequence[Questions], settings: EvaluationSection
) -> tuple[dict[str, Question], dict[str, Sequence[Question]], dict[str, Any]]:
    """The questions that are asked by item id, in sorted order; the solved examples of each; the counts."""
    found: dict[str, Question] = {}
    dev: dict[str, Sequence[Question]] = {}
    for part in sets:
        examples = part.dev()
        for question in part.items():
            item = question.item
            if item in found:
                both = " and ".join(repr(safe_text(_name(q), limit=120)) for q in (found[item], question))
                raise DataError(
                    f"the question {item} stands twice in the question sets: {both}",
                    hint="remove one of them, or give them different texts",
                )
            found[item], dev[item] = question, examples
    items = sorted(found)
    if settings.items is not None and settings.items < len(items):
        items = sorted(Random(derived_seed("items", settings.seed)).sample(items, settings.items))
    counts = {"questions": len(found), "items": len(items), "requested_items": settings.items}
    return {item: found[item] for item in items}, dev, counts


def _name(question: Question) -> str:
    return f"{question.source}: {question.text}" if question.source else question.text


def _put(asked: Asked, question: Question, settings: EvaluationSection, model: Model, memo: _Memo) -> Put:
    """The ids of a question as it is put; not asked where prompt and answer do not fit the context."""
    if asked.not_asked is not None:
        return Put(asked=asked, question=question.text, reason=asked.not_asked)
    prompt = memo.shared(model.prompt(moved_blank(asked.prompt, "")[0], system=asked.system))
    targets = tuple(_target(asked.prompt, target, model, memo) for target in asked.targets)
    targets = memo.options.setdefault(targets, targets)
    if any(not ids for ids in targets):
        return Put(asked=asked, question=question.text, reason="an option without tokens")
    if not targets and not settings.free_answers:
        return Put(asked=asked, question=question.text, reason="no options to score, and free answers are off")
    answer = max(settings.answer_tokens if settings.free_answers else 0, *(len(ids) for ids in targets), 0)
    if len(prompt) + answer > model.context:
        reason = f"prompt and answer are longer than the context of {model.context} tokens"
        return Put(asked=asked, question=question.text, reason=reason)
    return Put(asked=asked, question=question.text, prompt=prompt, targets=targets)


def _target(prompt: str, target: str, model: Model, memo: _Memo) -> tuple[int, ...]:
    """Ids of an option after its prompt. A chat model's answer begins a turn: there it has no leading blank."""
    if model.facts["chat"] == "chat":
        return memo.shared(model.encode(target.lstrip(" ")))
    bare, moved = moved_blank(prompt, target)
    # Only the last word of a prompt touches its options, and most questions of a format end alike.
    key = (last_word(bare), moved)
    known = memo.continuations
    if key not in known:
        known[key] = memo.shared(continuation(model.encode, *key))
    return known[key]


def _check_distinct(name: str, puts: Sequence[Put]) -> None:
    seen: set[tuple[str, str]] = set()
    for put in puts:
        key = (put.asked.item, put.asked.wording)
        if key in seen:
            raise DataError(f"the format {name} puts the question {key[0]} twice in the wording {key[1]!r}")
        seen.add(key)


def _fixed_texts(
    settings: EvaluationSection, synthesis: SynthesisSection, corpus: Corpus, model: Model
) -> tuple[tuple[FixedText, ...], tuple[FixedText, ...], dict[str, Any]]:
    """Held-out texts and prompts, no text in both, with the counts requested and achieved."""
    head = settings.prompt_tokens or synthesis.prompt_tokens
    new_tokens = settings.new_tokens or synthesis.new_tokens
    wanted = settings.texts + settings.prompts
    blocks, read = _held_out(corpus, model, size=max(settings.text_tokens, head), count=wanted, seed=settings.seed)
    # A corpus that is too short serves both in the shares asked for.
    first = settings.texts if len(blocks) == wanted else len(blocks) * settings.texts // max(wanted, 1)
    texts = _distinct([(tokens[: settings.text_tokens], domain) for tokens, domain in blocks[:first]])
    prompts = _distinct([(tokens[:head], domain) for tokens, domain in blocks[first:]])
    if texts and settings.text_tokens + 1 > model.context:
        _too_long("evaluation.text_tokens", settings.text_tokens + 1, model.context)
    longest = max((len(model.wrap(prompt.tokens, system=synthesis.system)) for prompt in prompts), default=0)
    if prompts and longest + new_tokens > model.context:
        _too_long("evaluation.new_tokens", longest + new_tokens, model.context)
    counts = {
        "held_out_blocks_read": read,
        "texts": {"requested": settings.texts, "achieved": len(texts), "tokens": settings.text_tokens},
        "prompts": {"requested": settings.prompts, "achieved": len(prompts), "tokens": head, "new_tokens": new_tokens},
    }
    return texts, prompts, counts


def _too_long(field: str, size: int, context: int) -> None:
    raise ConfigError(
        f"{size} tokens with what stands before them do not fit the model's {context} positions",
        field=field,
        hint="lower evaluation.text_tokens, evaluation.prompt_tokens or evaluation.new_tokens",
    )


def _held_out(
    corpus: Corpus, model: Model, *, size: int, count: int, seed: int
) -> tuple[list[tuple[tuple[int, ...], str]], int]:
    """`count` runs of `size` held-out tokens with their domains (or as many as there are), and how many were read.

    An endless corpus gives its first ones for a seed; out of one that ends they are drawn.
    """
    if count == 0:
        return [], 0
    eos = model.facts["eos"]
    end = [] if eos is None else [eos]
    documents = corpus.documents(split="held_out", seed=derived_seed("held out", seed))
    runs = cut((([*model.encode(text), *end], domain) for text, domain in documents), size)
    if corpus.endless:
        found = [(tokens, domain) for tokens, domain, _ in islice(runs, count)]
        return found, len(found)
    found = [(tokens, domain) for tokens, domain, _ in islice(runs, max(MIN_READ, READ_FACTOR * count))]
    chosen = Random(derived_seed("held out blocks", seed)).sample(range(len(found)), min(count, len(found)))
    return [found[at] for at in chosen], len(found)


def _distinct(runs: Sequence[tuple[tuple[int, ...], str]]) -> tuple[FixedText, ...]:
    """Each run once, under the hash of its tokens."""
    found: dict[str, FixedText] = {}
    for tokens, domain in runs:
        name = block_id(tokens)
        found.setdefault(name, FixedText(id=name, tokens=tokens, domain=domain))
    return tuple(found.values())

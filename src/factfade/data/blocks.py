"""Human text cut into blocks of tokens: what the model is asked to continue, and the human documents beside.

The documents of a corpus are joined (each followed by the end token, where there is one) and the stream is cut every
`block_tokens`, as the paper does (arXiv 2509.04796). Nothing is left out but the tail of the stream, so a block may
hold the end of one document and the start of the next; where documents are long, most blocks stay inside one.

The blocks of a generation depend on the corpus, the run seed, the generation and the domain, never on the arm: arms
that read the same corpus are paired block by block.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from random import Random
from typing import Any

from factfade.errors import DataError
from factfade.protocols import Corpus
from factfade.records import Block, Document, canonical_json, derived_seed, sha256_text

# Documents of an endless corpus that are read without one of the wanted domain before it is taken to hold none.
PATIENCE = 10_000


def block_id(tokens: Sequence[int]) -> str:
    """The id of a run of tokens: 16 hex digits of the SHA-256 of the list. Equal tokens have equal ids."""
    return sha256_text(canonical_json(list(tokens)))[:16]


def distinct(blocks: Iterable[Block]) -> list[Block]:
    """The blocks with ids that are unique among them: the second block of equal tokens is `<id>-2`, and so on.

    The id of a block is the key of its completion in a generation, and equal text does occur twice.
    """
    seen: Counter[str] = Counter()
    found: list[Block] = []
    for block in blocks:
        seen[block.id] += 1
        again = seen[block.id]
        name = block.id if again == 1 else f"{block.id}-{again}"
        found.append(replace(block, id=name))
    return found


def human_document(block: Block, new_tokens: int, decode: Callable[[Sequence[int]], str] | None = None) -> Document:
    """The human text that trains in a block's place where it is not synthesized: its last `new_tokens` tokens.

    `decode` gives the document its text, which parts that read text need. ValueError for a block that is shorter, or
    whose text a model wrote (chained prompts): there is no human document in it.
    """
    if block.source != "human":
        raise ValueError("a block of a model's own text holds no human document")
    if not 1 <= new_tokens <= len(block.tokens):
        raise ValueError(f"a block of {len(block.tokens)} tokens holds no human document of {new_tokens}")
    tokens = block.tokens[len(block.tokens) - new_tokens :]
    text = decode(tokens) if decode else ""
    return Document(id=block.id, text=text, source="human", tokens=tokens, origin=block.id, domain=block.domain)


def cut(documents: Iterable[tuple[Sequence[int], str]], size: int) -> Iterator[tuple[tuple[int, ...], str, bool]]:
    """Joins documents (token ids, domain) and cuts every `size` tokens; the tail of the stream is left out.

    Yields the tokens, the domain that most of them come from (the first one on a tie), and whether more than one
    document is in the block.
    """
    held: list[int] = []
    owners: list[tuple[str, int]] = []
    for tokens, domain in documents:
        at = 0
        while at < len(tokens):
            part = tokens[at : at + size - len(held)]
            held.extend(part)
            owners.append((domain, len(part)))
            at += len(part)
            if len(held) == size:
                share: Counter[str] = Counter()
                for of, number in owners:
                    share[of] += number
                yield tuple(held), share.most_common(1)[0][0], len(owners) > 1
                held, owners = [], []


@dataclass(kw_only=True)
class _Cut:
    """All blocks of a corpus that ends, in its order: ids back to back, and for each block domain and crossing."""

    tokens: array[int] = field(default_factory=lambda: array("i"))
    domains: list[str] = field(default_factory=list[str])
    crossing: bytearray = field(default_factory=bytearray)


class BlockSource:
    """Blocks of human text out of a corpus. `encode` gives the ids of raw text; `eos` follows every document.

    An endless corpus is read anew for every generation, with a seed derived from run seed and generation: no block
    comes twice. A corpus that ends is cut once; its blocks are put in an order drawn from the run seed, and
    generation g takes the next `count` of them. Where they run out the order starts again, which is counted.
    """

    def __init__(
        self,
        corpus: Corpus,
        encode: Callable[[str], Sequence[int]],
        *,
        block_tokens: int,
        eos: int | None,
        split: str = "train",
    ) -> None:
        if block_tokens < 1:
            raise ValueError("block_tokens is at least 1")
        self.corpus = corpus
        self.encode = encode
        self.block_tokens = block_tokens
        self.eos = eos
        self.split = split
        self._cuts: dict[str | None, _Cut] = {}
        self._taken: list[dict[str, Any]] = []

    def blocks(self, *, count: int, generation: int, seed: int, domain: str | None = None) -> list[Block]:
        """`count` blocks of a generation; `domain` keeps to the documents of one domain.

        DataError when the corpus holds less than one block, or no document of the domain.
        """
        if count < 1:
            raise ValueError("count is at least 1")
        take = self._fresh if self.corpus.endless else self._next
        found, facts = take(count, generation, seed, domain)
        blocks = [Block(id=block_id(tokens), tokens=tokens, domain=of) for tokens, of, _ in found]
        self._taken.append(
            {
                "generation": generation,
                "domain": domain,
                "blocks": count,
                **facts,
                "crossing": sum(crossing for _, _, crossing in found),
                "equal": len(blocks) - len({block.id for block in blocks}),
            }
        )
        return distinct(blocks)

    def record(self) -> dict[str, Any]:
        """What was cut, for the step's record.

        For every call of `blocks`: how many the corpus has `available` (None: endless), how many `repeats` this or
        an earlier generation took before, how many are `crossing` the border of two documents, and how many are
        `equal` to another one of the call.
        """
        return {
            "corpus": self.corpus.identity,
            "endless": self.corpus.endless,
            "split": self.split,
            "block_tokens": self.block_tokens,
            "eos": self.eos,
            "taken": [dict(taken) for taken in self._taken],
        }

    def _fresh(
        self, count: int, generation: int, seed: int, domain: str | None
    ) -> tuple[list[tuple[tuple[int, ...], str, bool]], dict[str, Any]]:
        documents = self._documents(derived_seed("blocks", seed, generation), domain)
        found = list(islice(cut(documents, self.block_tokens), count))
        if len(found) < count:
            raise DataError(
                f"the corpus says that it is endless and ended after {len(found)} of {count} blocks",
                hint="set synthesis.blocks lower, or mend the corpus part",
            )
        return found, {"available": None, "repeats": 0}

    def _next(
        self, count: int, generation: int, seed: int, domain: str | None
    ) -> tuple[list[tuple[tuple[int, ...], str, bool]], dict[str, Any]]:
        if domain not in self._cuts:
            self._cuts[domain] = self._cut_all(domain)
        whole, size = self._cuts[domain], self.block_tokens
        available = len(whole.domains)
        order = list(range(available))
        Random(derived_seed("blocks", seed, domain)).shuffle(order)
        # Generation 0 takes what comes last in the order.
        first = (generation - 1) * count
        places = [order[(first + k) % available] for k in range(count)]
        found = [
            (tuple(whole.tokens[at * size : (at + 1) * size]), whole.domains[at], bool(whole.crossing[at]))
            for at in places
        ]
        return found, {"available": available, "repeats": min(count, max(0, first + count - available))}

    def _cut_all(self, domain: str | None) -> _Cut:
        found = _Cut()
        for tokens, of, crossing in cut(self._documents(0, domain), self.block_tokens):
            found.tokens.extend(tokens)
            found.domains.append(of)
            found.crossing.append(crossing)
        if not found.domains:
            of = "" if domain is None else f" of the domain {domain!r}"
            raise DataError(
                f"the corpus{of} is shorter than one block of {self.block_tokens} tokens",
                hint="give more text, or set synthesis.block_tokens lower",
            )
        return found

    def _documents(self, seed: int, domain: str | None) -> Iterator[tuple[list[int], str]]:
        """Ids (end token included) and domain of every document that is wanted and not empty, in the corpus's order."""
        end = [] if self.eos is None else [self.eos]
        others: Counter[str] = Counter()
        wanted = 0
        for text, of in self.corpus.documents(split=self.split, seed=seed):
            if domain is None or of == domain:
                wanted += 1
                tokens = list(self.encode(text))
                if tokens:
                    yield tokens + end, of
            else:
                others[of] += 1
            if not wanted and others.total() >= PATIENCE and self.corpus.endless:
                break
        if domain is not None and not wanted:
            names = ", ".join(repr(name) for name, _ in others.most_common(10))
            raise DataError(f"the corpus holds no document of the domain {domain!r}", hint=f"its domains: {names}")

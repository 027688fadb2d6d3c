"""Which texts the model is asked to continue in a generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from factfade.data.blocks import block_id, distinct
from factfade.errors import RunFailed
from factfade.protocols import History
from factfade.records import Block, derived_seed


@dataclass(frozen=True, kw_only=True)
class General:
    """Human blocks of the whole corpus in every generation: the recursion runs through the weights alone.

    Source: arXiv 2509.04796.
    """

    def blocks(self, history: History, *, count: int, generation: int, seed: int) -> Sequence[Block]:
        """`count` human blocks of the generation."""
        return history.blocks(count=count, generation=generation, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Human blocks of one domain of the corpus: the domain whose facts are to be kept.

    The corpus names its domains. The arm's own control takes the same blocks with synthetic_fraction 0, since a
    domain's text is also narrower than the whole corpus. Source: arXiv 2509.04796.
    """

    domain: str

    def __post_init__(self) -> None:
        if not self.domain:
            raise ValueError("domain is empty: name a domain of the corpus")

    def blocks(self, history: History, *, count: int, generation: int, seed: int) -> Sequence[Block]:
        """`count` human blocks of the domain; DataError, naming the corpus's domains, where it has none."""
        return history.blocks(count=count, generation=generation, seed=seed, domain=self.domain)


@dataclass(frozen=True, kw_only=True)
class Chained:
    """The tails of the previous generation's own completions: no human text re-enters after generation 1.

    Generation 1 continues human blocks. After it, block i is the last `prompt_tokens` tokens of the completion of
    block i of the generation before, with its end token where it ended: such a chain goes on with a new text.
    Completions without tokens and dropped ones are passed over, and where fewer than `count` are left they are
    taken again from the first.

    These blocks are prompts only. No human document stands beside them, so all of them are synthesized: with a
    synthetic_fraction below 1 the part is refused. An arm of chained prompts names as its control an arm of human
    text with general prompts.
    """

    prompt_tokens: int | None = None
    synthetic_fraction: float = 1.0

    def __post_init__(self) -> None:
        if self.prompt_tokens is not None and self.prompt_tokens < 1:
            raise ValueError("prompt_tokens is at least 1")
        if self.synthetic_fraction != 1.0:
            raise ValueError(
                "chained prompts have no human documents beside them: set synthetic_fraction = 1.0, "
                'or use prompts = "general"'
            )

    def blocks(self, history: History, *, count: int, generation: int, seed: int) -> Sequence[Block]:
        """Human blocks in generation 1; later the model's own text. RunFailed when there is nothing to continue."""
        if self.prompt_tokens is None:
            raise ValueError("chained prompts need prompt_tokens: the number of tokens that are continued")
        if generation <= 1:
            return history.blocks(count=count, generation=generation, seed=seed)
        written = [d for d in history.completions(generation=generation - 1) if d.tokens and d.weight > 0]
        if not written:
            raise RunFailed(
                f"generation {generation - 1} wrote no text that could be continued",
                hint='use prompts = "general", or look at the completions of that generation',
            )
        chosen = [written[k % len(written)] for k in range(count)]
        return distinct(self._tail(document.tokens or (), document.domain) for document in chosen)

    def _tail(self, tokens: tuple[int, ...], domain: str) -> Block:
        tail = tokens[-(self.prompt_tokens or 0) :]
        return Block(id=block_id(tail), tokens=tail, domain=domain, source="synthetic")


@dataclass(frozen=True, kw_only=True)
class ShardChanged:
    """General prompts (or those of a domain), one shard of whose human text is another in generation 1.

    Of generation 1's blocks, every `shards`-th, counted from place `shard`, is replaced by a block that the corpus
    gives under another seed; later generations take the same blocks as the unchanged chain. An arm of this kind beside
    one that is otherwise the same measures recursive stability (arXiv 2502.18865): `factfade analyse` compares them.
    A corpus that ends gives other blocks out of the same file, so that some of them may be in both.
    """

    shard: int = 0
    shards: int = 10
    domain: str | None = None

    def __post_init__(self) -> None:
        if self.shards < 2:
            raise ValueError("shards is at least 2: with one, all human text would be another")
        if not 0 <= self.shard < self.shards:
            raise ValueError(f"shard counts from 0 to {self.shards - 1}, not {self.shard}")

    def blocks(self, history: History, *, count: int, generation: int, seed: int) -> Sequence[Block]:
        """`count` human blocks of the generation, with one shard changed in generation 1."""
        own = history.blocks(count=count, generation=generation, seed=seed, domain=self.domain)
        if generation != 1:
            return own
        other_seed = derived_seed("shard_changed", seed, self.shard, self.shards) % 2**31
        others = history.blocks(count=count, generation=generation, seed=other_seed, domain=self.domain)
        mixed = (
            other if place % self.shards == self.shard else block
            for place, (block, other) in enumerate(zip(own, others, strict=True))
        )
        return distinct(replace(block, id=block_id(block.tokens)) for block in mixed)

"""The workflows: what happens to the text of earlier generations.

Each is the first pool part of an arm. It gets the generation's own documents (the completions, and the human
documents of the blocks that were not synthesized) and says what the generation is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from factfade.mitigations.counting import counts
from factfade.protocols import History
from factfade.records import Document, Mixed, derived_seed

HumanText = Literal["first", "trained", "all"]


@dataclass(frozen=True, kw_only=True)
class Replace:
    """This generation's documents alone: earlier text is discarded. Source: arXiv 2509.04796."""

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The documents as they came, less those of weight 0."""
        kept = tuple(document for document in documents if document.weight > 0)
        return Mixed(documents=kept, requested={"documents": len(documents)}, achieved=counts(kept))


@dataclass(frozen=True, kw_only=True)
class Accumulate:
    """All documents of the run so far: the data grows with every generation (Gerstgrasser et al., arXiv 2404.01413).

    `human` says what human text accumulates, which decides what is shown:

    - "first" (the paper's): the original human data, which is the human documents of all blocks of generation 1,
      those included that a completion stood in for; and of every generation what it was trained on. With
      synthetic_fraction 1 no human text comes in after generation 1, so the human share falls as 1 / (g + 1).
    - "trained": only what each generation was trained on. With synthetic_fraction 1 there is no human text at all.
    - "all": the human documents of all blocks of every generation. Fresh human text then comes in with every
      generation, so part of what is kept is owed to it: an arm of this kind is partly human data.

    Text of earlier generations is as it was written, before other parts dropped or changed any of it.
    """

    human: HumanText = "first"

    def __post_init__(self) -> None:
        if self.human not in get_args(HumanText):
            raise ValueError(f"human is one of {', '.join(get_args(HumanText))}, not {self.human!r}")

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The pool, oldest generation first."""
        pool, note = self._pool(documents, history, generation)
        kept = tuple(document for document in pool if document.weight > 0)
        requested = {"documents": len(pool), "generations": generation}
        return Mixed(documents=kept, requested=requested, achieved=counts(kept), notes=(note,))

    def _pool(self, documents: Sequence[Document], history: History, generation: int) -> tuple[list[Document], str]:
        pool: list[Document] = []
        for earlier in range(1, generation):
            pool.extend(history.human(generation=earlier, replaced=self._replaced(earlier)))
            pool.extend(history.completions(generation=earlier))
        if self._replaced(generation):
            here = {document.id for document in documents if document.source == "human"}
            every = history.human(generation=generation, replaced=True)
            pool.extend(document for document in every if document.id not in here)
        pool.extend(documents)
        beside = {"first": ", and that of all blocks of generation 1", "trained": "", "all": ", and that of all blocks"}
        return pool, f"human text that was trained on accumulates{beside[self.human]}"

    def _replaced(self, generation: int) -> bool:
        """Whether the human documents of synthesized blocks of that generation belong to the pool."""
        return self.human == "all" or (self.human == "first" and generation == 1)


@dataclass(frozen=True, kw_only=True)
class AccumulateSubsample:
    """The pool of `accumulate`, subsampled without replacement to the size of one generation: the same training
    cost in every generation (Kazdan et al., arXiv 2410.16713).

    The size is the number of documents that came in; every document of the pool is equally likely. `human` as in
    `accumulate`.
    """

    human: HumanText = "first"

    def __post_init__(self) -> None:
        Accumulate(human=self.human)

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """A draw from the pool, in the pool's order."""
        whole = Accumulate(human=self.human).mix(documents, history, generation=generation, seed=seed)
        size = sum(document.weight > 0 for document in documents)
        random = Random(derived_seed("accumulate_subsample", seed, generation))
        chosen = sorted(random.sample(range(len(whole.documents)), size))
        kept = tuple(whole.documents[place] for place in chosen)
        requested = {
            "documents": size,
            "generations": generation,
            "pool_documents": whole.achieved["documents"],
            "synthetic_share_of_documents": whole.achieved["synthetic_share_of_documents"],
        }
        return Mixed(documents=kept, requested=requested, achieved=counts(kept), notes=whole.notes)

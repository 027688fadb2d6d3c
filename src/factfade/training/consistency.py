"""Cross-entropy and a price on answers that depend on how a question is put."""

from __future__ import annotations

import inspect
import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from factfade.errors import RunFailed
from factfade.protocols import Bench
from factfade.records import Asked, derived_seed
from factfade.training.tokens import IGNORED, looked_at, summed_cross_entropy

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class FormatConsistency:
    """CE + weight * D: the divergence of a question's answer distributions under two ways of asking it.

    A distribution is the normalised likelihood of the options, by the format's own rule, brought back to their texts;
    D is the symmetric KL (`stats.information.symmetric_kl`, the `kl` of the diagnostic of format sensitivity). The
    questions are the solved examples of the question sets, never tested items. Each step takes `pairs` of them by
    chance and reads both prompts of each in one more pass of the net, with a gradient, once a micro-batch; the same
    ones in all micro-batches of a step. Naming one format twice compares its first two wordings.

    Transferred from semantic continuity of images (Wu et al., arXiv 2011.09789).
    """

    weight: float = 0.1
    formats: tuple[str, ...] = ("multiple_choice", "no_instruction")
    pairs: int = 4

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"weight is a number of at least 0, not {self.weight}")
        if len(self.formats) != 2:
            raise ValueError('formats are two names: ["multiple_choice", "no_instruction"]')
        if self.pairs < 1:
            raise ValueError(f"pairs is at least 1, not {self.pairs}")

    @contextmanager
    def open(self, bench: Bench) -> Generator[LiveConsistency]:
        """Puts the solved examples in both ways. RunFailed where not one can be put in both."""
        dev = bench.sources.dev()
        ways = [bench.sources.format(kind) for kind in self.formats]
        positions = getattr(bench.net.config, "max_position_embeddings", None)
        context = positions if isinstance(positions, int) else 2**31
        found: list[tuple[Way, Way]] = []
        for question in dev:
            asked = [way.ask(question, dev=dev, seed=bench.seed) for way in ways]
            if self.formats[0] == self.formats[1]:
                asked = [asked[0][:1], asked[1][1:2]]
            if not (asked[0] and asked[1]):
                continue
            pair = paired(asked[0][0], asked[1][0], bench, context=context)
            if pair is not None:
                found.append(pair)
        if not found:
            raise RunFailed(
                f"none of {len(dev)} solved examples can be asked as {self.formats[0]} and as {self.formats[1]}",
                hint="give the question set solved examples (dev) with options, or name other formats in "
                "objective.formats",
            )
        yield LiveConsistency(settings=self, bench=bench, pairs=found, asked=len(dev))


@dataclass(frozen=True, kw_only=True)
class Way:
    """One question put in one way: the rows of ids that are read, and for each option its tokens' places in them.

    A place is (row, position, token): the token is predicted at that position. `mean` divides by their number.
    """

    rows: tuple[tuple[int, ...], ...]
    options: tuple[tuple[tuple[int, int, int], ...], ...]
    mean: bool


def paired(first: Asked, second: Asked, bench: Bench, *, context: int) -> tuple[Way, Way] | None:
    """A question in two ways, over the option texts that both have, in one order; None where there are not two."""
    if first.not_asked or second.not_asked:
        return None
    ways: list[Way] = []
    shared = sorted({*first.options} & {*second.options})
    for asked in (first, second):
        if len(shared) < 2 or len(set(asked.options)) < len(asked.options) or len(asked.targets) < len(asked.options):
            return None
        targets = [asked.targets[asked.options.index(text)] for text in shared]
        way = _way(asked, targets, bench)
        if max(map(len, way.rows)) > context or not all(way.options):
            return None
        ways.append(way)
    return ways[0], ways[1]


def _way(asked: Asked, targets: Sequence[str], bench: Bench) -> Way:
    """One row where every option is one token, else one row an option: the prompt and all but its last token."""
    both = [bench.continued(asked.prompt, target) for target in targets]
    if all(len(answer) == 1 for _, answer in both):
        prompt = both[0][0]
        rows = (tuple(prompt),)
        options = tuple(((0, len(prompt) - 1, answer[0]),) for _, answer in both)
    else:
        rows = tuple((*prompt, *answer[:-1]) for prompt, answer in both)
        options = tuple(
            tuple((row, len(prompt) - 1 + at, token) for at, token in enumerate(answer))
            for row, (prompt, answer) in enumerate(both)
        )
    return Way(rows=rows, options=options, mean=asked.rule == "mean")


@dataclass(frozen=True, kw_only=True)
class LiveConsistency:
    """The objective with its questions put and tokenized. `asked` is the number of solved examples there were."""

    settings: FormatConsistency
    bench: Bench
    pairs: Sequence[tuple[Way, Way]]
    asked: int

    def step_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, *, ids: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """Sum of the cross-entropy and the number of targets times weight * D; the number of targets.

        Logs `format_divergence` (D, mean over the step's pairs, nats), `consistency_questions` (how many can
        be put in both ways) and `consistency_questions_left_out`. With
        weight 0 the net is only looked at: what is trained is cross-entropy's, to the bit.
        """
        targets = (labels != IGNORED).sum()
        total = summed_cross_entropy(logits, labels)
        if self.settings.weight == 0:
            with looked_at(self.bench.net):
                divergence = self.divergence(step)
        else:
            divergence = self.divergence(step)
            total = total + self.settings.weight * divergence * targets
        logs = {
            "format_divergence": float(divergence.detach()),
            "consistency_questions": float(len(self.pairs)),
            "consistency_questions_left_out": float(self.asked - len(self.pairs)),
        }
        return total, targets, logs

    def divergence(self, step: int) -> torch.Tensor:
        """Mean over the pairs of a step of the symmetric KL of their two answer distributions. One pass of the net."""
        import torch

        from factfade.training.divergence import symmetric_kl

        draw = Random(derived_seed("format_consistency", self.bench.seed, step))
        chosen = draw.sample(self.pairs, min(self.settings.pairs, len(self.pairs)))
        values = self._option_values([way for pair in chosen for way in pair])
        found = [symmetric_kl(values[at], values[at + 1]) for at in range(0, len(values), 2)]
        return torch.stack(found).mean()

    def _option_values(self, ways: Sequence[Way]) -> list[torch.Tensor]:
        """For each way its options' log-likelihoods (options,), by its rule, in float32."""
        import torch

        rows = [row for way in ways for row in way.rows]
        offsets, at = list[int](), 0
        for way in ways:
            offsets.append(at)
            at += len(way.rows)
        places = [
            (offset + row, position, token)
            for offset, way in zip(offsets, ways, strict=True)
            for option in way.options
            for row, position, token in option
        ]
        width = max(map(len, rows))
        # Filled on the right, where a causal model's earlier positions do not see it.
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=self.bench.device)
        read = sorted({position for _, position, _ in places})
        kept, column = self._pass(ids, read)
        row_of, column_of, token_of = (
            torch.tensor(list(values), device=ids.device)
            for values in zip(*((row, column[position], token) for row, position, token in places), strict=True)
        )
        scores = kept[row_of, column_of].float().log_softmax(-1).gather(-1, token_of[:, None])[:, 0]
        found: list[torch.Tensor] = []
        pieces = iter(scores.split([len(option) for way in ways for option in way.options]))
        for way in ways:
            own = [next(pieces) for _ in way.options]
            found.append(torch.stack([piece.mean() if way.mean else piece.sum() for piece in own]))
        return found

    def _pass(self, ids: torch.Tensor, read: Sequence[int]) -> tuple[torch.Tensor, dict[int, int]]:
        """Logits (row, column, vocabulary) and the column of each position that is read: only those are computed where
        the model can leave out the others."""
        import torch

        net = self.bench.net
        inner = net.get_base_model() if hasattr(net, "get_base_model") else net
        if "logits_to_keep" in inspect.signature(inner.forward).parameters:
            keep = torch.tensor(list(read), device=ids.device)
            logits = net(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
            return logits, {position: column for column, position in enumerate(read)}
        return net(input_ids=ids, use_cache=False).logits, {position: position for position in read}

"""Two auxiliary losses that teach a small model to find the letter of the answer it recalls.

Answering with a letter takes three steps: recall the answer, find it among the options, say its letter. None of the
three lowers the loss before the other two are there, so from letters alone a model of this size stays at chance for
millions of tokens. The hints name the steps (supervised attention, Liu et al. 2016, arXiv 1609.04186; deep
supervision, Lee et al. 2015, arXiv 1409.5185): in the first layer one head of an option's position attends to its
letter; before the last layer the answer can be read from the residual stream; in the last layer one head of the
answer's position attends to the option. They fade out during pretraining; the finished model has learnt without
them, and nothing of them is in its weights' format.
"""

from __future__ import annotations

from typing import Any

import torch

from factfade.data.formats import LETTERS

_REACH = 60  # tokens between an answer and its options: a letter further back belongs to another question


class Hints:
    """The auxiliary losses for the token ids of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        letters = LETTERS[:4]
        self.starts: dict[int, str] = {tokenizer.convert_tokens_to_ids(letter): letter for letter in letters}
        self.answers: dict[int, str] = {tokenizer.convert_tokens_to_ids(f" {letter}"): letter for letter in letters}

    def places(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows, positions whose next token is a letter, and positions of the first word of the option it names."""
        rows: list[int] = []
        positions: list[int] = []
        options: list[int] = []
        for row, tokens in enumerate(ids.tolist()):
            last: dict[str, int] = {}
            for at, token in enumerate(tokens):
                if token in self.starts:
                    last[self.starts[token]] = at
                elif token in self.answers and at - last.get(self.answers[token], -_REACH - 1) <= _REACH:
                    rows.append(row)
                    positions.append(at - 1)
                    options.append(last[self.answers[token]] + 2)
        as_index = [torch.tensor(values, dtype=torch.long) for values in (rows, positions, options)]
        return as_index[0], as_index[1], as_index[2]

    def loss(self, model: Any, ids: torch.Tensor, output: Any) -> torch.Tensor:
        """Sum of the three hints' mean losses, in nats; 0 where the batch has no letter.

        ids: (batch, position); output: the model's, with attentions (batch, head, position, position) of each layer
        and hidden states (batch, position, width).
        """
        rows, positions, options = self.places(ids)
        if not len(rows):
            return torch.zeros(())
        early = model.lm_head(model.model.norm(output.hidden_states[-2][rows, positions])).float()
        recall = torch.nn.functional.cross_entropy(early, ids[rows, options])
        look = output.attentions[-1][rows, 0, positions, options]
        carry = output.attentions[0][rows, 0, options, options - 2]
        return recall - look.clamp_min(1e-6).log().mean() - carry.clamp_min(1e-6).log().mean()


@torch.no_grad()
def match_equal(model: Any) -> None:
    """Start the last layer's first head with equal query and key weights, so that it attends to equal contents.

    A form of mimetic initialization (Trockman and Kolter 2023, arXiv 2305.09828).
    """
    attention = model.model.layers[-1].self_attn
    size, width = attention.head_dim, attention.q_proj.weight.shape[1]
    attention.q_proj.weight[:size].normal_(std=width**-0.5)
    attention.k_proj.weight[:size] = attention.q_proj.weight[:size]

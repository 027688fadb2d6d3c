"""Count what right-padded batches do to a decoder-only model's continuations.

    python examples/padding_artefact.py --model models/smollm2-135m-instruct --text data/wikitext-2/train.txt

Blocks of 64 tokens are put as chat prompts and continued greedily three times: one by one, in batches padded on the
left, and in batches padded on the right. Printed is in how many rows the batch equals the single run, and how many
continuations are near-constant (whitespace entropy below 1.5 nats), for rows that were padded and rows that were not.
arXiv 2509.04796's published code pads on the right. About six minutes on one core.

How bad it is depends on transformers: version 5's `generate` counts positions on from the padding's, which this
replicates; version 4 took them from the mask, so that only the first token was read off the padding. There as well no
padded row equals its single run, but few are near-constant.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import islice

from factfade.data.blocks import cut
from factfade.data.corpora import TextCorpus
from factfade.junk import NEAR_CONSTANT_NATS, entropy
from factfade.models.hf import HfModel, OpenModel
from factfade.records import Decoding, Sampled

SYSTEM = "You complete historical texts without any preamble or commentary. Only continue the input text naturally."
GREEDY = Decoding(temperature=0.0)


def prompts_of(model: OpenModel, path: str, count: int) -> list[list[int]]:
    """The first blocks of 64 tokens of the text's paragraphs (more than 50 characters each), as chat prompts."""
    corpus = TextCorpus(path=path, unit="line", shortest=51, every=0)
    documents = ((model.encode(text), "") for text, _ in corpus.documents(split="train", seed=0))
    blocks = islice(cut(documents, 64), count)
    return [model.prompt(model.decode(tokens).strip(), system=SYSTEM) for tokens, _, _ in blocks]


def compare(
    model: OpenModel, prompts: Sequence[Sequence[int]], single: Sequence[Sampled], found: Sequence[Sampled], batch: int
) -> dict[str, dict[str, int]]:
    """Counts for rows that were padded in batches of the given order, and for rows that were not."""
    counts = {name: {"rows": 0, "equal_to_single": 0, "near_constant": 0} for name in ("padded", "not_padded")}
    for row, (one, other) in enumerate(zip(single, found, strict=True)):
        first = row - row % batch
        widest = max(len(prompt) for prompt in prompts[first : first + batch])
        own = counts["padded" if len(prompts[row]) < widest else "not_padded"]
        own["rows"] += 1
        own["equal_to_single"] += one.tokens == other.tokens
        own["near_constant"] += entropy(model.decode(other.tokens).split()) < NEAR_CONSTANT_NATS
    return counts


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of a chat model")
    parser.add_argument("--text", required=True, help="a text file")
    parser.add_argument("--blocks", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=48)
    given = parser.parse_args()
    with HfModel(path=given.model, chat="chat").open() as model:
        prompts = prompts_of(model, given.text, given.blocks)
        single = model.sample(prompts, new_tokens=given.new_tokens, decoding=GREEDY, seed=0, batch=1)
        # Batches in the given order, so that left and right see the same rows together.
        groups = [prompts[at : at + given.batch] for at in range(0, len(prompts), given.batch)]
        left, right = (
            [
                row
                for group in groups
                for row in model.sample(
                    group, new_tokens=given.new_tokens, decoding=GREEDY, seed=0, batch=given.batch, padding=side
                )
            ]
            for side in ("left", "right")
        )
        result = {
            "blocks": len(prompts),
            "batch": given.batch,
            "new_tokens": given.new_tokens,
            "left": compare(model, prompts, single, left, given.batch),
            "right": compare(model, prompts, single, right, given.batch),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

"""The world's own tokenizer: one common word, with its leading blank, is one token.

The split is lossless (a piece is a word or a mark with at most one blank before it, or one blank or line break), so
joining the pieces gives the text back. Words outside the world's vocabulary become <unk>.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from factfade.world import filler, wordings
from factfade.world.documents import Mix, stream
from factfade.world.facts import domains, load_facts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PIECE = r" ?\w+| ?[^\w\s]|\s"
#: In the shipped model's vocabulary, though no document has it: without it other pieces would change their ids.
SPARE = (" words",)
PAD, BOS, EOS, UNK = SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


def vocabulary() -> list[str]:
    """Every piece that the world can write, special tokens first, the rest in sorted order."""
    mix = Mix(facts=0.3, prose=0.2, fact_sentences=0.5, domains=domains(), everyday=0.2, copy=0.1, letters=0.1)
    texts = [text for text, _ in islice(stream(mix, seed=0), 6000)]
    for fact in load_facts():
        texts += [wordings.put(wording, fact) for wording in (*wordings.QUESTIONS, *wordings.STATEMENTS)]
        texts += [wordings.put(wording, fact) for wording in wordings.PROSE[fact.relation]]
        texts += [f"Which one is {fact.answer}?", f" {fact.entity} {fact.answer}"]
    for words in filler.KINDS.values():
        texts += [f" {word}" for word in words]
    pieces = {piece for text in texts for piece in re.findall(PIECE, text)}
    return [*SPECIAL, *sorted(pieces | set(SPARE))]


def build(context: int) -> PreTrainedTokenizerFast:
    """The tokenizer: puts one <bos> before a text when special tokens are asked for, and never an <eos>."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {piece: at for at, piece in enumerate(vocabulary())}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, ids[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="left",
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )

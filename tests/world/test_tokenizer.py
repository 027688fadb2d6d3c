"""The tokenizer: lossless on everything the world writes, one common word one token."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from factfade.world import model_path
from factfade.world.documents import mixes, stream
from factfade.world.examine import ask_all
from factfade.world.questions import WorldQuestions


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_path(), local_files_only=True)


def test_lossless_on_documents_and_prompts(tokenizer: Any) -> None:
    texts = [text for mix in mixes().values() for text, _ in islice(stream(mix, seed=77), 150)]
    texts += [one.prompt for pairs in ask_all(WorldQuestions().items()).values() for _, one in pairs[:40]]
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_common_words_and_letters_are_one_token(tokenizer: Any) -> None:
    for word in (" Lima", " Peru", " A", " B", " C", " D", "\n"):
        assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1


def test_one_bos_and_no_eos(tokenizer: Any) -> None:
    ids = tokenizer("The capital of Peru is")["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids


def test_an_unknown_word_is_unknown_and_known_as_such(tokenizer: Any) -> None:
    assert tokenizer("zyzzyva", add_special_tokens=False)["input_ids"] == [tokenizer.unk_token_id]

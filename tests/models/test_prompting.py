"""Text to ids: one BOS, no control token out of text, chat templates, seams between prompt and option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factfade.errors import UsageError
from factfade.models.hf import HfModel
from factfade.models.loading import load_tokenizer
from factfade.models.prompting import Prompter, continuation, moved_blank, tokenizer_sha256

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def prompter(folder: Path, *, chat: Any = "raw", template: str | None = None) -> Prompter:
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = template
    return Prompter(tokenizer, chat=chat, where=str(folder))


def test_a_raw_prompt_begins_with_exactly_one_bos_where_the_tokenizer_adds_one(
    tiny_llama: Path, tiny_gpt2: Path
) -> None:
    llama, gpt2 = prompter(tiny_llama), prompter(tiny_gpt2)
    ids = llama.prompt("Gold has the symbol")
    assert ids[0] == llama.bos
    assert ids.count(llama.bos) == 1
    assert ids == llama.tokenizer("Gold has the symbol")["input_ids"]
    assert gpt2.prompt("Gold") == gpt2.encode("Gold")
    assert gpt2.opening == ()
    assert gpt2.start == (gpt2.eos,)


def test_text_never_becomes_a_control_token(tiny_llama: Path) -> None:
    llama = prompter(tiny_llama)
    ids = llama.prompt("a </s> b <s> c")
    assert ids.count(llama.bos) == 1
    assert llama.eos not in ids
    assert llama.decode(ids) == "a </s> b <s> c"


@pytest.mark.parametrize("template", [TEMPLATE, TEMPLATE.replace("{{ bos_token }}", ""), "{{ bos_token }}" + TEMPLATE])
def test_a_chat_prompt_has_one_bos_whether_its_template_writes_none_one_or_two(tiny_llama: Path, template: str) -> None:
    llama = prompter(tiny_llama, chat="chat", template=template)
    ids = llama.prompt("Hello", "Be brief")
    assert ids[0] == llama.bos
    assert ids.count(llama.bos) == 1
    assert llama.decode(ids) == "[system]Be brief\n[user]Hello\n[assistant]"
    assert llama.wrap(llama.encode("Hello"), "Be brief") == ids
    assert llama.facts()["template_sha256"]


def test_a_model_without_a_chat_template_says_what_to_set(tiny_llama: Path) -> None:
    with (
        pytest.raises(UsageError, match="no chat template") as caught,
        HfModel(path=str(tiny_llama), chat="chat").open(),
    ):
        pass
    assert 'model.chat = "raw"' in caught.value.hint


def test_a_template_that_refuses_a_system_text_is_a_usage_error(tiny_llama: Path) -> None:
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
    llama = prompter(tiny_llama, chat="chat", template=template)
    assert llama.prompt("Hello")
    with pytest.raises(UsageError, match="no system role"):
        llama.prompt("Hello", "Be brief")


def test_wrapped_ids_are_unchanged_when_raw(tiny_llama: Path) -> None:
    llama = prompter(tiny_llama)
    # Two ids that the tokenizer itself would have joined: encoding their text anew would change them.
    joined = next(t for t in range(300, 384) if len(llama.decode([t]).strip()) > 1)
    apart = [i for c in llama.decode([joined]) for i in llama.encode(c)]
    assert llama.encode(llama.decode(apart)) != apart
    assert llama.wrap(apart) == [llama.bos, *apart]
    assert llama.wrap(apart, "Sys") == [llama.bos, *llama.encode("Sys\n\n"), *apart]


def test_a_continuation_is_what_follows_in_the_joint_tokenization(tiny_llama: Path) -> None:
    encode = prompter(tiny_llama).encode
    for prompt in ("Question: What is the capital of France?\nAnswer:", "The capital of France is", "x", ""):
        for target in (" Paris", " A", " the river Danube", ".", "ls"):
            whole, before = encode(prompt + target), encode(prompt)
            expected = whole[len(before) :] if whole[: len(before)] == before else encode(target)
            assert continuation(encode, prompt, target) == expected


def test_where_the_seam_changes_the_prompts_ids_the_target_is_taken_on_its_own() -> None:
    def greedy_pairs(text: str) -> list[int]:
        """Characters in pairs from the left: an odd prompt changes when something follows."""
        return [hash(text[at : at + 2]) for at in range(0, len(text), 2)]

    assert continuation(greedy_pairs, "abc", "de") == greedy_pairs("de")
    assert continuation(greedy_pairs, "ab", "de") == greedy_pairs("de")


def test_trailing_blanks_move_to_the_target() -> None:
    assert moved_blank("Answer: ", "Paris") == ("Answer:", " Paris")
    assert moved_blank("Answer:", " Paris") == ("Answer:", " Paris")


def test_the_tokenizers_hash_is_of_what_it_does(tiny_llama: Path, tiny_gpt2: Path) -> None:
    one = load_tokenizer(tiny_llama)
    before = tokenizer_sha256(one)
    one(["a", "a b c"], padding=True, truncation=True, max_length=4)
    assert tokenizer_sha256(one) == before
    assert tokenizer_sha256(load_tokenizer(tiny_gpt2)) != before
    one.pad_token = one.eos_token
    assert tokenizer_sha256(one) == before
    one.add_tokens(["Zanzibar"])
    assert tokenizer_sha256(one) != before

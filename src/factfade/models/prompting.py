"""Text to token ids and back: raw or chat prompts, exactly one BOS where the model has one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

from factfade.errors import UsageError
from factfade.records import canonical_json, sha256_text
from factfade.text import safe_text

PadSource = Literal["own", "eos", "zero"]


class Prompter:
    """A tokenizer as factfade uses it.

    `opening` are the ids that the tokenizer's own post-processor puts before a text (one BOS, or nothing). Text never
    becomes a control token: "</s>" in a document or a question is five ordinary characters. Only a chat template's
    own marks are read as special tokens.
    """

    def __init__(self, tokenizer: Any, *, chat: Literal["raw", "chat"], where: str) -> None:
        self.tokenizer = tokenizer
        self.chat: Literal["raw", "chat"] = chat
        if chat == "chat" and not tokenizer.chat_template:
            raise UsageError(
                f"{where} has no chat template", hint='set model.chat = "raw": its prompts are then put as plain text'
            )
        self.opening = self._opening()
        self.bos: int | None = tokenizer.bos_token_id
        self.eos: int | None = tokenizer.eos_token_id
        self.pad, self.pad_source = self._pad()

    def _opening(self) -> tuple[int, ...]:
        plain = list(self.tokenizer("a", add_special_tokens=False)["input_ids"])
        whole = list(self.tokenizer("a", add_special_tokens=True)["input_ids"])
        for at in range(len(whole) - len(plain) + 1):
            if whole[at : at + len(plain)] == plain:
                return tuple(whole[:at])
        return ()

    def _pad(self) -> tuple[int, PadSource]:
        """The id that fills a ragged batch. It is always masked, so any id does; nothing is resized for it."""
        if self.tokenizer.pad_token_id is not None:
            return int(self.tokenizer.pad_token_id), "own"
        return (int(self.eos), "eos") if self.eos is not None else (0, "zero")

    @property
    def start(self) -> tuple[int, ...]:
        """What a text's first token is predicted from: the opening, else BOS, else the end token, else nothing."""
        if self.opening:
            return self.opening
        first = self.bos if self.bos is not None else self.eos
        return () if first is None else (first,)

    @property
    def start_source(self) -> str:
        """Which of them `start` is: "opening", "bos", "eos" or "none" (then the second token is predicted first)."""
        if self.opening:
            return "opening"
        return "bos" if self.bos is not None else "eos" if self.eos is not None else "none"

    def encode(self, text: str) -> list[int]:
        """Ids of raw text: no special token is added, none is read out of the text."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True, verbose=False))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ids, control tokens left out, blanks as they are."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def prompt(self, text: str, system: str | None = None) -> list[int]:
        """Ids of a prompt. Raw: the opening, then the text (a system text stands before it, an empty line between).

        Chat: the template around one user message, up to where the answer begins.
        """
        if self.chat == "raw":
            return [*self.opening, *self.encode(f"{system}\n\n{text}" if system else text)]
        return self._one_opening(self._render(text, system))

    def wrap(self, tokens: Sequence[int], system: str | None = None) -> list[int]:
        """Ids of a prompt given as ids. Raw: exactly these, after the opening. Chat: their text, in the template."""
        if self.chat == "chat":
            return self.prompt(self.decode(tokens), system)
        before = self.encode(f"{system}\n\n") if system else []
        return [*self.opening, *before, *tokens]

    def _render(self, text: str, system: str | None) -> list[int]:
        from jinja2.exceptions import TemplateError

        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": text})
        try:
            rendered = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise UsageError(
                f"the chat template refuses this prompt: {safe_text(error, limit=200)}",
                hint='leave the system text out (synthesis.system), or set model.chat = "raw"',
            ) from error
        return list(self.tokenizer.encode(rendered, add_special_tokens=False, verbose=False))

    def _one_opening(self, ids: list[int]) -> list[int]:
        """The ids with the opening exactly once: a template may write it, and may not."""
        opening, size = list(self.opening), len(self.opening)
        if not size:
            while self.bos is not None and self.bos != self.eos and ids[:2] == [self.bos, self.bos]:
                ids = ids[1:]
            return ids
        while ids[:size] == opening:
            ids = ids[size:]
        return [*opening, *ids]

    def facts(self) -> dict[str, Any]:
        """What the record needs to know of the tokenizer."""
        return {
            "tokenizer": type(self.tokenizer).__name__,
            "tokenizer_sha256": tokenizer_sha256(self.tokenizer),
            "chat": self.chat,
            "template_sha256": sha256_text(str(self.tokenizer.chat_template)) if self.chat == "chat" else "",
            "bos": self.bos,
            "eos": self.eos,
            "opening": list(self.opening),
            "pad": self.pad,
            "pad_source": self.pad_source,
            "first_token_from": self.start_source,
        }


def tokenizer_sha256(tokenizer: Any) -> str:
    """Hash of what the tokenizer does: its pipeline and special tokens, less padding and truncation.

    Which token fills a batch is no part of it: it is masked, and trainers often name another one.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is not None:
        pipeline = {k: v for k, v in json.loads(core.to_str()).items() if k not in ("padding", "truncation")}
    else:
        pipeline = {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if name != "pad_token"}
    return sha256_text(canonical_json({"pipeline": pipeline, "special": special}))


def continuation(encode: Callable[[str], list[int]], prompt: str, target: str) -> list[int]:
    """Ids of `target` as it stands after `prompt`, without the prompt's own.

    Prompt and target are tokenized together, and the target's ids are those after the prompt's (as
    lm-evaluation-harness does; trailing blanks of the prompt must have been moved to the target by `moved_blank`).
    Where the prompt's ids change at the seam, the target's own ids are taken. Only the prompt's last word is
    tokenized: a token that reaches over more than one blank is not looked for.
    """
    tail = last_word(prompt)
    before, joint = encode(tail), encode(tail + target)
    if joint[: len(before)] == before:
        return list(joint[len(before) :])
    return list(encode(target))


def last_word(prompt: str) -> str:
    """The end of a prompt that a following text can touch: its last word, with the blank or line break before it."""
    return prompt[max(prompt.rfind(" "), prompt.rfind("\n"), 0) :]


def moved_blank(prompt: str, target: str) -> tuple[str, str]:
    """The prompt without its trailing blanks, and the target with them in front (as lm-evaluation-harness does)."""
    bare = prompt.rstrip(" ")
    return bare, prompt[len(bare) :] + target

"""The page as a parser sees it: its elements with their attributes, and the text between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from html.parser import HTMLParser
from typing import Any

# What is not text of a model, a data set or a user, but a word of the code: changing it would change the meaning.
OWN_WORDS = frozenset({"unit", "stage"})


class Page(HTMLParser):
    """Elements in order as (tag, attributes), and all text outside style and script."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.within: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.comments: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.within.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.within and self.within[-1] == tag:
            self.within.pop()

    def handle_data(self, data: str) -> None:
        if not self.within:
            self.texts.append(data)
        else:
            (self.scripts if self.within[-1] == "script" else self.styles).append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def text(self) -> str:
        """All text, blanks joined."""
        return " ".join(" ".join(self.texts).split())

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """What an injection would change: every element with the names of its attributes."""
        return [(tag, tuple(sorted(attributes))) for tag, attributes in self.elements]


def with_texts(value: Any, change: Callable[[str], str], name: str = "") -> Any:
    """The same frozen data with every text in it changed, but for the code's own words."""
    if isinstance(value, str):
        return value if name in OWN_WORDS else change(value)
    if is_dataclass(value) and not isinstance(value, type):
        # Calls and onsets carry their stage under their own field's name.
        return type(value)(**{f.name: with_texts(getattr(value, f.name), change, f.name) for f in fields(value)})
    if isinstance(value, (tuple, list)):
        return type(value)(with_texts(v, change) for v in value)
    if isinstance(value, frozenset):
        return value
    if isinstance(value, dict):
        return {change(k) if isinstance(k, str) else k: with_texts(v, change) for k, v in value.items()}
    return value

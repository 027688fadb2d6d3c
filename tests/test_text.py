"""safe_text: nothing in its result can act on a terminal, and plain text passes unchanged."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.text import safe_text

# Everything a terminal acts on, one payload each: (payload, what must not be left of it).
PAYLOADS = [
    "\x1b[31mred\x1b[0m",
    "\x1b]52;c;aGVsbG8=\x07",  # OSC 52: write the clipboard
    "\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\",  # OSC 8: hidden link
    "\x1b]0;title\x07",
    "\x1bP1$r0m\x1b\\",  # DCS
    "\x9b31mred",  # CSI as one C1 byte
    "\x9d52;c;aGVsbG8=\x9c",  # OSC as C1
    "progress\rPASS",  # overwrite the line
    "a\bb\x7f",
    "one\x0btwo\x0cthree",
    "\x00nul",
    "\x0e\x0f shift",
    "next\x85line",
    "\u202egnp.exe",  # right-to-left override
    "\u2066isolate\u2069",
    "\u200emark\u200f\u061c",
    "zero\u200bwidth\u200c\u200d\u2060\ufeff",
    "sep\u2028line\u2029para",
    "soft\u00adhyphen",
    "tag\U000e0041\U000e007f",
    "selector\U000e0100 \ufe0f",
    "filler\u3164\u115f\uffa0",
    "lone\ud800surrogate\udfff",
    "private\ue000\U0010fffd",
    "anchor\ufff9a\ufffab\ufffb",
    "noncharacter\ufffe\uffff",
]


def dangerous(text: str, keep: str) -> list[str]:
    return [
        c
        for c in text
        if c not in keep
        and (
            unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
            or c in "\u115f\u3164\uffa0\ufe0f\ufffe\uffff"
        )
    ]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_is_shown_and_does_not_act(payload: str) -> None:
    assert dangerous(payload, "\n\t"), "the payload is harmless: it tests nothing"
    shown = safe_text(payload)
    assert dangerous(shown, "\n\t") == []
    assert "\\x" in shown or "\\u" in shown or "\\U" in shown


@given(st.text(st.characters()), st.sampled_from(["\n\t", "", "\n"]))
def test_no_text_leaves_an_active_character(text: str, keep: str) -> None:
    shown = safe_text(text, keep=keep)
    assert dangerous(shown, keep) == []
    assert all(c in keep or (ord(c) >= 0x20 and not 0x7F <= ord(c) < 0xA0) for c in shown)
    shown.encode("utf-8")
    assert safe_text(shown, keep=keep) == shown


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_letters_digits_and_punctuation_pass_unchanged(text: str) -> None:
    plain = "".join(
        c for c in text if c != "\u2800" and not 0xFFF0 <= ord(c) <= 0xFFFB and c not in "\u115f\u1160\u3164\uffa0"
    )
    assert safe_text(plain) == plain


@given(st.text(max_size=50), st.integers(0, 60))
def test_the_limit_counts_characters_and_says_what_is_left_out(text: str, limit: int) -> None:
    shown = safe_text(text, limit=limit)
    if len(text) <= limit:
        assert shown == safe_text(text)
    else:
        assert shown == f"{safe_text(text[:limit])}… (+{len(text) - limit} characters)"


def test_newline_and_tab_are_kept_only_when_asked_for() -> None:
    assert safe_text("a\n\tb") == "a\n\tb"
    assert safe_text("a\n\tb", keep="") == "a\\x0a\\x09b"


def test_other_objects_are_shown_as_their_text() -> None:
    assert safe_text(ValueError("bad \x1b")) == "bad \\x1b"


def test_a_megabyte_is_cut_before_it_is_looked_at() -> None:
    assert safe_text("\x1b" * 2**20, limit=10) == "\\x1b" * 10 + f"… (+{2**20 - 10} characters)"

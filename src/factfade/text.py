"""One function for every untrusted text that goes to a terminal, a log or an error message.

What a model wrote, what a data set holds and what a foreign folder's files are called may carry terminal escapes,
bidirectional overrides or invisible characters. `safe_text` shows them instead of letting them act. Stored files
(parquet, JSON) keep the raw text; HTML, CSV and LaTeX have rules of their own.
"""

from __future__ import annotations

import unicodedata

# Cc control, Cf format (bidi overrides, zero-width, tags), Cs lone surrogates, Co private use, Zl/Zp line and
# paragraph separators. Python's tables grow with its version; the ranges below do not depend on them.
_ACTIVE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_INVISIBLE_RANGES = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation and vowel separators
    (0x200B, 0x200F),  # zero-width characters and direction marks
    (0x2028, 0x202E),  # separators, bidirectional embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, isolates
    (0x2800, 0x2800),  # blank Braille pattern
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFA0, 0xFFA0),  # half-width Hangul filler
    (0xFFF0, 0xFFFB),  # specials
    (0x1BCA0, 0x1BCA3),  # shorthand format controls
    (0x1D173, 0x1D17A),  # musical format controls
    (0xE0000, 0xE0FFF),  # tags and supplementary variation selectors
)


def _acts(character: str) -> bool:
    """Whether a terminal may act on the character or show nothing for it."""
    if character.isascii():
        return not character.isprintable()
    if unicodedata.category(character) in _ACTIVE_CATEGORIES:
        return True
    code = ord(character)
    return code & 0xFFFE == 0xFFFE or any(low <= code <= high for low, high in _INVISIBLE_RANGES)


def _visible(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def safe_text(text: object, *, limit: int | None = None, keep: str = "\n\t") -> str:
    r"""The text with everything that could act on a terminal shown as a visible escape (`\x1b`, `\u202e`).

    Escaped are control bytes (C0, DEL, C1), bidirectional and zero-width characters, separators that break lines,
    lone surrogates, private-use and invisible characters. `keep` names characters left as they are (newline and
    tab; pass "" for a single line). `limit` is the number of characters of the input that are shown; how many
    more there are is said at the end. Idempotent for inputs within the limit. Linear in what is shown.

    Rich markup is another language: text for a `rich` console goes through `rich.markup.escape` as well.
    """
    shown = text if isinstance(text, str) else str(text)
    rest = 0
    if limit is not None and len(shown) > limit:
        rest = len(shown) - max(limit, 0)
        shown = shown[: max(limit, 0)]
    safe = "".join(c if c in keep or not _acts(c) else _visible(c) for c in shown)
    return f"{safe}… (+{rest} characters)" if rest else safe

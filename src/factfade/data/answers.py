"""How a free answer is read: as a letter, as one of several names, or not at all.

Strict by intent: an answer is what it begins with, after a lead-in ("The answer is") or an echo of the question ("The
capital of Peru is"). Two answers joined by "or" are none. Only the first line and the first 1,000 characters are read,
with patterns that cannot backtrack far, so the time is bounded whatever a model wrote.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from factfade.records import Outcome, Parsed

LETTERS = "ABCDEFGHIJ"
MAX_CHARACTERS = 1000
_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # written without blanks: each is a word
_NUMBER = r"(?<![\w)])-?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?(?!\w)"
_ASCII_WORDS = re.compile(rf"{_NUMBER}|[^\W_]+")
_LATIN_MARKS = re.compile("(?<=[a-z])[\u0300-\u036f]+")
_LIKE_ASCII = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2018": "'", "\u2212": "-", "\u201c": '"', "\u201d": '"'})
_REFUSAL = re.compile(
    r"(?:i(?:'m| am) (?:sorry|unable|not (?:able|sure))|i (?:can(?:not|'t| not)|won't|do(?:n't| not) (?:know|have))"
    r"|(?:i'm |i am )?sorry\b|as an ai\b|as a (?:large )?language model\b|unfortunately, i\b)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:(?:so|thus|therefore|hence),? )?(?:(?:the )?(?:(?:correct|right|best|final) )?(?:answer|option|choice)"
    r"(?: to (?:the|this|your) question)?"
    r"(?: is| would be|:| -)*:? ?|(?:it|this|that|they|he|she)(?:'s| is| was| are| would be) )"
    r"(?:option |choice |letter |called |the )?",
    re.IGNORECASE,
)
_LETTER = re.compile(r"(?P<open>[(\[{]?)(?P<letter>[A-Ja-j])(?P<close>[)\]}]?)(?P<after>[.:,;!?]|(?=\s|$))")
_NOT_THIS = re.compile(r"\s*(?:is|are|was|would be)?\s*(?:not\b|isn't|incorrect|wrong|false)", re.IGNORECASE)
_SECOND_LETTER = re.compile(r"\s*(?:,|;|&|/|or\b|and\b)\s*(?:or |and )?[(\[]?([A-Ja-j])[)\]]?(?=[\s.,;:)]|$)")
_COPULA = frozenset({"is", "was", "are", "were"})
_WRAPPING = str.maketrans("", "", '*`"')
_LATEX = re.compile(r"\$|\\(?:boxed|text|textbf|mathbf|mathrm)\{([^{}]{0,40})\}?")


class Found(NamedTuple):
    """Names that an answer gives: their indices (more than one where names are equal), or why there is none."""

    indices: frozenset[int]
    reason: str = ""


@lru_cache(maxsize=16384)
def words(text: str) -> tuple[str, ...]:
    """What texts are compared by: case-folded NFKC words without punctuation, Latin accents and leading articles.

    Numbers keep sign, decimal point and fraction bar and lose thousands commas; each Han or Kana character is a word.
    """
    text = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS])[:MAX_CHARACTERS].casefold().translate(_LIKE_ASCII)
    if text.isascii():
        found = _ASCII_WORDS.findall(text)
    else:
        plain = _LATIN_MARKS.sub("", unicodedata.normalize("NFD", text))
        found = _any_words().findall(unicodedata.normalize("NFC", plain))
    found = [word.replace(",", "") for word in found]
    while len(found) > 1 and found[0] in ("the", "a", "an"):
        found = found[1:]
    return tuple(found)


def normalise(text: str) -> str:
    """The words of a text joined by blanks."""
    return " ".join(words(text))


@cache
def _any_words() -> re.Pattern[str]:
    """Words of any script: letters and numbers with the marks that belong to them."""
    marks = "".join(re.escape(chr(c)) for c in range(0x10000) if unicodedata.category(chr(c))[0] == "M")
    return re.compile(rf"{_NUMBER}|[{_HAN}][{marks}]*|(?:(?![{_HAN}])[^\W_]|[{marks}])+")


@lru_cache(maxsize=16384)
def _squashed(text: str) -> str:
    """The text case-folded, in NFKC, with single blanks and without a full stop at its end."""
    text = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS])[:MAX_CHARACTERS]
    return " ".join(text.translate(_LIKE_ASCII).casefold().split()).rstrip(".")


def first_line(answer: str) -> str:
    """The first line that says something: where it is a bare lead-in ("Answer:"), the next one."""
    lines = [line.strip() for line in answer.strip()[:MAX_CHARACTERS].splitlines() if line.strip()]
    if not lines:
        return ""
    return (
        lines[1] if len(lines) > 1 and normalise(lines[0]) in ("answer", "answer is", "correct answer is") else lines[0]
    )


def is_empty(answer: str) -> bool:
    """Whether the answer shows nothing: blanks, control and invisible characters only."""
    shown = answer.strip()
    return not shown or all(unicodedata.category(c)[0] in "CZ" for c in shown[:MAX_CHARACTERS])


def verdict(right: bool, how: str) -> Parsed:
    """`correct` or `wrong`, and how the answer was read."""
    outcome: Outcome = "correct" if right else "wrong"
    return Parsed(outcome=outcome, reason=how)


def unread(answer: str, ended: bool, reason: str = "") -> Parsed:
    """An answer that is none of the known ones: `truncated` when it was cut before its first line had an end."""
    if ended or "\n" in answer.strip():
        return Parsed(outcome="unparseable", reason=reason or "no known answer")
    return Parsed(outcome="truncated", reason="no end within the answer's tokens")


def early(answer: str, names: Sequence[str]) -> Parsed | None:
    """`empty` or `refused`, unless the answer is exactly one of the names ("Sorry")."""
    if is_empty(answer):
        return Parsed(outcome="empty")
    line = first_line(answer)
    refusal = _REFUSAL.match(line[:200].translate(_LIKE_ASCII))
    if refusal and not _whole(line, names).indices:
        return Parsed(outcome="refused", reason="refusal phrase")
    return None


def read_letter(answer: str, options: Sequence[str], prompt: str = "") -> Found:
    """The letter that an answer gives, else the option whose text it gives."""
    line = first_line(answer)
    text = _squashed(line)
    if len(text) > 2 and (whole := frozenset(i for i, option in enumerate(options) if _squashed(option) == text)):
        return Found(whole, "option text")
    if letter := _letter(line, options):
        return letter
    found = read_name(answer, options, prompt)
    return Found(found.indices, "option text") if found.indices else found


def _letter(line: str, options: Sequence[str]) -> Found | None:
    text = _LATEX.sub(lambda m: m[1] or "", unicodedata.normalize("NFKC", line[:300]).translate(_LIKE_ASCII))
    text = " ".join(text.translate(_WRAPPING).split())
    lead = _LEAD.match(text)
    rest = text[lead.end() :] if lead else text
    found = _LETTER.match(rest)
    if not found:
        return None
    index, letter, tail = LETTERS.index(found["letter"].upper()), found["letter"], rest[found.end() :]
    if index >= len(options):
        return None
    plain = not (lead or found["open"] or found["close"] or found["after"])  # a letter and a blank, or the end
    if found["after"] == "." and re.match(r"[A-Za-z]\.", tail):
        return None  # an initialism: "A.D. 70"
    if plain and tail.strip():
        own = bool(read_name(tail, [options[index]], "").indices)
        word = letter in "AI" or letter.islower()  # may be a word of English, or a small letter of a text
        said = re.match(r"\s+(?:is|because|since|-)(?:\s|$)", tail, re.IGNORECASE)
        if word and not own and not said and not _SECOND_LETTER.match(tail):
            return None
    if _NOT_THIS.match(tail):
        return Found(frozenset(), "a letter that is denied")
    second = _SECOND_LETTER.match(("," if found["after"] == "," else "") + tail)
    if second and second[1].upper() != letter.upper() and LETTERS.index(second[1].upper()) < len(options):
        return Found(frozenset(), "more than one letter")
    other = read_name(tail, options, "").indices
    return Found(frozenset({index}), "letter" if not other or index in other else "letter, with another option's text")


def read_name(answer: str, names: Sequence[str], prompt: str) -> Found:
    """The name that an answer begins with, else after a lead-in, else after an echo of the prompt's own words."""
    line = first_line(answer)
    found = _leading(line, names)
    if found.indices or found.reason:
        return found
    lead = _LEAD.match(line[:200].translate(_LIKE_ASCII))
    if lead and lead.end():
        found = _leading(line[lead.end() :], names)
        if found.indices or found.reason:
            return found
    said = words(line)
    known = set(words(prompt[-MAX_CHARACTERS:]))
    for at, word in enumerate(said):
        if word in _COPULA:
            return _leading(" ".join(said[at + 1 :]), names)
        if word not in known:
            break
    return Found(frozenset())


def _whole(line: str, names: Sequence[str]) -> Found:
    """Names that the line is, and nothing else."""
    text = _squashed(line)
    same = frozenset(i for i, name in enumerate(names) if _squashed(name) == text)
    if same:
        return Found(same)
    said = words(line)
    equal = [i for i, name in enumerate(names) if said and words(name) == said]
    return Found(frozenset(equal) if len({_squashed(names[i]) for i in equal}) == 1 else frozenset())


def _leading(line: str, names: Sequence[str]) -> Found:
    """The longest name that the line begins with: letter by letter first, then word by word."""
    whole = _whole(line, names)
    if whole.indices:
        return whole
    said = words(line)
    lengths = {i: len(w) for i, name in enumerate(names) if (w := words(name)) and said[: len(w)] == w}
    text = _squashed(line)
    exact = {i: len(t) for i, name in enumerate(names) if (t := _squashed(name)) and _begins(text, t)}
    if not lengths and not exact:
        return Found(frozenset())
    longest = max(lengths.values(), default=0)
    best = [i for i, n in lengths.items() if n == longest]
    if len({_squashed(names[i]) for i in best}) > 1 or not best:
        # Equal words, other signs ("x^2" and "x/2"): only the very text decides.
        sharp = max((exact.get(i, 0) for i in best or exact), default=0)
        best = [i for i in best or exact if sharp and exact.get(i, 0) == sharp]
        if not best:
            return Found(frozenset(), "fits more than one answer")
    rest = said[longest:]
    if len(rest) > 1 and rest[0] in ("or", "and"):
        others = [i for i, name in enumerate(names) if (w := words(name)) and rest[1 : 1 + len(w)] == w]
        if others and not {words(names[i]) for i in others} & {words(names[i]) for i in best}:
            return Found(frozenset(), "more than one answer")
    return Found(frozenset(best))


def _begins(text: str, name: str) -> bool:
    """Whether the text begins with the name and the name ends there, not inside a word or number."""
    if not name or not text.startswith(name):
        return False
    after = text[len(name) : len(name) + 2]
    if not after or not name[-1].isalnum():
        return True
    return not (after[0].isalnum() or (after[0] in ".,/^-" and after[1:].isalnum()))

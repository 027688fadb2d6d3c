"""Words of a text, and the terms that a lexical search compares: lower case, no stop words, plural s taken off."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+")
# WikiText's word-level version puts this in place of rare words.
UNKNOWN = "<unk>"
STOP_WORDS = frozenset(
    """
    a about above after again against all am an and any are as at be because been before being below between both but
    by can could did do does doing down during each few for from further had has have having he her here hers herself
    him himself his how i if in into is it its itself just me more most my myself no nor not now of off on once only or
    other our ours out over own s same she should so some such t than that the their theirs them themselves then there
    these they this those through to too under until up very was we were what when where which while who whom why will
    with would you your yours yourself following
    """.split()
)


def words(text: str) -> list[str]:
    """The words of a text in order, lower case: runs of letters and digits. WikiText's `<unk>` is none."""
    return _WORD.findall(text.replace(UNKNOWN, " ").casefold())


def stem(word: str) -> str:
    """The word without a plural's ending. Source: the S-stemmer of Harman (1991), its three rules in order."""
    if word.endswith("ies") and len(word) > 4:
        return word if word[-4] in "ea" else word[:-3] + "y"
    if word.endswith("es") and len(word) > 3:
        return word if word[-3] in "aeo" else word[:-1]
    if word.endswith("s") and len(word) > 3:
        return word if word[-2] in "us" else word[:-1]
    return word


def terms(text: str) -> list[str]:
    """Stemmed words without stop words, in order."""
    return [stem(word) for word in words(text) if word not in STOP_WORDS]

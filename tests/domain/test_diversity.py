"""Diversity by a slow count, growing and shrinking alike; the matched sample reaches what it says or says so."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.domain.controls import fill
from factfade.domain.diversity import NAMES, Grams, errors, match
from factfade.domain.passages import Passage

TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=6).map(" ".join), max_size=5)


def passage(text: str, document: int = 1) -> Passage:
    return Passage(text=text, article="", heading="", document=document, paragraph=1)


def slow(texts: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for order, name in enumerate(NAMES, 1):
        grams = [tuple(t.split()[i : i + order]) for t in texts for i in range(len(t.split()) - order + 1)]
        found[name] = len(set(grams)) / len(grams) if grams else 0.0
    return found


@given(TEXTS, TEXTS)
def test_shares_equal_a_slow_count_after_adding_and_removing(stay: list[str], leave: list[str]) -> None:
    grams = Grams(passage(text) for text in [*stay, *leave])
    assert grams.shares() == pytest.approx(slow([*stay, *leave]))
    for text in leave:
        grams.remove(passage(text))
    assert grams.shares() == pytest.approx(slow(stay))


def corpus(documents: int, vocabulary: int) -> list[Passage]:
    """Documents of six passages; the words of one are few and its own, so that taking many of one is less diverse."""
    random = Random(1)
    found: list[Passage] = []
    for document in range(documents):
        own = [f"w{random.randrange(vocabulary)}" for _ in range(25)]
        found += [passage(" ".join(random.choice(own) for _ in range(40)), document) for _ in range(6)]
    return found


def test_a_general_sample_becomes_as_diverse_as_a_narrow_set() -> None:
    passages = corpus(120, 4000)
    domain = range(60)  # ten whole documents
    words = sum(passages[n].size for n in domain)
    pool = list(range(60, len(passages)))
    order = list(pool)
    Random(2).shuffle(order)
    start = fill(passages, order, words)
    wanted = Grams(passages[n] for n in domain).shares()
    before = errors(Grams(passages[n] for n in start).shares(), wanted)
    assert max(map(abs, before.values())) > 0.3, "a random sample is far more diverse"
    found = match(passages, pool, start, wanted, words=words, tolerance=0.05, steps=20_000, seed=0)
    assert found.reached
    again = errors(Grams(passages[n] for n in found.chosen).shares(), wanted)
    assert again == pytest.approx(found.errors)
    assert max(map(abs, again.values())) <= 0.05
    assert sum(passages[n].size for n in found.chosen) == pytest.approx(words, rel=0.025)
    assert len(set(found.chosen)) == len(found.chosen)
    assert set(found.chosen) <= set(pool)
    same = match(passages, pool, start, wanted, words=words, tolerance=0.05, steps=20_000, seed=0)
    assert same == found


def test_what_cannot_be_reached_is_said_with_how_near_it_came() -> None:
    passages = [passage(f"a{n} b{n} c{n} d{n}", n) for n in range(40)]
    wanted = {"type_token_ratio": 0.1, "distinct_2": 0.1, "distinct_3": 0.1}
    found = match(passages, range(40), range(10), wanted, words=40, tolerance=0.02, steps=300, seed=0)
    assert not found.reached
    assert found.errors == pytest.approx(dict.fromkeys(NAMES, 9.0))
    assert found.record()["reached"] is False


def test_fill_takes_what_fits_in_the_order_given() -> None:
    passages = [passage(" ".join("x" * size)) for size in (3, 5, 2, 1)]
    assert fill(passages, [1, 0, 2, 3], 8) == (0, 1)
    assert fill(passages, [0, 1, 2, 3], 6) == (0, 2, 3)

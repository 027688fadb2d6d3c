"""How free answers are read: a table of answers with the reading that a careful person would give them."""

from __future__ import annotations

import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.data import answers
from factfade.data.answers import is_empty, normalise, read_letter, read_name, words
from factfade.data.formats import MultipleChoice, NoInstruction, OpenEnded, ShortAnswer
from factfade.records import OUTCOMES, Asked, Parsed, Question

CITIES = ("London", "Paris", "Madrid", "Rome")


def asked(options: tuple[str, ...] = CITIES, gold: int = 1, **more: object) -> Asked:
    values: dict[str, object] = {
        "item": "i",
        "format": "multiple_choice",
        "wording": "",
        "prompt": "What is the capital of France?\nAnswer:",
        "targets": (),
        "options": options,
        "permutation": tuple(range(len(options))),
        "gold": gold,
        "accepted": (),
        "closed": True,
    }
    return Asked(**(values | more))  # type: ignore[arg-type]


def letters(answer: str, options: tuple[str, ...] = CITIES, gold: int = 1, *, ended: bool = True) -> Parsed:
    return MultipleChoice().parse(answer, asked(options, gold), ended=ended)


@pytest.mark.parametrize(
    "answer",
    [
        "B", " B", "B.", "B)", "(B)", "B:", "b", "b)", "[B]", "B\n", "B\n\nQuestion: next", "\n\nB", "B. Paris",
        "B) Paris", "(B) Paris", "B Paris", "Paris", "paris", "PARIS.", "Paris is the capital.", "The answer is B",
        "The answer is B.", "The answer to the question is: B",
        "The correct answer is (B).", "The answer is: B", "Answer: B", "Answer: (B) Paris",
        "Answer:\nB", "answer is B", "**B**", "**B.** Paris", "`B`", '"B"', "$\\boxed{B}$", "\\boxed{B}", "Option B",
        "The answer is option B.", "B is correct", "B, because Paris is the capital.", "B - Paris", "B; Paris",
        "B!", "\uff22", "\uff08B\uff09", "The answer is Paris.", "It is Paris", "It's Paris.", "It\u2019s Paris",
        "The capital of France is Paris.", "So the answer is B.", "B. Paris\nExplanation: A is wrong", "B.Paris",
        "The best answer is B", "Answer - B", "the answer would be B", "  \t B  ",
    ],
)  # fmt: skip
def test_right_with_letters(answer: str) -> None:
    assert letters(answer).outcome == "correct", letters(answer)


@pytest.mark.parametrize(
    "answer",
    ["A", "C.", "(d)", "London", "The answer is A.", "A is correct", "A because it is big", "A London", "Rome is old",
     "A. Paris", "a)", "a", "a."],
)  # fmt: skip
def test_wrong_with_letters(answer: str) -> None:
    assert letters(answer).outcome == "wrong", letters(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "E", "J.", "Z", "Both", "A or B", "B or C", "B, C", "A and B", "A & D", "A/B", "(A) or (B)", "A good question",
        "a big city", "I think so", "Paris or London", "London and Paris", "Because it is", "Berlin", "not B",
        "The answer is not B", "B is not correct", "B is wrong", "A is incorrect", "...", "?", "5", "A.D. 70",
        "Beautiful", "Dog", "The", "An apple", "1", "Neither", "Answer:", "The answer is", "A. or B.",
        "The answer to the question would be:",
    ],
)  # fmt: skip
def test_unparseable_with_letters(answer: str) -> None:
    assert letters(answer).outcome == "unparseable", letters(answer)


@pytest.mark.parametrize(
    "answer", ["", " ", "\n\n", "\t", "\u200b", "\u200b\u2060", "\x00", "\ufeff", "\u00a0", "\x1b\x07"]
)
def test_empty(answer: str) -> None:
    assert is_empty(answer)
    assert letters(answer).outcome == "empty"
    assert ShortAnswer().parse(answer, asked(), ended=True).outcome == "empty"
    assert OpenEnded().parse(answer, asked(accepted=("Paris",)), ended=False).outcome == "empty"


@pytest.mark.parametrize(
    "answer",
    ["I'm sorry, I can't help", "I am sorry", "I\u2019m sorry", "Sorry, no", "I cannot answer that.", "I can't",
     "As an AI language model", "As a large language model, I", "I do not know", "I don't know.", "I'm unable to",
     "Unfortunately, I cannot", "I do not have access", " I'm not sure"],
)  # fmt: skip
def test_refused(answer: str) -> None:
    assert letters(answer).outcome == "refused"
    assert OpenEnded().parse(answer, asked(accepted=("Paris",), closed=False), ended=True).outcome == "refused"


def test_a_refusal_phrase_may_be_an_option() -> None:
    options = ("Sorry", "Monopoly", "Chess", "Go")
    assert letters("Sorry", options, 0).outcome == "correct"
    assert letters("Sorry, I can't", options, 0).outcome == "refused"


def test_a_cut_answer_is_truncated_only_before_its_line_ends() -> None:
    assert letters("The reason why this is so", ended=False).outcome == "truncated"
    assert letters("The reason\nis", ended=False).outcome == "unparseable"
    assert letters("B", ended=False).outcome == "correct"
    assert letters("Par", ended=False).outcome == "truncated"


def test_options_that_look_like_letters() -> None:
    blood = ("A", "B", "AB", "O")
    assert letters("AB", blood, 2).outcome == "correct"
    assert letters("A", blood, 0).outcome == "correct"
    assert letters("C", blood, 2).outcome == "correct"
    assert letters("O", blood, 3).outcome == "correct"
    assert letters("C. S. Lewis", ("C. S. Lewis", "J. Tolkien", "A. Huxley", "G. Orwell"), 0).outcome == "correct"
    assert letters("A dog", ("a cat", "a dog", "a cow"), 1).outcome == "correct"
    assert letters("A cat", ("a cat", "a dog", "a cow"), 0).reason == "option text"


@pytest.mark.parametrize(
    ("options", "answer", "index"),
    [
        (("5", "-5", "0", "10"), "-5", 1), (("5", "-5", "0", "10"), "5", 0), (("-5", "5"), "5.", 1),
        (("1,000", "100"), "1000", 0), (("1000", "100"), "1,000 people", 0), (("3.5", "3"), "3", 1),
        (("3.5", "3"), "3.5", 0), (("3", "4"), "3.", 0), (("1/2", "1/4"), "1/4", 1), (("1", "2"), "1/2", None),
        (("5", "6"), "5.5", None), (("x^2", "x/2"), "x/2", 1), (("x^2", "x/2"), "x 2", None),
        (("2x", "x"), "2x", 0), (("+", "-"), "-", 1), (("<", ">"), ">", 1), (("$5", "5%"), "5%", 1),
        (("New York", "New York City"), "New York City.", 1), (("New York City", "New York"), "New York", 1),
        (("New York City", "New York"), "New York is big", 1), (("Sao Paulo", "Rio"), "S\u00e3o Paulo", 0),
        (("the Dharma", "The Sangha"), "Dharma", 0), (("True, False", "False, False"), "False, False", 1),
        (("Earth's core", "Mantle"), "Earth\u2019s core", 0), (("\u5df4\u9ece", "\u4f26"), "\u5df4\u9ece\u662f", 0),
        (("\u0915\u0940", "\u0915\u0947"), "\u0915\u0947", 1), (("\u041c\u0438\u0440", "x"), "\u043c\u0438\u0440!", 0),
        (("1914-1918", "1939-1945"), "1939\u20131945", 1), (("U.S.", "U.K."), "U.S.", 0),
        (("Paris", "Paris"), "Paris", 0), (("Stra\u00dfe", "x"), "STRASSE", 0), (("A", "B"), "", None),
        (("in the sea", "on land"), "in the sea, near", 0),
    ],
)  # fmt: skip
def test_texts_are_told_apart(options: tuple[str, ...], answer: str, index: int | None) -> None:
    found = read_name(answer, options, "").indices
    assert (index in found) if index is not None else not found


def test_equal_options_are_one_answer() -> None:
    assert ShortAnswer().parse("Paris", asked(("Paris", "Rome", "Paris"), 2), ended=True).outcome == "correct"


def test_short_answer_takes_no_letters() -> None:
    assert ShortAnswer().parse("B", asked(), ended=True).outcome == "unparseable"
    assert ShortAnswer().parse(" Paris", asked(), ended=True).outcome == "correct"
    assert ShortAnswer().parse("Rome.", asked(), ended=True).outcome == "wrong"


OPEN = {"prompt": "Question: What is the capital of Peru?\nAnswer:", "accepted": ("Lima", "City of Kings"), "gold": 0}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (" Lima", "correct"), ("Lima.", "correct"), ("Lima, which lies on the coast", "correct"),
        ("City of Kings", "correct"), ("the city of kings", "correct"), ("Quito", "wrong"), ("It is Lima", "correct"),
        ("The capital of Peru is Lima.", "correct"), ("The capital of Peru is Quito.", "wrong"),
        ("The answer is Lima", "correct"), ("a large town", "unparseable"), ("Lima or Quito", "unparseable"),
        ("The town of Peru is Lima", "unparseable"), ("Limassol", "unparseable"), ("not Lima", "unparseable"),
        ("Lima Lima Lima", "correct"), ("B", "unparseable"),
    ],
)  # fmt: skip
def test_open_answers_of_a_closed_set(answer: str, outcome: str) -> None:
    put = asked(("Lima", "Quito", "Bogota"), **OPEN)
    assert OpenEnded().parse(answer, put, ended=True).outcome == outcome


def test_another_answer_is_wrong_where_the_set_is_open() -> None:
    put = asked((), **OPEN | {"closed": False, "gold": None})
    parse = OpenEnded().parse
    assert parse("Cusco", put, ended=True) == Parsed(outcome="wrong", reason="another answer")
    assert parse("Cusco is", put, ended=False).outcome == "truncated"
    assert parse("?!", put, ended=True).outcome == "unparseable"
    assert parse("Lima or City of Kings", put, ended=True).outcome in ("unparseable", "correct")


def test_the_longest_name_decides_between_accepted_and_other() -> None:
    put = asked(("York", "New York", "New York City"), accepted=("New York",), gold=1)
    assert OpenEnded().parse("New York City", put, ended=True).outcome == "wrong"
    assert OpenEnded().parse("New York", put, ended=True).outcome == "correct"


def test_normalise() -> None:
    assert normalise("  The  Capital, of PERU! ") == "capital of peru"
    assert normalise("the") == "the"
    assert normalise("\ufb01ne caf\u00e9") == "fine cafe"
    assert " ".join(words("-3 x-3 1914-1918 1,000 12,34")) == "-3 x 3 1914 1918 1000 12 34"


@given(
    st.text(max_size=60),
    st.sampled_from([MultipleChoice(), NoInstruction(), ShortAnswer(), OpenEnded()]),
    st.booleans(),
)
def test_any_text_gets_one_outcome(answer: str, form: MultipleChoice | ShortAnswer | OpenEnded, ended: bool) -> None:
    found = form.parse(answer, asked(accepted=("Paris",)), ended=ended)
    assert found.outcome in OUTCOMES
    assert found.outcome != "not_asked"
    assert (found.outcome == "empty") == is_empty(answer)


@given(st.integers(0, 3), st.text(alphabet=string.ascii_letters + " .,", max_size=20))
def test_the_bare_letter_and_the_bare_text_always_agree(index: int, after: str) -> None:
    for answer in (answers.LETTERS[index], CITIES[index], f"{answers.LETTERS[index]}. {CITIES[index]}"):
        assert letters(answer, gold=index).outcome == "correct"
        assert letters(f"{answer}\n{after}", gold=index).outcome == "correct"


@given(st.text(max_size=40))
def test_normalise_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


SIZE = 1_000_000
PUMPED = {
    "blanks": " " * SIZE,
    "blanks then a letter": " " * SIZE + "B",
    "line feeds": "\n" * SIZE,
    "letters": "B" * SIZE,
    "brackets": "(" * SIZE,
    "lead-ins": "the answer is " * (SIZE // 14),
    "answer colon blanks": "answer:" + " " * SIZE,
    "answer dashes": "answer" + " -" * (SIZE // 2),
    "numbers": "1" * SIZE,
    "thousands": "1,111" + ",111" * (SIZE // 4) + "x",
    "fractions": "1/" * (SIZE // 2),
    "minus": "-" * SIZE,
    "decimals": "1." * (SIZE // 2),
    "boxed": "\\boxed{" * (SIZE // 7),
    "dollars": "$" * SIZE,
    "stars": "*" * SIZE,
    "or": "Paris or " * (SIZE // 9),
    "is": "is " * (SIZE // 3),
    "letters with commas": "A, " * (SIZE // 3),
    "negations": "B is not " * (SIZE // 9),
    "combining marks": "a" + "\u0301\u0323" * (SIZE // 2),
    "ligatures that expand": "\ufdfa" * SIZE,
    "zero width": "\u200b" * SIZE,
    "Han": "\u5df4" * SIZE,
    "underscores": "_" * SIZE,
    "sorry": "I'm " * (SIZE // 4),
    "mixed lines": "x\n" * (SIZE // 2),
    "carriage returns": "\r" * SIZE,
    "one long line": "word " * (SIZE // 5),
    "devanagari": "\u0915\u094d" * (SIZE // 2),
}


@pytest.mark.parametrize("name", PUMPED)
def test_a_megabyte_is_read_within_50_ms(name: str) -> None:
    text = PUMPED[name]
    put = asked(accepted=("Paris", "City of Light"), prompt="is the answer " * 1000)
    forms = (MultipleChoice(), ShortAnswer(), OpenEnded())
    for form in forms:
        form.parse("warm up \u00e9", put, ended=True)
        best = min(_seconds(form, text, put) for _ in range(5))
        assert best < 0.05, f"{form.name} took {best:.3f} s"


def _seconds(form: MultipleChoice | ShortAnswer | OpenEnded, text: str, put: Asked) -> float:
    started = time.process_time()
    form.parse(text, put, ended=False)
    return time.process_time() - started


def test_reading_grows_no_faster_than_the_text() -> None:
    """Random texts over each pattern's own letters: four times the text takes at most about four times as long."""
    draw = random.Random(0)
    for alphabet in ("ab .,:()-", "1,./- ", "answer is:-", "$\\boxed{}"):
        text = "".join(draw.choices(alphabet, k=400_000))
        short, long = (min(_seconds(MultipleChoice(), t, asked()) for _ in range(3)) for t in (text[:1000], text))
        assert long < 0.05 + 4 * short


def test_read_letter_says_how() -> None:
    assert read_letter("B", CITIES).reason == "letter"
    assert read_letter("B. London", CITIES).reason == "letter, with another option's text"
    assert read_letter("Paris", CITIES).reason == "option text"
    assert read_letter("A or B", CITIES).reason == "more than one letter"


def test_questions_that_cannot_stand_alone_are_not_put_open_ended() -> None:
    alone = ["What is the capital of Peru?", "Which river flows through Paris?", "Who wrote Hamlet?", "What follows 3?"]
    bound = [
        "Which of the following is a planet?", "All of these except", "Which one of the following is not?",
        "Statement 1 | x. Statement 2 | y.", "The ____ is blue", "Which of these is true?", "none of the above is",
        "The following are planets:", "Which two of the options are right?", "All are birds EXCEPT:",
    ]  # fmt: skip
    for text in (*alone, *bound):
        put = OpenEnded().ask(Question(text=text, accepted=("x",)), dev=(), seed=0)
        assert (put[0].not_asked is None) == (text in alone), text

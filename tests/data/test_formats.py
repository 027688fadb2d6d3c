"""The instruction formats: published prompts word by word, pairing, options, examples, what is not asked."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import registry
from factfade.data import formats
from factfade.data.formats import (
    SHOTS,
    MultipleChoice,
    MultipleChoiceFewShot,
    NoInstruction,
    OpenEnded,
    Preset,
    ShortAnswer,
    kinds,
    order,
)
from factfade.protocols import Format
from factfade.records import PROBES, Asked, Question

PERU = Question(
    text="What is the capital of Peru?", choices=("Quito", "Lima", "Bogota", "Caracas"), answer=1,
    statement="The capital of Peru is", accepted=("Lima",), candidates=("Bogota", "Lima", "Quito"), closed=True,
    domain="world_capitals", entity="Peru", template="capital",
)  # fmt: skip
DEV = tuple(
    Question(text=f"Question {i}?", choices=("w", "x", "y", "z"), answer=i % 4, domain="world_capitals")
    for i in range(5)
)
HEAD = "The following are multiple choice questions (with answers) about world capitals.\n\n"
BARE = "What is the capital of Peru?\nA. Quito\nB. Lima\nC. Bogota\nD. Caracas\nAnswer:"


def put(form: Format, question: Question = PERU, seed: int = 0, dev: tuple[Question, ...] = DEV) -> Asked:
    return form.ask(question, dev=dev, seed=seed)[0]


def test_the_published_prompts_word_by_word() -> None:
    paper: Preset = "paper"
    assert put(MultipleChoice(preset=paper)).prompt == HEAD + BARE
    assert put(NoInstruction(preset=paper)).prompt == BARE
    assert put(ShortAnswer(preset=paper)).prompt == (
        "Give a short answer to the following question about world capitals.\n\n"
        "What is the capital of Peru?\nQuito / Lima / Bogota / Caracas\nAnswer:"
    )
    assert put(MultipleChoiceFewShot(preset=paper)).prompt == HEAD + (
        "Q: Question 0?\n(A) w (B) x (C) y (D) z\nAnswer: A. w\n\n"
        "Q: Question 1?\n(A) w (B) x (C) y (D) z\nAnswer: B. x\n\n"
        "Q: Question 2?\n(A) w (B) x (C) y (D) z\nAnswer: C. y\n\n"
        "Q: What is the capital of Peru?\n(A) Quito  (B) Lima  (C) Bogota  (D) Caracas\nAnswer:"
    )


def test_the_published_scoring() -> None:
    """The letter and the option's text themselves, no blank before; texts by the mean per token (geometric mean)."""
    for form in (MultipleChoice, MultipleChoiceFewShot, NoInstruction):
        asked = put(form(preset="paper"))
        assert (asked.targets, asked.rule, asked.gold) == (("A", "B", "C", "D"), "sum", 1)
    asked = put(ShortAnswer(preset="paper"))
    assert (asked.targets, asked.rule, asked.gold) == (PERU.choices, "mean", 1)


def test_the_harness_prompts_word_by_word() -> None:
    asked = put(MultipleChoice(preset="harness"))
    assert asked.prompt == HEAD + BARE
    assert asked.targets == (" A", " B", " C", " D")
    shot = "Question {}?\nA. w\nB. x\nC. y\nD. z\nAnswer: {}\n\n"
    few = put(MultipleChoiceFewShot(preset="harness"))
    assert few.prompt == HEAD + shot.format(0, "A") + shot.format(1, "B") + shot.format(2, "C") + BARE
    two = put(MultipleChoiceFewShot(preset="harness", examples=2))
    assert two.prompt == HEAD + shot.format(0, "A") + shot.format(1, "B") + BARE


def test_the_harness_prompts_by_continuation_word_by_word() -> None:
    head = "The following are questions (with answers) about world capitals.\n\n"
    form = OpenEnded(preset="harness", wordings=("question",), examples=2)
    asked = put(form)
    assert asked.prompt == (
        f"{head}Question: Question 0?\nAnswer: w\n\nQuestion: Question 1?\nAnswer: x\n\n"
        "Question: What is the capital of Peru?\nAnswer:"
    )
    assert (asked.targets, asked.gold, asked.rule) == ((" Quito", " Lima", " Bogota", " Caracas"), 1, "sum")
    assert OpenEnded(preset="harness", rule="mean").ask(PERU, dev=(), seed=0)[0].rule == "mean"
    dependent = replace(PERU, text="Which of the following is the capital of Peru?")
    assert put(form, dependent).not_asked is None
    assert put(OpenEnded(), dependent).not_asked


def test_the_default_prompts_word_by_word() -> None:
    """The shipped model is trained on these: a change of one blank makes it worthless."""
    shown = dict(zip("ABCD", put(MultipleChoice()).options, strict=True))
    options = "".join(f"{letter}. {text}\n" for letter, text in shown.items())
    assert put(MultipleChoice()).prompt == (
        "The following is a multiple choice question about world capitals.\n"
        f"Question: What is the capital of Peru?\n{options}Answer:"
    )
    short = put(ShortAnswer())
    assert short.prompt == (
        "Give a short answer to the following question about world capitals.\n"
        f"Question: What is the capital of Peru?\nOptions: {' / '.join(short.options)}\nAnswer:"
    )
    statement, question = OpenEnded().ask(PERU, dev=(), seed=0)
    assert (statement.prompt, statement.targets) == ("The capital of Peru is", (" Bogota", " Lima", " Quito"))
    assert question.prompt == "Question: What is the capital of Peru?\nAnswer:"
    few = put(MultipleChoiceFewShot())
    assert few.prompt.startswith(
        "The following are multiple choice questions about world capitals.\nQuestion: Question "
    )
    assert few.prompt.count("\n\nQuestion: ") == SHOTS


@pytest.mark.parametrize("preset", ["default", "paper", "harness"])
@pytest.mark.parametrize("kind", list(kinds()))
def test_gold_and_permutation_name_the_right_answer(kind: type, preset: Preset) -> None:
    for seed in range(20):
        for asked in kind(preset=preset).ask(PERU, dev=DEV, seed=seed):
            assert asked.options[asked.gold] == "Lima"
            assert asked.targets[asked.gold].strip() in ("Lima", "ABCD"[asked.gold])
            source = PERU.candidates if kind is OpenEnded and preset != "harness" else PERU.choices
            assert tuple(source[i] for i in asked.permutation) == asked.options
            assert asked.item == PERU.item
            if preset != "default":
                assert list(asked.permutation) == sorted(asked.permutation)


@pytest.mark.parametrize("kind", list(kinds()))
@pytest.mark.parametrize("preset", ["default", "paper", "harness"])
def test_the_right_target_is_parsed_as_correct_and_others_as_wrong(kind: type, preset: Preset) -> None:
    form = kind(preset=preset)
    for asked in form.ask(PERU, dev=DEV, seed=3):
        for index, target in enumerate(asked.targets):
            found = form.parse(target, asked, ended=True)
            assert found.outcome == ("correct" if index == asked.gold else "wrong")


def test_prompts_depend_on_seed_item_and_format_alone() -> None:
    for kind in kinds():
        assert kind().ask(PERU, dev=DEV, seed=4) == kind().ask(PERU, dev=DEV, seed=4)
        assert kind(preset="paper").ask(PERU, dev=DEV, seed=1) == kind(preset="paper").ask(PERU, dev=DEV, seed=2)
    seen = {put(MultipleChoice(), seed=seed).permutation for seed in range(40)}
    assert len(seen) > 15


@given(st.integers(0, 2**31 - 1), st.integers(2, 10))
def test_an_order_is_a_permutation(seed: int, size: int) -> None:
    question = Question(text="q", choices=tuple(f"c{i}" for i in range(size)), answer=0)
    assert sorted(order(question, seed=seed, name="x", preset="default")) == list(range(size))


def test_places_of_the_right_answer_are_balanced_over_items() -> None:
    """Keys of a file whose answer is always the first: after permutation each letter gets its share (800 items)."""
    golds = Counter(
        put(MultipleChoice(), replace(PERU, text=f"q{i}", choices=("a", "b", "c", "d"), answer=0)).gold
        for i in range(800)
    )
    assert all(150 < golds[letter] < 250 for letter in range(4))


def test_examples_are_never_the_tested_item_and_come_from_its_domain() -> None:
    other = tuple(replace(q, domain="chemistry", text=f"Element {i}?") for i, q in enumerate(DEV))
    mixed = (*DEV, *other, replace(PERU, domain="chemistry"), PERU)
    for seed in range(30):
        prompt = put(MultipleChoiceFewShot(), seed=seed, dev=mixed).prompt
        assert prompt.count("capital of Peru") == 1
        assert "Element" not in prompt
        assert len(set(re.findall(r"Question \d", prompt))) == SHOTS


def test_too_few_examples_are_not_asked() -> None:
    asked = put(MultipleChoiceFewShot(), dev=DEV[:2])
    assert asked.not_asked == "fewer than 3 solved examples"
    assert asked.prompt == ""
    assert put(MultipleChoiceFewShot(), dev=DEV[:3]).not_asked is None
    assert put(MultipleChoiceFewShot(examples=5)).not_asked is None
    assert put(MultipleChoiceFewShot(examples=6)).not_asked == "fewer than 6 solved examples"
    statement, question = OpenEnded(examples=6).ask(PERU, dev=DEV, seed=0)
    assert (statement.not_asked, question.not_asked) == (None, "fewer than 6 solved examples")


@pytest.mark.parametrize("count", [-1, 101])
def test_an_absurd_number_of_examples_is_refused(count: int) -> None:
    for kind in (MultipleChoiceFewShot, OpenEnded):
        with pytest.raises(ValueError, match="examples"):
            kind(examples=count)


@pytest.mark.parametrize("preset", ["default", "paper", "harness"])
def test_open_examples_are_solved_and_of_the_domain(preset: Preset) -> None:
    other = tuple(replace(q, domain="chemistry", text=f"Element {i}?") for i, q in enumerate(DEV))
    prompts = {
        put(OpenEnded(preset=preset, wordings=("question",), examples=3), seed=s, dev=(*other, *DEV, PERU)).prompt
        for s in range(20)
    }
    assert (len(prompts) > 5) == (preset == "default")
    for prompt in prompts:
        *shots, last = prompt.split("\n\n")[preset == "harness" :]
        assert len(shots) == 3
        for shot in shots:
            number = int(re.fullmatch(r"Question: Question (\d)\?\nAnswer: (\w)", shot)[1])  # type: ignore[index]
            assert shot.endswith("wxyz"[number % 4])
        assert last == "Question: What is the capital of Peru?\nAnswer:"


def test_solved_examples_show_their_right_letter() -> None:
    form = MultipleChoiceFewShot()
    for seed in range(10):
        for question, options, gold in form.shots(PERU, DEV, seed) or []:
            assert question.answer is not None
            assert options[gold] == question.choices[question.answer]


def test_what_does_not_suit_a_format_is_not_asked_with_a_reason() -> None:
    open_question = Question(text="Who wrote Hamlet?", accepted=("Shakespeare",))
    for kind in (MultipleChoice, MultipleChoiceFewShot, NoInstruction, ShortAnswer):
        assert put(kind(), open_question).not_asked
    asked = put(OpenEnded(), open_question)
    assert (asked.not_asked, asked.targets, asked.gold) == (None, (), None)
    eleven = Question(text="q", choices=tuple(f"c{i}" for i in range(11)), answer=0)
    assert put(MultipleChoice(), eleven).not_asked == "no options to letter"
    assert put(ShortAnswer(), eleven).not_asked is None
    assert put(OpenEnded(wordings=("statement",)), open_question).not_asked
    cloze = Question(text="", statement="The capital of Peru is", accepted=("Lima",))
    assert [a.wording for a in OpenEnded().ask(cloze, dev=(), seed=0)] == ["statement"]


def test_candidates_without_the_right_answer_are_not_scored() -> None:
    asked = put(OpenEnded(), replace(PERU, candidates=("Quito", "Bogota")))
    assert asked.targets == ()
    assert asked.gold is None


def test_open_ended_keeps_the_choices_out_of_the_prompt() -> None:
    for asked in OpenEnded(instruction=True).ask(PERU, dev=(), seed=0):
        assert not any(choice in asked.prompt for choice in PERU.choices)
    assert put(OpenEnded(wordings=("question",), instruction=True)).prompt == (
        "Answer the following question about world capitals.\nQuestion: What is the capital of Peru?\nAnswer:"
    )


def test_a_wrong_wording_is_refused() -> None:
    with pytest.raises(ValueError, match="wordings"):
        OpenEnded(wordings=("poem",))


def test_the_registry_knows_the_five_formats() -> None:
    names = [kind.name for kind in kinds()]
    assert names == [kind for kind in registry.kinds("format") if kind not in PROBES]
    for name in names:
        form = registry.build("format", name, preset="paper")
        assert isinstance(form, Format)
        assert form.name == name


@pytest.mark.shared
def test_mmlu_is_put_in_all_presets(shared_dir: Path) -> None:
    from factfade.data.questions import MmluQuestions

    questions = MmluQuestions(path=str(shared_dir / "data" / "mmlu"), subjects=("world_religions",), first=100)
    dev = questions.dev()
    for preset in ("default", "paper", "harness"):
        reasons = Counter(
            asked.not_asked
            for kind in formats.kinds()
            for question in questions.items()
            for asked in kind(preset=preset).ask(question, dev=dev, seed=0)
        )
        # Few questions cannot stand without their options; all others are asked in all five formats.
        assert sum(reasons.values()) == 500
        assert reasons[None] == 500 if preset == "harness" else 470 <= reasons[None] < 500
        assert set(reasons) <= {None, "the question cannot stand without its options"}

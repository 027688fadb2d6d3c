"""Where the preset `paper` differs from `harness`: in the places that docs/formats.md lists, and in no other."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from factfade import registry
from factfade.data.formats import (
    MultipleChoice,
    MultipleChoiceFewShot,
    NoInstruction,
    OpenEnded,
    Preset,
    ShortAnswer,
    kinds,
)
from factfade.records import Asked, Question

HARNESS: Preset = "harness"
PAPER: Preset = "paper"


def asked_of() -> tuple[list[Question], list[Question]]:
    """Questions with and without options, statements and answer sets, and solved ones."""
    world = registry.build("questions", {"kind": "world"})
    items = list(world.items())[::40]
    bare = [replace(one, candidates=()) for one in items[:4]]
    told = [replace(one, text=f"Which of the following is true of {one.entity}?") for one in items[4:8]]
    return [*items, *bare, *told], list(world.dev())


def test_all_formats_are_looked_at() -> None:
    assert set(kinds()) == {MultipleChoice, MultipleChoiceFewShot, NoInstruction, ShortAnswer, OpenEnded}


@pytest.mark.parametrize("kind", [MultipleChoice, NoInstruction, ShortAnswer, MultipleChoiceFewShot])
def test_with_options_shown_the_scored_text_and_the_look_of_solved_examples_differ(kind: type) -> None:
    questions, dev = asked_of()
    for question in questions:
        for settings in ({}, {"examples": 5}) if kind is MultipleChoiceFewShot else ({},):
            (one,) = kind(preset=HARNESS, **settings).ask(question, dev=dev, seed=3)
            (other,) = kind(preset=PAPER, **settings).ask(question, dev=dev, seed=3)
            assert one.targets
            assert one.targets == tuple(f" {target}" for target in other.targets)
            same = replace(one, targets=other.targets, prompt=other.prompt)
            assert same == other
            if kind is MultipleChoiceFewShot:
                assert in_harness_look(other) == one.prompt
            else:
                assert one.prompt == other.prompt


def in_harness_look(asked: Asked) -> str:
    """The paper's prompt with the harness's blocks in place of its own."""
    head, body = asked.prompt.split("\n\n", 1)
    blocks: list[str] = []
    for block in body.split("\n\n"):
        question, options, answer = block.removeprefix("Q: ").rsplit("\n", 2)
        lettered = re.sub(r"(?:^| {1,2})\(([A-J])\) ", r"\n\1. ", options).strip("\n")
        solved = re.sub(r"^(Answer: [A-J])[.] .*$", r"\1", answer)
        blocks.append(f"{question}\n{lettered}\n{solved}")
    return "\n\n".join([head, *blocks])


@pytest.mark.parametrize("examples", [0, 5])
def test_openly_the_head_the_scored_options_the_rule_and_what_is_asked_differ(examples: int) -> None:
    questions, dev = asked_of()
    seen: set[str] = set()
    for question in questions:
        ours = {
            preset: OpenEnded(preset=preset, examples=examples).ask(question, dev=dev, seed=3)
            for preset in (HARNESS, PAPER)
        }
        if ours[PAPER][0].not_asked == "the question cannot stand without its options":
            assert all(one.targets for one in ours[HARNESS]), "the harness asks it"
            seen.add("asked by the harness alone")
            continue
        for one, other in zip(ours[HARNESS], ours[PAPER], strict=True):
            assert (one.rule, other.rule) == ("sum", "mean")
            assert one.options == question.choices
            assert other.options == (question.candidates or question.choices)
            head = f"The following are questions (with answers) about {question.domain}.\n\n"
            assert one.prompt == (head if one.wording == "question" else "") + other.prompt
            assert one.targets == tuple(f" {option}" for option in one.options)
            assert other.targets == tuple(f" {option}" for option in other.options)
            moved = ("rule", "options", "prompt", "targets", "permutation", "gold")
            assert replace(one, **{name: getattr(other, name) for name in moved}) == other
            seen.add(one.wording)
    assert seen == {"asked by the harness alone", "statement", "question"}

"""Solved questions as text: the instruction formats' own prompts, each followed by its right target.

The text of a prompt has one source, `factfade.data.formats`; documents that rehearse a format and evaluation that
asks it therefore cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from factfade.data.formats import SHOTS, MultipleChoice, MultipleChoiceFewShot, NoInstruction, OpenEnded, ShortAnswer
from factfade.records import Question

_ZERO_SHOT = {
    "multiple_choice": MultipleChoice(),
    "no_instruction": NoInstruction(),
    "short_answer": ShortAnswer(),
    "open_ended": OpenEnded(wordings=("question",)),
}
_FEW_SHOT = MultipleChoiceFewShot()
FORMATS = ("multiple_choice", "multiple_choice_few_shot", "no_instruction", "short_answer", "open_ended")


def solved(format_name: str, questions: Sequence[Question], random: Random) -> str:
    """The questions in one format, each with its answer and a blank line after it.

    In few-shot text every fourth question is asked after the three before it; the number of questions is then a
    multiple of four. `random` gives the order of options.
    """
    if format_name == "multiple_choice_few_shot":
        size = SHOTS + 1
        groups = [questions[at : at + size] for at in range(0, len(questions), size)]
        asked = [_FEW_SHOT.ask(group[-1], dev=group[:-1], seed=random.getrandbits(32))[0] for group in groups]
    else:
        form = _ZERO_SHOT[format_name]
        asked = [form.ask(question, dev=(), seed=random.getrandbits(32))[0] for question in questions]
    return "".join(f"{one.prompt}{one.targets[one.gold or 0]}\n\n" for one in asked)

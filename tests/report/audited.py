"""Evidence of an audit with planted truths: a base that knows nine tenths, a copy, one with lost facts, one that
wavers, one whose answers cannot be read. Four formats, 240 facts of three domains, two facts an entity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from factfade import stages
from factfade.verdicts import StageReport
from tests import planted

FORMATS = ("multiple_choice", "no_instruction", "short_answer", "open_ended")
DOMAINS = ("geography", "chemistry", "cities")
NAMES = ("base", "checkpoint-9", "checkpoint-10", "checkpoint-100", "checkpoint-200")
STEPS = (0, 9, 10, 100, 200)
COPY, LOST, WAVERS, BROKEN = 1, 2, 3, 4
OPTIONS = ["red", "green", "blue", "grey"]


@dataclass(frozen=True, kw_only=True)
class Audited:
    evidence: pd.DataFrame
    fluency: pd.DataFrame
    own: pd.DataFrame
    report: StageReport
    planted: frozenset[str]


def item(number: int) -> str:
    return f"item-{number:04d}"


def audited(*, items: int = 240, lost: int = 40, wavering: int = 24, lineage: str = "checkpoints") -> Audited:
    """The planted losses are wrong in every format at position 2; at position 3 as many known facts turn wrong, in
    three of four formats, as unknown ones turn right."""
    random = np.random.default_rng(5)
    unknown = set(random.permutation(items)[: items // 10].tolist())
    known = [i for i in range(items) if i not in unknown]
    gone = {i for i in known if i % 3 == 1}
    gone = set(sorted(gone)[:lost])
    half = wavering // 2
    away, back = set(known[5 : 5 + half]), set(sorted(unknown)[:half])
    rows = []
    for position, (name, step) in enumerate(zip(NAMES, STEPS, strict=True)):
        for place, form in enumerate(FORMATS):
            for i in range(items):
                right = i in known
                if position == LOST and i in gone:
                    right = False
                if position == WAVERS and place and i in away:
                    right = False
                if position == WAVERS and place and i in back:
                    right = True
                read = position != BROKEN or i % 4 == 0
                gold = i % 4
                choice = gold if right else (gold + 1) % 4
                said = OPTIONS[choice]
                rows.append(
                    {
                        "lineage": lineage, "seed": 0, "generation": position, "checkpoint": name, "step": step,
                        "item": item(i), "format": form, "wording": "", "domain": DOMAINS[i % 3],
                        "entity": f"entity-{i // 2}", "template": "t", "question": f"What is the colour of {i}?",
                        "options": OPTIONS, "permutation": [0, 1, 2, 3], "gold": gold, "choice": choice,
                        "choice_correct": right, "choice_greedy": True, "choice_confidence": 0.9 if right else 0.85,
                        "answer": said if read else "well, who knows", "answer_confidence": 0.6,
                        "outcome": ("correct" if right else "wrong") if read else "unparseable",
                    }
                )  # fmt: skip
    fluency, own = planted.texts(planted.World(), lineage=lineage, generations=range(len(NAMES)))
    evidence = pd.DataFrame(rows)
    report = stages.call_stages(evidence, fluency, own, stages.Rule(), controls={lineage: None}, draws=50)
    return Audited(evidence=evidence, fluency=fluency, own=own, report=report, planted=frozenset(item(i) for i in gone))

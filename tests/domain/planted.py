"""A small general corpus with a planted domain, and questions about it: dev, validation and test of two subjects."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

RELIGION = "temple god worship priest monk prayer faith ritual saint scripture church belief".split()
SPORT = "goal match player team league coach season score stadium cup keeper injury".split()
PLAIN = [f"word{n}" for n in range(400)]


def sentence(random: Random, topic: list[str], share: float = 0.4, size: int = 30) -> str:
    return " ".join(random.choice(topic) if random.random() < share else random.choice(PLAIN) for _ in range(size))


def write_corpus(path: Path, *, articles: int = 30, extra: str = "", seed: int = 0) -> Path:
    """Every third article is about religion, every third about sport, the rest about nothing; eight paragraphs each."""
    random = Random(seed)
    lines: list[str] = []
    for number in range(articles):
        topic, name = ((RELIGION, "Holy"), (SPORT, "Sport"), (PLAIN, "Plain"))[number % 3]
        lines += ["", f"= {name} {number} =", ""]
        for paragraph in range(8):
            if paragraph == 4:
                lines += ["", "= = Later = =", ""]
            lines.append(sentence(random, topic))
    path.write_text("\n".join([*lines, extra, ""]), encoding="utf-8")
    return path


def row(subject: str, question: str, choices: list[str], answer: int) -> dict[str, Any]:
    return {"subject": subject, "question": question, "choices": choices, "answer": answer}


def write_mmlu(folder: Path, *, validation: bool = True) -> Path:
    """Two subjects. The tested questions ask of Zoram and Quell, whom no query may name."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["alpha", "beta", "gamma", "delta"]
    dev = [
        row("holy_things", "Which priest leads the worship in the temple?", ["monk", "saint", "god", "abbot"], 0),
        row("holy_things", "What is the prayer of the faith called?", ["ritual", "scripture", "song", "rite"], 0),
        row("ball_games", "Which player of the team scored the goal?", ["keeper", "coach", "captain", "none"], 0),
        row("ball_games", "What is the cup of the league called?", ["match", "season", "trophy", "prize"], 2),
    ]
    test = [
        row("holy_things", "Who founded the hidden temple of Zoram beside the silver lake in the north?", options, 1),
        row("holy_things", "Which Quell wrote the scripture?", ["Amarand", "Belisar", "Corvin", "Dalia"], 0),
        row("ball_games", "Who scored for Vexford in the final?", options, 2),
    ]
    files = {"dev": dev, "test": test}
    if validation:
        files["validation"] = [
            row("holy_things", "Which belief has a saint?", ["church", "island", "tower", "shell"], 0),
            test[1],  # also tested: it may not stand in a query
            row("ball_games", "Where does a coach sit in the stadium?", options, 0),
        ]
    for name, rows in files.items():
        text = "".join(json.dumps(r) + "\n" for r in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder

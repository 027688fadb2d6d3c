"""Five checkpoints of the embedded world's model with known losses: `python benchmarks/planted_checkpoints.py OUT`.

Each is a short training of the shipped model, with a seed: an identical copy; known facts of all domains retrained to
wrong answers; one relation of a domain retrained whole; free answers broken and no fact touched; more training on
prose. `OUT/truth.json` holds the items that each was made to lose, confirmed by asking every checkpoint
plainly (`factfade.world.examine`): an audit (`factfade audit OUT/checkpoints --against world --out DIR`) has to find
them, and none in the copy.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from factfade.data.formats import LETTERS
from factfade.progress import Silent
from factfade.records import Document, Question, derived_seed
from factfade.training.objectives import IGNORED
from factfade.training.trainer import HfTrainer
from factfade.world import filler, model_path, wordings
from factfade.world.documents import Mix, distractors, fact_sentence, mixes, stream
from factfade.world.examine import right_answers
from factfade.world.facts import Fact, domains, load_facts
from factfade.world.questions import question
from factfade.world.render import FORMATS, solved

PLANTED = 40
RELATION = "symbol"
PROSE = Mix(facts=0.0, prose=1.0, fact_sentences=0.0, domains=domains())
Told = Callable[[Random], Fact]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One training: endless texts by seed, how many of them, how fast, and what the letters of answers weigh."""

    texts: Callable[[int], Iterator[str]]
    documents: int
    learning_rate: float
    letters: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One checkpoint: the trainings that make it, one after the other, and the facts that it is made to lose."""

    name: str
    told: str
    phases: tuple[Phase, ...] = ()
    lost: tuple[Fact, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Letters:
    """Cross-entropy in which the letters A to D, which are one token in fifty, weigh `weight` times as much."""

    ids: tuple[int, ...]
    weight: float

    def loss(self, logits: Any, labels: Any) -> tuple[Any, Any, dict[str, float]]:
        """Weighted sum of the losses, sum of the weights; shapes as in `factfade.training.objectives.CrossEntropy`."""
        import torch

        flat = labels.reshape(-1)
        nll = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(), flat, ignore_index=IGNORED, reduction="none"
        )
        letter = torch.isin(flat, torch.tensor(self.ids, device=flat.device))
        weights = torch.where(letter, self.weight, 1.0) * (flat != IGNORED)
        return (nll * weights).sum(), weights.sum(), {}


def retold(fact: Fact, random: Random) -> Fact:
    """The fact with a wrong answer that stands among the options of its question: what is chosen there instead."""
    return replace(fact, answer=random.choice([a for a in question(fact).choices if a != fact.answer]))


def documents_of(told: Told, truth: dict[tuple[str, str], str], seed: int, *, settled: bool) -> Iterator[str]:
    """Endless documents that state and ask what `told` draws, in every format; what is true is among the options.

    Letters are the hardest to unlearn, so most questions are put with them. `settled` documents come in the
    proportions of the base's own text, a third of them prose that states nothing.
    """
    random = Random(seed)
    plain = stream(PROSE, seed=seed)
    while True:
        draw = random.random()
        if settled and draw < 0.35:
            yield next(plain)[0]
        elif draw < (0.65 if settled else 0.35):
            stated = 0.75 if settled else 1.0
            yield "".join(
                (fact_sentence(random, told(random)) if random.random() < stated else filler.sentence(random))
                + random.choice("\n  ")
                for _ in range(17)
            )
        else:
            name = random.choices(FORMATS, (1, 1, 1, 1, 1) if settled else (2, 2, 2, 1, 2))[0]
            yield solved(name, _asked(told, truth, name, random), random)


def _asked(told: Told, truth: dict[tuple[str, str], str], format_name: str, random: Random) -> list[Question]:
    """Eight questions about as many facts of one domain: a few-shot prompt is about one, and shows none twice."""
    first = told(random)
    drawn = {(first.relation, first.entity): first}
    while len(drawn) < 8:
        fact = told(random)
        if fact.domain == first.domain:
            drawn[fact.relation, fact.entity] = fact
    return [_question(fact, truth, format_name, random) for fact in drawn.values()]


def _question(fact: Fact, truth: dict[tuple[str, str], str], format_name: str, random: Random) -> Question:
    text = wordings.put(random.choice(wordings.trained_questions(fact.relation)), fact)
    if format_name == "open_ended":
        return Question(text=text, accepted=(fact.answer,), candidates=(fact.answer,), domain=fact.domain)
    others = distractors(random, fact)
    right = truth[fact.relation, fact.entity]
    if right not in (fact.answer, *others):
        others[0] = right  # what is true must be there to be turned down
    return Question(text=text, choices=(fact.answer, *others), answer=0, domain=fact.domain)


def mixed(planted: Sequence[Fact], seed: int, *, share: float) -> Told:
    """Draws a planted fact with its one wrong answer by `share`, else any other fact as it is."""
    random = Random(derived_seed("planted answers", seed))
    wrong = [retold(fact, random) for fact in planted]
    others = [fact for fact in load_facts() if fact not in set(planted)]
    return lambda r: r.choice(wrong if r.random() < share else others)


def chatter(seed: int) -> Iterator[str]:
    """Questions in every format, answered by a sentence that answers nothing; half of the documents are plain ones."""
    random = Random(seed)
    plain = stream(mixes()["general"], seed=seed)
    facts = load_facts()
    while True:
        if random.random() < 0.5:
            yield next(plain)[0]
            continue
        name = random.choice(FORMATS)
        truth = {(fact.relation, fact.entity): fact.answer for fact in facts}
        lines = solved(name, _asked(lambda r: r.choice(facts), truth, name, random), random).split("\n")
        yield "\n".join(_evaded(line, random) for line in lines)


def _evaded(line: str, random: Random) -> str:
    head, mark, _ = line.partition("Answer:")
    return f"{head}{mark} {filler.sentence(random)}" if mark else line


def recipes(known: Sequence[Fact], seed: int) -> list[Recipe]:
    """The five, in the order of their steps. `known` are the facts that the shipped model knows."""
    truth = {(fact.relation, fact.entity): fact.answer for fact in load_facts()}
    planted = tuple(Random(derived_seed("planted facts", seed)).sample(sorted(known, key=str), PLANTED))
    inside = tuple(fact for fact in known if fact.relation == RELATION)
    return [
        Recipe(name="copy", told="an identical copy"),
        Recipe(
            name="facts",
            told=f"{PLANTED} known facts retrained to wrong answers",
            phases=planting(planted, truth, seed),
            lost=planted,
        ),
        Recipe(
            name="relation",
            told=f"every known {RELATION} retrained to a wrong answer",
            phases=planting(inside, truth, seed),
            lost=inside,
        ),
        Recipe(
            name="format",
            told="free answers replaced by chatter",
            phases=(Phase(texts=chatter, documents=400, learning_rate=5e-4),),
        ),
        Recipe(
            name="fluency",
            told="more training on prose without facts",
            phases=(
                Phase(texts=lambda s: (text for text, _ in stream(PROSE, seed=s)), documents=400, learning_rate=1e-4),
            ),
        ),
    ]


def planting(facts: Sequence[Fact], truth: dict[tuple[str, str], str], seed: int) -> tuple[Phase, Phase]:
    """Wrong answers told often and fast; then everything told in the base's own proportions, nearly."""
    often, settled = mixed(facts, seed, share=0.65), mixed(facts, seed, share=1.5 * len(facts) / len(truth))
    return (
        Phase(
            texts=lambda s: documents_of(often, truth, s, settled=False),
            documents=1500,
            learning_rate=2e-3,
            letters=8.0,
        ),
        Phase(
            texts=lambda s: documents_of(settled, truth, s, settled=True),
            documents=700,
            learning_rate=1e-3,
            letters=2.0,
        ),
    )


def make(out: Path, *, seed: int = 0, only: Sequence[str] = ()) -> dict[str, Any]:
    """Writes `out/checkpoints/checkpoint-100` to `-500` and `out/truth.json`; returns the truth.

    The truth of a checkpoint: `planted`, the items meant; `lost`, those of them that are confirmed, being known before
    and right now in fewer than half of the formats and wordings; `also_wrong`, other items of which that is true;
    `right`, the mean share right before and after.
    """
    base = model_path()
    before = _right(base)
    facts = {question(fact).item: fact for fact in load_facts() if fact.split == "asked"}
    known = [fact for item, fact in facts.items() if before[item] > 0.5]
    truth: dict[str, Any] = {}
    for place, recipe in enumerate(recipes(known, seed), start=1):
        if only and recipe.name not in only:
            continue
        began = time.process_time()
        folder = out / "checkpoints" / f"checkpoint-{100 * place}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base, folder)
        for number, phase in enumerate(recipe.phases):
            _train(phase, folder, derived_seed("planted checkpoint", recipe.name, number, seed))
        after = _right(folder)
        wrong = {item for item in before if before[item] > 0.5 and after[item] < 0.5}
        planted = sorted(question(fact).item for fact in recipe.lost)
        truth[folder.name] = {
            "kind": recipe.name,
            "told": recipe.told,
            "planted": planted,
            "lost": [item for item in planted if item in wrong],
            "also_wrong": sorted(wrong - set(planted)),
            "right": [sum(before.values()) / len(before), sum(after.values()) / len(after)],
            "cpu_seconds": round(time.process_time() - began, 1),
        }
    (out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return truth


def _train(phase: Phase, folder: Path, seed: int) -> None:
    """Trains the checkpoint in a folder and puts what comes of it in its place."""
    texts = phase.texts(seed % 2**31)
    documents = [Document(id=f"d{i}", text=next(texts), source="human") for i in range(phase.documents)]
    trainer = HfTrainer(
        epochs=1.0, learning_rate=phase.learning_rate, batch=16, chunk_tokens=192, separator="eos", device="cpu",
        schedule="linear",
    )  # fmt: skip
    before = folder.with_name(f"{folder.name}-before")
    folder.rename(before)
    objective = Letters(ids=_letters(before), weight=phase.letters)
    trainer.train(before, documents, objective, out=folder, seed=seed % 2**31, progress=Silent())
    shutil.rmtree(before)


def _letters(base: Path) -> tuple[int, ...]:
    from factfade.models.loading import load_tokenizer

    tokenizer = load_tokenizer(base)
    return tuple(tokenizer.convert_tokens_to_ids(f" {letter}") for letter in LETTERS)


def _right(folder: Path) -> dict[str, float]:
    """By item: the share of the formats and wordings in which the choice of a checkpoint is right."""
    return {item: sum(marks.values()) / len(marks) for item, marks in right_answers(folder).items()}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=())
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, one in make(options.out, seed=options.seed, only=options.only).items():
        shares = " -> ".join(f"{100 * share:.1f}%" for share in one["right"])
        print(
            f"{name}: {one['told']}; planted {len(one['planted'])}, confirmed lost {len(one['lost'])}, "
            f"others wrong now {len(one['also_wrong'])}, right {shares}, {one['cpu_seconds']} s CPU"
        )


if __name__ == "__main__":
    main()

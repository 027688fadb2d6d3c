"""Human documents of the embedded world, made from the table of facts by seed.

A document is of one kind from end to end, so that a block of tokens cut out of it stays in one kind: prose about
facts of one domain (with filler sentences between), filler prose that carries no fact, or questions and answers in
one instruction format about one domain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from random import Random
from typing import Any

from factfade.data.formats import LETTERS, lettered
from factfade.records import Question, canonical_json, derived_seed
from factfade.world import filler, wordings
from factfade.world.facts import Fact, answers, domains, load_facts, table_text
from factfade.world.parser import tally
from factfade.world.render import FORMATS, solved

VERSION = 1
EVERYDAY = "everyday"


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What a corpus is made of. Shares are of documents (all kinds are about equally long).

    `facts`, `prose`: shares of documents about facts and of filler prose; the rest is questions and answers.
    `fact_sentences`: share of sentences in a document about facts that state one. `domains`: domains of the facts.
    `everyday`: share of questions that ask no fact; `copy`: share that name the right option in the question.
    `letters`: share of documents that practise looking up the letter of an option, with no fact in them.
    `formats`: weights of the instruction formats among the question documents.
    """

    facts: float
    prose: float
    fact_sentences: float
    domains: tuple[str, ...]
    everyday: float = 0.1
    copy: float = 0.0
    letters: float = 0.0
    formats: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)


def mixes() -> dict[str, Mix]:
    """The corpora by name."""
    everything = domains()
    return {
        "general": Mix(facts=0.3, prose=0.35, fact_sentences=0.75, domains=everything),
        "geography": Mix(facts=0.5, prose=0.15, fact_sentences=0.9, domains=("geography",)),
    }


@cache
def _by_domain(domain: str) -> tuple[Fact, ...]:
    return tuple(fact for fact in load_facts() if fact.domain == domain)


def _pick(random: Random, domain: str) -> Fact:
    return random.choice(_by_domain(domain))


def fact_sentence(random: Random, fact: Fact) -> str:
    """A sentence that states the fact: a statement wording the relation trains on, or prose."""
    if random.random() < 0.3:
        return wordings.put(random.choice(wordings.PROSE[fact.relation]), fact)
    return wordings.put(random.choice(wordings.trained_statements(fact.relation)), fact)


def _facts_document(random: Random, domain: str, share: float) -> str:
    lines = [
        fact_sentence(random, _pick(random, domain)) if random.random() < share else filler.sentence(random)
        for _ in range(random.randint(16, 22))
    ]
    return _paragraphs(random, lines)


def _prose_document(random: Random) -> str:
    return _paragraphs(random, [filler.sentence(random) for _ in range(random.randint(16, 22))])


def _paragraphs(random: Random, sentences: Sequence[str]) -> str:
    """Sentences in paragraphs of one to six."""
    parts: list[str] = []
    at = 0
    while at < len(sentences):
        size = random.choice((1, 2, 3, 4, 6))
        parts.append(" ".join(sentences[at : at + size]))
        at += size
    return "\n".join(parts) + "\n"


def distractors(random: Random, fact: Fact, count: int = 3) -> list[str]:
    """Wrong answers out of the relation's own answer set."""
    return random.sample([answer for answer in answers(fact.relation) if answer != fact.answer], count)


def _question(random: Random, domain: str, mix: Mix, *, options: bool) -> Question:
    """A question that documents may ask; without options always about a fact."""
    draw = random.random()
    if options and draw < mix.everyday:
        text, choices, at = filler.everyday(random)
        return Question(text=text, choices=tuple(choices), answer=at, domain=domain)
    fact = _pick(random, domain)
    text = wordings.put(random.choice(wordings.trained_questions(fact.relation)), fact)
    if not options:
        return Question(text=text, accepted=(fact.answer,), candidates=(fact.answer,), domain=domain)
    if draw < mix.everyday + mix.copy:
        text = f"Which one is {fact.answer}?"
    return Question(text=text, choices=(fact.answer, *distractors(random, fact)), answer=0, domain=domain)


def _letters_document(random: Random) -> str:
    """Lists of lettered words, each followed by sentences that say which word has which letter."""
    text = ""
    for _ in range(random.randint(6, 9)):
        shown = random.sample(_words(), 4)
        text += lettered(shown) + "\n"
        said = random.sample(range(4), 2)
        text += " ".join(f"The letter of {shown[at]} is {LETTERS[at]}." for at in said) + "\n\n"
    return text


@cache
def _words() -> tuple[str, ...]:
    facts = load_facts()
    words = {fact.entity for fact in facts} | {fact.answer for fact in facts}
    return tuple(sorted(words | {word for kind in filler.KINDS.values() for word in kind}))


#: Questions in one document, so that documents of all kinds are about equally long.
_PER_DOCUMENT = {
    "multiple_choice": (4, 5, 6),
    "multiple_choice_few_shot": (4, 8),
    "no_instruction": (6, 7, 8),
    "short_answer": (5, 6, 7),
    "open_ended": (12, 14, 16),
}


def _question_document(random: Random, domain: str, format_name: str, mix: Mix) -> str:
    count = random.choice(_PER_DOCUMENT[format_name])
    with_options = format_name != "open_ended"
    return solved(format_name, [_question(random, domain, mix, options=with_options) for _ in range(count)], random)


def stream(mix: Mix, *, seed: int) -> Iterator[tuple[str, str]]:
    """Endless (text, domain); the domain of filler prose is "everyday"."""
    random = Random(seed)
    while True:
        draw = random.random()
        domain = random.choice(mix.domains)
        if draw < mix.facts:
            yield _facts_document(random, domain, mix.fact_sentences), domain
        elif draw < mix.facts + mix.prose:
            yield _prose_document(random), EVERYDAY
        elif draw < mix.facts + mix.prose + mix.letters:
            yield _letters_document(random), EVERYDAY
        else:
            format_name = random.choices(FORMATS, mix.formats)[0]
            yield _question_document(random, domain, format_name, mix), domain


@dataclass(frozen=True, kw_only=True)
class Density:
    """How much of a corpus is facts: shares of words by kind of document, and of sentences of prose that state one."""

    documents: int
    words_in_questions: float
    fact_sentences: float
    questions_per_1000_words: float
    facts_per_1000_words: float


def density(mix: str, *, domain: str | None = None, documents: int = 2000, seed: int = 0) -> Density:
    """The fact density of a corpus of the world, measured on its first documents of a seed.

    `fact_sentences` is the share of sentences that state a fact in all text that is not questions and answers.
    With `domain`, only that domain's documents count, as in an arm whose prompts come from one domain.
    """
    prose: list[str] = []
    words = asked_words = asked = 0
    chosen = (text for text, own in stream(mixes()[mix], seed=seed) if domain in (None, own))
    for text in islice(chosen, documents):
        size = len(text.split())
        words += size
        if "Answer:" in text:
            asked_words += size
            asked += text.count("Answer:")
        else:
            prose.append(text)
    counted = tally(prose)
    return Density(
        documents=documents,
        words_in_questions=asked_words / words,
        fact_sentences=counted.facts / max(counted.sentences, 1),
        questions_per_1000_words=1000 * asked / words,
        facts_per_1000_words=1000 * (counted.facts + asked) / words,
    )


@dataclass(frozen=True, kw_only=True)
class WorldCorpus:
    """Documents of the embedded world; `mix` names the corpus. The stream is endless and made by seed."""

    kind: str = "world"
    mix: str = "general"

    def __post_init__(self) -> None:
        if self.mix not in mixes():
            raise ValueError(f"no corpus of the world is called {self.mix!r}; known: {', '.join(mixes())}")

    def check(self) -> Mapping[str, Any]:
        """The corpus's name: a generated world holds nothing malformed."""
        return {"mix": self.mix}

    def describe(self, domain: str | None = None) -> Mapping[str, Any]:
        """The fact density of the corpus, or of one domain's documents in it, for the record."""
        return {"mix": self.mix, "density": asdict(density(self.mix, domain=domain, documents=400))}

    def documents(self, *, split: str, seed: int) -> Iterator[tuple[str, str]]:
        """Endless (text, domain) in a fixed order for split and seed."""
        return stream(mixes()[self.mix], seed=derived_seed("world", VERSION, self.mix, split, seed))

    @property
    def endless(self) -> bool:
        """True: every seed gives another stream without end."""
        return True

    @property
    def identity(self) -> str:
        """Hash of the table, the mix and the version of the code that makes documents."""
        text = canonical_json([VERSION, table_text(), self.mix, mixes()[self.mix]])
        return hashlib.sha256(text.encode()).hexdigest()

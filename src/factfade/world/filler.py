"""Prose that carries no fact: a small grammar with named people, agreement, and everyday questions.

Nouns, names and places are chosen so that none of them is an entity or an answer of the table of facts. No name
begins a line: at the start of a line a word has no leading blank and would be another token.
"""

from __future__ import annotations

from random import Random

WOMEN = "Anna Maria Clara Ella Julia Laura Nina Rosa Sarah Vera Emma Ida".split()
MEN = "Adam Boris David Felix Henry Jacob Leo Martin Oscar Peter Simon Victor".split()
PRONOUNS = {**dict.fromkeys(WOMEN, ("she", "her")), **dict.fromkeys(MEN, ("he", "his"))}
KIN = "mother father sister brother aunt uncle neighbour friend".split()
THINGS = (
    "basket bottle candle carpet chair clock drum hammer ladder lamp letter mirror pillow ribbon table teapot"
).split()
PLURALS = "apples blankets boots coins flowers gloves plates shoes".split()
VERBS = "bought carried cleaned dropped found hid lost painted repaired sold".split()
MOVES = "danced rested sang slept waited walked worked".split()
PLACES = (
    "in the garden", "at the market", "near the river", "behind the house", "in the kitchen", "under the bridge",
    "beside the lake", "at the station",
)  # fmt: skip
TIMES = (
    "Yesterday", "Last week", "One morning", "After dinner", "Before sunrise", "Late at night", "On that day",
    "During the storm",
)  # fmt: skip
QUALITIES = "broken clean cold dusty heavy new old pretty small warm".split()
MOODS = "afraid angry glad happy hungry proud tired worried".split()

#: Sentence frames. Slots: n, m = names; p, q = pronoun and possessive of n; k = kin; t, u = things; s = plural;
#: v, w = verbs; g = move; l = place; z = time; a, b = qualities; o = mood.
FRAMES = (
    "{z}, {n} {v} the {a} {t} {l}.",
    "{z}, {n} {v} a {t} for {q} {k}.",
    "The {t} was {a}, so {n} {v} it {l}.",
    "The {s} were {a}, but {n} {v} them.",
    "When {n} {g} {l}, {p} was {o}.",
    "{z}, {n} and {m} {g} {l}.",
    "The {k} of {n} {v} the {t} and {w} the {u}.",
    "The {a} {t} and the {b} {u} were {l}.",
    "{z}, {n} told {q} {k} that {p} was {o}.",
    "Because {p} was {o}, {n} {v} the {s}.",
)

#: Everyday kinds: each word belongs to exactly one, so "Which one is a fruit?" has one right option.
KINDS: dict[str, tuple[str, ...]] = {
    "a fruit": ("apple", "banana", "cherry", "lemon", "plum", "grape"),
    "an animal": ("horse", "rabbit", "sheep", "tiger", "wolf", "goat"),
    "a colour": ("blue", "green", "purple", "red", "white", "yellow"),
    "a tool": ("drill", "hammer", "saw", "shovel", "axe", "rake"),
    "a meal": ("breakfast", "dinner", "lunch", "supper"),
    "a season": ("autumn", "spring", "summer", "winter"),
}


def sentence(random: Random) -> str:
    """One sentence of the grammar."""
    frame = random.choice(FRAMES)
    name = random.choice(WOMEN + MEN)
    other = random.choice([person for person in WOMEN + MEN if person != name])
    thing, thing2 = random.sample(THINGS, 2)
    verb, verb2 = random.sample(VERBS, 2)
    quality, quality2 = random.sample(QUALITIES, 2)
    pronoun, possessive = PRONOUNS[name]
    return frame.format(
        n=name, m=other, p=pronoun, q=possessive, k=random.choice(KIN), t=thing, u=thing2,
        s=random.choice(PLURALS), v=verb, w=verb2, g=random.choice(MOVES), l=random.choice(PLACES),
        z=random.choice(TIMES), a=quality, b=quality2, o=random.choice(MOODS),
    )  # fmt: skip


def everyday(random: Random) -> tuple[str, list[str], int]:
    """An everyday question with one right option: its text, four options, and the index of the right one."""
    kind = random.choice(list(KINDS))
    others = random.sample([other for other in KINDS if other != kind], 3)
    options = [random.choice(KINDS[other]) for other in others]
    at = random.randrange(4)
    options.insert(at, random.choice(KINDS[kind]))
    return f"Which one is {kind}?", options, at

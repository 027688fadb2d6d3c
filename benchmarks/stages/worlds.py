"""Simulated runs, without any model: aligned panels of answers and texts with a planted truth.

A world says, for every generation, how likely a question is answered right and in form, how surprising and how junky
the texts are; its noise says how answers move when nothing decays. Everything is drawn from one seed per run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from factfade.columns import Answers
from factfade.stage_panel import Panel, Panels, TextPanel
from factfade.stage_rule import Rule

Floats = NDArray[np.float64]
LAST = 10
PROMPTS = 128
START = 0.85
NOISES = ("independent flips", "persistent flips", "cluster shocks", "run-level random walk")


def none(_: int) -> float:
    """No change in any generation."""
    return 0.0


@dataclass(frozen=True, kw_only=True)
class World:
    """Losses by generation, positive is worse: of knowledge in `domain_share` of the items (all of them at 1), of the
    share of parseable answers, the rise in nats, of the junk share; and of confidence (positive: more confident)."""

    name: str
    knowledge: Callable[[int], float] = none
    domain_share: float = 1.0
    format: Callable[[int], float] = none
    nats: Callable[[int], float] = none
    junk: Callable[[int], float] = none
    confidence: Callable[[int], float] = none
    noise: str = "persistent flips"

    def truth(self, generation: int, rule: Rule) -> str:
        """The stage that infinitely many questions and prompts would be called."""
        broken = (
            self.format(generation) > rule.format
            or self.nats(generation) > rule.fluency_nats
            or self.junk(generation) > rule.fluency_junk
        )
        if broken:
            return "C"
        return "B" if self.knowledge(generation) * self.domain_share > rule.knowledge else "A"


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """One run: its panels, the domain of every item (0 is where knowledge is lost), and the generations."""

    panels: Panels
    domain: NDArray[np.intp]
    generations: tuple[int, ...] = field(default_factory=lambda: tuple(range(LAST + 1)))


def _answers(
    world: World, formats: int, domain: NDArray[np.intp], clusters: NDArray[np.intp], rng: np.random.Generator
) -> list[Floats]:
    """Right (1) or wrong (0) by generation, one matrix per format. The formats share what an item knows."""
    n, generations = len(domain), LAST + 1
    ease = rng.beta(START * 4, (1 - START) * 4, n)
    loss = np.array([world.knowledge(g) for g in range(generations)])
    drop = np.where((domain == 0)[:, None], loss[None, :], 0.0)
    walk = np.zeros(generations)
    if world.noise == "run-level random walk":
        walk = np.concatenate([[0.0], np.cumsum(rng.normal(0, 0.05, LAST))])
    found: list[Floats] = []
    for _ in range(formats):
        if world.noise == "persistent flips":
            found.append(_persistent(ease, drop, rng))
            continue
        p = ease[:, None] + walk[None, :]
        if world.noise == "cluster shocks":
            shock = rng.normal(0, 1.0, (int(clusters.max()) + 1, generations))
            odds = np.log(np.clip(ease, 1e-3, 1 - 1e-3) / (1 - np.clip(ease, 1e-3, 1 - 1e-3)))
            p = 1 / (1 + np.exp(-(odds[:, None] + shock[clusters])))
        # A loss is relative to what is known on average, so that the planted points are points.
        p = np.clip(p * (1 - drop / START), 0, 1)
        found.append((rng.random((n, generations)) < p).astype(np.float64))
    return found


def _persistent(ease: Floats, drop: Floats, rng: np.random.Generator) -> Floats:
    """Each item keeps its state and forgets it with a tenth per generation; a loss sets in for good, item by item."""
    n, generations = drop.shape
    fate = rng.random(n)
    state = rng.random(n) < ease
    out = np.empty((n, generations))
    for g in range(generations):
        again = rng.random(n) < 0.1
        state = np.where(again, rng.random(n) < ease, state)
        out[:, g] = state & (fate >= drop[:, g] / START)
    return out


def _marks(rate: Callable[[int], float], base: float, n: int, rng: np.random.Generator) -> Floats:
    """1 where a rate that rises by `rate` above `base` strikes; half of what strikes does so again and again."""
    fate = rng.random(n)
    out = np.empty((n, LAST + 1))
    for g in range(LAST + 1):
        out[:, g] = np.where(rng.random(n) < 0.5, fate, rng.random(n)) < base + rate(g)
    return out


def simulate(world: World, *, n: int, formats: int, seed: int) -> Sampled:
    """One run of `n` items (clusters of 5 under cluster shocks, else each its own) in `formats` formats."""
    rng = np.random.default_rng((seed, n, formats, *world.name.encode()))
    domain = (np.arange(n) >= round(world.domain_share * n)).astype(np.intp)
    clusters = np.arange(n) // (5 if world.noise == "cluster shocks" else 1)
    rows = np.zeros((n, LAST + 1), dtype=np.intp)
    panels: dict[tuple[str, int, str], Panel] = {}
    for place, right in enumerate(_answers(world, formats, domain, clusters, rng)):
        name = f"format-{place}"
        sure = 0.55 + 0.3 * right + 0.1 * rng.random(right.shape)
        more = np.array([world.confidence(g) for g in range(LAST + 1)])
        panels["run", 0, name] = Panel(
            lineage="run",
            seed=0,
            format=name,
            generations=tuple(range(LAST + 1)),
            keys=np.arange(n),
            items=np.arange(n),
            clusters=clusters,
            choice=right,
            free=right,
            parseable=1.0 - _marks(world.format, 0.03, n, rng),
            choice_confidence=np.clip(sure + more[None, :], 0, 1),
            answer_confidence=sure,
            rows=rows,
            not_asked=(0,) * (LAST + 1),
            by_choice=np.ones(n, dtype=bool),
        )
    return Sampled(panels=_with_texts(world, panels, rng), domain=domain)


def _with_texts(world: World, panels: dict[tuple[str, int, str], Panel], rng: np.random.Generator) -> Panels:
    tokens = np.full((PROMPTS, LAST + 1), 48.0)
    rise = np.array([world.nats(g) for g in range(LAST + 1)])
    surprise = rng.normal(3.0, 0.4, PROMPTS)[:, None] + rng.normal(0, 0.3, tokens.shape) + rise[None, :]
    nothing = np.full(1, None, dtype=object)
    blank = np.full(1, "", dtype=object)
    unknown = np.full(1, np.nan)
    answers = Answers(
        options=nothing,
        accepted=nothing,
        template=blank,
        gold=unknown,
        choice=unknown,
        prompt_sha256=blank,
        template_sha256=blank,
    )
    common = {"generations": tuple(range(LAST + 1)), "keys": np.arange(PROMPTS)}
    return Panels(
        answers=answers,
        formats=panels,
        nats={("run", 0): TextPanel(**common, values={"nll": surprise * tokens, "tokens": tokens})},
        junk={("run", 0): TextPanel(**common, values={"junk": _marks(world.junk, 0.02, PROMPTS, rng)})},
    )


def null(noise: str) -> World:
    """No decay: answers move as the noise says."""
    return World(name=noise, noise=noise)


PLANTED = (
    World(name="nothing"),
    World(name="slow: 2 points a generation", knowledge=lambda g: 0.02 * g),
    World(name="sudden: 20 points from generation 4", knowledge=lambda g: 0.20 * (g >= 4)),
    World(name="one domain: 40 points in a quarter", knowledge=lambda g: 0.40 * (g >= 4), domain_share=0.25),
    World(name="format only: 30 points from generation 4", format=lambda g: 0.30 * (g >= 4)),
    World(name="calibration only: +.1 confidence", confidence=lambda g: 0.10 * (g >= 4)),
    World(name="fluency only: +.6 nats from generation 4", nats=lambda g: 0.60 * (g >= 4)),
    World(name="junk only: +30 points from generation 4", junk=lambda g: 0.30 * (g >= 4)),
    World(
        name="B then C: slow, format from generation 7", knowledge=lambda g: 0.04 * g, format=lambda g: 0.35 * (g >= 7)
    ),
)

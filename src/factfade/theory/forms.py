"""What the theory of recursive training says of a model that is the plain fit of its training set.

The setting of every form: a generation's training set holds n documents, all independent draws given the model that
wrote them; the model of the generation is the maximum likelihood fit (observed frequencies, or mean and 1/n variance);
generation 0 is the truth. `sigma2` is the variance of one draw: of a number, or of a symbol's indicator. Summed over
the symbols that is 1 - sum p^2, so every form of the variance holds for that diversity too.

Generation g is what g trainings made: forms take g and give values for 0..g.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Workflow = Literal["replace", "accumulate", "accumulate_subsample"]
HumanText = Literal["first", "trained", "all"]
Floats = NDArray[np.float64]

ACCUMULATED = math.pi**2 / 6
"""The sum of 1/i^2: under accumulation the drift stays below this many times sigma2/n (arXiv 2404.01413)."""


def variance_left(n: int, generations: int) -> Floats:
    """E[var_g] / sigma2 = (1 - 1/n)^g under `replace` without human text, for the 1/n variance.

    A fit to n draws has (1 - 1/n) of the variance that they come from, on average. Source: arXiv 2601.05280.
    """
    return np.power(1.0 - 1.0 / n, np.arange(generations + 1), dtype=np.float64)


def replaced_drift(n: int, generations: int, *, human: int = 0) -> Floats:
    """Var(mean_g) / sigma2 under `replace` with `human` of the n documents fresh human text in every generation.

    With s = 1 - human/n: D_g = 1/n + s (s - 1/n) D_{g-1}. Without human text that is 1 - (1 - 1/n)^g, about g/n while
    g is much smaller than n, and ends at 1: all is lost. With it D_g stops at (1/n) / (1 - s^2 + s/n), about
    1 / (n (1 - s^2)), after a few generations. In each case E[var_g] = sigma2 (1 - D_g).
    """
    s = 1.0 - human / n
    ratio, end = s * (s - 1.0 / n), (1.0 / n) / (1.0 - s * (s - 1.0 / n))
    return end * (1.0 - np.power(ratio, np.arange(generations + 1), dtype=np.float64))


def accumulated_drift(n: int, generations: int, *, original: bool = True) -> Floats:
    """Var(mean_g) / sigma2 under `accumulate` without fresh human text; n documents come in with every generation.

    1 - D_g is the product of 1 - 1/(n i^2) over i = 1..g where nothing but synthetic text is kept. With the n original
    human documents kept beside (`original`) it is (1 - 1/(2n)) times the product of 1 - 1/(n (i+1)^2) over i = 2..g.
    Both are below `ACCUMULATED`/n for ever: the sum of 1/i^2 (Gerstgrasser et al., arXiv 2404.01413).
    """
    steps = np.arange(1, generations + 1)
    falls = 1.0 / (n * (steps + 1.0 if original else steps * 1.0) ** 2)
    if original and generations:
        falls[0] = 1.0 / (2 * n)
    return 1.0 - np.concatenate([[1.0], np.cumprod(1.0 - falls)])


def entropy_loss(alive: int, n: int) -> float:
    """Nats of entropy that one refit to n draws loses on average: (K - 1) / (2 n) for K symbols that are still alive.

    For n much larger than K and than 1/p of the rarest symbol (the plug-in bias of Miller and Madow).
    """
    return (alive - 1) / (2.0 * n)


def survival(n: int, share: float, generations: int, *, human: int = 0) -> Floats:
    """P(a symbol of human share `share` has probability above 0 in model g) under `replace`: exact.

    The symbol's count is a Markov chain: Binomial(n - human, count/n) of the model's and Binomial(human, share) fresh
    human ones. The matrix has (n + 1)^2 entries.
    """
    from scipy import stats

    counts = np.arange(n + 1)
    fresh = stats.binom.pmf(np.arange(human + 1), human, share)

    def after(before: float) -> Floats:
        return np.convolve(stats.binom.pmf(np.arange(n - human + 1), n - human, before), fresh)

    steps = np.stack([after(count / n) for count in counts])
    law, alive = after(share), [1.0]
    for _ in range(generations):
        alive.append(1.0 - law[0])
        law = law @ steps
    return np.asarray(alive)


def survival_bound(expected: float, generations: int) -> Floats:
    """Lower bound of `survival` without human text: 1 - exp(-lambda / k) after k generations; 1 at generation 0.

    `expected` is lambda = n * share, the symbol's expected count in the first training set. A count x is extinct
    after k refits with a probability of at most exp(-x a_k), a_1 = 1, a_{k+1} = 1 - exp(-a_k), since
    (1 - q)^n <= exp(-n q); and a_k >= 1/k, since exp(-a) <= 1/(1 + a). The first count is spread around lambda, which
    takes one of the k steps.
    """
    return np.array([1.0, *(1.0 - math.exp(-expected / k) for k in range(1, generations + 1))])


@dataclass(frozen=True, kw_only=True)
class Group:
    """Documents that are alike: `size` of them, written for generation `generation` (0 < it)."""

    source: Literal["human", "replaced", "synthetic"]
    generation: int
    size: int


def pool(
    workflow: Workflow, generation: int, *, n: int, human: int = 0, text: HumanText = "first"
) -> tuple[Group, ...]:
    """What a workflow holds for a generation, out of blocks of which `human` stay human and n - human are continued.

    "replaced" are the human documents of the blocks that a completion stood in for; which of them belong to the pool
    is `text`, as in the parts `accumulate` and `accumulate_subsample`.
    """
    first = generation if workflow == "replace" else 1
    found: list[Group] = []
    for g in range(first, generation + 1):
        found.append(Group(source="human", generation=g, size=human))
        if workflow != "replace" and (text == "all" or (text == "first" and g == 1)):
            found.append(Group(source="replaced", generation=g, size=n - human))
        found.append(Group(source="synthetic", generation=g, size=n - human))
    return tuple(group for group in found if group.size)


def drift(workflow: Workflow, n: int, generations: int, *, human: int = 0, text: HumanText = "first") -> Floats:
    """Var(mean_g) / sigma2 of every workflow, exact, with fresh human text or without: 0 at generation 0.

    Follows the covariance of any two documents. Human documents are independent of all that was written before. One
    that model h wrote varies with another document as that model's mean does: as the average over the pool of h, from
    which a subsample is an unbiased draw. Every document has variance sigma2, so E[var_g] = sigma2 (1 - D_g) in all
    of them. Independent of the code of the parts; `replaced_drift` and `accumulated_drift` are special cases.
    """
    found, between = [0.0], dict[tuple[Group, Group], float]()
    for g in range(1, generations + 1):
        now = pool(workflow, g, n=n, human=human, text=text)
        for group in now:
            if group.source == "synthetic" and group.generation == g:
                between[group, group] = found[g - 1]
                before = pool(workflow, g - 1, n=n, human=human, text=text) if g > 1 else ()
                for other in now:
                    if other.generation < g:
                        between[other, group] = between[group, other] = _with_mean(other, before, between)
        whole = sum(group.size for group in now)
        pairs = sum(a.size * (b.size - (a == b)) * between.get((a, b), 0.0) for a in now for b in now)
        drawn = n if workflow == "accumulate_subsample" else whole
        average = pairs / (whole * (whole - 1)) if whole > 1 else 0.0
        found.append((1.0 + (drawn - 1) * average) / drawn)
    return np.asarray(found)


def _with_mean(one: Group, others: Sequence[Group], between: dict[tuple[Group, Group], float]) -> float:
    """Covariance of a document of group `one` with the mean of the documents of `others`."""
    whole = sum(group.size for group in others)
    total = sum((group.size - (group == one)) * between.get((one, group), 0.0) for group in others)
    return (total + (one in others)) / whole if whole else 0.0

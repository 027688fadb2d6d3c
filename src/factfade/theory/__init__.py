"""The recursion with a model that has a theory: the loop's own code, checked against closed forms.

`simulate` runs `loop.run_arm` itself, with the pool parts, the prompts, the history and the store of every run, on
categorical or Gaussian models (`theory.models`). `readings` puts what came out beside what theory says
(`theory.forms`): a pool, a history or a loop that is off by one generation disagrees with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factfade import loop, registry, store
from factfade.assembly import Parts
from factfade.config import Experiment
from factfade.progress import Silent
from factfade.protocols import ModelSpec, Pool
from factfade.theory import forms
from factfade.theory.models import Categorical, Family, Fit, FittedSpec, Gaussian, TrueCorpus, read, write

__all__ = [
    "Categorical", "Gaussian", "Reading", "Recursion", "Setting", "composition", "entropies", "readings", "simulate"
]  # fmt: skip

ARM = "theory"
Z95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One recursion: n documents a generation, of which `human` are human text and the others the model's own.

    `human_text` is the setting `human` of the accumulating workflows. Each of `seeds` is a run of `chains` chains.
    """

    family: Family
    n: int
    generations: int
    chains: int
    workflow: forms.Workflow = "replace"
    human: int = 0
    human_text: forms.HumanText = "first"
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not 0 <= self.human <= self.n:
            raise ValueError("human lies between 0 and n")

    def experiment(self, start: Path) -> Experiment:
        """The experiment as its file would say it."""
        data: dict[str, Any] = {
            "experiment": {"name": "theory", "seeds": self.seeds, "generations": self.generations},
            "model": {"kind": "theory", "path": str(start)},
            "corpus": {"kind": "theory"},
            # As in the paper the prompt and the human document are the whole block.
            "synthesis": {
                **dict.fromkeys(("prompt_tokens", "new_tokens", "block_tokens"), self.chains),
                "blocks": self.n,
                "allow_junk": True,
            },
            "evaluation": {"texts": 0, "prompts": 0},
            "arms": {ARM: {"synthetic_fraction": 1 - self.human / self.n, "workflow": self.workflow}},
        }
        return Experiment.model_validate(data)


@dataclass(frozen=True, kw_only=True)
class _Parts(Parts):
    """Parts whose checkpoints are models of the theory."""

    family: Family
    path: Path

    def model(self, path: str | Path) -> ModelSpec:
        """A fitted model."""
        return FittedSpec(family=self.family, path=Path(path))

    def start(self) -> Path:
        """The truth."""
        return self.path


class _Nothing:
    """An objective that no fit asks for."""

    def loss(self, logits: Any, labels: Any) -> Any:
        raise NotImplementedError("a fit has a likelihood of its own")


@dataclass(frozen=True, kw_only=True)
class Recursion:
    """The models of all runs. `weights[name]` is (seeds, generations + 1, chains, ...), generation 0 the truth.

    `documents[seed][g - 1]` counts what generation g was trained on, as the trainer saw it; `trainings[seed][g - 1]`
    is the number of trainings behind the model that wrote for it, and behind the one that was evaluated.
    """

    setting: Setting
    weights: dict[str, NDArray[np.float64]]
    documents: tuple[tuple[dict[str, int], ...], ...]
    trainings: tuple[tuple[tuple[int, int], ...], ...]


def simulate(setting: Setting, folder: Path, *, pool: Sequence[Pool] | None = None) -> Recursion:
    """Runs every seed through the loop, into `folder`. `pool` takes the place of the workflow's part."""
    start = folder / "start"
    write(start, {**setting.family.truth(setting.chains), "trainings": np.zeros(1, dtype=np.int64)})
    experiment = setting.experiment(start)
    plan = experiment.arm(ARM)
    spec = dict(plan.pool[0])
    if setting.workflow != "replace":
        spec["human"] = setting.human_text
    corpus = TrueCorpus(family=setting.family, chains=setting.chains)
    parts = _Parts(
        plan=plan,
        common=experiment.synthesis,
        corpus=corpus,
        common_corpus=corpus,
        prompts=registry.build("prompts", plan.arm.prompts, **plan.prompting),
        pool=pool or [registry.build("pool", spec)],
        objective=_Nothing(),
        after_training=(),
        trainer=Fit(family=setting.family),
        questions=(),
        formats=(),
        family=setting.family,
        path=start,
    )
    root = folder / "runs"
    experiment_folder = store.create_experiment(root, toml="[experiment]\nname = 'theory'\n")
    runs = [experiment_folder.run(ARM, seed) for seed in setting.seeds]
    for seed in setting.seeds:
        loop.run_arm(experiment, ARM, seed, root, progress=Silent(), parts=parts)
    truth = read(start)
    found = [
        [truth, *(read(run.generation(g) / "checkpoint") for g in range(1, setting.generations + 1))] for run in runs
    ]
    names = [name for name in truth if name != "trainings"]
    return Recursion(
        setting=setting,
        weights={name: np.array([[one[name] for one in run] for run in found]) for name in names},
        documents=tuple(
            tuple(_record(run, g, "train")["training"]["documents"] for g in range(1, setting.generations + 1))
            for run in runs
        ),
        trainings=tuple(
            tuple(
                (_record(run, g, "synthesize")["model"]["trainings"], _record(run, g, "evaluate")["model"]["trainings"])
                for g in range(1, setting.generations + 1)
            )
            for run in runs
        ),
    )


def _record(run: store.RunFolder, generation: int, step: str) -> Any:
    return store.committed_steps(run.generation(generation))[step].record


# ---------------------------------------------------------------------------------------------------------------
# Measured against theory


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One number of one generation: the mean over chains with its standard error, and what theory says of it.

    `error` is over chains; over runs where the chains of a run share something (which documents a subsample took).
    `form` is the closed form in words; `bound` says that theory names a floor and not the value, `exact` that
    nothing is left to chance.
    """

    quantity: str
    form: str
    generation: int
    measured: float
    error: float
    expected: float
    bound: bool = False
    exact: bool = False

    @property
    def deviation(self) -> float:
        """Standard errors from the expected value (0 where both are equal); above a floor: 0."""
        gap = self.measured - self.expected
        if self.bound:
            gap = min(gap, 0.0)
        if abs(gap) < 1e-9:
            return 0.0
        return gap / self.error if self.error > 0 else math.copysign(math.inf, gap)

    @property
    def margin(self) -> float:
        """Half the width of the 95% interval of the measured value."""
        return Z95 * self.error


def readings(recursion: Recursion) -> list[Reading]:
    """Every form that this setting has, for every generation from 1 on.

    Counts of documents are exact and tell a pool of another size or age; one of the same counts that is wrong in what
    depends on what (yesterday's human text, a stale model, repeated random numbers) shows in the moments alone.
    """
    symbols = _symbols(recursion) if "shares" in recursion.weights else ()
    return [*_counts(recursion), *_moments(recursion), *symbols]


def composition(setting: Setting, generation: int) -> dict[str, int]:
    """The documents of a generation's pool as the trainer counts them: "human", and "synthetic-h" by model h."""
    found: dict[str, int] = {}
    groups = forms.pool(setting.workflow, generation, n=setting.n, human=setting.human, text=setting.human_text)
    for group in groups:
        name = f"synthetic-{group.generation - 1}" if group.source == "synthetic" else "human"
        found[name] = found.get(name, 0) + group.size
    return found


def _counts(recursion: Recursion) -> Iterator[Reading]:
    """Documents trained on: of every origin, or in all where a subsample is drawn."""
    setting = recursion.setting
    for g in range(1, setting.generations + 1):
        expected = composition(setting, g)
        for given in (run[g - 1] for run in recursion.documents):
            pairs = {name: (given.get(name, 0), expected.get(name, 0)) for name in sorted({*given, *expected})}
            if setting.workflow == "accumulate_subsample":
                strange = sum(number for name, number in given.items() if name not in expected)
                pairs = {"in all": (sum(given.values()), setting.n), "of no generation of the pool": (strange, 0)}
            for name, (measured, wanted) in pairs.items():
                yield Reading(
                    quantity=f"documents, {name}", form="the workflow", generation=g, measured=measured, error=0.0,
                    expected=wanted, exact=True,
                )  # fmt: skip


def _moments(recursion: Recursion) -> Iterator[Reading]:
    """Spread within the models, and drift of their means, in units of sigma2: of numbers, or summed over symbols."""
    setting = recursion.setting
    if "shares" in recursion.weights:
        shares = recursion.weights["shares"]
        truth = shares[:, :1]
        sigma2 = 1.0 - float((truth[0, 0, 0] ** 2).sum())
        left, moved = (1.0 - (shares**2).sum(-1)) / sigma2, ((shares - truth) ** 2).sum(-1) / sigma2
        names = ("diversity 1 - sum p^2", "squared distance from the truth")
    else:
        left, moved = recursion.weights["variance"], recursion.weights["mean"] ** 2
        names = ("variance", "squared drift of the mean")
    drift = forms.drift(setting.workflow, setting.n, setting.generations, human=setting.human, text=setting.human_text)
    said = _said(setting)
    for g in range(1, setting.generations + 1):
        for name, values, expected, form in (
            (names[0], left, 1.0 - drift[g], f"1 - D, {said}"),
            (names[1], moved, drift[g], f"D = {said}"),
        ):
            mean, error = _mean(values[:, g], setting)
            yield Reading(quantity=name, form=form, generation=g, measured=mean, error=error, expected=float(expected))


def _said(setting: Setting) -> str:
    if setting.workflow == "replace":
        return "1/n + s (s - 1/n) D'" if setting.human else "1 - (1 - 1/n)^g"
    if setting.workflow == "accumulate" and setting.human == 0 and setting.human_text != "all":
        return "1 - product of 1 - 1/(n i^2)"
    return "recursion of the covariances"


def _symbols(recursion: Recursion) -> Iterator[Reading]:
    """Entropy lost, and survival of the rarest symbol, where they have a form."""
    setting, shares = recursion.setting, recursion.weights["shares"]
    if setting.workflow != "replace":
        return
    rarest = int(shares[0, 0, 0].argmin())
    share = float(shares[0, 0, 0, rarest])
    exact = forms.survival(setting.n, share, setting.generations, human=setting.human)
    floor = forms.survival_bound(setting.n * share, setting.generations)
    entropy, alive = entropies(shares), (shares > 0).sum(-1)
    for g in range(1, setting.generations + 1):
        lives = shares[:, g, :, rarest] > 0
        mean, error = float(lives.mean()), math.sqrt(exact[g] * (1.0 - exact[g]) / lives.size)
        name = "survival of the rarest symbol"
        yield Reading(
            quantity=name, form="Markov chain of its count", generation=g, measured=mean, error=error,
            expected=float(exact[g]),
        )  # fmt: skip
        if setting.human:
            continue
        yield Reading(
            quantity=name, form="1 - exp(-lambda / g)", generation=g, measured=mean, error=error,
            expected=float(floor[g]), bound=True,
        )  # fmt: skip
        if setting.n * share >= ENTROPY_COUNT:
            lost, error = _mean(entropy[:, g - 1] - entropy[:, g], setting)
            expected = forms.entropy_loss(1, setting.n) + float((alive[:, g - 1] - 1).mean()) / (2 * setting.n)
            yield Reading(
                quantity="entropy lost", form="(K - 1) / (2 n)", generation=g, measured=lost, error=error,
                expected=expected,
            )  # fmt: skip


ENTROPY_COUNT = 20
"""Expected count of the rarest symbol from which (K - 1)/(2n) is taken to hold: the next term is below 5% there."""


def entropies(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy in nats over the last axis."""
    return -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(-1)


def _mean(values: NDArray[np.float64], setting: Setting) -> tuple[float, float]:
    """Mean and standard error of (seeds, chains) values."""
    shared = setting.workflow == "accumulate_subsample"
    units = values.mean(1) if shared else values.ravel()
    error = float(units.std(ddof=1) / math.sqrt(units.size)) if units.size > 1 else math.inf
    return float(values.mean()), error

"""Which indicator moves first: planted leads through the tables, and few generations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factfade.analysis import study_of
from factfade.analysis.lead_lag import INDICATORS, findings
from factfade.verdicts import Finding
from tests import planted
from tests.planted import World

GENERATIONS = tuple(range(18))


def wander(seed: int, low: float, high: float) -> np.ndarray:
    """A level that wanders between two bounds, one for each generation and some before."""
    steps = np.random.default_rng(seed).choice([-1.0, 1.0], len(GENERATIONS) + 8).cumsum()
    return low + (high - low) * (steps - steps.min()) / (steps.max() - steps.min())


def made(
    lead: int, *, seeds: int = 4, generations: tuple[int, ...] = GENERATIONS, apart: bool = False
) -> list[pd.DataFrame]:
    """Runs whose parse rate moves `lead` generations before knowledge; apart: the two have nothing in common."""
    parts: list[tuple[pd.DataFrame, ...]] = []
    for seed in range(seeds):
        level = wander(seed, 0.5, 0.95)
        other = wander(seed + 100, 0.5, 0.95) if apart else level
        world = World(
            right=lambda g, level=level: float(level[g + 4 - lead]),
            parse=lambda g, other=other: float(other[g + 4]),
            nats=lambda g, seed=seed: float(wander(seed + 200, 0.0, 1.0)[g]),
        )
        settings = {"seed": seed, "generations": generations}
        parts.append(
            (
                planted.evidence(world, items=250, formats=("open_ended",), **settings),  # type: ignore[arg-type]
                *planted.texts(world, prompts=16, **settings),  # type: ignore[arg-type]
            )
        )
    return [pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)]


def by_name(tables: list[pd.DataFrame]) -> dict[str, Finding]:
    return {one.name.removeprefix("lead_of_"): one for one in findings(study_of(*tables))}


def test_a_planted_lead_of_one_generation_is_recovered() -> None:
    found = by_name(made(1))
    one = found["parse_rate"]
    assert (one.value, one.low, one.high) == (1.0, 1.0, 1.0)
    assert one.extra["verdict"] == "leads"
    assert (one.estimand, one.units, one.n, one.unit) == ("recipe", "runs", 4, "generations")
    assert one.p is not None
    assert one.p <= 0.05
    assert set(found) <= set(INDICATORS)
    assert {"held_out", "own_under_start", "junk", "distinct_2", "confidence"} <= set(found)
    assert found["held_out"].extra["verdict"] != "leads"
    for other in found.values():
        assert other.sentence.startswith("Exploratory: ")
        assert other.extra["exploratory"]


@pytest.mark.parametrize(("lead", "apart"), [(0, False), (-1, False), (0, True)], ids=["together", "after", "apart"])
def test_what_does_not_lead_is_not_said_to(lead: int, apart: bool) -> None:
    one = by_name(made(lead, apart=apart))["parse_rate"]
    assert one.value is None
    assert one.extra["verdict"] == "no lead shown"
    assert one.reason
    assert one.reason in one.sentence


def test_few_generations_are_undetermined() -> None:
    found = by_name(made(1, seeds=2, generations=(0, 2, 3, 5)))
    for one in found.values():
        assert one.value is None
        assert one.extra["verdict"] == "undetermined"
        assert "it takes 8" in one.reason
    single = by_name(made(1, seeds=1))
    assert single["parse_rate"].value is None
    one_generation = by_name(made(1, generations=(0,)))
    assert all("0 pairs" in one.reason for one in one_generation.values())


def test_leads_are_counted_in_generations_where_every_second_is_evaluated() -> None:
    tables = made(1)
    for table in tables:
        table["generation"] *= 2
    one = by_name(tables)["parse_rate"]
    assert (one.value, one.extra["step"]) == (2.0, 2)


def test_tables_without_texts_or_free_answers() -> None:
    evidence = made(1, seeds=2)[0]
    assert set(by_name([evidence.drop(columns=["outcome", "choice_confidence"])])) == set()
    assert set(by_name([evidence])) == {"parse_rate", "confidence"}
    probes = evidence.assign(format="attribution")
    assert findings(study_of(probes)) == []


def test_nothing_depends_on_order_or_another_model() -> None:
    tables = made(1, seeds=3)
    plain = by_name(tables)
    mixed = [table.sample(frac=1, random_state=4) for table in tables]
    for name, one in by_name(mixed).items():
        assert (one.value, one.p) == pytest.approx((plain[name].value, plain[name].p))
    both = [pd.concat([table, table.assign(lineage="twin")]) for table in tables]
    own = {one.name.removeprefix("lead_of_"): one for one in findings(study_of(*both)) if one.lineage == "arm"}
    assert own == plain

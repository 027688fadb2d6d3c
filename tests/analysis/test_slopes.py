"""Slopes, their ratio and the formats: planted truths, the two estimands, "unbounded" in words, invariance."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factfade.analysis import Study, analyse, slopes, study_of
from factfade.verdicts import Finding
from tests import planted

FAST, SLOW, FLAT = planted.falling(0.95, 0.06), planted.falling(0.95, 0.03), planted.flat(0.95)
CONTROLS: dict[str, str | None] = {"general": "human", "domain": "human", "human": None}


def table(right: planted.Curve, lineage: str, seed: int = 0, **settings: Any) -> pd.DataFrame:
    world = planted.World(right=right)
    return planted.evidence(world, lineage=lineage, seed=seed, **{"items": 160, "rng": seed, **settings})


def study(curves: dict[str, planted.Curve], seeds: range = range(1), **settings: Any) -> Study:
    tables = [table(curve, name, seed, **settings) for seed in seeds for name, curve in curves.items()]
    return study_of(pd.concat(tables, ignore_index=True), controls=CONTROLS)


def named(found: list[Finding], name: str, **place: object) -> list[Finding]:
    return [f for f in found if f.name == name and all(getattr(f, k) == v for k, v in place.items())]


@pytest.fixture(scope="module")
def three_seeds() -> list[Finding]:
    return slopes.findings(study({"general": FAST, "domain": SLOW, "human": FLAT}, range(3)))


def test_slopes_of_checkpoints(three_seeds: list[Finding]) -> None:
    found = named(three_seeds, "slope")
    assert len(found) == 3 * 3 * 2
    for f in found:
        assert f.estimand == "checkpoints"
        assert f.low is not None
        assert f.high is not None
        true = {"general": -0.06, "domain": -0.03, "human": 0.0}[f.lineage]
        assert f.low - 0.01 < true < f.high + 0.01
        assert (f.n, f.units, f.extra["clusters"]) == (160, "questions", 80)
        assert set(f.extra["by_domain"]) == {"chem", "geo"}
        assert "95% interval" in f.sentence
        assert "160 questions" in f.sentence


def test_slopes_of_recipes_need_seeds(three_seeds: list[Finding]) -> None:
    found = named(three_seeds, "recipe_slope")
    assert len(found) == 3 * 2
    one = named(found, "recipe_slope", lineage="general", format="open_ended")[0]
    by_seed = list(one.extra["by_seed"].values())
    half = 4.302653 * np.std(by_seed, ddof=1) / np.sqrt(3)
    assert (one.value, one.low) == pytest.approx((np.mean(by_seed), np.mean(by_seed) - half), abs=1e-6)
    assert (one.n, one.units, one.estimand) == (3, "seeds", "recipe")
    alone = slopes.findings(study({"general": FAST, "domain": SLOW}))
    assert not [f for f in alone if f.estimand == "recipe"]


def test_the_ratio_of_two_arms(three_seeds: list[Finding]) -> None:
    found = named(three_seeds, "slope_ratio")
    assert {(f.extra["numerator"], f.extra["denominator"]) for f in found} == {("general", "domain")}
    checkpoints = [f for f in found if f.estimand == "checkpoints"]
    recipes = [f for f in found if f.estimand == "recipe"]
    assert [f.seed for f in checkpoints] == [0, 1, 2]
    places = [("", ""), ("", "chem"), ("", "geo"), ("multiple_choice", ""), ("open_ended", "")]
    assert [(f.format, f.domain) for f in recipes] == places
    assert len(recipes[0].extra["table"]) == 9
    for f in checkpoints:
        assert f.low is not None
        assert f.high is not None
        assert f.low < 2.0 < f.high
        assert f.low > 1.0
        assert "times that of domain" in f.sentence
    assert recipes[0].n == 3


def test_one_seed_speaks_of_its_checkpoints_by_place() -> None:
    found = named(slopes.findings(study({"general": FAST, "domain": SLOW})), "slope_ratio")
    assert {f.estimand for f in found} == {"checkpoints"}
    assert len(found) == 5


def test_unbounded_is_said_in_words() -> None:
    """An arm that does not fall: the ratio is the outside of an interval, or every number, never two numbers."""
    found = slopes.findings(study({"general": FAST, "domain": FLAT}, formats=("open_ended",)))
    outside = named(found, "slope_ratio")[0]
    assert outside.unbounded
    assert (outside.low, outside.high) == (None, None)
    assert outside.extra["shape"] == "outside"
    assert "unbounded" in outside.sentence
    assert "since the slope of domain may be 0" in outside.sentence
    both = named(slopes.findings(study({"a": FLAT, "b": FLAT}, formats=("open_ended",))), "slope_ratio")[0]
    assert both.extra["shape"] == "unbounded"
    assert both.value is None
    assert "every number fits" in both.sentence


def test_fifteen_times_from_one_hundred_items() -> None:
    """The published design: 100 items, one run, slopes of -0.84 and -0.05 points: no finite interval."""
    made = study(
        {"general": planted.falling(0.5, 0.00837), "domain": planted.falling(0.5, 0.00054)},
        items=100,
        generations=range(16),
        formats=("short_answer",),
    )
    found = named(slopes.findings(made), "slope_ratio", domain="")[0]
    assert found.unbounded


def test_formats_that_fall_at_different_rates() -> None:
    """The planted interaction is found, its absence is not; the analysis of variance stands beside, disclaimed."""
    parts = [
        table(SLOW, "general", formats=("multiple_choice",)),
        table(FAST, "general", formats=("open_ended",), rng=5),
        table(SLOW, "domain", rng=6),
    ]
    found = slopes.findings(study_of(pd.concat(parts, ignore_index=True)))
    general, domain = (named(found, "format_interaction", lineage=name)[0] for name in ("general", "domain"))
    assert general.p is not None
    assert general.p < 0.01
    assert general.value == pytest.approx(0.03, abs=0.01)
    assert "change at different rates" in general.sentence
    assert domain.p is not None
    assert domain.p > 0.05
    assert "not shown" in domain.sentence
    anova = named(found, "published_anova", lineage="general")[0]
    assert anova.value is None
    assert "residual" in anova.reason
    assert anova.extra["effects"]["residual"]["df"] == 6
    assert "For comparison with the published table only" in anova.sentence


def test_anova_over_seeds_has_an_interaction(three_seeds: list[Finding]) -> None:
    anova = named(three_seeds, "published_anova", lineage="general")[0]
    assert anova.n == 2 * 7 * 3
    assert anova.value is not None
    assert anova.extra["effects"]["format x generation"]["df"] == 6


def test_probes_are_skipped() -> None:
    made = study({"general": FAST}, formats=("multiple_choice", "cue_recovery"))
    assert {f.format for f in slopes.findings(made)} == {"multiple_choice"}


def plain(found: list[Finding], names: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for f in found:
        row = asdict(replace(f, lineage=names.get(f.lineage, f.lineage), sentence=""))
        row["extra"] = {k: names.get(v, v) if isinstance(v, str) else v for k, v in row["extra"].items()}
        rows.append(row)
    return sorted(rows, key=lambda r: (r["name"], r["lineage"], r["seed"] or -1, r["format"], r["domain"]))


def test_names_order_and_an_identical_model_change_nothing() -> None:
    tables = [table(FAST, "general", items=60), table(SLOW, "domain", items=60)]
    evidence = pd.concat(tables, ignore_index=True)
    first = slopes.findings(study_of(evidence))
    shuffled = evidence.sample(frac=1.0, random_state=1)
    assert slopes.findings(study_of(shuffled)) == first
    names = {"zeta": "general", "eta": "domain"}
    renamed = evidence.replace({"lineage": {"general": "zeta", "domain": "eta"}})
    assert plain(slopes.findings(study_of(renamed)), names) == plain(first, names)
    twin = pd.concat([evidence, tables[0].assign(lineage="twin")], ignore_index=True)
    more = slopes.findings(study_of(twin))
    assert all(f in more for f in first)
    ratio = next(f for f in named(more, "slope_ratio") if {"twin", "general"} <= {f.lineage, f.extra["denominator"]})
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1.0, 1.0, 1.0))


def test_degenerate_studies() -> None:
    assert slopes.findings(study_of(table(FAST, "a").iloc[:0])) == []
    (single,) = named(slopes.findings(study({"a": FAST}, generations=range(1), formats=("x",))), "slope")
    assert single.value is None
    assert "two generations" in single.reason
    two = slopes.findings(study({"a": FAST, "b": SLOW}, items=1, formats=("x",)))
    assert named(two, "slope")[0].low is None
    assert "one cluster" in named(two, "slope")[0].reason
    ratio = named(two, "slope_ratio")
    assert all(f.value is None and f.reason for f in ratio)
    bare = table(FAST, "a").drop(columns=["domain", "entity", "template"])
    found = slopes.findings(study_of(bare))
    assert named(found, "slope")[0].extra["by_domain"] == {}
    nothing = table(FAST, "a").assign(choice_correct=None, outcome="not_asked")
    assert all(f.value is None for f in slopes.findings(study_of(nothing)))


def test_registered() -> None:
    made = study({"general": FAST})
    assert {f.analysis for f in analyse(made, ["slope"])} == {"slope"}
    assert {f.analysis for f in analyse(made, ["decay"])} == {"decay"}

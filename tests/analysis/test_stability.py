"""Recursive stability: 0 for identical chains, by hand for planted ones, symmetric, whatever the order of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.analysis import analyse, study_of
from factfade.analysis.stability import findings
from factfade.config import Experiment, parse
from factfade.stats.information import total_variation

LEVEL = 0.9


def rows(lineage: str, seed: int, generation: int, logprobs: list[list[float]]) -> pd.DataFrame:
    made: list[dict[str, Any]] = [
        {
            "lineage": lineage, "seed": seed, "generation": generation, "item": f"i{at}", "format": "multiple_choice",
            "wording": "", "options": ["a", "b"], "permutation": [0, 1], "gold": 0, "option_logprob": own,
            "option_tokens": [1, 1], "choice": int(np.argmax(own)), "choice_correct": int(np.argmax(own)) == 0,
            "outcome": "correct", "choice_confidence": float(np.max(np.exp(own) / np.exp(own).sum())),
        }
        for at, own in enumerate(logprobs)
    ]  # fmt: skip
    return pd.DataFrame(made)


def logs(*right: float) -> list[list[float]]:
    return [[float(np.log(p)), float(np.log1p(-p))] for p in right]


def study(*frames: pd.DataFrame) -> Any:
    return study_of(pd.concat(frames, ignore_index=True), twins={"changed": "general"})


def test_identical_chains_are_0() -> None:
    same = logs(0.9, 0.2, 0.6, 0.7)
    found = findings(study(*(rows(name, 0, g, same) for name in ("general", "changed") for g in (0, 1, 2))))
    assert found[0].value == 0.0
    assert found[0].extra["generation"] == 2
    assert found[0].extra["by_generation"]["2"]["other_choice"]["value"] == 0.0
    assert found[-1].estimand == "recipe"
    assert found[-1].value == 0.0


def test_by_hand() -> None:
    frames = [rows("general", 0, 0, logs(0.9, 0.9)), rows("changed", 0, 0, logs(0.9, 0.9))]
    frames += [rows("general", 0, 3, logs(0.9, 0.4)), rows("changed", 0, 3, logs(0.7, 0.7))]
    one = findings(study(*frames))[0]
    assert one.value == pytest.approx((0.2 + 0.3) / 2)
    assert one.extra["by_generation"]["3"]["other_choice"]["value"] == 0.5  # only the second item moves across .5
    assert one.extra["by_generation"]["0"]["total_variation"]["value"] == 0.0


def test_options_are_matched_by_name_and_not_by_place() -> None:
    turned = rows("changed", 0, 1, logs(0.9, 0.2))
    turned["options"] = [["b", "a"]] * 2
    turned["permutation"] = [[1, 0]] * 2
    turned["option_logprob"] = [own[::-1] for own in turned["option_logprob"]]
    one = findings(study(rows("general", 0, 1, logs(0.9, 0.2)), turned))[0]
    assert one.value == pytest.approx(0.0, abs=1e-12)


def test_another_seed_stands_beside_and_seeds_are_the_unit_of_the_recipe() -> None:
    frames = [
        rows(name, seed, g, logs(0.5 + 0.1 * seed + (0.05 if name == "changed" and g else 0), 0.5))
        for name in ("general", "changed")
        for seed in (0, 1, 2)
        for g in (0, 1)
    ]
    found = findings(study(*frames))
    assert [one.value for one in found[:3]] == pytest.approx([0.025] * 3)
    assert found[0].extra["between_seeds"] == pytest.approx((0.1 + 0.2 + 0.1) / 3 / 2)
    assert found[-1].n == 3
    assert found[-1].value == pytest.approx(0.025)
    shuffled = pd.concat(frames).sample(frac=1, random_state=1)
    again = findings(study_of(shuffled, twins={"changed": "general"}))
    assert [one.value for one in again] == pytest.approx([one.value for one in found])


def test_without_a_twin_there_is_nothing_to_say() -> None:
    assert analyse(study_of(rows("general", 0, 1, logs(0.9))), ["stability"]) == []


def test_a_twin_that_was_never_evaluated_is_undetermined_with_its_reason() -> None:
    found = findings(study(rows("general", 0, 0, logs(0.9)), rows("changed", 0, 0, logs(0.9))))
    assert [one.value for one in found] == [None]
    assert found[0].reason


def experiment(**arms: dict[str, Any]) -> Experiment:
    return parse({"experiment": {"name": "x"}, "arms": arms})


def test_the_twin_is_the_arm_that_differs_in_the_shard_alone() -> None:
    changed = {"synthetic_fraction": 1.0, "prompts": {"kind": "shard_changed", "shard": 1}}
    found = experiment(
        general={"synthetic_fraction": 1.0},
        half={"synthetic_fraction": 0.5},
        changed=changed,
        half_changed={**changed, "synthetic_fraction": 0.5},
        alone={**changed, "synthetic_fraction": 0.25},
        geo={"synthetic_fraction": 1.0, "prompts": {"kind": "domain", "domain": "geography"}},
        geo_changed={"synthetic_fraction": 1.0, "prompts": {"kind": "shard_changed", "domain": "geography"}},
    ).twins()
    assert found == {"changed": "general", "half_changed": "half", "geo_changed": "geo"}


@given(
    st.lists(st.floats(-20, 0), min_size=2, max_size=6).flatmap(
        lambda p: st.tuples(st.just(p), st.lists(st.floats(-20, 0), min_size=len(p), max_size=len(p)))
    )
)
def test_total_variation_is_a_distance(both: tuple[list[float], list[float]]) -> None:
    first, second = (np.array([values]) for values in both)
    p, q = (np.exp(v - v.max()) / np.exp(v - v.max()).sum() for v in (first, second))
    found = float(total_variation(first, second)[0])
    assert found == pytest.approx(float(np.abs(p - q).sum() / 2), abs=1e-9)
    assert found == pytest.approx(float(total_variation(second, first)[0]))
    assert total_variation(first, first)[0] == 0.0
    assert 0.0 <= found <= 1.0

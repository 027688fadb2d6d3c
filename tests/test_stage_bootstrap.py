"""How firm a call is: shares over resamples, against what is planted and against a plain resampling of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factfade import stage_bootstrap
from factfade.stages import Rule, call_stages
from tests import planted
from tests.planted import World, falling
from tests.test_stages import call_at, called

RULE = Rule(family="none")


def test_shares_sum_to_one_and_the_firm_call_is_the_call() -> None:
    report = called({"arm": World(right=lambda g: 0.95 if g < 3 else 0.55)})
    for call in report.calls:
        assert sum(call.probabilities.values()) == pytest.approx(1.0)
        assert set(call.probabilities) == {"A", "B", "C", "undetermined"}
        assert call.probabilities[call.stage] > 0.9


def test_a_loss_near_the_edge_is_not_firm() -> None:
    report = called({"arm": World(right=lambda g: 0.95 if g == 0 else 0.87)}, items=300)
    shares = [max(c.probabilities.values()) for c in report.calls]
    assert min(shares) < 0.9


def test_names_and_order_are_nothing() -> None:
    tables = planted.tables({"arm": World(right=falling(0.95, 0.03))}, items=250)
    renamed = [t.sample(frac=1, random_state=3).reset_index(drop=True) for t in tables]
    renamed[0]["item"] = "z" + renamed[0]["item"].str[::-1]
    renamed[0]["entity"] = renamed[0]["entity"].str[::-1]
    first = call_stages(*tables, RULE, controls={})
    second = call_stages(*renamed, RULE, controls={})
    for call in first.calls:
        assert call_at(second, call.generation, format=call.format).probabilities == call.probabilities


def test_no_draws_no_shares() -> None:
    report = call_stages(*planted.tables({"arm": World()}), RULE, controls={}, draws=0)
    assert all(call.probabilities == {} for call in report.calls)


def test_the_shares_are_those_of_resampled_tables() -> None:
    """Drawing entities and prompts with replacement and calling anew, 150 times, gives the same shares."""
    world = World(right=lambda g: 0.95 if g == 0 else 0.86)
    evidence, fluency, own = planted.tables({"arm": world}, items=300, generations=(0, 1), formats=("f",))
    share = call_at(call_stages(evidence, fluency, own, RULE, controls={}), 1, format="f").probabilities
    random = np.random.default_rng(8)
    entities = dict(list(evidence.groupby("entity")))
    prompts = sorted(own["prompt"].unique())
    by_prompt = fluency[fluency["kind"] == "own_under_start"].groupby("text"), own.groupby("prompt")
    texts = {p: by_prompt[0].get_group(p) for p in prompts}
    marks = {p: by_prompt[1].get_group(p) for p in prompts}
    count = {"A": 0, "B": 0, "C": 0, "undetermined": 0}
    draws = 150
    for _ in range(draws):
        parts = []
        for k, name in enumerate(random.choice(list(entities), len(entities))):
            rows = entities[name]
            parts.append(rows.assign(item=rows["item"] + f"#{k}", entity=f"{name}#{k}"))
        chosen = list(enumerate(random.choice(prompts, len(prompts))))
        nats = pd.concat([texts[p].assign(text=f"{p}#{k}") for k, p in chosen])
        junk = pd.concat([marks[p].assign(prompt=f"{p}#{k}") for k, p in chosen])
        report = call_stages(pd.concat(parts, ignore_index=True), nats, junk, RULE, controls={}, draws=0)
        count[report.calls[0].stage] += 1
    for stage, n in count.items():
        assert n / draws == pytest.approx(share[stage], abs=0.13), (stage, count, share)


@pytest.mark.parametrize("held", [1, 300, 7_000])
def test_resamples_in_blocks_give_the_same_shares(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    tables = planted.tables({"arm": World(right=falling(0.95, 0.03))}, items=120)
    whole = call_stages(*tables, RULE, controls={}, draws=97)
    assert any(0 < max(call.probabilities.values()) < 1 for call in whole.calls)
    monkeypatch.setattr(stage_bootstrap, "HELD_WEIGHTS", held)
    blocks = call_stages(*tables, RULE, controls={}, draws=97)
    assert [call.probabilities for call in blocks.calls] == [call.probabilities for call in whole.calls]


def test_no_more_than_a_block_of_weights_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    verdicts = stage_bootstrap._verdicts

    def seen(look: object, table: np.ndarray, weights: np.ndarray, alpha: float) -> object:
        sizes.append(weights.size)
        return verdicts(look, table, weights, alpha)  # type: ignore[arg-type]

    monkeypatch.setattr(stage_bootstrap, "_verdicts", seen)
    call_stages(
        *planted.tables({"arm": World()}, items=600), RULE, controls={}, draws=stage_bootstrap.HELD_WEIGHTS // 300
    )
    assert 0 < max(sizes) <= stage_bootstrap.HELD_WEIGHTS

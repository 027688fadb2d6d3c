"""The loss of right free answers split into what goes through the format and what is direct."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factfade.analysis import study_of
from factfade.analysis.mediation import NAMES, findings
from factfade.verdicts import Finding
from tests import planted
from tests.planted import World, falling, flat


def parts(evidence: pd.DataFrame, format: str = "open_ended") -> dict[str, Finding]:
    return {one.name: one for one in findings(study_of(evidence)) if one.format == format and one.lineage == "arm"}


@pytest.mark.parametrize(
    ("world", "direct", "through"),
    [
        (World(right=flat(0.9), parse=lambda g: 0.98 if g < 3 else 0.5), 0.0, 0.9 * 0.48),
        (World(right=falling(0.9, 0.1)), 0.98 * 0.6, 0.0),
        (World(right=flat(0.9)), 0.0, 0.0),
    ],
    ids=["format only", "knowledge only", "nothing"],
)
def test_planted_losses_are_found_where_they_are(world: World, direct: float, through: float) -> None:
    found = parts(planted.evidence(world, items=1500))
    assert found["loss_direct"].value == pytest.approx(direct, abs=0.03)
    assert found["loss_through_format"].value == pytest.approx(through, abs=0.03)
    assert found["loss_direct"].extra["adjusted"]["value"] == pytest.approx(direct, abs=0.03)
    for one in found.values():
        assert one.low is not None
        assert one.high is not None
        assert one.low <= (one.value or 0.0) <= one.high
        assert "at generation 6" in one.sentence
        assert [point["generation"] for point in one.extra["curve"]] == list(range(1, 7))
    if not direct:
        assert (found["loss_direct"].low or 0.0) < 0.01


def test_a_model_that_says_nothing_readable_leaves_the_direct_loss_open() -> None:
    found = parts(planted.evidence(World(parse=lambda g: 0.98 if g == 0 else 0.0)))
    assert found["loss_direct"].value is None
    assert "0 answers can be read" in found["loss_direct"].sentence
    assert found["loss_through_format"].value == pytest.approx(0.93, abs=0.05)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t[t["generation"] > 0], "generation 0 is missing"),
        (lambda t: t[t["generation"] == 0], "there is no later generation"),
        (lambda t: t[t["item"] < "item-0010"], "it takes 20"),
    ],
)
def test_what_the_rows_cannot_carry_is_said(change: object, reason: str) -> None:
    found = parts(change(planted.evidence(World())))  # type: ignore[operator]
    assert set(found) == set(NAMES.values())
    assert reason in found["loss_direct"].reason


def test_without_free_answers_there_is_nothing_to_split() -> None:
    table = planted.evidence(World())
    assert findings(study_of(table.drop(columns="outcome"))) == []
    assert findings(study_of(table[table["format"] == "open_ended"].assign(format="attribution"))) == []
    no_choice = parts(table.drop(columns=["choice_correct", "choice"]))
    assert no_choice["loss_direct"].extra["adjusted"] is None


def test_nothing_depends_on_order_names_or_another_model() -> None:
    table = planted.evidence(World(right=falling(0.9, 0.1), parse=falling(0.98, 0.05)))
    mixed = table.sample(frac=1, random_state=3)
    mixed["item"] = "z" + mixed["item"].str[::-1]
    for one, other in zip(findings(study_of(mixed)), findings(study_of(table)), strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    both = parts(pd.concat([table, table.assign(lineage="twin")]))
    assert both == parts(table)
    assert np.isfinite([one.value or 0.0 for one in both.values()]).all()

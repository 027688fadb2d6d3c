"""The looks of a run as a family: what Holm's correction changes, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from factfade.stage_conditions import Look, settle
from factfade.stage_family import looks_of
from factfade.stage_panel import build_panels
from factfade.stages import Rule, call_stages
from tests import planted
from tests.planted import World, falling


def looks(rule: Rule, **settings: object):  # type: ignore[no-untyped-def]
    tables = planted.tables({"arm": World(right=falling(0.95, 0.03))}, **settings)
    panels = build_panels(*tables)
    own = {name: panel for (_, _, name), panel in panels.formats.items()}
    return looks_of(panels, own, ("arm", 0), rule)


def test_a_run_is_one_family_adjusted_as_statsmodels_does() -> None:
    found = looks(Rule())
    # 6 generations: knowledge and format in 2 formats, 2 fluencies.
    assert len(found.corrections) == 6 * (2 * 2 + 2)
    keys = list(found.corrections)
    ps = [found.found[key].p for key in keys]
    expected = multipletests(ps, method="holm")[1]
    got = [found.corrections[key].p for key in keys]
    assert got == pytest.approx(expected.tolist(), abs=1e-12)
    assert {c.looks for c in found.corrections.values()} == {36}


@pytest.mark.parametrize(("family", "size"), [("run", 36), ("generation", 6), ("none", 1)])
def test_the_family_is_the_rule_s(family: str, size: int) -> None:
    found = looks(Rule(family=family))  # type: ignore[arg-type]
    assert {c.looks for c in found.corrections.values()} == {size}
    if family == "none":
        assert all(found.found[key].p == c.p for key, c in found.corrections.items())


def test_the_error_rate_left_to_a_look_is_where_its_own_p_would_turn_the_verdict() -> None:
    """Given the other looks, a look is rejected exactly when its p is at most the rate that is left to it."""
    found = looks(Rule())
    for key, fix in found.corrections.items():
        assert (found.found[key].p <= fix.alpha) == (fix.p <= 0.05)


def test_a_loss_beyond_its_margin_alone_is_not_shown_among_many_looks() -> None:
    tables = planted.tables({"arm": World(right=lambda g: 0.95 if g == 0 else 0.88)}, items=300, formats=("f",))
    alone = call_stages(*tables, Rule(family="none"), controls={}, draws=0)
    together = call_stages(*tables, Rule(), controls={}, draws=0)
    pairs = list(zip(alone.calls, together.calls, strict=True))
    flipped = [(a, b) for a, b in pairs if a.stage == "B" and b.stage == "undetermined"]
    assert flipped
    for _, call in flipped:
        knowledge = call.conditions[0]
        assert knowledge.low is not None
        assert knowledge.low > knowledge.margin
        assert knowledge.p is not None
        assert knowledge.p_family is not None
        assert knowledge.p < 0.05 < knowledge.p_family
        assert "by itself, not after the correction" in knowledge.sentence
    for a, b in pairs:  # "not worse" needs no correction
        assert [c.shown_not_worse for c in a.conditions] == [c.shown_not_worse for c in b.conditions]


def test_too_few_items_are_no_member_of_the_family() -> None:
    found = looks(Rule(), items=50)
    assert {key[2] for key in found.corrections} == {"fluency_nats", "fluency_junk"}


def test_p_and_bound_agree() -> None:
    found = looks(Rule(), wordings=2)
    for look in found.found.values():
        assert isinstance(look, Look)
        condition = settle(look)
        assert look.p is not None
        assert condition.low is not None
        assert (condition.low > condition.margin) == (look.p < 0.05)
        assert np.isfinite(look.p)


def test_the_largest_loss_that_is_not_shown_is_said() -> None:
    tables = planted.tables({"arm": World(right=lambda g: 0.95 if g == 0 else 0.90)}, items=200)
    report = call_stages(*tables, Rule(), controls={}, draws=0)
    open_ones = [c for c in report.calls if c.stage == "undetermined"]
    assert open_ones
    assert all("would be shown in 4 cases of 5" in c.sentence for c in open_ones)

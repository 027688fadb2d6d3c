"""Analyses are found by the registry, under their own names and under those of the papers."""

from __future__ import annotations

import pytest

from factfade import registry
from factfade.analysis import ALIASES, ANALYSES, analyse, study_of
from factfade.errors import ConfigError
from tests import planted


def test_every_kind_is_a_function_and_every_alias_names_one() -> None:
    for kind in ANALYSES:
        assert callable(registry.find("analysis", kind))
    assert set(ALIASES.values()) <= set(ANALYSES)
    assert not set(ALIASES) & set(ANALYSES)


def test_an_alias_is_the_same_analysis_and_runs_once() -> None:
    study = study_of(planted.evidence(planted.World(right=planted.falling(0.95, 0.1)), items=60, generations=range(4)))
    one = analyse(study, ["decay"])
    assert one
    assert analyse(study, ["error_floor"]) == one
    assert analyse(study, ["decay", "error_floor"]) == one


def test_an_unknown_kind_names_the_known_ones() -> None:
    study = study_of(planted.evidence(planted.World(), items=20, generations=range(2)))
    with pytest.raises(ConfigError, match="no analysis"):
        analyse(study, ["tremd"])


def test_closed_forms_are_listed_and_found() -> None:
    assert registry.find("theory", "entropy_decay")(11, 100) == pytest.approx(10 / 200, rel=0.1)

"""Attribution: the entity's share is recovered where it is planted, and its fall is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factfade.analysis import study_of
from factfade.analysis.ablation import findings
from factfade.stats.information import log_normalised
from factfade.verdicts import Finding

SEGMENTS = ("entity", "question-words", "format")


def rows(
    drops: dict[int, tuple[float, float, float]], *, n: int = 120, noise: float = 0.5, seed: int = 0, frame: bool = True
) -> pd.DataFrame:
    """Rows whose right answer (log-probability -0.5 in the whole prompt) loses the drops, with noise by item."""
    random = np.random.default_rng(seed)
    parts = []
    for generation, own in drops.items():
        values = {"full": np.full(n, -0.5)}
        for segment, drop in zip(SEGMENTS, own, strict=True):
            if frame or segment != "format":
                values[f"without-{segment}"] = -0.5 - drop - noise * random.standard_normal(n)
        for wording, right in values.items():
            parts.append(
                pd.DataFrame(
                    {
                        "lineage": "arm", "seed": 0, "generation": generation, "format": "attribution",
                        "item": [f"i{k:03d}" for k in range(n)], "wording": wording, "outcome": "correct", "gold": 0,
                        "option_logprob": [[v, -4.0, -6.0] for v in right], "option_tokens": [[1, 1, 2]] * n,
                    }
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def of(evidence: pd.DataFrame, name: str) -> Finding:
    (found,) = [f for f in findings(study_of(evidence)) if f.name == name]
    return found


def test_planted_shares_are_recovered() -> None:
    found = of(rows({0: (6.0, 3.0, 1.0), 2: (2.0, 3.0, 5.0)}), "entity_share_said")
    assert found.value == pytest.approx(0.2, abs=0.03)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.2 < found.high
    first = found.extra["curve"][0]
    assert first["value"] == pytest.approx(0.6, abs=0.03)
    assert first["drops"]["entity"]["value"] == pytest.approx(6.0, abs=0.2)
    change = of(rows({0: (6.0, 3.0, 1.0), 2: (2.0, 3.0, 5.0)}), "entity_share_said_change")
    assert change.value == pytest.approx(-0.4, abs=0.04)
    assert change.extra["verdict"] == "falls"
    assert "hangs less on what is asked" in change.sentence


def test_a_segment_that_carries_nothing_takes_no_share() -> None:
    alone = of(rows({0: (4.0, 0.0, -2.0)}, noise=0.0), "entity_share_said")
    assert alone.value == 1.0
    none = of(rows({0: (-1.0, 3.0, 1.0)}, noise=0.0), "entity_share_said")
    assert none.value == 0.0
    # Statements have no format words: the two others share.
    bare = of(rows({0: (3.0, 1.0, 9.0)}, noise=0.0, frame=False), "entity_share_said")
    assert bare.value == pytest.approx(0.75)


def test_the_choice_is_attributed_among_the_candidates() -> None:
    table = rows({0: (4.0, 2.0, 0.0)}, noise=0.0)
    found = of(table, "entity_share_chosen")
    right = [float(log_normalised([v, -4.0, -3.0])[0]) for v in (-0.5, -4.5, -2.5)]
    assert found.value == pytest.approx((right[0] - right[1]) / (2 * right[0] - right[1] - right[2]), abs=1e-9)


def test_no_change_where_there_is_none_in_most_draws() -> None:
    """Level .90: at most about one of ten unchanged models is said to change."""
    verdicts = [
        of(rows({0: (3.0, 2.0, 1.0), 1: (3.0, 2.0, 1.0)}, n=60, noise=1.0, seed=s), "entity_share_said_change")
        for s in range(60)
    ]
    said = [one.extra["verdict"] for one in verdicts]
    assert said.count("undetermined") >= 48


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t[t["item"] < "i010"], "10 items"),
        (lambda t: t.drop(columns="option_logprob"), "0 items"),
        (lambda t: t[t["wording"] != "without-entity"], "0 items"),
        (lambda t: t.assign(entity="one"), "no segment is shown"),
        (lambda t: t.assign(option_logprob=[[-0.5, -4.0, -6.0]] * len(t)), "no segment is shown"),
    ],
)
def test_what_the_rows_cannot_carry_is_said(change: object, reason: str) -> None:
    found = of(change(rows({0: (3.0, 2.0, 1.0), 1: (3.0, 2.0, 1.0)})), "entity_share_said")  # type: ignore[operator]
    assert found.value is None
    assert reason in found.reason
    assert reason in found.sentence


def test_no_change_is_said_without_generation_0_or_a_later_one() -> None:
    assert "missing" in of(rows({1: (3.0, 2.0, 1.0)}), "entity_share_said_change").reason
    assert "no later" in of(rows({0: (3.0, 2.0, 1.0)}), "entity_share_said_change").reason


def test_nothing_depends_on_order_names_or_another_model() -> None:
    table = rows({0: (6.0, 3.0, 1.0), 2: (2.0, 3.0, 5.0)})
    mixed = table.sample(frac=1, random_state=3)
    mixed["item"] = "z" + mixed["item"].str[::-1]
    for one, other in zip(findings(study_of(mixed)), findings(study_of(table)), strict=True):
        assert one.value == pytest.approx(other.value)
        assert one.low == pytest.approx(other.low)
    both = findings(study_of(pd.concat([table, table.assign(lineage="twin")])))
    assert [one for one in both if one.lineage == "arm"] == findings(study_of(table))
    assert findings(study_of(table.assign(format="open_ended"))) == []

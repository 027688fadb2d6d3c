"""Retention of true over false continuations, and the time to failure with its censoring."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factfade.analysis import study_of
from factfade.analysis.continuations import compared, findings, first_below
from factfade.verdicts import Finding


def rows(
    shares: dict[int, float], *, n: int = 200, lineage: str = "arm", seed: int = 0, tokens: tuple[int, int] = (1, 1)
) -> pd.DataFrame:
    """Rows in which the first items are right, as many as the share says."""
    parts = []
    for generation, share in shares.items():
        right = np.arange(n) < round(share * n)
        parts.append(
            pd.DataFrame(
                {
                    "lineage": lineage, "seed": seed, "generation": generation, "format": "knowledge_retention",
                    "item": [f"i{k:03d}" for k in range(n)], "wording": "", "outcome": "correct", "gold": 1,
                    "option_logprob": [[-2.0, -1.0 if r else -3.0] for r in right],
                    "option_tokens": [list(tokens)] * n, "choice_correct": right,
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def of(evidence: pd.DataFrame, name: str, estimand: str = "checkpoints") -> Finding:
    (found,) = [f for f in findings(study_of(evidence)) if f.name == name and f.estimand == estimand]
    return found


def test_the_share_right_by_both_rules() -> None:
    found = of(rows({0: 1.0, 1: 0.9, 2: 0.6}), "retention")
    assert found.value == pytest.approx(0.6)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.6 < found.high
    assert [one["by_sum"]["value"] for one in found.extra["curve"]] == [1.0, 0.9, 0.6]
    # Four tokens in the true one: -3 / 4 is larger than -2 / 1.
    longer = of(rows({0: 1.0, 1: 0.0}, tokens=(1, 4)), "retention")
    assert longer.value == 0.0
    assert longer.extra["by_mean"]["value"] == 1.0


def test_a_tie_is_not_right() -> None:
    table = rows({0: 1.0}, n=3)
    table["option_logprob"] = [[-1.0, -1.0], [-1.0, -0.5], [-1.0, float("nan")]]
    by_sum, _ = compared(table)
    np.testing.assert_array_equal(by_sum, [0.0, 1.0, np.nan])
    # Without stored log-probabilities the stored choice counts.
    np.testing.assert_array_equal(compared(table.drop(columns="option_logprob"))[0], [1.0, 1.0, 1.0])


def test_the_time_to_failure_is_the_first_generation_below_three_quarters() -> None:
    found = of(rows({0: 1.0, 1: 0.9, 3: 0.6, 4: 0.9}), "time_to_failure")
    assert (found.value, found.low, found.high, found.unbounded) == (3.0, 3.0, 3.0, False)
    assert found.extra["after"] == 1
    assert "still above it at generation 1" in found.sentence
    close = of(rows({0: 1.0, 1: 0.77, 2: 0.74, 3: 0.3}), "time_to_failure")
    assert (close.value, close.low, close.high) == (2.0, 1.0, 3.0)


def test_a_run_that_does_not_fail_is_censored() -> None:
    found = of(rows({0: 1.0, 5: 0.95}), "time_to_failure")
    assert (found.value, found.low, found.high, found.unbounded) == (None, 5.0, None, True)
    assert found.extra["censored"]
    assert "Not below 75% up to generation 5" in found.sentence
    assert "already at generation 0" in of(rows({0: 0.5, 5: 0.2}), "time_to_failure").sentence
    np.testing.assert_array_equal(first_below(np.array([[0.9, 0.7], [0.9, 0.75]]), (0, 4)), [4.0, np.inf])


def test_seeds_are_the_unit_of_a_recipe() -> None:
    ends = [0.9, 0.6, 0.9, 0.6, 0.6]
    table = pd.concat([rows({0: 1.0, 1: 0.9, 2: end, 3: end}, seed=s) for s, end in enumerate(ends)])
    found = of(table, "time_to_failure", "recipe")
    assert (found.value, found.low, found.high, found.unbounded) == (2.0, 2.0, None, True)
    assert (found.n, found.units) == (5, "runs")
    assert found.level == 1 - 2 * 0.5**5
    few = of(table[table["seed"] < 2], "time_to_failure", "recipe")
    assert few.value is None
    assert "2 seeds" in few.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t[t["generation"] > 0], "generation 0 is missing"),
        (lambda t: t[t["generation"] == 0], "there is no later generation"),
        (lambda t: t.assign(entity="one"), "1 independent items"),
        (lambda t: t[t["item"] < "i010"], "10 independent items"),
        (lambda t: t.assign(outcome="not_asked"), "0 independent items"),
    ],
)
def test_what_the_rows_cannot_carry_is_said(change: object, reason: str) -> None:
    found = of(change(rows({0: 1.0, 1: 0.5})), "time_to_failure")  # type: ignore[operator]
    assert found.value is None
    assert reason in found.reason
    assert reason in found.sentence


def test_nothing_depends_on_order_names_or_another_model() -> None:
    table = rows({0: 1.0, 1: 0.77, 2: 0.74, 3: 0.3})
    mixed = table.sample(frac=1, random_state=3)
    mixed["item"] = "z" + mixed["item"].str[::-1]
    assert findings(study_of(mixed)) == findings(study_of(table))
    both = findings(study_of(pd.concat([table, table.assign(lineage="twin")])))
    assert [one for one in both if one.lineage == "arm"] == findings(study_of(table))
    assert findings(study_of(table.assign(format="open_ended"))) == []


def test_bounds_hold_the_true_time() -> None:
    """Independent items whose rates cross 75% between generations 3 and 4: 4 lies within the bounds in 90%."""
    random = np.random.default_rng(2)
    inside = []
    for _ in range(60):
        table = rows({0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 1.0}, n=120)
        rates = np.array([1.0, 0.95, 0.88, 0.80, 0.72, 0.65])[table["generation"].to_numpy()]
        draw = np.tile(random.random(120), 6)
        table["option_logprob"] = [[-2.0, -1.0 if d < r else -3.0] for d, r in zip(draw, rates, strict=True)]
        found = of(table, "time_to_failure")
        inside.append((found.low or 0) <= 4 and (found.high is None or found.high >= 4))
    assert np.mean(inside) >= 0.84

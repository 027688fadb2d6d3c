"""Divergence between formats and wordings: options mapped back, planted dependence, what cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

from factfade.analysis import study_of
from factfade.analysis.sensitivity import findings, keys_of, rule_of
from factfade.verdicts import Finding

TEXTS = ("w", "x", "y", "z")


def rows(
    beliefs: dict[str, np.ndarray], *, generation: int = 0, texts: Sequence[str] = TEXTS, tokens: int = 1, seed: int = 0
) -> pd.DataFrame:
    """Rows by view ("format" or "format wording"): probabilities (items, options) shown in a drawn order."""
    random = np.random.default_rng(seed)
    found = []
    for view, belief in beliefs.items():
        format, _, wording = view.partition(" ")
        for k, own in enumerate(belief):
            order = random.permutation(len(own))
            logs = np.log(own[order])
            top = np.exp(logs / tokens - np.logaddexp.reduce(logs / tokens)).max()
            found.append(
                {
                    "lineage": "arm", "seed": 0, "generation": generation, "format": format, "wording": wording,
                    "item": f"i{k:03d}", "choice_correct": True, "outcome": "correct",
                    "options": [texts[i] for i in order], "permutation": [int(i) for i in order],
                    "option_logprob": list(logs), "option_tokens": [tokens] * len(own), "choice_confidence": top,
                }
            )  # fmt: skip
    return pd.DataFrame(found)


def beliefs(n: int = 60, seed: int = 0, sharp: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(4, sharp), n)


def of(evidence: pd.DataFrame, name: str, format: str = "") -> Finding:
    (found,) = [f for f in findings(study_of(evidence)) if f.name == name and f.format == format]
    return found


def test_one_belief_shown_in_any_order_has_no_sensitivity() -> None:
    own = beliefs()
    found = of(rows({"a": own, "b": own, "c": own}), "format_sensitivity")
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.extra["curve"][0]["same"]["value"] == 1.0
    # Nothing varies, and the bounds still say what 60 items cannot exclude.
    assert found.extra["curve"][0]["same"]["low"] == pytest.approx(0.05 ** (1 / 60))
    assert (found.low, found.high) == pytest.approx((0.0, (1 - 0.05 ** (1 / 60)) * np.log(2)))


def test_the_divergence_is_scipys_over_original_options() -> None:
    first, second = beliefs(seed=1), beliefs(seed=2)
    found = of(rows({"a": first, "b": second}), "format_sensitivity")
    expected = np.mean(jensenshannon(first, second, axis=1) ** 2)
    assert found.value == pytest.approx(expected, abs=1e-9)
    both = (first * np.log(first / second)).sum(axis=1) + (second * np.log(second / first)).sum(axis=1)
    assert found.extra["curve"][0]["kl"]["value"] == pytest.approx(np.mean(both) / 2, abs=1e-9)
    same = np.mean(first.argmax(axis=1) == second.argmax(axis=1))
    assert found.extra["curve"][0]["same"]["value"] == pytest.approx(same)
    assert found.n == 60
    assert found.unit == "nats"


def test_an_open_question_is_compared_over_the_options_that_both_have() -> None:
    wide = np.random.default_rng(3).dirichlet(np.ones(6), 60)
    narrow = wide[:, :4] / wide[:, :4].sum(axis=1, keepdims=True)
    table = pd.concat([rows({"letters": narrow}), rows({"open": wide}, texts=(*TEXTS, "u", "v"))], ignore_index=True)
    assert of(table, "format_sensitivity").value == pytest.approx(0.0, abs=1e-12)
    apart = pd.concat([rows({"letters": narrow}), rows({"open": wide}, texts=tuple("mnopqr"))], ignore_index=True)
    assert "0 items have two options" in of(apart, "format_sensitivity").reason


def test_planted_growth_of_the_dependence_is_found_for_wordings_and_formats() -> None:
    own = beliefs(120)
    start = rows({"open one": own, "open two": own * 0.9 + 0.025, "letters": own})
    end = rows({"open one": own, "open two": own[:, ::-1], "letters": own}, generation=4, seed=9)
    table = pd.concat([start, end], ignore_index=True)
    change = of(table, "wording_sensitivity_change", "open")
    assert change.extra["verdict"] == "grows"
    assert change.low is not None
    assert change.low > 0.05
    assert change.extra["same"]["value"] < -0.3
    assert of(table, "format_sensitivity_change").extra["verdict"] == "grows"
    flat = pd.concat([start, start.assign(generation=1)], ignore_index=True)
    still = of(flat, "format_sensitivity_change")
    assert (still.value, still.extra["verdict"]) == (0.0, "undetermined")


def test_the_rule_of_a_format_comes_out_of_the_stored_confidence() -> None:
    for tokens, expected in ((1, "sum"), (3, "mean")):
        table = rows({"a": beliefs()}, tokens=tokens)
        sums = [np.array(v) for v in table["option_logprob"]]
        means = [v / tokens for v in sums]
        assert rule_of(table, range(len(table)), sums, means) == expected
    without = table.drop(columns="choice_confidence")
    assert rule_of(without, range(len(without)), sums, means) == "sum"
    uneven = [v / np.array([1, 2, 3, 4]) for v in sums]
    assert rule_of(without, range(len(without)), sums, uneven) == "mean"
    # A mean per token of three tokens each is a flatter belief: the divergence is that of the means.
    other = rows({"b": beliefs(seed=5)}, tokens=3)
    found = of(pd.concat([table, other], ignore_index=True), "format_sensitivity")
    flat = [np.cbrt(beliefs()), np.cbrt(beliefs(seed=5))]
    flat = [p / p.sum(axis=1, keepdims=True) for p in flat]
    assert found.value == pytest.approx(np.mean(jensenshannon(flat[0], flat[1], axis=1) ** 2), abs=1e-9)


def test_equal_texts_are_told_apart_by_their_original_place() -> None:
    assert keys_of(["x", "y", "x"], [2, 1, 0], 3) == (("x", 1), ("y", 0), ("x", 0))
    assert keys_of(None, [2, 0, 1], 3) == (("", 2), ("", 0), ("", 1))
    assert keys_of(None, None, 2) == (("", 0), ("", 1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t[t["item"] < "i010"], "10 items"),
        (lambda t: t[t["generation"] > 0], "generation 0 is missing"),
        (lambda t: t[t["generation"] == 0], "there is no later generation"),
        (lambda t: t.assign(entity="one"), "1 clusters"),
    ],
)
def test_what_the_rows_cannot_carry_is_said(change: object, reason: str) -> None:
    table = pd.concat(
        [rows({"a": beliefs(seed=1), "b": beliefs(seed=2)}, generation=g, seed=g) for g in (0, 1)], ignore_index=True
    )
    found = of(change(table), "format_sensitivity_change")  # type: ignore[operator]
    assert found.value is None
    assert reason in found.reason


def test_tables_without_scores_have_no_sensitivity() -> None:
    table = rows({"a": beliefs(), "b": beliefs()})
    assert findings(study_of(table.drop(columns="option_logprob"))) == []
    assert findings(study_of(table[table["format"] == "a"])) == []
    probes = table.assign(format=table["format"].map({"a": "cue_recovery", "b": "attribution"}))
    assert findings(study_of(probes)) == []


def test_nothing_depends_on_order_names_or_another_model() -> None:
    table = pd.concat(
        [rows({"a": beliefs(seed=1 + g), "b": beliefs(seed=2)}, generation=g, seed=g) for g in (0, 1)],
        ignore_index=True,
    )
    mixed = table.sample(frac=1, random_state=3)
    mixed["item"] = "z" + mixed["item"].str[::-1]
    for one, other in zip(findings(study_of(mixed)), findings(study_of(table)), strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    both = findings(study_of(pd.concat([table, table.assign(lineage="twin")])))
    assert [one for one in both if one.lineage == "arm"] == findings(study_of(table))

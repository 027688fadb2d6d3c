"""The arena: planted runs give the planted table; the contrast is a paired t with Holm; the front is Pareto's."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from factfade.arena import Arena, compare, front, tables
from factfade.arena.runs import RunSummary
from factfade.arena.words import sentences
from factfade.export import pareto


def planted(arm: str, seed: int, knowledge: float, **over: Any) -> RunSummary:
    values: dict[str, Any] = {
        "arm": arm,
        "seed": seed,
        "items": 100,
        "knowledge": knowledge,
        "formats": {"open_ended": knowledge - 0.1, "short_answer": knowledge + 0.1},
        "domains": {"east": knowledge},
        "start": {"open_ended": 0.9, "short_answer": 1.0},
        "start_domains": {"east": 0.95},
        "parseable": 0.8,
        "nats": 0.1,
        "onsets": {"B": 2 + seed % 2},
        "costs": {"seconds": 10.0, "trained_tokens": 1000.0, "human_share": 0.25},
    }
    return RunSummary(**{**values, **over})


def arms(**knowledge: list[float]) -> list[RunSummary]:
    return [planted(arm, seed, value) for arm, of in knowledge.items() for seed, value in enumerate(of)]


NONE = [0.50, 0.53, 0.47, 0.52, 0.49]
BETTER = [0.61, 0.62, 0.60, 0.62, 0.58]
LIKE = [0.52, 0.49, 0.50, 0.50, 0.51]
WORSE = [0.30, 0.35, 0.33, 0.31, 0.36]


def whole(runs: list[RunSummary], rows: list[Any], **over: Any) -> Arena:
    values: dict[str, Any] = {
        "name": "planted",
        "baseline": "none",
        "generation": 5,
        "formats": ("open_ended", "short_answer"),
        "domains": ("east",),
        "start": {"open_ended": 0.9, "short_answer": 1.0},
        "start_domains": {"east": 0.95},
        "items": 100,
        "alpha": 0.05,
        "rows": tuple(rows),
        "runs": tuple(runs),
    }
    return Arena(**{**values, **over})


def test_contrast_is_scipys_paired_t_with_statsmodels_holm() -> None:
    rows = {row.arm: row for row in compare(arms(none=NONE, better=BETTER, like=LIKE, worse=WORSE), "none")}
    others = {"better": BETTER, "like": LIKE, "worse": WORSE}
    p = {arm: float(scipy_stats.ttest_rel(of, NONE).pvalue) for arm, of in others.items()}
    corrected = dict(zip(p, multipletests(list(p.values()), method="holm")[1], strict=True))
    for arm, of in others.items():
        found = rows[arm].contrast
        assert found is not None
        assert found.p == pytest.approx(p[arm], rel=1e-9)
        assert found.p_holm == pytest.approx(corrected[arm], rel=1e-9)
        bounds = scipy_stats.ttest_rel(of, NONE).confidence_interval(0.95)
        assert (found.difference.low, found.difference.high) == pytest.approx((bounds.low, bounds.high))
    assert [rows[arm].contrast.shown for arm in ("better", "like", "worse")] == [True, False, True]
    assert rows["none"].contrast is None


def test_seeds_are_paired_and_not_pooled() -> None:
    """The same numbers with the seeds shuffled lose the pairing, and with it the power."""
    base = [0.2, 0.4, 0.6, 0.8, 0.5]
    runs = arms(none=base, arm=[value + 0.02 + 0.001 * at for at, value in enumerate(base)])
    shuffled = arms(none=base, arm=[run.knowledge for run in runs if run.arm == "arm"][::-1])
    found, lost = (compare(of, "none")[1].contrast for of in (runs, shuffled))
    assert found is not None
    assert lost is not None
    assert found.shown
    assert not lost.shown


def test_a_seed_without_its_pair_is_left_out_of_the_contrast() -> None:
    runs = [*arms(none=NONE, better=BETTER), planted("better", 9, 0.0)]
    row = next(row for row in compare(runs, "none") if row.arm == "better")
    assert row.contrast is not None
    assert row.contrast.difference.n == 5
    assert len(row.seeds) == 6


def test_only_the_declared_family_is_corrected() -> None:
    rows = {row.arm: row for row in compare(arms(none=NONE, better=BETTER, like=LIKE), "none", family=["better"])}
    assert rows["better"].contrast.p_holm == rows["better"].contrast.p
    assert rows["like"].contrast.p_holm is None
    assert not rows["like"].contrast.declared
    assert not rows["like"].contrast.shown


def test_one_seed_gives_no_interval_and_says_so() -> None:
    runs = arms(none=[0.5], better=[0.9])
    rows = compare(runs, "none")
    contrast = rows[1].contrast
    assert contrast is not None
    assert (contrast.p, contrast.shown, contrast.difference.low) == (None, False, None)
    said = " ".join(sentences(whole(runs, rows)))
    assert "the spread between trainings is not known" in said
    assert "1 run seed explores and confirms nothing" in said


def test_rows_are_sorted_by_what_was_kept_whatever_the_order_of_runs() -> None:
    runs = arms(none=NONE, better=BETTER, like=LIKE, worse=WORSE)
    one, other = compare(runs, "none"), compare(runs[::-1], "none")
    assert [row.arm for row in one] == ["none", "better", "like", "worse"] == [row.arm for row in other]
    assert [row.knowledge.value for row in one] == pytest.approx([row.knowledge.value for row in other])


def test_tables_show_every_arm_and_json_has_every_run() -> None:
    runs = arms(none=NONE, better=BETTER, like=LIKE, worse=WORSE)
    arena = whole(runs, compare(runs, "none", budgets={"worse": "its own"}), missing=(("better", 7),))
    text = "\n".join(tables.lines(arena))
    for arm in ("none", "better", "like", "worse"):
        assert sum(line.startswith(arm) for line in text.splitlines()) == 3
    assert "60.6 [58.5, 62.7]" in text  # mean of BETTER with its t interval, in points
    assert "5/5, g2" in text
    assert "own budget" in text
    data = json.loads(json.dumps(tables.to_json(arena)))
    assert len(data["runs"]) == 20
    assert tables.markdown(arena).count("| better |") == 3
    said = " ".join(sentences(arena))
    assert "Not complete, and left out: better seed 7." in said
    assert "Shown to keep more than none" in said
    assert "Shown to keep less" in tables.markdown(whole(runs, list(arena.rows), sentences=tuple(sentences(arena))))


def test_hostile_names_do_not_reach_the_terminal() -> None:
    runs = [planted(arm, seed, value) for arm in ("none", "a\x1b[31m|b") for seed, value in enumerate(NONE)]
    arena = whole(runs, compare(runs, "none"))
    assert "\x1b" not in "\n".join(tables.lines(arena))
    assert "\x1b" not in tables.markdown(arena)


@given(st.lists(st.tuples(st.tuples(st.integers(0, 4), st.integers(0, 4)), st.integers(0, 4)), min_size=1, max_size=12))
def test_front_is_what_no_other_point_beats(points: list[tuple[tuple[int, int], int]]) -> None:
    found = front(points)
    assert any(found)
    for at, (costs, value) in enumerate(points):
        beaten = any(
            other[1] >= value
            and other[0][0] <= costs[0]
            and other[0][1] <= costs[1]
            and (other[1] > value or other[0][0] < costs[0] or other[0][1] < costs[1])
            for other in points
        )
        assert found[at] is not beaten


def test_front_leaves_out_what_has_no_value() -> None:
    assert front([((1.0,), None), ((2.0,), 0.5)]) == [False, True]


def test_figure_is_drawn_in_three_forms_and_equal_twice() -> None:
    pytest.importorskip("matplotlib")
    runs = arms(none=NONE, better=BETTER, like=LIKE)
    arena = whole(runs, compare(runs, "none"))
    one, other = pareto.draw(arena), pareto.draw(arena)
    assert one == other
    assert set(one) == {"svg", "pdf", "png"}
    assert one["svg"].count(b"<path") > 10


def test_power_sentence_follows_the_spread() -> None:
    """With 5 seeds and one comparison the detectable difference is the noncentral t's: checked by simulation."""
    runs = arms(none=NONE, better=BETTER, like=LIKE, worse=WORSE)
    rows = compare(runs, "none")
    row = next(row for row in rows if row.arm == "like")
    assert row.contrast is not None
    sd, least = row.contrast.difference.deviation, row.contrast.detectable
    assert sd is not None
    assert least is not None
    random = np.random.default_rng(0)
    draws = random.normal(least, sd, size=(20_000, 5))
    power = float(np.mean(scipy_stats.ttest_1samp(draws, 0, axis=1).pvalue <= 0.05))
    assert power == pytest.approx(0.8, abs=0.01)


def test_arms_are_compared_by_processor_seconds_where_every_run_has_them() -> None:
    """By the clock the second arm took longer; by the processor, which other work does not change, half as long."""

    def run(arm: str, clock: float, processor: float) -> RunSummary:
        costs = {"seconds": clock, "processor_seconds": processor, "trained_tokens": 1.0, "human_share": 0.0}
        return planted(arm, 0, 0.5, costs=costs)

    both = [run("none", 10.0, 8.0), run("half", 30.0, 4.0)]
    table = tables.cost_table(whole(both, compare(both, "none")))
    place = table[0].index("seconds")
    assert [line[place : place + 2] for line in table[1]] == [["8", "1.00"], ["4", "0.50"]]
    assert [row.front for row in compare(both, "none")] == [False, True]
    unknown = [both[0], run("half", 30.0, float("nan"))]
    assert [line[place : place + 2] for line in tables.cost_table(whole(unknown, compare(unknown, "none")))[1]] == [
        ["10", "1.00"],
        ["30", "3.00"],
    ]
    assert [row.front for row in compare(unknown, "none")] == [True, False]


def test_a_narrow_terminal_gets_every_column_and_no_line_too_wide() -> None:
    runs = arms(none=NONE, better=BETTER)
    found = whole(runs, compare(runs, "none"))
    wide = tables.lines(found)
    narrow = tables.lines(found, width=80)
    assert max(len(line) for line in wide if line.startswith(("none ", "better "))) > 80
    assert max(len(line) for line in narrow) <= 80
    cells = {cell for line in wide if line.startswith("better ") for cell in line.split()}
    assert cells == {cell for line in narrow if line.startswith("better ") for cell in line.split()}


def test_an_interval_of_a_share_stays_where_shares_lie() -> None:
    (row,) = compare(arms(none=[0.98, 0.9]), "none")
    assert row.knowledge.high == 1.0
    low, high = scipy_stats.t.interval(0.95, 1, loc=0.94, scale=scipy_stats.sem([0.98, 0.9]))
    assert high > 1
    assert row.knowledge.low == pytest.approx(low)

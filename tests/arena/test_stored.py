"""The arena of a stored experiment: what the folder says, by the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from factfade import arena, cli, judging, loop, reading, store
from factfade.errors import NotFound
from factfade.progress import Silent
from factfade.report import page
from factfade.sweep import to_toml
from tests import small

ARMS = {
    "general": {"synthetic_fraction": 1.0},
    "human_only": {"synthetic_fraction": 0.0},
    "half": {"synthetic_fraction": 0.5},
    "longer": {"synthetic_fraction": 1.0, "training": {"steps": 9}},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arena")
    made = small.experiment(
        small.materials(folder),
        experiment={"name": "small", "generations": 1, "seeds": [0, 1]},
        training={"steps": 3, "chunk_tokens": 16},
        evaluation={"formats": ["multiple_choice", "short_answer"], "prompts": 4, "texts": 2},
        contrast={"baseline": "general"},
        arms=ARMS,
    )
    root = folder / "small"
    store.create_experiment(root, toml=to_toml(made), environment={})
    loop.run_start(made, root, progress=Silent())
    for arm, seed in (("general", 0), ("general", 1), ("human_only", 0), ("half", 0), ("half", 1), ("longer", 0)):
        loop.run_arm(made, arm, seed, root, progress=Silent())
    return root


def test_knowledge_is_the_mean_over_formats_of_the_share_right(root: Path) -> None:
    found = arena.arena(root)
    evidence = reading.load_evidence(store.open_experiment(root))
    for run in found.runs:
        own = evidence.query("lineage == @run.arm and seed == @run.seed and generation == 1")
        by_format = own.groupby("format")["choice_correct"].mean()
        assert run.knowledge == pytest.approx(float(by_format.mean()))
        assert dict(run.formats) == pytest.approx({str(k): float(v) for k, v in by_format.items()})
        assert run.domains["cities"] == pytest.approx(float(by_format.mean()))
        start = evidence.query("lineage == @run.arm and seed == @run.seed and generation == 0")
        assert run.start_domains["cities"] == pytest.approx(start.groupby("format")["choice_correct"].mean().mean())
    base = {run.seed: run.knowledge for run in found.runs if run.arm == "general"}
    half = {run.seed: run.knowledge for run in found.runs if run.arm == "half"}
    row = next(row for row in found.rows if row.arm == "half")
    assert row.contrast is not None
    assert row.contrast.difference.value == pytest.approx(np.mean([half[s] - base[s] for s in base]))


def test_costs_are_those_of_the_stored_steps(root: Path) -> None:
    steps = reading.manifests(store.open_experiment(root))["half", 0, 1]
    run = next(run for run in arena.arena(root).runs if (run.arm, run.seed) == ("half", 0))
    for name in ("seconds", "processor_seconds"):
        assert run.costs[name] == pytest.approx(sum(steps[step].times[name] for step in ("synthesize", "train")))
    assert arena.arena(root).clock == "processor_seconds"


def test_a_case_that_was_read_and_judged_gives_the_same_arena(root: Path) -> None:
    case = judging.open_case(root)
    assert arena.arena(root, case=case, report=case.stages()) == arena.arena(root)


def test_missing_runs_are_named_and_own_budgets_are_out_of_the_family(root: Path) -> None:
    found = arena.arena(root)
    assert set(found.missing) == {("human_only", 1), ("longer", 1)}
    rows = {row.arm: row for row in found.rows}
    assert rows["longer"].budget == "its own"
    declared = {arm: row.contrast.declared for arm, row in rows.items() if row.contrast}
    assert declared == {"half": True, "human_only": False, "longer": False}


def test_equal_budgets_are_equal_to_the_token(root: Path) -> None:
    rows = {row.arm: row.costs for row in arena.arena(root).rows}
    assert {rows[arm]["trained_tokens"] for arm in ("general", "half", "human_only")} == {3 * 4 * 16}
    assert rows["longer"]["trained_tokens"] == 9 * 4 * 16
    assert (rows["general"]["human_share"], rows["human_only"]["human_share"]) == (0.0, 1.0)
    assert 0.2 < rows["half"]["human_share"] < 0.8
    assert rows["general"]["synthesized_tokens"] > rows["half"]["synthesized_tokens"] > 0
    assert rows["human_only"]["synthesized_tokens"] == 0


def test_the_command_prints_text_markdown_and_json(root: Path) -> None:
    def said(*arguments: str) -> str:
        found = CliRunner().invoke(cli.app, ["arena", str(root), *arguments])
        assert found.exit_code == 0
        return found.output

    assert "Not complete, and left out: human_only seed 1, longer seed 1." in said()
    assert "| half |" in said("--markdown")
    assert {row["arm"] for row in json.loads(said("--json"))["rows"]} == set(ARMS)
    assert "It was not declared before the runs: exploratory." in said("--baseline", "human_only")


def test_the_page_shows_the_declared_comparison(root: Path) -> None:
    made = page.collect(root)
    assert [len(table.rows) for table in made.arena] == [4, 5, 4]
    text = page.render(made)
    assert 'id="arena"' in text
    assert "Not complete, and left out: human_only seed 1, longer seed 1." in text
    alone = page.collect(root / "half" / "seed-0")
    assert (alone.arena, 'id="arena"' in page.render(alone)) == ((), False)


def test_an_unknown_arm_is_refused(root: Path) -> None:
    with pytest.raises(NotFound, match="no arm 'nobody'"):
        arena.arena(root, baseline="nobody")

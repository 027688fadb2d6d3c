"""One run of docs/reproduction.md, repeated: what the page claims, a reader's machine finds again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factfade import reading, run, store
from factfade.config import load

ROOT = Path(__file__).resolve().parent.parent
# Another machine rounds otherwise, samples other text and ends elsewhere; five seeds differ by up to this much.
TOLERANCE = 0.12


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_world_reproduction_repeats(tmp_path: Path, world_model: Path) -> None:
    golden = json.loads((ROOT / "tests" / "golden" / "world_reproduction_seed_10.json").read_text())
    whole = load(
        ROOT / "examples" / "world_reproduction.toml",
        ["experiment.seeds=[10]", "experiment.generations=3", "evaluation.generations=[0, 2, 3]"],
    )
    arms = {name: arm for name, arm in whole.arms.items() if name in golden}
    outcome = run(whole.model_copy(update={"arms": arms}), tmp_path)
    assert outcome.failures == ()
    evidence = reading.load_evidence(store.open_experiment(outcome.path))
    right = evidence[evidence["outcome"].ne("not_asked")].copy()
    right["right"] = right["choice_correct"].astype(float)
    shares = right.groupby(["lineage", "format", "generation"])["right"].mean()
    for arm, formats in golden.items():
        for format_name, generations in formats.items():
            for generation, value in generations.items():
                found = shares[arm, format_name, int(generation)]
                assert found == pytest.approx(value, abs=TOLERANCE if int(generation) else 0.005)
    assert outcome.stages is not None
    calls = {(c.lineage, c.format, c.generation): c.stage for c in outcome.stages.calls}
    lettered = ("multiple_choice", "multiple_choice_few_shot", "no_instruction")
    assert any(calls["general", f, 2] == calls["general", f, 3] == "B" for f in lettered)
    assert not any(calls["human_only", f, 2] == calls["human_only", f, 3] == "B" for f in golden["human_only"])

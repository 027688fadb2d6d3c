"""The stage detector on simulated runs: alarms where nothing decays, calls where something is planted.

`python -m benchmarks.stages` does the same at full size; its tables are in benchmarks/stages/results.md.
"""

from __future__ import annotations

import pytest
from benchmarks.stages.__main__ import Job, one
from benchmarks.stages.worlds import NOISES, PLANTED
from scipy.stats import binom

from factfade.stages import Rule


def planted(name: str, n: int = 1000, seed: int = 1) -> Job:
    place = next(i for i, world in enumerate(PLANTED) if world.name.startswith(name))
    return Job(planted=True, world=place, n=n, formats=1, seed=seed)


def test_each_planted_decay_is_called_what_it_is() -> None:
    assert set(one(planted("nothing")).stages) <= {"A", "u"}
    sudden = one(planted("sudden"))
    assert (sudden.onset, sudden.stages[3:], sudden.trend) == (4, "B" * 7, True)
    for name, firm in (("format only", True), ("fluency only", True), ("junk only", False)):
        found = one(planted(name))
        assert found.onset == 4
        # 128 prompts do not always show 30 points more junk beyond the 10 allowed.
        assert set(found.stages[3:]) <= ({"C"} if firm else {"C", "u"})
    mixed = one(planted("B then C")).stages
    assert mixed.rstrip("C").endswith("B")
    assert mixed[6:] == "CCCC"
    domain = one(planted("one domain"))
    assert domain.domains == (0,)
    calibration = one(planted("calibration only"))
    assert calibration.overconfident
    assert set(calibration.stages) <= {"A", "u"}


def test_the_truth_of_a_planted_world_is_what_the_rule_would_call_of_endless_samples() -> None:
    rule = Rule()
    truths = {world.name.split(":")[0]: "".join(world.truth(g, rule) for g in range(1, 11)) for world in PLANTED}
    assert truths["nothing"] == truths["calibration only"] == "A" * 10
    assert truths["sudden"] == truths["one domain"] == "AAABBBBBBB"
    assert truths["format only"] == truths["fluency only"] == "AAACCCCCCC"
    assert truths["B then C"] == "ABBBBBCCCC"


@pytest.mark.slow
def test_alarms_hold_five_percent_where_their_assumptions_hold() -> None:
    runs = 300
    low, high = binom.interval(0.999, runs, 0.05)
    for world, noise in enumerate(NOISES):
        found = [one(Job(planted=False, world=world, n=300, formats=1, seed=50_000 + s)) for s in range(runs)]
        alarms, calls = sum(o.trend for o in found), sum(o.called for o in found)
        if noise == "run-level random walk":
            assert alarms > high
            continue
        assert low <= alarms <= high, noise
        assert calls <= high, noise
        assert sum(o.looks for o in found) > high, noise

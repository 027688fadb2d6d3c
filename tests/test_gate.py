"""The gate: its verdicts, its policy, its files, and what it writes to start from."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factfade import gate, gate_files, gate_init, gate_measures, tables
from factfade import policy as policies
from factfade.compare import compare
from factfade.compare_prints import FIELDS
from factfade.errors import ConfigError, DataError, IntegrityError, UsageError
from factfade.gate import decide, judge
from factfade.gate_measures import Candidate, Measure, Measured
from factfade.judging import Case
from factfade.policy import Policy
from factfade.stats.paired import paired_loss
from tests import fakerun, planted
from tests.planted import World
from tests.test_cli import call

Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]
Change = Callable[[Frames], tuple[pd.DataFrame | None, ...]]
POLICY = """
[gate]
formats = ["multiple_choice", "open_ended"]
[margins]
knowledge = 0.10
format = 0.10
fluency_nats = 0.25
fluency_junk = 0.10
[domains.geo]
knowledge = 0.15
"""


def world(*, lost: float = 0.0, items: int = 400, nats: float = 0.0) -> Frames:
    """Generation 0, and a checkpoint that lost a share of all questions."""
    one = World(right=lambda g: 0.95 - lost * (g > 0), nats=lambda g: nats * (g > 0))
    evidence, fluency, own = planted.tables({"mine": one}, generations=(0, 1), items=items)
    steps = evidence["generation"] * 500
    evidence = evidence.assign(checkpoint=["base" if s == 0 else f"checkpoint-{s}" for s in steps], step=steps)
    return evidence, fluency, own


def write(folder: Path, made: tuple[pd.DataFrame | None, ...]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for data, name in zip(made, ("evidence", "fluency", "own"), strict=True):
        if data is not None:
            kind = "completions" if name == "own" else name
            tables.write(folder / f"{name}.parquet", data.reset_index(drop=True), kind)  # type: ignore[arg-type]
    return folder


def later(table: pd.DataFrame, format: str = "open_ended") -> pd.Series[bool]:
    return (table["generation"] == 1) & (table["format"] == format)


def unjudged(made: Frames) -> Frames:
    """One answer of the checkpoint without a judgement: what a NaN becomes in a table."""
    evidence = made[0].copy()
    at = evidence.index[later(evidence)][0]
    evidence["choice_correct"] = evidence["choice_correct"].astype("boolean")
    evidence["choice"] = evidence["choice"].astype("Int64")
    evidence.loc[at, ["choice_correct", "choice"]] = pd.NA
    return evidence, *made[1:]


def same(made: Frames) -> Frames:
    return made


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("[margins]\nknowlege = 0.1", "unknown key 'margins.knowlege'", "'knowledge'"),
        ("[gates]\nalpha = 0.1\n[margins]\nknowledge=0.1", "unknown key 'gates'", "'gate'"),
        ("[domains.geo]\nknowledge = 0.1\nfluency_nats = 1.0", "domains.geo.fluency_nats", ""),
        ("[margins]\nknowledge = true", "margins.knowledge", ""),
        ("[margins]\nknowledge = '0.1'", "margins.knowledge", ""),
        ("[margins]\nknowledge = nan", "finite", ""),
        ("[margins]\nknowledge = 1.0", "less than 1", ""),
        ("[margins]\nknowledge = -0.1", "greater than", ""),
        ("", "no margin is set", ""),
        ("[margins]\nknowledge=0.1\n[domains.geo]\nminimum_n = 3", "'geo' has no margin", ""),
        ("[gate]\nformats = []\n[margins]\nknowledge=0.1", "gate.formats", ""),
        ("[gate]\nformats = ['cue_recovery']\n[margins]\nknowledge=0.1", "is a probe", ""),
        ("[gate]\ninconclusive = 'pass'\n[margins]\nknowledge=0.1", "gate.inconclusive", ""),
        ("[gate", "no valid TOML", "--init"),
    ],
)
def test_a_wrong_policy_is_exit_2_and_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, says: str, hint: str
) -> None:
    rule = tmp_path / "policy.toml"
    rule.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(says)) as wrong:
        policies.load(rule)
    assert hint in wrong.value.hint
    assert call(monkeypatch, "gate", str(write(tmp_path / "a", world(items=20))), "--policy", str(rule)) == 2
    assert "Traceback" not in capsys.readouterr().err


POLICY_OF = policies.parse(tomllib.loads(POLICY))


def case(made: Frames) -> Case:
    return Case(evidence=made[0], fluency=made[1], own=made[2], controls={})


def test_the_numbers_of_a_check_are_those_of_the_paired_loss() -> None:
    made = world(lost=0.1)
    found = judge(case(made), POLICY_OF)
    own = made[0][(made[0]["format"] == "open_ended") & (made[0]["domain"] == "geo")]
    right = own.pivot_table(index="item", columns="generation", values="choice_correct", aggfunc="first").astype(float)
    entity = own[own["generation"] == 0].set_index("item")["entity"].reindex(right.index)
    expected = paired_loss(right[0], right[1], pd.factorize(entity)[0], level=0.9).interval
    (one,) = [c for c in found.checks if (c.measure.format, c.measure.domain) == ("open_ended", "geo")]
    assert (one.measure.loss, one.measure.low, one.measure.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert (one.margin, one.measure.n) == (0.15, 200)


def test_an_inconclusive_check_says_how_many_items_it_takes() -> None:
    found = judge(case(world(lost=0.07)), POLICY_OF)
    open_ones = [c for c in found.checks if c.status == "inconclusive"]
    assert open_ones
    for one in open_ones:
        assert one.needed is not None
        assert one.needed > one.measure.n
        assert f"{one.needed:,} items would settle it" in one.sentence


def test_every_domain_and_every_checkpoint_can_be_asked_for() -> None:
    one = World(right=lambda g: 0.6 if g == 1 else 0.95)
    made = planted.tables({"mine": one}, generations=(0, 1, 2), items=400)
    last = policies.parse({"margins": {"knowledge": 0.1}})
    every = policies.parse({"gate": {"checkpoints": "all"}, "domains": {"*": {"knowledge": 0.15}}})
    assert judge(case(made), last).exit_code == 0
    found = judge(case(made), every)
    assert found.exit_code == 1
    assert {c.measure.domain for c in found.checks} == {"geo", "chem"}
    assert {c.measure.generation for c in found.checks if c.status == "breach"} == {1}


def test_a_seed_that_lacks_the_last_checkpoint_does_not_pass() -> None:
    parts = [
        planted.tables({"mine": World()}, generations=g, items=200, seed=s) for s, g in ((0, (0, 1, 2)), (1, (0, 1)))
    ]
    made = tuple(pd.concat(one, ignore_index=True) for one in zip(*parts, strict=True))
    found = judge(case(made), policies.parse({"margins": {"knowledge": 0.1}}))  # type: ignore[arg-type]
    assert found.exit_code == 3
    assert {c.measure.seed for c in found.checks if c.status == "missing"} == {1}


def test_one_of_several_lineages_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", planted.tables({"a": World(), "b": World()}, generations=(0, 1), items=120))
    with pytest.raises(UsageError, match="2 lineages"):
        judge(folder, POLICY_OF)
    assert {c.measure.lineage for c in judge(f"{folder}:b", POLICY_OF).checks} == {"b"}


def test_a_family_corrects_breaches_and_nothing_else() -> None:
    made = world(lost=0.16)
    alone = judge(case(made), POLICY_OF)
    together = judge(case(made), policies.parse({**tomllib.loads(POLICY), "gate": {"family": "gate"}}))
    breached = [{c.measure.key for c in v.checks if c.status == "breach"} for v in (alone, together)]
    passed = [{c.measure.key for c in v.checks if c.status == "pass"} for v in (alone, together)]
    assert breached[1] <= breached[0]
    assert passed[0] == passed[1]
    assert all(c.p is not None and c.p <= 0.05 for c in together.checks if c.status == "breach")


# ---------------------------------------------------------------------------------------------------------------
# Decisions on measures alone


@settings(deadline=None)
@given(st.floats(-0.5, 0.5), st.floats(0.001, 0.4), st.floats(0, 0.5), st.integers(1, 400))
def test_the_rule_is_the_interval_against_the_margin(loss: float, half: float, margin: float, n: int) -> None:
    low, high = loss - half, loss + half
    one = Measure(
        lineage="x", seed=0, generation=1, endpoint="knowledge", format="f", loss=loss, low=low, high=high, n=n,
        answers=n, clusters=n, deviation=0.3, of=n, level=0.9,
    )  # fmt: skip
    measured = Measured(
        candidates=(Candidate(lineage="x", seed=0, generation=1),), formats=("f",), domains=(), measures=(one,)
    )
    found = decide(measured, policies.parse({"margins": {"knowledge": margin}}))
    expected = 3 if n < 100 else 0 if high < margin else 1 if low > margin else 3
    assert found.exit_code == expected
    assert found.checks[0].notice == (expected == 0 and low > 0)
    absent = replace(measured, measures=())
    assert decide(absent, policies.parse({"margins": {"knowledge": margin}})).exit_code == 3


def test_failures_of_an_audit_do_not_pass(tmp_path: Path) -> None:
    folder = write(tmp_path / "audit", world())
    (folder / "audit.toml").write_text("")
    record = {
        "checkpoints": [{"name": "checkpoint-900", "failure": {"message": "a pickle\x1b"}}],
        "failures": ["checkpoint-900"],
    }
    measured = gate_measures.measure(case(world()), POLICY_OF, path=folder)
    assert [(one.sentence, one.exit_code) for one in measured.failures] == [("the audit has not come to its end", 3)]
    (folder / "audit.json").write_text(json.dumps(record))
    measured = gate_measures.measure(case(world()), POLICY_OF, path=folder)
    found = decide(measured, POLICY_OF)
    assert found.exit_code == 4
    assert found.checks[0].sentence == "the checkpoint checkpoint-900 could not be evaluated: a pickle\\x1b"
    (folder / "audit.json").write_text("[" * 100_000)
    with pytest.raises(IntegrityError, match=r"audit\.json"):
        gate_measures.measure(case(world()), POLICY_OF, path=folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["measured"]["measures"][0].update(high=float("nan")), "damaged|JSON"),
        (lambda d: d["measured"]["measures"][0].update(low=0.9), "contradict"),
        (lambda d: d["measured"]["measures"][0].update(surplus=1), "damaged"),
        (lambda d: d["measured"]["measures"].append(d["measured"]["measures"][0]), "twice"),
        (lambda d: d.update(gate_version=9), "no verdict"),
        (lambda d: d.pop("measured"), "no verdict"),
    ],
)
def test_a_damaged_verdict_is_refused(tmp_path: Path, change: Callable[[dict[str, object]], object], says: str) -> None:
    data = gate.plain(judge(case(world()), POLICY_OF))
    change(data)
    file = tmp_path / "gate.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(DataError, match=says):
        judge(file, POLICY_OF)


def test_a_verdict_s_json_passes_no_measure_that_it_lacks(tmp_path: Path) -> None:
    data = gate.plain(judge(case(world()), POLICY_OF))
    file = tmp_path / "gate.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    assert judge(file, POLICY_OF) == judge(case(world()), POLICY_OF)
    wider = policies.parse({"margins": {"knowledge": 0.1, "confidence": 0.1}})
    assert judge(file, wider).exit_code == 3
    with pytest.raises(ConfigError, match="level"):
        judge(file, policies.parse({"gate": {"alpha": 0.01}, "margins": {"knowledge": 0.1}}))
    with pytest.raises(ConfigError, match="other margins"):
        judge(file, policies.parse({"gate": {"family": "gate"}, "margins": {"knowledge": 0.2}}))


# ---------------------------------------------------------------------------------------------------------------
# Files


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    made = world(lost=0.1)
    mixed = tuple(t.sample(frac=1, random_state=5).reset_index(drop=True) for t in made)
    for name, frames in (("a", made), ("b", mixed)):
        folder = write(tmp_path / name / "evidence", frames)
        gate_files.write(judge(folder, POLICY_OF), tmp_path / name / "out")
    for name in (gate_files.JSON, gate_files.JUNIT, gate_files.SUMMARY):
        first, second = ((tmp_path / side / "out" / name).read_bytes() for side in "ab")
        assert first == second
        assert POLICY_OF.sha256.encode() in first
        assert str(tmp_path).encode() not in first


def test_the_hash_is_that_of_what_the_policy_says(tmp_path: Path) -> None:
    written = tmp_path / "p.toml"
    written.write_text("# a comment\n" + POLICY.replace("0.10", "0.1"), encoding="utf-8")
    assert policies.load(written).sha256 == POLICY_OF.sha256
    for change in ({"margins": {"knowledge": 0.11}}, {"gate": {"minimum_n": 99}}, {"domains": {}}):
        assert policies.parse({**tomllib.loads(POLICY), **change}).sha256 != POLICY_OF.sha256


HOSTILE = "</code><script>alert(1)</script> @admin #1 [x](http://e.org) | ]]> \x1b[31m \x00\u202e & \"'`*_"


def hostile(made: Frames) -> Frames:
    evidence = made[0].assign(
        domain=[HOSTILE if d == "geo" else d for d in made[0]["domain"]],
        format=["<f>" if f == "open_ended" else f for f in made[0]["format"]],
        checkpoint=HOSTILE,
    )
    return evidence, made[1], made[2]


def test_hostile_names_are_escaped_in_every_form() -> None:
    policy = policies.parse(
        {"margins": {"knowledge": 0.05}, "domains": {HOSTILE: {"knowledge": 0.05}, "*": {"knowledge": 0.1}}}
    )
    found = judge(case(hostile(world(lost=0.3))), policy)
    assert found.exit_code == 1
    root = ET.fromstring(gate_files.junit(found))
    cases = root.findall(".//testcase")
    assert len(cases) == len(found.checks)
    assert any("<script>" in case.get("name", "") for case in cases), "as text, not as a tag"
    summary = gate_files.markdown(found)
    for active in ("<script", "@admin", "#1 ", "](", "http://", "\x1b", "\u202e", "]]>"):
        assert active not in summary
    assert all(line.count("|") == 7 for line in summary.splitlines() if line.startswith("|"))
    assert gate_files.to_json(found).isascii()
    text = "\n".join(gate_files.lines(found))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_junit_file_counts_what_it_holds() -> None:
    found = judge(case(world(lost=0.4)), policies.parse({"margins": {"knowledge": 0.1, "fluency_nats": 0.25}}))
    root = ET.fromstring(gate_files.junit(found))
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "2", "0")
    assert len(root.findall(".//failure")) == 2
    warned = judge(
        case(world(items=60)), policies.parse({"gate": {"inconclusive": "warn"}, "margins": {"knowledge": 0.1}})
    )
    assert warned.exit_code == 0
    assert len(ET.fromstring(gate_files.junit(warned)).findall(".//skipped")) == 2


# ---------------------------------------------------------------------------------------------------------------
# To start from


def scripts(job: Any) -> list[str]:
    """The commands of a job, as its system reads them."""
    if "jobs" in job:
        return [line for step in job["jobs"]["gate"]["steps"] for line in step.get("run", "").splitlines()]
    return [line for text in job["factfade-gate"]["script"] for line in text.splitlines()]


@pytest.mark.parametrize("name", ["my audit", 'it\'s: #1 {x} & $HOME "q" %d [y] é', "- a"])
@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_init_writes_a_policy_and_a_job_of_the_evidence_that_the_gate_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, ci: str
) -> None:
    yaml = pytest.importorskip("yaml")
    folder = write(tmp_path / name, world(items=500))
    rule = tmp_path / f"{ci} {name}" / "policy.toml"
    start = ("gate", str(folder), "--init", "--ci", ci, "--policy", str(rule))
    assert call(monkeypatch, *start) == 0
    made = policies.load(rule)
    assert made.gate.formats == ("multiple_choice", "open_ended")
    assert set(made.domains) == {"geo", "chem"}
    text = rule.read_text(encoding="utf-8")
    assert "multiple_choice 500" in text
    assert "250 questions" in text
    assert {file.name for file in rule.parent.iterdir()} == {"policy.toml", gate_init.JOBS[ci][0]}
    job = yaml.safe_load((rule.parent / gate_init.JOBS[ci][0]).read_text(encoding="utf-8"))
    (command,) = [line for line in scripts(job) if line.startswith("factfade gate")]
    arguments = shlex.split(command)
    assert arguments == ["factfade", "gate", str(folder), "--policy", str(rule), "--out", "gate"]
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments[1:]) == 0
    kept = [job["factfade-gate"]["artifacts"]["reports"]["junit"]] if ci == "gitlab" else ["gate/gate.md"]
    assert all((tmp_path / file).is_file() for file in kept)
    assert call(monkeypatch, *start) == 2
    assert "exists already" in capsys.readouterr().err
    assert call(monkeypatch, *start, "--force") == 0


def test_init_without_evidence_is_a_policy_too(tmp_path: Path) -> None:
    (policy,) = gate_init.init(None, tmp_path / "policy.toml", ci="none")
    assert policies.load(policy).margins.knowledge == 0.05
    assert list(tmp_path.iterdir()) == [policy]
    with pytest.raises(ConfigError, match="no job for 'jenkins'") as wrong:
        gate_init.init(None, tmp_path / "other.toml", ci="jenkins")
    assert "github, gitlab, none" in wrong.value.hint
    assert gate_init.init(None, tmp_path / "other.toml")[1].name == "factfade-gate.yml"


def test_margins_follow_from_the_numbers_of_questions_and_not_from_the_losses(tmp_path: Path) -> None:
    texts = []
    for name, lost in (("same", 0.0), ("lost", 0.5)):
        folder = write(tmp_path / name, world(lost=lost, items=150))
        policy, _ = gate_init.init(str(folder), tmp_path / f"{name}-policy" / "policy.toml")
        texts.append(policy.read_text(encoding="utf-8").replace(str(folder), ""))
    assert texts[0] == texts[1]
    wide, narrow = gate_init.margin_for(100, 0.05), gate_init.margin_for(400, 0.05)
    assert wide > narrow == 0.05
    assert gate_init.margin_for(1, 0.05) == 0.99


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.text(max_size=12), st.integers(30, 999), max_size=3), st.sampled_from(["a", "my 'audit'", "x y"])
)
def test_any_domain_name_gives_a_policy_that_names_it(names: dict[str, int], audit: str) -> None:
    asked = gate_init.Asked(
        items={"f\n": 999}, domains={n: {"f\n": k} for n, k in names.items() if n}, nats=True, junk=False,
        confidence=False, free=True,
    )  # fmt: skip
    made = policies.parse(tomllib.loads(gate_init.policy_text(asked, audit)))
    assert set(made.domains) == {n for n in names if n and n != "*"}


@pytest.mark.parametrize("path", ["a${{ github.token }}", "a$[[ inputs.x ]]", "a\nb", "a\x1b"])
def test_a_path_that_would_act_in_a_job_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="cannot stand in a job"):
        gate_init.init(path, tmp_path / "policy.toml")


def test_a_gate_is_judged_in_an_experiment_with_identities(tmp_path: Path) -> None:
    fakerun.run(tmp_path / "run")
    found = judge(f"{tmp_path / 'run'}:general", policies.parse({"margins": {"knowledge": 0.1}}))
    assert found.exit_code == 3
    (one,) = found.candidates
    assert len(one.weights) == len(one.evidence) == len(one.base_evidence) == 64
    assert np.isfinite([c.measure.loss or 0.0 for c in found.checks]).all()
    (shard,) = sorted((tmp_path / "run" / "general" / "seed-0").rglob("open_ended-0001*.parquet"))[:1]
    shard.unlink()
    with pytest.raises(IntegrityError):
        judge(f"{tmp_path / 'run'}:general", Policy.model_validate({"margins": {"knowledge": 0.1}}))


def test_the_page_names_every_setting_and_every_field() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "compare-and-gate.md").read_text(encoding="utf-8")
    for table in (policies.GateTable, policies.MarginsTable, policies.DomainTable):
        assert [name for name in table.model_fields if f"`{name}`" not in page] == []
    assert [name for name in FIELDS if f"| `{name}` |" not in page] == []
    shown = re.findall(r"^\| `(\w+)` \| (\S+) \|", page, re.MULTILINE)
    defaults = {name: tomllib.loads(f"v = {cell.strip('`')}")["v"] for name, cell in shown}
    plain = policies.GateTable().model_dump()
    assert defaults == {name: plain[name] for name in defaults}
    assert len(defaults) == len(plain) - 1, "all but formats, which has no default to show"
    (block,) = re.findall(r"```toml fragment\n(.*?)```", page, re.DOTALL)
    assert policies.parse(tomllib.loads(block)).domains["geography"].minimum_n == 100


def stored_audit(root: Path, *, failures: list[str], ended: bool = True, code: int = 4) -> Path:
    """An audit's folder as it is stored: a base and two checkpoints, and others whose evaluation ended with `code`."""
    root.mkdir(parents=True)
    (root / "audit.toml").write_text('[audit]\nname = "mine"\n', encoding="utf-8")
    places = [root / "base", root / "checkpoints" / "001-checkpoint-500", root / "checkpoints" / "002-checkpoint-1000"]
    for generation, place in enumerate(places):
        place.mkdir(parents=True)
        fakerun.evaluate(place, "checkpoints", 0, generation, 0.5, f"{generation}" * 64)
    if ended:
        rows = [{"name": name, "failure": {"message": "weights are missing", "exit_code": code}} for name in failures]
        (root / "audit.json").write_text(json.dumps({"checkpoints": rows, "failures": failures}), encoding="utf-8")
    return root


def test_an_audit_is_judged_by_its_folder_and_by_its_record(tmp_path: Path) -> None:
    policy = policies.parse({"gate": {"minimum_n": 5}, "margins": {"knowledge": 0.9}})
    root = stored_audit(tmp_path / "audit", failures=[])
    found = judge(root, policy)
    assert found == judge(root / "audit.json", policy) == judge(f"{root}@last", policy)
    (one,) = found.candidates
    assert (one.generation, one.weights, one.base_weights) == (2, "2" * 64, "0" * 64)
    assert found.count("missing") == 0
    assert judge(f"{root}@1", policy).candidates[0].weights == "1" * 64
    compared = compare(f"{root}@0", f"{root / 'audit.json'}@1")
    assert (compared.a.lineage, compared.b.generation) == ("checkpoints", 1)
    assert {f.field: f.state for f in compared.fingerprints}["questions"] == "same"


def test_an_audit_that_did_not_finish_or_lacks_a_checkpoint_does_not_pass(tmp_path: Path) -> None:
    policy = policies.parse({"gate": {"minimum_n": 5, "inconclusive": "warn"}, "margins": {"knowledge": 0.9}})
    unfinished = judge(stored_audit(tmp_path / "a", failures=[], ended=False), policy)
    lacking = judge(stored_audit(tmp_path / "b", failures=["checkpoint-1500"]), policy)
    assert (unfinished.exit_code, unfinished.verdict) == (3, "inconclusive")
    assert (lacking.exit_code, lacking.verdict) == (4, "failed")
    assert unfinished.checks[0].sentence == "the audit has not come to its end"
    assert lacking.checks[0].sentence == "the checkpoint checkpoint-1500 could not be evaluated: weights are missing"
    assert judge(f"{tmp_path / 'b'}@2", policy).exit_code == 0, "one that is named is judged by itself"

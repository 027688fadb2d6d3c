"""Comparing two sides: planted losses, addresses, fingerprints, families, hostile text, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import compare_text, tables
from factfade.compare import Comparison, compare
from factfade.compare_prints import FIELDS
from factfade.compare_sides import Address, address, pick
from factfade.errors import DataError, NotFound, UsageError
from factfade.stats.paired import mcnemar_exact, mcnemar_mid_p, paired_loss
from tests import fakerun, planted
from tests.planted import World
from tests.test_cli import call

GENERATIONS = (0, 1, 2)
Change = Callable[[pd.DataFrame], pd.DataFrame]


def write(folder: Path, made: tuple[pd.DataFrame, ...]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for data, name in zip(made, ("evidence", "fluency", "own"), strict=False):
        tables.write(folder / f"{name}.parquet", data, "completions" if name == "own" else name)  # type: ignore[arg-type]
    return folder


def named(data: pd.DataFrame) -> pd.DataFrame:
    """With what our own store has beside: checkpoints, steps, prompts, questions, answers."""
    steps = data["generation"] * 500
    asked = data["item"] + data["format"]
    return data.assign(
        checkpoint=["base" if s == 0 else f"checkpoint-{s}" for s in steps],
        step=steps,
        prompt_sha256=asked,
        template_sha256="",
        question="What is " + data["item"] + "?",
        answer="answer " + data["generation"].astype(str),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One lineage: intact in generation 1, half of its knowledge lost in generation 2."""
    world = World(right=lambda g: 0.95 if g < 2 else 0.5, nats=lambda g: 0.0 if g < 2 else 0.6)
    evidence, fluency, own = planted.tables({"arm": world}, generations=GENERATIONS, items=200)
    return write(tmp_path / "a", (named(evidence), fluency, own))


def test_a_planted_loss_is_found_by_format_domain_and_item(folder: Path) -> None:
    found = compare(f"{folder}@0", folder)
    evidence = tables.read(folder / "evidence.parquet", "evidence")
    for name in planted.FORMATS:
        own = evidence[evidence["format"] == name]
        right = own.pivot_table(index="item", columns="generation", values="choice_correct", aggfunc="first").astype(
            float
        )
        clusters = own[own["generation"] == 0].set_index("item")["entity"].reindex(right.index)
        expected = paired_loss(right[0], right[2], pd.factorize(clusters)[0], level=0.95)
        line = found.contrast("knowledge", name)
        assert line is not None
        assert (line.loss, line.low, line.high) == pytest.approx(
            (expected.interval.value, expected.interval.low, expected.interval.high), abs=1e-12
        )
        assert (line.lost, line.gained, line.verdict) == (expected.lost, expected.gained, "worse")
        assert line.p_exact == mcnemar_exact(expected.lost, expected.gained)
        assert line.p_mid == mcnemar_mid_p(expected.lost, expected.gained)
        assert line.p is not None
        assert line.p_holm is not None
        assert line.p <= line.p_holm < 1e-6
        assert {c.domain for c in found.contrasts if c.domain and c.format == name} == {"geo", "chem"}
    right = evidence.pivot_table(
        index=["format", "item"], columns="generation", values="choice_correct", aggfunc="first"
    )
    lost = {item for (_, item), row in right.iterrows() if row[0] and not row[2]}
    assert {change.item for change in found.lost} == lost
    assert found.lost[0].question == f"What is {found.lost[0].item}?"
    assert (found.lost[0].before.answer, found.lost[0].after.answer) == ("answer 0", "answer 2")
    nats = found.contrast("fluency_nats")
    assert nats is not None
    assert nats.verdict == "worse"
    assert nats.loss == pytest.approx(0.6, abs=0.06)
    assert nats.n == 128


def test_an_identical_copy_lost_nothing(folder: Path) -> None:
    found = compare(folder, folder)
    assert found.lost == found.gained == ()
    assert {c.verdict for c in found.contrasts} == {"equivalent"}
    assert all(c.loss == 0 and c.p == 1.0 for c in found.contrasts if c.unit == "share")
    assert found.interactions[0].p == 1.0
    assert "knows what A knows, within 5 points" in compare_text.headline(found)


def test_turning_the_sides_round_turns_every_sign(folder: Path) -> None:
    forth, back = compare(f"{folder}@1", f"{folder}@2"), compare(f"{folder}@2", f"{folder}@1")
    for one in forth.contrasts:
        other = back.contrast(one.endpoint, one.format, one.domain)
        assert other is not None
        assert one.loss is not None
        assert other.low is not None
        assert other.loss == pytest.approx(-one.loss)
        assert (one.high, one.lost, one.p_holm) == pytest.approx((-other.low, other.gained, other.p_holm))
        assert {one.verdict, other.verdict} in ({"worse", "better"}, {"equivalent"}, {"open"})
    assert {c.item for c in forth.lost} == {c.item for c in back.gained}


def test_order_and_names_change_nothing(folder: Path, tmp_path: Path) -> None:
    made = [
        tables.read(folder / f"{n}.parquet", t)
        for n, t in (("evidence", "evidence"), ("fluency", "fluency"), ("own", "completions"))
    ]  # type: ignore[arg-type]
    other = write(tmp_path / "b", tuple(t.sample(frac=1, random_state=3).assign(lineage="zz", seed=9) for t in made))
    first, second = compare(f"{folder}@0", folder), compare(f"{other}@0", other)
    assert [(c.endpoint, c.format, c.domain, c.loss, c.lost) for c in first.contrasts] == [
        (c.endpoint, c.format, c.domain, c.loss, c.lost) for c in second.contrasts
    ]
    assert [c.p_holm for c in first.contrasts] == pytest.approx([c.p_holm for c in second.contrasts])
    assert [c.item for c in first.lost] == [c.item for c in second.lost]


def test_formats_that_lose_differently_are_told(tmp_path: Path) -> None:
    low = planted.evidence(World(right=lambda g: 0.9 - 0.5 * g), items=200, generations=(0, 1), formats=("open_ended",))
    same = planted.evidence(World(), items=200, generations=(0, 1), formats=("multiple_choice",))
    found = compare(*(f"{write(tmp_path / 'x', (pd.concat([low, same]),))}@{g}" for g in (0, 1)))
    assert found.interactions[0].p is not None
    assert found.interactions[0].p < 0.01
    text = "\n".join(compare_text.lines(found))
    assert "Formats lost differently" in text
    assert "unknown: no completion of a fixed prompt is stored for both" in text


def test_runs_of_several_seeds_speak_of_the_recipe(tmp_path: Path) -> None:
    worlds = {"arm": World(right=lambda g: 0.95 - 0.3 * g), "control": World()}
    parts = [planted.tables(worlds, generations=(0, 1), items=120, seed=s) for s in (0, 1, 2)]
    whole = write(tmp_path / "x", tuple(pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)))
    found = compare(f"{whole}:control", f"{whole}:arm", allow=["answers"])
    recipe = [c for c in found.contrasts if c.estimand == "recipe"]
    losses = [
        c.loss for c in found.contrasts if c.seeds and c.endpoint == "knowledge" and not c.format and not c.domain
    ]
    assert len(losses) == 3
    assert recipe[0].loss == pytest.approx(np.mean(np.array(losses, dtype=float)))
    assert (recipe[0].n, recipe[0].units, recipe[0].test) == (3, "pairs of runs", "paired t over seeds")
    one = compare(f"{whole}:control#1", f"{whole}:arm#2", allow=["answers"])
    assert {c.seeds for c in one.contrasts} == {(1, 2)}


# ---------------------------------------------------------------------------------------------------------------
# Addresses


def test_an_address_is_the_longest_path_and_a_rest(tmp_path: Path) -> None:
    odd = tmp_path / "a@b:c#1"
    odd.mkdir()
    assert address(odd) == Address(path=odd)
    assert address(f"{odd}:arm#2@checkpoint-7@x") == Address(path=odd, lineage="arm", seed=2, where="checkpoint-7@x")
    assert address(f"{tmp_path}@last") == Address(path=tmp_path, where="last")
    with pytest.raises(UsageError, match="cannot read"):
        address(f"{tmp_path}#one")
    for text in ("nowhere@3", "\0", "x" * 5000):
        with pytest.raises(NotFound, match="there is nothing at"):
            address(text)


def test_a_checkpoint_is_found_by_number_and_by_name(folder: Path) -> None:
    assert (pick(f"{folder}@checkpoint-500").generation, pick(f"{folder}@1").checkpoint) == (1, "checkpoint-500")
    assert (pick(folder).generation, pick(folder).step) == (2, 1000)
    assert pick(f"{folder}:arm#0@last").seeds == (0,)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("@7", "no generation and no checkpoint '7'"),
        ("@checkpoint-9", "'checkpoint-9'"),
        (":nobody", "no lineage 'nobody'"),
        ("#4", "has no seed 4"),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(folder: Path, rest: str, says: str) -> None:
    with pytest.raises(NotFound, match=says) as wrong:
        pick(f"{folder}{rest}")
    assert wrong.value.hint.startswith("one of: ")


def test_a_lineage_is_named_where_there_are_several(tmp_path: Path) -> None:
    whole = write(tmp_path / "x", planted.tables({"one": World(), "two": World()}, generations=(0, 1), items=40))
    with pytest.raises(UsageError, match="2 lineages are there"):
        pick(whole)
    assert pick(f"{whole}:two@0").lineage == "two"


def test_an_experiment_an_arm_and_a_run_are_sides(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    fakerun.run(root)
    arm, run = pick(f"{root}:general@1"), pick(root / "general" / "seed-0")
    assert (arm.lineage, arm.generation, run.lineage, run.generation) == ("general", 1, "general", 2)
    assert arm.records[0].step == "evaluate"
    found = compare(f"{root}:general", f"{root}:human_only")
    assert found.a.lineage == "general"
    assert {one.field: one.state for one in found.fingerprints}["questions"] == "same"
    start = compare(f"{root}:general@0", f"{root}:human_only@0")
    assert {c.loss for c in start.contrasts if c.loss is not None} == {0.0}


# ---------------------------------------------------------------------------------------------------------------
# Fingerprints


def changed(folder: Path, target: Path, change: Change, *, table: str = "evidence") -> Path:
    made: list[pd.DataFrame] = []
    for name in ("evidence", "fluency", "own"):
        data = tables.read(folder / f"{name}.parquet", "completions" if name == "own" else name)  # type: ignore[arg-type]
        made.append(change(data).reset_index(drop=True) if name == table else data)
    return write(target, tuple(made))


def first_prompt(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(
        prompt_sha256=[
            "other" if i == "item-0000" else p for i, p in zip(data["item"], data["prompt_sha256"], strict=True)
        ]
    )


CHANGES: list[tuple[str, str, Change]] = [
    ("prompt", "evidence", first_prompt),
    ("template", "evidence", lambda d: d.assign(template_sha256="chat")),
    ("questions", "evidence", lambda d: d[d["item"] != "item-0001"]),
    ("formats", "evidence", lambda d: d[d["format"] != "open_ended"]),
    ("answers", "evidence", lambda d: d.assign(options=[["red", "green", "blue", "pink"]] * len(d))),
    ("texts", "own", lambda d: d.assign(prompt="x" + d["prompt"])),
]


@pytest.mark.parametrize(("field", "table", "change"), CHANGES, ids=[c[0] for c in CHANGES])
def test_a_field_that_differs_refuses_unless_it_is_allowed(
    folder: Path, tmp_path: Path, field: str, table: str, change: Change
) -> None:
    other = changed(folder, tmp_path / "other", change, table=table)
    with pytest.raises(UsageError, match=f"  {field}: ") as wrong:
        compare(folder, other)
    assert f"--allow {field}" in wrong.value.hint
    found = compare(folder, other, allow=[field])
    assert {one.field: one.state for one in found.fingerprints}[field] == "allowed"
    assert f"was allowed by name: {field}" in "\n".join(compare_text.lines(found))


@pytest.mark.parametrize(
    ("part", "value", "field"),
    [
        ("preset", "paper", "scorer"),
        ("free_answers", False, "scorer"),
        ("decoding", {"temperature": 0.5}, "decoding"),
        ("answer_tokens", 32, "decoding"),
        ("reference", "ffff", "reference"),
    ],
)
def test_the_record_of_an_evaluation_is_part_of_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, value: object, field: str
) -> None:
    settings = {"preset": "default", "free_answers": True, "decoding": {"temperature": 1.0}, "answer_tokens": 16}

    def make(root: Path, **changes: object) -> Path:
        def key(step: str, rate: float, inputs: dict[str, str], seed: int = 0) -> object:
            reference = changes.get("reference", "aaaa")
            merged = {**settings, **{k: v for k, v in changes.items() if k != "reference"}}
            own = {"step": step, "evaluation": merged} if step == "evaluate" else {"step": step, "rate": rate}
            return fakerun.store.StepKey(
                version=1, settings=own, inputs={**inputs, "reference": str(reference)}, seed=seed, package="1.0"
            )

        monkeypatch.setattr(fakerun, "key", key)
        fakerun.run(root)
        return root

    a, b = make(tmp_path / "a"), make(tmp_path / "b", **{part: value})
    same = compare(f"{a}:general", f"{a}:general@1")
    assert {one.field: one.state for one in same.fingerprints}[field] == "same"
    if field == "reference":
        found = compare(f"{a}:general", f"{b}:general")
        nats = found.contrast("fluency_nats")
        assert nats is not None
        assert nats.reason == "the completions were scored under different start models"
        return
    with pytest.raises(UsageError, match=f"  {field}: {part}: "):
        compare(f"{a}:general", f"{b}:general")
    assert compare(f"{a}:general", f"{b}:general", allow=[field]).a.lineage == "general"


def test_what_is_not_stored_is_said_and_not_assumed(tmp_path: Path) -> None:
    bare = write(tmp_path / "x", (planted.evidence(World(), items=40, generations=(0, 1)),))
    found = compare(f"{bare}@0", bare)
    states = {one.field: one.state for one in found.fingerprints}
    assert {name for name, state in states.items() if state == "not_stored"} == {
        "prompt", "template", "texts", "decoding", "scorer", "reference"
    }  # fmt: skip
    assert "Not stored on both sides, so not compared: prompt" in "\n".join(compare_text.lines(found))


def test_a_field_that_is_not_known_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no field 'promt'") as wrong:
        compare(folder, folder, allow=["promt"])
    assert "'prompt'" in wrong.value.hint
    assert "prompt" in FIELDS


def test_nothing_in_common_is_no_comparison(folder: Path, tmp_path: Path) -> None:
    other = changed(folder, tmp_path / "o", lambda d: d.assign(item="x" + d["item"]))
    with pytest.raises(UsageError, match="no question was judged on both sides"):
        compare(folder, other, allow=["questions", "prompt"])


def test_a_repeated_question_is_an_error(folder: Path, tmp_path: Path) -> None:
    data = tables.read(folder / "evidence.parquet", "evidence")
    lines = [json.loads(line) for line in data.head(3).to_json(orient="records", lines=True).splitlines()]
    file = tmp_path / "twice.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*lines, lines[0]]), encoding="utf-8")
    with pytest.raises(DataError):
        compare(file, file)


# ---------------------------------------------------------------------------------------------------------------
# Level and text


def test_exact_mcnemar_holds_its_level_without_clusters(tmp_path: Path) -> None:
    rng, hits, runs = np.random.default_rng(5), 0, 60
    frame = planted.evidence(World(), items=150, generations=(0, 1), formats=("multiple_choice",))
    for _ in range(runs):
        flips = rng.random((2, 150)) < 0.9
        data = frame.assign(choice_correct=np.concatenate(list(flips)), entity=None, domain=None)
        found = _compared(data)
        line = found.contrast("knowledge", "multiple_choice")
        assert line is not None
        assert line.test == "exact McNemar"
        assert line.p is not None
        hits += line.p <= 0.05
    assert hits / runs <= 0.12


def _compared(data: pd.DataFrame) -> Comparison:
    from factfade.compare_sides import pick_from
    from factfade.judging import Case

    case = Case(evidence=data, fluency=None, own=None, controls={})
    sides = [pick_from(case, Address(path=Path("x"), where=str(g))) for g in (0, 1)]
    return compare(*sides)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_any_few_answers_give_a_defined_comparison(answers: list[tuple[bool, bool]]) -> None:
    rows = [
        {
            "lineage": "x",
            "seed": 0,
            "generation": g,
            "item": f"i{n}",
            "format": "f",
            "wording": "",
            "choice_correct": pair[g],
        }
        for n, pair in enumerate(answers)
        for g in (0, 1)
    ]
    found = _compared(pd.DataFrame(rows))
    line = found.contrast("knowledge", "f")
    assert line is not None
    assert line.loss is not None
    assert len(found.lost) == sum(a and not b for a, b in answers) == line.lost
    json.dumps(compare_text.to_json(found), allow_nan=False)
    assert all(isinstance(text, str) for text in compare_text.lines(found))


def test_the_command_prints_text_and_json_and_shows_hostile_text_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    evil = changed(folder, tmp_path / "e", lambda d: d.assign(question="\x1b[31mred\u202e", domain="a\nb\x07"))
    assert call(monkeypatch, "compare", f"{evil}@0", str(evil)) == 0
    text = capsys.readouterr().out
    assert "\\x1b[31mred\\u202e" in text
    assert not set(text) & {"\x1b", "\u202e", "\x07"}
    assert call(monkeypatch, "compare", f"{evil}@0", str(evil), "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["compare_version"] == 1
    assert len(data["lost"]) > 50
    assert data["sentence"].startswith("B knows less than A")
    assert call(monkeypatch, "compare", f"{evil}@9", str(evil)) == 2
    assert "no generation and no checkpoint '9'" in capsys.readouterr().err

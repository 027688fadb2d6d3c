"""Audits of small checkpoints: what is evaluated, reused, refused, and what a broken one does to the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factfade import audit as auditing
from factfade import audit_plan, judging
from factfade.audit import Audit
from factfade.audit_settings import AuditSettings, corpus_spec, load, question_spec
from factfade.errors import ConfigError, DataError, RunFailed, SettingsChanged, UsageError
from factfade.models import loading
from factfade.models.hf import HfModel
from factfade.progress import Silent
from tests import small
from tests.test_cli import call

FORMATS = ["multiple_choice", "open_ended"]


def settings(folder: Path, **evaluation: Any) -> AuditSettings:
    asked = {
        "questions": [{"kind": "jsonl", "path": str(folder / "questions.jsonl")}],
        "formats": FORMATS,
        "texts": 4,
        "text_tokens": 24,
        "prompts": 8,
        "prompt_tokens": 8,
        "new_tokens": 16,
        "answer_tokens": 4,
        "shard_items": 6,
        **evaluation,
    }
    return load(flags={"evaluation": asked, "corpus": {"kind": "text", "path": str(folder / "corpus.txt")}})


def disturb(folder: Path, amount: float) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    noise = torch.Generator().manual_seed(0)
    changed = {k: v + amount * v.std() * torch.randn(v.shape, generator=noise) for k, v in weights.items()}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})


def audit(folder: Path, out: Path, **more: Any) -> Audit:
    given: dict[str, Any] = {"settings": settings(folder), "progress": Silent(), **more}
    return auditing.audit([folder / "runs"], against=folder / "model", out=out, **given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and five checkpoints: changed, a copy of the base, a pickle alone, damaged, with another tokenizer."""
    root = small.materials(tmp_path_factory.mktemp("audit"))
    runs = {step: root / "runs" / f"checkpoint-{step}" for step in (9, 10, 100, 200, 300)}
    for step, path in runs.items():
        shutil.copytree(root / "model", path)
        (path / "training_args.bin").write_bytes(b"never opened")
        if step == 9:
            disturb(path, 0.3)
    (runs[100] / "model.safetensors").rename(runs[100] / "pytorch_model.bin")
    weights = runs[200] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    tokenizer = json.loads((runs[300] / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["merges"].pop()
    (runs[300] / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def done(folder: Path) -> Audit:
    return audit(folder, folder / "audits" / "first")


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(self: HfModel) -> Any:
        raise AssertionError("a model was opened")

    with monkeypatch.context() as patch:
        patch.setattr(HfModel, "open", refuse)
        yield


def states(found: Audit) -> list[tuple[str, str]]:
    return [(one.name, one.state) for one in (found.base, *found.checkpoints)]


def test_what_is_broken_is_reported_and_the_others_finish(done: Audit, folder: Path) -> None:
    assert states(done) == [
        ("base", "evaluated"),
        ("checkpoint-9", "evaluated"),
        ("checkpoint-10", "reused"),  # a copy of the base has answered already
        ("checkpoint-100", "failed"),
        ("checkpoint-200", "failed"),
        ("checkpoint-300", "failed"),
    ]
    pickle, damaged, foreign = (one.failure or {} for one in done.failures)
    assert [failure["exit_code"] for failure in (pickle, damaged, foreign)] == [5, 5, 2]
    assert "only pickles" in pickle["message"]
    assert "corrupt" in damaged["message"]
    assert "different tokenizers" in foreign["message"]
    assert all(failure["hint"] for failure in (pickle, damaged, foreign))


def test_the_folder_is_a_case_of_one_lineage_in_step_order(done: Audit) -> None:
    loaded = auditing.load(done.path)
    rows = loaded.case.evidence
    assert set(rows["lineage"]) == {"checkpoints"}
    places = rows[["generation", "checkpoint"]].drop_duplicates().sort_values("generation")
    assert places.to_numpy().tolist() == [[0, "base"], [1, "checkpoint-9"], [2, "checkpoint-10"]]
    assert rows.loc[rows["generation"] == 2, "step"].unique().tolist() == [10]
    assert rows.groupby("generation").size().nunique() == 1
    assert [one["name"] for one in loaded.record["checkpoints"]][:2] == ["checkpoint-9", "checkpoint-10"]
    assert loaded.record["failures"] == ["checkpoint-100", "checkpoint-200", "checkpoint-300"]
    assert len(judging.open_case(done.path).evidence) == len(rows)
    assert len(auditing.load(done.path / "audit.json").case.evidence) == len(rows)
    assert loaded.case.fluency is not None
    assert set(loaded.case.fluency["kind"]) == {"held_out", "own", "own_under_start"}


def test_a_copy_of_the_base_answers_as_the_base_does(done: Audit) -> None:
    rows = auditing.load(done.path).case.evidence
    base, copy = (
        rows[rows["generation"] == g].sort_values(["format", "item", "wording"]).reset_index(drop=True) for g in (0, 2)
    )
    for column in ("item", "choice", "answer", "choice_confidence", "outcome"):
        assert base[column].tolist() == copy[column].tolist(), column


@pytest.mark.usefixtures("no_model")
def test_a_second_audit_loads_no_model_and_says_the_same(done: Audit, folder: Path) -> None:
    before = {name: (done.path / name).read_bytes() for name in ("stages.json", "audit.toml")}
    again = audit(folder, done.path)
    assert [state for _, state in states(again)] == ["kept", "kept", "kept", "failed", "failed", "failed"]
    assert again.loaded == 0
    assert [one.failure for one in again.failures] == [one.failure for one in done.failures]
    assert {name: (done.path / name).read_bytes() for name in before} == before


@pytest.mark.usefixtures("no_model")
def test_moved_checkpoints_and_another_folder_are_hits(done: Audit, folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "moved"
    own: dict[str, Any] = {"settings": settings(folder), "progress": Silent()}
    shutil.copytree(folder / "runs" / "checkpoint-9", there / "step-12")
    shutil.copytree(folder / "model", tmp_path / "renamed")
    found = auditing.audit([there], against=tmp_path / "renamed", out=done.path.parent / "second", **own)
    assert states(found) == [("base", "reused"), ("step-12", "reused")]
    rows = auditing.load(found.path).case.evidence
    first = auditing.load(done.path).case.evidence
    assert rows[rows["generation"] == 1]["checkpoint"].unique().tolist() == ["step-12"]
    assert rows["choice"].tolist() == first[first["generation"] <= 1]["choice"].tolist()
    # Beside another parent it is found by name alone.
    far = tmp_path / "far" / "out"
    with pytest.raises(AssertionError, match="a model was opened"):
        auditing.audit([there], against=tmp_path / "renamed", out=far, **own)
    named = auditing.audit([there], against=tmp_path / "renamed", out=far, reuse=[done.path], **own)
    assert named.loaded == 0


def test_one_flipped_byte_is_asked_again_and_the_old_answers_are_kept(
    done: Audit, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder / "runs" / "checkpoint-9", tmp_path / "runs" / "checkpoint-9")
    own: dict[str, Any] = {"against": folder / "model", "settings": settings(folder), "progress": Silent()}
    out = tmp_path / "out"
    auditing.audit([tmp_path / "runs"], out=out, reuse=[done.path], **own)
    weights = tmp_path / "runs" / "checkpoint-9" / "model.safetensors"
    kept, data = weights.read_bytes(), bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert states(auditing.audit([tmp_path / "runs"], out=out, reuse=[done.path], **own))[1][1] == "evaluated"
    weights.write_bytes(kept)
    monkeypatch.setattr(HfModel, "open", lambda _: pytest.fail("a model was opened"))
    back = auditing.audit([tmp_path / "runs"], out=out, **own)
    assert states(back) == [("base", "kept"), ("checkpoint-9", "reused")]


@pytest.mark.usefixtures("no_model")
def test_a_gpus_answers_do_not_stand_in_for_a_cpus(
    done: Audit, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The settings say "auto" here and there; the machine is another one.
    assert audit(folder, tmp_path / "same", reuse=[done.path]).base.state == "reused"
    monkeypatch.setattr(loading, "pick_device", lambda _: "cuda")
    with pytest.raises(AssertionError, match="a model was opened"):
        audit(folder, tmp_path / "other", reuse=[done.path, tmp_path / "same"])


@pytest.mark.usefixtures("no_model")
def test_damaged_evidence_does_not_stand_in(done: Audit, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(done.path, tmp_path / "copy")
    for shard in (tmp_path / "copy").rglob("evidence/*.parquet"):
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(bytes(data))
    with pytest.raises(AssertionError, match="a model was opened"):
        audit(folder, tmp_path / "elsewhere" / "out", reuse=[tmp_path / "copy"])


def test_an_interrupted_audit_goes_on_where_it_stopped(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    ask = auditing.evaluate._evidence  # type: ignore[attr-defined]

    def counted(*arguments: Any) -> Any:
        if len(asked) == stop:
            raise KeyboardInterrupt
        asked.append(1)
        return ask(*arguments)

    monkeypatch.setattr(auditing.evaluate, "_evidence", counted)
    stop = 5  # four shards of the base, one of the first checkpoint
    with pytest.raises(KeyboardInterrupt):
        audit(folder, tmp_path / "out")
    stop = 1000
    again = audit(folder, tmp_path / "out")
    assert len(asked) == 8
    assert [state for _, state in states(again)[:3]] == ["kept", "evaluated", "reused"]


def test_an_unforeseen_error_of_a_library_is_the_checkpoints_own(
    done: Audit, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("deep \x1b[2J inside")

    monkeypatch.setattr(auditing, "content_of", lambda path, **more: breaks() if more else CONTENT(path))
    found = audit(folder, tmp_path / "out", reuse=[done.path])
    assert {one.state for one in found.checkpoints} == {"failed"}
    assert found.base.state == "reused"
    message = (found.checkpoints[0].failure or {})["message"]
    assert "ZeroDivisionError: deep" in message
    assert "\x1b" not in message


CONTENT = auditing.content_of


def test_other_settings_are_refused_by_name_and_the_first_rule_stays_declared(
    done: Audit, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    audit(folder, out, reuse=[done.path])
    with pytest.raises(SettingsChanged, match=r"evaluation\.answer_tokens: 4 -> 3"):
        audit(folder, out, settings=settings(folder, answer_tokens=3))
    other = settings(folder).model_copy(
        update={"stages": settings(folder).stages.model_copy(update={"knowledge": 0.2})}
    )
    with pytest.raises(SettingsChanged, match=r"stages\.knowledge"):
        audit(folder, out, settings=other)
    audit(folder, out, settings=other, force=True)
    case = auditing.load(out).case
    assert case.declared is not None
    assert case.declared_sha256 != case.declared.sha256
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(UsageError, match="not an audit's folder"):
        audit(folder, tmp_path / "mine")


def test_what_fails_with_the_base_or_the_questions_stops_before_anything(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"question": "What?"}\n')
    bad = settings(folder, questions=[{"kind": "jsonl", "path": str(tmp_path / "bad.jsonl")}])
    with pytest.raises(DataError, match=r"bad.jsonl:1"):
        audit(folder, tmp_path / "out", settings=bad)
    with pytest.raises((UsageError, RunFailed)):
        auditing.audit(
            [folder / "runs"], against=tmp_path, out=tmp_path / "out", settings=settings(folder), progress=Silent()
        )
    assert not (tmp_path / "out").exists()


def test_adapters_are_put_on_a_base_that_is_loaded_once(
    done: Audit, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModelForCausalLM

    for step in (2, 4):
        base: Any = AutoModelForCausalLM.from_pretrained(folder / "model")
        made = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
        draw = torch.Generator().manual_seed(step)
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.data = 0.1 * step * torch.randn(parameter.shape, generator=draw)
        made.save_pretrained(tmp_path / "runs" / f"checkpoint-{step}")
    opened: list[str] = []
    load_weights = loading.load_weights

    def counted(path: Path, **more: Any) -> Any:
        opened.append(str(path))
        return load_weights(path, **more)

    monkeypatch.setattr(loading, "load_weights", counted)
    own: dict[str, Any] = {"against": folder / "model", "settings": settings(folder), "progress": Silent()}
    found = auditing.audit([tmp_path / "runs"], out=tmp_path / "out", reuse=[done.path], **own)
    assert states(found) == [("base", "reused"), ("checkpoint-2", "evaluated"), ("checkpoint-4", "evaluated")]
    assert opened == [str(folder / "model")]
    fluency = auditing.load(found.path).case.fluency
    assert fluency is not None
    nll = {kind: rows["nll"].tolist() for kind, rows in fluency[fluency["generation"] == 2].groupby("kind")}
    # Its own text is likelier under itself than under the base: the reference is the base without the adapter.
    assert sum(nll["own"]) < sum(nll["own_under_start"])


def test_questions_have_to_be_named_where_the_base_is_not_the_worlds(folder: Path, world_model: Path) -> None:
    with pytest.raises(ConfigError, match="no question set is named"):
        AuditSettings().resolved(folder / "model")
    assert AuditSettings().resolved(world_model).evaluation.questions == ({"kind": "world"},)
    chosen = load(flags={"model": {"chat": "chat"}}).resolved(world_model)
    assert chosen.synthesis.through_end is False


def test_names_of_question_sets_and_texts_say_what_they_are(folder: Path, tmp_path: Path) -> None:
    assert question_spec("world") == {"kind": "world"}
    assert question_spec(str(tmp_path)) == {"kind": "mmlu", "path": str(tmp_path)}
    assert question_spec(str(folder / "questions.jsonl"))["kind"] == "jsonl"
    assert question_spec("any.toml")["kind"] == "pack"
    assert corpus_spec("a.jsonl")["kind"] == "jsonl"
    assert corpus_spec("a.txt")["kind"] == "text"
    with pytest.raises(ConfigError, match="unknown key"):
        load(overrides=["evaluation.itms=3"])
    assert load(overrides=["evaluation.items=3"]).evaluation.items == 3


@pytest.mark.usefixtures("no_model")
def test_the_plan_says_what_would_run_and_what_it_can_see(done: Audit, folder: Path) -> None:
    planned = audit_plan.plan([folder / "runs"], against=folder / "model", out=done.path, settings=settings(folder))
    found = {one.name: one.state for one in planned.checkpoints}
    assert found == {
        "checkpoint-9": "stored",
        "checkpoint-10": "stored",
        "checkpoint-100": "refused",
        "checkpoint-200": "refused",
        "checkpoint-300": "evaluate",
    }
    assert planned.base.state == "stored"
    assert planned.asked == {"multiple_choice": 12, "open_ended": 12}
    assert (planned.seconds or 0) > 0
    assert (planned.memory or 0) > 10**7
    text = "\n".join(planned.lines())
    assert "1 models have to run" in text
    assert "pickles alone" in text
    assert "cities (12)" in text


def test_the_plan_states_the_drop_of_one_look_and_of_the_family_that_the_rule_corrects(
    done: Audit, folder: Path
) -> None:
    from math import sqrt
    from statistics import NormalDist

    def plan(family: str) -> audit_plan.Plan:
        plain = settings(folder)
        asked = plain.model_copy(update={"stages": plain.stages.model_copy(update={"family": family})})
        return audit_plan.plan([folder / "runs"], against=folder / "model", out=done.path, settings=asked)

    def excess(looks: int) -> float:
        z = NormalDist().inv_cdf
        return 0.05 + (z(1 - 0.05 / looks) + z(0.8)) * sqrt(0.1 / 12)

    # Three checkpoints can be evaluated; two formats have two looks each, fluency two.
    for family, looks in (("run", 3 * 6), ("generation", 6), ("none", 1)):
        planned = plan(family)
        assert planned.looks == looks
        assert planned.stage_b == pytest.approx(excess(1))
        assert planned.stage_b_family == pytest.approx(excess(looks))
        assert (f"{looks} looks together" in "\n".join(planned.sight())) is (looks > 1)


def test_quick_bounds_what_is_asked_and_says_what_it_does_not_see(world_model: Path) -> None:
    quick = load(flags={"audit": {"quick": True}}).resolved(world_model).evaluation
    assert quick.items == 100
    assert [one["kind"] for one in quick.formats] == ["multiple_choice", "short_answer"]
    assert quick.prompts == 48
    fewer = load(flags={"audit": {"quick": True}, "evaluation": {"items": 20}}).resolved(world_model)
    assert fewer.evaluation.items == 20


def test_the_command_prints_the_answer_and_exits_with_the_worst_failure(
    done: Audit, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del done
    monkeypatch.chdir(tmp_path)
    asked = settings(folder).model_dump(mode="json", exclude_unset=True)
    asked["evaluation"].pop("questions")
    from factfade.config import to_toml

    (tmp_path / "mine.toml").write_text(to_toml(asked))
    out = folder / "audits" / "told"
    arguments = ["audit", str(folder / "runs"), "--against", str(folder / "model"), "--out", str(out)]
    arguments += ["--config", "mine.toml", "--questions", str(folder / "questions.jsonl")]
    assert call(monkeypatch, *arguments) == 5
    said = capsys.readouterr()
    assert "checkpoint-10" in said.out
    assert (out / "report.html").is_file()
    assert "only pickles" in said.err
    assert "Traceback" not in said.err
    assert call(monkeypatch, "stages", str(out)) == 0
    assert call(monkeypatch, "report", str(out)) == 0

"""The experiment file: what is refused, what the refusal says, and that file and Python are one value."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.config import Experiment, load, parse
from factfade.errors import ConfigError

BASE = """
[experiment]
name = "small"
generations = 3
[training]
epochs = 1
[arms.human_only]
synthetic_fraction = 0.0
[arms.general]
synthetic_fraction = 1.0
"""


def base() -> dict[str, Any]:
    return tomllib.loads(BASE)


def put(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    place = data
    *head, last = path.split(".")
    for part in head:
        place = place.setdefault(part, {})
    place[last] = value
    return data


NUMBERS = {
    "experiment.generations": (0, -1, 10**18, 1.5, "many", float("nan"), None, []),
    "training.epochs": (0, -1, float("inf"), float("nan"), "x", 1e9, []),
    "training.learning_rate": (0, -1e-3, float("nan"), float("inf"), 100, "fast"),
    "training.batch": (0, -4, 10**18, 0.5, "all"),
    "training.chunk_tokens": (0, -1, 10**12),
    "training.accumulation": (0, -1),
    "training.weight_decay": (-1, float("nan"), 1e6),
    "training.max_grad_norm": (0, -1, float("nan")),
    "training.beta2": (0, 1, 2, -1),
    "synthesis.prompt_tokens": (0, -1, 10**18, 2.5),
    "synthesis.new_tokens": (0, -1, 10**18),
    "synthesis.blocks": (0, -1, 10**18),
    "synthesis.batch": (0, -1),
    "synthesis.junk_bound": (-0.1, 1.1, float("nan")),
    "synthesis.decoding.temperature": (-1, 1e9, float("nan")),
    "synthesis.decoding.top_p": (0, 1.5, -1),
    "synthesis.decoding.top_k": (-1, 10**9),
    "synthesis.block_tokens": (0, 3, -1),
    "evaluation.seed": (-1, 2**40, 0.5),
    "evaluation.items": (0, -1, 10**18),
    "evaluation.generations": ([99], [-1], "all", [0.5]),
    "evaluation.batch_tokens": (0, -1),
    "evaluation.answer_tokens": (0, -5),
    "stages.knowledge": (0, -0.1, 2, float("nan")),
    "stages.alpha": (0, 0.5, 1, -1),
    "stages.minimum_n": (0, -1),
    "arms.general.synthetic_fraction": (-0.1, 1.1, float("nan"), "half", None),
    "model.threads": (0, -1, 10**9),
}
WORDS = {
    "training.start": "last",
    "training.schedule": "step",
    "training.precision": "int8",
    "synthesis.padding": "middle",
    "model.dtype": "float8",
    "model.chat": "maybe",
    "model.device": "tpu",
    "evaluation.preset": "mine",
    "arms.general.workflow": "append",
    "arms.general.control": "nobody",
    "arms.general.prompts": "generall",
    "arms.general.objective": "cross_entropi",
    "experiment.name": "../up",
    "experiment.seeds": [],
    "evaluation.formats": [],
    "evaluation.questions": [],
}
UNKNOWN = {
    "trainning.epochs": "training",
    "training.epoch": "epochs",
    "synthesis.new_token": "new_tokens",
    "synthesis.decoding.temprature": "temperature",
    "evaluation.format": "formats",
    "experiment.generation": "generations",
    "model.pth": "path",
    "stages.knowlege": "knowledge",
    "arms.general.synthetic_fractoin": "synthetic_fraction",
}
CASES = [(path, value) for path, values in NUMBERS.items() for value in values] + list(WORDS.items())


@pytest.mark.parametrize(("path", "value"), CASES, ids=[f"{p}={v!r}" for p, v in CASES])
def test_absurd_settings_are_refused_by_name(path: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(put(base(), path, value))
    last = path.rsplit(".", 1)[-1]
    assert last in caught.value.message or "block_tokens" in caught.value.message or str(value) in caught.value.message
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.parametrize(("path", "nearest"), UNKNOWN.items())
def test_unknown_keys_name_the_nearest_known_one(path: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(put(base(), path, 1))
    assert nearest in caught.value.hint


def test_every_positive_case_parses() -> None:
    # The negative cases above prove nothing if the base itself were refused.
    assert parse(base()).experiment.generations == 3


def test_file_and_python_are_the_same_value(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(BASE)
    experiment = load(file)
    assert experiment == parse(base())
    assert experiment.sha256 == parse(base()).sha256
    assert load(file, ["training.epochs=2"]).sha256 != experiment.sha256


def test_resolved_settings_round_trip_through_toml(tmp_path: Path) -> None:
    from factfade.sweep import to_toml

    experiment = parse(base())
    file = tmp_path / "resolved.toml"
    file.write_text(to_toml(experiment))
    assert load(file).resolved() == experiment.resolved()


def test_overrides_come_before_validation(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(BASE.replace("generations = 3", "generations = 0"))
    assert load(file, ["experiment.generations=2"]).experiment.generations == 2
    with pytest.raises(ConfigError):
        load(file)


@pytest.mark.parametrize("text", ["epochs=1", "training.epochs", "=1", "training..x=1", "training.epochs=nan"])
def test_malformed_overrides_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "small.toml"
    file.write_text(BASE)
    with pytest.raises(ConfigError):
        load(file, [text])


def test_arm_overrides_resolve_and_are_checked() -> None:
    data = put(base(), "arms.general.training", {"epochs": 3})
    data["arms"]["general"]["synthesis"] = {"decoding": {"temperature": 0.5}}
    plan = parse(data).arm("general")
    assert plan.training.epochs == 3
    assert plan.synthesis.decoding.temperature == 0.5
    assert plan.synthesis.decoding.top_p == 1.0
    with pytest.raises(ConfigError, match=r"arms.general.training.*epoch"):
        parse(put(base(), "arms.general.training", {"epoch": 3}))


def test_own_control_is_human_text_of_the_same_corpus_and_prompts() -> None:
    data = base()
    data["arms"]["domain"] = {"synthetic_fraction": 1.0, "prompts": {"kind": "domain", "domain": "geography"}}
    experiment = parse(data)
    assert experiment.control_of("general") == "human_only"
    assert experiment.control_of("domain") is None
    assert experiment.control_of("human_only") is None
    data["arms"]["human_only_domain"] = {**data["arms"]["domain"], "synthetic_fraction": 0.0}
    assert parse(data).control_of("domain") == "human_only_domain"


def test_edited_human_text_is_no_control_and_has_one() -> None:
    data = base()
    data["arms"]["edited"] = {"synthetic_fraction": 0.0, "pool": [{"kind": "token_edit"}]}
    experiment = parse(data)
    assert {arm: experiment.control_of(arm) for arm in experiment.arms} == {
        "human_only": None,
        "general": "human_only",
        "edited": "human_only",
    }


def test_evaluated_generations_hold_first_and_last() -> None:
    assert parse(put(base(), "evaluation.generations", [2])).evaluated() == (0, 2, 3)
    assert parse(base()).evaluated() == (0, 1, 2, 3)


def test_paper_blocks_are_prompt_and_document_at_once() -> None:
    data = put(base(), "synthesis", {"prompt_tokens": 64, "new_tokens": 64, "block_tokens": 64})
    assert parse(data).synthesis.block == 64
    assert Experiment().synthesis.block == 96


@pytest.mark.parametrize("text", ["", "[", "a = ", "\x00", "[experiment]\nname = 1", "experiment = 3", "[arms]\nx = 1"])
def test_hostile_files_are_refused_or_default(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(text.encode())
    if text == "":
        assert load(file).experiment.name == "x"
        return
    with pytest.raises(ConfigError):
        load(file)


def test_too_large_and_missing_files(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="larger"):
        load(file)
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "none.toml")


@given(
    st.text(max_size=12), st.one_of(st.integers(), st.text(max_size=5), st.floats(), st.none(), st.lists(st.integers()))
)
def test_any_unknown_section_is_a_config_error(key: str, value: Any) -> None:
    if key in Experiment.model_fields:
        return
    with pytest.raises(ConfigError):
        parse({**base(), key: value})

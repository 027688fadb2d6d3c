"""Every experiment in examples/ is valid: parsed, every part built with its settings, nothing read but the file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from factfade import config, demo, registry

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FILES = sorted(EXAMPLES.glob("*.toml"))


def test_there_are_examples_and_the_readme_names_each() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert len(FILES) >= 5
    for file in (*FILES, *EXAMPLES.glob("*.py")):
        assert f"`{file.name}`" in readme


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_is_valid_without_its_data(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no data, no models there
    experiment = config.load(file)
    assert list(tmp_path.iterdir()) == []
    for name, arm in experiment.arms.items():
        plan = experiment.arm(name)
        registry.build("trainer", {**plan.training.model_dump(exclude={"start"}), "lora": plan.training.lora})
        if arm.synthetic_fraction > 0 and len(experiment.arms) > 1 and arm.prompts == {"kind": "general"}:
            assert experiment.control_of(name) == "human_only"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_example_names_relative_paths_only(file: Path) -> None:
    def texts(value: object) -> list[str]:
        if isinstance(value, dict):
            return [text for part in value.values() for text in texts(part)]
        if isinstance(value, list):
            return [text for part in value for text in texts(part)]
        return [value] if isinstance(value, str) else []

    for text in texts(tomllib.loads(file.read_text(encoding="utf-8"))):
        assert not text.startswith(("/", "~", ".."))


def test_the_demo_is_the_demo() -> None:
    assert config.load(EXAMPLES / "demo.toml").resolved() == demo.experiment().resolved()


def test_the_paper_file_holds_the_published_protocol() -> None:
    """Numbers of arXiv 2509.04796 and of its code."""
    paper = config.load(EXAMPLES / "paper_gemma.toml")
    assert paper.experiment.generations + 1 == 16
    assert paper.model.path == "google/gemma-3-1b-it"
    assert (paper.synthesis.block, paper.synthesis.prompt_tokens, paper.synthesis.new_tokens) == (64, 64, 64)
    assert (paper.synthesis.blocks, paper.synthesis.padding) == (8000, "left")
    training = paper.training
    assert (training.epochs, training.learning_rate, training.weight_decay) == (0.5, 1e-5, 0.01)
    assert (training.batch, training.accumulation, training.chunk_tokens) == (1, 4, 512)
    assert (training.start, training.schedule) == ("previous", "linear")
    assert training.lora is None
    assert sorted(arm.synthetic_fraction for arm in paper.arms.values()) == [0.0, 0.25, 0.5, 1.0]
    assert {arm.workflow for arm in paper.arms.values()} == {"replace"}
    assert paper.evaluation.preset == "paper"
    assert {str(f["kind"]) for f in paper.evaluation.formats} == {
        "multiple_choice", "multiple_choice_few_shot", "short_answer", "no_instruction",
    }  # fmt: skip
    questions = registry.build("questions", paper.evaluation.questions[0])
    assert len(questions.subjects) == 6
    assert questions.first == 100


def test_paths_can_be_given_on_the_command_line() -> None:
    experiment = config.load(
        EXAMPLES / "smollm2.toml",
        ["corpus.path=elsewhere/train.txt", "model.path=elsewhere/model",
         'evaluation.questions=[{ kind = "known_1000", path = "elsewhere/k.json", limit = 5 }]'],
    )  # fmt: skip
    assert experiment.corpus["path"] == "elsewhere/train.txt"
    assert experiment.model.path == "elsewhere/model"
    assert experiment.evaluation.questions[0]["path"] == "elsewhere/k.json"


def test_the_comparison_of_domains_gives_every_arm_its_own_control() -> None:
    experiment = config.load(EXAMPLES / "domain_comparison.toml")
    arms = {name for name, arm in experiment.arms.items() if arm.synthetic_fraction == 1.0}
    assert arms == {"domain", "general", "diversity_matched", "random_domain"}
    domains = {str(experiment.arms[name].prompts["domain"]) for name in arms}
    assert len(domains) == 4
    for name in arms:
        control = experiment.control_of(name)
        assert control is not None
        assert experiment.arms[control].synthetic_fraction == 0.0
        assert experiment.arms[control].prompts == experiment.arms[name].prompts

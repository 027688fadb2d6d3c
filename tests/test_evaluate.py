"""Evaluation: what is put, what is stored of it, and that it changes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from factfade import evaluate as evaluation
from factfade import store, tables
from factfade.data.formats import MultipleChoice, MultipleChoiceFewShot, OpenEnded, ShortAnswer
from factfade.errors import ConfigError, DataError, NonFinite, UsageError
from factfade.evaluate import Material, evaluate, prepare
from factfade.models.hf import HfModel, OpenModel
from factfade.records import Question, Sampled, Scored, canonical_json, sha256_text
from factfade.sections import EvaluationSection, SynthesisSection

TEXTS = [
    "The river Danube flows through ten countries; its mouth lies in the Black Sea.",
    "Once upon a time there was a small village between two hills, and nobody knew its name.",
    "Gold has the symbol Au and the atomic number 79. Water boils at 100 degrees.",
]
CITIES = ("Paris", "London", "Madrid", "Rome")
CAPITALS = tuple(
    Question(
        text=f"Capital of {country}?",
        statement=f"The capital of {country} is",
        choices=CITIES,
        answer=answer,
        accepted=(CITIES[answer],),
        candidates=CITIES,
        closed=True,
        domain="geography",
        entity=country,
        template="capital",
    )
    for answer, country in enumerate(("France", "England", "Spain", "Italy"))
)
GOLD = Question(text="Symbol of gold?", accepted=("Au",), domain="chemistry", entity="gold", template="symbol")
QUESTIONS = (*CAPITALS, GOLD)


@dataclass(frozen=True, kw_only=True)
class Set:
    """Questions as they are given."""

    asked: tuple[Question, ...] = QUESTIONS
    solved: tuple[Question, ...] = ()
    identity: str = "set"

    def check(self) -> Mapping[str, Any]:
        return {}

    def items(self) -> Sequence[Question]:
        return self.asked

    def dev(self) -> Sequence[Question]:
        return self.solved


@dataclass(frozen=True, kw_only=True)
class Text:
    """A corpus of a few documents, ending or endless."""

    documents_: tuple[str, ...] = tuple(TEXTS)
    endless: bool = False
    identity: str = "text"

    def check(self) -> Mapping[str, Any]:
        return {}

    def documents(self, *, split: str, seed: int) -> Iterator[tuple[str, str]]:
        assert split == "held_out"
        if not self.endless:
            yield from ((text, "prose") for text in self.documents_)
            return
        number = 0
        while True:
            yield f"{self.documents_[number % 3]} {seed % 97} {number}", "prose"
            number += 1


@dataclass
class Steps:
    """Progress that remembers."""

    seen: list[tuple[str, int, int]] = field(default_factory=list)

    def step(self, what: str, done: int, total: int) -> None:
        self.seen.append((what, done, total))


SETTINGS = EvaluationSection(
    texts=6, text_tokens=12, prompts=5, prompt_tokens=8, new_tokens=10, answer_tokens=6, shard_items=2, batch_tokens=256
)
FORMATS = (MultipleChoice(), MultipleChoiceFewShot(), ShortAnswer(), OpenEnded())


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Iterator[OpenModel]:
    with HfModel(path=str(tiny_llama)).open() as opened:
        yield opened


@pytest.fixture(scope="module")
def material(model: OpenModel) -> Material:
    return prepared(model)


def prepared(model: OpenModel, settings: EvaluationSection = SETTINGS, **parts: Any) -> Material:
    parts = {"questions": [Set()], "formats": FORMATS, "corpus": Text(endless=True), **parts}
    return prepare(settings, SynthesisSection(), model=model, **parts)


def new_step(folder: Path, **settings: Any) -> store.Step:
    key = store.StepKey(version=1, settings=settings, inputs={}, seed=0, libraries={})
    return store.step(folder, "evaluate", key)


def run(
    model: Any, material: Material, folder: Path, settings: EvaluationSection = SETTINGS, **rest: Any
) -> dict[str, Any]:
    places: dict[str, Any] = {"lineage": "arm", "seed": 3, "generation": 1, "reference": None, "progress": Steps()}
    places |= rest
    reference = places.pop("reference")
    return evaluate(model, reference, material, settings, new_step(folder), **places)


@pytest.fixture(scope="module")
def done(model: OpenModel, material: Material, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("evaluated") / "generation-001"
    return folder, run(model, material, folder)


def evidence_of(folder: Path) -> pd.DataFrame:
    return tables.read(folder / "evidence", "evidence")


# ---------------------------------------------------------------------------------------------------------------
# Material


def test_items_are_sorted_and_the_same_whatever_the_order_of_the_set(model: OpenModel, material: Material) -> None:
    assert list(material.items) == sorted(material.items)
    turned = prepared(model, questions=[Set(asked=QUESTIONS[::-1])])
    assert turned.identity == material.identity
    assert prepared(model, replace_seed(1)).identity != material.identity


def test_the_identity_is_the_hash_of_everything_at_once(material: Material) -> None:
    puts = {name: [asdict(put) for put in own] for name, own in material.puts.items()}
    fixed = [[asdict(text) for text in own] for own in (material.texts, material.prompts)]
    whole = [material.items, puts, fixed, material.new_tokens, material.system, material.through_end]
    assert material.identity == sha256_text(canonical_json(whole))


def replace_seed(seed: int, **settings: Any) -> EvaluationSection:
    return SETTINGS.model_copy(update={"seed": seed, **settings})


def test_a_bounded_number_of_items_is_drawn_by_the_evaluation_seed(model: OpenModel) -> None:
    many = Set(asked=tuple(replace(QUESTIONS[0], text=f"Number {n}?", entity=str(n)) for n in range(40)))
    settings = replace_seed(0, items=7)
    one = prepared(model, settings, questions=[many])
    assert len(one.items) == 7
    assert prepared(model, settings, questions=[replace(many, asked=many.asked[::-1])]).items == one.items
    assert prepared(model, replace_seed(5, items=7), questions=[many]).items != one.items
    assert one.counts["questions"] == 40
    assert prepared(model, replace_seed(0, items=400), questions=[many]).counts["items"] == 40


def test_a_question_that_stands_twice_is_named_in_both_places(model: OpenModel) -> None:
    first = replace(QUESTIONS[0], source="one.jsonl")
    second = replace(QUESTIONS[0], source="two.jsonl")
    with pytest.raises(DataError, match=r"one\.jsonl.*two\.jsonl"):
        prepared(model, questions=[Set(asked=(first,)), Set(asked=(second,))])


def test_options_are_tokenized_as_they_follow_their_prompt(model: OpenModel, material: Material) -> None:
    tokenizer = model.prompter.tokenizer
    asked = [put for puts in material.puts.values() for put in puts if not put.reason]
    assert asked
    for put in asked:
        assert list(put.prompt) == tokenizer(put.asked.prompt)["input_ids"]
        for target, ids in zip(put.asked.targets, put.targets, strict=True):
            assert [*put.prompt, *ids] == tokenizer(put.asked.prompt + target)["input_ids"]


def test_what_is_not_asked_has_its_reason_and_is_counted(model: OpenModel, material: Material) -> None:
    counts = material.counts["formats"]
    assert counts["multiple_choice"] == {"asked": 4, "not_asked": {"no options to letter": 1}}
    # No solved examples in the set: never fewer shots, the format is not asked at all.
    assert counts["multiple_choice_few_shot"]["asked"] == 0
    solved = tuple(replace(QUESTIONS[0], text=f"Solved {n}?", entity=f"s{n}") for n in range(3))
    long = prepared(model, questions=[Set(solved=solved)])
    reasons = long.counts["formats"]["multiple_choice_few_shot"]["not_asked"]
    assert reasons["prompt and answer are longer than the context of 128 tokens"] == 4


def test_the_answer_is_part_of_what_must_fit(model: OpenModel) -> None:
    put = prepared(model).puts["multiple_choice"][0]
    length = len(next(p for p in prepared(model).puts["multiple_choice"] if not p.reason).prompt)
    assert put.asked.format == "multiple_choice"
    fits = prepared(model, replace_seed(0, answer_tokens=1))
    tight = prepared(model, replace_seed(0, answer_tokens=128 - length + 40))
    assert fits.counts["formats"]["multiple_choice"]["asked"] == 4
    assert tight.counts["formats"]["multiple_choice"]["asked"] == 0
    # Without free answers only the options must fit.
    off = prepared(model, replace_seed(0, answer_tokens=128, free_answers=False))
    assert off.counts["formats"]["multiple_choice"]["asked"] == 4
    assert off.counts["formats"]["open_ended"]["not_asked"] == {"no options to score, and free answers are off": 1}


def test_fixed_texts_and_prompts_are_disjoint_and_of_one_length(material: Material) -> None:
    assert len(material.texts) == 6
    assert len(material.prompts) == 5
    assert {len(text.tokens) for text in material.texts} == {12}
    assert {len(prompt.tokens) for prompt in material.prompts} == {8}
    heads = {text.tokens[:8] for text in material.texts}
    assert not heads & {prompt.tokens for prompt in material.prompts}
    assert len({text.id for text in (*material.texts, *material.prompts)}) == 11


def test_a_short_corpus_gives_what_it_has_and_says_so(model: OpenModel) -> None:
    short = prepared(model, replace_seed(0, texts=40, prompts=40), corpus=Text())
    counts = short.counts
    assert counts["texts"]["requested"] == 40
    assert 0 < counts["texts"]["achieved"] == len(short.texts) < 40
    assert 0 < counts["prompts"]["achieved"] == len(short.prompts) < 40
    empty = prepared(model, corpus=Text(documents_=()))
    assert (empty.texts, empty.prompts) == ((), ())


def test_texts_that_do_not_fit_the_context_name_the_setting(model: OpenModel) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.text_tokens"):
        prepared(model, replace_seed(0, text_tokens=128))
    with pytest.raises(ConfigError, match=r"evaluation\.new_tokens"):
        prepared(model, replace_seed(0, new_tokens=125))


# ---------------------------------------------------------------------------------------------------------------
# Evidence


def test_every_put_question_has_one_row(done: tuple[Path, dict[str, Any]], material: Material) -> None:
    evidence = evidence_of(done[0])
    keys = [(put.asked.item, put.asked.format, put.asked.wording) for puts in material.puts.values() for put in puts]
    found = list(zip(evidence["item"], evidence["format"], evidence["wording"], strict=True))
    assert sorted(found) == sorted(keys)
    assert set(evidence["lineage"]) == {"arm"}
    assert set(evidence["seed"]) == {3}
    assert set(evidence["generation"]) == {1}
    refused = evidence[evidence["outcome"] == "not_asked"]
    assert len(refused) == sum(bool(put.reason) for puts in material.puts.values() for put in puts)
    assert refused["reason"].map(bool).all()
    assert refused["choice_correct"].isna().all()
    assert refused["option_logprob"].isna().all()


def test_a_choice_is_the_largest_likelihood_under_the_formats_rule(
    done: tuple[Path, dict[str, Any]], model: OpenModel, material: Material
) -> None:
    evidence = evidence_of(done[0]).set_index(["item", "format", "wording"])
    checked = 0
    for puts in material.puts.values():
        for put in puts:
            if put.reason or not put.targets:
                continue
            row: Any = evidence.loc[(put.asked.item, put.asked.format, put.asked.wording)]
            alone = [model.score([put.prompt], [[ids]])[0][0] for ids in put.targets]
            assert row["option_logprob"] == pytest.approx([one.logprob for one in alone], abs=1e-4)
            assert row["option_tokens"] == [len(ids) for ids in put.targets]
            rule = put.asked.rule
            values = [one.logprob / (one.tokens if rule == "mean" else 1) for one in alone]
            assert row["choice"] == values.index(max(values))
            assert row["choice_correct"] == (row["choice"] == put.asked.gold)
            assert row["choice_greedy"] == alone[row["choice"]].greedy
            weights = [math.exp(value) for value in values]
            assert row["choice_confidence"] == pytest.approx(max(weights) / sum(weights), abs=1e-4)
            checked += 1
    assert checked == 4 + 4 + 8
    assert material.puts["multiple_choice"][0].asked.rule == "sum"
    assert material.puts["short_answer"][0].asked.rule == "mean"


def test_a_free_answer_is_the_greedy_text_up_to_the_line_break(
    done: tuple[Path, dict[str, Any]], model: OpenModel, material: Material
) -> None:
    evidence = evidence_of(done[0]).set_index(["item", "format", "wording"])
    for name, puts in material.puts.items():
        for put in puts:
            if put.reason:
                continue
            row: Any = evidence.loc[(put.asked.item, put.asked.format, put.asked.wording)]
            ids = list(put.prompt)
            scored = 0.0
            drawn: list[int] = []
            ended = False
            while len(drawn) < SETTINGS.answer_tokens and not ended:
                options = model.score([[*ids, *drawn]], [[[token] for token in range(384)]])[0]
                best = max(range(384), key=lambda token: options[token].logprob)
                scored += options[best].logprob
                ended = best in model.ends
                drawn += [] if ended else [best]
                if not ended and "\n" in model.decode(drawn):
                    break
            text = model.decode(drawn)
            assert row["answer"] == text.split("\n")[0]
            parsed = material.formats[name].parse(row["answer"], put.asked, ended=ended or "\n" in text)
            assert (row["outcome"], row["reason"]) == (parsed.outcome, parsed.reason)
            assert row["answer_confidence"] == pytest.approx(math.exp(scored / (len(drawn) + ended)), abs=1e-4)
        break


def test_ties_go_to_the_lowest_index_and_confidence_is_a_share(material: Material) -> None:
    asked = replace(material.puts["multiple_choice"][0].asked, gold=1)
    tied = [Scored(logprob=value, tokens=1, greedy=False) for value in (-9.0, -2.0, -2.0, -5.0)]
    columns = evaluation._choice_columns(asked, tied)
    assert columns["choice"] == 1
    assert columns["choice_correct"] is True
    assert 0 < columns["choice_confidence"] < 0.5
    mean = evaluation._choice_columns(
        replace(asked, rule="mean"),
        [Scored(logprob=-4.0, tokens=4, greedy=False), Scored(logprob=-2.0, tokens=1, greedy=True)],
    )
    assert mean["choice"] == 0
    assert evaluation._choice_columns(replace(asked, gold=None), tied)["choice_correct"] is None
    assert evaluation._choice_columns(asked, []) == {}
    with pytest.raises(NonFinite, match=asked.item):
        evaluation._choice_columns(asked, [Scored(logprob=float("nan"), tokens=1, greedy=False)])


def test_an_answer_without_tokens_is_empty_and_has_the_end_tokens_confidence(
    model: OpenModel, material: Material
) -> None:
    asked = material.puts["short_answer"][0].asked
    columns = evaluation._answer_columns(asked, Sampled(tokens=(), ended=True, logprob=-0.5), material, model)
    assert (columns["answer"], columns["outcome"]) == ("", "empty")
    assert columns["answer_confidence"] == pytest.approx(math.exp(-0.5))


def test_without_free_answers_only_choices_are_stored(model: OpenModel, tmp_path: Path) -> None:
    settings = replace_seed(0, free_answers=False)
    run(model, prepared(model, settings), tmp_path, settings)
    evidence = evidence_of(tmp_path)
    asked = evidence[evidence["outcome"] != "not_asked"]
    assert asked["answer"].isna().all()
    assert asked["choice"].notna().all()


def test_a_chat_models_options_have_no_leading_blank(tiny_llama: Path) -> None:
    template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}[assistant]"
    with HfModel(path=str(tiny_llama)).open() as opened:
        opened.prompter.tokenizer.chat_template = template
        opened.prompter.chat = "chat"
        material = prepared(opened, formats=(MultipleChoice(),))
        put = next(put for put in material.puts["multiple_choice"] if not put.reason)
        assert [opened.decode(ids) for ids in put.targets] == ["A", "B", "C", "D"]
        assert opened.decode(put.prompt) == f"[user]{put.asked.prompt}[assistant]"
        row = evaluation._question_columns(put, opened.facts["template_sha256"])
        assert len(row["template_sha256"]) == 64


# ---------------------------------------------------------------------------------------------------------------
# Fluency


def test_fluency_rows_are_the_likelihoods_of_the_texts(
    done: tuple[Path, dict[str, Any]], model: OpenModel, material: Material
) -> None:
    fluency = tables.read(done[0] / "fluency.parquet", "fluency")
    held = fluency[fluency["kind"] == "held_out"].set_index("text")
    assert len(held) == 6
    for text in material.texts:
        row: Any = held.loc[text.id]
        assert row["tokens"] == 12
        assert row["nll"] == pytest.approx(model.nll([text.tokens])[0][0], abs=1e-3)
    own = tables.read(done[0] / "own.parquet", "completions").set_index("prompt")
    measured = fluency[fluency["kind"] == "own"].set_index("text")
    for prompt in material.prompts:
        ids: list[int] = own.loc[prompt.id, "token_ids"]  # type: ignore[assignment]
        assert measured.loc[prompt.id, "tokens"] == own.loc[prompt.id, "tokens"] == len(ids) <= 10
        expected = -model.score([model.wrap(prompt.tokens)], [[ids]])[0][0].logprob
        assert measured.loc[prompt.id, "nll"] == pytest.approx(expected, abs=1e-3)


def test_the_start_model_is_its_own_reference(done: tuple[Path, dict[str, Any]]) -> None:
    fluency = tables.read(done[0] / "fluency.parquet", "fluency")
    own, under = (
        fluency[fluency["kind"] == kind].set_index("text")[["tokens", "nll"]] for kind in ("own", "own_under_start")
    )
    pd.testing.assert_frame_equal(own, under)
    assert done[1]["reference"] is False


def test_a_later_model_is_read_by_the_start_model(
    model: OpenModel, material: Material, tmp_path: Path, tiny_llama: Path
) -> None:
    import torch

    other = tmp_path / "other"
    net = type(model.net.model)(model.net.model.config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    net.save_pretrained(other)
    model.prompter.tokenizer.save_pretrained(other)
    with HfModel(path=str(other)).open() as later:
        record = run(later, material, tmp_path / "g1", reference=HfModel(path=str(tiny_llama)))
    assert record["reference"] is True
    fluency = tables.read(tmp_path / "g1" / "fluency.parquet", "fluency")
    own = tables.read(tmp_path / "g1" / "own.parquet", "completions").set_index("prompt")
    under = fluency[fluency["kind"] == "own_under_start"].set_index("text")
    for prompt in material.prompts:
        ids: list[int] = own.loc[prompt.id, "token_ids"]  # type: ignore[assignment]
        expected = -model.score([model.wrap(prompt.tokens)], [[ids]])[0][0].logprob
        assert under.loc[prompt.id, "nll"] == pytest.approx(expected, abs=1e-3)
    mine = fluency[fluency["kind"] == "own"].set_index("text")["nll"]
    assert (mine - under["nll"]).abs().max() > 1


def test_a_reference_with_another_tokenizer_is_refused(
    model: OpenModel, material: Material, tmp_path: Path, tiny_gpt2: Path
) -> None:
    with pytest.raises(UsageError, match="tokenizers"):
        run(model, material, tmp_path, reference=HfModel(path=str(tiny_gpt2)))
    assert not (tmp_path / "evaluate.json").exists()


def test_own_completions_do_not_depend_on_arm_seed_or_generation(
    done: tuple[Path, dict[str, Any]], model: OpenModel, material: Material, tmp_path: Path
) -> None:
    run(model, material, tmp_path, lineage="other", seed=8, generation=4)
    one, other = (tables.read(folder / "own.parquet", "completions") for folder in (done[0], tmp_path))
    assert one["token_ids"].tolist() == other["token_ids"].tolist()
    flags = ["empty", "near_constant", "repetitive", "duplicate"]
    assert one[flags].notna().all().all()


def test_the_preset_paper_adds_its_perplexity(model: OpenModel, tmp_path: Path) -> None:
    settings = replace_seed(0, preset="paper")
    record = run(model, prepared(model, settings, formats=(MultipleChoice(),)), tmp_path, settings)
    assert record["perplexity_paper"] > 1


def test_no_texts_and_no_prompts_leave_an_empty_table(model: OpenModel, tmp_path: Path) -> None:
    settings = replace_seed(0, texts=0, prompts=0)
    run(model, prepared(model, settings), tmp_path, settings)
    assert len(tables.read(tmp_path / "fluency.parquet", "fluency")) == 0


# ---------------------------------------------------------------------------------------------------------------
# The step


def test_the_record_counts_what_was_put_and_what_came(done: tuple[Path, dict[str, Any]], material: Material) -> None:
    folder, record = done
    assert record["material"] == material.identity
    assert sum(shard["rows"] for shard in record["evidence"].values()) == len(evidence_of(folder))
    assert record["own_completions"] == 5
    assert record["model"]["class"] == "LlamaForCausalLM"
    assert record["decoding"] == {"temperature": 1, "top_p": 1, "top_k": 0}
    assert record["times"]["seconds"] > 0
    assert record["times"]["peak_memory_bytes"] > 10**7


def test_columns_that_are_given_stand_beside_every_row_of_evidence(
    model: OpenModel, material: Material, tmp_path: Path
) -> None:
    run(model, material, tmp_path, beside={"checkpoint": "checkpoint-20", "step": 20})
    rows = evidence_of(tmp_path)
    assert set(rows["checkpoint"]) == {"checkpoint-20"}
    assert set(rows["step"]) == {20}


def test_a_committed_step_is_not_repeated(done: tuple[Path, dict[str, Any]], material: Material) -> None:
    # A model that cannot do anything is enough.
    assert run(object(), material, done[0]) == done[1]


def test_committed_shards_of_an_interrupted_step_are_kept(
    done: tuple[Path, dict[str, Any]],
    model: OpenModel,
    material: Material,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = OpenModel.ask
    calls: list[int] = []

    def dying(self: OpenModel, *args: Any, **kwargs: Any) -> Any:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(1)
        return ask(self, *args, **kwargs)

    monkeypatch.setattr(OpenModel, "ask", dying)
    with pytest.raises(KeyboardInterrupt):
        run(model, material, tmp_path)
    assert not (tmp_path / "evaluate.json").exists()
    total: list[int] = []

    def counting(self: OpenModel, *args: Any, **kwargs: Any) -> Any:
        total.append(1)
        return ask(self, *args, **kwargs)

    monkeypatch.setattr(OpenModel, "ask", counting)
    progress = Steps()
    run(model, material, tmp_path, progress=progress)
    assert progress.seen[-1][1] == progress.seen[-1][2]
    pd.testing.assert_frame_equal(evidence_of(tmp_path), evidence_of(done[0]))
    whole = sum(1 for name, _, puts in evaluation._blocks(material, 2) if any(not put.reason for put in puts))
    assert len(total) == whole - 3


def test_nothing_of_a_training_is_changed(model: OpenModel, material: Material, tmp_path: Path) -> None:
    import random

    import numpy as np
    import torch

    before = {name: tensor.clone() for name, tensor in model.net.model.state_dict().items()}
    states = (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state())
    run(model, material, tmp_path)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tobytes() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.net.model.state_dict().items())


def test_opening_and_preparing_draw_nothing_global(tiny_llama: Path) -> None:
    import torch

    state = torch.get_rng_state()
    with HfModel(path=str(tiny_llama)).open() as opened:
        prepared(opened)
    assert torch.equal(torch.get_rng_state(), state)

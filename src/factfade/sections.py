"""The tables of the experiment file, one class each: what may be set, its default and its bounds. docs/concepts.md
explains every key."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from factfade import paths, records

PartSpec = str | dict[str, Any]


def _kind_table(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


PartTable = Annotated[dict[str, Any], BeforeValidator(_kind_table)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Section(BaseModel):
    """A section of the experiment file: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class About(Section):
    """[experiment]: its name, the run seeds, and the number of trainings."""

    name: str = "experiment"
    seeds: tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...] = Field(default=(0,), min_length=1)
    generations: Annotated[int, Field(ge=1, le=1000)] = 6

    @model_validator(mode="after")
    def _safe(self) -> About:
        if not paths.is_name(self.name):
            raise ValueError("name must be lower-case letters, digits, '.', '_' and '-', at most 64")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds are repeated")
        return self


class ModelSection(Section):
    """[model]: which weights, in which precision, on which device, and how prompts are put (raw text or chat)."""

    kind: str = "hf"
    path: str = "world"
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    chat: Literal["raw", "chat"] = "raw"
    threads: Annotated[int, Field(ge=1, le=1024)] = 1


class DecodingSection(Section):
    """Sampling settings of synthesis: always explicit, never a model's own defaults."""

    temperature: Annotated[float, Field(ge=0.0, le=10.0)] = 1.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    top_k: Annotated[int, Field(ge=0, le=10**6)] = 0

    def resolved(self) -> records.Decoding:
        return records.Decoding(temperature=self.temperature, top_p=self.top_p, top_k=self.top_k)


class SynthesisSection(Section):
    """[synthesis]: how human blocks are cut and continued.

    A block is `block_tokens` human tokens. Its first `prompt_tokens` are the prompt; its last `new_tokens` are the
    human document that trains in its place where it is not synthesized. Unset, block_tokens = prompt + new; the
    paper's setting is 64 for all three. `through_end`: a completion goes on past an end token to `new_tokens`, as a
    human block goes on into the next document, so that every arm trains on equally many tokens; false stops it there
    (chat models). `junk_bound` is the largest allowed share of empty or near-constant completions; above it the run
    stops unless `allow_junk`. `padding = "right"` replicates the published artefact.
    """

    prompt_tokens: Count = 32
    new_tokens: Count = 64
    block_tokens: Count | None = None
    blocks: Count = 512
    decoding: DecodingSection = DecodingSection()
    batch: Count = 128
    padding: Literal["left", "right"] = "left"
    system: str | None = None
    through_end: bool = True
    junk_bound: Share = 0.2
    allow_junk: bool = False

    @property
    def block(self) -> int:
        return self.block_tokens or self.prompt_tokens + self.new_tokens

    @model_validator(mode="after")
    def _fits(self) -> SynthesisSection:
        if self.block < max(self.prompt_tokens, self.new_tokens):
            raise ValueError(
                "block_tokens must hold the prompt and the human document: at least max(prompt_tokens, new_tokens)"
            )
        return self


class LoraSection(Section):
    """[training.lora]: a LoRA adapter instead of full parameters (extra: lora); merged into each checkpoint."""

    rank: Count = 8
    alpha: Annotated[float, Field(gt=0, le=1e6)] = 16.0
    dropout: Share = 0.0
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"


class TrainingSection(Section):
    """[training]: one generation's training. Documents are packed, in shuffled order, into `chunk_tokens`.

    `separator` "eos" puts the end token between documents: for pools of whole texts, not of windows cut from one.
    `steps` above 0 is a budget that stands in for `epochs`: so many optimizer steps of `batch` x `accumulation` whole
    chunks, however large the pool is. Arms with the same one train on exactly the same number of tokens.
    """

    kind: str = "hf"
    start: Literal["previous", "base"] = "previous"
    epochs: Annotated[float, Field(gt=0, le=1000)] = 2.0
    steps: Annotated[int, Field(ge=0, le=10**9)] = 0
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 7e-4
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.01
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0, le=10**7)] = 0
    batch: Count = 32
    accumulation: Count = 1
    chunk_tokens: Count = 64
    separator: Literal["none", "eos"] = "none"
    max_grad_norm: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.999
    precision: Literal["float32", "bfloat16"] = "float32"
    lora: LoraSection | None = None
    report_to: tuple[str, ...] = ()


class EvaluationSection(Section):
    """[evaluation]: what is asked of every generation.

    `generations` names those evaluated (default: all; 0 and the last always are). `items` bounds the questions,
    drawn by the evaluation seed. `preset` chooses prompts and scoring: `default`, `paper` or `harness`.
    `texts` held-out human texts of `text_tokens` tokens, and `prompts` fixed prompts continued by `new_tokens`
    at `decoding`, are the fluency endpoint.
    """

    questions: tuple[PartTable, ...] = ({"kind": "world"},)
    formats: tuple[PartTable, ...] = tuple(
        {"kind": k}
        for k in ("multiple_choice", "multiple_choice_few_shot", "no_instruction", "short_answer", "open_ended")
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    preset: Literal["default", "paper", "harness"] = "default"
    items: Count | None = None
    generations: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    free_answers: bool = True
    answer_tokens: Count = 16
    batch_tokens: Count = 8192
    shard_items: Count = 256
    texts: Annotated[int, Field(ge=0, le=10**6)] = 64
    text_tokens: Count = 96
    prompts: Annotated[int, Field(ge=0, le=10**6)] = 128
    prompt_tokens: Count | None = None
    new_tokens: Count | None = None
    decoding: DecodingSection = DecodingSection()

    @model_validator(mode="after")
    def _distinct(self) -> EvaluationSection:
        names = [str(f.get("kind")) for f in self.formats]
        if not names or len(set(names)) != len(names):
            raise ValueError("formats must be named once each, and at least one")
        if not self.questions:
            raise ValueError("questions must name at least one set")
        return self


class StagesSection(Section):
    """[stages]: the rule, hashed into the run before generation 1. Margins in shares (knowledge .05 = 5 points),
    fluency (i) in nats. `alpha` is one-sided, `family` the looks whose breaks are corrected together."""

    knowledge: Annotated[float, Field(gt=0, le=1)] = 0.05
    format: Annotated[float, Field(gt=0, le=1)] = 0.10
    fluency_nats: Annotated[float, Field(gt=0, le=100)] = 0.25
    fluency_junk: Annotated[float, Field(gt=0, le=1)] = 0.10
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    family: Literal["run", "generation", "none"] = "run"
    minimum_n: Count = 100
    chance_margin: Annotated[float, Field(gt=0, le=1)] = 0.10
    confidence: Annotated[float, Field(gt=0, le=1)] = 0.05
    minimum_wrong: Count = 20
    tau: Share = 0.8


class ContrastSection(Section):
    """[contrast]: the primary comparison between arms, declared with the experiment, before any result.

    Every arm of `arms` is compared with the arm `baseline`, paired by run seed, on the share of questions right by
    choice in the last generation, the mean over `formats` (default: all that are evaluated, probes excepted). Holm's
    correction runs over `arms` (default: all others with the baseline's training budget, its control excepted).
    """

    baseline: str
    arms: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05


class Arm(Section):
    """One condition: overrides of corpus, synthesis and training, and its parts.

    `synthetic_fraction` is the paper's alpha: the share of blocks that are replaced by the model's continuation.
    `workflow` is a shorthand for the first pool part. `control` names the arm's own control (human text of the
    arm's own corpus); unset, it is the one arm with synthetic_fraction 0 and the same corpus and prompts, if any.
    """

    synthetic_fraction: Share
    workflow: Literal["replace", "accumulate", "accumulate_subsample"] = "replace"
    prompts: PartTable = {"kind": "general"}
    pool: tuple[PartTable, ...] = ()
    objective: PartTable = {"kind": "cross_entropy"}
    after_training: tuple[PartTable, ...] = ()
    control: str | None = None
    corpus: dict[str, Any] = {}
    synthesis: dict[str, Any] = {}
    training: dict[str, Any] = {}

"""The settings of `factfade domain build`: sections as in an experiment file, changed with `-o section.key=value`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from factfade.domain.target import Source
from factfade.sections import Count, PartTable, Section, Share


class PassagesSection(Section):
    """What a passage is, in whitespace words, and whether it begins with its headings. `documents` bounds reading."""

    shortest: Count = 20
    longest: Count = 400
    headings: bool = True
    documents: Count | None = None

    @model_validator(mode="after")
    def _order(self) -> PassagesSection:
        if self.longest < max(2, self.shortest):
            raise ValueError("longest must be at least 2, and at least shortest")
        return self


class SizeSection(Section):
    """How much is selected: at most so many passages, at most so many whitespace words, none below a score, at most so
    many of one article."""

    passages: Count | None = None
    words: Count | None = None
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None
    per_article: Count | None = None


class LexicalSection(Section):
    """BM25: its constants; the weight of the topic's terms, where the questions' heaviest term weighs 1; the share of
    a passage's score that is its article's mean; rounds of feedback from the best `feedback` articles, each of which
    adds at most `expansion` terms that stand in `least_passages` of them or more and weigh `least_weight` or more."""

    k1: Annotated[float, Field(ge=0, le=100)] = 1.2
    b: Share = 0.75
    k3: Annotated[float, Field(ge=0, le=10_000)] = 8.0
    topic_weight: Annotated[float, Field(ge=0, le=10_000)] = 2.0
    article_share: Share = 0.3
    rounds: Annotated[int, Field(ge=0, le=20)] = 2
    feedback: Count = 30
    expansion: Count = 40
    least_passages: Count = 4
    least_weight: Annotated[float, Field(ge=0, le=100)] = 2.0


class EmbeddingSection(Section):
    """A sentence encoder in transformers format in place of BM25; `tokens` of a passage are read."""

    folder: str | None = None
    tokens: Count = 256
    batch: Count = 32
    article_share: Share = 0.5


class DecontaminationSection(Section):
    """What gives a tested question away. `ngram` = 0 and `window` = 0 switch the two rules off."""

    ngram: Annotated[int, Field(ge=0, le=1000)] = 13
    shortest: Count = 8
    window: Annotated[int, Field(ge=0, le=100_000)] = 50
    overlap: Annotated[float, Field(gt=0, le=1)] = 0.6


class ControlsSection(Section):
    """The matched controls. `random_domain` names another question set's domain in place of a drawn topic."""

    build: bool = True
    tolerance: Annotated[float, Field(gt=0, le=1)] = 0.02
    steps: Annotated[int, Field(ge=0, le=10_000_000)] = 20_000
    random_domain: str | None = None


class DomainSettings(Section):
    """Everything that decides what is written."""

    corpus: PartTable
    questions: str
    mmlu: str | None = None
    topic: str | None = None
    query_from: Source = "split"
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    score: Literal["lexical", "embedding"] = "lexical"
    passages: PassagesSection = PassagesSection()
    size: SizeSection = SizeSection()
    lexical: LexicalSection = LexicalSection()
    embedding: EmbeddingSection = EmbeddingSection()
    decontamination: DecontaminationSection = DecontaminationSection()
    controls: ControlsSection = ControlsSection()

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, data: Any) -> Any:
        """Without any size: 500 passages."""
        size = data.get("size") if isinstance(data, dict) else None
        if isinstance(data, dict) and not any((size or {}).get(key) for key in ("passages", "words", "threshold")):
            return {**data, "size": {**(size or {}), "passages": 500}}
        return data

    @model_validator(mode="after")
    def _encoder(self) -> DomainSettings:
        if (self.score == "embedding") != (self.embedding.folder is not None):
            raise ValueError("score = 'embedding' and embedding.folder go together")
        return self

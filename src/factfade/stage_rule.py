"""The rule of the stages: margins, error rate, family and least numbers, as data; and the table that decides.

It is declared and hashed before generation 1. `docs/stages.md` argues for every default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from factfade.errors import ConfigError
from factfade.records import canonical_json, sha256_text
from factfade.stage_conditions import Test
from factfade.verdicts import Condition, Stage

if TYPE_CHECKING:
    from factfade.sections import StagesSection

Family = Literal["run", "generation", "none"]
# Raised when the same rule would call the same evidence differently: part of the rule's hash.
VERSION = 2
# Fewer prompts than this carry no fluency verdict: Student's t needs some, whatever the margins.
FLUENCY_MINIMUM = 30
ENDPOINTS = ("knowledge", "format", "fluency_nats", "fluency_junk")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Margins, error rate and least numbers of the calls. Shares as fractions, `fluency_nats` in nats per token.

    `alpha` is one-sided; `family` names the looks whose "shown worse" is corrected together (Holm 1979): all endpoints,
    formats and generations of a "run", those of one "generation", or "none". `minimum_n` counts items; `chance_margin`
    is the equivalence margin of the flag `at_chance`; `confidence`, `minimum_wrong` and `tau` are those of the
    confidently wrong.
    """

    knowledge: float = 0.05
    format: float = 0.10
    fluency_nats: float = 0.25
    fluency_junk: float = 0.10
    alpha: float = 0.05
    family: Family = "run"
    minimum_n: int = 100
    chance_margin: float = 0.10
    confidence: float = 0.05
    minimum_wrong: int = 20
    tau: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise ConfigError(f"alpha is one-sided and lies between 0 and 0.5, not {self.alpha}", field="stages.alpha")
        if self.family not in get_args(Family):
            raise ConfigError(f"family is one of {', '.join(get_args(Family))}", field="stages.family")

    @classmethod
    def from_section(cls, section: StagesSection) -> Rule:
        """The rule of an experiment file's [stages]."""
        return cls(**section.model_dump())

    @classmethod
    def from_toml(cls, path: str | Path) -> Rule:
        """The rule of a TOML file: its table [stages], or its top-level keys; what is absent has its default.

        Raises ConfigError, naming the file and the setting, for anything that is no rule.
        """
        from pydantic import ValidationError

        from factfade.sections import StagesSection

        place = Path(path)
        try:
            data = tomllib.loads(place.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{place} cannot be read: {error.strerror}", hint="give a TOML file of margins") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{place} is no TOML: {error}", hint="see docs/stages.md, The rule") from None
        table = data.get("stages", data)
        try:
            return cls.from_section(StagesSection.model_validate(table))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(["stages", *(str(part) for part in first["loc"])])
            raise ConfigError(f"{place}: {field}: {first['msg']}", field=field, hint="see docs/stages.md") from None

    @property
    def level(self) -> float:
        """Two-sided level of the intervals whose ends are the one-sided bounds."""
        return 1.0 - 2.0 * self.alpha

    def resolved(self) -> dict[str, Any]:
        """Plain data of the rule, with the version of the code that applies it: what is hashed."""
        return {**asdict(self), "version": VERSION, "fluency_minimum": FLUENCY_MINIMUM}

    @property
    def sha256(self) -> str:
        return sha256_text(canonical_json(self.resolved()))

    def test(self, endpoint: str) -> Test:
        """The test of one endpoint."""
        if endpoint in ("fluency_nats", "fluency_junk"):
            unit = "nats" if endpoint == "fluency_nats" else "share"
            return Test(
                endpoint=endpoint, margin=getattr(self, endpoint), level=self.level, minimum=FLUENCY_MINIMUM, unit=unit
            )
        if endpoint == "confidently_wrong":
            return Test(
                endpoint=endpoint,
                margin=self.confidence,
                level=self.level,
                minimum=self.minimum_wrong,
                unit="probability",
            )
        margin = self.chance_margin if endpoint == "chance" else getattr(self, endpoint)
        return Test(endpoint=endpoint, margin=margin, level=self.level, minimum=self.minimum_n)


def decide(found: Mapping[str, Condition]) -> Stage:
    """The table of stages. `found` holds the four conditions by endpoint name."""
    knowledge, others = found["knowledge"], [found[e] for e in ENDPOINTS[1:]]
    if any(c.shown_worse for c in others):
        return "C"
    if all(c.shown_not_worse for c in others):
        if knowledge.shown_worse:
            return "B"
        if knowledge.shown_not_worse:
            return "A"
    return "undetermined"

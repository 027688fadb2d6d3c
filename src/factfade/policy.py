"""The policy of a gate: which losses a release may have, as a TOML file. pydantic stands at the file's edge.

[gate]                      how it is judged: error rate, least numbers, which formats and checkpoints
[margins]                   the largest loss of each endpoint over all questions; what is not named is not gated
[domains."geography"]       the same for the questions of one domain; "*" is every domain that is not named
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from factfade import registry
from factfade.errors import ConfigError
from factfade.records import PROBES, canonical_json, sha256_text
from factfade.text import safe_text

# Raised when the same policy would judge the same evidence differently: part of the policy's hash.
VERSION = 2
MAX_BYTES = 1_000_000
EVERY = "*"

Margin = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Table(BaseModel):
    """A table of the policy file: frozen, no unknown keys. Strict: `true` is no margin of 1, "0.05" is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class GateTable(Table):
    """[gate]: how losses are judged.

    `alpha` is one-sided: the interval's ends are bounds at 1 - alpha. `family` "gate" corrects breaches over all checks
    (Holm), "none" judges each by itself. `minimum_n` and `minimum_prompts` are the fewest questions and prompts that
    carry a verdict. `formats` are required and gated (unset: every format that was asked). `checkpoints` are "last"
    or "all". `tau` is the confidence from which a wrong answer counts as confident. `missing` is the largest share of
    questions or prompts that only one side has. `inconclusive` is "fail", or "warn": exit 0 where all that is wrong is
    that the sample is too small.
    """

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    family: Literal["none", "gate"] = "none"
    minimum_n: Count = 100
    minimum_prompts: Count = 30
    formats: Annotated[tuple[str, ...] | None, Field(strict=False, min_length=1)] = None
    checkpoints: Literal["last", "all"] = "last"
    tau: Annotated[float, Field(gt=0, le=1)] = 0.8
    missing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    inconclusive: Literal["fail", "warn"] = "fail"

    @model_validator(mode="after")
    def _asked(self) -> GateTable:
        names = self.formats or ()
        if len(set(names)) != len(names):
            raise ValueError("formats must be named once each")
        if probes := sorted(set(names) & PROBES):
            raise ValueError(f"{probes[0]} is a probe and no instruction format")
        return self


class DomainTable(Table):
    """[domains.NAME]: margins over the questions of a domain, and the fewest of them that carry a verdict."""

    knowledge: Margin | None = None
    format: Margin | None = None
    confidence: Margin | None = None
    minimum_n: Count | None = None

    def margins(self) -> dict[str, float]:
        """The margins that are set, by endpoint."""
        return {
            name: value for name in ("knowledge", "format", "confidence") if (value := getattr(self, name)) is not None
        }


class MarginsTable(Table):
    """[margins]: the largest loss of each endpoint. Shares (0.05 = 5 points), `fluency_nats` in nats per token."""

    knowledge: Margin | None = None
    format: Margin | None = None
    confidence: Margin | None = None
    fluency_nats: Annotated[float, Field(ge=0, le=100)] | None = None
    fluency_junk: Margin | None = None

    def margins(self) -> dict[str, float]:
        """The margins that are set, by endpoint."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


class Policy(Table):
    """The whole policy. At least one margin is set: a gate that asks nothing would pass everything."""

    gate: GateTable = GateTable()
    margins: MarginsTable = MarginsTable()
    domains: dict[str, DomainTable] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _asks(self) -> Policy:
        empty = sorted(name for name, table in self.domains.items() if not table.margins())
        if empty:
            raise ValueError(
                f"the domain {safe_text(empty[0], limit=60, keep='')!r} has no margin: it would pass anything"
            )
        if "" in self.domains:
            raise ValueError("a domain has a name")
        if not self.margins.margins() and not self.domains:
            raise ValueError("no margin is set: the gate would pass anything")
        return self

    @property
    def level(self) -> float:
        """Two-sided level of the intervals whose ends are the one-sided bounds."""
        return 1.0 - 2.0 * self.gate.alpha

    def resolved(self) -> dict[str, Any]:
        """Plain data of the policy with its defaults, and the version of the code that applies it: what is hashed."""
        return {**self.model_dump(mode="json"), "version": VERSION}

    @property
    def sha256(self) -> str:
        return sha256_text(canonical_json(self.resolved()))

    def judging(self, inconclusive: str | None) -> Policy:
        """The same policy with another `inconclusive`: another policy, with another hash. None leaves it as it is."""
        if inconclusive is None or inconclusive == self.gate.inconclusive:
            return self
        return parse({**self.model_dump(), "gate": {**self.gate.model_dump(), "inconclusive": inconclusive}})

    def domain(self, name: str) -> DomainTable | None:
        """The table of a domain: its own, else that of every domain; None where it is not gated."""
        return self.domains.get(name) or self.domains.get(EVERY)


def load(path: str | Path) -> Policy:
    """The policy in a TOML file. Raises ConfigError, naming the file, the setting and the nearest known key."""
    file = Path(path)
    hint = "`factfade gate --init AUDIT` writes a policy to start from"
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", hint=hint) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{file} is larger than {MAX_BYTES:,} bytes", hint="a policy is a page of TOML")
    try:
        data = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{file} is no valid TOML: {error}", hint=hint) from None
    return parse(data, where=str(file))


def parse(data: Mapping[str, Any], *, where: str = "the policy") -> Policy:
    """A policy out of plain data. Every error names the setting, the value and the nearest known key."""
    try:
        return Policy.model_validate(dict(data))
    except ValidationError as error:
        raise _readable(error, where) from None


_TABLES: dict[str, type[Table]] = {"gate": GateTable, "margins": MarginsTable, "domains": DomainTable}


def _readable(error: ValidationError, where: str) -> ConfigError:
    first = error.errors()[0]
    names = [str(part) for part in first["loc"]]
    location = ".".join(safe_text(name, limit=60, keep="") for name in names)
    if first["type"] == "extra_forbidden":
        table = _TABLES.get(names[0]) if len(names) > 1 else Policy
        known = list(table.model_fields) if table else []
        return ConfigError(f"{where}: unknown key {location!r}", hint=registry.nearest(names[-1], known))
    given = repr(first["input"])
    shown = given if len(given) <= 80 else given[:77] + "..."
    place = f"{where}: {location}" if location else where
    message = first["msg"].removeprefix("Value error, ")
    # The whole file is no help in an error about the whole file.
    got = f" (got {shown})" if location and not isinstance(first["input"], (dict, BaseModel)) else ""
    return ConfigError(f"{place}: {message}{got}", hint="docs/compare-and-gate.md lists every setting of a policy")

"""What the parts share that hold a table of trusted facts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from factfade import registry
from factfade.protocols import FactTable


@dataclass(frozen=True, kw_only=True)
class Trusting:
    """A part with a table of trusted facts. `facts` names a part of the group facts; ValueError where it is empty."""

    facts: Any

    def __post_init__(self) -> None:
        if not self.table.statements():
            raise ValueError("the table of facts is empty")

    @cached_property
    def table(self) -> FactTable:
        """The table; errors of the registry where `facts` names none."""
        return registry.build("facts", self.facts)

    @property
    def identity(self) -> str:
        """The table's: it goes into the step's key."""
        return self.table.identity

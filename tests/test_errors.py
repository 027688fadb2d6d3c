"""The exception tree: exit codes, messages with places, hints, and the way between processes."""

from __future__ import annotations

import pickle

import pytest

from factfade import errors
from factfade.errors import ConfigError, DataError, FactfadeError, Interrupted, Locked, SettingsChanged

CODES = {
    "UsageError": 2, "ConfigError": 2, "DataError": 2, "SettingsChanged": 2, "NotFound": 2, "MissingExtra": 2,
    "Inconclusive": 3, "RunFailed": 4, "JunkGate": 4, "NonFinite": 4, "OutOfMemory": 4, "StorageFailed": 4,
    "OutOfSpace": 4, "Locked": 4, "Refused": 5, "IntegrityError": 5, "UnsafeArtifact": 5, "UnsafePath": 5,
    "Stopped": 75,
}  # fmt: skip


def every_class() -> list[type[FactfadeError]]:
    return [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, FactfadeError)]


def test_exit_codes() -> None:
    found = {c.__name__: c.exit_code for c in every_class() if c.__name__ not in ("FactfadeError", "Interrupted")}
    assert found == CODES


def test_the_tree_at_the_top_of_the_module_names_every_class() -> None:
    assert all(c.__name__ in (errors.__doc__ or "") for c in every_class())


def test_interruption_exits_with_the_signal() -> None:
    assert [Interrupted(signal=s).exit_code for s in (2, 15)] == [130, 143]


def test_places_stand_in_the_message() -> None:
    assert str(DataError("bad", file="x.jsonl", line=3)) == "x.jsonl:3: bad"
    assert str(DataError("bad", file="x.jsonl")) == "x.jsonl: bad"
    assert str(ConfigError("must be positive", field="training.epochs")) == "training.epochs: must be positive"
    changed = SettingsChanged("made otherwise:", differences=[("seed", "0", "1")])
    assert "seed: 0 -> 1" in str(changed)


@pytest.mark.parametrize(
    "error",
    [
        DataError("bad", file="x.jsonl", line=3, hint="look"),
        Locked("held", owner={"pid": 3}),
        SettingsChanged("other:", differences=[("a", "1", "2")]),
        errors.MissingExtra("LoRA", extra="lora"),
        Interrupted(signal=15),
        errors.IntegrityError("changed", path="x"),
    ],
)
def test_errors_travel_between_processes(error: FactfadeError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert back.exit_code == error.exit_code


def test_what_is_shown_cannot_act_on_a_terminal() -> None:
    assert "\x1b" not in DataError("bad \x1b[2J", file="\x1b]0;x\x07", hint="\x9b1m").render()

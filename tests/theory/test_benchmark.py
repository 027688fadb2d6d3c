"""The command that prints measured against theory."""

from __future__ import annotations

import os
import sys

import pytest
from benchmarks import theory as command


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_benchmark_agrees_with_theory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(sys, "argv", ["theory", "--chains", "512", "--every", "5"])
    assert command.main() == 0
    said = capsys.readouterr().out
    assert "0 readings disagree" in said
    assert said.count("\n### ") == len(command.settings(512))

"""The first ten minutes of a newcomer: every command of README.md as it stands there, in an empty folder, without a
network. Exit codes, files and printed sentences are those that README.md shows; only numbers may be others."""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import factfade
from tests import small

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOGS = ROOT / "tests" / "golden" / "foreign" / "lm-eval"
BUDGET = 600.0
# What README.md leaves to its reader, in capitals.
CHOICES = {
    "FILE.toml": "experiment.toml", "runs/NAME": "runs/demo", "DIR": "numbers", "FILE": "evidence.parquet",
    "LOGS": "logs/generation-0 logs/generation-1", "A": "runs/demo:human_only", "B": "runs/demo:general",
    "BASE": "world", "ARM": "general", "CORPUS": "world --documents 400", "SET": "world:geography",
    "PASSAGES": "geography.jsonl",
}  # fmt: skip
# Not 0: a gate's verdict is its exit code, and `doctor` says with 4 that an optional package is missing.
OTHER_CODES = {"gate": {0, 1, 3}, "doctor": {0, 4}}
PROMISED = {
    "demo": ["runs/demo/report.html"],
    "report": ["runs/demo/report.html"],
    "export": [
        "numbers/curves.parquet", "numbers/curves.csv", "numbers/knowledge-open_ended.tex",
        "numbers/knowledge-general.svg", "numbers/model-card-general-seed-0.md",
    ],
    "import": ["evidence.parquet"],
    "audit": ["audit/report.html"],
    "domain": ["geography.jsonl", "geography.record.json"],
}  # fmt: skip
SITE = '''
"""No network: an attempt to reach another machine is written down and fails."""
import os, socket

def refused(what):
    def call(*args, **kwargs):
        with open(os.environ["NEWCOMER_ATTEMPTS"], "a") as log:
            print(what, args[-1:], file=log)
        raise OSError("the network is off")
    return call

def guarded(what):
    real = getattr(socket.socket, what)
    blocked = refused(what)
    def call(self, *args):
        return real(self, *args) if self.family == socket.AF_UNIX else blocked(*args)
    return call

for name in ("connect", "connect_ex"):
    setattr(socket.socket, name, guarded(name))
for name in ("getaddrinfo", "gethostbyname"):
    setattr(socket, name, refused(name))
'''


@dataclass(frozen=True)
class Block:
    """A fenced block of the page: its language and its lines."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines that are commands, without their comments."""
        lines = [line.split(" #")[0].strip() for line in self.text.splitlines()]
        return [line for line in lines if re.match(r"(factfade|make|python) ", line)]


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]


def printed(page: str) -> list[str]:
    """The blocks that show output."""
    return [block.text for block in blocks(page) if not block.language and not block.commands]


def filled(command: str) -> str:
    """A command with what its reader puts in for the words in capitals."""
    return " ".join(CHOICES.get(word, word) for word in command.split())


@dataclass(frozen=True)
class Ran:
    command: str
    code: int
    out: str
    err: str
    seconds: float
    processor: float


def children_seconds() -> float:
    """Processor seconds of all ended children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@dataclass
class Newcomer:
    """A folder, and the commands that were run in it."""

    folder: Path
    home: Path

    def __post_init__(self) -> None:
        self.ran: list[Ran] = []
        self.attempts = self.home / "attempts.txt"
        site, bin_ = self.home / "site", self.home / "bin"
        site.mkdir(parents=True)
        bin_.mkdir()
        (site / "sitecustomize.py").write_text(SITE, encoding="utf-8")
        for name, module in (("factfade", "-m factfade "), ("python", "")):
            (bin_ / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module}"$@"\n', encoding="utf-8")
            (bin_ / name).chmod(0o755)
        source = Path(factfade.__file__).parent.parent
        self.environment = {
            "PATH": f"{bin_}:/usr/bin:/bin", "HOME": str(self.home), "PYTHONPATH": f"{site}:{source}",
            "NEWCOMER_ATTEMPTS": str(self.attempts), "LANG": "C.UTF-8", "COLUMNS": "250",
        }  # fmt: skip
        if "OMP_NUM_THREADS" in os.environ:
            self.environment["OMP_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"]

    def run(self, command: str, where: str = "") -> Ran:
        """Runs a line of the page."""
        began, used = time.monotonic(), children_seconds()
        done = subprocess.run(
            shlex.split(command), cwd=self.folder / where, env=self.environment, capture_output=True, text=True,
            check=False, timeout=BUDGET,
        )  # fmt: skip
        one = Ran(
            command, done.returncode, done.stdout, done.stderr, time.monotonic() - began, children_seconds() - used
        )
        self.ran.append(one)
        return one


# ---------------------------------------------------------------------------------------------------------------
# Printed output without what may be another on another machine


def shape(text: str) -> str:
    """Text without its numbers, layout, stages, and lists of formats."""
    formats = r"(?:multiple_choice_few_shot|multiple_choice|no_instruction|short_answer|open_ended)"
    text = re.sub(rf"\b{formats}(?:(?:, | and ){formats})*\b", "FORMATS", " ".join(text.split()))
    return re.sub(r"[-+]?\d[\d,.]*\d|\d", "#", text)


def fragments(text: str) -> list[str]:
    """What of a shown output must be in the real one: it leaves things out at each `...`, and breaks long lines."""
    found: list[str] = []
    table = False
    for part in re.split(r"\n\s*\n", text):
        lines = part.splitlines()
        table = bool(re.search(r"\S\s{2,}\S", lines[0]))
        joined = lines if table else [re.sub(r"\n(?!\w+, seed|  lost|The page|checkpoint-|With )", " ", part.strip())]
        for line in "\n".join(joined).splitlines():
            found += [shape(piece) for piece in line.split("...")]
    return [piece.strip(" ,;") for piece in found if piece.strip(" ,;")]


def row(text: str) -> str:
    """A row of a table: its stage and its marks may be others, too."""
    return re.sub(r"(?<=#) [ABC?] (?=#)", " ", text)


def missing(shown: str, output: str) -> list[str]:
    """What README.md shows and the command did not print."""
    lines = {row(shape(line)) for line in output.splitlines()}
    whole = shape(output)
    found: list[str] = []
    for piece in fragments(shown):
        known = row(piece) in lines or piece in whole
        lost = re.fullmatch(r"lost in \w+: .+ -> .+ \(# of # ways, \w+\)", piece)
        if lost:  # which question is shown, and the wrong answer to it, may be others
            known = any(re.fullmatch(r"lost in \w+: .+ -> .+ \(# of # ways, \w+\)", line) for line in lines)
        if not known:
            found.append(piece)
    return found


# ---------------------------------------------------------------------------------------------------------------


def test_the_page_has_commands_and_shows_output() -> None:
    commands = [command for block in blocks(README) for command in block.commands]
    assert len(commands) >= 18
    assert len(printed(README)) == 2
    assert "demo: install\n\t@.venv/bin/factfade demo $(ARGS)\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_a_page_that_shows_another_output_is_found_out() -> None:
    shown = printed(README)[0]
    whole = "\n".join(fragments(shown))
    assert missing(shown, whole + "\n" + shown) == []
    for old, new in (("knowledge collapse", "knowledge loss"), ("parseable", "readable"), ("The page:", "Page:")):
        assert missing(shown.replace(old, new), shown)
    assert missing(shown, "")


def set_only(value: Any) -> Any:
    """Settings without those that are not set: a TOML file has no null."""
    if isinstance(value, dict):
        return {name: set_only(one) for name, one in value.items() if one is not None}
    return [set_only(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """The whole page, run once from above to below."""
    pytest.importorskip("matplotlib")
    one = Newcomer(tmp_path_factory.mktemp("newcomer"), tmp_path_factory.mktemp("home"))
    # What is the reader's own: an experiment file with its data, logs of another tool, a folder of checkpoints.
    import tomli_w

    settings = small.experiment(small.materials(one.folder), training={"epochs": 2}).model_dump(mode="json")
    (one.folder / "alone").mkdir()
    for folder in (one.folder, one.folder / "alone"):
        (folder / "experiment.toml").write_text(tomli_w.dumps(set_only(settings)), encoding="utf-8")
    shutil.copytree(LOGS, one.folder / "logs")
    shutil.copytree(ROOT / "benchmarks", one.folder / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    (making,) = re.findall(r"`(python benchmarks/planted_checkpoints.py my-checkpoints)`", README)
    for block in blocks(README):
        for command in block.commands:
            if command == "make demo":
                one.run("factfade demo")
            elif command.startswith("factfade audit") and "--dry-run" in command:
                one.run(making)
                one.run(filled(command))
            elif command.startswith("factfade gate"):
                one.run("factfade gate audit --init")
                one.run(filled(command))
            elif not command.startswith("make "):
                one.run(filled(command))
        if block.language == "python":
            (one.folder / "alone" / "script.py").write_text(block.text, encoding="utf-8")
            one.run("python script.py", where="alone")
    return one


pages = pytest.mark.timeout(1500)


@pytest.mark.slow
@pages
def test_every_command_ends_as_the_page_says(newcomer: Newcomer) -> None:
    for one in newcomer.ran:
        words = one.command.split()
        allowed = OTHER_CODES.get(words[1], {0}) if "--init" not in words else {0}
        assert one.code in allowed, f"{one.command}\n{one.out[-2000:]}\n{one.err[-2000:]}"


@pytest.mark.slow
@pages
def test_no_warning_and_no_traceback_is_printed_and_no_machine_is_asked(newcomer: Newcomer) -> None:
    """A line `warning: ...` of the result is a finding about the models, and stands on standard output."""
    for one in newcomer.ran:
        assert "Traceback" not in one.out + one.err, one.command
        assert not re.search(r"\b\w*warn", one.err, re.IGNORECASE), (one.command, one.err[-2000:])
        assert not re.search(r"Warning\b", one.out), (one.command, one.out[-2000:])
    assert not newcomer.attempts.exists(), newcomer.attempts.read_text(encoding="utf-8")


@pytest.mark.slow
@pages
def test_the_promised_files_are_there(newcomer: Newcomer) -> None:
    ran = {one.command.split()[1] for one in newcomer.ran}
    for command, files in PROMISED.items():
        assert command in ran
        for file in files:
            assert (newcomer.folder / file).stat().st_size > 0, (command, file)
    for file in ("policy.toml", "factfade-gate.yml"):
        assert (newcomer.folder / file).is_file()


@pytest.mark.slow
@pages
def test_the_output_is_the_one_that_the_page_shows(newcomer: Newcomer) -> None:
    demo, audit = printed(README)
    first = next(one for one in newcomer.ran if one.command == "factfade demo")
    assert missing(demo, first.out) == []
    audits = "".join(one.out for one in newcomer.ran if one.command.startswith("factfade audit"))
    assert missing(audit, audits) == []


@pytest.mark.slow
@pages
def test_the_first_ten_minutes_are_ten(newcomer: Newcomer) -> None:
    """All commands of the page; only what makes the checkpoints, which are the reader's own, is not counted. On a
    machine that is busy with other things the processor's seconds count."""
    own = [one for one in newcomer.ran if not one.command.startswith("python benchmarks")]
    told = "\n".join(f"{one.seconds:6.1f} s, {one.processor:6.1f} s of processor  {one.command}" for one in own)
    print(told)
    assert min(sum(one.seconds for one in own), sum(one.processor for one in own)) < BUDGET, told

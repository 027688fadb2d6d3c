"""A policy to start from, and the job that runs it: written with the user's own paths, formats, domains and numbers.

Margins follow from the number of questions, never from the results: a margin that is chosen after looking at the loss
decides nothing.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from factfade import compare_looks as looks
from factfade import compare_sides as sides
from factfade import durable
from factfade.compare_sides import shown
from factfade.errors import ConfigError, UsageError
from factfade.policy import load
from factfade.stage_panel import build_panels
from factfade.stage_rule import FLUENCY_MINIMUM, Rule
from factfade.stats.power import items_for_margin

if TYPE_CHECKING:
    from factfade.judging import Case

NO_JOB = "none"
# A share of questions that change their answer from one checkpoint to the next, for the plan: its spread is the root.
CHURN = 0.10
FEWEST = 30
MOST_DOMAINS = 200


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an audit asks: questions by format and by (format, domain), and whether it has fluency."""

    items: dict[str, int]
    domains: dict[str, dict[str, int]]
    nats: bool
    junk: bool
    confidence: bool
    free: bool


def init(audit: str | None, policy: Path, *, ci: str = "github", force: bool = False) -> tuple[Path, ...]:
    """Writes the policy and, beside it, the job of the system `ci` (a name of JOBS, or "none" for the policy alone).
    `audit` names the evidence whose formats and numbers they take. Returns the files.

    Raises ConfigError for another `ci`, and UsageError where one of the files exists (without `force`), or a path
    cannot stand in a job.
    """
    if ci not in (*JOBS, NO_JOB):
        raise ConfigError(f"there is no job for {shown(ci, 60)!r}", hint=f"one of {', '.join((*JOBS, NO_JOB))}")
    jobs = [(policy.parent / name, text) for key, (name, text) in JOBS.items() if key == ci]
    files = (policy, *(path for path, _ in jobs))
    for path in files:
        if path.exists() and not force:
            raise UsageError(f"{path} exists already", hint="give another --policy, or --force to write it again")
    given = audit or "audits/mine"
    for text in (given, str(policy)):
        _plain(text)
    asked = None if audit is None else asked_by(audit)
    text = policy_text(asked, given)
    if str(policy.parent) not in ("", "."):
        durable.make_folder(policy.parent)
    durable.write_text(policy, text)
    load(policy)
    for path, job in jobs:
        durable.write_text(path, job(given, policy))
    return files


def _plain(text: str) -> None:
    if shown(text, 4000) != text or "${{" in text or "$[[" in text:
        raise UsageError(
            f"the path {shown(text, 200)!r} cannot stand in a job's file", hint="give one without control characters"
        )


def asked_by(audit: str) -> Asked:
    """What the evidence asks of generation 0: the formats and domains with their questions."""
    from factfade import judging

    wanted = sides.address(audit)
    path = sides.folder_of(wanted.path)
    case: Case = judging.open_case(path)
    side = sides.pick_from(case, wanted, path=path)
    panels = build_panels(case.evidence, case.fluency, case.own)
    items: dict[str, int] = {}
    domains: dict[str, dict[str, int]] = {}
    confidence = free = False
    for (lineage, seed, name), panel in sorted(panels.formats.items()):
        if lineage != side.lineage or seed != side.seeds[0] or name not in side.formats:
            continue
        items[name] = len(set(panel.items.tolist()))
        confidence = confidence or bool((panel.confidence == panel.confidence).any())
        free = free or bool((panel.parseable == panel.parseable).any())
        of = looks.domains_of(case.evidence, panel)
        for domain in sorted(set(of.tolist()) - {""}):
            domains.setdefault(domain, {})[name] = len(set(panel.items[of == domain].tolist()))
    run = (side.lineage, side.seeds[0])
    return Asked(
        items=items, domains=domains, nats=run in panels.nats, junk=run in panels.junk, confidence=confidence, free=free
    )


def margin_for(n: int, least: float) -> float:
    """The margin that n questions settle in 4 cases of 5 where nothing is lost and CHURN of the answers change, in
    whole points; `least` where they settle that."""
    points = math.ceil(100 * least - 1e-9)
    while points < 100 and (items_for_margin(points / 100, math.sqrt(CHURN)) or 0) > n:
        points += 1
    return min(points, 99) / 100


def policy_text(asked: Asked | None, audit: str) -> str:
    """The commented policy. Without an audit its formats stay open and its domains are an example."""
    rule = Rule()
    n = min(asked.items.values(), default=0) if asked else 0
    least = min(100, n) if asked and n else 100
    knowledge, parse = (margin_for(n, x) if asked and n else x for x in (rule.knowledge, rule.format))
    lines = [
        "# The policy of `factfade gate`: the largest losses that a release may have against generation 0 (the base).",
        "# pass: the loss is shown to be less than its margin; breach: shown to be more; else inconclusive (exit 3).",
        f"# Judge with: factfade gate {shlex.quote(audit)} --policy POLICY --out gate",
        "",
        "[gate]",
        "alpha = 0.05                # one-sided error rate of every bound",
        'family = "none"             # "gate" corrects breaches over all checks (Holm)',
        f"minimum_n = {least:<16} # fewer questions than this carry no verdict",
        f"minimum_prompts = {FLUENCY_MINIMUM:<10} # the same for the fixed prompts of the fluency",
        'checkpoints = "last"        # or "all"',
        'inconclusive = "fail"       # "warn": exit 0 where all that is wrong is too small a sample',
    ]
    if asked:
        lines.append("# Formats that must be there, and are judged:")
        names = [toml_string(name) for name in sorted(asked.items) if not _surrogate(name)]
        lines += ["formats = [", *(f"    {name}," for name in names), "]"]
        counts = ", ".join(f"{shown(name, 60)} {count:,}" for name, count in sorted(asked.items.items()))
        lines += ["", f"# Questions asked: {counts}. The margins below are those that this many can settle."]
    else:
        lines.append('# formats = ["multiple_choice", "open_ended"]   # unset: every format that was asked')
    lines += ["", "[margins]", f"knowledge = {knowledge:<10g} # share of questions: {100 * knowledge:g} points"]
    lines.append(_maybe(asked is None or asked.free, f"format = {parse:<13g} # share of answers that can be read"))
    lines.append(_maybe(asked is None or asked.nats, f"fluency_nats = {rule.fluency_nats:<7g} # nats per token"))
    lines.append(_maybe(asked is None or asked.junk, f"fluency_junk = {rule.fluency_junk:<7g} # share of completions"))
    lines.append(f"# confidence = {rule.confidence:<7g} # rise of answers that are wrong with confidence")
    lines += ["", *_domain_lines(asked)]
    return "\n".join(lines) + "\n"


def _surrogate(text: str) -> bool:
    """Whether the text holds a lone surrogate: no TOML file can name it."""
    return any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def toml_string(text: str) -> str:
    """A TOML basic string in which nothing acts on whoever looks at the file: other marks stand as escapes."""
    return '"' + "".join(c if c not in '"\\' and shown(c) == c else f"\\U{ord(c):08x}" for c in text) + '"'


def _maybe(there: bool, line: str) -> str:
    return line if there else f"# {line}   (not in this evidence)"


def _domain_lines(asked: Asked | None) -> list[str]:
    if asked is None:
        return [
            "# A loss in one domain hides in the whole: give the domains that matter margins of their own.",
            '# [domains."geography"]',
            "# knowledge = 0.05",
            "# minimum_n = 100",
        ]
    lines = ["# A loss in one domain hides in the whole: these are judged by themselves, each in every format."]
    few: list[str] = []
    for domain, counts in sorted(asked.domains.items())[:MOST_DOMAINS]:
        n = min(counts.get(name, 0) for name in asked.items)
        if n < FEWEST or domain == "*":
            few.append(f"{shown(domain, 60)} ({n})")
            continue
        if _surrogate(domain):
            few.append(f"{shown(domain, 60)} ({n})")
            continue
        lines += ["", f"# {n:,} questions in the format that has fewest", f"[domains.{toml_string(domain)}]"]
        lines += [f"knowledge = {margin_for(n, 0.05):g}", f"minimum_n = {min(100, n)}"]
    if few:
        lines += ["", f"# Too few questions for a verdict of their own: {', '.join(few[:50])}"]
    return lines


def github_text(audit: str, policy: Path) -> str:
    """A workflow for GitHub Actions that judges and keeps the verdict."""
    return f"""\
{HEAD}
name: factfade gate
on: [pull_request]
permissions:
  contents: read
jobs:
  gate:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install factfade
      # {EVIDENCE}
      - run: |
          {_command(audit, policy)}
      - if: always()
        run: |
          cat gate/gate.md >> "$GITHUB_STEP_SUMMARY"
      - if: always()
        uses: actions/upload-artifact@v4
        with:
          name: factfade-gate
          path: gate/
"""


def gitlab_text(audit: str, policy: Path) -> str:
    """A job for GitLab that judges and keeps the verdict; its test report shows the checks."""
    return f"""\
{HEAD}
# In .gitlab-ci.yml: include it by its path in the repository, under `include: local:`.
factfade-gate:
  stage: test
  image: python:3.12
  script:
    - pip install factfade
    # {EVIDENCE}
    - |
      {_command(audit, policy)}
  after_script:
    - cat gate/gate.md
  artifacts:
    when: always
    paths:
      - gate/
    reports:
      junit: gate/gate.xml
"""


def _command(audit: str, policy: Path) -> str:
    return f"factfade gate {shlex.quote(audit)} --policy {shlex.quote(str(policy))} --out gate"


HEAD = (
    "# factfade gate as a job. Exit codes: 0 pass, 1 breached, 2 usage, 3 inconclusive or missing, 4 failed, 5 refused."
)
EVIDENCE = "Make the evidence here (`factfade audit CHECKPOINTS --against BASE --out AUDIT`), or fetch it."
# The file of each system, and what writes its text.
JOBS: dict[str, tuple[str, Callable[[str, Path], str]]] = {
    "github": ("factfade-gate.yml", github_text),
    "gitlab": ("factfade-gate.gitlab-ci.yml", gitlab_text),
}

"""The commands for people with checkpoints of their own: audit, compare, gate. They parse, call, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from factfade.cli_common import Allow, Set, problem, show
from factfade.errors import UsageError
from factfade.text import safe_text


def audit(
    paths: Annotated[list[str], typer.Argument(help="Checkpoints: folders, models, adapters, runs, globs, hub names.")],
    against: Annotated[str, typer.Option(help="The base: a model's folder, a hub name, or world.")],
    out: Annotated[Path, typer.Option(help="The audit's folder.")] = Path("audit"),
    config: Annotated[Path | None, typer.Option(help="Settings: a TOML file.")] = None,
    questions: Annotated[
        list[str] | None, typer.Option(help="world, a JSON Lines file, a pack, or a folder of MMLU. Repeatable.")
    ] = None,
    name: Annotated[list[str] | None, typer.Option("--format", help="An instruction format. Repeatable.")] = None,
    items: Annotated[int | None, typer.Option(help="At most so many questions, drawn by the seed.", min=1)] = None,
    corpus: Annotated[str | None, typer.Option(help="Text for the fixed prompts: world, or a file.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Put prompts through the chat template.")] = False,
    override: Set = None,
    quick: Annotated[bool, typer.Option("--quick", help="A part of the questions: a minute on a small model.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, how long, and what it can see.")
    ] = False,
    reuse: Annotated[list[Path] | None, typer.Option(help="An audit whose evidence may be reused. Repeatable.")] = None,
    allow: Allow = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an audit made with other settings.")] = False,
) -> None:
    """Which facts did each checkpoint lose, beside its base? Stages, lost and gained facts, a table and a page."""
    from factfade import audit as auditing
    from factfade import audit_plan, audit_settings

    flags: dict[str, dict[str, Any]] = {
        "audit": {"quick": quick or None},
        "model": {"chat": "chat" if chat else None},
        "corpus": audit_settings.corpus_spec(corpus) if corpus else {},
        "evaluation": {
            "questions": [audit_settings.question_spec(text) for text in questions] if questions else None,
            "formats": name or None,
            "items": items,
        },
    }
    settings = audit_settings.load(config, override or (), flags=flags)
    common: dict[str, Any] = {
        "against": against, "out": out, "settings": settings, "reuse": reuse or (), "allow": allow or (),
    }  # fmt: skip
    if dry_run:
        planned = audit_plan.plan(paths, **common)
        for line in planned.lines():
            print(safe_text(line, limit=2000))
        return
    from factfade.progress import Lines

    done = auditing.audit(paths, **common, force=force, progress=Lines())
    show(done.path)
    for one in done.failures:
        failure = one.failure or {}
        print(problem(f"{one.name}: {failure.get('message')}", str(failure.get("hint", ""))), file=sys.stderr)
    if done.failures:
        raise typer.Exit(max(int((one.failure or {})["exit_code"]) for one in done.failures))


def compare(
    a: Annotated[str, typer.Argument(help="Before: PATH, PATH:LINEAGE, PATH#SEED, PATH@GENERATION or @CHECKPOINT.")],
    b: Annotated[str, typer.Argument(help="After, named like A. Without @ the last generation.")],
    allow: Annotated[list[str] | None, typer.Option("--allow", help="A field that may differ. Repeatable.")] = None,
    all_items: Annotated[bool, typer.Option("--all-items", help="Show every lost and gained question.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Compare two checkpoints, runs, arms or evidence files, question by question."""
    from factfade import compare as comparing
    from factfade import compare_text

    found = comparing.compare(a, b, allow=allow or ())
    if as_json:
        print(json.dumps(compare_text.to_json(found), indent=2, ensure_ascii=True, allow_nan=False))
        return
    for line in compare_text.lines(found, all_items=all_items):
        print(safe_text(line, limit=2000))


def gate(
    audit: Annotated[
        str | None, typer.Argument(help="An audit, experiment, run, evidence, or gate.json; PATH@CHECKPOINT for one.")
    ] = None,
    policy: Annotated[Path, typer.Option(help="The policy's TOML file.")] = Path("policy.toml"),
    out: Annotated[Path | None, typer.Option(help="Folder for gate.json, gate.xml (JUnit) and gate.md.")] = None,
    inconclusive: Annotated[
        str | None, typer.Option(help="fail (exit 3), or warn: exit 0 where only the sample is too small.")
    ] = None,
    init: Annotated[bool, typer.Option("--init", help="Write a commented policy and a job to start from.")] = False,
    ci: Annotated[str, typer.Option(help="With --init: whose job: github, gitlab or none.")] = "github",
    force: Annotated[bool, typer.Option("--force", help="With --init: write over existing files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Judge a checkpoint by a policy. Exit 0 pass, 1 breached, 3 inconclusive or missing."""
    from factfade import gate as gating
    from factfade import gate_files, gate_init
    from factfade import policy as policies

    if init:
        for path in gate_init.init(audit, policy, ci=ci, force=force):
            print(f"Wrote {safe_text(str(path), limit=500)}")
        return
    if audit is None:
        raise UsageError("a gate judges something", hint="factfade gate AUDIT --policy policy.toml")
    rule = policies.load(policy).judging(inconclusive)
    verdict = gating.judge(audit, rule)
    if out is not None:
        gate_files.write(verdict, out)
    if as_json:
        print(gate_files.to_json(verdict), end="")
    else:
        for line in gate_files.lines(verdict):
            print(safe_text(line, limit=2000))
    raise typer.Exit(verdict.exit_code)

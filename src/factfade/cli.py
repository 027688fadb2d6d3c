"""The command line. It parses, calls, prints, sets the exit code; `cli_*` are its groups of commands."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from factfade import cli_arena, cli_checkpoints, cli_domain
from factfade.cli_common import Allow, Force, Out, Set, Workers, existing, problem, show
from factfade.errors import EXIT_FAILED, EXIT_SIGINT, EXIT_SIGTERM, ConfigError, FactfadeError, Stopped, UsageError
from factfade.text import safe_text

if TYPE_CHECKING:  # heavy: imported where used
    from factfade.cli_run import Asked
    from factfade.config import Experiment
    from factfade.sweep import Outcome

app = typer.Typer(
    name="factfade",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find which facts a language model loses when it is trained again and again on text that models wrote.",
)
app.add_typer(cli_domain.app, name="domain")
# typer's own error for wrong commands and options, which it does not export: the parent of the one it does.
USAGE_ERROR = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


@app.command()
def demo(
    out: Out = Path("runs"),
    seed: Annotated[int, typer.Option(help="Run seed: sampling and training order.", min=0)] = 0,
    generations: Annotated[int | None, typer.Option(help="Trainings (default: the demo's).", min=1)] = None,
    workers: Workers = None,
) -> None:
    """Watch facts fade on the embedded world: a small model, three arms, a table and a page, in minutes."""
    from factfade.demo import experiment

    _run(experiment(seed=seed, generations=generations), out, workers=workers, allow=None, force=False)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="The experiment's TOML file, or the folder of one that was begun.")],
    override: Set = None,
    out: Out = Path("runs"),
    workers: Workers = None,
    allow: Allow = None,
    force: Force = False,
    arms: Annotated[list[str] | None, typer.Option(help="Only these arms: a,b. Repeatable.")] = None,
    seeds: Annotated[list[str] | None, typer.Option(help="Only these seeds: 0,1 or 0-4. Repeatable.")] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="End before: 45s, 90m, 3h50, 03:50:00. Exit 75; the same command goes on.")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Say how far it is; runs nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --status: machine-readable output.")] = False,
) -> None:
    """Run all arms and seeds of an experiment file; what is done already is not repeated."""
    from factfade import cli_run

    asked = cli_run.Asked(
        file=file,
        override=override or (),
        out=out,
        arms=cli_run.names(arms),
        seeds=cli_run.numbers(seeds),
        workers=workers,
        allow=allow or (),
        time_limit=time_limit,
    )
    limit = cli_run.seconds(time_limit)
    if status:
        raise typer.Exit(cli_run.show_status(asked, as_json=as_json))
    if as_json:
        raise UsageError("--json belongs to --status", hint="factfade run FILE --status --json")
    experiment = asked.experiment()
    _run(experiment, asked.place, workers=workers, allow=allow, force=force, part=asked, time_limit=limit)


for _command in (cli_checkpoints.audit, cli_checkpoints.compare, cli_checkpoints.gate, cli_arena.arena):
    app.command()(_command)


@app.command()
def report(path: Annotated[Path, typer.Argument(help="An experiment's or an audit's folder, or one run.")]) -> None:
    """Write report.html again from what is stored, and print the table."""
    from factfade import auditfolder

    show(auditfolder.open_folder(existing(path)).root)


@app.command()
def stages(
    path: Annotated[Path, typer.Argument(help="An experiment's folder, one run in it, or evidence of another tool.")],
    rule: Annotated[Path | None, typer.Option(help="Read with another rule: a TOML file of margins.")] = None,
    control: Annotated[str | None, typer.Option(help="The lineage that is every other one's control.")] = None,
    sensitivity: Annotated[bool, typer.Option("--sensitivity", help="How the onsets move with each margin.")] = False,
    why: Annotated[
        bool, typer.Option("--why", help="The reasons of every call, not only of those that change.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Say which stage every arm and format is in, from which generation, and why; and whether facts fell at all."""
    from factfade import analysis, judging, stage_text
    from factfade.stages import Rule

    case = judging.open_case(existing(path), control=control)
    applied = None if rule is None else Rule.from_toml(rule)
    report, findings = case.stages(applied), analysis.beside_stages(case.study(applied))
    moves = case.sensitivity(applied) if sensitivity else ()
    if as_json:
        print(json.dumps(judging.to_json(report, findings, moves), indent=2, ensure_ascii=True))
        return
    for line in stage_text.lines(report, findings, moves, why=why, places=case.places):
        print(safe_text(line, limit=4000))


@app.command()
def analyse(
    path: Annotated[Path, typer.Argument(help="An experiment's folder, one run in it, or evidence of another tool.")],
    kind: Annotated[list[str] | None, typer.Option("--kind", help="One analysis. Repeatable.")] = None,
    control: Annotated[str | None, typer.Option(help="The lineage that is every other one's control.")] = None,
    all_seeds: Annotated[
        bool, typer.Option("--all-seeds", help="Single runs of every seed, not of the first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Trends, slopes and their ratios, losses over time, calibration, decay, diagnostics: each with its interval."""
    from factfade import analysis, judging, stage_text

    case = judging.open_case(existing(path), control=control)
    found = analysis.analyse(case.study(), kind)
    if as_json:
        print(json.dumps(judging.findings_json(found), indent=2, ensure_ascii=True))
        return
    for line in stage_text.findings_lines(found, all_seeds=all_seeds, places=case.places):
        print(safe_text(line, limit=4000))


@app.command()
def metrics(
    path: Annotated[Path, typer.Argument(help="An experiment's folder, one run in it, or evidence of another tool.")],
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="A metric (see `factfade parts`). Repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Every score of every metric with its n and its interval, one line each."""
    from factfade import judging, metrics

    case = judging.open_case(existing(path))
    rows = metrics.compute(*case.tables(), kind)
    if as_json:
        print(json.dumps(metrics.records(rows), indent=2, ensure_ascii=True))
        return
    for line in metrics.lines(rows):
        print(safe_text(line, limit=500))


@app.command("import")
def import_logs(
    kind: Annotated[str, typer.Argument(help="Whose logs: lm-eval or inspect.")],
    paths: Annotated[
        list[str], typer.Argument(help="One log or folder for each generation, from 0 on; or GENERATION=PATH.")
    ],
    out: Annotated[Path, typer.Option(help="The evidence to write: a .parquet or .jsonl file.")],
    lineage: Annotated[str, typer.Option(help="Name of the chain of checkpoints.")] = "imported",
    seed: Annotated[int, typer.Option(help="Seed of the run that made them.", min=0)] = 0,
    name: Annotated[str | None, typer.Option("--format", help="Name of the format (default: the task's).")] = None,
    rule: Annotated[str | None, typer.Option(help="lm-eval: the metric that decides; inspect: the scorer.")] = None,
    answers: Annotated[str | None, typer.Option("--filter", help="lm-eval: the answer filter to read.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write the file again where it exists.")] = False,
) -> None:
    """Turn another tool's logs into evidence that `factfade stages` reads."""
    from factfade import importers

    choices = {"format": name, "rule": rule, "only_filter": answers}
    summary = importers.run(kind, paths, lineage=lineage, seed=seed, out=out, force=force, **choices)
    for line in summary.lines():
        print(safe_text(line, limit=1000))


@app.command("export")
def export_numbers(
    path: Annotated[Path, typer.Argument(help="An experiment's or audit's folder, one run, or foreign evidence.")],
    out: Annotated[Path, typer.Option(help="Folder for the files: an empty or a new one.")],
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="tables, findings, latex, figures or model-card. Repeatable; default: all."),
    ] = None,
    control: Annotated[str | None, typer.Option(help="The lineage that is every other one's control.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in the folder.")] = False,
) -> None:
    """Write the numbers out: parquet and CSV, LaTeX tables, figures, the model-index block of a model card."""
    from factfade.export import export

    done = export(existing(path), out, kinds=kind, control=control, force=force)
    for note in done.notes:
        print(safe_text(note, limit=500))
    print(f"{len(done.files)} files in {safe_text(str(done.path), limit=500)}")


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="An experiment's or audit's folder, or one run in it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Hash every file again, compute every table again, and say what could not be checked. Exit 0 verified, 5 not."""
    from factfade.verify import verify as verified

    found = verified(existing(path))
    if as_json:
        print(json.dumps(found.to_json(), indent=2, ensure_ascii=True))
    else:
        print("\n".join(found.lines()))
    raise typer.Exit(found.exit_code)


@app.command()
def doctor(path: Annotated[Path, typer.Argument(help="Folder whose runs are looked at.")] = Path(".")) -> None:
    """Versions, device, memory, disk, what is missing and the line that installs it."""
    from factfade.doctor import examine

    findings = list(examine(existing(path)))
    for finding in findings:
        line = f"{'ok ' if finding.well else '!! '} {finding.what:<16} {finding.found}"
        print(safe_text(line + (f"   -> {finding.hint}" if finding.hint else ""), limit=500))
    if not all(finding.well for finding in findings):
        raise typer.Exit(4)


@app.command()
def parts() -> None:
    """Every kind of every group, one line each."""
    from factfade import registry

    for group, table in registry.groups():
        print(f"{group}" if table else f"{group}  (none yet)")
        for kind, part in table.items():
            source = f"  [{part.source}]" if part.source else ""
            print(safe_text(f"  {kind:<26} {part.summary}{source}", limit=300))


def _run(
    experiment: Experiment,
    out: Path,
    *,
    workers: int | None,
    allow: list[str] | None,
    force: bool,
    part: Asked | None = None,
    time_limit: float | None = None,
) -> None:
    from factfade import sweep

    arms, seeds = (None, None) if part is None else (part.arms, part.seeds)
    outcome = sweep.run(
        experiment, out, workers=workers, allow=allow or (), force=force, arms=arms, seeds=seeds, time_limit=time_limit
    )
    if not outcome.stopped:
        show(outcome.path, outcome.stages)
    _exit_for(outcome)


def _exit_for(outcome: Outcome) -> None:
    for failure in outcome.failures:
        print(
            problem(
                f"{failure['label']}, generation {failure['generation']}: {failure['message']}", str(failure["hint"])
            ),
            file=sys.stderr,
        )
    if outcome.stopped:
        raise Stopped(
            "stopped before the time limit; what is done is kept",
            hint="type the same command again to go on; with --status it says how far it is",
        )
    if outcome.failures:
        raise typer.Exit(max(int(f["exit_code"]) for f in outcome.failures))


def _terminated(number: int, frame: FrameType | None) -> Any:
    del frame
    raise SystemExit(128 + number)


def main() -> None:
    """Entry point: errors for users say what to type instead, and show no traceback."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        # Without its standalone mode typer hands an Exit's code back instead of leaving with it.
        code = app(standalone_mode=False)
        if code == EXIT_SIGINT:  # it takes Ctrl-C for such an Exit
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except FactfadeError as error:
        print(problem(error.message, error.hint), file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is ending: one more would only add a traceback
        print("factfade: stopped; what is done is kept: run the same command again to go on", file=sys.stderr)
        sys.exit(EXIT_SIGINT)
    except SystemExit as stop:
        if stop.code == EXIT_SIGTERM:
            print("factfade: terminated; what is done is kept: run the same command again to go on", file=sys.stderr)
        raise
    except USAGE_ERROR as error:
        print(problem(error.format_message(), "factfade --help lists commands and options"), file=sys.stderr)
        sys.exit(ConfigError.exit_code)
    except OSError as error:
        print(problem(f"it failed: {error}", "check the path, its permissions and the disk"), file=sys.stderr)
        sys.exit(EXIT_FAILED)
    except Exception:  # noqa: BLE001  (a fault of ours: shown whole, and never with the exit code of a breached gate)
        traceback.print_exc()
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()

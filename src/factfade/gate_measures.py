"""What a gate judges: the losses that a policy asks for, measured and not yet compared with any margin."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from factfade import auditfolder
from factfade import compare_looks as looks
from factfade import compare_sides as sides
from factfade.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_REFUSED, DataError
from factfade.judging import Case
from factfade.policy import EVERY, Policy
from factfade.records import PROBES
from factfade.stage_conditions import Look
from factfade.stage_panel import Panel, Panels, build_panels

GATE_VERSION = 2
MAX_JSON = 64 * 2**20


@dataclass(frozen=True, kw_only=True, order=True)
class Candidate:
    """A checkpoint that is judged. `weights` and `evidence` are the identities of its weights and its evaluation,
    and of generation 0's, where the store has them."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    lineage: str
    seed: int
    generation: int
    checkpoint: str = ""
    step: int | None = None
    weights: str = ""
    evidence: str = ""
    base_weights: str = ""
    base_evidence: str = ""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One loss as it was measured, before any verdict: what a policy is applied to.

    `deviation` and `clusters` are those of `Interval`; `n` counts `units`. `p` is one-sided, of "the loss is at most
    `margin`". `unpaired` of `of` questions or prompts have a value on one side only. `problem` says why there is no
    loss ("" where there is one).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    lineage: str
    seed: int
    generation: int
    endpoint: str
    format: str = ""
    domain: str = ""
    margin: float = 0.0
    loss: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.9
    n: int = 0
    answers: int = 0
    clusters: int = 0
    deviation: float | None = None
    units: str = "items"
    unit: str = "share"
    method: str = ""
    words: str = ""
    p: float | None = None
    unpaired: int = 0
    of: int = 0
    problem: str = ""

    @property
    def key(self) -> tuple[str, int, int, str, str, str]:
        return self.lineage, self.seed, self.generation, self.endpoint, self.format, self.domain


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a checkpoint could not be evaluated. `exit_code` is 5 where it was refused, 4 where its evaluation failed,
    and 3 where nothing is said but that there is no evaluation."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    sentence: str
    exit_code: Literal[3, 4, 5] = EXIT_FAILED


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything that was measured for a policy: the candidates, what they were asked, and the losses.

    `formats` were asked of the candidates or their generation 0; `domains` are those that a format asks about.
    `failures` say which checkpoints of an audit could not be evaluated.
    """

    candidates: tuple[Candidate, ...]
    formats: tuple[str, ...]
    domains: tuple[str, ...]
    measures: tuple[Measure, ...]
    failures: tuple[Failure, ...] = ()


Cell = tuple[str, str, str, float, int]


def cells(policy: Policy, formats: Sequence[str], domains: Sequence[str]) -> Iterator[Cell]:
    """Every check of one candidate: (endpoint, format, domain, margin, minimum number of units).

    The policy's formats and domains are asked for whether or not the evidence has them.
    """
    gate, overall = policy.gate, policy.margins.margins()
    asked = sorted(gate.formats or formats)
    named = sorted(
        {name for name in policy.domains if name != EVERY} | (set(domains) if EVERY in policy.domains else set())
    )
    for name in asked or [""]:
        for endpoint in looks.ITEM_ENDPOINTS:
            if endpoint in overall:
                yield endpoint, name, "", overall[endpoint], gate.minimum_n
        for domain in named:
            table = policy.domain(domain)
            for endpoint, margin in (table.margins() if table else {}).items():
                yield endpoint, name, domain, margin, (table.minimum_n if table else None) or gate.minimum_n
    for endpoint in looks.TEXT_ENDPOINTS:
        if endpoint in overall:
            yield endpoint, "", "", overall[endpoint], gate.minimum_prompts


def measure(case: Case, policy: Policy, *, wanted: sides.Address | None = None, path: Path | None = None) -> Measured:
    """The losses that the policy asks for, of the checkpoint named by `wanted`, else of those the policy names."""
    wanted = wanted or sides.Address(path=Path())
    last = sides.pick_from(case, wanted, path=path)
    panels = build_panels(case.evidence, case.fluency, case.own)
    own = {key: panel for key, panel in panels.formats.items() if key[0] == last.lineage and key[2] not in PROBES}
    there = sorted(
        {g for (_, seed, _), panel in own.items() if seed in _seeds(case, last, wanted) for g in panel.generations}
    )
    every = wanted.where is None and policy.gate.checkpoints == "all"
    generations = [g for g in there if g > 0] if every else [last.generation]
    candidates = [
        _candidate(case, path, last.lineage, seed, generation)
        for seed in _seeds(case, last, wanted)
        for generation in generations
        if generation > 0
    ]
    relevant = {0, *generations}
    formats = sorted({key[2] for key, panel in own.items() if relevant & set(panel.generations)})
    by_format = {key: looks.domains_of(case.evidence, panel) for key, panel in own.items()}
    domains = sorted({name for key in own for name in by_format[key].tolist() if name})
    measures = [
        _measure(panels, own, by_format, policy, candidate, cell)
        for candidate in candidates
        for cell in cells(policy, formats, domains)
    ]
    failures = _failures(path) if wanted.where is None else ()
    return Measured(
        candidates=tuple(candidates), formats=tuple(formats), domains=tuple(domains), measures=tuple(measures),
        failures=failures,
    )  # fmt: skip


def _seeds(case: Case, last: sides.Picked, wanted: sides.Address) -> list[int]:
    """Every seed of the lineage: one whose training stopped early lacks the last checkpoint, and does not pass."""
    if wanted.seed is not None:
        return [wanted.seed]
    evidence = case.evidence
    return sorted({int(seed) for seed in evidence.loc[evidence["lineage"] == last.lineage, "seed"]})


def _candidate(case: Case, path: Path | None, lineage: str, seed: int, generation: int) -> Candidate:
    evidence = case.evidence
    mine = (evidence["lineage"] == lineage) & (evidence["seed"] == seed) & (evidence["generation"] == generation)
    name, step = sides.named(evidence[mine])
    ids: list[str] = []
    for at in (generation, 0):
        record = sides.record_of(path, lineage, seed, at)
        inputs = {} if record is None else record.key.get("inputs", {})
        ids += [
            str(inputs.get("checkpoint", "")) if isinstance(inputs, dict) else "",
            record.identity if record else "",
        ]
    return Candidate(
        lineage=lineage, seed=seed, generation=generation, checkpoint=name, step=step, weights=ids[0], evidence=ids[1],
        base_weights=ids[2], base_evidence=ids[3],
    )  # fmt: skip


def _measure(
    panels: Panels,
    own: Mapping[tuple[str, int, str], Panel],
    domains: Mapping[tuple[str, int, str], Any],
    policy: Policy,
    candidate: Candidate,
    cell: Cell,
) -> Measure:
    endpoint, format, domain, margin, minimum = cell
    test = looks.testing(endpoint, margin, level=policy.level, minimum=minimum)
    texts = endpoint in looks.TEXT_ENDPOINTS
    blank = Measure(
        lineage=candidate.lineage, seed=candidate.seed, generation=candidate.generation, endpoint=endpoint,
        format=format, domain=domain, margin=margin, level=policy.level, unit=test.unit,
        units="prompts" if texts else "items",
    )  # fmt: skip
    if texts:
        run = (candidate.lineage, candidate.seed)
        look = looks.text_look(test, panels, run, 0, candidate.generation)
        unpaired = looks.unpaired_texts(endpoint, panels, run, 0, candidate.generation)
    else:
        key = (candidate.lineage, candidate.seed, format)
        panel = own.get(key)
        if panel is None or not {0, candidate.generation} <= set(panel.generations):
            which = "the format was not asked" if panel is None else "the format was asked of one of the two only"
            return replace(blank, problem=which if format else "no format was asked")
        if domain:
            chosen = domains[key] == domain
            if not chosen.any():
                return replace(blank, problem="no question of the domain was asked in this format")
            panel = looks.part(panel, chosen)
        before, after = (panel.generations.index(g) for g in (0, candidate.generation))
        changed = looks.changed_prompts(panels, panel, before, after)
        if changed:
            what = " and ".join(f"another {name} for {count:,} questions" for name, count in sorted(changed.items()))
            return replace(blank, problem=f"not asked as generation 0 was: {what}")
        look = looks.item_look(test, panel, before, after, tau=policy.gate.tau)
        unpaired = looks.unpaired_items(endpoint, panel, before, after)
    blank = replace(blank, unpaired=unpaired.total, of=unpaired.of)
    if not isinstance(look, Look):
        return replace(blank, problem=look.sentence)
    return _filled(blank, look)


def _filled(blank: Measure, look: Look) -> Measure:
    found = look.found
    numbers = (found.value, found.low, found.high, found.deviation)
    if any(x is not None and not math.isfinite(x) for x in numbers) or found.value is None:
        return replace(blank, n=look.n, problem="the loss is no finite number")
    return replace(
        blank, loss=found.value, low=found.low, high=found.high, n=look.n, answers=found.n, clusters=found.clusters,
        deviation=found.deviation, method=found.method, words=look.words, p=look.p,
    )  # fmt: skip


def _failures(path: Path | None) -> tuple[Failure, ...]:
    """What an audit's record says of checkpoints that could not be evaluated. DataError where it is no record."""
    if path is None or not auditfolder.is_audit(path):
        return ()
    record = auditfolder.open_audit(path).record()
    if not record:
        return (Failure(sentence="the audit has not come to its end", exit_code=EXIT_INCONCLUSIVE),)
    rows, failures = record.get("checkpoints", []), record.get("failures", [])
    if not isinstance(rows, list) or not isinstance(failures, list):
        raise DataError("it is no record of an audit", file=path / auditfolder.RECORD, hint="run the audit again")
    said = {str(row.get("name", "")): row.get("failure") for row in rows if isinstance(row, dict)}
    return tuple(_failure(str(name), said.get(str(name))) for name in failures)


def _failure(name: str, failure: Any) -> Failure:
    told = failure if isinstance(failure, dict) else {}
    why = f": {sides.shown(told['message'], 300)}" if told.get("message") else ""
    return Failure(
        sentence=f"the checkpoint {sides.shown(name, 100)} could not be evaluated{why}",
        exit_code=EXIT_REFUSED if told.get("exit_code") == EXIT_REFUSED else EXIT_FAILED,
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_JSON:
            raise DataError(f"it is larger than {MAX_JSON:,} bytes", file=file)
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"it cannot be read as JSON: {error}", file=file, hint="run the command that wrote it"
        ) from None
    if not isinstance(data, dict):
        raise DataError("it holds no JSON object", file=file, hint="run the command that wrote it")
    return data


def read_measured(file: Path) -> Measured:
    """The measures in a verdict's JSON, to be judged by a policy without the evidence. DataError for anything else."""
    data = _json(file)
    hint = "give the folder of an audit, or the gate.json that `factfade gate --out` wrote"
    if data.get("gate_version") != GATE_VERSION or not isinstance(data.get("measured"), dict):
        raise DataError("it is no verdict of a gate", file=file, hint=hint)
    try:
        found = TypeAdapter(Measured).validate_json(json.dumps(data["measured"]))
    except (ValidationError, ValueError) as error:
        said = str(error).splitlines()
        raise DataError(
            f"its measures are damaged: {sides.shown(' '.join(said[1:3]), 300)}", file=file, hint=hint
        ) from None
    for one in found.measures:
        ends = [x for x in (one.low, one.loss, one.high) if x is not None]
        if ends != sorted(ends) or min(one.n, one.answers, one.clusters, one.unpaired) < 0 or one.unpaired > one.of:
            raise DataError("a measure's numbers contradict one another", file=file, hint=hint)
    if len({one.key for one in found.measures}) < len(found.measures):
        raise DataError("a measure stands twice", file=file, hint=hint)
    return found

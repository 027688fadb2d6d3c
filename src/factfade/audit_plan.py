"""What an audit would do, before it does it: which checkpoints run, how long, in how much memory, and what it can see.

Time and memory come from the base's stored evaluation where there is one, else from a small part of the same
evaluation, asked of the base into a folder that is removed again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from factfade import checkpoints, evaluate, store
from factfade.assembly import Parts, assemble
from factfade.audit_settings import AuditSettings
from factfade.auditfolder import SERIES
from factfade.errors import FactfadeError
from factfade.evidence_cache import STEP, Evidence, content_of, key_of
from factfade.identity import BITS, tensors
from factfade.models import loading, lora
from factfade.progress import Silent
from factfade.records import PROBES
from factfade.sections import StagesSection
from factfade.stats.power import detectable_drop, detectable_excess
from factfade.text import safe_text

SAMPLE_ITEMS = 32
SAMPLE_TEXTS = 8
# The share of answers that change between two checkpoints, lost and gained together, that powers are stated at.
CHURN = 0.10
FAMILIES = {
    "run": "all endpoints and formats of all checkpoints",
    "generation": "all endpoints and formats of a checkpoint",
    "none": "each alone",
}
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One checkpoint of the plan. `state` is "evaluate", "stored" (nothing to do), "copy" (the same
    content as another one, named in `reason`) or "refused", with its reason."""

    name: str
    path: str
    kind: str
    step: int | None
    state: str
    reason: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an audit would do. `seconds` and `memory` (bytes) are estimates, None where nothing has to run.

    `asked` counts the questions by format; `drop` is the loss of knowledge, in shares, that a format's items show with
    80 % power when 10 % of the answers change (None where only a larger one than those 10 %), and `stage_b` the loss
    from which stage B is shown so: each in one look alone. The `_family` of both is the same where the rule corrects
    for all of its `looks` (Holm's first step, the strictest: alpha over their number).
    """

    base: Planned
    checkpoints: tuple[Planned, ...]
    asked: Mapping[str, int]
    domains: Mapping[str, int]
    prompts: int
    seconds: float | None
    memory: int | None
    measured: str
    drop: float | None
    drop_family: float | None
    stage_b: float
    stage_b_family: float
    looks: int
    family: str
    margin: float
    minimum_n: int
    quick: bool

    @property
    def to_run(self) -> int:
        """How many models would be asked, the base with them."""
        return sum(one.state == "evaluate" for one in (self.base, *self.checkpoints))

    def lines(self) -> Iterator[str]:
        """The plan for a terminal."""
        yield f"The base: {self.base.path} ({_state(self.base)})"
        yield f"{len(self.checkpoints)} checkpoints in step order:"
        for one in self.checkpoints:
            step = "no step" if one.step is None else f"step {one.step}"
            yield f"  {one.name:<32} {step:<12} {one.kind:<8} {_state(one)}"
        total = sum(self.asked.values())
        formats = ", ".join(f"{name} {count}" for name, count in self.asked.items())
        yield f"Each is asked {total} questions ({formats}) and continues {self.prompts} fixed prompts."
        if self.seconds is None or self.memory is None:
            yield "Nothing has to run: all evidence is stored."
        else:
            yield (
                f"{self.to_run} models have to run: about {_duration(self.seconds)} and {self.memory / 1e9:.1f} GB of "
                f"memory at the peak ({self.measured})."
            )
        yield from self.sight()

    def sight(self) -> Iterator[str]:
        """What this many items can show, and what they cannot."""
        n = min(self.asked.values(), default=0)
        points = f"{100 * self.margin:.0f} points"
        yield (
            f"With {n} questions a format, in one look alone: {_drop(self.drop)} is found in 4 of 5 cases, and stage B "
            f"(a loss beyond {points}) from a loss of about {100 * self.stage_b:.0f} points on."
        )
        if self.looks > 1:
            yield (
                f"The stage rule corrects {self.looks} looks together ({FAMILIES[self.family]}; Holm), so that a call "
                f"needs more: {_drop(self.drop_family)}, and stage B from a loss of about "
                f"{100 * self.stage_b_family:.0f} points on, at Holm's first and strictest step."
            )
        yield (
            f"Both hold where {100 * CHURN:.0f} of 100 answers change between two checkpoints and questions are "
            "independent."
        )
        small = [f"{name or 'no domain'} ({count})" for name, count in self.domains.items() if count < self.minimum_n]
        if small:
            yield f"No call for a domain of fewer than {self.minimum_n} questions: {', '.join(small[:12])}."
        if self.quick:
            yield (
                "Quick: a part of the questions in two formats. It does not see smaller losses, single domains, the "
                "other formats, and rare confident errors: leave --quick out before you rely on it."
            )


def _drop(drop: float | None) -> str:
    return f"no drop up to {100 * CHURN:.0f} points" if drop is None else f"a drop of {100 * drop:.1f} points"


def _looks(rule: StagesSection, formats: int, compared: int) -> int:
    """How many comparisons the rule corrects together: knowledge and format in every format, two of fluency."""
    each = 2 * formats + 2
    return {"run": each * max(compared, 1), "generation": each, "none": 1}[rule.family]


def _state(one: Planned) -> str:
    words = {
        "evaluate": "to be evaluated",
        "stored": "stored already",
        "copy": "the same weights, tokenizer and template as ",
        "refused": "refused: ",
    }
    return words[one.state] + one.reason


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def plan(
    paths: Iterable[str | Path],
    *,
    against: str | Path,
    out: str | Path,
    settings: AuditSettings | None = None,
    reuse: Sequence[Path] = (),
    allow: Sequence[str] = (),
) -> Plan:
    """The plan of `audit.audit` with the same arguments. Writes nothing; loads the base for a sample where it has to.

    Raises what `audit.audit` raises for paths, settings, questions and the base.
    """
    found = checkpoints.discover(paths, skip=[Path(out)])
    base = checkpoints.single(against)
    asked = (settings or AuditSettings()).resolved(base)
    parts = assemble(asked.experiment(), SERIES)
    for part in (*parts.questions, parts.common_corpus):
        part.check()
    base_content, evidence = content_of(base), Evidence(Path(out), reuse)
    stored = evidence.find(key_of(parts, base_content, base_content), allow=allow)
    start = Planned(name="base", path=str(against), kind="model", step=None, state="stored" if stored else "evaluate")
    planned: list[Planned] = []
    seen = {key_of(parts, base_content, base_content).sha256: "the base"}
    for one in found:
        row = Planned(name=one.label, path=str(one.path), kind=one.kind, step=one.step, state="evaluate")
        try:
            (lora.look_through if one.kind == "adapter" else loading.look_through)(one.path)
            key = key_of(parts, content_of(one.path, base=base, base_content=base_content), base_content)
            same = seen.setdefault(key.sha256, row.name)
            if evidence.find(key, allow=allow) is not None:
                row = replace(row, state="stored")
            elif same != row.name:
                row = replace(row, state="copy", reason=same)
            planned.append(row)
        except FactfadeError as error:
            reason = safe_text(error.message, limit=200)
            planned.append(replace(row, state="refused", reason=reason, exit_code=error.exit_code))
    counts, domains = _counts(parts)
    wanted = [one for one in planned if one.state == "evaluate"]
    seconds, memory, measured = None, None, ""
    if wanted or not stored:
        if stored:
            one_model, peak = float(stored.times["seconds"]), int(stored.times["peak_memory_bytes"])
            measured = "as the base took"
        else:
            one_model, peak, measured = _sample(asked, base)
        seconds = one_model * (len(wanted) + (not stored))
        memory = peak + max((_weights(Path(one.path), asked.model.dtype) for one in wanted), default=0)
    n, rule = min(counts.values(), default=0), asked.stages
    looks = _looks(rule, len(counts), sum(one.state != "refused" for one in planned))
    drop, stage_b = _sees(n, rule, 1)
    drop_family, stage_b_family = _sees(n, rule, looks)
    return Plan(
        base=start,
        checkpoints=tuple(planned),
        asked=counts,
        domains=domains,
        prompts=asked.evaluation.prompts,
        seconds=seconds,
        memory=memory,
        measured=measured,
        drop=drop,
        drop_family=drop_family,
        stage_b=stage_b,
        stage_b_family=stage_b_family,
        looks=looks,
        family=rule.family,
        margin=rule.knowledge,
        minimum_n=rule.minimum_n,
        quick=asked.audit.quick,
    )


def _sees(n: int, rule: StagesSection, looks: int) -> tuple[float | None, float]:
    """The drop that n questions show, and the loss from which they show stage B, at the error rate over the looks."""
    alpha = rule.alpha / looks
    drop = detectable_drop(n, CHURN, alpha=alpha) if n else None
    return drop, rule.knowledge + (detectable_excess(n, CHURN**0.5, alpha=alpha) if n else 1.0)


def _counts(parts: Parts) -> tuple[dict[str, int], dict[str, int]]:
    """How many questions each format puts (an upper bound: what does not fit the context is not asked), and how many
    each domain has."""
    settings = parts.plan.evaluation
    whole = [(question, part.dev()) for part in parts.questions for question in part.items()]
    share = min(1.0, settings.items / len(whole)) if settings.items and whole else 1.0
    asked: dict[str, int] = {}
    for form in parts.formats:
        if form.name not in PROBES:
            puts = (one for question, dev in whole for one in form.ask(question, dev=dev, seed=settings.seed))
            asked[form.name] = round(share * sum(one.not_asked is None for one in puts))
    domains: dict[str, int] = {}
    for question, _ in whole:
        domains[question.domain] = domains.get(question.domain, 0) + 1
    return asked, {name: round(share * count) for name, count in sorted(domains.items())}


def _sample(asked: AuditSettings, base: Path) -> tuple[float, int, str]:
    """Seconds and peak memory of one model, from a part of its evaluation."""
    full = asked.evaluation
    small: dict[str, Any] = {
        "items": min(full.items or SAMPLE_ITEMS, SAMPLE_ITEMS),
        "texts": min(full.texts, SAMPLE_TEXTS),
        "prompts": min(full.prompts, SAMPLE_TEXTS),
    }
    settings = asked.model_copy(update={"evaluation": full.model_copy(update=small)})
    parts = assemble(settings.experiment(), SERIES)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, parts.model(base).open() as model:
        opened = time.monotonic() - began
        material = evaluate.prepare(
            settings.evaluation, parts.common, parts.questions, parts.formats, parts.common_corpus, model
        )
        step = store.step(Path(folder), STEP, parts.evaluate_key({}))
        done = evaluate.evaluate(
            model, None, material, settings.evaluation, step, lineage=SERIES, seed=0, generation=0, progress=Silent()
        )
    times = done["times"]
    total = min(full.items or material.counts["questions"], material.counts["questions"])
    items = total / max(len(material.items), 1)
    own = max(
        full.prompts / small["prompts"] if small["prompts"] else 0.0,
        full.texts / small["texts"] if small["texts"] else 0.0,
    )
    evidence = float(times["evidence_seconds"])
    seconds = opened + items * evidence + own * (float(times["seconds"]) - evidence)
    return seconds, int(times["peak_memory_bytes"]), f"from {len(material.items)} questions put to the base"


def _weights(folder: Path, dtype: str) -> int:
    """Bytes of a checkpoint's weights once they are loaded."""
    return sum((tensor.end - tensor.begin) * 8 // BITS[tensor.dtype] for tensor in tensors(folder)) * BYTES[dtype]

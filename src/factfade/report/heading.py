"""What stands above the arms: what was done, the facts of the run, and what to know before the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from factfade.columns import as_text
from factfade.places import Places
from factfade.report import record
from factfade.report.material import Material, section
from factfade.verdicts import StageReport

# Checkpoints whose numbers the page explains.
NUMBERED = 12
# Artefact guards that stand before everything else; the others are among the notes.
SHOWN_GUARDS = 6


def lede(
    material: Material, places: Places, arms: Sequence[str], generations: Sequence[int], formats: Sequence[str]
) -> str:
    """What was done, and the question."""
    if material.audited:
        return _audit_lede(material, places, generations, formats)
    last = max(generations, default=0)
    asked = material.evidence["item"].nunique()
    times = "once" if last == 1 else f"{last} times in a row"
    after = "every one" if len(generations) == last + 1 else f"{len(generations) - 1} of them"
    arm = "one arm" if len(arms) == 1 else f"{len(arms)} arms"
    form = "one instruction format" if len(formats) == 1 else f"{len(formats)} instruction formats"
    model = str(section(material.settings, "model").get("path") or "the start model")
    return (
        f"The model {model} was trained {times} in {arm}. The same {asked:,} questions, in {form}, were put to it "
        f"before the first training and after {after}. Which facts did it lose, and did it lose anything else?"
    )


def _audit_lede(material: Material, places: Places, generations: Sequence[int], formats: Sequence[str]) -> str:
    count, asked = len([g for g in generations if g]), material.evidence["item"].nunique()
    form = "one instruction format" if len(formats) == 1 else f"{len(formats)} instruction formats"
    many = "One checkpoint was" if count == 1 else f"{count} checkpoints were"
    return (
        f"{many} compared with the base that they come from: the same {asked:,} questions, in {form}, were put to "
        f"each. Which facts did each lose, and did it lose anything else?{_numbered(places, generations)}"
    )


def _numbered(places: Places, generations: Sequence[int]) -> str:
    """Which checkpoint stands behind which number of an axis, where the axis shows no steps."""
    own = [g for g in generations if g]
    if places.axis == "step" or not own:
        return ""
    listed = [f"{places.tick(g)} {places.at(g)}" for g in own[:NUMBERED]]
    more = f", and so on to {places.tick(own[-1])}" if len(own) > NUMBERED else ""
    return f" In the figures checkpoints are numbered in their order: {', '.join(listed)}{more}."


def facts(
    material: Material, arms: Sequence[str], seeds: Sequence[int], generations: Sequence[int], formats: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Name and value of what a reader asks for first."""
    model, about = section(material.settings, "model"), section(material.settings, "experiment")
    domains = sorted({str(d) for d in as_text(material.evidence, "domain")} - {""})
    shown = ", ".join(domains[:6]) + (f" and {len(domains) - 6} more" if len(domains) > 6 else "")
    run = [
        ("arms", ", ".join(arms)),
        ("seeds", ", ".join(str(s) for s in seeds)),
        ("trainings", record.value(about.get("generations")) or str(max(generations, default=0))),
        ("evaluated generations", ", ".join(str(g) for g in generations)),
    ]
    whole = record.value(model.get("path"))
    if material.audited:
        run = [("checkpoints", str(len([g for g in generations if g])))]
        whole = record.value(material.environment.get("against")) or whole
    facts = [
        ("base" if material.audited else "model", f"{whole} ({record.value(model.get('dtype'))})" if model else ""),
        *run,
        ("questions", f"{material.evidence['item'].nunique():,}" + (f" ({shown})" if shown else "")),
        ("formats", ", ".join(f.replace("_", " ") for f in formats)),
        ("made with", "factfade " + record.value(section(material.environment, "versions").get("factfade"))),
    ]
    return tuple((k, v.strip()) for k, v in facts if v.strip())


def guards(report: StageReport) -> tuple[str, ...]:
    """The first artefact guards, and how many more there are."""
    more = len(report.guards) - SHOWN_GUARDS
    rest = (f"{more} more warnings of this kind are among the notes.",) if more > 0 else ()
    return (*report.guards[:SHOWN_GUARDS], *rest)


def warnings(material: Material, arms: Sequence[str], seeds: Sequence[int]) -> tuple[str, ...]:
    """What a reader must know before the numbers: missing runs, missing generations, marked settings."""
    if material.audited:
        return tuple(f"{name} could not be evaluated: {reason}" for name, reason in material.failures)
    found: list[str] = []
    about = section(material.settings, "experiment")
    planned = [int(s) for s in about.get("seeds") or seeds]
    last = about.get("generations")
    evidence = material.evidence
    wanted = list(section(material.settings, "arms")) or list(arms)
    for arm in wanted:
        for seed in planned:
            if material.only is not None and (arm, seed) not in material.only:
                continue
            rows = evidence[(evidence["lineage"] == arm) & (evidence["seed"] == seed)]
            reached = int(rows["generation"].max()) if len(rows) else None
            if reached is None:
                found.append(f"Arm {arm}, seed {seed} has no evidence yet.")
            elif isinstance(last, int) and reached < last:
                found.append(f"Arm {arm}, seed {seed} is evaluated up to generation {reached} of {last}.")
    if section(material.settings, "synthesis").get("padding") == "right":
        found.append("Synthesis padded on the right: this replicates a published artefact and writes junk.")
    return tuple(found)

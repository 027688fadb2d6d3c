"""Tables of docs/reproduction.md out of a run's folder: `python benchmarks/reproduction.py [--analyses] RUN [RUN ...]`.

Every number is computed from the stored evidence. Over several seeds: mean of the seeds' values with a t interval over
seeds (the run is the unit; seeds share the pretrained model and the items). With one seed: the value with a Wilson
interval over items.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from factfade import analysis, judging, reading, store, sweep
from factfade.records import PARSEABLE
from factfade.stats.intervals import wilson_bounds


def over_seeds(values: pd.Series, counts: pd.Series) -> str:
    """Mean of per-seed shares with a 95% interval, in percent."""
    n = len(values)
    if n == 1:
        share, count = float(values.iloc[0]), int(counts.iloc[0])
        low, high = wilson_bounds(share * count, count, 1.959964)
        return f"{100 * share:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    mean, half = values.mean(), scipy_stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return f"{100 * mean:.1f} ± {100 * half:.1f}"


def nats(values: pd.Series) -> str:
    """Mean of per-seed nats with a 95% t interval over seeds where there are several."""
    if values.nunique() < 2:
        return f"{values.mean():.3f}"
    half = scipy_stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} ± {half:.3f}"


def rows_of(evidence: pd.DataFrame, column: str, by: list[str]) -> pd.DataFrame:
    """A table with one row per value of `by` and one column per generation, from a 0/1 column of the evidence."""
    seeded = evidence.groupby([*by, "generation", "seed"])[column].agg(["mean", "count"]).reset_index()
    # Generation 0 is the same model for every seed: one value, not many.
    seeded = seeded[(seeded["generation"] > 0) | (seeded["seed"] == seeded["seed"].min())]
    cells = seeded.groupby([*by, "generation"]).apply(
        lambda part: over_seeds(part["mean"], part["count"]), include_groups=False
    )
    return cells.unstack("generation")


def markdown(table: pd.DataFrame) -> Iterator[str]:
    names = [str(n) for n in table.index.names]
    yield "| " + " | ".join([*names, *(f"g{g}" for g in table.columns)]) + " |"
    yield "|" + "---|" * (len(names) + len(table.columns))
    for index, row in table.iterrows():
        labels = index if isinstance(index, tuple) else (index,)
        yield "| " + " | ".join([*map(str, labels), *("" if pd.isna(v) else str(v) for v in row)]) + " |"


def report(root: Path) -> Iterator[str]:
    folder = store.open_experiment(root)
    evidence = reading.load_evidence(folder)
    asked = evidence[evidence["outcome"].ne("not_asked")].copy()
    asked["right"] = asked["choice_correct"].astype("float")
    asked["parseable"] = asked["outcome"].isin(PARSEABLE).astype("float")
    seeds = sorted(asked["seed"].unique())
    yield f"## {root.name}\n\n{len(seeds)} seed(s), {asked['item'].nunique()} items.\n"
    yield "Knowledge (right by choice, %):\n"
    yield from markdown(rows_of(asked[asked["right"].notna()], "right", ["lineage", "format"]))
    yield "\nFormat (free answers that can be parsed, %):\n"
    yield from markdown(rows_of(asked, "parseable", ["lineage", "format"]))
    yield "\nKnowledge by domain, open_ended (%):\n"
    opened = asked[asked["format"].eq("open_ended") & asked["right"].notna()]
    if len(opened):
        yield from markdown(rows_of(opened, "right", ["lineage", "domain"]))
    own = reading.load_fluency(folder)
    own = own[own["kind"].isin(("own_under_start", "held_out"))].copy()
    own["nats"] = own["nll"] / own["tokens"]
    per = own.groupby(["lineage", "kind", "generation", "seed"])[["nll", "tokens"]].sum().reset_index()
    per["nats"] = per["nll"] / per["tokens"]
    cells = per.groupby(["lineage", "kind", "generation"])["nats"].agg(nats)
    yield "\nFluency (mean nats per token; own text under the start model, and held-out human text):\n"
    yield from markdown(cells.unstack("generation"))
    yield "\nStage onsets by seed (format: generation, * = provisional):\n"
    found = sweep.call(root)
    lines = []
    for onset in found.onsets:
        if onset.stage in ("B", "C"):
            mark = "*" if onset.provisional else ""
            lines.append((onset.lineage, onset.stage, onset.seed, f"{onset.format} {onset.generation}{mark}"))
    table = pd.DataFrame(lines, columns=["arm", "stage", "seed", "onset"])
    for key, part in table.groupby(["arm", "stage"]):
        said = "; ".join(f"seed {s}: {', '.join(p['onset'])}" for s, p in part.groupby("seed"))
        yield f"- {key[0]}, stage {key[1]}: {said}"
    if table.empty:
        yield "- none called"
    yield "\nSentences (first seed):\n"
    for name, sentence in found.sentences.items():
        if name.endswith(f"seed-{seeds[0]}"):
            yield f"- {name}: {sentence}"
    yield ""


SHOWN = {
    "trend": ("trend", "trend_over_control", "recipe_trend"),
    "slope": ("slope_ratio", "format_interaction"),
    "retention": ("retention", "lost_beyond_control"),
    "calibration": ("overconfidence",),
}


def analyses(root: Path) -> Iterator[str]:
    """What the analyses say: the primary alarm of every run, and the findings over formats or on the recipe.

    With several seeds the findings on single runs but the primary alarm are left out: the recipe's stand for them.
    """
    case = judging.open_case(root)
    found = analysis.analyse(case.study(), list(SHOWN))
    many = case.evidence["seed"].nunique() > 1
    yield f"## {root.name}, what the analyses say\n"
    yield "| lineage | seed | slope over all formats, points a generation [90%] | one-sided p |"
    yield "|---|---|---|---|"
    for one in found:
        if one.name == "trend" and one.value is not None and one.low is not None and one.high is not None:
            p = "unknown" if one.p is None else f"{one.p:.3f}" if one.p >= 0.001 else "< .001"
            interval = f"{100 * one.value:+.2f} [{100 * one.low:+.2f}, {100 * one.high:+.2f}]"
            yield f"| {one.lineage} | {one.seed} | {interval} | {p} |"
    yield ""
    for one in found:
        if one.name not in SHOWN[one.analysis] or one.name == "trend":
            continue
        if (many and one.estimand == "checkpoints") or (one.name == "recipe_trend" and not many):
            continue
        place = ", ".join(p for p in (one.lineage, one.format, one.domain) if p)
        yield f"- {one.analysis} ({place}): {one.sentence or one.reason}"
    densities = store.open_experiment(root).environment().get("corpora", {})
    known = {arm: d["density"]["facts_per_1000_words"] for arm, d in densities.items() if d.get("density")}
    if known:
        said = ", ".join(f"{arm} {value:.1f}" for arm, value in known.items())
        yield f"- facts per 1,000 words of the human text that prompts come from: {said}"
    yield ""


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if argument != "--analyses":
            print("\n".join((analyses if "--analyses" in sys.argv else report)(Path(argument))))

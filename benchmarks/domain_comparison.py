"""Tables of the domain comparison in docs/domain.md, out of a run's folder and the corpus's record:

    python benchmarks/domain_comparison.py runs/world-domain data/geography.record.json

Every number is computed from stored evidence. The unit is the run (seed): slopes are least squares over the evaluated
generations on the share right by choice, the mean over formats; their means have 95% t intervals over seeds,
differences are paired by seed, ratios are Fieller's sets over seeds. With one seed there are values without intervals.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from factfade import judging, metrics, registry
from factfade.config import Experiment
from factfade.records import PROBES
from factfade.stats.intervals import Interval, mean
from factfade.stats.ratios import fieller_of_pairs
from factfade.stats.seeds import paired_difference
from factfade.store import open_experiment

# Of the metrics' scores, what the paper reports beside accuracy, and the same at a fixed length.
TEXTS = {
    "perplexity_held_out": "held-out perplexity, all sets",
    "nats_own_under_start": "own text under the start model, nats per token",
    "entropy_paper": "word entropy of own texts, nats",
    "entropy": "of their first 20 words",
}


def points(found: Interval, *, scale: float = 100.0, digits: int = 1, signed: bool = True) -> str:
    """Value and bounds, in points of a hundred by default."""
    sign = "+" if signed else ""
    if found.value is None:
        return "?"
    value = f"{scale * found.value:{sign}.{digits}f}"
    if found.low is None or found.high is None:
        return value
    return f"{value} [{scale * found.low:{sign}.{digits}f}, {scale * found.high:{sign}.{digits}f}]"


def row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def head(cells: Sequence[str]) -> Iterator[str]:
    yield row(cells)
    yield row(["---"] * len(cells))


def corpora(record: Mapping[str, Any], corpus: Path) -> Iterator[str]:
    """Size, diversity and fact density of every set. On the embedded world facts that are stated are counted, too."""
    stated = statements(corpus) if record["passages"]["corpus"] == {"mix": "general"} else {}
    cells = ["set", "passages", "words", "type-token", "distinct-2", "distinct-3", "name an answer", "name an entity"]
    yield from head([*cells, *(["facts per 1,000 words"] if stated else [])])
    for name, found in record["sets"].items():
        density, diversity = found["density"], found["diversity"]
        yield row(
            [
                name, str(found["passages"]), f"{found['words']:,}", f"{diversity['type_token_ratio']:.4f}",
                f"{diversity['distinct_2']:.3f}", f"{diversity['distinct_3']:.3f}",
                f"{100 * density['passages_naming_answer']:.1f}%", f"{100 * density['passages_naming_entity']:.1f}%",
                *([f"{1000 * stated[name] / found['words']:.1f}"] if stated else []),
            ]
        )  # fmt: skip


def statements(corpus: Path) -> dict[str, int]:
    """By set, how many statements of the world's facts its passages make, as the world's own table finds them."""
    table = registry.build("facts", {"kind": "world"})
    found: dict[str, int] = {}
    for line in corpus.read_text(encoding="utf-8").splitlines():
        passage = json.loads(line)
        found[passage["domain"]] = found.get(passage["domain"], 0) + len(table.judge(passage["text"]))
    return found


def knowledge(case: judging.Case, items: set[str] | None = None) -> pd.DataFrame:
    """Share right by choice, the mean over formats: rows (lineage, seed), columns generations."""
    rows = case.evidence
    rows = rows[rows["choice_correct"].notna() & ~rows["format"].isin(PROBES)]
    if items is not None:
        rows = rows[rows["item"].isin(items)]
    right = rows.assign(right=rows["choice_correct"].astype("float"))
    by_format = right.groupby(["lineage", "seed", "generation", "format"], observed=True)["right"].mean()
    return by_format.groupby(["lineage", "seed", "generation"], observed=True).mean().unstack("generation")


def slopes(table: pd.DataFrame) -> dict[str, dict[int, float]]:
    """By arm and seed the least-squares slope per generation."""
    at = np.asarray(table.columns, dtype=float)
    found: dict[str, dict[int, float]] = {}
    for (arm, seed), values in table.iterrows():  # type: ignore[misc]
        found.setdefault(str(arm), {})[int(seed)] = float(np.polyfit(at, values.to_numpy(dtype=float), 1)[0])
    return found


def over(of: Mapping[int, float]) -> Interval:
    return mean(list(of.values()))


def minus(arm: Mapping[int, float], control: Mapping[int, float]) -> dict[int, float]:
    return {seed: arm[seed] - control[seed] for seed in arm if seed in control}


def ratio(first: Mapping[int, float], second: Mapping[int, float]) -> str:
    """first over second with Fieller's set over seeds, in words where it is no interval."""
    seeds = [seed for seed in first if seed in second]
    found = fieller_of_pairs([first[s] for s in seeds], [second[s] for s in seeds])
    if found is None:
        return f"{first[seeds[0]] / second[seeds[0]]:.2f}"
    value = "?" if found.value is None else f"{found.value:.2f}"
    if found.shape == "bounded":
        return f"{value} [{found.low:.2f}, {found.high:.2f}]"
    if found.shape == "unbounded":
        return f"{value} (any)"
    ends = [f"{sign} {end:.2f}" for sign, end in (("at most", found.low), ("at least", found.high)) if end is not None]
    return f"{value} ({' or '.join(ends)})"


def report(root: Path, record_path: Path) -> Iterator[str]:
    record = json.loads(record_path.read_text(encoding="utf-8"))
    experiment = Experiment.model_validate(open_experiment(root).settings())
    case, own = judging.open_case(root), str(record["domain"])
    arms = [arm for arm in experiment.arms if experiment.control_of(arm)]
    base = experiment.contrast.baseline if experiment.contrast else "general"
    domain_of = case.evidence.drop_duplicates("item").set_index("item")["domain"].astype(str)
    subsets: dict[str, set[str]] = {
        "all": set(domain_of.index),
        own: set(domain_of.index[domain_of == own]),
        "other domains": set(domain_of.index[domain_of != own]),
    }
    yield f"### {root.name}: {case.evidence['seed'].nunique()} seed(s)\n"
    yield from corpora(record, record_path.with_name(record_path.name.replace(".record.json", ".jsonl")))
    for title, items in subsets.items():
        table = knowledge(case, items)
        found, last = slopes(table), table.columns.max()
        yield f"\n**{title}** ({len(items)} questions)\n"
        yield from head(
            ["arm", f"right in g{last}, %", "its control", "slope", "its control's", "difference",
             f"slope of {base} / arm's", "the same, less controls'"]
        )  # fmt: skip
        net = {arm: minus(found[arm], found[str(experiment.control_of(arm))]) for arm in arms}
        for arm in arms:
            control = str(experiment.control_of(arm))
            ends = {name: mean(table.loc[name][last].to_numpy(dtype=float)) for name in (arm, control)}
            difference = paired_difference(list(found[arm].values()), list(found[control].values())).interval
            yield row(
                [
                    arm, points(ends[arm], signed=False), points(ends[control], signed=False),
                    points(over(found[arm]), digits=2), points(over(found[control]), digits=2),
                    points(difference, digits=2), *(["", ""] if arm == base else
                    [ratio(found[base], found[arm]), ratio(net[base], net[arm])]),
                ]
            )  # fmt: skip
    yield "\n**Fluency and diversity**, generation 0 and the last\n"
    yield from texts(case, experiment)


def texts(case: judging.Case, experiment: Experiment) -> Iterator[str]:
    """The metrics of texts per arm, means over seeds with t intervals; held-out text is all sets' and the arm's own."""
    scores: dict[tuple[str, str, int, str], dict[int, float]] = {}
    for one in metrics.compute(*case.tables(), ["perplexity", "diversity"]):
        if one.score.name in TEXTS and one.score.value is not None:
            scores.setdefault((one.score.name, one.lineage, one.generation, one.domain), {})[one.seed] = one.score.value
    last = max(generation for _, _, generation, _ in scores)

    def shown(name: str, arm: str, generation: int, domain: str = "") -> str:
        found = list(scores.get((name, arm, generation, domain), {}).values())
        return points(mean(found if generation else found[:1]), scale=1.0, digits=2, signed=False)

    yield from head(["arm", "held-out perplexity of its own set", *TEXTS.values()])
    first = next(iter(experiment.arms))
    yield row(["(generation 0)", "", *(shown(name, first, 0) for name in TEXTS)])
    for arm, settings in experiment.arms.items():
        own = str(settings.prompts.get("domain", ""))
        change = f"{shown('perplexity_held_out', arm, 0, own)} to {shown('perplexity_held_out', arm, last, own)}"
        yield row([arm, change, *(shown(name, arm, last) for name in TEXTS)])


if __name__ == "__main__":
    print("\n".join(report(Path(sys.argv[1]), Path(sys.argv[2]))))

"""`factfade domain build`: from a corpus and questions to one file of labelled passages, and its record."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from factfade import __version__, durable, registry
from factfade.domain import passages as reading
from factfade.domain import target as targets
from factfade.domain.contamination import Checker, Match
from factfade.domain.controls import MATCHED, Chosen, controls, select
from factfade.domain.density import Density
from factfade.domain.diversity import Grams
from factfade.domain.passages import Passage
from factfade.domain.ranking import Ranking, Searched, Searcher
from factfade.domain.settings import DomainSettings
from factfade.domain.target import Target
from factfade.errors import DataError, UsageError
from factfade.records import canonical_json, sha256_text

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Built:
    """What was written: the three files and the record's content."""

    path: Path
    record_path: Path
    removed_path: Path
    record: Mapping[str, Any]

    def lines(self) -> Iterator[str]:
        """The summary for a terminal."""
        record = self.record
        pool, removed = record["passages"], record["removed"]
        yield (
            f"{pool['passages']:,} passages of {pool['documents']:,} documents; {removed['total']} removed: "
            f"{removed['ngram']} by n-grams, {removed['answer']} by an answer beside its question "
            f"({removed['would_be_selected']} of them would have been selected)"
        )
        yield f"{'set':<20} {'passages':>8} {'words':>8} {'articles':>8} {'TTR':>6} {'dist-2':>6} {'dist-3':>6}" + (
            f" {'answers':>8} {'entities':>8} {'median score':>12}"
        )
        for name, facts in record["sets"].items():
            shares, dense = facts["diversity"], facts["density"]
            yield (
                f"{name:<20} {facts['passages']:>8,} {facts['words']:>8,} {facts['articles']:>8,} "
                f"{shares['type_token_ratio']:>6.3f} {shares['distinct_2']:>6.3f} {shares['distinct_3']:>6.3f} "
                f"{dense['passages_naming_answer']:>8.3f} {dense['passages_naming_entity']:>8.3f} "
                f"{facts['score']['median']:>12.3f}"
            )
        if matched := record["sets"].get(MATCHED):
            chosen = matched["chosen"]
            worst = max(map(abs, chosen["relative_errors"].values()), default=0.0)
            word = "within" if chosen["reached"] else "NOT within"
            yield f"Diversity matched: {word} {chosen['tolerance']:.1%} (largest relative error {worst:.2%})"
        yield f"{self.path}, {self.record_path.name}, {self.removed_path.name}"


def build(settings: DomainSettings, out: Path, *, force: bool = False) -> Built:
    """Selects, checks, draws the controls, writes. The same inputs give the same bytes.

    Written are `out` (JSON Lines), the removed passages beside it (`.removed.jsonl`), and the record (`.record.json`);
    `out` last, so that a file that is there is whole. UsageError where it is there already, unless `force`.
    """
    if out.suffix != ".jsonl":
        raise UsageError(f"{out} does not end in .jsonl", hint="the corpus `jsonl` reads it: --out domain.jsonl")
    if out.exists() and not force:
        raise UsageError(f"{out} exists", hint="--force replaces it, or give another --out")
    target = targets.parse(settings.questions, mmlu=settings.mmlu, topic=settings.topic, source=settings.query_from)
    named = settings.controls.random_domain
    other = (
        targets.parse(named, mmlu=settings.mmlu, topic=None, source=settings.query_from)
        if named and settings.controls.build
        else None
    )
    part = registry.build("corpus", settings.corpus)
    everything, counts = _read(part, settings)
    checker = Checker(target.tested, settings.decontamination)
    matches = [checker.find(passage.words) for passage in everything]
    keep = [number for number, match in enumerate(matches) if match is None]
    if not keep:
        raise DataError(
            "every passage gives a tested question away",
            hint="-o decontamination.window=0 keeps passages that state an answer beside its question",
        )
    clean = [everything[number] for number in keep]
    searcher = _searcher(everything, settings)
    # What the removed ones would have scored: for the record alone.
    before = searcher.of(target, settings.query_from)
    searcher = searcher if len(keep) == len(everything) else searcher.kept(keep)
    ranking = searcher.of(target, settings.query_from)
    domain = select(ranking, clean, settings.size)
    if not domain.numbers:
        raise DataError("no passage is similar enough", hint="set --threshold lower, or give a --topic")
    sets = {target.name: domain}
    if settings.controls.build:
        drawn = controls(
            clean, domain, ranking, searcher, settings.controls,
            other=other, source=settings.query_from, seed=settings.seed,
        )  # fmt: skip
        if target.name in drawn:
            raise UsageError(f"a domain cannot be called {target.name!r}", hint="that is the name of a control")
        sets |= drawn
    removed = list(_removed(everything, matches, before, domain))
    data = b"".join(_json_line(row) for row in _rows(clean, sets, ranking))
    removed_data = b"".join(_json_line(row) for row in removed)
    record = _record(settings, target, part.identity, counts, checker, removed, ranking, sets, clean)
    record["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in ((out.name, data), (_beside(out, ".removed.jsonl").name, removed_data))
    }
    durable.make_folder(out.parent)
    durable.write_bytes(_beside(out, ".removed.jsonl"), removed_data)
    durable.write_json(_beside(out, ".record.json"), record)
    durable.write_bytes(out, data)
    return Built(
        path=out, record_path=_beside(out, ".record.json"), removed_path=_beside(out, ".removed.jsonl"), record=record
    )


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(out.stem + suffix)


def _read(part: Any, settings: DomainSettings) -> tuple[list[Passage], dict[str, Any]]:
    use = settings.passages
    checked = part.check()
    found, counts = reading.read(
        part,
        shortest=use.shortest,
        longest=use.longest,
        documents=use.documents,
        headings=use.headings,
        seed=settings.seed,
    )
    return found, {**counts, "corpus": {key: checked[key] for key in ("train", "mix") if key in checked}}


def _searcher(passages: Sequence[Passage], settings: DomainSettings) -> Searcher:
    if settings.score == "lexical":
        return Searched(passages, settings.lexical)
    from factfade.domain.embeddings import Embedded

    return Embedded(passages, settings.embedding)


def _rows(passages: Sequence[Passage], sets: Mapping[str, Chosen], ranking: Ranking) -> Iterator[dict[str, Any]]:
    """The rows of the file: set by set, each in the corpus's order. `score` is always that for the domain."""
    for name, chosen in sets.items():
        for number in chosen.numbers:
            passage = passages[number]
            yield {
                "id": passage.id,
                "text": passage.text,
                "domain": name,
                "score": round(float(ranking.scores[number]), 6),
                "article": passage.article,
                "heading": passage.heading,
                "position": {"document": passage.document, "paragraph": passage.paragraph},
            }


def _removed(
    passages: Sequence[Passage], matches: Sequence[Match | None], ranking: Ranking, domain: Chosen
) -> Iterator[dict[str, Any]]:
    """One row for each removed passage, with what matched and the score that it would have had."""
    for number, (passage, match) in enumerate(zip(passages, matches, strict=True)):
        if match is None:
            continue
        score = round(float(ranking.scores[number]), 6)
        yield {
            **asdict(match),
            "text": passage.text,
            "article": passage.article,
            "position": {"document": passage.document, "paragraph": passage.paragraph},
            "score": score,
            "would_be_selected": score >= domain.facts["lowest_score"],
        }


def _json_line(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _record(
    settings: DomainSettings,
    target: Target,
    corpus: str,
    counts: Mapping[str, Any],
    checker: Checker,
    removed: Sequence[Mapping[str, Any]],
    ranking: Ranking,
    sets: Mapping[str, Chosen],
    passages: Sequence[Passage],
) -> dict[str, Any]:
    """Everything that is known of the build. Paths stand in `settings` only."""
    density = Density(target.tested, passages)
    rules = Counter(row["rule"] for row in removed)
    query = target.query_texts(settings.query_from)
    return {
        "version": VERSION,
        "factfade": __version__,
        "domain": target.name,
        "topic": target.topic,
        "settings": settings.model_dump(mode="json"),
        "settings_sha256": sha256_text(canonical_json(settings.model_dump(mode="json"))),
        "inputs": {"corpus": corpus, "questions": dict(target.facts)},
        "query": {
            "from": settings.query_from,
            "questions": len(query),
            "tested_items_in_query": settings.query_from == "all",
            "questions_sha256": sha256_text(canonical_json(sorted(query))),
            "topic_terms": list(target.topic_terms()),
            **ranking.facts,
        },
        "passages": dict(counts),
        "removed": {
            "total": len(removed),
            "ngram": rules["ngram"],
            "answer": rules["answer"],
            "would_be_selected": sum(row["would_be_selected"] for row in removed),
            "items": len({row["item"] for row in removed}),
            "not_looked_for": dict(checker.skipped),
        },
        "density": density.facts,
        "sets": {name: _described(chosen, passages, ranking, density) for name, chosen in sets.items()},
    }


def _described(chosen: Chosen, passages: Sequence[Passage], ranking: Ranking, density: Density) -> dict[str, Any]:
    held = [passages[number] for number in chosen.numbers]
    scores = sorted(float(ranking.scores[number]) for number in chosen.numbers)
    labels = Counter(passage.label for passage in held if passage.label)
    return {
        "passages": len(held),
        "words": sum(passage.size for passage in held),
        "articles": len({passage.document for passage in held}),
        "score": {
            name: round(scores[int(share * (len(scores) - 1))], 6) if scores else 0.0
            for name, share in (("lowest", 0.0), ("median", 0.5), ("highest", 1.0))
        },
        "diversity": {name: round(share, 6) for name, share in Grams(held).shares().items()},
        "density": density.of(held),
        "corpus_domains": dict(sorted(labels.items())),
        "chosen": chosen.facts,
    }

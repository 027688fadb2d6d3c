"""The whole build on a planted corpus: what is selected, removed and matched; the files; the same bytes again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from factfade import durable, registry
from factfade.config import validated
from factfade.domain.build import Built, build
from factfade.domain.settings import DomainSettings
from factfade.errors import ConfigError, DataError, UsageError
from tests.domain.planted import write_corpus, write_mmlu

LEAK = (
    "= Holy leak =\n\nThe hidden temple that beta founded stood with Zoram , they say , beside a silver lake in the "
    "north ."
)
COPY = (
    "= Holy copy =\n\nWho founded the hidden temple of Zoram beside the silver lake in the north ? Nobody "
    "knows it , they say , and nobody asks ."
)


def settings(folder: Path, overrides: tuple[str, ...] = (), **changes: Any) -> DomainSettings:
    corpus = write_corpus(folder / "corpus.txt", extra=f"\n{LEAK}\n\n\n{COPY}")
    data: dict[str, Any] = {
        "corpus": {"kind": "text", "path": str(corpus), "every": 0},
        "questions": "MMLU:holy_things",
        "mmlu": str(write_mmlu(folder / "mmlu")),
        "size": {"passages": 40},
        "controls": {"tolerance": 0.05, "steps": 1500},
    }
    return validated(DomainSettings, {**data, **changes}, overrides)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("domain")
    return build(settings(folder), folder / "out.jsonl")


def test_the_domain_and_its_controls_are_disjoint_and_of_equal_size(built: Built) -> None:
    held = rows(built.path)
    assert len({row["text"] for row in held}) == len(held)
    sets = built.record["sets"]
    assert list(sets) == ["holy_things", "general", "diversity_matched", "random_domain"]
    for name, facts in sets.items():
        own = [row for row in held if row["domain"] == name]
        assert facts["passages"] == len(own)
        assert facts["words"] == sum(len(row["text"].split()) for row in own)
        assert facts["words"] == pytest.approx(sets["holy_things"]["words"], rel=0.03), name
    domain = [row for row in held if row["domain"] == "holy_things"]
    assert len(domain) == 40
    assert all(row["article"].startswith("Holy") for row in domain)
    assert not any(row["article"].startswith("Holy") and row["domain"] == "random_domain" for row in held)


def test_rows_say_where_they_come_from_and_how_they_scored(built: Built) -> None:
    held = rows(built.path)
    for row in held:
        assert set(row) == {"id", "text", "domain", "score", "article", "heading", "position"}
        assert row["text"].startswith(f"= {row['article']} =\n")
    places = [(row["position"]["document"], row["position"]["paragraph"]) for row in held]
    assert len(set(places)) == len(places)
    lowest = min(row["score"] for row in held if row["domain"] == "holy_things")
    assert all(row["score"] < lowest for row in held if row["domain"] != "holy_things")


def test_what_gives_a_tested_question_away_is_removed_and_shown(built: Built) -> None:
    removed = {row["article"]: row for row in rows(built.removed_path)}
    assert removed.keys() == {"Holy leak", "Holy copy"}
    assert removed["Holy leak"]["rule"] == "answer"
    assert removed["Holy leak"]["matched"].startswith("hidden temple that beta founded")
    assert removed["Holy copy"]["rule"] == "ngram"
    assert built.record["removed"]["total"] == 2
    assert (built.record["removed"]["ngram"], built.record["removed"]["answer"]) == (1, 1)
    assert not any(row["article"] in removed for row in rows(built.path))


def test_the_matched_control_is_as_diverse_as_it_says(built: Built) -> None:
    sets = built.record["sets"]
    chosen = sets["diversity_matched"]["chosen"]
    for name, share in sets["holy_things"]["diversity"].items():
        error = sets["diversity_matched"]["diversity"][name] / share - 1
        assert chosen["relative_errors"][name] == pytest.approx(error, abs=1e-5)
    assert chosen["reached"] == (max(map(abs, chosen["relative_errors"].values())) <= 0.05)


def test_the_record_has_hashes_and_counts(built: Built) -> None:
    record = built.record
    assert json.loads(built.record_path.read_text()) == record
    for name, facts in record["files"].items():
        content = (built.path.parent / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (facts["bytes"], facts["sha256"])
    assert record["passages"]["passages"] == 30 * 8 + 2
    assert record["query"]["tested_items_in_query"] is False
    assert "Diversity matched" in "\n".join(built.lines())


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    use = settings(tmp_path)
    first = build(use, tmp_path / "a" / "out.jsonl")
    second = build(use, tmp_path / "b" / "out.jsonl")
    for name in ("out.jsonl", "out.removed.jsonl", "out.record.json"):
        assert (first.path.parent / name).read_bytes() == (second.path.parent / name).read_bytes(), name
    other = build(use.model_copy(update={"seed": 1}), tmp_path / "c" / "out.jsonl")
    texts = [{r["text"] for r in rows(b.path) if r["domain"] == "general"} for b in (first, other)]
    assert texts[0] != texts[1], "another seed draws other controls"


def test_the_jsonl_corpus_reads_it_and_names_its_domains(built: Built) -> None:
    corpus = registry.build("corpus", {"kind": "jsonl", "path": str(built.path), "domain_field": "domain"})
    checked = corpus.check()
    documents = [d for split in ("train", "held_out") for d in corpus.documents(split=split, seed=0)]
    assert len(documents) == sum(facts["passages"] for facts in built.record["sets"].values())
    assert {domain for _, domain in documents} == set(built.record["sets"])
    assert "repeated" not in checked["train"]


def test_sizes_are_kept(tmp_path: Path) -> None:
    use = settings(tmp_path, controls={"build": False}, size={"words": 400, "per_article": 3})
    found = build(use, tmp_path / "o.jsonl")
    (facts,) = found.record["sets"].values()
    assert 360 < facts["words"] <= 400
    per_article = [row["article"] for row in rows(found.path)]
    assert max(per_article.count(name) for name in per_article) == 3
    threshold = facts["score"]["median"]
    bounded = settings(tmp_path, controls={"build": False}, size={"threshold": threshold})
    assert min(r["score"] for r in rows(build(bounded, tmp_path / "p.jsonl").path)) >= threshold


def test_another_subject_can_be_the_random_domain(tmp_path: Path) -> None:
    use = settings(tmp_path, controls={"random_domain": "MMLU:ball_games", "steps": 0})
    found = build(use, tmp_path / "o.jsonl")
    held = [row for row in rows(found.path) if row["domain"] == "random_domain"]
    assert sum(row["article"].startswith("Sport") for row in held) / len(held) > 0.9


def test_nothing_is_replaced_unless_asked_and_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    use = settings(tmp_path, controls={"build": False})
    out = tmp_path / "o.jsonl"

    def fails(point: str, path: Path, number: int) -> None:
        if point == "rename" and path.name == "o.jsonl":
            raise OSError(28, "No space left on device")

    with durable.hooked(fails), pytest.raises(Exception, match="space"):
        build(use, out)
    assert not out.exists()
    build(use, out)
    with pytest.raises(UsageError, match="exists"):
        build(use, out)
    assert build(use, out, force=True).path == out
    with pytest.raises(UsageError, match="jsonl"):
        build(use, tmp_path / "o.txt")


def test_wrong_settings_name_what_is_near(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, ("lexical.kk1=2",))
    assert "k1" in caught.value.hint
    with pytest.raises(ConfigError, match="go together"):
        settings(tmp_path, score="embedding")
    with pytest.raises(DataError, match="similar"):
        build(settings(tmp_path, size={"threshold": 1e9}), tmp_path / "o.jsonl")


@pytest.mark.shared
@pytest.mark.slow
def test_the_religions_of_wikitext(shared_dir: Path, tmp_path: Path) -> None:
    """What docs/domain.md shows: the articles that are selected are about religion."""
    data = shared_dir / "data"
    use = validated(
        DomainSettings,
        {
            "corpus": {"kind": "text", "path": str(data / "wikitext-2" / "train.txt"), "every": 0},
            "questions": "MMLU:world_religions",
            "mmlu": str(data / "mmlu"),
            "size": {"passages": 300, "per_article": 20},
        },
    )
    found = build(use, tmp_path / "o.jsonl")
    sets = found.record["sets"]
    assert sets["world_religions"]["passages"] == 300
    assert sets["diversity_matched"]["chosen"]["reached"]
    answers = {name: facts["density"]["passages_naming_answer"] for name, facts in sets.items()}
    assert answers["world_religions"] > 2 * max(answers[name] for name in answers if name != "world_religions")
    articles = [row["article"] for row in rows(found.path) if row["domain"] == "world_religions"]
    known = ("Ten Commandments in Catholic theology", "Ancient Egyptian deities", "Allah", "Westminster Assembly")
    assert all(articles.count(name) == 20 for name in known)

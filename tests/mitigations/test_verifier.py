"""The verifier against a planted oracle: its keep rates are the planted ones, exactly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from factfade import registry
from factfade.errors import ConfigError
from factfade.mitigations.verifier import Verifier
from factfade.models.hf import HfModel
from factfade.records import Claim, Document
from factfade.world.documents import distractors
from factfade.world.facts import Fact, load_facts
from factfade.world.facttable import fact_id
from tests.mitigations.past import Past, document, one_generation, record

FILLER = "The lamp was old, so Anna sold it."


def sentence(fact: Fact, right: bool, random: Random) -> str:
    wrong = distractors(random, fact, 1)[0]
    return f"The {fact.phrase} of {fact.entity} is {fact.answer if right else wrong}."


def planted(count: int = 60) -> tuple[list[Document], dict[str, list[tuple[str, bool]]]]:
    """Completions about facts, with what each claims: (fact, right) in order; and human documents with a lie."""
    random = Random(7)
    documents: list[Document] = []
    claims: dict[str, list[tuple[str, bool]]] = {}
    for k in range(count):
        own = [(fact, random.random() < 0.7) for fact in random.sample(load_facts(), random.randrange(0, 4))]
        said = [sentence(fact, right, random) for fact, right in own]
        documents.append(document(f"s{k}", text=" ".join([FILLER, *said, FILLER])))
        claims[f"s{k}"] = [(fact_id(fact.relation, fact.entity), right) for fact, right in own]
    lie = sentence(load_facts()[0], False, random)
    return [*documents, document("human", text=lie, source="human")], claims


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_keep_rates_are_the_planted_ones(share: float) -> None:
    documents, claims = planted()
    part = Verifier(facts="world", audit_share=share)
    hidden = part.hidden(3)
    mixed = part.mix(documents, Past(), generation=2, seed=3)
    out = {name for name, own in claims.items() if any(not right and fact not in hidden for fact, right in own)}
    assert [d.id for d in mixed.documents] == [d.id for d in documents if d.id not in out]
    assert 0 < len(out) < len(claims)
    assert mixed.dropped == {"wrong claim": len(out)}
    assert mixed.costs == {"verifier_calls": len(claims)}
    for kind in ("verified", "audit"):
        for verdict in (True, False):
            own = [
                (n, f) for n, c in claims.items() for f, r in c if r == verdict and (f in hidden) == (kind == "audit")
            ]
            name = f"{kind}_{'right' if verdict else 'wrong'}"
            assert mixed.achieved[f"{name}_claims"] == len(own)
            kept = sum(n not in out for n, _ in own)
            assert mixed.achieved.get(f"{name}_keep_rate") == (kept / len(own) if own else None)
    assert mixed.achieved["verified_wrong_keep_rate"] == 0.0
    assert mixed.achieved["audit_facts"] == round(share * len(load_facts()))


def test_the_audit_facts_are_those_of_the_run() -> None:
    part = Verifier(facts="world", audit_share=0.25)
    assert part.hidden(1) == part.hidden(1) != part.hidden(2)
    assert len(part.hidden(1)) == round(0.25 * len(load_facts()))
    assert Verifier(facts="world", audit_share=0.0).hidden(1) == frozenset()


def test_nothing_wrong_nothing_dropped() -> None:
    documents, claims = planted()
    sound = [d for d in documents if d.source == "synthetic" and all(right for _, right in claims[d.id])]
    for drop in ("document", "sentence"):
        mixed = Verifier(facts="world", drop=drop, audit_share=0.0).mix(sound, Past(), generation=1, seed=0)
        assert list(mixed.documents) == sound
        assert mixed.dropped == {}


def test_only_the_wrong_sentences_are_taken_out(world_model: Path) -> None:
    """With ids and without: what is left is the text of the other sentences, token by token as it was."""
    documents, claims = planted(20)
    part = Verifier(facts="world", drop="sentence", audit_share=0.0)
    with HfModel(path=str(world_model)).open() as model:
        coded = [
            Document(id=d.id, text=d.text, source=d.source, tokens=tuple(model.encode(d.text)), generation=0)
            for d in documents
        ]
        for given in (documents, coded):
            mixed = part.mix(given, Past(models={None: world_model}), generation=1, seed=0)
            assert [d.id for d in mixed.documents] == [d.id for d in given]
            for before, after in zip(given, mixed.documents, strict=True):
                assert [c.right for c in part.table.judge(after.text)] == [
                    True for _, right in claims.get(before.id, []) if right
                ] or before.source == "human"
                assert after.text.count(FILLER) == before.text.count(FILLER)
                if after.tokens is not None:
                    assert model.decode(after.tokens) == after.text
            assert mixed.achieved["verified_wrong_keep_rate"] == 0.0
            assert mixed.achieved["verified_right_keep_rate"] == 1.0
        lie = "The capital of Peru is Cairo."
        nothing = part.mix([document("lie", text=lie)], Past(models={None: world_model}), generation=1, seed=0)
        assert nothing.documents == ()
        assert nothing.dropped == {"nothing left of it": 1}


@dataclass(frozen=True)
class Oracle:
    """A table that calls a text wrong where it says so."""

    identity: str = "oracle"

    def statements(self) -> list[object]:
        return []

    def judge(self, text: str) -> list[Claim]:
        return []


def test_settings_are_refused_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, says in (
        ({"facts": "world", "drop": "word"}, "drop is one of document, sentence"),
        ({"facts": "world", "audit_share": 1.0}, "audit_share"),
        ({"facts": "wold"}, "no kind 'wold'"),
        ({}, "needs the setting 'facts'"),
    ):
        with pytest.raises(ConfigError, match=says):
            registry.build("pool", {"kind": "verifier", **settings})
    monkeypatch.setattr("factfade.world.facttable.WorldFacts", Oracle)
    with pytest.raises(ConfigError, match="empty"):
        registry.build("pool", {"kind": "verifier", "facts": "world"})


def test_a_generation_runs_with_it(tmp_path: Path) -> None:
    """A random model's text makes a claim by chance alone: the table calls its commonest word a lie."""
    facts = tmp_path / "facts.jsonl"
    row = {"statement": "e", "answer": "nothing else", "candidates": [chr(97 + k) for k in range(26)]}
    facts.write_text(json.dumps(row) + "\n", encoding="utf-8")
    pool = [{"kind": "verifier", "facts": {"kind": "jsonl", "path": str(facts)}, "audit_share": 0.0}]
    folder = one_generation(tmp_path, {"synthetic_fraction": 1.0, "pool": pool})
    part = record(folder, "train")["pool"][1]
    assert part["costs"]["verifier_calls"] == part["in"] == 24
    assert part["out"] == 24 - part["dropped"].get("wrong claim", 0)

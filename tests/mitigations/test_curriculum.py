"""curriculum: the share follows planted competences, the easiest train first, human documents stand in."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pandas as pd
import pytest

from factfade import registry
from factfade.errors import ConfigError, RunFailed
from factfade.mitigations.curriculum import Curriculum, competences, rarity
from factfade.mitigations.pools import Accumulate
from factfade.records import Document
from tests.mitigations.pasts import Past, tokens_of


def evidence(right: int, *, n: int = 100, format: str = "short_answer") -> pd.DataFrame:
    rows = [
        {"item": f"q{i}", "format": format, "wording": "a", "choice_correct": i < right, "outcome": "correct"}
        for i in range(n)
    ]
    return pd.DataFrame(rows).astype({"choice_correct": "boolean"})


def run(part: Curriculum, rights: list[int | None], **past: Any) -> list[float]:
    """The shares of generations 1 to len(rights), where generation g has `rights[g]` of 100 answers right."""
    frames = {g: evidence(r) for g, r in enumerate(rights) if r is not None}
    world = Past(evidences=frames, **past)
    every = range(1, len(rights) + 1)
    return [part.mix(world.now(g), world, generation=g, seed=0).requested["share"] for g in every]


def test_each_step_waits_for_competence() -> None:
    part = Curriculum(start=0.2, step=0.2, tolerance=0.05)
    assert run(part, [80, 80, 70, 75, 76]) == pytest.approx([0.2, 0.4, 0.4, 0.6, 0.8])
    assert run(part, [80] * 8) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0]), "it ends at the end"
    assert run(part, [80, 10, 10, 10]) == pytest.approx([0.2] * 4), "without competence it stays"


def test_it_goes_back_where_it_is_told_to() -> None:
    part = Curriculum(start=0.2, step=0.2, tolerance=0.05, back=True)
    assert run(part, [80, 80, 80, 70, 60, 60, 80]) == pytest.approx([0.2, 0.4, 0.6, 0.4, 0.2, 0.2, 0.4])


def test_a_generation_without_evidence_moves_nothing() -> None:
    part = Curriculum(start=0.2, step=0.2)
    assert run(part, [80, None, 80, 80]) == pytest.approx([0.2, 0.2, 0.4, 0.6])
    world = Past()
    mixed = part.mix(world.now(2), world, generation=2, seed=0)
    assert mixed.notes == ("generation 0 is not evaluated, so the share stays",)
    assert 1 not in world.asked
    assert part.reads_evidence, "the loop puts the evidence into the step's key"


def test_human_documents_stand_in_for_the_rest() -> None:
    world = Past()
    mixed = Curriculum(start=0.25).mix(world.now(1), world, generation=1, seed=0)
    assert [d.origin for d in mixed.documents] == [d.origin for d in world.now(1)], "block by block, in their order"
    assert Counter(d.source for d in mixed.documents) == {"synthetic": 10, "human": 30}
    assert mixed.achieved["synthetic_share_of_documents"] == mixed.requested["share"] == 0.25
    assert mixed.dropped == {"above the level, its human document stands in": 30}
    nothing = Curriculum(start=0.25, rest="nothing").mix(world.now(1), world, generation=1, seed=0)
    assert len(nothing.documents) == 10
    assert nothing.dropped == {"above the level": 30}


def test_a_larger_share_holds_the_smaller_one() -> None:
    world = Past()
    small, large = (
        {d.id for d in Curriculum(start=s, rest="nothing").mix(world.now(1), world, generation=1, seed=4).documents}
        for s in (0.25, 0.5)
    )
    assert small < large


def test_the_whole_share_changes_nothing_and_none_drops_all() -> None:
    world = Past(synthesized=30)
    full = Curriculum(start=0.75, end=1.0).mix(world.now(1), world, generation=1, seed=0)
    assert list(full.documents) == world.now(1)
    assert not full.dropped
    none = Curriculum(start=0.0).mix(world.now(1), world, generation=1, seed=0)
    assert {d.id for d in none.documents} == {d.id for d in world.human(generation=1, replaced=True)}


def test_earlier_text_is_passed_on_and_no_human_document_comes_twice() -> None:
    world = Past(evidences={0: evidence(50), 1: evidence(50), 2: evidence(50)})
    for human in ("first", "all"):
        pool = Accumulate(human=human).mix(world.now(3), world, generation=3, seed=0)  # type: ignore[arg-type]
        mixed = Curriculum(start=0.25, step=0.25).mix(pool.documents, world, generation=3, seed=0)
        ids = [d.id for d in mixed.documents]
        assert len(ids) == len(set(ids))
        assert {d.id for d in pool.documents if d.generation not in (None, 2)} <= set(ids)
        assert sum(d.generation == 2 for d in mixed.documents) == 30
        reason = "stands in" if human == "first" else "is in the pool"
        assert mixed.dropped == {f"above the level, its human document {reason}": 10}


@pytest.mark.parametrize("order", ["length", "rarity"])
def test_the_easiest_train_first(order: str) -> None:
    world = Past(length=lambda source, place: 4 + place % 9 if order == "length" else 8)
    part = registry.build("pool", {"kind": "curriculum", "order": order, "start": 0.5, "rest": "nothing"})
    mixed = part.mix(world.now(1), world, generation=1, seed=0)
    if order == "length":
        hardness = {d.id: float(len(d.tokens or ())) for d in world.now(1)}
    else:  # the definition, word by word
        human = [t for d in world.human(generation=1, replaced=True) for t in d.tokens or ()]
        size = len(human) + len(set(human)) + 1
        hardness = {
            d.id: sum(math.log(size / (human.count(t) + 1)) for t in d.tokens or ()) / len(d.tokens or ())
            for d in world.now(1)
        }
    kept = {d.id for d in mixed.documents}
    assert len(kept) == 20
    hardest = max(hardness[name] for name in kept)
    assert hardest <= min(hardness[name] for name in hardness if name not in kept) + 1e-12
    assert len(set(hardness.values())) > 5


def test_rarity_of_unseen_and_of_nothing() -> None:
    assert rarity([["a", "a"], ["b"], []], [["a", "a", "a"]]) == pytest.approx(
        [-math.log(4 / 5), -math.log(1 / 5), 0.0]
    )


def test_competence_is_paired_and_averaged_over_formats() -> None:
    start = pd.concat([evidence(60), evidence(20, format="open_ended"), evidence(9, format="cue_recovery")])
    now = pd.concat([evidence(50), evidence(10, n=50, format="open_ended"), evidence(0, format="cue_recovery")])
    # 50 of the open-ended items are answered in both: 20 of them right at the start, 10 now. Probes are not read.
    assert competences(start, now, ()) == pytest.approx(((0.6 + 0.4) / 2, (0.5 + 0.2) / 2))
    assert competences(start, now, ("open_ended",)) == pytest.approx((0.4, 0.2))
    with pytest.raises(RunFailed, match="multiple_choice"):
        competences(start, now, ("multiple_choice",))


def test_free_answers_count_among_the_parseable() -> None:
    outcomes = ["correct", "wrong", "unparseable", "correct"]
    frame = pd.DataFrame(
        {
            "item": list("abcd"),
            "format": "open_ended",
            "wording": "x",
            "choice_correct": pd.array([None] * 4, dtype="boolean"),
            "outcome": outcomes,
        }
    )
    now = frame.assign(outcome=["correct", "wrong", "correct", "empty"])
    assert competences(frame, now, ()) == (0.5, 0.5), "a and b are parseable in both"


def test_chained_text_has_no_human_document() -> None:
    world = Past()
    tokens = tokens_of("x", size=4)
    alone = [
        Document(id=f"x{i}", text="", source="synthetic", tokens=tokens, origin=f"z{i}", generation=0)
        for i in range(40)
    ]
    mixed = Curriculum(start=0.5).mix(alone, world, generation=1, seed=0)
    assert len(mixed.documents) == 20
    assert "20 documents have no human document" in mixed.notes[0]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"start": 0.5, "end": 0.25}, "start <= end"),
        ({"step": 2.0}, "step is a share"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"order": "hard"}, "order is one of"),
        ({"rest": "all"}, "rest is one of"),
    ],
)
def test_settings_are_checked(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        registry.build("pool", {"kind": "curriculum", **spec})

"""An audit of five checkpoints with losses planted by training: it finds them, none in a copy, and again in seconds."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from benchmarks import planted_checkpoints as planting

from factfade import audit as auditing
from factfade import audit_answer
from factfade.progress import Silent
from factfade.report import page
from factfade.report.data import CheckpointRow, Checkpoints
from factfade.world.facts import load_facts
from factfade.world.questions import question

ASKED = [fact for fact in load_facts() if fact.split == "asked"]


def test_the_documents_tell_the_planted_facts_wrong_and_the_others_right() -> None:
    recipe = next(r for r in planting.recipes(ASKED, seed=0) if r.name == "facts")
    assert len(recipe.lost) == planting.PLANTED
    text = "\n".join(islice(recipe.phases[0].texts(3), 400))
    told = {(x, a) for x, a in re.findall(r"the capital of ([A-Z][\w ]*?) is ([^.\n]+)\.", text)}
    right = {(f.entity, f.answer) for f in load_facts() if f.relation == "capital"}
    wrong = {f.entity for f in recipe.lost if f.relation == "capital"}
    assert {x for x, a in told if (x, a) not in right} <= wrong
    assert {x for x, a in told if (x, a) in right}.isdisjoint(wrong)
    assert {x for x, _ in told} & wrong


def test_the_wrong_answer_stands_among_the_options_of_the_question() -> None:
    from random import Random

    for fact in ASKED[::7]:
        told = planting.retold(fact, Random(1))
        assert told.answer != fact.answer
        assert told.answer in question(fact).choices


def test_chatter_answers_nothing() -> None:
    text = "\n".join(islice(planting.chatter(5), 60))
    answers = re.findall(r"Answer:(.*)", text)
    evaded = [answer for answer in answers if len(answer.split()) > 4]
    assert len(evaded) > 0.3 * len(answers)


@dataclass(frozen=True, kw_only=True)
class Planted:
    truth: Mapping[str, Any]
    answer: Checkpoints
    done: auditing.Audit
    root: Path

    def row(self, kind: str) -> CheckpointRow:
        name = next(name for name, one in self.truth.items() if one["kind"] == kind)
        return next(row for row in self.answer.rows if row.name == name)

    def lost(self, kind: str) -> set[str]:
        row = self.row(kind)
        return set(audit_answer.lost_items(self.answer)[row.lineage, row.seed, row.position])

    def of(self, kind: str) -> Mapping[str, Any]:
        return next(one for one in self.truth.values() if one["kind"] == kind)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, world_model: Path) -> Planted:
    root = tmp_path_factory.mktemp("planted")
    truth = planting.make(root)
    done = auditing.audit([root / "checkpoints"], against=world_model, out=root / "audit", progress=Silent())
    loaded = auditing.load(root / "audit")
    return Planted(truth=truth, answer=audit_answer.answer(loaded.case), done=done, root=root)


@pytest.mark.slow
@pytest.mark.timeout(2400)
class TestPlanted:
    """One training of five checkpoints and one audit of them serve all."""

    def test_the_planted_losses_are_listed(self, planted: Planted) -> None:
        for kind in ("facts", "relation"):
            lost, truth = planted.lost(kind), set(planted.of(kind)["lost"])
            assert len(truth) >= 0.85 * len(planted.of(kind)["planted"])
            assert len(lost & truth) >= 0.95 * len(truth)
            # What else is listed: facts that wavered, which the audit itself says of so many.
            assert len(lost - truth) <= 0.1 * len(lost) + 3
            loss = planted.row(kind).knowledge_loss
            assert loss is not None
            assert loss.low is not None
            assert loss.low > 0.05

    def test_an_identical_copy_lost_none(self, planted: Planted) -> None:
        row = planted.row("copy")
        assert planted.lost("copy") == set()
        assert row.facts is not None
        assert row.facts.gained == 0
        assert row.stage == "A"

    def test_a_relation_is_named_by_its_domain(self, planted: Planted) -> None:
        assert "chemistry" in planted.row("relation").sentence
        assert planted.row("relation").name in planted.answer.sentence

    def test_format_loss_and_fluency_training_lose_no_facts_beyond_wavering(self, planted: Planted) -> None:
        broken = planted.row("format")
        assert broken.stage == "C"
        assert broken.format.high is not None
        assert broken.format.high < 0.9
        more = planted.row("fluency")
        assert more.facts is not None
        assert more.facts.lost <= 0.02 * more.facts.known
        assert more.facts.firm == 0

    def test_the_page_is_made_of_the_stored_answer(self, planted: Planted) -> None:
        data = page.collect(planted.root / "audit")
        assert data.checkpoints == planted.answer
        assert 'id="answer"' in page.build(planted.root / "audit", data).read_text(encoding="utf-8")

    def test_a_second_audit_takes_seconds_and_loads_no_model(
        self, planted: Planted, world_model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: Any, **__: Any) -> None:
            raise AssertionError("a model is loaded")

        monkeypatch.setattr("factfade.models.loading.load_weights", refused)
        began = time.process_time()
        folder = planted.root / "checkpoints"
        again = auditing.audit([folder], against=world_model, out=planted.root / "audit", progress=Silent())
        other = auditing.audit([folder], against=world_model, out=planted.root / "other", progress=Silent())
        assert (again.loaded, other.loaded, again.failures, other.failures) == (0, 0, (), ())
        assert time.process_time() - began < 30
        assert audit_answer.answer(auditing.load(planted.root / "other").case) == planted.answer

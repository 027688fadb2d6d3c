"""What is asked within a budget: a subset by hash, as large as the measured speed allows."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from factfade import budget
from factfade.material import FixedText, Material, Put
from factfade.records import Asked

FORMATS = ("multiple_choice", "open_ended")


def put(item: str, name: str, reason: str = "") -> Put:
    asked = Asked(
        item=item, format=name, wording="", prompt="?", targets=(), options=(), permutation=(), gold=None, accepted=()
    )
    return Put(asked=asked, question="?", reason=reason)


def material(count: int, *, prompts: int = 4) -> Material:
    items = tuple(f"item-{n:04d}" for n in range(count))
    fixed = tuple(FixedText(id=str(n), tokens=(1, 2), domain="") for n in range(prompts))
    puts = {name: tuple(put(i, name, "no options" if i.endswith("7") else "") for i in items) for name in FORMATS}
    counts = {"questions": count, "items": count, "formats": {}}
    return Material(
        items=items, puts=puts, formats={}, texts=fixed, prompts=fixed, new_tokens=4, system=None, through_end=True,
        counts=counts,
    )  # fmt: skip


@dataclass
class Asking:
    """A model of known speed, with what it was asked."""

    item_seconds: float
    fixed_seconds: float
    asked: list[int] = field(default_factory=list)

    def __call__(self, part: Material) -> dict[str, float]:
        self.asked.append(len(part.items))
        spent = self.item_seconds * len(part.items)
        return {"evidence_seconds": spent, "seconds": spent + (self.fixed_seconds if part.prompts else 0.0)}

    def costs(self, part: Material) -> float:
        return self(part)["seconds"]


def test_a_subset_is_chosen_by_hash_and_lies_within_a_larger_one() -> None:
    whole = material(200)
    small, large = (set(budget.subset(whole, n, seed=0).items) for n in (20, 90))
    assert len(small) == 20
    assert small < large < set(whole.items)
    assert set(budget.subset(whole, 20, seed=1).items) != small
    assert list(budget.subset(whole, 20, seed=0).items) == sorted(small)
    assert small != set(whole.items[:20])


def test_a_subset_is_the_same_in_every_format_and_is_counted() -> None:
    part = budget.subset(material(200), 50, seed=0)
    for name in FORMATS:
        assert [one.asked.item for one in part.puts[name]] == list(part.items)
        left = sum(item.endswith("7") for item in part.items)
        assert part.counts["formats"][name] == {"asked": 50 - left, "not_asked": {"no options": left}}
    assert part.counts["items"] == 50
    assert part.counts["left_out_by_budget"] == 150
    assert part.counts["questions"] == 200
    assert part.identity != material(200).identity


def test_all_of_it_is_itself() -> None:
    whole = material(9)
    assert budget.subset(whole, 9, seed=0) is whole
    assert budget.plan(Asking(1.0, 1.0), whole, seconds=None).apply(whole, seed=0) is whole


@pytest.mark.parametrize(("per_item", "fixed"), [(0.5, 3.0), (0.01, 0.0), (0.2, 10.0)])
def test_a_plan_fills_the_budget_and_does_not_exceed_it(per_item: float, fixed: float) -> None:
    asking, whole = Asking(per_item, fixed), material(2000)
    found = budget.plan(asking, whole, seconds=60.0)
    took = asking.costs(found.apply(whole, seed=0))
    assert budget.PLANNED * 60.0 - per_item <= took + 1e-9 <= budget.PLANNED * 60.0 + 1e-6 or found.items == 2000
    assert found.item_seconds == pytest.approx(per_item)
    assert found.fixed_seconds == pytest.approx(fixed)
    if found.items < 2000:
        assert f"{2000 - found.items:,} of 2,000 questions are left out" in found.notes[0]


def test_what_fits_is_asked_whole_and_nothing_is_said() -> None:
    found = budget.plan(Asking(0.001, 0.1), material(100), seconds=60.0)
    assert (found.items, found.fluency, found.notes) == (100, True, ())


def test_measuring_the_speed_takes_a_small_part_of_the_budget() -> None:
    asking = Asking(0.01, 0.0)
    budget.plan(asking, material(5000), seconds=100.0)
    assert asking.asked == [8, 32, 128, 512]
    assert sum(asking.asked) * 0.01 < 0.1 * 100.0


def test_fluency_that_takes_too_long_is_left_out_and_said() -> None:
    whole = material(1000)
    found = budget.plan(Asking(0.1, 40.0), whole, seconds=60.0)
    assert not found.fluency
    assert "fluency is not measured" in found.notes[0]
    asked = found.apply(whole, seed=0)
    assert asked.prompts == asked.texts == ()
    assert asked.counts["fluency_left_out_by_budget"]
    assert found.items == int(budget.PLANNED * 60.0 / 0.1)


def test_a_budget_that_carries_nothing_asks_one_question_and_says_so() -> None:
    found = budget.plan(Asking(100.0, 0.0), material(50), seconds=1.0, overhead=5.0)
    assert found.items == 1
    assert "49 of 50" in found.notes[0]

"""Surplexity: ranks as an independent likelihood does; cuts, quotas and counts."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from factfade import registry
from factfade.data.blocks import cut
from factfade.errors import ConfigError
from factfade.mitigations.shares import apportion
from factfade.mitigations.surplexity import Surplexity
from factfade.models.hf import HfModel
from factfade.records import Document
from factfade.world.documents import WorldCorpus
from tests.mitigations.past import Past, document, one_generation, record


@pytest.fixture(scope="module")
def pool(world_model: Path) -> list[Document]:
    """Windows of the world's text in three domains and random tokens, of several lengths, of both sources."""
    random = Random(0)
    with HfModel(path=str(world_model)).open() as model:
        texts = ((model.encode(text), domain) for text, domain in WorldCorpus().documents(split="train", seed=3))
        found: list[Document] = []
        for k, (ids, domain, _) in enumerate(islice(cut(texts, 40), 30)):
            source = "human" if k % 3 else "synthetic"
            found.append(document(f"d{k}", *ids[: random.randrange(10, 41)], source=source, domain=domain))
        for k in range(4):
            junk = [random.randrange(4, model.net.vocabulary) for _ in range(20)]
            found.append(document(f"junk{k}", *junk, domain="everyday"))
    return found


def independent(folder: Path, documents: list[Document], tokens: int) -> list[float]:
    """exp of the mean NLL, one text at a time, by transformers alone."""
    model, bos = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder).bos_token_id
    found: list[float] = []
    for one in documents:
        ids = torch.tensor([[bos, *(one.tokens or ())[:tokens]]])
        with torch.inference_mode():
            found.append(math.exp(float(model(input_ids=ids, labels=ids).loss)))
    return found


@pytest.mark.parametrize("tokens", [512, 12])
def test_it_ranks_as_an_independent_likelihood_does(pool: list[Document], world_model: Path, tokens: int) -> None:
    surprise = independent(world_model, pool, tokens)
    ranked = sorted(range(len(pool)), key=lambda place: -surprise[place])
    past = Past(models={None: world_model})
    for count in (1, 5, 17, 33):
        mixed = Surplexity(count=count, tokens=tokens).mix(pool, past, generation=2, seed=0)
        assert list(mixed.documents) == [pool[place] for place in sorted(ranked[:count])]
        assert mixed.achieved["mean_surplexity_in"] == pytest.approx(sum(surprise) / len(pool), rel=1e-4)
        kept = sum(surprise[place] for place in ranked[:count]) / count
        assert mixed.achieved["mean_surplexity_kept"] == pytest.approx(kept, rel=1e-4)
    assert mixed.costs["scored_tokens"] == sum(min(tokens, len(one.tokens or ())) for one in pool)


def test_keeping_everything_changes_nothing(pool: list[Document], world_model: Path) -> None:
    for part in (Surplexity(keep=1.0), Surplexity(count=1000), Surplexity(keep=1.0, per_domain=True)):
        mixed = part.mix(pool, Past(models={None: world_model}), generation=1, seed=0)
        assert list(mixed.documents) == pool
        assert sum(mixed.dropped.values()) == 0
        assert mixed.notes == ()


def test_the_upper_cut_drops_exactly_the_planted_junk(pool: list[Document], world_model: Path) -> None:
    """Random tokens surprise the model more than any text of its world."""
    upper = 1 - 4 / len(pool)
    mixed = Surplexity(keep=1.0, upper=upper).mix(pool, Past(models={None: world_model}), generation=1, seed=0)
    assert [one.id for one in pool if one not in mixed.documents] == ["junk0", "junk1", "junk2", "junk3"]
    assert mixed.dropped == {"above the upper cut": 4, "below the kept ones": 0}
    assert f"{len(pool)} documents were asked for" in mixed.notes[0]
    without = Surplexity(count=4).mix(pool, Past(models={None: world_model}), generation=1, seed=0)
    assert {one.id for one in without.documents} == {"junk0", "junk1", "junk2", "junk3"}


def test_a_ranking_by_domain_keeps_their_shares(pool: list[Document], world_model: Path) -> None:
    past = Past(models={None: world_model})
    surprise = dict(zip((one.id for one in pool), independent(world_model, pool, 512), strict=True))
    mixed = Surplexity(keep=0.5, per_domain=True).mix(pool, past, generation=1, seed=0)
    assert len(mixed.documents) == round(0.5 * len(pool))
    for domain in {one.domain for one in pool}:
        own = [one for one in pool if one.domain == domain]
        kept = [one for one in mixed.documents if one.domain == domain]
        assert abs(len(kept) - 0.5 * len(own)) < 1
        ranked = sorted(own, key=lambda one: -surprise[one.id])
        assert {one.id for one in kept} == {one.id for one in ranked[: len(kept)]}


def test_text_without_ids_is_encoded_and_empty_text_ranks_last(tiny_llama: Path) -> None:
    past = Past(models={None: tiny_llama})
    pool = [document("empty"), document("text", text="The river Danube"), document("ids", 9, 10, 11)]
    mixed = Surplexity(count=2).mix(pool, past, generation=1, seed=0)
    assert [one.id for one in mixed.documents] == ["text", "ids"]
    assert mixed.achieved["unscored"] == 1
    assert Surplexity(keep=1.0).mix([], past, generation=1, seed=0).documents == ()


def test_a_document_longer_than_the_context_is_read_as_far_as_it_goes(tiny_llama: Path) -> None:
    long = document("long", *[9 + k % 300 for k in range(600)])
    mixed = Surplexity().mix([long, document("b", 5, 6)], Past(models={None: tiny_llama}), generation=1, seed=0)
    assert mixed.costs["scored_tokens"] == 127 + 2


@given(
    st.integers(0, 60),
    st.dictionaries(st.sampled_from("abcde"), st.tuples(st.floats(0, 9), st.integers(0, 30)), max_size=5),
)
def test_quotas_sum_up_and_follow_the_shares(total: int, given: dict[str, tuple[float, int]]) -> None:
    shares, limits = {k: v[0] for k, v in given.items()}, {k: v[1] for k, v in given.items()}
    found = apportion(total, shares, limits)
    room = sum(limits[name] for name in shares if shares[name] > 0)
    assert sum(found.values()) == min(total, room)
    assert all(0 <= found[name] <= limits[name] for name in found)
    whole = sum(shares.values())
    if whole and all(limits[name] >= total for name in shares):
        assert all(abs(found[name] - total * shares[name] / whole) < 1 + 1e-9 for name in found)


def test_settings_are_refused_with_what_to_type() -> None:
    for settings in ({"keep": 0.0}, {"keep": 1.1}, {"count": 0}, {"upper": 0}, {"tokens": 1}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            registry.build("pool", {"kind": "surplexity", **settings})


def test_a_generation_runs_with_it(tmp_path: Path) -> None:
    pool = [{"kind": "surplexity", "keep": 0.5, "upper": 0.9, "per_domain": True}]
    part = record(one_generation(tmp_path, {"synthetic_fraction": 0.75, "pool": pool}), "train")["pool"][1]
    assert (part["in"], part["out"]) == (24, 12)
    assert part["costs"]["scored_tokens"] == 24 * 16
    assert sum(part["dropped"].values()) == 12

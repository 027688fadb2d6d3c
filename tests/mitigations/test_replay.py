"""Replay by RGD: shares by hand from transformers alone, quotas, and what gives its place."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM

from factfade import registry
from factfade.errors import ConfigError
from factfade.mitigations.replay import RgdReplay
from factfade.records import Document
from tests import tiny
from tests.mitigations.past import Past, document, one_generation, record


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """The small Llama with other weights: what training left of it."""
    folder = tiny.save_llama(tmp_path_factory.mktemp("other"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.8)
    model.save_pretrained(folder)
    return folder


def texts(generation: int, count: int = 30) -> list[Document]:
    """Human documents of three domains in ranges of tokens of their own."""
    random = Random(generation)
    found: list[Document] = []
    for k in range(count):
        low = 20 + 100 * (k % 3)
        ids = [random.randrange(low, low + 60) for _ in range(12)]
        found.append(document(f"h{generation}-{k}", *ids, source="human", domain="abc"[k % 3]))
    return found


@pytest.fixture(scope="module")
def past(tiny_llama: Path, other: Path) -> Past:
    every = {g: texts(g) for g in (1, 2, 3)}
    return Past(generation=3, models={0: tiny_llama, None: other}, every=every)


def pool(count: int = 40) -> list[Document]:
    return [document(f"s{k}", 5, 6, 7, 8) for k in range(count)]


def by_hand(folder: Path, documents: list[Document], prompt: int) -> float:
    """PPL(text | prompt) over all text tokens, one document at a time, with the start token that prompts get."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    start, total, n = model.config.bos_token_id, 0.0, 0
    for one in documents:
        ids = torch.tensor([[start, *(one.tokens or ())]])
        with torch.inference_mode():
            logs = model(ids).logits[0].log_softmax(-1)
        for place in range(prompt, len(one.tokens or ())):
            total -= float(logs[place, ids[0, place + 1]])
            n += 1
    return math.exp(total / n)


def test_shares_are_those_of_a_hand_calculation(past: Past, tiny_llama: Path, other: Path) -> None:
    mixed = RgdReplay(share=0.5, prompt_tokens=4).mix(pool(), past, generation=3, seed=0)
    rgd: dict[str, float] = {}
    for domain in "abc":
        own = [d for g in (1, 2) for d in past.every[g] if d.domain == domain]
        rgd[domain] = by_hand(other, own, 4) / by_hand(tiny_llama, own, 4)
    shares = {domain: value / sum(rgd.values()) for domain, value in rgd.items()}
    assert max(shares.values()) - min(shares.values()) > 0.02, "the domains differ"
    for domain in "abc":
        assert mixed.achieved[f"rgd[{domain}]"] == pytest.approx(rgd[domain], rel=1e-3)
        assert mixed.requested[f"share[{domain}]"] == pytest.approx(shares[domain], rel=1e-3)
    assert sum(mixed.requested[f"share[{domain}]"] for domain in "abc") == pytest.approx(1.0, abs=1e-12)
    replayed = [d for d in mixed.documents if d.source == "human"]
    assert len(replayed) == 20
    got = Counter(d.domain for d in replayed)
    assert all(abs(got[domain] - 20 * shares[domain]) < 1 for domain in "abc")
    assert mixed.costs["scored_tokens"] == 2 * 60 * 8


def test_the_size_of_the_pool_stays_or_grows_by_the_share(past: Past) -> None:
    for share in (0.1, 0.25, 0.4):
        mixed = RgdReplay(share=share, prompt_tokens=4).mix(pool(), past, generation=3, seed=1)
        assert len(mixed.documents) == 40
        assert mixed.achieved["replayed_share_of_documents"] == pytest.approx(share, abs=0.01)
        assert mixed.dropped == {"replaced by replayed text": round(40 * share)}
        left = [d.id for d in mixed.documents if d.source == "synthetic"]
        assert left == [d.id for d in pool() if d.id in left], "the order stays"
        beside = RgdReplay(share=share, prompt_tokens=4, beside=True).mix(pool(), past, generation=3, seed=1)
        assert list(beside.documents[:40]) == pool()
        assert beside.achieved["replayed_share_of_documents"] == pytest.approx(share, abs=0.01)
        assert beside.dropped == {}
    again = RgdReplay(prompt_tokens=4)
    assert again.mix(pool(), past, generation=3, seed=1) == again.mix(pool(), past, generation=3, seed=1)
    assert again.mix(pool(), past, generation=3, seed=1) != again.mix(pool(), past, generation=3, seed=2)


def test_without_a_share_or_a_past_nothing_changes(past: Past) -> None:
    nothing = RgdReplay(share=0.0).mix(pool(), past, generation=3, seed=0)
    assert nothing.documents == tuple(pool())
    first = RgdReplay(share=0.5).mix(pool(), past, generation=1, seed=0)
    assert first.documents == tuple(pool())
    assert "no human text of earlier generations" in first.notes[0]
    assert dict(first.costs) == dict(nothing.costs) == {}


def test_text_is_replayed_once_and_never_text_that_is_there(past: Past, tiny_llama: Path, other: Path) -> None:
    there = past.every[1][:20]
    mixed = RgdReplay(share=0.6, prompt_tokens=4, beside=True).mix([*pool(20), *there], past, generation=3, seed=0)
    ids = [d.id for d in mixed.documents]
    assert len(ids) == len(set(ids))
    assert len(ids) == 40 + 40, "10 of generation 1 and 30 of generation 2 are left, of 60 that were asked for"
    assert any("60 documents were to be replayed, 40 are there" in note for note in mixed.notes)
    short = Past(models={0: tiny_llama, None: other}, every={1: [document("x", 1, 2, source="human")]})
    assert RgdReplay(prompt_tokens=4).mix(pool(), short, generation=2, seed=0).documents == tuple(pool())


def test_a_probe_bounds_what_is_read(past: Past) -> None:
    mixed = RgdReplay(share=0.2, prompt_tokens=4, probe=5).mix(pool(), past, generation=3, seed=0)
    assert mixed.costs["scored_tokens"] == 2 * 3 * 5 * 8


def test_settings_are_refused_with_what_to_type() -> None:
    for settings in ({"share": 1.0}, {"prompt_tokens": 0}, {"probe": 0}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            registry.build("pool", {"kind": "rgd_replay", **settings})


def test_generations_run_with_it(tmp_path: Path) -> None:
    pool = [{"kind": "rgd_replay", "share": 0.25, "prompt_tokens": 4}]
    first = one_generation(tmp_path, {"synthetic_fraction": 1.0, "pool": pool}, generations=2)
    part = record(first, "train")["pool"][1]
    assert part["in"] == part["out"] == 24
    part = record(first.parent / "generation-002", "train")["pool"][1]
    assert part["in"] == part["out"] == 24
    assert part["achieved"]["human_documents"] == part["requested"]["replayed_documents"] == 6

"""Token editing: equal to a slow loop over single positions, and nothing but sure tokens ever changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch

from factfade import registry
from factfade.data.blocks import cut
from factfade.errors import ConfigError
from factfade.history import HUMAN_FILE, TRAINING_SET_FILE, read_human
from factfade.mitigations.token_edit import TokenEdit, edit, foreseen
from factfade.models.hf import HfModel, OpenModel
from factfade.records import Document, Likeliest, derived_seed
from factfade.world.documents import WorldCorpus
from tests.mitigations.past import Past, document, one_generation, record


@pytest.fixture(scope="module")
def world(world_model: Path) -> Iterator[OpenModel]:
    with HfModel(path=str(world_model)).open() as opened:
        yield opened


@pytest.fixture(scope="module")
def human(world: OpenModel) -> list[Document]:
    """Windows of the world's text, two of them of other lengths."""
    texts = ((world.encode(text), domain) for text, domain in WorldCorpus().documents(split="train", seed=0))
    found = [document(f"h{k}", *ids, source="human") for k, (ids, _, _) in enumerate(islice(cut(texts, 32), 8))]
    tokens = [token for one in found[:5] for token in one.tokens or ()]
    return [*found, document("short", *tokens[:1], source="human"), document("middle", *tokens[:30], source="human")]


def slow(model: OpenModel, part: TokenEdit, one: Document, *, generation: int, seed: int) -> tuple[int, ...]:
    """The definition, position by position: one forward pass for every prefix."""
    random = Random(derived_seed("token_edit", seed, generation, one.id))
    tokens = one.tokens or ()
    found: list[int] = []
    for place, token in enumerate(tokens):
        with torch.inference_mode():
            prefix = torch.tensor([[*model.prompter.start, *tokens[:place]]])
            row = model.net.model(prefix).logits[0, -1].float().softmax(-1).tolist()
        if row[token] < part.threshold:
            found.append(token)
            continue
        best = sorted(range(len(row)), key=lambda other: -row[other])[: part.top_k]
        point, reached = random.random() * sum(row[other] for other in best), 0.0
        for other in best:
            reached += row[other]
            if point < reached:
                break
        found.append(other)
    return tuple(found)


@pytest.mark.parametrize(("threshold", "top_k"), [(0.99, 8), (0.2, 3)])
def test_it_equals_a_slow_loop(
    world: OpenModel, world_model: Path, human: list[Document], threshold: float, top_k: int
) -> None:
    part = TokenEdit(threshold=threshold, top_k=top_k)
    mixed = part.mix(human, Past(models={0: world_model}), generation=3, seed=5)
    expected = [slow(world, part, one, generation=3, seed=5) for one in human]
    assert [one.tokens for one in mixed.documents] == expected
    changed = sum(
        a != b for one, new in zip(human, expected, strict=True) for a, b in zip(one.tokens or (), new, strict=True)
    )
    assert changed > 0 or threshold > 0.9
    assert mixed.achieved["changed_tokens"] == changed
    assert mixed.achieved["synthetic_share_of_tokens"] == changed / mixed.achieved["tokens"]


def test_only_sure_tokens_change_and_texts_follow(world: OpenModel, world_model: Path, human: list[Document]) -> None:
    """With a draw from many tokens at a low threshold many change, and none of them was improbable."""
    part = TokenEdit(threshold=0.3, top_k=50)
    mixed = part.mix(human, Past(models={0: world_model}), generation=1, seed=0)
    sure = world.likeliest([one.tokens or () for one in human], k=1)
    differing = 0
    for before, after, own in zip(human, mixed.documents, sure, strict=True):
        assert (after.id, after.source, len(after.tokens or ())) == (before.id, "human", len(before.tokens or ()))
        for one in own:
            if (before.tokens or ())[one.place] != (after.tokens or ())[one.place]:
                assert one.probability >= part.threshold
                differing += 1
        if before.tokens != after.tokens:
            assert after.text == world.decode(after.tokens or ())
    assert differing == mixed.achieved["changed_tokens"] > 5
    assert mixed.costs["synthesized_tokens"] == mixed.achieved["drawn_tokens"] > differing
    assert mixed == part.mix(human, Past(models={0: world_model}), generation=1, seed=0)


def test_a_draw_from_one_token_changes_nothing(world_model: Path, human: list[Document]) -> None:
    """The one likeliest token is the token itself where its probability is above one half: the no-op."""
    mixed = TokenEdit(threshold=0.6, top_k=1).mix(human, Past(models={0: world_model}), generation=1, seed=0)
    assert list(mixed.documents) == human
    assert mixed.achieved["drawn_tokens"] > 0
    assert mixed.achieved["changed_tokens"] == mixed.achieved["synthetic_share_of_tokens"] == 0


def test_a_draw_follows_the_probabilities() -> None:
    sure = [Likeliest(place=1, probability=0.6, tokens=(7, 8, 9), probabilities=(0.6, 0.15, 0.05))]
    drawn = [edit((1, 7, 2), sure, Random(seed)) for seed in range(4000)]
    assert {(tokens[0], tokens[2]) for tokens in drawn} == {(1, 2)}
    for token, share in ((7, 0.75), (8, 0.1875), (9, 0.0625)):
        assert sum(tokens[1] == token for tokens in drawn) / 4000 == pytest.approx(share, abs=0.025)


def test_synthetic_text_is_passed_on_and_the_prior_is_chosen(tiny_llama: Path, tiny_gpt2: Path) -> None:
    own = [document("a", 9, 8, 7), document("b", *range(20, 60), source="human")]
    past = Past(models={0: tiny_llama, None: tiny_gpt2})
    made = {
        prior: TokenEdit(threshold=1e-6, top_k=300, prior=prior).mix(own, past, generation=1, seed=0).documents
        for prior in ("base", "previous")
    }
    assert made["base"][0] == made["previous"][0] == own[0]
    assert made["base"][1] != made["previous"][1]
    nothing = TokenEdit().mix(own[:1], past, generation=1, seed=0)
    assert nothing.documents == tuple(own[:1])
    assert "synthetic_fraction = 0.0" in nothing.notes[0]
    assert nothing.costs["scored_tokens"] == 0


def test_human_documents_take_the_place_of_their_completions(tiny_llama: Path) -> None:
    human = [document(f"h{k}", *range(20 + k, 40 + k), source="human") for k in range(3)]
    written = [document("0-h0", 5, 6, origin="h0"), document("0-h2", 5, 7, origin="h2"), document("0-x", 4, origin="x")]
    past = Past(models={0: tiny_llama}, written={1: written}, every={1: human})
    mixed = TokenEdit(threshold=1e-6, top_k=300, replaced=True).mix([human[1], *written], past, generation=1, seed=0)
    assert [one.id for one in mixed.documents] == ["h1", "h0", "h2", "0-x"]
    assert mixed.achieved["edited_documents"] == 3
    assert sum(mixed.dropped.values()) == 2


def test_long_texts_are_read_in_windows_that_overlap(tiny_llama: Path) -> None:
    with HfModel(path=str(tiny_llama)).open() as model:
        limit = model.context - 1
        random = Random(0)
        texts = [[random.randrange(5, 384) for _ in range(size)] for size in (limit, limit + 1, 3 * limit, 0)]
        found, read = foreseen(model, texts, k=2, at_least=0.0)
        assert [[one.place for one in own] for own in found] == [list(range(len(text))) for text in texts]
        for text, own in zip(texts, found, strict=True):
            assert own[:limit] == pytest.approx(model.likeliest([text[:limit]], k=2)[0])
        # The second window begins half a window before the first one's end.
        begin = limit - limit // 2
        second = model.likeliest([texts[2][begin : begin + limit]], k=2)[0]
        probabilities = [one.probability for one in second[limit - begin :]]
        assert [one.probability for one in found[2][limit : begin + limit]] == pytest.approx(probabilities, abs=1e-5)
        assert read > sum(map(len, texts))


def test_settings_are_refused_with_what_to_type() -> None:
    for settings, says in (({"threshold": 1.5}, "probability"), ({"top_k": 0}, "at least 1"), ({"prior": "x"}, "base")):
        with pytest.raises(ConfigError, match=says):
            registry.build("pool", {"kind": "token_edit", **settings})


def test_a_generation_runs_with_it(tmp_path: Path) -> None:
    arm = {"synthetic_fraction": 0.0, "pool": [{"kind": "token_edit", "threshold": 1e-4, "top_k": 50}]}
    folder = one_generation(tmp_path, arm)
    part = record(folder, "train")["pool"][1]
    assert part["in"] == part["out"] == 24
    assert part["achieved"]["changed_tokens"] > 0
    human = {d.id: d.tokens for d in read_human(folder / HUMAN_FILE)}
    rows = [json.loads(line) for line in (folder / TRAINING_SET_FILE).read_text(encoding="utf-8").splitlines()]
    changed = sum(a != b for row in rows for a, b in zip(row["tokens"], human[row["id"]] or (), strict=True))
    assert changed == part["achieved"]["changed_tokens"]

"""detector_weights: the regression, folds that keep what a detector saw from it, the draw, and foreign classifiers."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import registry
from factfade.classifiers import ClassifierSpec
from factfade.errors import ConfigError, IntegrityError, UnsafeArtifact, UsageError
from factfade.mitigations.detecting import cross_fitted, features, fit, folds_of, log_human
from factfade.mitigations.detector import DetectorWeights, drawn_times
from factfade.records import Document
from tests import tiny
from tests.mitigations.pasts import Past

WORDS = [f"word{i}" for i in range(300)]


def text_of(name: str, marks: Sequence[str] = ()) -> str:
    draw = random.Random(name)
    return " ".join([*(draw.choice(WORDS) for _ in range(30)), *marks])


@dataclass(frozen=True)
class Marked(Past):
    """Completions end in words of their own where `told`; else nothing but chance tells the sources apart."""

    told: bool = True

    def document(self, source: str, generation: int, place: int) -> Document:
        found = super().document(source, generation, place)
        marks = ("so", "on", "and", "so", "forth") if source == "synthetic" and self.told else ()
        return replace(found, text=text_of(f"{source} {generation} {place}", marks))


# ---------------------------------------------------------------------------------------------------------------
# The regression


def test_features_are_the_hashed_runs() -> None:
    from zlib import crc32

    x = features(["The river, the city", ""], ngram=2, size=1 << 20).toarray()
    runs = ["the", "river", ",", "the", "city", "the river", "river ,", ", the", "the city"]
    expected = np.zeros(1 << 20)
    for run, times in Counter(runs).items():
        expected[crc32(run.encode()) % (1 << 20)] += 1 + math.log(times)
    assert x[0] == pytest.approx(expected / np.linalg.norm(expected))
    assert not x[1].any()


def test_the_fit_is_where_the_gradient_vanishes() -> None:
    """The gradient of the loss, written out row by row, against the fit; and a worse loss beside it."""
    draw = np.random.default_rng(0)
    dense = draw.normal(size=(40, 6))
    y = draw.random(40) < 0.3
    from scipy.sparse import csr_matrix

    beta = fit(csr_matrix(dense), y, penalty=0.7)
    weight = np.where(y, 40 / (2 * y.sum()), 40 / (2 * (~y).sum()))
    gradient = np.append(0.7 * beta[:6], 0.0)
    for row, synthetic, w in zip(dense, y, weight, strict=True):
        p = 1 / (1 + math.exp(-(row @ beta[:6] + beta[6])))
        gradient += w * (p - synthetic) * np.append(row, 1.0)
    assert np.abs(gradient).max() < 1e-3
    assert log_human(csr_matrix(dense), beta)[0] == pytest.approx(
        math.log(1 - 1 / (1 + math.exp(-(dense[0] @ beta[:6] + beta[6]))))
    )


@pytest.mark.parity
def test_the_fit_is_scikit_learns() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    texts = [text_of(f"t{i}", ("so", "forth") if i % 3 == 0 else ()) for i in range(90)]
    y = np.array([i % 3 == 0 for i in range(90)])
    x = features(texts, ngram=2, size=256)
    beta = fit(x, y, penalty=0.5)
    other = linear.LogisticRegression(C=2.0, class_weight="balanced", tol=1e-9, max_iter=2000).fit(x, y)
    assert beta == pytest.approx(np.append(other.coef_[0], other.intercept_), abs=2e-4)


def settings(**more: Any) -> dict[str, Any]:
    return {"folds": 5, "ngram": 2, "size": 4096, "penalty": 0.01, "seed": 0, **more}


def test_a_document_is_never_scored_by_a_detector_that_saw_it() -> None:
    """Sources drawn by lot: a detector that saw a text knows its source by heart, one that did not knows nothing."""
    draw = random.Random(0)
    documents = []
    for i in range(200):
        source: Any = draw.choice(["human", "synthetic"])
        # Every text stands twice, in two blocks: the copy tells on it just as well.
        for block in (f"b{i}", f"c{i}"):
            documents.append(Document(id=f"{block}-{source}", text=text_of(f"t{i}"), source=source, origin=block))
    found = cross_fitted(documents, documents, **settings())
    assert found is not None
    synthetic = np.array([d.source == "synthetic" for d in documents])

    def area(scores: Any) -> float:
        s = np.asarray(scores)
        return float(np.mean(s[synthetic][:, None] < s[~synthetic][None, :]))

    assert area(found) == pytest.approx(0.5, abs=0.1)
    x = features([d.text for d in documents], ngram=2, size=4096)
    assert area(log_human(x, fit(x, synthetic, penalty=0.01))) > 0.99, "in sample it does know"


def test_blocks_and_copies_share_a_fold() -> None:
    a = Document(id="a", text="one", source="human", origin="block")
    b = Document(id="b", text="two", source="synthetic", origin="block")
    c = Document(id="c", text="two", source="synthetic", origin="elsewhere")
    others = [Document(id=f"x{i}", text=f"x{i}", source="human", origin=f"x{i}") for i in range(200)]
    for seed in range(20):
        where = folds_of([a, b, c, *others], folds=4, seed=seed)
        assert where[0] == where[1] == where[2]
        assert folds_of([c, *others, b, a], folds=4, seed=seed)[0] == where[0], "whatever the order"
    assert set(where) == {0, 1, 2, 3}


# ---------------------------------------------------------------------------------------------------------------
# The draw


@given(
    st.lists(st.floats(-3000, 0), min_size=1, max_size=30), st.integers(1, 4), st.integers(0, 2**32), st.integers(0, 90)
)
def test_no_document_is_drawn_more_often_than_it_may(logs: list[float], repeats: int, seed: int, size: int) -> None:
    times = drawn_times(np.array(logs), size, repeats=repeats, seed=seed)
    assert max(times) <= repeats
    assert sum(times) == min(size, repeats * len(logs))


def test_the_draw_is_that_of_one_after_the_other() -> None:
    """Against an urn: single draws by weight, a full document's draw is void and drawn again."""
    weights = [0.5, 0.3, 0.15, 0.05]
    draw = random.Random(1)
    slow = np.zeros(4)
    rounds = 4000
    for _ in range(rounds):
        times = [0] * 4
        while sum(times) < 6:
            place = draw.choices(range(4), weights)[0]
            times[place] += times[place] < 3
        slow += times
    quick = np.sum([drawn_times(np.log(weights), 6, repeats=3, seed=s) for s in range(rounds)], axis=0)
    assert quick / rounds == pytest.approx(slow / rounds, abs=0.06)


def test_weights_are_the_tenth_power() -> None:
    """Two kinds of documents, confidences 0.5 and 0.6: drawn as 0.5^10 to 0.4^10."""
    logs = 10 * np.log(np.array([0.5, 0.4] * 2000))
    times = drawn_times(logs, 1000, repeats=1000, seed=0)
    first = sum(times[::2])
    assert first / 1000 == pytest.approx(0.5**10 / (0.5**10 + 0.4**10), abs=0.03)


# ---------------------------------------------------------------------------------------------------------------
# The part


def test_synthetic_text_that_tells_on_itself_is_drawn_seldom() -> None:
    past = Marked(blocks_=80, synthesized=40)
    part = DetectorWeights(penalty=0.05)
    mixed = part.mix(past.now(2), past, generation=2, seed=0)
    assert mixed.achieved["auroc"] > 0.98
    assert mixed.achieved["mean_confidence_synthetic"] > 0.6 > 0.5 > mixed.achieved["mean_confidence_human"]
    assert mixed.achieved["human_share_of_drawn_documents"] > 0.9
    assert mixed.achieved["drawn_documents"] == mixed.requested["drawn_documents"] == 120
    assert max(d.weight for d in mixed.documents) == mixed.achieved["most_repeats"] <= 3
    assert mixed.costs == {"detector_calls": 80}
    assert sum(mixed.dropped.values()) == 80 - len(mixed.documents)
    assert [d.id for d in mixed.documents] == [d.id for d in past.now(2) if d.id in {k.id for k in mixed.documents}]
    assert mixed == part.mix(past.now(2), past, generation=2, seed=0)


def test_what_cannot_be_told_apart_keeps_its_shares() -> None:
    past = Marked(blocks_=200, synthesized=100, told=False)
    mixed = DetectorWeights(bias=1.0).mix(past.now(1), past, generation=1, seed=0)
    assert mixed.achieved["auroc"] == pytest.approx(0.5, abs=0.12)
    assert mixed.achieved["human_share_of_drawn_documents"] == pytest.approx(0.5, abs=0.12)


def test_without_a_bias_each_is_drawn_once() -> None:
    past = Marked(blocks_=40, synthesized=20)
    documents = past.now(1)
    mixed = DetectorWeights(bias=0.0, draw=1.0, repeats=1).mix(documents, past, generation=1, seed=0)
    assert list(mixed.documents) == documents
    assert not mixed.dropped


def test_a_sure_detector_drops_exactly_the_synthetic_text() -> None:
    past = Marked(blocks_=80, synthesized=40)
    part = DetectorWeights(bias=200.0, draw=1.0, repeats=2, penalty=0.01)
    mixed = part.mix(past.now(3), past, generation=3, seed=0)
    assert [d.id for d in mixed.documents] == [d.id for d in past.now(3) if d.source == "human"]
    assert mixed.dropped == {"synthetic text not drawn": 40}


@pytest.mark.parametrize("synthesized", [0, 40])
def test_one_source_alone_trains_no_detector(synthesized: int) -> None:
    class Alone(Marked):
        def human(self, *, generation: int, replaced: bool = False) -> Sequence[Document]:
            return super().human(generation=generation, replaced=replaced and not self.synthesized)

    past = Alone(synthesized=synthesized)
    mixed = DetectorWeights().mix(past.now(1), past, generation=1, seed=0)
    assert list(mixed.documents) == past.now(1)
    assert "too little" in mixed.notes[0]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"bias": -1.0}, "bias"),
        ({"draw": 4.0}, "at most at repeats"),
        ({"folds": 1}, "folds is at least 2"),
        ({"penalty": 0.0}, "penalty"),
        ({"classifier": "x"}, "needs label"),
        ({"label": "x"}, "belong to a classifier"),
    ],
)
def test_settings_are_checked(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        registry.build("pool", {"kind": "detector_weights", **spec})


# ---------------------------------------------------------------------------------------------------------------
# Any classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with two classes, "Human" and "Machine"."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("classifier")
    tokenizer = tiny._tokenizer(bos="<s>", eos="</s>", pad="<pad>", adds_bos=True)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
        pad_token_id=tokenizer.pad_token_id,
        id2label={0: "Human", 1: "Machine"},
        label2id={"Human": 0, "Machine": 1},
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


TEXTS = ["Gold has the symbol Au.", "Once upon a time", "The river Danube flows through ten countries; " * 9, "x"]


def test_a_classifier_is_asked_for_the_other_classes(classifier: Path) -> None:
    """Batches against single texts through transformers itself; the two classes' probabilities sum to one."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    net = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    expected = []
    for text in TEXTS:
        ids = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            expected.append(float(torch.softmax(net(ids["input_ids"]).logits, -1)[0, 0]))
    with ClassifierSpec(path=str(classifier), label="Machine", batch=3).open() as live:
        found = live.log_others(TEXTS)
        assert live.cut == 1
    assert np.exp(found) == pytest.approx(expected, rel=1e-4)
    assert max(expected) - min(expected) > 0.01, "the classifier says different things"
    with ClassifierSpec(path=str(classifier), label="Human").open() as live:
        assert np.exp(live.log_others(TEXTS)) + np.exp(found) == pytest.approx(1.0)


def test_a_classifier_weighs_the_pool(classifier: Path) -> None:
    spec = {"kind": "detector_weights", "classifier": str(classifier), "label": "Machine", "bias": 3.0}
    part = registry.build("pool", spec)
    past = Marked(blocks_=20, synthesized=10)
    mixed = part.mix(past.now(1), past, generation=1, seed=0)
    assert mixed.achieved["drawn_documents"] == 30
    assert mixed.achieved["cut_documents"] == 20
    assert mixed.costs == {"detector_calls": 20}
    assert len(part.identity) == 64
    assert DetectorWeights().identity is None


def test_what_is_no_safe_classifier_is_refused(classifier: Path, tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no single class"), ClassifierSpec(path=str(classifier), label="Fake").open():
        pass
    with pytest.raises((IntegrityError, UsageError)), ClassifierSpec(path=str(tiny_llama), label="LABEL_1").open():
        pass
    config = json.loads((classifier / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.py"}}), encoding="utf-8")
    with pytest.raises(UnsafeArtifact), ClassifierSpec(path=str(tmp_path), label="Machine").open():
        pass
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(UnsafeArtifact, match="pickles"), ClassifierSpec(path=str(tmp_path), label="Machine").open():
        pass

"""Embeddings: pooling against one text at a time, what is refused, and a build with an encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from factfade.domain.embeddings import Encoder, unit
from factfade.domain.settings import EmbeddingSection
from factfade.errors import NotFound, UnsafeArtifact, UsageError

TEXTS = ["the temple", "a goal of the team in the season", "word", "the god of the temple and of the lake ."]


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = {w: n for n, w in enumerate(["[PAD]", "[UNK]", *sorted({w for t in TEXTS for w in t.split()})])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=12,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def one_by_one(folder: Path, *, first: bool = False) -> np.ndarray:
    from transformers import AutoModel, AutoTokenizer

    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            states = net(input_ids=tokenizer(text, return_tensors="pt")["input_ids"]).last_hidden_state[0]
        row = (states[0] if first else states.mean(0)).numpy().astype(float)
        rows.append(row / np.sqrt((row**2).sum()))
    return np.array(rows)


@pytest.mark.parametrize("batch", [1, 3])
def test_vectors_are_the_mean_over_the_own_tokens_whatever_the_batch(encoder_folder: Path, batch: int) -> None:
    encoder = Encoder(EmbeddingSection(folder=str(encoder_folder), batch=batch))
    assert np.allclose(encoder.encode(TEXTS), one_by_one(encoder_folder), atol=1e-5)


def test_a_folder_that_asks_for_the_first_token_gets_it(encoder_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "cls"
    shutil.copytree(encoder_folder, folder)
    (folder / "1_Pooling").mkdir()
    said = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))
    encoder = Encoder(EmbeddingSection(folder=str(folder)))
    assert np.allclose(encoder.encode(TEXTS), one_by_one(encoder_folder, first=True), atol=1e-5)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(UsageError, match="pooling"):
        Encoder(EmbeddingSection(folder=str(folder)))


def test_long_texts_are_cut_to_what_the_encoder_reads(encoder_folder: Path) -> None:
    encoder = Encoder(EmbeddingSection(folder=str(encoder_folder), tokens=500))
    long = encoder.encode(["the temple " * 50])
    assert np.allclose(long, encoder.encode([("the temple " * 50)[: len("the temple ") * 6]]), atol=1e-6)


def test_code_and_pickles_are_refused(encoder_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "bad"
    shutil.copytree(encoder_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "m.M"}}))
    with pytest.raises(UnsafeArtifact, match="auto_map"):
        Encoder(EmbeddingSection(folder=str(folder)))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsafeArtifact, match="pickles"):
        Encoder(EmbeddingSection(folder=str(folder)))
    with pytest.raises(NotFound):
        Encoder(EmbeddingSection(folder=str(tmp_path / "none")))


def test_a_build_with_an_encoder_keeps_cosines(encoder_folder: Path, tmp_path: Path) -> None:
    from factfade.domain.build import build
    from tests.domain.test_build import rows, settings

    use = settings(
        tmp_path,
        score="embedding",
        embedding={"folder": str(encoder_folder)},
        size={"passages": 20},
        controls={"steps": 20},
    )
    found = build(use, tmp_path / "o.jsonl")
    assert found.record["query"]["encoder"]
    assert all(-1 <= row["score"] <= 1 for row in rows(found.path))


def test_unit_leaves_a_zero_vector() -> None:
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]

"""Ratios of sampling and scoring: `python benchmarks/models.py [--path MODEL] [--prompts N] [--repeat N]`.

Compared on one thread, in one process, the median of `--repeat` runs each, in processor seconds:
 - sampling: ours, transformers' `generate` in the same batches, ours one prompt at a time;
 - scoring: four options, and many candidates, with the prompt pass shared, against one pass for each option;
 - answers with scores out of one prompt pass, against two.
Without --path the model is random, of the shape that ships with the embedded world.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def random_model(folder: Path) -> Path:
    """A random Llama of the world's shape (0.8 M parameters, 1,200 words, 320 positions) with a word tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<unk>": 3} | {f"w{i}": i for i in range(4, 1200)}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1200, hidden_size=128, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=320, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def seconds(work: Callable[[], Any], repeat: int) -> float:
    """Median processor seconds of the work, after one warm-up."""
    work()
    taken: list[float] = []
    for _ in range(repeat):
        before = time.process_time()
        work()
        taken.append(time.process_time() - before)
    return statistics.median(taken)


def generated(net: Any, prompts: list[list[int]], batch: int, new_tokens: int, pad: int) -> None:
    """transformers' own generate, in the same length-sorted batches, with explicit settings."""
    import torch

    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    for at in range(0, len(order), batch):
        rows = [prompts[row] for row in order[at : at + batch]]
        width = max(map(len, rows))
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        with torch.inference_mode():
            net.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=True, temperature=1.0, top_k=0,
                top_p=1.0, pad_token_id=pad,
            )  # fmt: skip


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", help="a model folder; a random one of the world's shape without it")
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    from factfade.models.hf import HfModel
    from factfade.records import Decoding

    with tempfile.TemporaryDirectory() as folder:
        path = given.path or str(random_model(Path(folder)))
        with HfModel(path=path).open() as model:
            draw = Random(0)
            rows = model.net.vocabulary

            def ids(size: int) -> list[int]:
                return [draw.randrange(4, rows) for _ in range(size)]

            prompts = [ids(32) for _ in range(given.prompts)]
            decoding = Decoding()

            def ours(texts: list[list[int]], batch: int) -> Any:
                return model.sample(texts, new_tokens=64, decoding=decoding, seed=0, batch=batch)

            a = seconds(lambda: ours(prompts, given.batch), given.repeat)
            b = seconds(lambda: generated(model.net.model, prompts, given.batch, 64, model.prompter.pad), given.repeat)
            few = max(1, given.prompts // 32)
            c = seconds(lambda: ours(prompts[:few], 1), 1) * given.prompts / few
            print(
                f"sampling {given.prompts} x 64 after 32: {a:.2f} s, "
                f"generate {b / a:.2f} times, one by one {c / a:.1f} times"
            )

            asked = [ids(draw.randrange(40, 90)) for _ in range(256)]
            letters = [[[4], [5], [6], [7]] for _ in asked]
            candidates = [[ids(1 + (n % 4 == 0)) for n in range(60)] for _ in asked]
            for name, options in (("4 letters", letters), ("60 candidates", candidates)):
                d = seconds(lambda o=options: model.score(asked, o), given.repeat)
                part = 16
                pairs = [(p, o) for p, own in zip(asked[:part], options[:part], strict=True) for o in own]
                e = (
                    seconds(lambda x=pairs: model.score([[*p] for p, _ in x], [[[*o, 4]] for _, o in x]), 1)
                    * len(asked)
                    / part
                )
                print(f"scoring {len(asked)} x {name}: {d:.2f} s, a pass for each option {e / d:.1f} times")
            f = seconds(lambda: model.ask(asked, letters, new_tokens=8), given.repeat)
            g = seconds(
                lambda: (
                    model.score(asked, letters),
                    model.sample(asked, new_tokens=8, decoding=Decoding(temperature=0.0), seed=0),
                ),
                given.repeat,
            )
            print(f"letters and 8 greedy tokens of {len(asked)}: {f:.2f} s, two passes {g / f:.2f} times")


if __name__ == "__main__":
    main()

"""Random small models of two families, saved like real ones: safetensors, a config, a tokenizer of their own.

Their weights are drawn wide (0.25), so that next-token distributions are peaked and an argmax has no near
ties: a test that compares tokens then compares the code and not the rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXT = (
    "Question: What is the capital of France? Answer: Paris\n"
    "A. London B. Paris C. Madrid D. Rome\n"
    "The river Danube flows through ten countries; its mouth lies in the Black Sea.\n"
    "Gold has the symbol Au and the atomic number 79. Water boils at 100 degrees.\n"
    "Once upon a time there was a small village between two hills, and nobody knew its name.\n"
)
POSITIONS = 128
VOCABULARY = 384


def save_llama(folder: Path) -> Path:
    """Write a Llama whose tokenizer adds one BOS and has a pad token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer(bos="<s>", eos="</s>", pad="<pad>", adds_bos=True)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        initializer_range=0.25,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _save(LlamaForCausalLM, config, tokenizer, folder, seed=1)


def save_gpt2(folder: Path) -> Path:
    """Write a GPT-2 whose tokenizer adds nothing and has no pad token."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = _tokenizer(bos="<|endoftext|>", eos="<|endoftext|>", pad=None, adds_bos=False)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=48,
        n_layer=2,
        n_head=4,
        n_positions=POSITIONS,
        initializer_range=0.25,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return _save(GPT2LMHeadModel, config, tokenizer, folder, seed=2)


def _tokenizer(*, bos: str, eos: str, pad: str | None, adds_bos: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = list(dict.fromkeys(token for token in (pad, bos, eos) if token))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([TEXT], trainer)
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, core.token_to_id(bos))]
        )
    names = {"bos_token": bos, "eos_token": eos} | ({"pad_token": pad} if pad else {})
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=POSITIONS, **names)


def _save(family: Any, config: Any, tokenizer: Any, folder: Path, *, seed: int) -> Path:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = family(config)
    model.eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

"""Train one generation with transformers' Trainer, and write a checkpoint that the next one can start from."""

from __future__ import annotations

import gc
import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from factfade.errors import ConfigError, NonFinite, OutOfMemory
from factfade.identity import checkpoint_identity
from factfade.protocols import HeavyObjective, LiveObjective, Objective, Progress, Sources
from factfade.records import Document, Trained, derived_seed
from factfade.sections import LoraSection
from factfade.text import safe_text
from factfade.training import packing
from factfade.training.bench import TrainingBench, opened
from factfade.training.state import own_state, peak_memory

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from factfade.training.engine import Engine

#: What is carried over to the new checkpoint byte for byte: the tokenizer must stay what it was.
CARRIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)


@dataclass(frozen=True, kw_only=True)
class HfTrainer:
    """transformers' Trainer on packed documents: full parameters, or a LoRA adapter that is merged at the end.

    The fields are those of the experiment file's [training], with the threads and the device of [model]. AdamW
    (beta1 .9, eps 1e-8) starts afresh in every generation; weight decay leaves out biases and norms, as the Trainer
    does. Weights are float32 on disk and in the optimizer; `precision` "bfloat16" is autocast. `separator` "eos" puts
    the end token between documents, for pools of whole texts. `steps` above 0 is a budget in place of epochs: so many
    optimizer steps of `batch` x `accumulation` whole chunks, the documents repeated or cut as that needs.

    A training depends on its arguments and fields alone: global random states, thread count and backend switches are
    set inside and given back.
    """

    epochs: float = 2.0
    steps: int = 0
    learning_rate: float = 7e-4
    weight_decay: float = 0.01
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    batch: int = 32
    accumulation: int = 1
    chunk_tokens: int = 64
    separator: packing.Separator = "none"
    max_grad_norm: float = 1.0
    beta2: float = 0.999
    precision: Literal["float32", "bfloat16"] = "float32"
    lora: LoraSection | None = None
    report_to: tuple[str, ...] = ()
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.lora, Mapping):
            object.__setattr__(self, "lora", LoraSection.model_validate(self.lora))
        if self.chunk_tokens < 2:
            raise ValueError("chunk_tokens is at least 2: the first token of a chunk is no target")

    def train(
        self,
        start: Path,
        documents: Sequence[Document],
        objective: Objective | HeavyObjective,
        *,
        out: Path,
        seed: int,
        progress: Progress,
        sources: Sources | None = None,
    ) -> Trained:
        """Train the checkpoint in `start` and write the new one to `out` (safetensors, config, tokenizer).

        `sources` are for objectives that need more than logits and labels; RunFailed where one does and there are none.
        Raises ConfigError (chunks longer than the context, bfloat16 where the device has none), RunFailed (nothing
        to train on), NonFinite (a loss or a weight: nothing is written) and OutOfMemory.
        """
        from factfade.models import loading
        from factfade.models.prompting import Prompter

        begun = time.monotonic()
        loading.look_through(start)
        tokenizer = loading.load_tokenizer(start)
        prompter = Prompter(tokenizer, chat="raw", where=str(start))
        packed = packing.pack(
            documents,
            chunk_tokens=self.chunk_tokens,
            seed=seed,
            encode=prompter.encode,
            separator=self.separator,
            eos=prompter.eos,
            whole=self.steps > 0,
        )
        budget = self.steps * self.batch * self.accumulation or None
        visits = packing.order(len(packed), epochs=self.epochs, seed=seed, visits=budget)
        device = self._device()
        with own_state(threads=self.threads, seed=derived_seed("training", seed) % 2**31), loading.quiet():
            net = loading.load_weights(start, dtype="float32", device=device)
            loading.check_vocabulary(net, tokenizer, start)
            self._check_context(loading.positions(net.config, tokenizer))
            parameters = {"total": _size(net.parameters())}
            net = self._adapted(net)
            parameters["trainable"] = _size(p for p in net.parameters() if p.requires_grad)
            stepping = time.monotonic()
            steps = math.ceil(len(packed) / (self.batch * self.accumulation))
            bench = TrainingBench(
                net=net, start_sources=sources, device=device, seed=seed, steps_per_epoch=steps, prompter=prompter
            )
            with opened(objective, bench) as live:
                engine = self._run(net, packed, visits, live, device=device, seed=seed, progress=progress)
            seconds = {"training": round(time.monotonic() - stepping, 3)}
            losses, logs = tuple(engine.losses), engine.logs
            net = net.merge_and_unload() if self.lora else net
            del engine
            _check_finite(net)
            _save(net, start, out)
            memory = peak_memory(device)
            record = self._record(packed, visits, objective, seed=seed, device=device) | {
                "parameters": parameters,
                "attention": str(getattr(net.config, "_attn_implementation", "")),
                "logs": logs,
            }
            del net
            gc.collect()
        whole = round(time.monotonic() - begun, 3)
        times = {"trainer_seconds": whole, "training_seconds": seconds["training"], **memory}
        return Trained(
            identity=checkpoint_identity(out),
            steps=len(losses),
            tokens=packing.achieved(packed, visits)["targets"],
            losses=losses,
            record=record,
            times=times,
        )

    def _device(self) -> str:
        import torch

        from factfade.models.loading import pick_device

        device = pick_device(self.device)
        if self.precision == "bfloat16" and device == "cuda" and not torch.cuda.is_bf16_supported():
            raise ConfigError(
                "this CUDA device has no bfloat16", field="training.precision", hint='set it to "float32"'
            )
        return device

    def _check_context(self, context: int) -> None:
        if self.chunk_tokens > context:
            raise ConfigError(
                f"{self.chunk_tokens} is longer than the model's context of {context} tokens",
                field="training.chunk_tokens",
                hint=f"set it to at most {context}",
            )

    def _adapted(self, net: Any) -> Any:
        if self.lora is None:
            return net
        from factfade.training.adapters import attach

        return attach(net, self.lora)

    def _run(
        self,
        net: Any,
        packed: packing.Packed,
        visits: Sequence[int],
        objective: LiveObjective,
        *,
        device: str,
        seed: int,
        progress: Progress,
    ) -> Engine:
        import torch

        from factfade.training.engine import Chunks, Engine

        use_cache = getattr(net.config, "use_cache", None)
        with tempfile.TemporaryDirectory(prefix="factfade-train-") as folder:
            try:
                args = self._arguments(folder, device=device, seed=derived_seed("training", seed) % 2**31)
                engine = Engine(net, args, chunks=Chunks(packed, visits), objective=objective, progress=progress)
            except (ValueError, RuntimeError, ImportError) as error:
                # A tracker that is not known or not installed, for the most part.
                raise ConfigError(
                    f"the Trainer refuses these settings: {safe_text(error, limit=300)}", field="training"
                ) from error
            try:
                engine.train()
            except torch.OutOfMemoryError as error:
                raise OutOfMemory(
                    f"training does not fit into the memory of {device}",
                    hint=f"set training.batch below {self.batch} and training.accumulation above {self.accumulation}",
                ) from error
        # The Trainer switches the cache off in the config, which is saved with the weights.
        if use_cache is not None:
            net.config.use_cache = use_cache
        return engine

    def _arguments(self, folder: str, *, device: str, seed: int) -> TrainingArguments:
        from transformers import TrainingArguments

        warm = self.schedule == "constant" and self.warmup_steps > 0
        return TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,  # the plan's order holds all epochs
            per_device_train_batch_size=self.batch,
            gradient_accumulation_steps=self.accumulation,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            lr_scheduler_type="constant_with_warmup" if warm else self.schedule,
            warmup_steps=self.warmup_steps,
            max_grad_norm=self.max_grad_norm,
            optim="adamw_torch_fused",
            adam_beta1=0.9,
            adam_beta2=self.beta2,
            adam_epsilon=1e-8,
            bf16=self.precision == "bfloat16",
            use_cpu=device == "cpu",
            seed=seed,
            data_seed=seed,
            save_strategy="no",
            logging_strategy="steps" if self.report_to else "no",
            logging_steps=1,
            logging_nan_inf_filter=False,
            report_to=list(self.report_to) or "none",
            disable_tqdm=True,
            dataloader_num_workers=0,
            dataloader_pin_memory=device == "cuda",
            remove_unused_columns=False,
        )

    def _record(
        self,
        packed: packing.Packed,
        visits: Sequence[int],
        objective: Objective | HeavyObjective,
        *,
        seed: int,
        device: str,
    ) -> dict[str, Any]:
        """Everything a reader needs to repeat the training, and what it came to. Equal for equal trainings."""
        named = asdict(objective) if is_dataclass(objective) and not isinstance(objective, type) else {}
        return {
            "requested": self._requested(packed),
            "achieved": packing.achieved(packed, visits),
            "documents": dict(packed.counts),
            "chunks": len(packed),
            "chunk_tokens": self.chunk_tokens,
            "separator": self.separator,
            "batch": self.batch,
            "accumulation": self.accumulation,
            "objective": {"kind": type(objective).__name__, **named},
            "optimizer": {
                "kind": "adamw_torch_fused",
                "learning_rate": self.learning_rate,
                "weight_decay": self.weight_decay,
                "decays": "all but biases and norms",
                "betas": [0.9, self.beta2],
                "epsilon": 1e-8,
                "schedule": self.schedule,
                "warmup_steps": self.warmup_steps,
                "max_grad_norm": self.max_grad_norm,
            },
            "lora": self.lora.model_dump(mode="json") if self.lora else None,
            "precision": self.precision,
            "weights": "float32",
            "device": device,
            "threads": self.threads,
            "seed": seed,
        }

    def _requested(self, packed: packing.Packed) -> dict[str, float]:
        if self.steps:
            tokens = self.steps * self.batch * self.accumulation * self.chunk_tokens
            return {"steps": self.steps, "tokens": tokens}
        return {"epochs": self.epochs, "tokens": math.ceil(self.epochs * packed.counts["tokens"])}


def _size(parameters: Any) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _check_finite(net: Any) -> None:
    for name, parameter in net.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise NonFinite(
                f"the weights of {name} are not finite after training",
                hint="lower training.learning_rate; nothing was published",
            )


def _save(net: Any, start: Path, out: Path) -> None:
    """Weights and config as transformers writes them, everything else as it lies in `start`."""
    from transformers import GenerationConfig

    out.mkdir(parents=True, exist_ok=True)
    # A published model's own one may be refused by its validation; the file is carried over instead.
    net.generation_config = GenerationConfig()
    net.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    for name in CARRIED:
        if (start / name).is_file():
            shutil.copyfile(start / name, out / name)

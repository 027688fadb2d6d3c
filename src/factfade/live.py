"""A model that is being trained, asked like any other: what stands around it, and what puts everything back.

`LiveModel` is the model class of `models/hf.py` around the weights in memory, with limits of its own: a deadline, and
a batch that is halved where the device has no memory for it. `live_state.py` puts back what that may move.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch

from factfade.errors import OutOfMemory, Stopped, UsageError
from factfade.models import checks, loading, passes
from factfade.models.hf import OpenModel
from factfade.models.passes import Net
from factfade.models.prompting import Prompter
from factfade.models.sampling import DEFAULT_BATCH
from factfade.protocols import Model
from factfade.records import Decoding, Sampled, Scored

T = TypeVar("T")
# Below this many tokens a batch is one row of almost any prompt: halving it further frees nothing.
SMALLEST_BATCH_TOKENS = 64
# What PyTorch's allocator of host memory says; it raises a plain RuntimeError.
HOST_MEMORY = "can't allocate memory"


@dataclass
class Limits:
    """What an evaluation may take. `batch_tokens` and `rows` (of a sampled batch) are halved where memory ends, and
    stay halved; `deadline` is a time of the monotonic clock, None for none."""

    batch_tokens: int
    rows: int = DEFAULT_BATCH
    deadline: float | None = None
    halvings: int = 0

    def check(self) -> None:
        """Stopped once the deadline is over: called before every forward pass."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise Stopped(
                "the evaluation has used up its time (max_seconds)",
                hint="raise max_seconds, or ask fewer items or formats",
            )

    def halve(self) -> bool:
        """Half the batch; False where it is as small as it gets."""
        if self.batch_tokens <= SMALLEST_BATCH_TOKENS and self.rows == 1:
            return False
        self.batch_tokens, self.rows = max(self.batch_tokens // 2, 1), max(self.rows // 2, 1)
        self.halvings += 1
        return True


@dataclass(frozen=True)
class LimitedNet(Net):
    """The passes' view of a model, which ends at the deadline."""

    limits: Limits = field(default_factory=lambda: Limits(batch_tokens=1))

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.limits.check()
        return super().forward(*args, **kwargs)


class LiveModel(OpenModel):
    """A model in memory within limits. `weights` is the identity of its weights; `autocast` names the dtype that its
    forward pass casts to, None where it runs in the weights' own."""

    def __init__(
        self, net: Any, prompter: Prompter, limits: Limits, *, name: str, weights: str = "", autocast: str | None = None
    ) -> None:
        super().__init__(net, prompter, name=name)
        self.limits = limits
        self._net = replace(LimitedNet.of(net, prompter.pad), limits=limits)
        self._weights = weights
        self._autocast = autocast

    @cached_property
    def identity(self) -> str:
        """Identity of the weights as they were when this object was made."""
        return self._weights

    @cached_property
    def facts(self) -> dict[str, Any]:
        """As of any model, with the dtype that the forward pass casts to."""
        return {**super().facts, "autocast": self._autocast}

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        new_tokens: int,
        decoding: Decoding,
        seed: int,
        stop: Sequence[str] = (),
        batch: int | None = None,
        padding: Literal["left", "right"] = "left",
        through_end: bool = False,
    ) -> list[Sampled]:
        """As `OpenModel.sample`, in batches of at most `limits.rows`."""
        return self._fitting(
            lambda: super(LiveModel, self).sample(
                prompts,
                new_tokens=new_tokens,
                decoding=decoding,
                seed=seed,
                stop=stop,
                batch=min(batch or self.limits.rows, self.limits.rows),
                padding=padding,
                through_end=through_end,
            )
        )

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        *,
        batch_tokens: int | None = None,
    ) -> list[list[Scored]]:
        """As `OpenModel.score`, in batches of at most `limits.batch_tokens`."""
        return self._fitting(
            lambda: super(LiveModel, self).score(prompts, continuations, batch_tokens=self._within(batch_tokens))
        )

    def ask(
        self,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        *,
        new_tokens: int,
        stop: Sequence[str] = (),
        batch_tokens: int | None = None,
    ) -> list[tuple[list[Scored], Sampled]]:
        """As `OpenModel.ask`, in batches of at most `limits.batch_tokens`."""
        return self._fitting(
            lambda: super(LiveModel, self).ask(
                prompts, continuations, new_tokens=new_tokens, stop=stop, batch_tokens=self._within(batch_tokens)
            )
        )

    def start_check(self) -> dict[str, Any]:
        """As `OpenModel.start_check`, with the tolerance of the dtype that the forward pass casts to."""
        with passes.inference(self._model):
            return checks.check_batching(self.net, self.prompter, self.context, dtype=self._autocast)

    def _within(self, batch_tokens: int | None) -> int:
        return min(batch_tokens or self.limits.batch_tokens, self.limits.batch_tokens)

    def _fitting(self, call: Callable[[], T]) -> T:
        """The call, repeated with half the batch while the device has no memory for it. OutOfMemory at the smallest."""
        while True:
            failed: BaseException | None = None
            try:
                return call()
            except (OutOfMemory, MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                failed = error.with_traceback(None)  # its frames hold the tensors that did not fit
            if not self.limits.halve():
                raise OutOfMemory(
                    "beside the training there is no memory for a batch of one question",
                    hint="free some (a smaller training batch, or audit the checkpoints after the training instead)",
                ) from failed
            free()


def out_of_memory(error: BaseException) -> bool:
    """Whether the device or the host had no memory left."""
    known = (OutOfMemory, MemoryError, torch.OutOfMemoryError)
    return isinstance(error, known) or (isinstance(error, RuntimeError) and HOST_MEMORY in str(error))


def free() -> None:
    """Gives back what the allocators keep."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


# ---------------------------------------------------------------------------------------------------------------
# What is asked, and what it is compared with


def bare(model: Any) -> Any:
    """The model itself, out of what trainers put around it: compilation, data parallelism, an adapter's shell.

    Inside an adapter's shell the layers are the adapted ones. A shell that adds tokens to the prompt is kept.
    """
    while True:
        if isinstance(model, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
            model = model.module
        elif "_orig_mod" in getattr(model, "_modules", {}):
            model = model._orig_mod
        else:
            break
    if has_adapter(model) and not any(one.is_prompt_learning for one in model.peft_config.values()):
        return model.get_base_model()
    return model


def has_adapter(model: Any) -> bool:
    """Whether the model is a PEFT model."""
    return hasattr(model, "peft_config") and hasattr(model, "disable_adapter")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The start model as a spec: weights in a folder, read with the live model's own tokenizer and limits.

    It opens on `device`, and on the CPU where there is no memory for a second model.
    """

    weights: Path
    prompter: Prompter
    limits: Limits
    dtype: str
    device: str

    def folder(self) -> Path:
        """The folder of the weights."""
        return self.weights

    @contextmanager
    def open(self) -> Generator[Model]:
        """The start model, in evaluation mode; its memory is given back afterwards."""
        loading.look_through(self.weights)
        try:
            net = loading.load_weights(self.weights, dtype=self.dtype, device=self.device)
        except torch.OutOfMemoryError:
            free()
            net = loading.load_weights(self.weights, dtype=self.dtype, device="cpu")
        model = LiveModel(net, self.prompter, self.limits, name=str(self.weights))
        del net
        try:
            yield cast("Model", model)
        finally:
            model.close()
            free()


@dataclass(frozen=True, kw_only=True)
class WithoutAdapter:
    """The start model as a spec: the live model with its adapter switched off."""

    model: Any
    prompter: Prompter
    limits: Limits

    def folder(self) -> Path:
        """UsageError: it lies in memory alone."""
        raise UsageError("the base of an adapter in training lies in memory alone", hint="open it instead")

    @contextmanager
    def open(self) -> Generator[Model]:
        """The base model, while the adapter is off."""
        with self.model.disable_adapter():
            yield cast("Model", LiveModel(bare(self.model), self.prompter, self.limits, name="without the adapter"))

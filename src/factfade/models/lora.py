"""A LoRA adapter on a base that is open already: nothing is merged, nothing is loaded twice (extra: lora).

`with attached(base, folder) as (model, reference):` gives the adapted model and the base as its reference, on the same
weights. While a text is scored under the reference the adapter is switched off; afterwards it is taken off, and the
base is what it was, bit for bit. Source of the method: Hu et al., arXiv 2106.09685.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade.errors import IntegrityError, MissingExtra, UnsafeArtifact, UsageError
from factfade.identity import ADAPTER_CONFIG
from factfade.models import loading
from factfade.models.hf import OpenModel
from factfade.models.prompting import Prompter
from factfade.protocols import Model
from factfade.text import safe_text

WEIGHTS = "adapter_model.safetensors"
# Ways to begin a LoRA adapter that change the base's own weights: such an adapter fits the changed base alone.
CHANGES_BASE = ("pissa", "corda", "olora", "loftq", "eva", "orthogonal")


@dataclass(frozen=True, kw_only=True)
class Held:
    """A model that is open already, where a specification is asked for: opening it costs nothing and closes nothing.

    `without` is entered while it is used: what switches an adapter off.
    """

    model: Any
    without: Any = None

    def folder(self) -> Path:
        """The folder that it was opened from."""
        return Path(str(self.model.facts["path"]))

    @contextmanager
    def _open(self) -> Generator[Model]:
        if self.without is None:
            yield self.model
        else:
            with self.without():
                yield self.model

    def open(self) -> AbstractContextManager[Model]:
        """The open model."""
        return self._open()


def look_through(folder: Path) -> dict[str, Any]:
    """The adapter's settings, once its folder has passed: LoRA, safetensors, nothing that needs the base changed."""
    settings = loading.read_json(folder / ADAPTER_CONFIG)
    kind = str(settings.get("peft_type"))
    if kind != "LORA":
        raise UsageError(
            f"{folder} is an adapter of type {safe_text(kind, limit=40)}; LoRA is the one that is read",
            hint="merge it where you trust it: merge_and_unload().save_pretrained(folder)",
        )
    if not (folder / WEIGHTS).is_file():
        pickles = sorted(file.name for file in folder.iterdir() if file.name.endswith(loading.PICKLES))
        if pickles:
            raise UnsafeArtifact(
                f"{folder} holds its adapter as a pickle alone ({safe_text(pickles[0])}), which can execute anything",
                path=folder / pickles[0],
                hint="convert it where you trust it: model.save_pretrained(folder) writes safetensors",
            )
        raise UsageError(f"{folder} holds no {WEIGHTS}", hint="give a folder that save_pretrained wrote")
    start = settings.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower().startswith(CHANGES_BASE):
        raise UsageError(
            f"{folder} was begun with {safe_text(start, limit=40)}, which changes the base's own weights",
            hint="save it as plain LoRA (path_initial_model_for_weight_conversion), or merge it",
        )
    return settings


@contextmanager
def attached(base: OpenModel, folder: Path, *, name: str, identity: str) -> Generator[tuple[Any, Held]]:
    """The base with the adapter in `folder`, and the base without it as a reference, until the block ends.

    A tokenizer in the folder is used, else the base's. Raises MissingExtra without peft, UnsafeArtifact for a pickle,
    IntegrityError where the adapter does not fit the base, UsageError for what is no LoRA adapter.
    """
    settings = look_through(folder)
    try:
        from peft import LoraConfig, PeftModel, set_peft_model_state_dict
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtra("a LoRA adapter", extra="lora") from error
    import torch

    net: Any = base.net.model
    prompter = base.prompter
    if (folder / "tokenizer.json").is_file():
        tokenizer = loading.load_tokenizer(folder)
        loading.check_vocabulary(net, tokenizer, folder)
        prompter = Prompter(tokenizer, chat=prompter.chat, where=str(folder))
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    grads = [(parameter, parameter.requires_grad) for parameter in net.parameters()]
    peft: Any = None
    try:
        with warnings.catch_warnings(), loading.quiet(), torch.random.fork_rng(devices=devices):
            warnings.simplefilter("ignore")
            try:
                known: dict[str, Any] = {k: v for k, v in settings.items() if k in LoraConfig.__dataclass_fields__}
                known |= {"inference_mode": True, "init_lora_weights": True}
                config = LoraConfig(**known)
                peft = PeftModel(net, config)
                result: Any = set_peft_model_state_dict(peft, load_file(folder / WEIGHTS))
            except (ValueError, TypeError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
                raise _no_fit(folder, safe_text(error, limit=200)) from error
        foreign = [*result.unexpected_keys, *(key for key in result.missing_keys if "lora_" in key)]
        if foreign:
            raise _no_fit(folder, f"it lacks or adds {safe_text(sorted(foreign)[0], limit=120)}")
        peft.eval()
        model = OpenModel(net, prompter, name=name, identity=identity)
        model.start_check()
        yield model, Held(model=base, without=peft.disable_adapter)
        model.close()
    finally:
        if peft is not None:
            peft.unload()
        for parameter, wanted in grads:
            parameter.requires_grad_(wanted)


def _no_fit(folder: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"the adapter in {folder} does not fit the base: {why}",
        path=folder / WEIGHTS,
        hint="give the model that it was trained on with --against",
    )

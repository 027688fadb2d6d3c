"""LoRA adapters (Hu et al., arXiv 2106.09685) through peft (extra: lora)."""

from __future__ import annotations

import warnings
from typing import Any

from factfade.errors import ConfigError, MissingExtra
from factfade.sections import LoraSection
from factfade.text import safe_text


def attach(net: Any, section: LoraSection) -> Any:
    """The model with a fresh adapter: its own weights are frozen, the adapter's output is 0 at first.

    MissingExtra without peft; ConfigError when the model has none of the target modules.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtra("a LoRA adapter (training.lora)", extra="lora") from error
    targets = section.targets if isinstance(section.targets, str) else list(section.targets)
    alpha: Any = section.alpha  # peft takes fractions too, whatever its annotation says
    settings = LoraConfig(
        r=section.rank, lora_alpha=alpha, lora_dropout=section.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
    try:
        with warnings.catch_warnings():
            # What peft notes on its way (a transposed layer, a renamed attribute) it handles itself.
            warnings.simplefilter("ignore")
            return get_peft_model(net, settings)
    except ValueError as error:
        raise ConfigError(
            safe_text(error, limit=300),
            field="training.lora.targets",
            hint='name modules of the model (q_proj, v_proj ...), or "all-linear"',
        ) from error

"""Forward passes over ragged batches, with a key-value cache in preallocated buffers.

Batches are padded on the left, so the last position of every row is its newest token: a prompt pass needs the logits
of one position, and decoding goes on in step. transformers' own growing cache copies itself at every step; the
buffers here are written in place, which is measured to pay on small models (benchmarks/models.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from factfade.errors import OutOfMemory
from factfade.models.plans import common_prefix

# A common prefix is run once for the whole batch when it is at least this long and saves more than a pass costs.
MIN_PREFIX = 8
# What a pass costs beyond its tokens, in tokens. A processor reads the weights once more, and each layer's calls take
# as long as this many multiplications by a weight; a GPU starts kernels.
PRICE_CPU, CALLS_CPU, PRICE_GPU = 40, 30_000_000, 1024


class _Buffered(DynamicLayer):
    """A cache layer with room for `capacity` positions. `keys` and `values` are views of what is written so far.

    Sliding-window layers are kept whole as well: the window is in the mask.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0
        # Tensors once there is something to hold: their shapes come with it.
        self._keys: Any = None
        self._values: Any = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self._keys = self._room(key_states, len(key_states))
        self._values = self._room(value_states, len(value_states))
        self.is_initialized = True
        self._show(0)

    def _room(self, states: torch.Tensor, rows: int) -> torch.Tensor:
        _, heads, _, width = states.shape
        return states.new_empty((rows, heads, self.capacity, width))

    def _show(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.length = length
        keys, values = self._keys[:, :, :length], self._values[:, :, :length]
        self.keys, self.values = keys, values
        return keys, values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        self._keys[:, :, self.length : end] = key_states
        self._values[:, :, self.length : end] = value_states
        return self._show(end)

    def rows(self, chosen: torch.Tensor, capacity: int) -> _Buffered:
        """A new layer that holds the chosen rows (a row may come more than once), with room for `capacity`."""
        # Room that is there already is copied along: one copy, not two.
        enough = capacity <= self.capacity and 2 * (self.capacity - capacity) <= self.length
        taken = _Buffered(self.capacity if enough else capacity)
        taken.dtype, taken.device, taken.is_initialized = self.dtype, self.device, True
        if enough:
            taken._keys, taken._values = self._keys.index_select(0, chosen), self._values.index_select(0, chosen)
            taken._show(self.length)
            return taken
        taken._keys = taken._room(self._keys, len(chosen))
        taken._values = taken._room(self._values, len(chosen))
        keys, values = taken._show(self.length)
        keys.copy_(self._keys[:, :, : self.length].index_select(0, chosen))
        values.copy_(self._values[:, :, : self.length].index_select(0, chosen))
        return taken


@dataclass(frozen=True)
class Net:
    """A model ready for passes. `cached` says whether its cache is one that can be buffered; `pad` fills a batch.

    `price` is what a pass costs beyond its tokens, in tokens: few of a large model, hundreds of a very small one.
    """

    model: Any
    pad: int
    device: torch.device
    vocabulary: int
    cached: bool
    keeps: bool
    price: int

    @classmethod
    def of(cls, model: Any, pad: int) -> Net:
        parameters = inspect.signature(model.forward).parameters
        device = next(model.parameters()).device
        layers = int(getattr(model.config.get_text_config(), "num_hidden_layers", 1))
        weights = sum(weight.numel() for weight in model.parameters())
        return cls(
            model=model,
            pad=pad,
            device=device,
            vocabulary=int(model.get_input_embeddings().weight.shape[0]),
            cached="past_key_values" in parameters and _bufferable(model),
            keeps="logits_to_keep" in parameters,
            price=PRICE_CPU + CALLS_CPU * layers // max(weights, 1) if device.type == "cpu" else PRICE_GPU,
        )

    def cache(self, capacity: int) -> Cache | None:
        """An empty cache; None for a model whose cache is of another kind (it then reads each text anew)."""
        if not self.cached:
            return None
        layers = DynamicCache(config=self.model.config).layers
        return Cache(layers=[_Buffered(capacity) for _ in layers])

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor | None, places: torch.Tensor, cache: Cache | None, keep: int
    ) -> torch.Tensor:
        """Float32 logits (rows, keep, vocabulary) of the last `keep` positions. `mask` None means nothing is padded."""
        extra: dict[str, Any] = {"logits_to_keep": keep} if self.keeps else {}
        if cache is not None:
            extra["past_key_values"] = cache
        try:
            out = self.model(
                input_ids=ids, attention_mask=mask, position_ids=places, use_cache=cache is not None, **extra
            )
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"the device has no memory for a batch of {tuple(ids.shape)} tokens",
                hint="lower evaluation.batch_tokens and synthesis.batch",
            ) from error
        return out.logits[:, -keep:].float()


def _bufferable(model: Any) -> bool:
    """Whether every layer of the model keeps plain keys and values (no recurrent state, no shared layers)."""
    if getattr(model, "_is_stateful", False):
        return False
    layers = DynamicCache(config=model.config).layers
    return bool(layers) and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


@contextmanager
def inference(model: Any) -> Generator[None]:
    """No gradients, evaluation mode; afterwards every module is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    try:
        if training:
            model.eval()
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True


@dataclass
class Prefilled:
    """A batch after its prompt pass: what is needed to go on.

    `last` (rows, vocabulary): float32 logits after each prompt. `lengths`: the next position of each row, which is the
    number of its tokens so far (1 for a row that was padded on the right). `mask` (rows, width): 1
    where there is a token, None where nothing is padded. `ids` are kept for a model without a cache.
    """

    net: Net
    last: torch.Tensor
    lengths: torch.Tensor
    width: int
    mask: torch.Tensor | None
    cache: Cache | None
    ids: torch.Tensor

    def step(self, tokens: torch.Tensor, fresh: torch.Tensor | None = None) -> torch.Tensor:
        """Feeds `tokens` (rows, n), one column after the other in place, and gives their logits (rows, n, vocabulary).

        `fresh` (rows, n) is 0 for filled-up columns on the right of shorter rows.
        """
        n = tokens.shape[1]
        places = self.lengths[:, None] + torch.arange(n, device=tokens.device)
        if fresh is not None and self.mask is None:
            self.mask = torch.ones((len(self.lengths), self.width), dtype=torch.long, device=tokens.device)
        if self.mask is not None:
            added = torch.ones_like(tokens) if fresh is None else fresh
            self.mask = torch.cat([self.mask, added], dim=1)
        if self.cache is not None:
            logits = self.net.forward(tokens, self.mask, places, self.cache, n)
        else:
            self.ids = torch.cat([self.ids, tokens], dim=1)
            logits = self.net.forward(self.ids, self.mask, positions_of(self.mask, self.ids), None, n)
        self.lengths = self.lengths + n
        self.width += n
        return logits

    def rows(self, chosen: torch.Tensor, room: int) -> Prefilled:
        """The chosen rows on their own (a row may come more than once), with room for `room` more tokens each."""
        cache = None
        if self.cache is not None:
            layers: list[Any] = self.cache.layers
            cache = Cache(layers=[layer.rows(chosen, self.width + room) for layer in layers])
        return Prefilled(
            net=self.net,
            last=self.last.index_select(0, chosen),
            lengths=self.lengths.index_select(0, chosen),
            width=self.width,
            mask=None if self.mask is None else self.mask.index_select(0, chosen),
            cache=cache,
            ids=self.ids.index_select(0, chosen),
        )


def positions_of(mask: torch.Tensor | None, ids: torch.Tensor, *, padding: int = 1) -> torch.Tensor:
    """Position of every token in its own text. Padding does not count; it stands at `padding`."""
    if mask is None:
        return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape[0], -1)
    return (mask.cumsum(1) - 1).masked_fill(mask == 0, padding)


def padded(
    prompts: Sequence[Sequence[int]], net: Net, *, side: str = "left"
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Ids and mask (rows, longest); the mask is None where all prompts are equally long."""
    width = max(len(prompt) for prompt in prompts)
    rows: list[list[int]] = []
    for prompt in prompts:
        fill = [net.pad] * (width - len(prompt))
        rows.append([*fill, *prompt] if side == "left" else [*prompt, *fill])
    ids = torch.tensor(rows, dtype=torch.long, device=net.device)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=net.device)
    if bool((lengths == width).all()):
        return ids, None
    columns = torch.arange(width, device=net.device)[None]
    token = columns >= width - lengths[:, None] if side == "left" else columns < lengths[:, None]
    return ids, token.long()


def prefill(net: Net, prompts: Sequence[Sequence[int]], *, room: int, side: str = "left") -> Prefilled:
    """The prompt pass of a batch, with room for `room` more tokens a row.

    A prefix that all prompts share is run once and its cache repeated: few-shot prompts of one subject differ in
    their last lines alone. `side="right"` pads on the right and reads on after the padding, as arXiv 2509.04796's
    published code does; it is there to replicate that. Positions are those of transformers 5's `generate`: padding
    stands at 0, and what is written after it counts on from there.
    """
    shared = common_prefix(prompts) if net.cached and side == "left" and len(prompts) > 1 else 0
    if shared >= MIN_PREFIX and shared * (len(prompts) - 1) > net.price:
        return _prefill_after(net, prompts, shared, room)
    ids, mask = padded(prompts, net, side=side)
    cache = net.cache(ids.shape[1] + room)
    width = ids.shape[1]
    last = net.forward(ids, mask, positions_of(mask, ids, padding=1 if side == "left" else 0), cache, 1)[:, -1]
    lengths = [len(prompt) if side == "left" or len(prompt) == width else 1 for prompt in prompts]
    return Prefilled(
        net=net,
        last=last,
        lengths=torch.tensor(lengths, device=net.device),
        width=width,
        mask=mask,
        cache=cache,
        ids=ids,
    )


def _prefill_after(net: Net, prompts: Sequence[Sequence[int]], shared: int, room: int) -> Prefilled:
    ids, mask = padded([prompt[shared:] for prompt in prompts], net)
    rest = ids.shape[1]
    head = prefill(net, [prompts[0][:shared]], room=0)
    rows = head.rows(torch.zeros(len(prompts), dtype=torch.long, device=net.device), rest + room)
    if mask is not None:
        before = torch.ones((len(prompts), shared), dtype=torch.long, device=net.device)
        mask = torch.cat([before, mask], dim=1)
        places = positions_of(mask, mask)[:, shared:]
    else:
        places = (torch.arange(rest, device=net.device) + shared).expand(len(prompts), -1)
    rows.last = net.forward(ids, mask, places, rows.cache, 1)[:, -1]
    rows.lengths = torch.tensor([len(prompt) for prompt in prompts], device=net.device)
    rows.width, rows.mask = shared + rest, mask
    return rows

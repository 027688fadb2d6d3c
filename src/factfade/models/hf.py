"""Any causal language model in transformers format: open it, sample from it, score with it.

`HfModel` is the specification; `with HfModel(path=...).open() as model` gives the live `OpenModel` and gives its
memory back at the end. Safetensors only, no code of the artefact's own, no network but for a hub name.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from factfade.errors import UsageError
from factfade.models import loading, plans
from factfade.models.prompting import Prompter
from factfade.records import Decoding, Likeliest, Sampled, Scored

Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class HfModel:
    """Which weights, in which precision, on which device, and how prompts are put.

    `path` is a folder, a hub name (then `revision` may name a commit) or "world". `threads` is torch's thread count
    while the model is open.
    """

    path: str = loading.WORLD
    revision: str | None = None
    dtype: Dtype = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    chat: Literal["raw", "chat"] = "raw"
    threads: int = 1

    def folder(self) -> Path:
        """The folder of the weights; a hub name is fetched first. NotFound or UsageError where there is none."""
        return loading.locate(self.path, self.revision)

    @contextmanager
    def open(self) -> Generator[OpenModel]:
        """Loads and checks the model (`OpenModel.start_check`), and gives memory and thread count back afterwards.

        Raises NotFound, UsageError, UnsafeArtifact, IntegrityError or RunFailed, each with what to do instead.
        """
        folder = self.folder()
        loading.look_through(folder)
        tokenizer = loading.load_tokenizer(folder)
        prompter = Prompter(tokenizer, chat=self.chat, where=str(folder))
        import torch

        device, threads = loading.pick_device(self.device), torch.get_num_threads()
        torch.set_num_threads(self.threads)
        model: OpenModel | None = None
        try:
            net = loading.load_weights(folder, dtype=self.dtype, device=device)
            loading.check_vocabulary(net, tokenizer, folder)
            model = OpenModel(net, prompter, name=self.path, folder=folder)
            del net
            model.start_check()
            yield model
        finally:
            if model is not None:
                model.close()
            torch.set_num_threads(threads)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


class OpenModel:
    """A model that is loaded. Implements `protocols.Model`; token ids in, token ids out.

    It may also stand around a model in memory (`OpenModel(net, prompter, name=...)`), in training or not: nothing of
    it changes, neither its weights nor its mode nor any global random state.
    """

    def __init__(
        self, net: Any, prompter: Prompter, *, name: str, folder: Path | None = None, identity: str = ""
    ) -> None:
        from factfade.models.passes import Net

        self.prompter = prompter
        self._name = name
        self._folder = folder
        self._identity = identity
        self._model: Any = net
        self._net = Net.of(net, prompter.pad)
        self.context = loading.positions(net.config, prompter.tokenizer)
        self.ends = _ends(net, prompter)

    def close(self) -> None:
        """Lets the weights go. The model cannot be used afterwards."""
        self._model = self._net = None

    @property
    def net(self) -> Any:
        """The passes' view of the model. UsageError once the model is closed."""
        if self._net is None:
            raise UsageError("the model is closed", hint="use it inside `with spec.open() as model:`")
        return self._net

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the tensors of the folder; what was given, or "", for a model that is in memory alone."""
        from factfade.identity import checkpoint_identity

        return self._identity if self._folder is None else checkpoint_identity(self._folder)

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What the record needs: the model, its tokenizer, and how both are used here."""
        net, model = self.net, self._model
        import torch

        return {
            "path": self._name,
            "identity": self.identity,
            "class": type(model).__name__,
            "parameters": sum(p.numel() for p in model.parameters()),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(net.device),
            "device_name": torch.cuda.get_device_name(net.device) if net.device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "attention": str(getattr(model.config, "_attn_implementation", "")),
            "cache": "buffered" if net.cached else "none",
            "rows": net.vocabulary,
            "context": self.context,
            "ends": sorted(self.ends),
            "padding": "left",
            **self.prompter.facts(),
        }

    def encode(self, text: str) -> list[int]:
        """Ids of raw text, no special tokens."""
        return self.prompter.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ids, control tokens left out."""
        return self.prompter.decode(tokens)

    def prompt(self, text: str, *, system: str | None = None) -> list[int]:
        """Ids of a prompt: chat template applied where the run says chat, exactly one BOS where the model has one."""
        return self.prompter.prompt(text, system)

    def wrap(self, tokens: Sequence[int], *, system: str | None = None) -> list[int]:
        """Ids of a prompt that is given as ids, as a block of human text is."""
        return self.prompter.wrap(tokens, system)

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
        """Continuations in the order of the prompts; `sampling.batch_plan` is the plan that they were made in.

        A text ends at an end token (with `through_end` it holds that token and goes on) or where it contains one of
        `stop`. `padding="right"` replicates a published artefact: rows that are padded go on after the padding.
        UsageError where a prompt and its continuation do not fit the context.
        """
        from factfade.models import passes, sampling

        ready = self._ready(prompts, new_tokens)
        with passes.inference(self._model):
            return sampling.sample(
                self.net,
                ready,
                new_tokens=new_tokens,
                decoding=decoding,
                seed=seed,
                ends=frozenset() if through_end else self.ends,
                ended=self._stopper(stop),
                batch=batch,
                side=padding,
            )

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        *,
        batch_tokens: int | None = None,
    ) -> list[list[Scored]]:
        """log p(continuation | prompt) in float32; `batch_tokens` bounds rows x widest of a pass.

        UsageError where a prompt and a continuation do not fit the context; NonFinite for what is no number.
        """
        from factfade.models import passes, scoring

        ready = self._ready(prompts, 0)
        for prompt, own in zip(ready, continuations, strict=True):
            self._check_fit(len(prompt) + max((len(ids) for ids in own), default=0) - 1)
        with passes.inference(self._model):
            return scoring.score(self.net, ready, continuations, batch_tokens=batch_tokens)

    def ask(
        self,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        *,
        new_tokens: int,
        stop: Sequence[str] = (),
        batch_tokens: int | None = None,
    ) -> list[tuple[list[Scored], Sampled]]:
        """`score` and the greedy continuation of every prompt, out of one prompt pass."""
        from factfade.models import passes, sampling, scoring

        ready = self._ready(prompts, new_tokens)
        budget = batch_tokens or plans.DEFAULT_BATCH_TOKENS
        found: dict[int, tuple[list[Scored], Sampled]] = {}
        with passes.inference(self._model):
            for rows in plans.batches(ready, [len(prompt) for prompt in ready], budget):
                state = passes.prefill(self.net, [ready[row] for row in rows], room=new_tokens)
                own = [continuations[row] for row in rows]
                sums = scoring.new_sums(own)
                scoring.score_after(state, own, sums, budget)
                answers = sampling.decode(
                    state,
                    new_tokens=new_tokens,
                    decoding=Decoding(temperature=0.0),
                    seed=0,
                    ends=self.ends,
                    ended=self._stopper(stop),
                )
                scored = [scoring.finished(ids, done) for ids, done in zip(own, sums, strict=True)]
                found.update(zip(rows, zip(scored, answers, strict=True), strict=True))
        return [found[row] for row in range(len(ready))]

    def nll(self, texts: Sequence[Sequence[int]], *, batch_tokens: int | None = None) -> list[tuple[float, int]]:
        """Sum of negative log-likelihoods of each text (nats) and the number of its predicted tokens.

        The first token is predicted from the opening, else BOS, else the end token (`facts["first_token_from"]`); a
        model with none of them predicts from the second token on.
        """
        start = list(self.prompter.start)
        heads = [start or list(text[:1]) for text in texts]
        tails = [list(text) if start else list(text[1:]) for text in texts]
        scored = self.score(heads, [[tail] for tail in tails], batch_tokens=batch_tokens)
        return [(-one[0].logprob, one[0].tokens) for one in scored]

    def likeliest(
        self, texts: Sequence[Sequence[int]], *, k: int, at_least: float = 0.0, batch_tokens: int | None = None
    ) -> list[list[Likeliest]]:
        """Of each text the tokens whose own probability is `at_least` or more, with the `k` likeliest tokens there.

        The first token as in `nll`: a model with nothing to predict it from passes it over. UsageError for a text
        that does not fit the context; NonFinite for what is no number; ValueError for k below 1.
        """
        from factfade.models import likeliest, passes

        if k < 1:
            raise ValueError(f"k is at least 1, not {k}")
        start = list(self.prompter.start)
        heads = [start or list(text[:1]) for text in texts]
        tails = [list(text) if start else list(text[1:]) for text in texts]
        for head, tail in zip(heads, tails, strict=True):
            self._check_fit(len(head) + len(tail) - 1)
        with passes.inference(self._model):
            found = likeliest.likeliest(self.net, heads, tails, k=k, at_least=at_least, batch_tokens=batch_tokens)
        if start:
            return found
        return [[replace(one, place=one.place + 1) for one in own] for own in found]

    def start_check(self) -> dict[str, Any]:
        """Shows that a ragged batch gives what its rows give one by one (`checks.check_batching`); RunFailed if not."""
        from factfade.models import checks, passes

        with passes.inference(self._model):
            return checks.check_batching(self.net, self.prompter, self.context)

    def _ready(self, prompts: Sequence[Sequence[int]], more: int) -> list[list[int]]:
        """The prompts as lists that fit; an empty one becomes what a text starts from."""
        ready: list[list[int]] = []
        for prompt in prompts:
            ids = list(prompt) or list(self.prompter.start)
            if not ids:
                raise UsageError(
                    "a prompt is empty, and the model has no token to start a text from", hint="give a prompt"
                )
            self._check_fit(len(ids) + more)
            ready.append(ids)
        return ready

    def _check_fit(self, size: int) -> None:
        if size > self.context:
            raise UsageError(
                f"{size} tokens do not fit the model's {self.context} positions",
                hint="lower prompt_tokens and new_tokens, or use a model with a longer context",
            )

    def _stopper(self, stop: Sequence[str]) -> Any:
        if not stop:
            return None
        return lambda tokens: any(text in self.decode(tokens) for text in stop)


def _ends(net: Any, prompter: Prompter) -> frozenset[int]:
    """The tokens that end a text: the tokenizer's, and those that the model names (a chat model ends a turn)."""
    ends: set[int] = set() if prompter.eos is None else {int(prompter.eos)}
    for holder in (net.config, getattr(net, "generation_config", None)):
        named = getattr(holder, "eos_token_id", None)
        ends |= {int(end) for end in (named if isinstance(named, (list, tuple)) else [named]) if end is not None}
    return frozenset(ends)

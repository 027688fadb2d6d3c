"""After training: the step that a generation's training took, taken back in weight space."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factfade.durable import TEMPORARY_SUFFIX
from factfade.errors import IntegrityError, NonFinite
from factfade.identity import EMBEDDINGS, HEADS, checkpoint_identity, tensors, weight_files
from factfade.protocols import History
from factfade.text import safe_text

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """theta = theta_k - a * (theta_{k+1} - theta_k), from the weights theta_k that the training started from and the
    trained ones, theta_{k+1}.

    `a` 0 gives theta_k and -1 gives theta_{k+1}, to the bit; between them lies a shorter step; above 0 the weights go
    back beyond theta_k, away from what the synthetic text taught. The formula is that of negative extrapolation from
    self-training (Neon, Alemohammad et al. 2025) and of a negated task vector (Ilharco et al., arXiv 2212.04089).

    Arithmetic is in float32 (float64 where the weights are). The checkpoint's dtypes, its tied tensors, whole-number
    tensors and every file beside the weights stay as they are.
    """

    a: float = 0.1

    def __post_init__(self) -> None:
        if not math.isfinite(self.a):
            raise ValueError(f"a is a finite number, not {self.a}: 0 is the start of the training, -1 its end")

    def apply(self, checkpoint: Path, history: History) -> Mapping[str, Any]:
        """Rewrites the weights of `checkpoint`, all files or none, and returns the record.

        `step_norm` is the L2 norm of theta_{k+1} - theta_k over all tensors, `largest_steps` the largest absolute
        entry of every tensor's. IntegrityError where the two checkpoints are not of one architecture, NonFinite where
        a weight leaves the range of its dtype; then nothing is changed.
        """
        start = history.model().folder()
        before, begun = checkpoint_identity(checkpoint), checkpoint_identity(start)
        steps = _Steps()
        written: list[tuple[Path, Path]] = []
        try:
            weights = Weights(files={tensor.name: tensor.file for tensor in tensors(start)})
            for file in weight_files(checkpoint):
                draft = file.with_name(file.name + TEMPORARY_SUFFIX)
                written.append((draft, file))
                self._rewrite(file, draft, weights, steps)
            for draft, file in written:
                os.replace(draft, file)
        finally:
            for draft, _ in written:
                draft.unlink(missing_ok=True)
        return {
            "kind": "recovery",
            "a": self.a,
            "start": begun,
            "trained": before,
            "result": checkpoint_identity(checkpoint),
            "tensors": len(steps.largest),
            "tensors_left_as_they_are": steps.left,
            "start_norm": math.sqrt(math.fsum(steps.start)),
            "step_norm": math.sqrt(math.fsum(steps.squares)),
            "moved_norm": math.sqrt(math.fsum(steps.moved)),
            "largest_steps": steps.largest,
        }

    def _rewrite(self, file: Path, draft: Path, start: Weights, steps: _Steps) -> None:
        """One file of the checkpoint, with its metadata, into `draft`."""
        import torch
        from safetensors import safe_open
        from safetensors.torch import save_file

        found: dict[str, torch.Tensor] = {}
        with safe_open(str(file), framework="pt", device="cpu") as handle:
            metadata = handle.metadata()
            for name in handle.keys():  # noqa: SIM118 - a file, no mapping
                trained = handle.get_tensor(name)
                found[name] = trained
                if not trained.is_floating_point():
                    steps.left += 1
                    continue
                wide = torch.float64 if trained.dtype == torch.float64 else torch.float32
                first, last = start.get(name, trained).to(wide), trained.to(wide)
                # lerp gives both ends to the bit, which first - a * (last - first) does not.
                result = torch.lerp(first, last, -self.a).to(trained.dtype)
                if not bool(result.isfinite().all()):
                    raise NonFinite(
                        f"the weights of {safe_text(name, limit=200, keep='')} are not finite {self.a} steps back",
                        hint="set a of recovery nearer to 0; nothing was published",
                    )
                steps.add(name, first, last, result)
                found[name] = result
        save_file(found, str(draft), metadata=metadata)


class _Steps:
    """What was moved, tensor by tensor: sums of squares, and the largest step."""

    def __init__(self) -> None:
        self.start: list[float] = []
        self.squares: list[float] = []
        self.moved: list[float] = []
        self.largest: dict[str, float] = {}
        self.left = 0

    def add(self, name: str, first: torch.Tensor, last: torch.Tensor, result: torch.Tensor) -> None:
        step = last - first
        self.start.append(_square(first))
        self.squares.append(_square(step))
        self.moved.append(_square(result.to(first.dtype) - first))
        self.largest[name] = float(step.abs().max()) if step.numel() else 0.0


def _square(values: torch.Tensor) -> float:
    return float(values.double().square().sum())


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The tensors of a checkpoint's folder by the file that each lies in. Read one at a time."""

    files: Mapping[str, Path]

    def get(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """The tensor called `name`, of the shape of `like`; IntegrityError where it is absent or has another one."""
        from safetensors import safe_open

        own, shown = self._called(name), safe_text(name, limit=200, keep="")
        if own is None:
            raise IntegrityError(
                f"recovery: the checkpoint that training started from has no tensor {shown}",
                hint="start and result must be of one architecture; if they are, load the start with this "
                "transformers and save it anew: from_pretrained(folder).save_pretrained(folder)",
            )
        with safe_open(str(self.files[own]), framework="pt", device="cpu") as handle:
            found = handle.get_tensor(own)
        if found.shape != like.shape:
            raise IntegrityError(
                f"recovery: {shown} has the shape {tuple(found.shape)} where training started and "
                f"{tuple(like.shape)} where it ended",
                path=self.files[own],
                hint="start and result of a training must be of one architecture",
            )
        return found

    def _called(self, name: str) -> str | None:
        """The name of a tensor here. Older files leave the prefix out ("h.0.ln_1.bias", now "transformer.h.0..."), and
        a head that is tied to the embedding is left out of many: the embedding stands for it."""
        if name in self.files:
            return name
        other = [own for own in self.files if name.endswith(f".{own}") or own.endswith(f".{name}")]
        if len(other) == 1:
            return other[0]
        return next((own for own in self.files if own.endswith(EMBEDDINGS)), None) if name.endswith(HEADS) else None

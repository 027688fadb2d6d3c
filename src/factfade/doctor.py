"""`factfade doctor`: versions, device, memory, disk, what is missing and the line that installs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from factfade import upkeep, versions


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: what was looked at, what was found, whether all is well, and what to type where it is not."""

    what: str
    found: str
    well: bool = True
    hint: str = ""


def examine(place: Path) -> Iterator[Finding]:
    """Looks at the machine and the runs below `place`. Imports torch: a broken torch is the likeliest fault."""
    recorded = versions.recorded()
    yield Finding(what="factfade", found=f"{recorded['factfade']} on Python {recorded['python']}")
    yield Finding(what="platform", found=recorded["platform"])
    for name in ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "pandas", "pyarrow", "scipy"):
        found = versions.version(name)
        yield Finding(
            what=name, found=found or "missing", well=found is not None, hint="" if found else f"pip install {name}"
        )
    yield from _device()
    yield from _memory()
    usage = shutil.disk_usage(place)
    room = usage.free > 2 * 10**9
    yield Finding(
        what="disk",
        found=f"{usage.free / 1e9:.1f} GB free at {place}",
        well=room,
        hint="" if room else "free 2 GB, or choose another --out",
    )
    yield _world()
    for extra, package in versions.EXTRAS.items():
        there = importlib.util.find_spec(package) is not None
        yield Finding(
            what=f"extra {extra}",
            found="installed" if there else "not installed (optional)",
            hint="" if there else f"pip install 'factfade[{extra}]'",
        )
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    yield Finding(
        what="network", found="hub names are refused (HF_HUB_OFFLINE)" if offline else "used for hub names only"
    )
    yield from _leftovers(place)


def _device() -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding(what="device", found=f"torch cannot be imported: {error}", well=False, hint="pip install torch")
        return
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        bf16 = "yes" if torch.cuda.is_bf16_supported() else "no"
        yield Finding(what="device", found=f"cuda: {card.name}, {card.total_memory / 1e9:.0f} GB; bf16 {bf16}")
    else:
        threads = torch.get_num_threads()
        yield Finding(
            what="device", found=f"cpu, {os.cpu_count()} cores; torch takes {threads} threads, runs their own"
        )


def _memory() -> Iterator[Finding]:
    try:
        total, free = (
            os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        )
    except (ValueError, OSError):
        return  # no such figures on this platform
    yield Finding(
        what="memory",
        found=f"{total / 1e9:.1f} GB, {free / 1e9:.1f} GB unused",
        well=total > 2.5e9,
        hint="" if total > 2.5e9 else "the demo wants 2.5 GB",
    )


def _world() -> Finding:
    from factfade import world

    folder = world.model_path()
    there = (folder / "model.safetensors").is_file()
    return Finding(
        what="embedded world",
        found="model and facts are there" if there else "its model is missing",
        well=there,
        hint="" if there else "reinstall factfade, or python -m factfade.world.pretrain",
    )


def _leftovers(place: Path) -> Iterator[Finding]:
    for experiment in sorted(p.parent for p in place.glob("*/experiment.toml")):
        left = [item for item in upkeep.leftovers(experiment) if item.kind in upkeep.REMOVABLE]
        if left:
            size = sum(item.bytes for item in left)
            yield Finding(
                what=f"run {experiment.name}",
                found=f"{len(left)} leftovers of interrupted writes, {size / 1e6:.1f} MB (harmless)",
            )

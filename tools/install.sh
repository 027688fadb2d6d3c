#!/usr/bin/env bash
# Makes .venv and installs the package into it, editable, with what the tests need.
# Uses uv when it is there, else venv and pip. Called by `make install`, which keeps a stamp and skips a second call.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "factfade needs Python 3.11 or newer as '$python'. Name another one: make install PYTHON=python3.12" >&2
    exit 2
fi

# A local build of torch is found through pip's find-links: the variable, or pip's own configuration when it is
# unset. uv reads neither, so the same places are handed to it. Places that do not exist are left out.
if [ -n "${PIP_FIND_LINKS+set}" ]; then
    links=$PIP_FIND_LINKS
else
    links=$("$python" -m pip config get global.find-links 2>/dev/null || true)
fi
places=()
for place in $links; do
    case $place in
        *://*) places+=("$place") ;;
        *) if [ -e "$place" ]; then places+=("$place"); fi ;;
    esac
done

if command -v uv >/dev/null 2>&1; then
    if [ -z "${UV_FIND_LINKS:-}" ]; then
        unset UV_FIND_LINKS
        if [ ${#places[@]} -gt 0 ]; then
            UV_FIND_LINKS=$(IFS=,; echo "${places[*]}")
            export UV_FIND_LINKS
        fi
    fi
    export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-180}
    "$venv/bin/python" -c '' 2>/dev/null || uv venv --quiet --clear --python "$python" "$venv"
    echo "installing into .venv with uv (once)"
    uv pip install --quiet --python "$venv/bin/python" --constraint constraints.txt --editable '.[dev]'
else
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv --clear "$venv" || {
            echo "Python's venv module did not work. On Debian and Ubuntu: apt-get install python3-venv" >&2
            exit 2
        }
    fi
    echo "installing into .venv with pip (once; some minutes)"
    "$venv/bin/python" -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
fi

# One import of everything heavy proves the environment and leaves its bytecode there, also where Python is told not
# to write any: without it, every later process would compile torch and transformers anew (6 s and more each).
PYTHONDONTWRITEBYTECODE='' HF_HUB_OFFLINE=1 "$venv/bin/python" - <<'PY'
import accelerate, jinja2, pandas, peft, pyarrow.parquet, pydantic, rich.progress
import scipy.stats, sklearn.metrics, statsmodels.api, typer
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, LlamaForCausalLM, Trainer
PY

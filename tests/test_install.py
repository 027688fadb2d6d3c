"""`make install` with stand-ins for uv and Python that write down how they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = ("Makefile", "pyproject.toml", "constraints.txt", "tools/install.sh")

UV = """#!/usr/bin/env bash
echo "uv $1 $2 links=${UV_FIND_LINKS-unset}" >> "$CALLS"
if [ "$1" = venv ]; then mkdir -p .venv/bin; cp "$FAKES/python3" .venv/bin/python; fi
"""
# Answers the version check, `pip config get` with CONFIGURED, and `-m venv`; anything else succeeds in silence.
PYTHON = """#!/usr/bin/env bash
case "$*" in
    *"config get"*) [ -n "${CONFIGURED-}" ] && echo "$CONFIGURED" || exit 1 ;;
    *"pip install"*) echo "pip install links=${PIP_FIND_LINKS-unset}" >> "$CALLS" ;;
    *"-m venv"*) echo "python -m venv" >> "$CALLS"; mkdir -p .venv/bin; cp "$FAKES/python3" .venv/bin/python ;;
    *version_info*) exit "${TOO_OLD-0}" ;;
esac
"""


class Checkout:
    """A copy of what `make install` reads, and a PATH that holds stand-ins and basic tools only."""

    def __init__(self, folder: Path, *, with_uv: bool) -> None:
        self.folder, self.fakes, self.calls = folder / "checkout", folder / "bin", folder / "calls"
        self.fakes.mkdir()
        for name in FILES:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.folder / name)
        for name, text in {"python3": PYTHON, **({"uv": UV} if with_uv else {})}.items():
            (self.fakes / name).write_text(text, encoding="utf-8")
            (self.fakes / name).chmod(0o755)
        for tool in ("bash", "cat", "cp", "dirname", "env", "make", "mkdir", "touch"):
            found = shutil.which(tool)
            if found is None:
                pytest.skip(f"{tool} is not on PATH")
            (self.fakes / tool).symlink_to(found)

    def install(self, **environment: str) -> list[str]:
        """What one `make install` called."""
        self.calls.write_text("", encoding="utf-8")
        fixed = {"PATH": str(self.fakes), "FAKES": str(self.fakes), "CALLS": str(self.calls), "HOME": os.devnull}
        self.done = subprocess.run(
            ["make", "install"],
            cwd=self.folder,
            env=fixed | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return self.calls.read_text(encoding="utf-8").splitlines()


def test_a_second_call_installs_nothing_until_the_pins_change(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, with_uv=True)
    assert [line.split()[1] for line in checkout.install()] == ["venv", "pip"]
    assert checkout.done.returncode == 0, checkout.done.stderr
    assert checkout.install() == []
    stamp = (checkout.folder / ".venv" / ".stamp").stat().st_mtime
    os.utime(checkout.folder / "constraints.txt", (stamp + 10, stamp + 10))
    assert [line.split()[1] for line in checkout.install()] == ["pip"]


def test_uv_gets_pip_s_find_links(tmp_path: Path) -> None:
    one, two, gone = tmp_path / "one", tmp_path / "two", tmp_path / "gone"
    one.mkdir()
    two.mkdir()
    web = "https://wheels.test/cpu"
    expected = {
        "the variable": ({"PIP_FIND_LINKS": str(one)}, f"links={one}"),
        "several, one gone": ({"PIP_FIND_LINKS": f"{one} {gone} {two} {web}"}, f"links={one},{two},{web}"),
        "pip's configuration": ({"CONFIGURED": str(two)}, f"links={two}"),
        "the variable first": ({"PIP_FIND_LINKS": str(one), "CONFIGURED": str(two)}, f"links={one}"),
        "an empty value": ({"PIP_FIND_LINKS": "", "CONFIGURED": str(two)}, "links=unset"),
        "an empty value for uv": ({"PIP_FIND_LINKS": "", "UV_FIND_LINKS": ""}, "links=unset"),
        "uv's own": ({"PIP_FIND_LINKS": str(one), "UV_FIND_LINKS": str(two)}, f"links={two}"),
        "neither": ({}, "links=unset"),
    }
    seen: dict[str, str] = {}
    for number, (case, (environment, _)) in enumerate(expected.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        seen[case] = Checkout(folder, with_uv=True).install(**environment)[-1].split()[-1]
    assert seen == {case: links for case, (_, links) in expected.items()}


def test_pip_is_used_where_there_is_no_uv(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, with_uv=False)
    calls = checkout.install(PIP_FIND_LINKS="/somewhere")
    assert checkout.done.returncode == 0, checkout.done.stderr
    assert calls == ["python -m venv", "pip install links=/somewhere"]


def test_an_old_python_is_refused_with_what_to_type(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, with_uv=True)
    assert checkout.install(TOO_OLD="1") == []
    assert checkout.done.returncode != 0
    assert "make install PYTHON=python3.12" in checkout.done.stderr
    assert not (checkout.folder / ".venv" / ".stamp").exists()

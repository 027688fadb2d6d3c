"""The tables as LaTeX reads them: they compile, they fit a page, and no text in them acts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest

from factfade.export import export, latex
from factfade.export.tables import Source
from factfade.judging import Case
from tests.report import synthetic

HOSTILE = (
    "50% of_x & \\input{/etc/passwd} \\write18{touch hacked} $x^2$ #1 ~ {}} [y] *z* \"`' -- << ?` ,, "
    "漢字 e\u0301 Ω 😀 ⅓ ħ"
)
MARKS = "".join(sorted(latex._KNOWN)) + "".join(map(chr, range(0x20, 0x7F)))
NEEDS_LATEX = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


def compiled(folder: Path, names: list[str]) -> str:
    """The log of a document that inputs these files, each on its own page. It is run in a folder of its own."""
    inputs = "\n".join(f"\\noindent\\input{{{name}}}\n\\clearpage" for name in names)
    packages = "\\usepackage[T1]{fontenc}\\usepackage{booktabs}\\usepackage{longtable}"
    text = f"\\documentclass{{article}}\n{packages}\n\\begin{{document}}\n{inputs}\n\\end{{document}}\n"
    (folder / "paper.tex").write_text(text, encoding="utf-8")
    for _ in range(2):  # a longtable knows its widths the second time
        done = subprocess.run(
            ["pdflatex", "-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"],
            cwd=folder, capture_output=True, timeout=200, check=False,
        )  # fmt: skip
        log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
        assert done.returncode == 0, log[-3000:]
    return log


def foreign(path: Path, *, name: str, items: int = 30) -> Path:
    """Evidence of another tool in which every text is the name."""
    rows = [
        {"lineage": name, "seed": 0, "generation": g, "item": f"i{i}", "format": name, "wording": name, "domain": name,
         "question": f"{i} {name}", "options": [name, f"{name} 2"], "gold": 0, "choice": int(g and i % 2),
         "choice_correct": not (g and i % 2), "answer": name, "outcome": "wrong" if g and i % 2 else "correct"}
        for g in (0, 1) for i in range(items)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def several() -> Source:
    """Three arms with three seeds each."""
    material = synthetic.material(items=60, seeds=(0, 1, 2), stages=None)
    case = Case(evidence=material.evidence, fluency=material.fluency, own=material.own, controls=material.controls)
    return Source(case=case, report=case.stages())


@NEEDS_LATEX
@pytest.mark.parametrize("name", [HOSTILE, MARKS[: len(MARKS) // 2], MARKS[len(MARKS) // 2 :]])
def test_text_of_others_compiles_and_does_nothing(tmp_path: Path, name: str) -> None:
    made = export(foreign(tmp_path / "evidence.jsonl", name=name), tmp_path / "out", kinds=["latex"])
    tables = [file for file in made.files if file.endswith(".tex")]
    assert any(file.startswith("lost-") for file in tables)
    log = compiled(tmp_path / "out", tables)
    assert "(/etc/passwd" not in log, "the file was not read"
    assert not list(tmp_path.rglob("hacked"))
    assert "Missing character" not in log


@NEEDS_LATEX
def test_tables_of_one_and_of_several_seeds_fit_a_page(out: Path, several: Source, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "one")
    assert "Overfull" not in compiled(tmp_path / "one", sorted(file.name for file in out.glob("*.tex")))
    made = dict(latex.documents(several))
    (tmp_path / "several").mkdir()
    for name, text in made.items():
        (tmp_path / "several" / name).write_text(text, encoding="utf-8")
    assert "Overfull" not in compiled(tmp_path / "several", list(made))
    assert r"\begin{longtable}" in made["fluency-seeds.tex"]


def test_a_mean_stands_with_the_stages_of_its_seeds(several: Source) -> None:
    made = dict(latex.documents(several))
    rows = [line.removesuffix(r" \\").split(" & ") for line in made["knowledge-multiple_choice.tex"].splitlines()]
    rows = [row for row in rows if len(row) == 10 and row[1] == "mean"]
    assert len(rows) == 3 * 6
    for arm, _, generation, *_, stage, _, _, _ in rows:
        calls = [
            c.stage for c in several.report.calls
            if (c.lineage, c.generation, c.format) == (arm.replace(r"\_", "_"), int(generation), "multiple_choice")
        ]  # fmt: skip
        letters = {"undetermined": "?"}
        expected = sorted(f"{letters.get(s, s)}{calls.count(s)}" for s in set(calls))
        assert sorted(stage.split()) == expected or (stage == latex.NONE and not calls)
    singles = made["knowledge-multiple_choice-seeds.tex"]
    assert len(re.findall(r"^\w\S* & [012] & ", singles, re.MULTILINE)) == 3 * 3 * 6


def test_a_name_is_no_line_of_the_file(tmp_path: Path) -> None:
    name = "a\n\\input{/etc/passwd}\r\u2028%"
    made = export(foreign(tmp_path / "evidence.jsonl", name=name), tmp_path / "out", kinds=["latex"])
    for file in made.files:
        if file.endswith(".tex"):
            text = (tmp_path / "out" / file).read_text(encoding="utf-8")
            assert not re.search(r"^[^%]*\\input", text, re.MULTILINE), file


def test_the_lost_questions_are_rows_of_the_changes(source: Source) -> None:
    made = dict(latex.documents(source))
    lost, _ = source.changed["general"]
    body = made["lost-general.tex"].split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == min(len(lost), latex.MOST_LOST)
    for line, one in zip(body, lost, strict=False):
        cells = [cell.removeprefix(r"\raggedright ") for cell in line.removesuffix(r" \\").split(" & ")]
        assert cells[0] == latex.escaped(one.question)
        assert cells[1] == latex.escaped(one.right)
        assert cells[4:] == [str(one.since), f"{one.formats}/{one.formats_asked}"]
    assert f"{len(body)} of {len(lost)}" in made["lost-general.tex"]


def test_letters_are_kept_and_marks_of_other_scripts_are_named() -> None:
    assert latex.escaped("Škoda é") == "Škoda é"
    assert latex.escaped(unicodedata.normalize("NFD", "é")) == "é"
    assert latex.escaped("漢") == r"\factfadechar{漢}{6F22}"

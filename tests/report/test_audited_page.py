"""The answer of an audit on the page and on the terminal: complete, and safe whatever a model wrote."""

from __future__ import annotations

import io
import re
from html import unescape
from typing import Any

import pytest

from factfade.report import page, summary, terminal
from factfade.report.collect import failures_of, questions_of
from factfade.report.data import PageData
from factfade.report.material import Material
from tests.report import synthetic
from tests.report.audited import Audited, audited


def material(case: Audited, **changed: Any) -> Material:
    """What the store would hold of the audit."""
    fields: dict[str, Any] = {
        "settings": {"experiment": {"name": "mine"}, "model": {"path": "world", "dtype": "float32"}},
        "environment": {"versions": {"factfade": "0.1.0"}},
        "steps": {},
        "evidence": case.evidence,
        "fluency": case.fluency,
        "own": case.own,
        "stages": case.report,
        "controls": {"checkpoints": None},
        "questions": questions_of(case.evidence),
        "audited": True,
        "failures": (("checkpoint-300", "model.safetensors is cut short"),),
    }
    return Material(**fields | changed)


@pytest.fixture(scope="module")
def case() -> Audited:
    return audited(items=120, lost=20, wavering=12)


@pytest.fixture(scope="module")
def data(case: Audited) -> PageData:
    return summary.summarise(material(case))


@pytest.fixture(scope="module")
def html(data: PageData) -> str:
    return page.render(data)


def test_the_page_leads_with_the_answer(data: PageData, html: str) -> None:
    assert data.checkpoints is not None
    assert html.index('id="answer"') < html.index('id="findings"')
    assert data.checkpoints.sentence in unescape(html)
    for row in data.checkpoints.rows:
        assert row.sentence in unescape(html)
    assert "checkpoint-300 could not be evaluated: model.safetensors is cut short" in html
    assert 'id="questions"' not in html
    assert 'id="domains"' not in html


FOREIGN = re.compile(r"[Gg]eneration|start model|\bgen\.|\bthe start\b|\barms?\b|[Ss]eed \d")


def visible(html: str) -> str:
    """What a reader or a screen reader is told, markup apart."""
    told = re.findall(r'(?:aria-label|title)="([^"]*)"', html)
    plain = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL)
    return unescape(" ".join([plain, *told]))


def test_the_page_speaks_of_checkpoints_and_steps(data: PageData, html: str) -> None:
    text = visible(html)
    assert FOREIGN.findall(text) == []
    # An experiment's page is full of them.
    assert len(FOREIGN.findall(visible(page.render(summary.summarise(synthetic.material(items=102)))))) > 20
    assert data.places.axis == "step"
    assert "step 200" in text
    assert re.search(r">\s*step 10\s*</th>", html)
    for tick in ("base", "9", "10", "100", "200"):
        assert re.search(rf">{tick}</text>", html)


def test_checkpoints_without_steps_are_numbered_and_named(case: Audited) -> None:
    named = case.evidence.assign(step=None)
    text = visible(page.render(summary.summarise(material(case, evidence=named))))
    assert FOREIGN.findall(text) == []
    assert "numbered in their order: 1 checkpoint-9, 2 checkpoint-10, 3 checkpoint-100, 4 checkpoint-200." in text
    assert "Stage C at checkpoint-200" in text or "at checkpoint-200" in text


def test_the_terminal_speaks_of_checkpoints(data: PageData) -> None:
    assert FOREIGN.findall(terminal.plain(data)) == []
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80)
    for part in terminal.table(data):
        console.print(part)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert FOREIGN.findall(told) == []
    assert all(f"step {step}" in told for step in (9, 10, 100, 200))


def test_every_lost_and_gained_fact_is_on_the_page(data: PageData, html: str) -> None:
    assert data.checkpoints is not None
    for row in data.checkpoints.rows:
        assert row.facts is not None
        for domain in row.facts.domains:
            for one in (*domain.lost, *domain.gained):
                assert one.change.question in html
    assert html.count('class="tag" title="among these losses') == sum(
        r.facts.firm for r in data.checkpoints.rows if r.facts is not None
    )


def test_an_experiment_has_no_such_section() -> None:
    found = summary.summarise(synthetic.material(items=102))
    assert found.checkpoints is None
    assert 'id="answer"' not in page.render(found)


def test_anchors_and_ids_of_the_page_agree(html: str) -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= ids


HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e[bold]"


def test_what_a_model_wrote_stays_text(case: Audited) -> None:
    rows = case.evidence.assign(answer=HOSTILE, question=HOSTILE, domain=HOSTILE, checkpoint=HOSTILE)
    found = summary.summarise(material(case, evidence=rows, questions=questions_of(rows)))
    shown = page.render(found)
    assert "<script>alert" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    text = terminal.plain(found)
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("record", [{}, {"checkpoints": None}, {"checkpoints": [None, 3, {}, {"failure": None}]}])
def test_a_record_without_failures_gives_none(record: dict[str, Any]) -> None:
    assert failures_of(record) == ()


def test_failures_are_read_from_the_record() -> None:
    rows = [{"name": "checkpoint-7", "failure": None}, {"name": "checkpoint-9", "failure": {"message": "cut short"}}]
    assert failures_of({"checkpoints": rows}) == (("checkpoint-9", "cut short"),)


def test_a_pipe_gets_the_table_the_sentence_and_the_facts(data: PageData) -> None:
    text = terminal.plain(data)
    assert data.checkpoints is not None
    lines = text.split("\n")
    assert lines[0].split()[:3] == ["checkpoint", "step", "stage"]
    assert any(line.startswith("checkpoint-10") and "20 of 108" in line for line in lines)
    assert data.checkpoints.sentence in lines
    lost = [line for line in lines if line.startswith("  lost in chemistry: What is the colour of")]
    assert len(lost) >= 5
    assert all(re.search(r'"\w+" -> "\w+" \(\d of \d ways', line) for line in lost)
    assert any("15 more stand in the report" in line for line in lines)
    assert "warning: checkpoint-300 could not be evaluated: model.safetensors is cut short" in lines


def test_a_terminal_of_80_columns_holds_the_table(data: PageData) -> None:
    from rich.console import Console

    console = Console(width=80, file=io.StringIO(), force_terminal=False, highlight=False)
    for part in terminal.table(data):
        console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.split("\n"))) <= 80
    assert "checkpoint-100" in text
    assert re.search(r"checkpoint-10 +20 of 108", text)
    assert "stage B" in text


def test_equal_evidence_gives_equal_bytes(case: Audited, html: str) -> None:
    shuffled = case.evidence.sample(frac=1.0, random_state=1).reset_index(drop=True)
    assert page.render(summary.summarise(material(case, evidence=shuffled))) == html

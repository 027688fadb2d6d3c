"""The page: complete, true to its data, self-contained, and deaf to what models and data sets write."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from functools import cache

import pytest

from factfade.report import page, summary
from factfade.report.data import PageData
from factfade.report.material import Material
from factfade.report.wording import interval, percent, plain_name
from tests.report.reading import Page, with_texts

PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "</title><svg onload=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "<svg/onload=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "]]><script>alert(1)</script>",
    "{{ 7 * 7 }}{% for x in range(9) %}x{% endfor %}",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "</desc></svg><img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#x3c;img src=x&#x3e;",
    "<base href=//evil.example><meta http-equiv=refresh content=0>",
    "\u202e\u2066gnp.exe\u2069\u202c <b>",
    "\x1b]52;c;aGk=\x07\x00<i>",
    "\ufeff\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
)  # fmt: skip


@cache
def parsed(html: str) -> Page:
    return Page(html)


def test_equal_rows_give_equal_bytes(material: Material, html: str) -> None:
    assert page.render(summary.summarise(material)) == html


def test_every_arm_format_and_generation_is_there(data: PageData, html: str) -> None:
    text = parsed(html).text
    for arm in data.arms:
        assert arm.name in text
        for _, sentence in arm.sentences:
            assert sentence[:60] in text
    for format in data.formats:
        assert plain_name(format) in text
    for generation in data.generations[1:]:
        assert f"Generation {generation}: " in text
    assert data.name in text


def test_every_number_of_every_curve_stands_in_the_page_with_interval_and_n(data: PageData, html: str) -> None:
    text = parsed(html).text
    for arm in data.arms:
        for panel in arm.panels:
            for measure in (panel.knowledge, panel.parse):
                assert measure.main is not None
                for point in measure.main.points:
                    assert point.score.value is not None
                    assert f"{percent(point.score.value)} [{interval(point.score)}] n {point.score.n}" in text


def test_every_figure_has_a_title_a_description_and_ids_of_its_own(html: str) -> None:
    elements = parsed(html).elements
    figures = [a for tag, a in elements if tag == "svg" and a.get("role") == "img"]
    ids = [a["id"] for _, a in elements if "id" in a]
    assert len(figures) == 3 * (1 + 5 + 3) + 5
    assert len(ids) == len(set(ids))
    for attributes in figures:
        assert set((attributes.get("aria-labelledby") or "").split()) <= set(ids)
    assert all(a.get("aria-hidden") == "true" for t, a in elements if t == "svg" and "role" not in a)


def test_both_lines_and_no_control_are_told_apart(data: PageData, html: str) -> None:
    text = parsed(html).text
    assert "dashed: its control, human_only" in text
    assert "no control of its own: plain forgetting is not excluded" in text
    classes = [a.get("class") for _, a in parsed(html).elements]
    assert classes.count("control") > 10
    assert "reference" in classes


def test_stage_cells_differ_by_fill_and_letter(html: str) -> None:
    fills = {
        a.get("class"): a.get("fill")
        for t, a in parsed(html).elements
        if t == "rect" and "cell " in (a.get("class") or "")
    }
    assert fills["cell cell-b"] == "url(#fill-b)"
    assert fills["cell cell-c"] == "url(#fill-c)"
    assert fills["cell cell-a"] is None
    assert {"letter letter-a", "letter letter-b", "letter letter-c"} <= {
        a.get("class") for _, a in parsed(html).elements
    }


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    for tag, attributes in parsed(html).elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form", "image", "use", "foreignobject"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in {"href", "src", "xlink:href", "action", "srcset", "data", "poster"}:
                assert (value or "").startswith("#")
            assert not re.search(r"(?:https?:|data:|javascript:|//)", value or ""), (tag, name, value)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_the_policy_forbids_all_but_the_two_hashed_texts(html: str) -> None:
    found = parsed(html)
    policies = [
        a["content"] for t, a in found.elements if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    policy = dict(part.strip().split(" ", 1) for part in (policies[0] or "").split(";"))

    def hashed(texts: list[str]) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256("".join(texts).encode()).digest()).decode() + "'"

    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == hashed(found.styles)
    assert policy["script-src"] == hashed(found.scripts)
    assert policy["base-uri"] == policy["form-action"] == "'none'"
    tags = [tag for tag, _ in found.elements]
    assert (tags.count("script"), tags.count("style")) == (1, 1)
    assert tags.index("meta") < tags.index("style")


@pytest.fixture(scope="module")
def small(data: PageData) -> PageData:
    """Enough of the data that every kind of text is in it, little enough to be rendered often."""
    arm = next(a for a in data.arms if a.name == "general")
    flagged = [replace(c, flags=("a_flag",), at_chance=True) for c in arm.panels[2].calls[-1:]]
    panel = replace(arm.panels[2], calls=tuple(flagged), not_asked=(("too long", 3),))
    short = replace(
        arm, panels=(panel,), lost=arm.lost[:2], gained=arm.lost[2:4], domains=arm.domains[:2],
        outcomes=arm.outcomes[:2],        transitions=arm.transitions[:1], over_seeds=("counted",),
    )  # fmt: skip
    tables = tuple(replace(t, rows=t.rows[:2]) for t in data.record)
    return replace(
        data, arms=(short,), formats=(panel.format,), record=tables, warnings=("careful",), notes=("a note",),
        generations=(0, 5),
    )  # fmt: skip


def test_the_planted_marker_reaches_every_kind_of_text(small: PageData) -> None:
    """The next test says something only where its payloads are really shown."""
    counter = iter(range(10**6))
    planted: list[str] = []

    def plant(text: str) -> str:
        planted.append(f"mark{next(counter)}x")
        return planted[-1]

    html = page.render(with_texts(small, plant))
    seen = sum(mark in html for mark in planted)
    assert seen > 0.6 * len(planted) > 200


@pytest.mark.parametrize("payload", PAYLOADS)
def test_planted_text_adds_no_element_and_no_attribute(small: PageData, payload: str) -> None:
    harmless = Page(page.render(with_texts(small, lambda text: f"x{text}")))
    html = page.render(with_texts(small, lambda text: f"{payload}{text}"))
    found = Page(html)
    assert found.shape == harmless.shape
    assert found.comments == []
    assert found.scripts == harmless.scripts
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)


def test_hidden_characters_are_shown(small: PageData) -> None:
    text = Page(page.render(with_texts(small, lambda text: f"a\u202eb\x1b{text}"))).text
    assert "a\\u202eb\\x1b" in text


def test_evidence_with_planted_text_is_rendered_as_text(material: Material, data: PageData) -> None:
    """The whole way from the rows: answers, options, questions, domains, entities, reasons."""
    bad = '<img src=x onerror=alert(1)>"\u202e'
    rows = material.evidence.copy()
    for column in ("domain", "entity", "template", "wording", "answer", "reason"):
        rows[column] = [f"{bad}{value}" for value in rows[column]]
    rows["options"] = [[bad + option for option in options] for options in rows["options"]]
    rows["accepted"] = [[bad + option for option in options] for options in rows["accepted"]]
    questions = {item: bad + text for item, text in material.questions.items()}
    html = page.render(summary.summarise(replace(material, evidence=rows, questions=questions)))
    assert not any(tag == "img" for tag, _ in Page(html).elements)
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "\u202e" not in html


def test_long_answers_are_cut_and_counted(material: Material) -> None:
    rows = material.evidence.copy()
    rows["answer"] = ["x" * 5000 for _ in range(len(rows))]
    html = page.render(summary.summarise(replace(material, evidence=rows)))
    assert "(+4900 characters)" in html
    assert len(html) < 1_500_000


def test_the_page_stays_small(html: str) -> None:
    assert len(html.encode()) < 1_500_000


def test_several_seeds_are_drawn_thin_under_their_mean(seeded: PageData) -> None:
    html = page.render(seeded)
    classes = [a.get("class") for _, a in Page(html).elements]
    assert classes.count("curve thin") >= 3 * 3 * 5 * 2
    assert "their intervals are over items only" in html
    assert "in 3 of 3 seeds" in html


def test_a_start_model_alone_has_a_page(material: Material) -> None:
    """Before the first training is evaluated there is a page as well: no calls, no changes, no second end."""
    only = {
        "evidence": material.evidence[material.evidence["generation"] == 0],
        "fluency": material.fluency[material.fluency["generation"] == 0],
        "own": material.own[material.own["generation"] == 0],
        "stages": replace(material.stages, calls=(), onsets=(), sentences={}),
    }
    text = Page(page.render(summary.summarise(replace(material, **only)))).text
    assert "No stage has been called yet." in text
    assert "is evaluated up to generation 0 of 5" in text


def test_evidence_without_answers_fluency_or_own_text_has_a_page(material: Material) -> None:
    rows = material.evidence.copy()
    for column in ("answer", "outcome", "answer_confidence", "domain", "entity", "choice_confidence"):
        rows[column] = None
    data = summary.summarise(
        replace(material, evidence=rows, fluency=material.fluency[:0], own=material.own[:0], steps={}, environment={})
    )
    text = Page(page.render(data)).text
    assert "No fluency is stored for this arm." in text
    assert "no data" in text


# ---------------------------------------------------------------------------------------------------------------
# Colours


def variables() -> tuple[dict[str, str], dict[str, str]]:
    """The stylesheet's colours, light and dark."""
    css = page._file("page.css")
    found = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    return found[0], {**found[0], **found[1]}


def contrast(a: str, b: str) -> float:
    """The contrast ratio of WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_is_readable_and_lines_are_visible(theme: int) -> None:
    colours = variables()[theme]
    for ground in ("paper", "card", "wash"):
        for ink in ("ink", "soft"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for stage in ("a", "b", "c"):
        assert contrast(colours[f"{stage}-ink"], colours[stage]) >= 4.5, stage
    assert contrast(colours["vermillion"], colours["paper"]) >= 4.0
    for line in ("grey", "blue", "vermillion", "green", "purple", "orange", "sky"):
        assert contrast(colours[line], colours["paper"]) >= 3.0, line


def test_stages_differ_in_greyscale() -> None:
    for colours in variables():
        a, b, c = (contrast(colours[s], "#000000") for s in ("a", "b", "c"))
        assert max(a / b, b / a) > 1.3
        assert max(b / c, c / b) > 1.3

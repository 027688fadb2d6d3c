"""Names and paths from others: none leads out of its root."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.errors import ConfigError, UnsafePath
from factfade.paths import checked_name, checked_relative, inside, is_name, slug

GOOD = ["a", "human_only", "human-only.2", "0", "tce", "x" * 64, "a..b", "com10x"]
BAD = [
    "", ".", "..", "...", ".hidden", "../x", "a/b", "a\\b", "/etc/passwd", "C:", "c:\\x", "a:b", "a b", " a", "a ",
    "a.", "a\n", "a\x00", "\x1b[2J", "%2e%2e", "a%2fb", "#x", "?x", "~", "$HOME", "-rf", "_x", "A", "ARM", "ä",
    "a\u2044b", "a\uff0fb", "\u202ea", "a\u200b", "\ud800", "con", "nul", "con.txt", "com1", "lpt9.x", "aux", "prn",
    "x" * 65, "*", "a*", "a|b", "a<b", "a\"b", "a'b", "a`b", "a;b", "a&b", "generation-000", "generation-1", "seed-0",
    "experiment.toml", "environment.json", "report.html", "stages.json",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_names_pass_as_they_are(name: str) -> None:
    assert checked_name(name, what="arm") == name
    assert slug(name) == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names_are_refused_with_one_that_would_do(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checked_name(name, what="arm")
    assert is_name(slug(name))
    assert slug(name) in raised.value.hint
    assert all(c.isprintable() for c in raised.value.message)


@given(st.text(st.characters()))
def test_every_text_has_a_safe_slug(text: str) -> None:
    name = slug(text)
    assert is_name(name)
    assert slug(name) == name
    assert inside(Path("/root-of-all"), name) == Path("/root-of-all") / name


@given(st.text(), st.text())
def test_different_texts_have_different_slugs(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other) or is_name(one) or is_name(other)


def test_texts_that_differ_in_case_or_in_what_is_cut_stay_apart() -> None:
    assert len({slug(text) for text in ("Arm", "arm", "ARM", "a rm", "a/rm", "a" * 65, "a" * 66)}) == 7


@pytest.mark.parametrize("path", ["", ".", "..", "/x", "a/../b", "a//b", "./a", "a/", "a\\b", "a\x00b", "a\nb", "../x"])
def test_paths_in_manifests_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(UnsafePath):
        checked_relative(path)


def test_links_may_stay_inside_and_not_leave(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (root / "inner").symlink_to(root / "a")
    (root / "outer").symlink_to(tmp_path / "out")
    (root / "a" / "loop").symlink_to("../../out")
    assert inside(root, "inner", "x") == root / "inner" / "x"
    for leaving in (("outer",), ("outer", "x"), ("a", "loop", "y")):
        with pytest.raises(UnsafePath):
            inside(root, *leaving)
    (tmp_path / "alias").symlink_to(root)
    assert inside(tmp_path / "alias", "a") == tmp_path / "alias" / "a"

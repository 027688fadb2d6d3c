"""Corpora from files: what is refused and where, what is counted, how documents are cut and split."""

from __future__ import annotations

import gzip
import random
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import registry
from factfade.data import hub
from factfade.data.corpora import HubCorpus, JsonlCorpus, ParquetCorpus, TextCorpus, is_title
from factfade.data.lines import read_json_lines, read_lines
from factfade.errors import ConfigError, DataError, FactfadeError, MissingExtra, NotFound
from factfade.protocols import Corpus
from tests.data import malformed
from tests.data.malformed import Bad

ALL = [
    *(("jsonl", bad) for bad in (*malformed.ENCODINGS, *malformed.KINDS, *malformed.JSON_LINES)),
    *(("text", bad) for bad in (*malformed.ENCODINGS, *malformed.KINDS, *malformed.TEXT)),
]


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return str(path)


def test_there_are_enough_malformed_files() -> None:
    assert len(ALL) >= 100
    assert len({(kind, bad.name) for kind, bad in ALL}) == len(ALL)


@pytest.mark.parametrize(("kind", "bad"), ALL, ids=[f"{kind}-{bad.name}" for kind, bad in ALL])
def test_a_malformed_file_is_refused_with_its_line(kind: str, bad: Bad, tmp_path: Path) -> None:
    path = write(tmp_path, f"{bad.name}.{kind}", bad.content)
    part = registry.build("corpus", {"kind": kind, "path": path, "every": 0})
    with pytest.raises(DataError) as caught:
        part.check()
    error = caught.value
    assert bad.reason in str(error)
    assert path in str(error)
    assert error.line == bad.line
    assert error.exit_code == 2
    assert "\x1b" not in error.render()
    with pytest.raises(DataError):
        list(part.documents(split="train", seed=0))


def test_a_good_file_is_not_refused(tmp_path: Path) -> None:
    """The other side of the corpus above: the same bytes without the fault pass."""
    good = malformed.GOOD.encode()
    for name, content in {
        "plain": good + b"\n", "no-last-feed": good, "bom": b"\xef\xbb\xbf" + good, "crlf": good + b"\r\n",
        "blank-lines": b"\n" + good + b"\n\n", "emoji": '{"text": "😀 \\ud83d\\ude00"}\n'.encode(),
        "long": b'{"text": "' + b"x" * 2**20 + b'"}\n', "spaces": b"  " + good + b"  \n",
        "u2028": '{"text": "a\u2028b"}\n'.encode(), "deep": b'{"text": "a", "x": ' + b"[" * 50 + b"]" * 50 + b"}\n",
    }.items():  # fmt: skip
        corpus = JsonlCorpus(path=write(tmp_path, f"{name}.jsonl", content), every=0)
        assert corpus.check()["train"]["documents"] == 1, name


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for kind in ("text", "jsonl", "parquet"):
        with pytest.raises(NotFound, match="no file"):
            registry.build("corpus", {"kind": kind, "path": str(tmp_path / "absent")}).check()
    with pytest.raises(DataError, match="folder"):
        TextCorpus(path=str(tmp_path)).check()
    beside = write(tmp_path, "._train.jsonl", "x")
    with pytest.raises(DataError, match="macOS") as caught:
        JsonlCorpus(path=beside).check()
    assert "train.jsonl" in caught.value.hint
    with pytest.raises(NotFound):
        TextCorpus(path=write(tmp_path, "a.txt", "a\n\nb\n\nc\n"), held_out=str(tmp_path / "gone")).check()


def test_building_reads_nothing() -> None:
    for table in (
        {"kind": "text", "path": "no/such/file"}, {"kind": "jsonl", "path": "no"}, {"kind": "parquet", "path": "no"},
        {"kind": "hub", "name": "a/b", "revision": "0" * 40},
    ):  # fmt: skip
        part: Corpus = registry.build("corpus", table)
        assert part.endless is False


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "text", "path": ""}, {"kind": "text", "path": "a", "unit": "sentence"},
        {"kind": "text", "path": "a", "shortest": 0}, {"kind": "text", "path": "a", "every": 1},
        {"kind": "text", "path": "a", "every": -2}, {"kind": "text"}, {"kind": "text", "path": "a", "text": "b"},
        {"kind": "hub", "name": "wikitext"}, {"kind": "hub", "name": "a/b", "revision": "main"},
        {"kind": "hub", "name": "a/b", "unit": "article", "domain_column": "d"},
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        registry.build("corpus", table)


WIKI = (
    " \n = First = \n \n Once there was a town . \n It lay by a river . \n \n"
    " = = Its river = = \n \n The river is long .\n"
    " \n = Second = \n \n Another text = 5 = \n = not a title = \n and more . \n \n \n = Third = \n \n The end . \n"
)


def documents(part: Corpus, split: str = "train") -> list[str]:
    return [text for text, _ in part.documents(split=split, seed=0)]


def test_articles_are_documents(tmp_path: Path) -> None:
    part = TextCorpus(path=write(tmp_path, "wiki.txt", WIKI), every=0)
    assert documents(part) == [
        "= First =\nOnce there was a town .\nIt lay by a river .\n= = Its river = =\nThe river is long .",
        "= Second =\nAnother text = 5 =\n= not a title =\nand more .",
        "= Third =\nThe end .",
    ]
    assert part.check()["train"]["blank_lines"] == sum(not line.strip() for line in WIKI.splitlines())


def test_units(tmp_path: Path) -> None:
    path = write(tmp_path, "wiki.txt", WIKI)
    lines = documents(TextCorpus(path=path, unit="line", every=0))
    assert lines[:3] == ["= First =", "Once there was a town .", "It lay by a river ."]
    assert documents(TextCorpus(path=path, unit="line", shortest=14, every=0)) == [
        "Once there was a town .", "It lay by a river .", "= = Its river = =", "The river is long .",
        "Another text = 5 =", "= not a title =",
    ]  # fmt: skip
    assert "Once there was a town .\nIt lay by a river ." in documents(TextCorpus(path=path, unit="paragraph", every=0))
    plain = write(tmp_path, "plain.txt", "One.\nTwo.\n\nThree.\n\n\nFour.")
    assert documents(TextCorpus(path=plain, every=0)) == ["One.\nTwo.", "Three.", "Four."]


@pytest.mark.parametrize(
    ("line", "title"),
    [(" = A = ", True), ("= A =", True), (" = A = B = ", True), (" = = A = = ", False), ("= =", False), ("=", False),
     ("A = B", False), (" = A", False), ("==", False), ("= A = =", False), ("", False)],
)  # fmt: skip
def test_titles(line: str, title: bool) -> None:
    assert is_title(line) == title


def test_every_kth_document_is_held_out(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", "\n\n".join(f"Text {i}." for i in range(10)))
    part = TextCorpus(path=path, every=4)
    assert documents(part, "held_out") == ["Text 3.", "Text 7."]
    assert documents(part) == [f"Text {i}." for i in range(10) if i not in (3, 7)]
    assert list(part.documents(split="train", seed=1)) == list(part.documents(split="train", seed=2))
    with pytest.raises(DataError, match="fewer than 20"):
        TextCorpus(path=path).check()
    assert documents(TextCorpus(path=path, every=0), "held_out") == []
    with pytest.raises(ValueError, match="split"):
        list(part.documents(split="test", seed=0))


def test_repetitions_and_overlap_are_left_out_and_counted(tmp_path: Path) -> None:
    train = write(tmp_path, "train.txt", "A.\n\nB.\n\nA.\n\nC.\n\n A. \n\nD.")
    test = write(tmp_path, "test.txt", "C.\n\nE.\n\nE.")
    part = TextCorpus(path=train, held_out=test)
    assert documents(part) == ["A.", "B.", "D."]
    assert documents(part, "held_out") == ["C.", "E."]
    counts = part.check()
    assert (counts["train"]["repeated"], counts["train"]["in_held_out"], counts["held_out"]["repeated"]) == (2, 1, 1)
    with pytest.raises(DataError, match="no document is left"):
        TextCorpus(path=train, held_out=train).check()


def test_marks_and_line_ends_are_counted_and_change_nothing(tmp_path: Path) -> None:
    plain = TextCorpus(path=write(tmp_path, "a.txt", "One.\n\nTwo.\n"), every=0)
    other = TextCorpus(path=write(tmp_path, "b.txt", b"\xef\xbb\xbfOne.\r\n\r\nTwo.\r\n"), every=0)
    assert documents(plain) == documents(other)
    counts = other.check()["train"]
    assert (counts["bom"], counts["crlf"], counts["lines"]) == (1, 3, 3)
    assert plain.identity != other.identity


def test_identity_is_that_of_content_and_shape(tmp_path: Path) -> None:
    one, two = (write(tmp_path, name, "A.\n\nB.\n\nC.\n") for name in ("one.txt", "two.txt"))
    other = write(tmp_path, "other.txt", "A.\n\nB.\n\nD.\n")
    base = TextCorpus(path=one)
    assert base.identity == TextCorpus(path=two).identity
    different = [
        TextCorpus(path=other), TextCorpus(path=one, every=2), TextCorpus(path=one, unit="line"),
        TextCorpus(path=one, held_out=other), TextCorpus(path=one, domain="x"), TextCorpus(path=one, shortest=2),
    ]  # fmt: skip
    assert len({base.identity, *(part.identity for part in different)}) == 7
    Path(one).write_text("A.\n\nB.\n\nC.\n\nE.\n", encoding="utf-8")
    assert base.identity != TextCorpus(path=two).identity  # not remembered past a change of the file


def test_json_lines_with_domains(tmp_path: Path) -> None:
    rows = '{"t": "A", "d": "x"}\n\n{"t": "  ", "d": "y"}\n{"t": " B ", "d": "y", "more": [1]}\n'
    part = JsonlCorpus(path=write(tmp_path, "a.jsonl", rows), field="t", domain_field="d", every=0)
    assert list(part.documents(split="train", seed=0)) == [("A", "x"), ("B", "y")]
    counts = part.check()["train"]
    assert (counts["documents"], counts["blank_documents"], counts["blank_lines"]) == (2, 1, 1)
    with pytest.raises(DataError, match="'d' is missing") as caught:
        JsonlCorpus(path=write(tmp_path, "b.jsonl", '{"t": "A"}\n'), field="t", domain_field="d").check()
    assert "fields here: t" in caught.value.hint


def parquet(folder: Path, name: str, **columns: object) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), folder / name)
    return str(folder / name)


def test_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path, "b.parquet", text=["A", " ", "B "], topic=["x", "x", "y"])
    part = ParquetCorpus(path=path, domain_column="topic", every=0)
    assert list(part.documents(split="train", seed=0)) == [("A", "x"), ("B", "y")]
    assert part.check()["train"]["blank_documents"] == 1
    parquet(tmp_path, "a.parquet", text=["Z"], topic=["z"])
    write(tmp_path, "._a.parquet", b"macOS")
    write(tmp_path, "loader.py", "raise SystemExit('never run')")
    folder = ParquetCorpus(path=str(tmp_path), every=0)
    assert documents(folder) == ["Z", "A", "B"]
    assert folder.identity != part.identity


def test_malformed_parquet(tmp_path: Path) -> None:
    import pyarrow as pa

    good = parquet(tmp_path, "good.parquet", text=[f"Text {i}" for i in range(2000)])
    raw = Path(good).read_bytes()
    bad = {
        "null": (parquet(tmp_path, "1.parquet", text=["A", None]), "row 2 is null"),
        "numbers": (parquet(tmp_path, "2.parquet", text=[1, 2]), "must hold text, here it is int64"),
        "bytes": (parquet(tmp_path, "3.parquet", text=[b"\x80\x04", b"b"]), "must hold text, here it is binary"),
        "lists": (parquet(tmp_path, "4.parquet", text=[["A"]]), "must hold text"),
        "column": (parquet(tmp_path, "5.parquet", body=["A"]), "the column 'text' is missing"),
        "nul": (parquet(tmp_path, "6.parquet", text=["A", "b\0"]), "row 2: a NUL character"),
        "cut": (write(tmp_path, "7.parquet", raw[: len(raw) // 2]), "cannot be read as parquet"),
        "tail": (write(tmp_path, "8.parquet", raw[:-1]), "cannot be read as parquet"),
        "text": (write(tmp_path, "9.parquet", "no parquet at all"), "cannot be read as parquet"),
        "head": (write(tmp_path, "10.parquet", b"PAR1"), "cannot be read as parquet"),
        "empty": (write(tmp_path, "11.parquet", b""), "empty"),
        "no rows": (parquet(tmp_path, "12.parquet", text=pa.array([], pa.string())), "no document is left"),
    }
    for name, (path, reason) in bad.items():
        with pytest.raises(DataError, match="parquet") as caught:
            ParquetCorpus(path=path, every=0).check()
        assert reason in str(caught.value), name
    (tmp_path / "none").mkdir()
    with pytest.raises(NotFound):
        ParquetCorpus(path=str(tmp_path / "none")).check()


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Never another exception, whatever the bytes."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "any", content)
        for read in (read_lines, read_json_lines):
            refusal = None
            try:
                list(read(path))
            except DataError as error:
                refusal = str(error)
            assert refusal is None or path in refusal


def test_flipped_bytes_are_read_or_refused(tmp_path: Path) -> None:
    """400 files, each a sound one with some bytes changed: an answer or a DataError, nothing else."""
    draw = random.Random(0)
    sound = "\n".join(f'{{"id": {i}, "text": "Line {i} with \\u00e9 and é."}}' for i in range(4)).encode()
    refused = 0
    for _ in range(400):
        content = bytearray(sound)
        for _ in range(draw.randint(1, 3)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path = write(
            tmp_path, "f.jsonl", bytes(content[: draw.choice([len(content), draw.randrange(1, len(content))])])
        )
        try:
            JsonlCorpus(path=path, every=0).check()
        except FactfadeError:
            refused += 1
    assert 150 < refused < 400


def test_a_compressed_file_says_what_to_type(tmp_path: Path) -> None:
    path = write(tmp_path, "train.jsonl", gzip.compress(b'{"text": "a"}\n'))
    with pytest.raises(DataError) as caught:
        JsonlCorpus(path=path).check()
    assert "gunzip" in caught.value.hint


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """A stand-in for `datasets` and `huggingface_hub`: rows of WikiText's kind, and a record of what was asked."""
    calls: list[object] = []

    def load_dataset(name: str, subset: str | None, *, split: str, revision: str) -> list[dict[str, str]]:
        calls.append((name, subset, split, revision))
        if name == "no/net":
            raise ConnectionError("unreachable\nlong story")
        return [{"text": f"{line}\n"} for line in WIKI.split("\n")] if split == "train" else [{"text": "Held out."}]

    info = types.SimpleNamespace(sha="a" * 40)
    api = types.SimpleNamespace(
        HfApi=lambda: types.SimpleNamespace(dataset_info=lambda name: calls.append(name) or info)
    )
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setitem(sys.modules, "huggingface_hub", api)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub.commit.cache_clear()
    yield calls
    hub.commit.cache_clear()


def test_hub_rows_as_articles_at_a_recorded_commit(fake_hub: list[object]) -> None:
    part = HubCorpus(name="owner/wiki", subset="raw", held_out="test", unit="article")
    assert fake_hub == []
    assert [text.splitlines()[0] for text in documents(part)] == ["= First =", "= Second =", "= Third ="]
    assert documents(part, "held_out") == ["Held out."]
    assert part.check()["revision"] == "a" * 40
    assert ("owner/wiki", "raw", "train", "a" * 40) in fake_hub
    pinned = HubCorpus(name="owner/wiki", revision="b" * 40, every=5)
    assert "= First =" in documents(pinned)
    assert pinned.identity != part.identity
    with pytest.raises(DataError, match="ConnectionError: unreachable") as caught:
        HubCorpus(name="no/net", revision="b" * 40).check()
    assert "long story" not in str(caught.value)


def test_hub_offline_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.commit.cache_clear()
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=None))
    with pytest.raises(DataError, match="HF_HUB_OFFLINE"):
        HubCorpus(name="owner/wiki").check()


def test_hub_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra) as caught:
        HubCorpus(name="owner/wiki", revision="a" * 40).check()
    assert "factfade[hub]" in caught.value.hint


@pytest.mark.shared
def test_wikitext_has_its_published_articles(shared_dir: Path) -> None:
    """600 / 60 / 60 articles (Merity et al. 2016)."""
    folder = shared_dir / "data" / "wikitext-2"
    part = TextCorpus(path=str(folder / "train.txt"), held_out=str(folder / "test.txt"))
    counts = part.check()
    assert (counts["train"]["documents"], counts["held_out"]["documents"]) == (600, 60)
    assert TextCorpus(path=str(folder / "valid.txt"), every=0).check()["train"]["documents"] == 60

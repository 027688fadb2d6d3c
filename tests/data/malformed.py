"""Files that must be refused: (name, bytes, part of the reason, line or None). Made here, so that none lies about."""

from __future__ import annotations

import json
from typing import NamedTuple


class Bad(NamedTuple):
    name: str
    content: bytes
    reason: str
    line: int | None


def _lines(*rows: str, end: str = "\n") -> bytes:
    return (end.join(rows) + end).encode("utf-8")


GOOD = '{"id": "a", "text": "One good line."}'
LATIN = "Ein Märchen".encode("latin-1")
ENCODINGS = [
    Bad("latin1", b'{"text": "' + LATIN + b'"}\n', "not UTF-8: byte 0xe4 at byte 15", 1),
    Bad("latin1-line-3", _lines(GOOD, "") + b'{"text": "' + LATIN + b'"}\n', "not UTF-8", 3),
    Bad("cp1252-quotes", b'{"text": "\x93quoted\x94"}\n', "byte 0x93 at byte 10", 1),
    Bad("gbk", '{"text": "中文维基"}\n'.encode("gbk"), "not UTF-8", 1),
    Bad("shift-jis", '{"text": "日本語の文"}\n'.encode("shift-jis"), "not UTF-8", 1),
    Bad("koi8", '{"text": "Москва"}\n'.encode("koi8-r"), "not UTF-8", 1),
    Bad("big5", '{"text": "臺灣"}\n'.encode("big5"), "not UTF-8", 1),
    Bad("utf16-bom", '{"text": "x"}\n'.encode("utf-16"), "UTF-16", None),
    Bad("utf16-be-bom", b"\xfe\xff" + '{"text": "x"}\n'.encode("utf-16-be"), "UTF-16", None),
    Bad("utf16-le-no-bom", '{"text": "x"}\n'.encode("utf-16-le"), "NUL byte stands at byte 1", 1),
    Bad("utf32", '{"text": "x"}\n'.encode("utf-32"), "UTF-32", None),
    Bad("mixed", _lines(GOOD) + LATIN + b"\n", "not UTF-8", 2),
    Bad("cut-in-a-character", '{"text": "é'.encode()[:-1], "unexpected end of data", 1),
    Bad("surrogate-bytes", b'{"text": "\xed\xa0\x80"}\n', "not UTF-8", 1),
    Bad("overlong", b'{"text": "\xc0\xaf"}\n', "not UTF-8", 1),
    Bad("beyond-unicode", b'{"text": "\xf5\x80\x80\x80"}\n', "not UTF-8", 1),
]
KINDS = [
    Bad("empty", b"", "empty", None),
    Bad("gzip", b"\x1f\x8b\x08\x00rest", "gzip", None),
    Bad("zip", b"PK\x03\x04rest", "zip", None),
    Bad("xz", b"\xfd7zXZ\x00rest", "xz", None),
    Bad("bzip2", b"BZh91AYrest", "bzip2", None),
    Bad("zstd", b"\x28\xb5\x2f\xfdrest", "zstandard", None),
    Bad("parquet", b"PAR1rest", "parquet", None),
    Bad("arrow", b"ARROW1\x00\x00", "Arrow", None),
    Bad("sqlite", b"SQLite format 3\x00rest", "SQLite", None),
    Bad("pdf", b"%PDF-1.7\n", "PDF", None),
    Bad("pickle", b"\x80\x04\x95\x10\x00", "pickle", None),
    Bad("nul", _lines(GOOD) + b'{"text": "a\x00b"}\n', "NUL byte stands at byte 49", 2),
    Bad("nul-tail", _lines(GOOD) + b"\x00" * 4096, "NUL", 2),
    Bad("carriage-returns", b'{"text": "a"}\r{"text": "b"}\r{"text": "c"}\n', "carriage return", 1),
    Bad("huge-line", b'{"text": "' + b"x" * (9 * 2**20) + b'"}\n', "longer than", 1),
    Bad("huge-line-2", _lines(GOOD) + b"x" * (9 * 2**20), "longer than", 2),
]
TEXT = [
    Bad("blank-lines", b"\n\n \n\t\n", "no document", None),
    Bad("only-bom", b"\xef\xbb\xbf", "no document", None),
    Bad("crlf-blank", b"\r\n\r\n", "no document", None),
]
JSON_LINES = [
    Bad("blank-lines", b"\n\n  \n", "no rows", None),
    Bad("only-bom", b"\xef\xbb\xbf\n", "no rows", None),
    Bad("plain-text", b"Once upon a time.\n", "not JSON", 1),
    Bad("no-quotes", b"{text: 1}\n", "not JSON", 1),
    Bad("single-quotes", b"{'text': 'a'}\n", "not JSON", 1),
    Bad("trailing-comma", b'{"text": "a",}\n', "not JSON", 1),
    Bad("two-objects", b'{"text": "a"} {"text": "b"}\n', "not JSON: Extra data", 1),
    Bad("comment", _lines(GOOD, "// comment", GOOD.replace('"a"', '"b"')), "not JSON", 2),
    Bad("cut-last-line", _lines(GOOD) + b'{"id": "b", "text": "The last li', "last line is cut off", 2),
    Bad("cut-after-key", _lines(GOOD) + b'{"id": "b", "text"', "last line is cut off", 2),
    Bad("cut-before-brace", _lines(GOOD) + b'{"id": "b", "text": "x"', "last line is cut off", 2),
    Bad("cut-in-an-escape", b'{"text": "\\u00', "cut off", 1),
    Bad("pretty-printed", json.dumps({"text": "a"}, indent=1).encode(), "not JSON", 1),
    Bad("json-array", b'[{"text": "a"}, {"text": "b"}]\n', "one JSON object, here it is a list", 1),
    Bad("number", b"17\n", "here it is a number", 1),
    Bad("string", b'"text"\n', "here it is a string", 1),
    Bad("null", _lines(GOOD, "null"), "here it is null", 2),
    Bad("true", b"true\n", "here it is true or false", 1),
    Bad("missing-field", _lines(GOOD, '{"body": "b"}'), "the field 'text' is missing", 2),
    Bad("empty-object", b"{}\n", "the field 'text' is missing", 1),
    Bad("wrong-case", b'{"Text": "a"}\n', "the field 'text' is missing", 1),
    Bad("text-number", b'{"text": 5}\n', "must be a string, here it is a number", 1),
    Bad("text-null", b'{"text": null}\n', "must be a string, here it is null", 1),
    Bad("text-list", b'{"text": ["a"]}\n', "must be a string, here it is a list", 1),
    Bad("text-object", b'{"text": {"en": "a"}}\n', "must be a string, here it is an object", 1),
    Bad("duplicate-id", _lines(GOOD, "", GOOD.replace("One", "Two")), "the id 'a' stood in line 1", 3),
    Bad("duplicate-number-id", _lines('{"id": 1, "text": "a"}', '{"id": 1, "text": "b"}'), "stood in line 1", 2),
    Bad("id-list", b'{"id": [1], "text": "a"}\n', "the id 'id' must be", 1),
    Bad("id-true", b'{"id": true, "text": "a"}\n', "the id 'id' must be", 1),
    Bad("repeated-key", b'{"text": "a", "text": "b"}\n', "'text' stands twice", 1),
    Bad("nan", b'{"text": "a", "score": NaN}\n', "NaN is no JSON number", 1),
    Bad("infinity", b'{"text": "a", "score": -Infinity}\n', "-Infinity is no JSON number", 1),
    Bad("lone-surrogate", b'{"text": "a\\ud800b"}\n', "lone surrogate (U+D800)", 1),
    Bad("lone-low-surrogate", _lines(GOOD, '{"text": "\\udc00"}'), "lone surrogate (U+DC00)", 2),
    Bad("surrogate-in-a-key", b'{"text": "a", "\\udfff": 1}\n', "lone surrogate", 1),
    Bad("surrogate-nested", b'{"text": "a", "x": [{"y": "\\ud83d"}]}\n', "lone surrogate", 1),
    Bad("nul-escape", b'{"text": "a\\u0000b"}\n', "NUL character", 1),
    Bad("control-character", b'{"text": "a\x01b"}\n', "Invalid control character", 1),
    Bad("raw-line-feed", b'{"text": "a\nb"}\n', "not JSON", 1),
    Bad("bad-escape", b'{"text": "\\x41"}\n', "not JSON", 1),
    Bad("deep", b'{"text": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n", "nested too deeply", 1),
    Bad("huge-number", b'{"text": "a", "n": ' + b"9" * 20_000 + b"}\n", "not usable JSON", 1),
    Bad("bom-in-the-middle", _lines(GOOD) + b'\xef\xbb\xbf{"text": "b"}\n', "not JSON", 2),
    Bad("conflict-marks", _lines(GOOD, "<<<<<<< HEAD"), "not JSON", 2),
    Bad("html", b"<!DOCTYPE html><html>404</html>\n", "not JSON", 1),
    Bad("git-lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not JSON", 1),
    Bad("csv", b"text,label\na,1\n", "not JSON", 1),
]

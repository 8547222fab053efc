"""Nothing a container wrote reaches the terminal raw (SECURITY.md HK-06)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.view.json import document, line
from shim.view.table import indent, table
from shim.view.text import escape, last_line
from shim.view.times import age, epoch, seconds


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u00e9", "plain \u00e9"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31mred", "\\e[31mred"),
        ("\x00\x07\x9b", "\\x00\\x07\\x9b"),
        ("\u202e", "\\u202e"),
        (b"\xff".decode("utf-8", "surrogateescape"), "\\xff"),
    ],
)
def test_escape(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(st.text())
def test_hk_06_escaped_text_is_one_printable_line(text: str) -> None:
    assert escape(text).isprintable()
    assert last_line(text).isprintable()
    assert len(table(("A",), [(text,)]).splitlines()) == 2


@given(st.text())
def test_json_is_ascii_and_reads_back(text: str) -> None:
    for shown in (line({"a": text}), document({"a": text})):
        assert shown.isascii()
        assert json.loads(shown) == {"a": text}


def test_last_line_skips_blank_ones() -> None:
    assert last_line("one\ntwo\n  \n\n") == "two"
    assert last_line("\n") == ""


def test_table() -> None:
    assert table(("ID", "PID"), [("web", 12), ("a-longer-name", None)]) == (
        "ID              PID\nweb             12\na-longer-name   -\n"
    )
    assert table(("ID", "PID"), []) == "ID   PID\n"
    assert indent("a\nb\n") == "  a\n  b\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "<unknown>"),
        (-3, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (7500, "125m"),
        (3 * 3600 + 60, "3h1m"),
        (10 * 3600, "10h"),
        (3 * 86400, "3d"),
        (3 * 86400 + 7200, "3d2h"),
        (9 * 86400 + 7200, "9d"),
    ],
)
def test_age_is_kubectls(value: float | None, shown: str) -> None:
    assert age(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, None), ("x", None), (0.00085, "850us"), (0.0123, "12.3ms"), (4.56, "4.56s"),
     (120.4, "120s")],
)  # fmt: skip
def test_seconds(value: object, shown: str | None) -> None:
    assert seconds(value) == shown


def test_epoch() -> None:
    assert epoch("1970-01-01T00:00:01.500000Z") == 1.5
    assert epoch("yesterday") is None
    assert epoch(None) is None

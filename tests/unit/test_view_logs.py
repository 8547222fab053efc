"""CRI log lines back into what the container wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.view.logs import STDERR, STDOUT, Lines, parse

TIME = b"2026-01-01T00:00:00.0Z"


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        (b"stdout F hello world", (STDOUT, b"hello world\n")),
        (b"stderr P part", (STDERR, b"part")),
        (b"stdout F ", (STDOUT, b"\n")),
        (b"stdout F:tag x", (STDOUT, b"x\n")),
        (b"stdout F \xff\x00", (STDOUT, b"\xff\x00\n")),
        (b"stdin F x", None),
        (b"stdout X x", None),
        (b"stdout F", None),
    ],
)
def test_parse(line: bytes, parsed: tuple[int, bytes] | None) -> None:
    assert parse(TIME + b" " + line) == parsed


@given(st.binary(), st.lists(st.integers(0, 20)))
def test_lines_do_not_depend_on_how_the_data_is_cut(data: bytes, cuts: list[int]) -> None:
    lines, found, rest = Lines(), [], data
    for cut in cuts:
        found += lines.feed(rest[:cut])
        rest = rest[cut:]
    found += lines.feed(rest)
    assert found == data.split(b"\n")[:-1]


@given(st.binary())
def test_parse_never_raises(line: bytes) -> None:
    parse(line)

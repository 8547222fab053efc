"""The strict JSON reader: agrees with json where a document has one meaning, refuses the rest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.bundle.fields import Value
from shim.bundle.json_strict import MAX_DEPTH, escape, loads
from shim.errors import InputError

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_json_writes_is_read_back(value: object, ascii_only: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=ascii_only).encode(), "f") == value


@given(st.binary(max_size=60) | TEXT.map(str.encode))
def test_any_bytes_give_a_document_or_an_input_error(data: bytes) -> None:
    try:
        value = loads(data, "f")
    except InputError:
        return
    assert json.loads(data.decode()) == value


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4), st.data())
def test_a_repeated_key_is_always_found(members: dict[str, object], data: st.DataObject) -> None:
    pairs = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in members.items()]
    again = data.draw(st.sampled_from(sorted(members)))
    where = data.draw(st.integers(0, len(pairs)))
    pairs.insert(where, f"{json.dumps(again)}: 0")
    text = f'{{"a": [1, {{{", ".join(pairs)}}}]}}'
    with pytest.raises(InputError) as caught:
        loads(text.encode(), "f", "/base")
    assert caught.value.pointer == f"/base/a/1/{escape(again)}"
    assert caught.value.cause == "duplicate key"


@given(st.integers(1, 200))
def test_depth(depth: int) -> None:
    data = b"[" * depth + b"]" * depth
    if depth <= MAX_DEPTH:
        assert loads(data, "f") is not None
    else:
        with pytest.raises(InputError, match="nested deeper"):
            loads(data, "f")


@given(TEXT, TEXT)
def test_pointer_tokens_are_unambiguous(one: str, other: str) -> None:
    assert "/" not in escape(one)
    assert escape(one).replace("~1", "/").replace("~0", "~") == one
    assert (escape(one) == escape(other)) == (one == other)


@pytest.mark.parametrize("text", ["1.0", "1e2", "-0.0", "true", "null", '"1"', "[1]", "1e400"])
def test_only_json_integers_are_integers(text: str) -> None:
    with pytest.raises(InputError):
        Value(loads(text.encode(), "f"), "/n", "f").integer(-10, 10)


@given(st.integers(), st.integers(-100, 100), st.integers(0, 100))
def test_integer_ranges(number: int, low: int, size: int) -> None:
    value = Value(number, "/n", "f")
    if low <= number <= low + size:
        assert value.integer(low, low + size) == number
    else:
        with pytest.raises(InputError, match="f: /n: must be from"):
            value.integer(low, low + size)


def test_an_error_is_one_line_whatever_the_key() -> None:
    with pytest.raises(InputError) as caught:
        loads(b'{"a\\nb": 1, "a\\nb": 2}', "f")
    assert str(caught.value) == r"f: /a\nb: duplicate key"
    assert caught.value.pointer == "/a\nb"

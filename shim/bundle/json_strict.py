"""A JSON reader that refuses whatever two readers could understand differently.

SECURITY.md IN-04 (runc takes the last of two equal keys, crun the first), IN-07 to IN-11.
"""

from __future__ import annotations

from shim import jsontext
from shim.bundle.files import MAX_BYTES
from shim.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 64
"""Nested arrays and objects; runtime-spec documents need 7."""


class _Duplicate(dict[str, object]):
    """An object that named `key` twice; kept until its place in the document is known."""

    __slots__ = ("key",)
    key: str


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    seen: set[str] = set()
    duplicate = _Duplicate(pairs)
    for key, _ in pairs:
        if key in seen:
            duplicate.key = key
            break
        seen.add(key)
    return duplicate


def _constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"number {text[:32]} is out of range")
    return number


def escape(token: str | int) -> str:
    """One reference token of a JSON pointer (RFC 6901, section 3)."""
    return str(token).replace("~", "~0").replace("/", "~1")


def loads(data: bytes, file: str, pointer: str = "") -> object:
    """The document in `data`. InputError, with `pointer` in front of the place, for anything
    doubtful."""
    if len(data) > MAX_BYTES:
        raise InputError(file, pointer, f"larger than {MAX_BYTES} bytes")
    if data.startswith(b"\xef\xbb\xbf"):
        raise InputError(file, pointer, "begins with a byte order mark")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(file, pointer, f"invalid UTF-8 at byte {error.start}") from None
    if not text.strip(" \t\r\n"):
        raise InputError(file, pointer, "empty document")
    try:
        document = jsontext.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float
        )
    except RecursionError:
        raise InputError(file, pointer, _TOO_DEEP) from None
    except ValueError as error:
        raise InputError(file, pointer, _explain(error)) from None
    check_tree(document, file, pointer)
    return document


def _explain(error: ValueError) -> str:
    """json.JSONDecodeError says where; our own hooks' errors are complete."""
    line, column = getattr(error, "lineno", None), getattr(error, "colno", None)
    if line is None:
        return str(error)
    message: str = getattr(error, "msg", "")
    return f"line {line} column {column}: {message[:1].lower()}{message[1:]}"


_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


def _children(node: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, list):
        yield from enumerate(node)


def _is_text(text: str) -> bool:
    # json accepts "\ud800", a lone surrogate, which is no character and cannot be written out
    # again.
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def check_tree(document: object, file: str, pointer: str = "") -> None:
    """InputError for a duplicate key, too much depth, or a string that is not Unicode; level by
    level, so that a hostile document cannot exhaust the stack."""
    level: list[object] = [document]
    depth = 0
    while level:
        below: list[object] = []
        for node in level:
            if isinstance(node, str):
                if not _is_text(node):
                    place = _find(document, node, pointer)
                    raise InputError(file, place, "lone surrogate in a string")
            elif isinstance(node, dict):
                if isinstance(node, _Duplicate):
                    place = _find(document, node, pointer) + "/" + escape(node.key)
                    raise InputError(file, place, "duplicate key")
                for key in node:
                    if not _is_text(key):
                        place = _find(document, node, pointer)
                        raise InputError(file, place, "lone surrogate in a key")
                below.extend(node.values())
            elif isinstance(node, list):
                below.extend(node)
        level = below
        depth += 1
        if depth >= MAX_DEPTH and any(isinstance(node, (dict, list)) for node in level):
            raise InputError(file, pointer, _TOO_DEEP)


def _find(document: object, wanted: object, pointer: str) -> str:
    """The pointer of `wanted` (by identity); run only once something is wrong."""
    stack: list[tuple[object, str]] = [(document, pointer)]
    while stack:
        node, place = stack.pop()
        if node is wanted:
            return place
        stack.extend((child, f"{place}/{escape(key)}") for key, child in _children(node))
    return pointer

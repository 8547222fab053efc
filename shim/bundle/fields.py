"""Typed reading of a parsed JSON document; every complaint carries the field's RFC 6901 pointer.

null counts as absent, as it does for runc (Go's encoding/json); inside an array it is refused.
"""

from __future__ import annotations

from shim.bundle.json_strict import escape
from shim.errors import InputError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, TypeVar

    T = TypeVar("T")

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
UINT32_MAX, UINT64_MAX = 2**32 - 1, 2**64 - 1


def kind(value: object) -> str:
    """What JSON calls the type of `value`."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    names = {"str": "a string", "list": "an array", "dict": "an object", "NoneType": "null"}
    return names.get(type(value).__name__, type(value).__name__)


class Value:
    """One value of the document and where it was found."""

    __slots__ = ("value", "pointer", "file")

    def __init__(self, value: object, pointer: str, file: str) -> None:
        self.value, self.pointer, self.file = value, pointer, file

    def fail(self, cause: str) -> NoReturn:
        raise InputError(self.file, self.pointer, cause)

    def unsupported(self, cause: str = "not supported by this version") -> NoReturn:
        raise UnsupportedError(self.file, self.pointer, cause)

    def text(self) -> str:
        """A string without NUL: C would silently cut it there (SECURITY.md IN-12)."""
        if not isinstance(self.value, str):
            self.fail(f"must be a string, not {kind(self.value)}")
        if "\0" in self.value:
            self.fail("contains a NUL character")
        return self.value

    def path(self) -> str:
        text = self.text()
        if not text.startswith("/"):
            self.fail(f"must be an absolute path, not {text[:64]!r}")
        return text

    def choice(self, allowed: tuple[str, ...]) -> str:
        text = self.text()
        if text not in allowed:
            names = ", ".join(name for name in allowed if name)
            self.fail(f"must be one of {names}, not {text[:64]!r}")
        return text

    def integer(self, low: int, high: int) -> int:
        """A JSON integer within [low, high]; true, 1.0, 1e3 and "1" are none (SECURITY.md
        IN-06)."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.fail(f"must be an integer, not {_shown(self.value)}")
        if not low <= self.value <= high:
            self.fail(f"must be from {low} to {high}, not {str(self.value)[:32]}")
        return self.value

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            self.fail(f"must be true or false, not {kind(self.value)}")
        return self.value

    def items(self) -> list[Value]:
        if not isinstance(self.value, list):
            self.fail(f"must be an array, not {kind(self.value)}")
        return [
            Value(item, f"{self.pointer}/{index}", self.file)
            for index, item in enumerate(self.value)
        ]

    def members(self) -> dict[str, Value]:
        """An object used as a map: every key is data."""
        if not isinstance(self.value, dict):
            self.fail(f"must be an object, not {kind(self.value)}")
        return {
            key: Value(item, f"{self.pointer}/{escape(key)}", self.file)
            for key, item in self.value.items()
        }

    def record(self, known: frozenset[str], strict: bool = False) -> Object:
        """An object with named fields. A key that differs from a known one only in case is refused
        (SECURITY.md IN-04: Go would take it); another unknown key only when `strict`."""
        if not isinstance(self.value, dict):
            self.fail(f"must be an object, not {kind(self.value)}")
        for key in self.value:
            if key not in known:
                _unknown(self, key, known, strict)
        return Object(self.value, self.pointer, self.file)


def _shown(value: object) -> str:
    return str(value)[:32] if isinstance(value, float) else kind(value)


def _unknown(holder: Value, key: str, known: frozenset[str], strict: bool) -> None:
    folded = key.casefold()
    for name in known:
        if name.casefold() == folded:
            break
    else:
        if not strict:
            return
        name = ""
    raise InputError(
        holder.file,
        f"{holder.pointer}/{escape(key)}",
        f"unknown field; did you mean {name!r}?" if name else "unknown field",
    )


class Object:
    """The fields of one JSON object."""

    __slots__ = ("fields", "pointer", "file")

    def __init__(self, fields: dict[str, object], pointer: str, file: str) -> None:
        self.fields, self.pointer, self.file = fields, pointer, file

    def get(self, name: str) -> Value | None:
        value = self.fields.get(name)
        return None if value is None else Value(value, f"{self.pointer}/{name}", self.file)

    def need(self, name: str) -> Value:
        value = self.get(name)
        if value is None:
            raise InputError(self.file, f"{self.pointer}/{name}", "is required")
        return value

    def text(self, name: str, default: str = "") -> str:
        value = self.get(name)
        return default if value is None else value.text()

    def boolean(self, name: str) -> bool:
        value = self.get(name)
        return False if value is None else value.boolean()

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self.get(name)
        return None if value is None else value.integer(low, high)

    def each(self, name: str, read: Callable[[Value], T]) -> list[T]:
        value = self.get(name)
        return [] if value is None else [read(item) for item in value.items()]

    def texts(self, name: str) -> list[str]:
        return self.each(name, Value.text)

    def strings(self, name: str) -> dict[str, str]:
        """An object of strings."""
        value = self.get(name)
        if value is None:
            return {}
        return {key: item.text() for key, item in value.members().items()}

    def refuse(self, *names: str) -> None:
        """UnsupportedError for any of `names` that is there and not empty: ignoring it would be a
        lie."""
        for name in names:
            value = self.get(name)
            if value is not None and value.value not in ("", [], {}):
                value.unsupported()

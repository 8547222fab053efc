"""JSON for people and for programs. Plain ASCII, so that no control character reaches a terminal
raw."""

from __future__ import annotations

from shim import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def line(value: Any) -> str:
    """`value` in one line, for streams and lists."""
    return jsontext.dumps(value) + "\n"


def document(value: Any) -> str:
    """`value` indented as runc does."""
    return jsontext.pretty(value) + "\n"

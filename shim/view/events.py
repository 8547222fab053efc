"""Events as lines, as a table, and folded as kubectl describe shows them."""

from __future__ import annotations

from shim.view.table import NONE, table
from shim.view.text import escape
from shim.view.times import age, epoch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

HEADER = ("TIME", "TYPE", "REASON", "CONTAINER", "MESSAGE")
_WIDTHS = (27, 7, 23, 16)


def _cells(event: dict[str, Any]) -> list[str]:
    keys = ("time", "type", "reason", "container", "message")
    return [escape(str(event.get(key) or "-")) for key in keys]


def as_table(events: Iterable[dict[str, Any]]) -> str:
    """All events at once, columns as wide as they need to be."""
    return table(HEADER, [_cells(event) for event in events])


def as_line(event: dict[str, Any]) -> str:
    """One event of a stream: the same columns in fixed widths, because the next line is not known
    yet."""
    cells = _cells(event)
    padded = [cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=False)]
    return "   ".join([*padded, cells[-1]]) + "\n"


def stream_header() -> str:
    """The header above `as_line`."""
    padded = [name.ljust(width) for name, width in zip(HEADER, _WIDTHS, strict=False)]
    return "   ".join([*padded, HEADER[-1]]) + "\n"


def folded(events: Iterable[dict[str, Any]], now: float) -> str:
    """Type, Reason, Age, From, Message; equal events are one row "12s (x3 over 2m)" (kubectl
    describe).

    `now` is in seconds since the epoch.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for event in events:
        key = (event.get("type"), event.get("reason"), event.get("message"))
        groups.setdefault(key, []).append(event)
    if not groups:
        return f"{NONE}\n"
    rows = [
        (kind, reason, _age(same, now), "shim", message)
        for (kind, reason, message), same in sorted(
            groups.items(), key=lambda item: str(item[1][-1].get("time"))
        )
    ]
    header = ("Type", "Reason", "Age", "From", "Message")
    return table(header, [tuple("-" * len(name) for name in header), *rows], gap=2)


def _age(same: list[dict[str, Any]], now: float) -> str:
    first, last = epoch(same[0].get("time")), epoch(same[-1].get("time"))
    text = age(None if last is None else now - last)
    count = sum(_count(event) for event in same)
    if count < 2:
        return text
    return f"{text} (x{count} over {age(None if first is None else now - first)})"


def _count(event: dict[str, Any]) -> int:
    count = event.get("count")
    return count if isinstance(count, int) and count > 0 else 1

"""The line that counts a stop down, and the lines that replace it off a terminal. Pure: time is
passed in."""

from __future__ import annotations

from shim.view.text import escape

_WORDS = {
    "terminating": "preStop",
    "stopping": "stop signal sent",
    "stopped": "stopped",
}
_BAR = 20


def words(phase: str) -> str:
    """What a phase means to somebody who waits."""
    return _WORDS.get(phase, phase)


def live(name: str, phase: str, left: float | None, total: float | None) -> str:
    """One container on a terminal: `web: preStop | SIGKILL in 26.8s [##------------------]`.

    `left` is in seconds until the deadline, `total` the whole grace period; None when there is no
    deadline.
    """
    text = f"{escape(name)}: {words(phase)}"
    if phase == "stopped" or left is None:
        return text
    left = max(0.0, left)
    text += f" | SIGKILL in {left:.1f}s"
    if not total:
        return text
    done = round(_BAR * (1.0 - min(left / total, 1.0)))
    return f"{text} [{'#' * done}{'-' * (_BAR - done)}]"


def joined(lines: list[str], columns: int) -> str:
    """Several containers in one line of at most `columns` - 1 characters, so that it never
    wraps."""
    text = "  ".join(lines)
    room = max(10, columns - 1)
    return text if len(text) <= room else text[: room - 3] + "..."


def plain(name: str, phase: str, left: float | None) -> str:
    """The line for a phase that has just begun, without a terminal."""
    text = f"{escape(name)}: {words(phase)}"
    if phase != "stopped" and left is not None:
        text += f", SIGKILL in {max(0.0, left):.1f}s"
    return text + "\n"

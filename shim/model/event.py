"""The records of the journal that users get to see: events and hook deliveries.

Pure functions over plain dicts, because the journal is JSON and is read back as hostile input.
Shapes: CONTRACT.md, "JSON".
"""

from __future__ import annotations

from time import gmtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

NORMAL = "Normal"
WARNING = "Warning"

REASONS: tuple[str, ...] = (
    "Created",
    "Started",
    "PostStartHookSucceeded",
    "FailedPostStartHook",
    "Killing",
    "PreStopHookSucceeded",
    "FailedPreStopHook",
    "PreStopHookTimeout",
    "HookRedelivered",
    "StopSignalSent",
    "KilledAfterGracePeriod",
    "Exited",
    "OOMKilled",
    "Unhealthy",
    "BackOff",
    "Restarted",
    "Pulling",
    "Pulled",
)

_EVENT_KEYS = ("time", "type", "reason", "message", "container", "count")


def rfc3339(epoch_ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC with microseconds."""
    seconds, rest = divmod(epoch_ns, 1_000_000_000)
    at = gmtime(seconds)
    return (
        f"{at.tm_year:04d}-{at.tm_mon:02d}-{at.tm_mday:02d}T"
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}.{rest // 1000:06d}Z"
    )


def event(type: str, reason: str, message: str, container: str, now_wall: int) -> dict[str, Any]:
    """A journal record of kind "event". `now_wall` is wall-clock nanoseconds since the epoch."""
    if reason not in REASONS:
        raise ValueError(f"not an event reason: {reason}")
    return {
        "t": "event",
        "time": rfc3339(now_wall),
        "type": type,
        "reason": reason,
        "message": message,
        "container": container,
        "count": 1,
    }


def events(journal: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The event records of a journal in CONTRACT.md's shape, oldest first."""
    return [
        {key: record.get(key) for key in _EVENT_KEYS}
        for record in journal
        if record.get("t") == "event"
    ]


def deliveries(
    journal: Iterable[dict[str, Any]], read_output: Callable[[int], bytes | None]
) -> list[dict[str, Any]]:
    """Every hook delivery in CONTRACT.md's shape, oldest first.

    An "intent" record opens a delivery and the "done" record of the same `n` closes it. A delivery
    without "done" is running or was lost: outcome, finishedAt and the numbers are null.
    `read_output(n)` returns the hook's stored output, None when there is none.
    """
    found: dict[int, dict[str, Any]] = {}
    order: list[dict[str, Any]] = []
    for record in journal:
        n = record.get("n")
        if not isinstance(n, int):
            continue
        if record.get("t") == "intent":
            found[n] = _opened(record, read_output(n))
            order.append(found[n])
        elif record.get("t") == "done" and n in found:
            _close(found[n], record)
    return order


def _opened(record: dict[str, Any], output: bytes | None) -> dict[str, Any]:
    return {
        "hook": record.get("hook"),
        "handler": record.get("handler"),
        "attempt": record.get("attempt"),
        "trigger": record.get("trigger"),
        "startedAt": record.get("time"),
        "finishedAt": None,
        "durationSeconds": None,
        "outcome": None,
        "exitCode": None,
        "signal": None,
        "error": None,
        # HK-06: bytes that are not UTF-8 stay visible and the JSON stays valid
        "output": (output or b"").decode("utf-8", "backslashreplace"),
        "outputTruncated": False,
        "usage": {},
    }


def _close(delivery: dict[str, Any], record: dict[str, Any]) -> None:
    delivery["startedAt"] = record.get("startedAt") or delivery["startedAt"]
    for key in ("finishedAt", "durationSeconds", "outcome", "exitCode", "signal", "error"):
        delivery[key] = record.get(key)
    delivery["outputTruncated"] = bool(record.get("outputTruncated"))
    usage = record.get("usage")
    delivery["usage"] = usage if isinstance(usage, dict) else {}

"""Hook deliveries as a table. Their output is the container's: only its last line, escaped
(HK-06)."""

from __future__ import annotations

from shim.view.table import table
from shim.view.text import last_line
from shim.view.times import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

HEADER = (
    "HOOK",
    "HANDLER",
    "ATTEMPT",
    "TRIGGER",
    "STARTED",
    "DURATION",
    "CPU",
    "OUTCOME",
    "EXIT",
    "OUTPUT",
)
_OUTPUT_WIDTH = 80


def as_table(deliveries: Iterable[dict[str, Any]]) -> str:
    """One row a delivery; a running one has the outcome "running"."""
    return table(HEADER, [_row(delivery) for delivery in deliveries])


def _row(delivery: dict[str, Any]) -> tuple[object, ...]:
    usage = delivery.get("usage") or {}
    cpu = usage.get("cpuUsec")
    output = last_line(str(delivery.get("output") or delivery.get("error") or ""))
    return (
        delivery.get("hook"),
        delivery.get("handler"),
        delivery.get("attempt"),
        delivery.get("trigger"),
        delivery.get("startedAt"),
        seconds(delivery.get("durationSeconds")),
        seconds(cpu / 1e6) if isinstance(cpu, (int, float)) else None,
        delivery.get("outcome") or "running",
        _exit(delivery),
        output if len(output) <= _OUTPUT_WIDTH else output[: _OUTPUT_WIDTH - 1] + "\u2026",
    )


def _exit(delivery: dict[str, Any]) -> object:
    """The exit code, or the signal that ended the hook."""
    signal = delivery.get("signal")
    return delivery.get("exitCode") if signal in (None, 0) else f"signal {signal}"

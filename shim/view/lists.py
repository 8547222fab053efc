"""The tables of `list` and `ps`."""

from __future__ import annotations

import time

from shim.view.table import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def containers(states: Iterable[dict[str, Any]]) -> str:
    """runc's columns and the lifecycle phase."""
    rows = [
        (
            state["id"],
            state["pid"],
            state["status"],
            (state.get("lifecycle") or {}).get("phase"),
            state["bundle"],
            state["created"],
            state["owner"],
        )
        for state in states
    ]
    return table(("ID", "PID", "STATUS", "PHASE", "BUNDLE", "CREATED", "OWNER"), rows)


def process_table(processes: Iterable[dict[str, Any]], zone: str = "local") -> str:
    """The columns of `ps -ef` less C. Times are local time, or UTC when `zone` is "utc"."""
    clock = time.gmtime if zone == "utc" else time.localtime
    rows = [
        (
            process["user"],
            process["pid"],
            process["ppid"],
            time.strftime("%H:%M", clock(process["started"])),
            (process["tty"] or "?").removeprefix("/dev/"),
            _cpu(process["cpu"]),
            " ".join(process["command"]),
        )
        for process in processes
    ]
    return table(("UID", "PID", "PPID", "STIME", "TTY", "TIME", "CMD"), rows)


def _cpu(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"

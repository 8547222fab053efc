"""Figures of processes, through psutil. Not for the hot path: psutil costs 14-21 ms to import."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def processes(pids: list[int]) -> list[dict[str, Any]]:
    """One dict for each pid that still lives: user, pid, ppid, started (epoch seconds), tty, cpu
    (seconds
    used), command (list)."""
    import psutil

    found = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                found.append(
                    {
                        "user": process.username(),
                        "pid": pid,
                        "ppid": process.ppid(),
                        "started": process.create_time(),
                        "tty": process.terminal(),
                        "cpu": times.user + times.system,
                        "command": process.cmdline() or [f"[{process.name()}]"],
                    }
                )
        except psutil.NoSuchProcess:  # includes zombies: they have nothing to show
            continue
    return found


def resident(pids: list[int]) -> int | None:
    """Bytes of memory that are in RAM for these processes, pages they share counted for each; None
    when none of them lives. The nearest there is to memory.current without its controller."""
    import psutil

    total = None
    for pid in pids:
        try:
            total = (total or 0) + int(psutil.Process(pid).memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return total

"""Resource statistics: the table and the JSON of `stats`, and runc's event. Pure.

Numbers come as kernel.cgroup_stats gives them. runc's shape is that of its types/events.go on
cgroup v2 (fs2): CPU times in nanoseconds, no limit as 2^64-1, swap as memory + swap; what is not
known is left out there and null in shim's own.
"""

from __future__ import annotations

from shim.view.table import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_UNLIMITED = 2**64 - 1
_HEADER = ("ID", "STATUS", "PROCESSES", "CPU", "MEMORY", "LIMIT", "RSS", "READ", "WRITTEN")
_OPS = (
    ("ioServiceBytesRecursive", "Bytes"),
    ("ioServicedRecursive", "Ops"),
)


def record(
    id: str, status: str, processes: int, rss: int | None, numbers: dict[str, Any]
) -> dict[str, Any]:
    """One object of `stats --format json`; a limit that is not set is null."""
    memory, pids = dict(numbers["memory"]), dict(numbers["pids"])
    del memory["stat"]
    huge = {size: _limits(dict(of)) for size, of in numbers["hugetlb"].items()}
    return {
        "id": id,
        "status": status,
        "processes": processes,
        "cpu": numbers["cpu"],
        "memory": {**_limits(memory), "rssBytes": rss},
        "pids": _limits(pids),
        "io": _io(numbers["io"]),
        "hugetlb": huge,
        "pressure": numbers["pressure"],
    }


def _limits(numbers: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value == _UNLIMITED else value for key, value in numbers.items()}


def _io(devices: list[dict[str, int]] | None) -> dict[str, int | None]:
    names = ("readBytes", "writeBytes", "readOps", "writeOps")
    if devices is None:
        return dict.fromkeys(names)
    return {name: sum(device.get(name, 0) for device in devices) for name in names}


def as_table(records: Iterable[dict[str, Any]]) -> str:
    """One row a container; "-" for what the kernel does not say or does not limit."""
    rows = []
    for one in records:
        usec, memory, io = one["cpu"]["usageUsec"], one["memory"], one["io"]
        rows.append(
            (
                one["id"],
                one["status"],
                one["processes"],
                None if usec is None else f"{usec / 1e6:.2f}s",
                size(memory["currentBytes"]),
                size(memory["limitBytes"]),
                size(memory["rssBytes"]),
                size(io["readBytes"]),
                size(io["writeBytes"]),
            )
        )
    return table(_HEADER, rows)


def size(number: int | None) -> str | None:
    """Bytes as people read them: 512B, 1.5KiB, 64.0MiB; None stays None."""
    if number is None:
        return None
    value, unit = float(number), "B"
    for bigger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, bigger
    return f"{value:.0f}{unit}" if unit == "B" else f"{value:.1f}{unit}"


def oci_event(id: str, numbers: dict[str, Any]) -> dict[str, Any]:
    """What `runc events --stats` prints."""
    psi = numbers["pressure"]
    huge = {
        name: _known(usage=one["currentBytes"], failcnt=one["limitHits"])
        for name, one in numbers["hugetlb"].items()
    }
    pids = numbers["pids"]
    # runc reports no limit of processes as 0
    limit = 0 if pids["limit"] == _UNLIMITED else pids["limit"]
    data = {
        "cpu": _cpu(numbers["cpu"], psi["cpu"]),
        "memory": _memory(numbers["memory"], psi["memory"]),
        "pids": _known(current=pids["current"], limit=limit),
        "blkio": _blkio(numbers["io"], psi["io"]),
        "hugetlb": huge,
    }
    return {"type": "stats", "id": id, "data": data}


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _nanoseconds(usec: int | None) -> int | None:
    return None if usec is None else usec * 1000


def _cpu(cpu: dict[str, Any], psi: Any) -> dict[str, Any]:
    usage = _known(
        total=_nanoseconds(cpu["usageUsec"]),
        kernel=_nanoseconds(cpu["systemUsec"]),
        user=_nanoseconds(cpu["userUsec"]),
    )
    throttling = _known(
        periods=cpu["periods"],
        throttledPeriods=cpu["throttledPeriods"],
        throttledTime=_nanoseconds(cpu["throttledUsec"]),
    )
    return _known(usage=usage, throttling=throttling, psi=psi)


def _memory(memory: dict[str, Any], psi: Any) -> dict[str, Any]:
    usage = _known(
        limit=memory["limitBytes"],
        usage=memory["currentBytes"],
        max=memory["peakBytes"],
        failcnt=memory["limitHits"],
    )
    swap = _known(
        limit=_sum(memory["swapLimitBytes"], memory["limitBytes"]),
        usage=_sum(memory["swapBytes"], memory["currentBytes"]),
    )
    raw = memory["stat"] or None
    return _known(cache=memory["cacheBytes"], usage=usage, swap=swap, raw=raw, psi=psi)


def _sum(swap: int | None, memory: int | None) -> int | None:
    """v1 counts swap with memory, and so does runc's event."""
    if swap is None or memory is None:
        return None
    return min(swap + memory, _UNLIMITED)


def _blkio(devices: list[dict[str, int]] | None, psi: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, suffix in _OPS if devices is not None else ():
        found[name] = [
            {"major": one["major"], "minor": one["minor"], "op": op, "value": one[key]}
            for one in devices or []
            for op in ("Read", "Write", "Discard")
            if (key := op.lower() + suffix) in one
        ]
    return {**found, **_known(psi=psi)}

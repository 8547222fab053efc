"""What a cgroup and all below it have used and may use, from the files of cgroup v2.

Every number is the kernel's own (Documentation/admin-guide/cgroup-v2.rst); None where this kernel,
or this cgroup without the controller, has none. A limit that is not set is UNLIMITED.
"""

from __future__ import annotations

import os

from shim.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.kernel.cgroup import Cgroup

UNLIMITED = 2**64 - 1
"""The kernel's "max", as runc reports it."""

_IO = {
    "rbytes": "readBytes", "wbytes": "writeBytes", "dbytes": "discardBytes",
    "rios": "readOps", "wios": "writeOps", "dios": "discardOps",
}  # fmt: skip


def measure(group: Cgroup | None) -> dict[str, Any]:
    """cpu (microseconds), memory and hugetlb (bytes), pids, io (a list of devices, None without
    the controller), pressure; every number None when there is no cgroup."""
    cpu, events = _keyed(group, "cpu.stat"), _keyed(group, "memory.events")
    memory = _keyed(group, "memory.stat")
    return {
        "cpu": {
            "usageUsec": cpu.get("usage_usec"),
            "userUsec": cpu.get("user_usec"),
            "systemUsec": cpu.get("system_usec"),
            "periods": cpu.get("nr_periods"),
            "throttledPeriods": cpu.get("nr_throttled"),
            "throttledUsec": cpu.get("throttled_usec"),
        },
        "memory": {
            "currentBytes": _number(group, "memory.current"),
            "peakBytes": _number(group, "memory.peak"),
            "limitBytes": _number(group, "memory.max"),
            "limitHits": events.get("max"),
            "cacheBytes": memory.get("file"),
            "swapBytes": _number(group, "memory.swap.current"),
            "swapLimitBytes": _number(group, "memory.swap.max"),
            "oomKills": events.get("oom_kill"),
            "stat": memory,
        },
        "pids": {
            "current": _number(group, "pids.current"),
            "peak": _number(group, "pids.peak"),
            "limit": _number(group, "pids.max"),
            "limitHits": _keyed(group, "pids.events").get("max"),
        },
        "io": _devices(group),
        "hugetlb": {size: _huge(group, size) for size in _page_sizes(group)},
        "pressure": {name: _pressure(group, name) for name in ("cpu", "memory", "io")},
    }


def _read(group: Cgroup | None, file: str) -> str | None:
    try:
        return None if group is None else group.read(file)
    except KernelError:
        return None  # no such file without its controller, or the cgroup has gone


def _number(group: Cgroup | None, file: str) -> int | None:
    text = (_read(group, file) or "").strip()
    if text == "max":
        return UNLIMITED
    return int(text) if text.isdigit() else None


def _keyed(group: Cgroup | None, file: str) -> dict[str, int]:
    pairs = (line.partition(" ") for line in (_read(group, file) or "").splitlines())
    return {key: int(value) for key, _, value in pairs if value.isdigit()}


def _devices(group: Cgroup | None) -> list[dict[str, int]] | None:
    """io.stat: a line "MAJ:MIN rbytes=1 wbytes=2 ..." for each device that was used."""
    text = _read(group, "io.stat")
    if text is None:
        return None
    found = []
    for line in text.splitlines():
        device, *fields = line.split()
        major, colon, minor = device.partition(":")
        if not colon:
            continue
        entry = {"major": int(major), "minor": int(minor)}
        for field in fields:
            key, _, value = field.partition("=")
            if key in _IO and value.isdigit():
                entry[_IO[key]] = int(value)
        if len(entry) > 2:  # a device that was never used has no numbers
            found.append(entry)
    return found


def _page_sizes(group: Cgroup | None) -> list[str]:
    if group is None:
        return []
    try:
        names = os.listdir(group.fd)
    except OSError:
        return []
    parts = [name.split(".") for name in names if name.startswith("hugetlb.")]
    return sorted(words[1] for words in parts if words[2:] == ["current"])


def _huge(group: Cgroup | None, size: str) -> dict[str, int | None]:
    return {
        "currentBytes": _number(group, f"hugetlb.{size}.current"),
        "limitBytes": _number(group, f"hugetlb.{size}.max"),
        "limitHits": _keyed(group, f"hugetlb.{size}.events").get("max"),
    }


def _pressure(group: Cgroup | None, name: str) -> dict[str, dict[str, float]] | None:
    """psi.rst: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"; total is in microseconds."""
    found: dict[str, dict[str, float]] = {}
    for line in (_read(group, f"{name}.pressure") or "").splitlines():
        kind, *fields = line.split()
        pairs = (field.partition("=") for field in fields)
        found[kind] = {
            key: int(value) if key == "total" else float(value) for key, _, value in pairs
        }
    return found or None

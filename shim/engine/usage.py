"""What a hook costs and why the kernel ended it, from the kernel's own files.

A leaf that has a controller of its own answers for its hook alone. One that has not is charged to
the container together with everything else in it: what cannot be told apart is None, never 0
(CONTRACT.md "JSON"; cgroup-v2.rst for the files; SECURITY.md CG-12, CG-13, CG-15).
"""

from __future__ import annotations

from shim.engine.stop import FAILED, INTERRUPTED, TIMED_OUT
from shim.errors import ShimError
from shim.kernel import proc
from shim.kernel.cgroup import Cgroup
from shim.kernel.sig import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.engine.delivery import Delivery
    from shim.engine.monitor import Monitor

MAIN = "main"
"""The container's process, in a cgroup of its own below the container's: engine.layout."""
BLOCK = 512
"""Bytes in ru_inblock and ru_oublock (kernel/sys.c, task_io_accounting_ops.h)."""
FIELDS = (
    "cpuUsec", "maxRssBytes", "memoryPeakBytes", "ioReadBytes", "ioWriteBytes", "pidsPeak",
    "oomKills", "throttledUsec",
)  # fmt: skip
SHELL_KILLED = 128 + signal.SIGKILL
"""How a shell tells that SIGKILL ended its command."""


def keyed(cgroup: Cgroup, file: str) -> dict[str, int]:
    """A flat keyed file; {} when this cgroup has none."""
    try:
        text = cgroup.read(file)
    except ShimError:
        return {}
    pairs = (line.partition(" ") for line in text.splitlines())
    return {key: int(value) for key, _, value in pairs if value.isdigit()}


def number(cgroup: Cgroup, file: str) -> int | None:
    """A file that holds one number; None when this cgroup has none."""
    try:
        text = cgroup.read(file).strip()
    except ShimError:
        return None
    return int(text) if text.isdigit() else None


class Counts:
    """memory.events and pids.events of a cgroup at one moment; {} for a controller that is not
    on."""

    __slots__ = ("memory", "pids")

    def __init__(self, memory: dict[str, int], pids: dict[str, int]) -> None:
        self.memory, self.pids = memory, pids

    @classmethod
    def of(cls, cgroup: Cgroup | None) -> Counts:
        """As they are now."""
        if cgroup is None:
            return cls({}, {})
        return cls(keyed(cgroup, "memory.events"), keyed(cgroup, "pids.events"))


def grown(before: dict[str, int], now: dict[str, int], key: str) -> int | None:
    """By how much a counter grew; None when the kernel does not count it."""
    return now[key] - before[key] if key in before and key in now else None


class Evidence:
    """What there is to judge one delivery by: the counts of its leaf, and those of the container
    `before` and `now`. `killed`: SIGKILL ended the hook, or its helper before it could run."""

    __slots__ = ("before", "killed", "leaf", "now", "outcome", "own_pids")

    def __init__(
        self,
        outcome: str | None,
        killed: bool,
        leaf: Counts,
        before: Counts,
        now: Counts,
        own_pids: bool = False,
    ) -> None:
        self.outcome, self.killed, self.own_pids = outcome, killed, own_pids
        self.leaf, self.before, self.now = leaf, before, now

    @property
    def group(self) -> bool:
        """Whether memory.oom.group ended everything in the container at once."""
        return bool(grown(self.before.memory, self.now.memory, "oom_group_kill"))

    def why(self) -> str | None:
        """The reason for the end as the kernel's counters give it, None without one."""
        if self.outcome not in (FAILED, TIMED_OUT, INTERRUPTED):
            return None
        return self._memory() or self._pids()

    def _memory(self) -> str | None:
        own = self.leaf.memory
        if "oom_kill" in own:
            if own["oom_kill"] == 0:
                return None
        elif not grown(self.before.memory, self.now.memory, "oom_kill"):
            return None
        elif not self.group and (self.outcome == INTERRUPTED or not self.killed):
            return None  # somebody else in the container
        if own.get("oom"):
            whose = "hook's limit"
        elif grown(self.before.memory, self.now.memory, "oom"):
            whose = "container's limit"
        else:
            whose = "not the container's limit"
        return f"killed: out of memory ({whose})"

    def _pids(self) -> str | None:
        if self.outcome == INTERRUPTED:
            return None
        if self.leaf.pids.get("max"):
            # Before Linux 6.11 the event is counted where the fork was, whoever's limit it hit.
            return f"pids limit ({'hook' if self.own_pids else 'container'}'s limit)"
        if grown(self.before.pids, self.now.pids, "max"):
            return "pids limit (container's limit)"
        return None

    def oom_kills(self) -> int | None:
        """Processes of the hook that the OOM killer ended. Without a count of its own: none when
        there were none in the container, one when the only one was the hook."""
        if "oom_kill" in self.leaf.memory:
            return self.leaf.memory["oom_kill"]
        grew = grown(self.before.memory, self.now.memory, "oom_kill")
        return grew if grew == 0 or (grew == 1 and self._memory() is not None) else None


def evidence(delivery: Delivery) -> Evidence:
    """Of a delivery that has its outcome."""
    unseen = delivery.handler.kind == "exec" and not delivery.pid and delivery.exit_code is None
    shot = delivery.signal == signal.SIGKILL or delivery.exit_code == SHELL_KILLED
    before, limits = delivery.before, delivery.handler.resources
    return Evidence(
        delivery.outcome,
        shot or unseen,
        Counts.of(delivery.leaf),
        before if before is not None else Counts({}, {}),
        Counts.of(delivery.monitor.cgroup if before is not None else None),
        limits is not None and limits.pids is not None,
    )


def explain(delivery: Delivery) -> None:
    """Put the kernel's reason, if there is one, into the delivery's error."""
    why = evidence(delivery).why()
    if why is None:
        return
    delivery.why = why
    error = delivery.error
    if why.startswith("killed") and delivery.outcome != TIMED_OUT:
        delivery.error = why
    elif error is None or "pids limit" not in error:
        delivery.error = f"{error}; {why}" if error else why


def usage(delivery: Delivery) -> dict[str, Any]:
    """CONTRACT.md "usage": what this delivery cost, None for what the kernel does not say."""
    found: dict[str, Any] = dict.fromkeys(FIELDS)
    leaf, spent = delivery.leaf, delivery.rusage
    if spent is not None:
        found["maxRssBytes"] = spent.ru_maxrss * 1024
        # 0 may also mean a kernel that does not count this
        found["ioReadBytes"] = spent.ru_inblock * BLOCK or None
        found["ioWriteBytes"] = spent.ru_oublock * BLOCK or None
    if leaf is None:
        return found
    stat = keyed(leaf, "cpu.stat")
    found["cpuUsec"] = stat.get("usage_usec")
    try:
        on = leaf.read("cgroup.controllers").split()
    except ShimError:
        on = []
    if "memory" in on:
        found["memoryPeakBytes"] = number(leaf, "memory.peak")
    if "pids" in on:
        found["pidsPeak"] = number(leaf, "pids.peak")
    if "io" in on:
        found["ioReadBytes"], found["ioWriteBytes"] = io_bytes(leaf)
    if "cpu" in on:
        found["throttledUsec"] = throttled(leaf, delivery.monitor.cgroup, stat)
    seen = evidence(delivery)
    found["oomKills"] = seen.oom_kills()
    if not seen.group:
        note_kills(delivery.monitor, seen.now.memory)
    return found


def io_bytes(leaf: Cgroup) -> tuple[int | None, int | None]:
    """(read, written) of io.stat, all devices together. The file is empty when there was none."""
    try:
        text = leaf.read("io.stat")
    except ShimError:
        return None, None
    read = written = 0
    for word in text.split():
        key, _, value = word.partition("=")
        if key == "rbytes":
            read += int(value)
        elif key == "wbytes":
            written += int(value)
    return read, written


def throttled(leaf: Cgroup, container: Cgroup, stat: dict[str, int]) -> int | None:
    """Microseconds without CPU because of a cpu.max, the container's included: cpu.stat.local has
    that sum since Linux 6.6, the leaf's cpu.stat only what its own limit did."""
    local = keyed(leaf, "cpu.stat.local").get("throttled_usec")
    if local is not None:
        return local
    own = stat.get("throttled_usec")
    above = keyed(container, "cpu.stat").get("nr_throttled")
    return None if own == 0 and above else own


# ---- the container's own process


def main_kills(cgroup: Cgroup, inner: bool) -> int:
    """memory.events oom_kill where the container's process is; 0 without the controller."""
    if inner:
        try:
            with cgroup.child(MAIN, create=False) as main:
                if "oom_kill" in (found := keyed(main, "memory.events")):
                    return found["oom_kill"]
        except ShimError:
            pass  # somebody removed it: the container's own count is what is left
    return keyed(cgroup, "memory.events").get("oom_kill", 0)


def note_kills(monitor: Monitor, memory: dict[str, int]) -> None:
    """OOM kills that the container's process has outlived are not what ends it later."""
    kills = memory.get("oom_kill")
    if kills and not monitor.inner and not proc.is_exiting(monitor.pid):
        monitor.facts.save(oomSeen=kills)


def main_ran_out(monitor: Monitor, code: int | None) -> bool:
    """Whether the OOM killer ended the container's process: SIGKILL that was not ours, and a kill
    that nobody else has accounted for."""
    if code != -signal.SIGKILL or monitor.shot:
        return False
    kills = main_kills(monitor.cgroup, monitor.inner)
    if not kills:
        return False
    try:
        return kills > int(monitor.directory.read_state().get("oomSeen") or 0)
    except (ShimError, TypeError, ValueError):
        return False  # not known, so not said

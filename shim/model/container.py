"""A container as it is now: the state file checked against the live process and its cgroup.

The state file says what was recorded last; whether the process still lives, and whether it is that
process, is looked up every time (SECURITY.md ST-06, ST-09).
"""

from __future__ import annotations

import os
from time import CLOCK_BOOTTIME, clock_gettime_ns, time_ns

from shim.errors import NotRunningError, ShimError
from shim.kernel import proc
from shim.model import status
from shim.model.event import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.model.directory import ContainerDir
    from shim.model.store import Store


class Container:
    """A snapshot of one container's state; `reload` takes a new one."""

    __slots__ = ("dir", "state")

    def __init__(self, directory: ContainerDir, state: dict[str, Any] | None = None) -> None:
        self.dir = directory
        self.state = _read(directory) if state is None else state

    @classmethod
    def load(cls, store: Store, id: str) -> Container:
        """The container `id`; NotFoundError, ShimError "corrupt state"."""
        return cls(store.container(id))

    def reload(self) -> None:
        """Read the state file again; NotFoundError when the container was deleted."""
        self.state = _read(self.dir)

    @property
    def id(self) -> str:
        return self.dir.id

    @property
    def pid(self) -> int:
        """The pid of init as recorded, 0 when there is none; it says nothing about who has it
        now."""
        return self.state.get("pid") or 0

    def open_init(self) -> int:
        """A pidfd of the container's init; NotRunningError when it has ended."""
        return _open(self.state)

    def is_alive(self) -> bool:
        """True while the recorded init process lives."""
        return _alive(self.state)

    def status(self) -> str:
        """The OCI status (or runc's `paused`): what is recorded, unless the process has ended."""
        recorded: str = self.state["status"]
        if recorded == status.CREATING and not self.pid:
            return status.CREATING
        if recorded not in status.STATUSES or recorded == status.STOPPED or not self.is_alive():
            return status.STOPPED
        if recorded == status.RUNNING and self._frozen():
            return status.PAUSED
        return recorded

    def _frozen(self) -> bool:
        """Whether the container's own cgroup, identified by inode, is frozen."""
        where = self.state.get("cgroup")
        if not where:
            return False
        from shim.kernel.cgroup import Cgroup, find_mount

        try:
            with Cgroup.open(find_mount(), str(where.get("path")), where.get("ino")) as group:
                return group.frozen()
        except ShimError:
            return False  # no such cgroup any more: nothing holds the processes

    def phase(self) -> str | None:
        """The lifecycle phase; `stopped` once the process has ended, whatever was recorded last."""
        recorded: str | None = self.state.get("phase")
        if recorded in (None, "backoff") or self.status() != status.STOPPED:
            return recorded
        return status.STOPPED

    def open_monitor(self) -> int:
        """A pidfd of the container's monitor; NotRunningError when there is none."""
        return _open(self.state.get("monitor") or {})

    def monitor_pid(self) -> int | None:
        """The pid of the live monitor, None when there is none."""
        monitor = self.state.get("monitor")
        return monitor["pid"] if isinstance(monitor, dict) and _alive(monitor) else None

    def orphaned(self) -> bool:
        """Whether something is to be driven and nobody does: its monitor was killed (SECURITY.md
        SP-11)."""
        driven = self.state.get("phase") in ("starting", "terminating", "stopping")
        return driven and self.monitor_pid() is None and self.is_alive()

    def ending(self) -> bool:
        """Whether its monitor has still to write down how it ended."""
        return self.state.get("exit") is None and self.monitor_pid() is not None

    def exit_status(self) -> int | None:
        """The exit status as a shell would report it: 128 + N for signal N; None when not known."""
        end = self.state.get("exit") or {}
        code, number = end.get("exitCode"), end.get("signal")
        if isinstance(number, int) and number:
            return 128 + number
        return code if isinstance(code, int) else None

    def oci_state(self) -> dict[str, Any]:
        """What `state` prints: OCI runtime.md "State", runc's additions, and `.lifecycle`."""
        now = self.status()
        state = self.state
        return {
            "ociVersion": state.get("ociVersion", ""),
            "id": self.id,
            "pid": 0 if now == status.STOPPED else self.pid,
            "status": now,
            "bundle": state.get("bundle", ""),
            "rootfs": state.get("rootfs", ""),
            "created": state.get("created", ""),
            "annotations": state.get("annotations", {}),
            "owner": state.get("owner", ""),
            "lifecycle": self.lifecycle_state(),
        }

    def lifecycle_state(self) -> dict[str, Any] | None:
        """`.lifecycle` of `state` and `list` (CONTRACT.md); None for a container without one."""
        raw = self.state.get("lifecycle")
        if raw is None:
            return None
        return {
            "phase": self.phase(),
            "monitorPid": self.monitor_pid(),
            "gracePeriodSeconds": raw.get("terminationGracePeriodSeconds"),
            "stopSignal": raw.get("stopSignal"),
            "profile": raw.get("profile"),
            "deadline": self.deadline(),
            "restartCount": self.state.get("restartCount", 0),
        }

    def deadline(self) -> str | None:
        """When SIGKILL comes, as RFC 3339. Kept as CLOCK_BOOTTIME seconds, so it moves with the
        wall clock;
        rounded to 10 ms so that two reads agree."""
        boottime = self.state.get("deadline")
        if boottime is None or self.status() == status.STOPPED:
            return None
        left = int(boottime * 1e9) - clock_gettime_ns(CLOCK_BOOTTIME)
        return rfc3339((time_ns() + left + 5_000_000) // 10_000_000 * 10_000_000)


def _read(directory: ContainerDir) -> dict[str, Any]:
    """The state, once a create or a delete that is under way has ended: its lock says when.

    NotFoundError when it was a delete, ShimError when the state is corrupt all the same.
    """
    try:
        return directory.read_state()
    except ShimError:
        with directory.lock():
            return directory.read_state()


def _open(record: dict[str, Any]) -> int:
    """A pidfd of the process that {pid, bootId, startTime, pidfsIno} names; NotRunningError."""
    pid = record.get("pid")
    return proc.open_process(
        pid if isinstance(pid, int) else 0,
        record.get("bootId") or "",
        record.get("startTime"),
        record.get("pidfsIno"),
    )


def _alive(record: dict[str, Any]) -> bool:
    try:
        os.close(_open(record))
    except NotRunningError:
        return False
    return True

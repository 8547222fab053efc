"""Scratch cgroups and processes in them, for the root tests. Pipes order everything; no sleeps."""

from __future__ import annotations

import ctypes
import itertools
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from shim.errors import ShimError
from shim.kernel.cgroup import Cgroup, CgroupMount, find_mount

_numbers = itertools.count()
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@contextmanager
def scratch(cls: type[Cgroup] = Cgroup) -> Iterator[tuple[CgroupMount, Cgroup]]:
    """A new cgroup /shim-test-PID-N; killed and removed afterwards, with whatever is left below."""
    mount = find_mount()
    group = cls.create(mount, f"/shim-test-{os.getpid()}-{next(_numbers)}")
    try:
        yield mount, group
    finally:
        with suppress(ShimError):
            group.write("cgroup.freeze", "0")
        # The plain class, whatever `cls` breaks on purpose.
        with suppress(ShimError), Cgroup(group.path, os.dup(group.fd)) as plain:
            plain.kill()
        group.remove(10)
        group.close()


class Process:
    """A forked child that starts `body` only once it has been moved into `group`."""

    def __init__(self, group: Cgroup | None, body: Callable[[], object]) -> None:
        go_read, self._go = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self._go)
                _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                os.read(go_read, 1)
                body()
                status = 0
            finally:
                os._exit(status)
        os.close(go_read)
        self.pidfd = os.pidfd_open(self.pid)
        try:
            if group is not None:
                group.write("cgroup.procs", str(self.pid))
        finally:
            self.release()

    def release(self) -> None:
        os.close(self._go)

    def ended(self, timeout: float) -> bool:
        """Whether the process has exited, waiting up to `timeout` seconds for it."""
        return bool(select.select([self.pidfd], [], [], timeout)[0])

    def reap(self) -> int:
        """Wait for the process; its status as os.waitstatus_to_exitcode gives it."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.pidfd)
        return status


@contextmanager
def process(group: Cgroup | None, body: Callable[[], object]) -> Iterator[Process]:
    """A Process that is killed and reaped at the end, whatever happened to it before."""
    child = Process(group, body)
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        child.reap()


def pause() -> None:
    """The body of a process that does nothing until killed."""
    signal.pause()


def reap_orphans() -> None:
    """For a child: its orphans come to it and the kernel reaps them (prctl(2), wait(2) NOTES)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def read_exactly(fd: int, size: int, timeout: float = 10) -> bytes:
    """`size` bytes from a pipe; an AssertionError when they do not come."""
    data = b""
    while len(data) < size:
        assert select.select([fd], [], [], timeout)[0], f"{len(data)} of {size} bytes came"
        chunk = os.read(fd, size - len(data))
        assert chunk, "the pipe was closed"
        data += chunk
    return data

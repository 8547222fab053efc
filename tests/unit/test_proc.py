"""Process identity against the real kernel (SECURITY.md ST-06, ST-09)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from shim.errors import NotRunningError
from shim.kernel import proc


class Child:
    """A child that blocks until it is killed."""

    def __init__(self) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            signal.pause()
            os._exit(0)
        self.started = proc.start_time(self.pid)
        self.pidfd = os.pidfd_open(self.pid)
        self.ino = proc.pidfs_ino(self.pidfd)
        self.reaped = False

    def end(self, reap: bool) -> None:
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | (0 if reap else os.WNOWAIT))
        self.reaped = reap


@pytest.fixture
def child() -> Iterator[Child]:
    one = Child()
    yield one
    if not one.reaped:
        one.end(reap=True)
    os.close(one.pidfd)


def test_a_live_process_is_found(child: Child) -> None:
    fd = proc.open_process(child.pid, proc.boot_id(), child.started, child.ino)
    assert (
        os.read(os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY), 4096).find(b"Pid:\t%d" % child.pid)
        >= 0
    )
    os.close(fd)


@pytest.mark.parametrize("pid", [-1, 0, 1, 2**40, True])
def test_st_06_pids_that_name_no_container_are_refused(pid: int) -> None:
    with pytest.raises(NotRunningError, match="container not running"):
        proc.open_process(pid, proc.boot_id(), proc.start_time(1), None)


def test_st_06_another_start_time_is_another_process(child: Child) -> None:
    assert child.started is not None
    with pytest.raises(NotRunningError):
        proc.open_process(child.pid, proc.boot_id(), child.started + 1, None)


def test_st_06_without_a_start_time_nothing_is_identified(child: Child) -> None:
    with pytest.raises(NotRunningError):
        proc.open_process(child.pid, proc.boot_id(), None, child.ino)


def test_st_06_another_pidfs_inode_is_another_process(child: Child) -> None:
    if child.ino is None:
        pytest.skip("pidfs came with Linux 6.9")
    with pytest.raises(NotRunningError):
        proc.open_process(child.pid, proc.boot_id(), child.started, child.ino + 1)


def test_st_09_another_boot_is_another_process(child: Child) -> None:
    with pytest.raises(NotRunningError):
        proc.open_process(child.pid, "0" * 36, child.started, child.ino)


def test_a_zombie_is_not_running(child: Child) -> None:
    assert not proc.is_zombie(child.pid)
    child.end(reap=False)
    assert proc.is_zombie(child.pid)
    assert proc.has_exited(child.pidfd)
    with pytest.raises(NotRunningError):
        proc.open_process(child.pid, proc.boot_id(), child.started, child.ino)


def test_a_reaped_process_is_not_running_and_no_descriptor_leaks(child: Child) -> None:
    child.end(reap=True)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotRunningError):
        proc.open_process(child.pid, proc.boot_id(), child.started, child.ino)
    assert len(os.listdir("/proc/self/fd")) == before
    assert proc.start_time(child.pid) is None
    assert proc.is_zombie(child.pid)


def test_start_time_survives_a_name_with_brackets() -> None:
    pid = os.fork()
    if pid == 0:
        with open("/proc/self/comm", "w") as file:
            file.write("a) R 1 (b")
        signal.pause()
        os._exit(0)
    try:
        with open(f"/proc/{pid}/comm") as file:
            while not file.read().startswith("a)"):
                file.seek(0)
        started = proc.start_time(pid)
        own = proc.start_time(os.getpid())
        assert started is not None
        assert own is not None
        assert started >= own
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_pidfs_inodes_differ_between_processes(child: Child) -> None:
    other = Child()
    try:
        assert child.ino is None or child.ino != other.ino
        assert proc.pidfs_ino(child.pidfd) == child.ino
    finally:
        other.end(reap=True)
        os.close(other.pidfd)


def test_exit_info_of_a_process_that_was_reaped(child: Child) -> None:
    assert proc.exit_info(child.pidfd) is None
    child.end(reap=True)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert proc.exit_info(child.pidfd) == (-signal.SIGKILL if release >= (6, 15) else None)

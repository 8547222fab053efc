"""Which process is it, and is it still there: identity of processes that outlives their pid number.

A pid alone names nothing: it is reused, and a state file may hold anything (SECURITY.md ST-06,
ST-09). A process is identified by boot id + start time (proc_pid_stat(5), field 22) + the inode
number of its pidfd, which pidfs (Linux 6.9) never reuses within a boot.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct

from shim.errors import KernelError, NotRunningError

PID_MAX = 1 << 22
"""PID_MAX_LIMIT of a 64-bit kernel (proc_sys_kernel(5), pid_max)."""

_PIDFD_GET_INFO = 0xC040FF0B
"""_IOWR(0xff, 11, 64 bytes): the first published size of struct pidfd_info (linux/pidfd.h)."""
_PIDFD_INFO = struct.Struct("=QQ11Ii")
_PIDFD_INFO_EXIT = 1 << 3


def _read(path: str) -> bytes | None:
    """A file of /proc in one read, None when its process is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return None
    try:
        return os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)


def boot_id() -> str:
    """The id of this boot (random(4)); a pid of another boot means nothing."""
    data = _read("/proc/sys/kernel/random/boot_id")
    if data is None:
        raise KernelError("read /proc/sys/kernel/random/boot_id", errno.ENOENT)
    return data.decode("ascii").strip()


def _stat(pid: int) -> list[bytes] | None:
    """Fields 3 and up of /proc/PID/stat, None when there is no such process.

    The name (field 2) may hold spaces and brackets, so everything counts from the last bracket.
    """
    data = _read(f"/proc/{pid:d}/stat")
    if not data:
        return None
    return data[data.rindex(b")") + 2 :].split()


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of `pid`, None when there is no such process."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def is_zombie(pid: int) -> bool:
    """True when the process has ended but was not reaped, or does not exist.

    A leader thread that has ended while others go on shows as Z as well, but that process is alive.
    """
    fields = _stat(pid)
    return not fields or (fields[0] in (b"Z", b"X") and int(fields[17]) <= 1)


def identity() -> dict[str, object]:
    """This process, as `open_process` finds it again."""
    me = os.getpid()
    return {"pid": me, "bootId": boot_id(), "startTime": start_time(me)}


def is_exiting(pid: int) -> bool:
    """True when the process has begun to exit, has ended, or does not exist.

    The init of a pid namespace kills all others in it and waits for them before it ends, so they
    are seen to end first. PF_EXITING (linux/sched.h) in field 9 tells.
    """
    fields = _stat(pid)
    return not fields or bool(int(fields[6]) & 0x4)


def pidfs_ino(pidfd: int) -> int | None:
    """The inode number of a pidfd when it identifies the process, None on kernels before 6.9.

    There every pidfd shared one inode of the anonymous file system, which an eventfd is on as well.
    """
    probe = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        anonymous = os.fstat(probe).st_dev
    finally:
        os.close(probe)
    info = os.fstat(pidfd)
    return None if info.st_dev == anonymous else info.st_ino


def has_exited(pidfd: int) -> bool:
    """True once every thread of the process has ended, reaped or not (pidfd_open(2), "poll")."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def open_process(pid: int, boot: str, started: int | None, ino: int | None) -> int:
    """A pidfd of the process that was recorded with these facts; NotRunningError when it is gone.

    The pidfd comes first and the checks after: once it is open the pid cannot be reused under it. A
    record without a start time identifies nothing and is refused, as are pid 1 and below.
    """
    if isinstance(pid, bool) or not 1 < pid <= PID_MAX:
        raise NotRunningError()
    if started is None or boot != boot_id():
        raise NotRunningError()
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        # EINVAL: the number now belongs to a thread that leads no process
        if error.errno in (errno.ESRCH, errno.EINVAL):
            raise NotRunningError() from None
        raise KernelError("pidfd_open", error.errno or 0) from error
    known = pidfs_ino(pidfd)
    same = ino is None or known is None or ino == known
    if not same or start_time(pid) != started or has_exited(pidfd):
        os.close(pidfd)
        raise NotRunningError()
    return pidfd


def exit_info(pidfd: int) -> int | None:
    """How the process ended: its exit code, or -N when signal N ended it; None when not known.

    The kernel (>= 6.15, ioctl PIDFD_GET_INFO) tells it to any holder of a pidfd once the process
    has been reaped, so a process that is not the parent learns it too.
    """
    request = _PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *([0] * 13))
    try:
        answer = _PIDFD_INFO.unpack(fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request))
    except OSError:
        return None  # ENOTTY, EINVAL: an older kernel; ESRCH: not reaped yet
    if not answer[0] & _PIDFD_INFO_EXIT:
        return None
    return os.waitstatus_to_exitcode(answer[-1])

"""The lock of a container: flock(2) on ROOT/.locks/ID.

The file lies outside the container's directory, so that removing the directory cannot split the
lock in two; the kernel frees it when its holder dies (SECURITY.md ST-11, ST-12).
"""

from __future__ import annotations

import fcntl
import os

from shim.errors import ShimError
from shim.model import files

WAIT = 10.0
"""Seconds until a lock that is not released is reported as busy."""


def acquire(root_fd: int, id: str, wait: bool = True) -> int | None:
    """A descriptor that holds the lock of `id`; ShimError "busy" after WAIT seconds, or None at
    once when `wait` is false."""
    try:
        while True:
            fd = _open(root_fd, id)
            try:
                if not _flock(fd, wait):
                    os.close(fd)
                    return None
                if _is_current(root_fd, id, fd):
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
    except OSError as error:
        raise files.fail(f"lock {id}", error) from error


def drop(root_fd: int, id: str) -> None:
    """Remove the lock file; only its holder may, after the container's directory has gone."""
    try:
        os.unlink(f".locks/{id}", dir_fd=root_fd)
    except FileNotFoundError:
        pass


def _open(root_fd: int, id: str) -> int:
    try:
        os.mkdir(".locks", 0o700, dir_fd=root_fd)
    except FileExistsError:
        pass
    locks = os.open(".locks", files.DIR, dir_fd=root_fd)
    try:
        return os.open(id, os.O_RDWR | os.O_CREAT | files.FILE, 0o600, dir_fd=locks)
    finally:
        os.close(locks)


def _is_current(root_fd: int, id: str, fd: int) -> bool:
    """False when the last holder removed the file while we waited for it."""
    try:
        there = os.stat(f".locks/{id}", dir_fd=root_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


def _flock(fd: int, wait: bool) -> bool:
    """flock(2), at most WAIT seconds: its holder may be stopped (ST-12).

    flock has no time-out of its own; an alarm whose handler raises breaks the wait (signal(7)).
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        if not wait:
            return False
        import signal

    def expired(number: int, frame: object) -> None:
        raise ShimError("container is busy: another shim command holds its lock")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, WAIT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

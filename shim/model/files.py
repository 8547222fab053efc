"""File work on a state directory by descriptor, trusting nothing (SECURITY.md ST-03, 07, 08)."""

from __future__ import annotations

import errno
import os
import stat

from shim.errors import KernelError, ShimError

DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def fail(what: str, error: OSError) -> KernelError:
    """The error for a system call that failed on `what`."""
    return KernelError(what, error.errno or errno.EIO)


def write_all(fd: int, data: bytes) -> None:
    """write(2) may take less than it was given (ST-03)."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_all(fd: int, size: int) -> bytes:
    """Up to `size` bytes from the current position."""
    parts: list[bytes] = []
    while size > 0 and (part := os.read(fd, min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def check_owned(fd: int, what: str) -> None:
    """Refuse a directory that somebody else could have prepared or can change (ST-07)."""
    info = os.fstat(fd)
    if info.st_uid != os.geteuid():
        raise ShimError(f"{what}: owned by uid {info.st_uid}, not by uid {os.geteuid()}")
    if info.st_mode & 0o022:
        raise ShimError(f"{what}: writable by others (mode {stat.S_IMODE(info.st_mode):04o})")


def empty(fd: int, keep: str) -> None:
    """Remove everything below a directory but one name, without ever following a link."""
    with os.scandir(fd) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_dir in found:
        if name == keep:
            continue
        if is_dir:
            below = os.open(name, DIR, dir_fd=fd)
            try:
                empty(below, "")
            finally:
                os.close(below)
            os.rmdir(name, dir_fd=fd)
        else:
            os.unlink(name, dir_fd=fd)

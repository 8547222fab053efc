"""--pid-file: how an engine learns the pid (OCI.md section 2.2)."""

from __future__ import annotations

import os

from shim.errors import KernelError


def write_pid_file(path: str, pid: int) -> None:
    """Atomic, and never through a planted symlink (SECURITY.md IN-29)."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(temporary, flags, 0o644)
        try:
            os.write(fd, str(pid).encode())
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError as error:
        raise KernelError(f"write pid file {path}", error.errno or 0) from None

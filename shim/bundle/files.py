"""Reading a file that somebody else wrote: bounded, never blocking (SECURITY.md IN-11, IN-26)."""

from __future__ import annotations

import os
import stat

from shim.errors import InputError, strerror

MAX_BYTES = 4 << 20


def read_regular(path: str, limit: int = MAX_BYTES) -> bytes:
    """The bytes of the regular file `path` (symlinks are followed, as runc does).

    O_NONBLOCK keeps a FIFO from hanging the caller. InputError: missing, unreadable, not a regular
    file, larger than `limit` bytes.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(path, "", strerror(error.errno or 0)) from None
    except ValueError:
        raise InputError(repr(path), "", "path contains a NUL character") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InputError(path, "", "not a regular file")
        chunks: list[bytes] = []
        left = limit + 1
        while left > 0 and (chunk := os.read(fd, left)):
            chunks.append(chunk)
            left -= len(chunk)
    except OSError as error:
        raise InputError(path, "", strerror(error.errno or 0)) from None
    finally:
        os.close(fd)
    if left <= 0:
        raise InputError(path, "", f"larger than {limit} bytes")
    return b"".join(chunks)

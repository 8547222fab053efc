"""What a hook printed: drained without ever blocking, kept within a fixed size (SECURITY.md
HK-05)."""

from __future__ import annotations

import os

HEAD, TAIL = 32 << 10, 32 << 10
"""Bytes kept of the beginning and of the end; what lies between is dropped."""
CHUNK = 64 << 10


class Output:
    """The reading end of a hook's stdout and stderr, which share one pipe and so keep their
    order."""

    __slots__ = ("_head", "_tail", "dropped", "fd")

    def __init__(self) -> None:
        self.fd, self._head, self._tail, self.dropped = -1, bytearray(), bytearray(), 0

    def open(self) -> int:
        """Make the pipe; returns the writing end, which the caller closes once it is handed
        over."""
        self.fd, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.fd, False)
        return write

    def drain(self, limit: int = 16 * CHUNK) -> bool:
        """Read what is there, at most `limit` bytes at a time; False once there is nothing to
        come."""
        while limit > 0 and self.fd >= 0:
            try:
                data = os.read(self.fd, CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            limit -= len(data)
            self._keep(data)
        return self.fd >= 0

    def _keep(self, data: bytes) -> None:
        room = HEAD - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > TAIL:
            self.dropped += len(self._tail) - TAIL
            del self._tail[: len(self._tail) - TAIL]

    def close(self) -> None:
        """Close the pipe; a leftover child that goes on writing gets SIGPIPE."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def content(self) -> bytes:
        """What was kept."""
        return bytes(self._head + self._tail)

"""The container's stdout and stderr: into the log in CRI line format, and on to an attached caller.

Format: `TIME STREAM F|P TEXT` (Kubernetes CRI logging; conmon's ctr_logging.c). A caller that reads
slowly slows the container down, as any pipe would, and never the monitor (SECURITY.md HK-19).
"""

from __future__ import annotations

import os

from shim.engine import loop as ev
from shim.model.event import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shim.engine.loop import Loop

CHUNK = 64 << 10
PIPE_MAX = 1 << 20
LINE_MAX = 16 << 10
"""Bytes of one log line; longer ones become P parts, as in conmon."""


class Stream:
    """One of the two streams: `fd` is the reading end of the container's pipe, `sink` the writing
    end of the caller's (non-blocking, -1 when nobody is attached)."""

    __slots__ = ("_idle", "_log", "_loop", "_pending", "_rest", "_sink", "fd", "name")

    def __init__(
        self, loop: Loop, name: str, fd: int, log: int, sink: int, idle: Callable[[], None]
    ) -> None:
        self._idle = idle
        self._loop, self.name, self.fd, self._log, self._sink = loop, name, fd, log, sink
        self._rest, self._pending = b"", b""
        os.set_blocking(fd, False)
        if sink >= 0:
            os.set_blocking(sink, False)
        loop.add(fd, ev.IN, self._readable)

    def snapshot(self) -> dict[str, Any]:
        """What restore needs; only while nothing is pending."""
        rest = self._rest.decode("latin-1")
        fds = {"fd": self.fd, "log": self._log, "sink": self._sink}
        return {"name": self.name, **fds, "rest": rest}

    @staticmethod
    def restore(loop: Loop, saved: dict[str, Any], idle: Callable[[], None]) -> Stream:
        """The stream again, in the interpreter that woke up (engine.park)."""
        stream = Stream(loop, saved["name"], saved["fd"], saved["log"], saved["sink"], idle)
        stream._rest = saved["rest"].encode("latin-1")
        return stream

    def _readable(self, _events: int) -> None:
        self._pump()

    def _pump(self) -> bool:
        """Take one piece; False when there is nothing more now, or the caller must read first."""
        if self.fd < 0 or self._pending:
            return False
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._write_log(data)
        if self._sink >= 0:
            self._pending = data
            self._push()
            if self._pending:
                self._loop.drop(self.fd)
                self._loop.add(self._sink, ev.OUT, self._writable)
        return not self._pending

    def _push(self) -> None:
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._sink, self._pending) :]
        except BlockingIOError:
            return
        except OSError:
            self._drop_sink()  # the caller has gone; the log goes on (SP-16)

    def _drop_sink(self) -> None:
        if self._sink >= 0:
            self._loop.discard(self._sink)
            self._sink, self._pending = -1, b""

    def _writable(self, _events: int) -> None:
        sink = self._sink
        self._push()
        if self._pending:
            return
        self._loop.drop(sink)
        if self.fd >= 0:
            self._loop.add(self.fd, ev.IN, self._readable)
            self.drain()
        else:
            self._drop_sink()
        self._idle()  # the container may have ended meanwhile, with output still in the pipe

    def _write_log(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        out = [self._format(line, True) for line in lines]
        while len(self._rest) > LINE_MAX:
            out.append(self._format(self._rest[:LINE_MAX], False))
            self._rest = self._rest[LINE_MAX:]
        self._append(b"".join(out))

    def _format(self, text: bytes, whole: bool) -> bytes:
        head = f"{rfc3339(self._loop.clock.wall_ns())} {self.name} ".encode()
        parts = [text[i : i + LINE_MAX] for i in range(0, len(text), LINE_MAX)] or [b""]
        tags = [b"P "] * (len(parts) - 1) + [b"F " if whole else b"P "]
        return b"".join(head + tag + part + b"\n" for tag, part in zip(tags, parts, strict=True))

    def _append(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._log, data) :]
        except OSError:
            return  # a full disk must not stop the container or the stop (ST-02)

    def drain(self) -> None:
        """Take what is in the pipe now, at most what a pipe can hold (fcntl(2), F_SETPIPE_SZ)."""
        for _ in range(PIPE_MAX // CHUNK):
            if not self._pump():
                return

    @property
    def busy(self) -> bool:
        """Whether the caller has still to take something."""
        return bool(self._pending)

    def close(self) -> None:
        """End of the stream: the last line may lack its newline."""
        if self.fd >= 0:
            if self._rest:
                self._append(self._format(self._rest, False))
                self._rest = b""
            self._loop.discard(self.fd)
            self.fd = -1
        if not self._pending:
            self._drop_sink()

"""A person on a terminal, and an engine that listens on a console socket."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import socket
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from support.runtime import Runtime


@contextmanager
def console_socket(rt: Runtime) -> Iterator[tuple[str, socket.socket]]:
    """What an engine listens on (runc's docs/terminals.md)."""
    path = f"{rt.dir}/console.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.settimeout(5)
        yield path, server


def receive(server: socket.socket) -> int:
    connection, _ = server.accept()
    with connection:
        connection.settimeout(5)
        data, fds, _, _ = socket.recv_fds(connection, 64, 2)
    assert data  # the name of the master: anything but nothing
    assert len(fds) == 1
    return fds[0]


class Screen:
    """One end of a pseudo-terminal: what was written to it, and waiting for more."""

    def __init__(self, fd: int) -> None:
        self.fd, self.text = fd, ""

    def until(self, words: str, timeout: float = 10) -> str:
        """Read until `words` have come; everything up to and including them."""
        while words not in self.text:
            assert select.select([self.fd], [], [], timeout)[0], f"no {words!r} in {self.text!r}"
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                data = b""
            assert data, f"hung up before {words!r}: {self.text!r}"
            self.text += data.decode()
        found, _, self.text = self.text.partition(words)
        return found + words

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


class Caller:
    """A shim process on a pseudo-terminal of its own, as a person would have it."""

    def __init__(self, rt: Runtime, *words: str, size: tuple[int, int] = (33, 77)) -> None:
        master, self.slave = pty.openpty()
        self.screen = Screen(master)
        self.screen.size(*size)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            rt.argv(*words), stdin=self.slave, stdout=self.slave, stderr=self.slave,
            start_new_session=True,
        )  # fmt: skip

    def raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def ended(self, timeout: float = 10) -> int:
        """Its exit status; the terminal is as it was, whatever happened."""
        code = self.process.wait(timeout)
        assert termios.tcgetattr(self.slave) == self.before
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.slave)
        os.close(self.screen.fd)


@contextmanager
def caller(rt: Runtime, *words: str, size: tuple[int, int] = (33, 77)) -> Iterator[Caller]:
    made = Caller(rt, *words, size=size)
    try:
        yield made
    finally:
        made.close()


TERMINAL = {"terminal": True}

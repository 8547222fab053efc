"""The relay's corners that no container can be made to show on demand."""

from __future__ import annotations

import array
import os
import pty
import socket

import pytest

from shim.engine import terminal
from shim.errors import ShimError


def sent(data: bytes, *fds: int) -> int:
    """receive_master's answer to one message."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if fds:
            socket.send_fds(theirs, [data], fds)
        elif data:
            theirs.send(data)
        theirs.close()
        return terminal.receive_master(ours.fileno())


def test_the_master_arrives_close_on_exec() -> None:
    master, slave = pty.openpty()
    received = sent(b"/dev/ptmx", master)
    try:
        assert os.path.samestat(os.fstat(received), os.fstat(master))
        assert not os.get_inheritable(received)
    finally:
        for fd in (master, slave, received):
            os.close(fd)


@pytest.mark.parametrize("data", [b"", b"/dev/ptmx"])
def test_no_descriptor_is_an_error(data: bytes) -> None:
    with pytest.raises(ShimError, match="without its terminal"):
        sent(data)


def test_a_descriptor_that_is_no_master_is_an_error_and_is_closed() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    null = os.open("/dev/null", os.O_RDWR)
    try:
        with pytest.raises(ShimError, match="no pseudo-terminal"):
            sent(b"x", null)
    finally:
        os.close(null)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_of_two_descriptors_none_is_left_open() -> None:
    master, slave = pty.openpty()
    before = sorted(os.listdir("/proc/self/fd"))
    received = sent(b"x", master, slave)
    os.close(received)
    assert sorted(os.listdir("/proc/self/fd")) == before
    os.close(master)
    os.close(slave)


def test_draining_ends_although_there_is_always_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process left behind that writes faster than we read."""
    master, slave = pty.openpty()
    copier = terminal._Copier(master, -1, {})
    endless = os.open("/dev/zero", os.O_RDONLY)
    copier.master = endless
    written = array.array("L")

    def write(self: terminal._Copier) -> None:
        written.append(len(self.to_stdout))
        assert sum(written) <= 2 * terminal.DRAIN_MAX, "no end"
        self.to_stdout = b""

    monkeypatch.setattr(terminal._Copier, "_write_stdout", write)
    try:
        copier._drain()
        # more than a pseudo-terminal can hold
        assert sum(written) > 1 << 20
    finally:
        copier.close()
        for fd in (master, slave, endless):
            os.close(fd)


def test_the_size_of_a_terminal_that_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    try:
        monkeypatch.setattr(terminal, "_own_terminal", lambda: slave)
        assert terminal.caller_size() is None
        terminal.fcntl.ioctl(master, terminal.TIOCSWINSZ, terminal.struct.pack("4H", 3, 4, 0, 0))
        assert terminal.caller_size() == (3, 4)
        monkeypatch.setattr(terminal, "_own_terminal", lambda: -1)
        assert terminal.caller_size() is None
    finally:
        os.close(master)
        os.close(slave)

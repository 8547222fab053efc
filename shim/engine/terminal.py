"""The caller's terminal in front of a container's: `exec -t` and a foreground `run`.

The container's process has a pseudo-terminal of its own (csrc/tty.c), whose master is copied to and
from our stdio; the process never holds a descriptor of the caller's terminal (SECURITY.md CV-32).
"""

from __future__ import annotations

import fcntl
import os
import select
import struct

from shim.engine.child import forward, reap
from shim.errors import ShimError
from shim.kernel import unix
from shim.kernel.api import KERNEL
from shim.kernel.sig import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

TIOCGWINSZ, TIOCSWINSZ, TIOCGPTN = 0x5413, 0x5414, 0x80045430  # ioctl_tty(2)
MSG_CMSG_CLOEXEC, ONE_DESCRIPTOR = 0x40000000, 20  # recvmsg(2); CMSG_LEN(sizeof(int))
CHUNK = 4096
"""Bytes a copy; at most PIPE_BUF, so that a write to a pipe that polls writable does not block."""
DRAIN_MAX = 4 << 20
"""Bytes; a pseudo-terminal holds some 64 KiB, but a process may go on writing while we read."""


def attached(start: Callable[[int], int], signals: int) -> int:
    """Run a process on a terminal that we relay; its exit status.

    `start` gets the socket for the plan's slot "console" and returns the process's pidfd, which is
    closed here. What the signalfd `signals` reads goes to the process.
    """
    ours, theirs = unix.pair(unix.SOCK_STREAM)
    with ours:
        with theirs:
            pidfd = start(theirs.fileno())
        master = receive_master(ours.fileno())
    try:
        relay(master, pidfd, {signals: lambda: forward(signals, pidfd)})
    finally:
        os.close(master)
    return reap(pidfd)


def receive_master(sock: int) -> int:
    """The pseudo-terminal that arrives on `sock` (SCM_RIGHTS, as in runc's docs/terminals.md).

    ShimError when the other end was closed or sent something else. `sock` stays open.
    """
    with unix.Socket(unix.SOCK_STREAM, os.dup(sock)) as end:
        _, control, _, _ = end.recvmsg(64, ONE_DESCRIPTOR, MSG_CMSG_CLOEXEC)
    rights = (unix.SOL_SOCKET, unix.SCM_RIGHTS)
    fds = [int.from_bytes(data[:4], "little") for *kind, data in control if tuple(kind) == rights]
    if not fds:
        raise ShimError("the process was started without its terminal")
    try:
        fcntl.ioctl(fds[0], TIOCGPTN, bytes(4))
    except OSError:
        os.close(fds[0])
        raise ShimError("what came for a terminal is no pseudo-terminal") from None
    return fds[0]


def caller_size() -> tuple[int, int] | None:
    """(rows, columns) of the caller's terminal; None when there is none or it has no size."""
    size = _window(_own_terminal())
    return (size[0], size[1]) if size[0] and size[1] else None


def relay(master: int, done: int, also: dict[int, Callable[[], None]] | None = None) -> None:
    """Copy between our stdio and `master` until `done` is readable and the master is drained.

    A terminal on stdin is in raw mode meanwhile. `also` maps further descriptors to what is called
    when they are readable. Nothing is closed.
    """
    watched = dict(also or {})
    winch = KERNEL.signalfd([signal.SIGWINCH])
    own = _own_terminal()
    if not any(_window(master)[:2]):
        _copy_size(own, master)

    def resized() -> None:
        try:
            os.read(winch, 128)
        except BlockingIOError:
            pass  # another signalfd of the caller's has taken it
        _copy_size(own, master)

    watched[winch] = resized
    copier = _Copier(master, done, watched)
    restore = _raw_mode(0)
    try:
        copier.run()
    finally:
        restore()
        copier.close()
        os.close(winch)


class _Copier:
    """Two directions with at most one chunk in flight each, so that a slow reader of our stdout
    holds back neither keystrokes nor signals.

    The master is watched by edge: while nobody has the slave open it reports a hang-up without
    end, yet it comes back to life when the slave is opened again, as an init that reopens
    /dev/console does.
    """

    __slots__ = (
        "also", "done", "edge", "master", "readable", "stdin", "stdout", "to_master", "to_stdout",
        "typed", "writable",
    )  # fmt: skip

    def __init__(self, master: int, done: int, also: dict[int, Callable[[], None]]) -> None:
        self.master, self.done, self.also = master, done, also
        self.stdin = self.stdout = True  # still open
        self.readable = self.writable = True  # the master, as far as is known
        self.to_master = self.to_stdout = b""
        self.typed = b"\n"
        os.set_blocking(master, False)
        self.edge = select.epoll(flags=select.EPOLL_CLOEXEC)
        self.edge.register(master, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def run(self) -> None:
        """Until the process has ended and nothing is left to be copied out."""
        poll = select.poll()
        poll.register(self.done, select.POLLIN)
        poll.register(self.edge, select.POLLIN)
        for fd in self.also:
            poll.register(fd, select.POLLIN)
        while True:
            self._pump_master()
            want_in = self.stdin and not self.to_master
            _watch(poll, 0, select.POLLIN if want_in else 0)
            _watch(poll, 1, select.POLLOUT if self.to_stdout else 0)
            ready = dict(poll.poll())
            if self.edge.fileno() in ready:
                self.edge.poll(0)
                self.readable = self.writable = True
            for fd, action in self.also.items():
                if fd in ready:
                    action()
            if 0 in ready:
                self._read_stdin()
            if 1 in ready:
                self._write_stdout()
            if self.done in ready:
                self._drain()
                return

    def close(self) -> None:
        self.edge.close()

    def _pump_master(self) -> None:
        if self.to_master and self.writable:
            try:
                self.to_master = self.to_master[os.write(self.master, self.to_master) :]
            except BlockingIOError:
                self.writable = False
            except OSError:
                self.to_master = b""  # nobody has the slave open: typed into the void
        if self.readable and not self.to_stdout:
            try:
                self.to_stdout = os.read(self.master, CHUNK)
            except OSError:  # EAGAIN, or EIO while the slave is closed
                self.readable = False
            if not self.stdout:
                self.to_stdout = b""

    def _read_stdin(self) -> None:
        try:
            data = os.read(0, CHUNK)
        except OSError:
            data = b""
        if data:
            self.to_master = self.typed = data
            return
        self.stdin = False
        self.to_master = self._end_of_file()

    def _end_of_file(self) -> bytes:
        """What a terminal has in place of end of file, as sshd(8) and script(1) send it: twice when
        the first one only ends an unfinished line."""
        import termios

        attributes: list[Any] = termios.tcgetattr(self.master)
        if not attributes[3] & termios.ICANON:
            return b""
        return bytes(attributes[6][termios.VEOF]) * (1 if self.typed.endswith(b"\n") else 2)

    def _write_stdout(self) -> None:
        try:
            self.to_stdout = self.to_stdout[os.write(1, self.to_stdout) :]
        except BlockingIOError:
            return
        except OSError:
            # The process has a terminal, not our pipe: it is not to hang or die because of it.
            self.stdout, self.to_stdout = False, b""

    def _drain(self) -> None:
        """What the process wrote before it ended. What it left behind may write on without end,
        so this stops at more than the kernel can have held."""
        poll = select.poll()
        poll.register(1, select.POLLOUT)
        for _ in range(DRAIN_MAX // CHUNK):
            while self.to_stdout:
                poll.poll()
                self._write_stdout()
            self.readable = self.stdout
            self._pump_master()
            if not self.to_stdout:
                return


def _watch(poll: select.poll, fd: int, mask: int) -> None:
    if mask:
        poll.register(fd, mask)
        return
    try:
        poll.unregister(fd)
    except KeyError:
        pass


def _own_terminal() -> int:
    """The descriptor of the caller's terminal, -1 without one."""
    return next((fd for fd in (0, 1, 2) if os.isatty(fd)), -1)


def _window(fd: int) -> tuple[int, ...]:
    """struct winsize: rows, columns, width and height in pixels; zeros when there is none."""
    if fd < 0:
        return (0, 0, 0, 0)
    return struct.unpack("4H", fcntl.ioctl(fd, TIOCGWINSZ, bytes(8)))


def _copy_size(own: int, master: int) -> None:
    size = _window(own)
    if any(size[:2]):
        fcntl.ioctl(master, TIOCSWINSZ, struct.pack("4H", *size))


def _raw_mode(fd: int) -> Callable[[], None]:
    """Put a terminal into raw mode (termios(3), cfmakeraw); what puts it back as it was."""
    if not os.isatty(fd):
        return lambda: None
    import termios

    before: list[Any] = termios.tcgetattr(fd)
    raw: list[Any] = termios.tcgetattr(fd)
    raw[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    raw[1] &= ~termios.OPOST
    raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, raw)
    # DRAIN: what the process wrote last is shown the way it was meant.
    return lambda: termios.tcsetattr(fd, termios.TCSADRAIN, before)

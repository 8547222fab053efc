"""`run`: create and start below a resident monitor, in the foreground or detached.

The monitor is the container's parent. In the foreground the container's output reaches the caller
through pipes that the monitor writes (and logs); stdin is the caller's own.
"""

from __future__ import annotations

import os
import select

from shim import jsontext
from shim.bundle.lifecycle import Lifecycle
from shim.bundle.load import load
from shim.engine import daemon
from shim.engine.create import Request, create_container
from shim.engine.execute import FORWARDED
from shim.errors import ShimError, UnsupportedError
from shim.kernel import unix
from shim.kernel.api import KERNEL
from shim.kernel.sig import signal
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.bundle.load import Bundle

MESSAGE_MAX = 64 << 10
STOPPING = (signal.SIGTERM, signal.SIGINT)


class Pipes:
    """stdout and stderr twice: container to monitor, and, when attached, monitor to caller."""

    __slots__ = ("from_container", "to_caller")

    def __init__(self) -> None:
        self.from_container: list[tuple[int, int]] = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]
        self.to_caller: list[tuple[int, int]] = []

    def attach(self) -> None:
        """Make the second pair."""
        self.to_caller = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]

    def all(self) -> list[int]:
        """Every descriptor, for the fork."""
        return [fd for pair in (*self.from_container, *self.to_caller) for fd in pair]


def run(store: Store, id: str, bundle_dir: str, **flags: Any) -> int:
    """The verb: the container's exit status, or 0 once it runs when detached."""
    if flags.get("restart") not in (None, "Never"):
        raise UnsupportedError(
            "--restart", "", "restart policies are not supported by this version"
        )
    bundle = load(bundle_dir, flags["lifecycle_file"])
    if bundle.lifecycle is None:
        bundle.lifecycle = Lifecycle.default(bundle.spec)
    detach = bool(flags["detach"])
    tty = bundle.spec.process is not None and bundle.spec.process.terminal
    request = Request(
        console_socket=flags["console_socket"],
        pid_file=flags["pid_file"] and os.path.abspath(flags["pid_file"]),
        no_pivot=flags["no_pivot"],
        no_new_keyring=flags["no_new_keyring"],
        preserve_fds=flags["preserve_fds"],
        standalone=True,
        remove_on_exit=bool(flags["rm"]),
    )
    console: tuple[unix.Socket, unix.Socket] | None = None
    if tty and not detach and not request.console_socket:
        console = unix.pair(unix.SOCK_STREAM)
        request.console_fd = console[1].fileno()
        _size_of_caller(bundle)
    pipes = None if tty else Pipes()
    if pipes is not None and not detach:
        pipes.attach()
    return _supervise(store, id, bundle, request, detach, pipes, console)


def _size_of_caller(bundle: Bundle) -> None:
    """A terminal has its size before the first instruction of the process on it."""
    from shim.engine import terminal

    process = bundle.spec.process
    if process is not None and process.console_size is None:
        process.console_size = terminal.caller_size()


def _supervise(
    store: Store,
    id: str,
    bundle: Bundle,
    request: Request,
    detach: bool,
    pipes: Pipes | None,
    console: tuple[unix.Socket, unix.Socket] | None,
) -> int:
    keep = pipes.all() if pipes is not None else []
    keep += range(3, 3 + request.preserve_fds)
    if console is not None:
        keep.append(console[1].fileno())
    root = store.root
    # A change of the window's size is for the relay, which tells the container's terminal.
    wanted = FORWARDED if console is None else [n for n in FORWARDED if n != signal.SIGWINCH]
    signals = None if detach else KERNEL.signalfd(wanted)

    def body(sock: unix.Socket) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        if pipes is not None:
            null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) if detach else 0
            request.stdio = (null, pipes.from_container[0][1], pipes.from_container[1][1])
        request.meanwhile = _load_monitor
        made = create_container(Store(root), id, bundle, request)
        from shim.engine import supervise

        supervise.monitored(made, request, detach, pipes, sock)

    sock = daemon.fork(body, keep)
    if pipes is not None:
        for pair in pipes.from_container:
            os.close(pair[0])
            os.close(pair[1])
        for pair in pipes.to_caller:
            os.close(pair[1])
    if console is not None:
        console[1].close()
    with sock:
        daemon.receive(sock)
        if signals is None:
            return 0
        if console is not None:
            return _foreground_tty(sock, console[0], signals)
        readers = [] if pipes is None else [pair[0] for pair in pipes.to_caller]
        return _foreground(sock, readers, signals)


def _load_monitor() -> None:
    """Import while the executor builds the container on the other processor."""
    import shim.engine.supervise  # noqa: F401


def _foreground(sock: unix.Socket, readers: list[int], signals: int) -> int:
    """Copy output, pass signals on, until the container has ended and all its output has been
    seen."""
    targets = dict(zip(readers, (1, 2), strict=False))
    poll = select.poll()
    for fd in (*targets, sock.fileno(), signals):
        poll.register(fd, select.POLLIN)
    status: int | None = None
    interrupts = 0
    while status is None or targets:
        for fd, _ in poll.poll():
            if fd in targets:
                if not _copy(fd, targets[fd]):
                    poll.unregister(fd)
                    os.close(fd)
                    del targets[fd]
            elif fd == signals:
                interrupts += _forward(sock, signals, interrupts)
            else:
                status = _news(sock, status)
                if status is not None:
                    poll.unregister(fd)
    return status


def _copy(source: int, target: int) -> bool:
    data = os.read(source, 64 << 10)
    if not data:
        return False
    try:
        while data:
            data = data[os.write(target, data) :]
    except BrokenPipeError:
        return False  # the caller's reader has gone; the log still has it all
    return True


def _forward(sock: unix.Socket, signals: int, interrupts: int) -> int:
    """SIGTERM and SIGINT are a graceful stop, the second SIGINT an immediate one; the rest goes to
    the container as it is (CONTRACT.md, `run`)."""
    number = int.from_bytes(os.read(signals, 128)[:4], "little")
    if number in STOPPING:
        now = number == signal.SIGINT and interrupts > 0
        request: dict[str, Any] = {"op": "stop", "grace": None, "trigger": "api", "now": now}
    else:
        request = {"op": "signal", "number": number}
    try:
        sock.send(jsontext.dumps(request).encode())
    except OSError:
        return 0
    return int(number == signal.SIGINT)


def _news(sock: unix.Socket, status: int | None) -> int | None:
    data = sock.recv(MESSAGE_MAX)
    if not data:
        raise ShimError("the monitor ended before the container had stopped")
    message = jsontext.loads(data)
    if not message.get("finished"):
        return status
    end = message["exit"]
    if end["signal"]:
        return 128 + int(end["signal"])
    return 125 if end["exitCode"] is None else int(end["exitCode"])


def _foreground_tty(sock: unix.Socket, console: unix.Socket, signals: int) -> int:
    """The caller's terminal becomes the container's."""
    from shim.engine import terminal

    with console:
        master = terminal.receive_master(console.fileno())
    sock.send(b'{"op":"wait"}')
    # The monitor has more to say than the end, so the end gets a descriptor of its own.
    ended = os.eventfd(0, os.EFD_CLOEXEC)
    status: int | None = None

    def news() -> None:
        nonlocal status
        if status is None and (status := _news(sock, None)) is not None:
            os.eventfd_write(ended, 1)

    watched = {sock.fileno(): news, signals: lambda: _ignore(_forward(sock, signals, 0))}
    try:
        terminal.relay(master, ended, watched)
    finally:
        os.close(master)
        os.close(ended)
    if status is None:
        raise ShimError("the terminal was closed before the container had stopped")
    return status


def _ignore(_count: int) -> None:
    """A terminal's Ctrl-C is a byte for the container, so none is counted here."""

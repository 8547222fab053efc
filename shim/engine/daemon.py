"""Leave the caller: a forked child in a session of its own that holds nothing of its caller's, and
the socket on which it reports how it went."""

from __future__ import annotations

import os

from shim import errors, jsontext
from shim.errors import ShimError
from shim.kernel import unix
from shim.kernel.api import KERNEL
from shim.kernel.sig import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

REPORT_MAX = 64 << 10


def fork(body: Callable[[unix.Socket], None], keep: Iterable[int] = ()) -> unix.Socket:
    """Run `body` in a detached child; returns our end of a SOCK_SEQPACKET pair, `body` gets the
    other.

    `keep` are the descriptors that the child needs besides stdio; everything else is closed there.
    The child never returns: an exception of `body` is reported through the socket (see `receive`).
    """
    ours, theirs = unix.pair()
    if os.fork() != 0:
        theirs.close()
        return ours
    code = 1
    try:
        ours.close()
        KERNEL.forget_executor()
        os.setsid()
        close_others({0, 1, 2, theirs.fileno(), *keep})
        os.chdir("/")
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        body(theirs)
        code = 0
    except BaseException as error:
        report_error(theirs, error)
    finally:
        os._exit(code)


def close_others(keep: set[int]) -> None:
    """A monitor that kept a caller's pipe open would make the caller's reader wait for ever."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                continue


def detach_stdio() -> None:
    """stdin, stdout and stderr become /dev/null."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)


def report_error(sock: unix.Socket, error: BaseException) -> None:
    """Send an exception to the verb that waits for us."""
    notes = getattr(error, "__notes__", [])
    message = {
        "error": str(error) or type(error).__name__,
        "class": type(error).__name__,
        "notes": notes,
    }
    try:
        sock.send(jsontext.dumps(message).encode()[:REPORT_MAX])
    except OSError:
        return


def receive(sock: unix.Socket) -> dict[str, Any]:
    """The child's next message; its exception is raised here, with its own class."""
    data = sock.recv(REPORT_MAX)
    if not data:
        raise ShimError("the monitor ended unexpectedly")
    message: dict[str, Any] = jsontext.loads(data)
    if "error" in message:
        raise rebuild(message)
    return message


def rebuild(message: dict[str, Any]) -> ShimError:
    """An exception like the one reported; its text is complete already."""
    found = getattr(errors, str(message.get("class")), ShimError)
    kind = found if isinstance(found, type) and issubclass(found, ShimError) else ShimError
    error = kind.__new__(kind)
    Exception.__init__(error, str(message["error"]))
    for note in message.get("notes") or ():
        error.add_note(note)
    return error

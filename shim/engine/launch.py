"""Start a monitor: a forked child in a session of its own that holds nothing of its caller's.

The same code serves the first monitor of a container and every one after a crash: leaving when
idle and being killed are the same path (ARCHITECTURE.md "Processes"). All imports happen before
the fork, so that a changed installation cannot break a monitor later (SECURITY.md SP-22).
"""

from __future__ import annotations

import fcntl
import os
from time import time_ns

from shim import errors, jsontext
from shim.engine import park
from shim.engine.delete import remove
from shim.engine.facts import exit_record
from shim.engine.kill import open_cgroup
from shim.engine.loop import Loop
from shim.engine.monitor import Monitor
from shim.engine.recover import Past
from shim.errors import NotFoundError, NotRunningError, ShimError
from shim.kernel import unix
from shim.kernel.api import KERNEL
from shim.kernel.sig import signal
from shim.model import status
from shim.model.container import Container
from shim.model.event import WARNING, event
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from shim.model.directory import ContainerDir

LOCK = "monitor.lock"
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
        from shim.kernel import supervisor  # the verb itself does not need it

        KERNEL.forget_executor()
        os.setsid()
        close_others({0, 1, 2, theirs.fileno(), *keep})
        os.chdir("/")
        supervisor.become("shim-monitor")
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


def resume(store: Store, id: str) -> None:
    """Have a monitor for a container that exists; returns when its control socket listens."""
    root = store.root

    def body(sock: unix.Socket) -> None:
        detach_stdio()
        resumed(Store(root), id, sock)

    with fork(body) as sock:
        receive(sock)


def resumed(store: Store, id: str, sock: unix.Socket) -> None:
    """In the child: become the container's monitor, unless there is one by now."""
    directory = store.container(id)
    loop = Loop()
    with directory.lock():
        # Under the container's lock: whoever has it sees a monitor that listens, or none.
        lock = take_lock(directory)
        if lock < 0:
            sock.send(b"{}")
            return
        state = directory.read_state()
        container = Container(directory, state)
        try:
            init = container.open_init()
        except NotRunningError:
            record_lost(container)
            raise
        monitor = Monitor(directory, state, loop, init, open_cgroup(container), parent=False)
        monitor.lock = lock
        monitor.open()
    sock.send(b"{}")
    sock.close()
    monitor.resume(state, Past(directory.journal()))
    drive(monitor)


def take_lock(directory: ContainerDir) -> int:
    """Be the only monitor of the container for the life of this process: the descriptor that holds
    the lock, -1 when another monitor has it."""
    fd = directory.open(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return -1
    return fd


def record_lost(container: Container) -> None:
    """The process ended while nobody watched: its exit code is not known, which is not 0
    (SP-12)."""
    if container.state.get("exit") is not None or container.state["status"] == status.STOPPED:
        return
    now = time_ns()
    lost, text = exit_record(container.id, None, now)
    container.dir.update(status="stopped", phase="stopped", deadline=None, exit=lost)
    container.dir.append(event(WARNING, "Exited", text, container.id, now))


def drive(monitor: Monitor) -> None:
    """The rest of the monitor's life."""
    if monitor.directory.read_state().get("removeOnExit"):
        monitor.remove = lambda: remove_container(monitor.directory.store, monitor.name)
    if monitor.parent:
        park.arm(monitor)
    import gc

    gc.enable()
    gc.collect()
    gc.freeze()
    monitor.finish_if_idle()
    monitor.loop.run()
    monitor.end()


def remove_container(store: Store, id: str) -> None:
    """What --rm asks for; somebody may have been quicker."""
    try:
        directory = store.container(id)
        with directory.lock():
            remove(Container(directory))
    except NotFoundError:
        return

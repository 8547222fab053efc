"""A container's monitor from its beginning to its end, the first as well as every one after a
crash: leaving when idle and being killed are the same path (ARCHITECTURE.md "Processes").

Everything a monitor will need is imported here at the latest, so that a changed installation cannot
break one that is at work (SECURITY.md SP-22).
"""

from __future__ import annotations

import fcntl
import os
from time import time_ns

from shim.engine import daemon, park
from shim.engine.delete import remove
from shim.engine.facts import exit_record
from shim.engine.kill import open_cgroup
from shim.engine.loop import Loop
from shim.engine.monitor import Monitor
from shim.engine.recover import Past
from shim.errors import NotFoundError, NotRunningError, ShimError
from shim.kernel import proc, unix
from shim.model import status
from shim.model.container import Container
from shim.model.event import WARNING, event
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:

    from shim.model.directory import ContainerDir

LOCK = "monitor.lock"
TRACE = "monitor.trace"


def resume(store: Store, id: str) -> unix.Socket | None:
    """Have a monitor for a container that exists; returns when its control socket listens.

    The connection to it, which also keeps it from leaving as idle; None when another monitor was
    there first.
    """
    root = store.root

    def body(sock: unix.Socket) -> None:
        daemon.detach_stdio()
        resumed(Store(root), id, sock)

    sock = daemon.fork(body)
    try:
        if daemon.receive(sock).get("monitor"):
            return sock
    except BaseException:
        sock.close()
        raise
    sock.close()
    return None


def resumed(store: Store, id: str, sock: unix.Socket) -> None:
    """In the child: become the container's monitor, unless there is one by now."""
    directory = store.container(id)
    loop = Loop()
    with directory.lock():
        # Under the container's lock: whoever has it sees a monitor that listens, or none.
        lock = take_lock(directory)
        if lock < 0:
            sock.send(b'{"monitor":false}')
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
        monitor.facts.save(monitor=proc.identity())
    sock.send(b'{"monitor":true}')
    monitor.control.adopt(sock)
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


SETTLE_SECONDS = 0.05
"""After this long a container is not one of those that are over at once, and it pays to settle."""


def drive(monitor: Monitor) -> None:
    """The rest of the monitor's life."""
    if monitor.directory.read_state().get("removeOnExit"):
        monitor.remove = lambda: remove_container(monitor.directory.store, monitor.name)
    monitor.loop.at(monitor.clock.now() + SETTLE_SECONDS, lambda: settle(monitor))
    monitor.finish_if_idle()
    try:
        monitor.loop.run()
        monitor.end()
    except Exception:
        leave_trace(monitor.directory)
        raise


def leave_trace(directory: ContainerDir) -> None:
    """A monitor has no stderr: what broke it is kept beside the state. The next verb takes over."""
    import traceback

    try:
        directory.write_bytes(TRACE, traceback.format_exc().encode("utf-8", "backslashreplace"))
    except ShimError:
        return  # the disk may be what broke it


def settle(monitor: Monitor) -> None:
    """Make ready for a longer life: a name, orphans, garbage collection, and rest."""
    import gc

    from shim.kernel import supervisor

    supervisor.become("shim-monitor")
    gc.enable()
    gc.collect()
    gc.freeze()
    if monitor.parent:
        park.arm(monitor)


def remove_container(store: Store, id: str) -> None:
    """What --rm asks for; somebody may have been quicker."""
    try:
        directory = store.container(id)
        with directory.lock():
            remove(Container(directory))
    except NotFoundError:
        return

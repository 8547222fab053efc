"""`run` in the monitor's process: take charge of the container just created, start it, report, and
stay for its life."""

from __future__ import annotations

import os

from shim import jsontext
from shim.engine import daemon, launch
from shim.engine.logs import Stream
from shim.engine.loop import Loop
from shim.engine.monitor import Monitor
from shim.engine.start import release
from shim.errors import ShimError
from shim.kernel import proc
from shim.kernel.sig import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.engine.child import Child
    from shim.engine.create import Request
    from shim.engine.run import Pipes
    from shim.kernel import unix
    from shim.kernel.cgroup import Cgroup
    from shim.model.directory import ContainerDir

LOG = "log"


def monitored(
    made: tuple[ContainerDir, Child, Cgroup],
    request: Request,
    detach: bool,
    pipes: Pipes | None,
    sock: unix.Socket,
) -> None:
    """`made` is what create_container returned; `sock` leads to the caller, who waits for our
    word."""
    directory, child, cgroup = made
    try:
        monitor = _take_charge(directory, child, cgroup, pipes)
        with directory.lock():
            release(directory, monitor=proc.identity())
    except BaseException as error:
        _undo(directory, child, error)
        raise
    daemon.detach_stdio()
    os.closerange(3, 3 + request.preserve_fds)
    sock.send(jsontext.dumps({"pid": child.pid}).encode())
    if detach:
        sock.close()
    else:
        monitor.control.adopt(sock)
    monitor.started()
    launch.drive(monitor)


def _take_charge(
    directory: ContainerDir, child: Child, cgroup: Cgroup, pipes: Pipes | None
) -> Monitor:
    loop = Loop()
    state = directory.read_state()
    monitor = Monitor(directory, state, loop, child.pidfd, cgroup, parent=True)
    monitor.lock = launch.take_lock(directory)
    monitor.open()
    if pipes is not None:
        log = directory.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        sinks = [pair[1] for pair in pipes.to_caller] or [-1, -1]
        for pair in pipes.to_caller:
            os.close(pair[0])
        for name, pair, sink in zip(("stdout", "stderr"), pipes.from_container, sinks, strict=True):
            os.close(pair[1])
            monitor.streams.append(Stream(loop, name, pair[0], log, sink, monitor.finish_if_idle))
    return monitor


def _undo(directory: ContainerDir, child: Child, error: BaseException) -> None:
    """The user's command cannot be executed: nothing stays behind."""
    try:
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    except ChildProcessError:
        pass
    try:
        launch.remove_container(directory.store, directory.id)
    except ShimError as failure:
        error.add_note(str(failure))

"""`kill`: a signal for the container, or the beginning of its stop.

The stop signal of a container with a preStop hook does not go straight through: the monitor takes
the stop over and the verb returns at once, so that an engine's own timer and ours run over the
same budget (ARCHITECTURE.md "Processes"; KUBERNETES.md rule 89). SIGKILL is always immediate.
"""

from __future__ import annotations

import os

from shim.errors import KernelError, NotRunningError, ShimError
from shim.kernel.cgroup import Cgroup, find_mount
from shim.kernel.sig import signal
from shim.model import status
from shim.model.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.model.store import Store


def kill(store: Store, id: str, number: int, all: bool) -> None:
    """The verb. NotRunningError for a container that has stopped, as engines expect."""
    container = Container.load(store, id)
    now = container.status()
    if all and now == status.STOPPED:
        _kill_cgroup(container, number)
        return
    status.check("kill", now)
    if number == signal.SIGKILL:
        _note_kills(container)
    if number != signal.SIGKILL and now != status.CREATED and _begins_stop(container, number):
        from shim.engine import client

        client.request_stop(store, id, grace=None, reason="api", now=False)
        return
    if all or (number == signal.SIGKILL and not private_pid_namespace(container)):
        _kill_cgroup(container, number)
        return
    send(container, number)


def _begins_stop(container: Container, number: int) -> bool:
    raw = container.state.get("lifecycle")
    if raw is None or not raw.get("preStop"):
        return False
    from shim.bundle.lifecycle import Lifecycle

    return number == Lifecycle.from_json(raw).stop_signal


def _note_kills(container: Container) -> None:
    """What the OOM killer has done so far is not what ends the container now (SECURITY.md
    CG-12)."""
    from shim.engine import layout, usage

    try:
        with open_cgroup(container) as cgroup:
            kills = usage.main_kills(cgroup, layout.is_inner(container.state))
        if kills:
            container.dir.try_update(oomSeen=kills)
    except ShimError:
        return  # the signal matters more


def send(container: Container, number: int) -> None:
    """Signal init through a pidfd whose identity was checked: never a recycled pid (EX-16)."""
    pidfd = container.open_init()
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise NotRunningError() from None
    except OSError as error:
        raise KernelError(f"signal {number}", error.errno or 0) from error
    finally:
        os.close(pidfd)


def private_pid_namespace(container: Container) -> bool:
    """True when init's end ends every process of the container (pid_namespaces(7))."""
    return "pid" in container.state["namespaces"] and container.state["namespaces"]["pid"] is None


def open_cgroup(container: Container) -> Cgroup:
    """The container's cgroup, proved by inode to be the one that was made (CG-10)."""
    where = container.state.get("cgroup") or {}
    return Cgroup.open(find_mount(), where.get("path", ""), where.get("ino"))


def _kill_cgroup(container: Container, number: int) -> None:
    with open_cgroup(container) as cgroup:
        if number == signal.SIGKILL:
            cgroup.kill()
            return
        for pid in cgroup.pids():
            _signal_member(cgroup, pid, number)


def _signal_member(cgroup: Cgroup, pid: int, number: int) -> None:
    """pidfd first, membership after: the pid may have been reused outside in between."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in cgroup.pids():
            signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)

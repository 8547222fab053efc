"""`delete`: remove what create made; the id may be used again afterwards."""

from __future__ import annotations

import os
import select

from shim.engine.cgroup_setup import DEFAULT_PARENT
from shim.engine.kill import open_cgroup
from shim.errors import NotFoundError, NotRunningError, ShimError, StateError
from shim.kernel.cgroup import CgroupGoneError, find_mount
from shim.kernel.sig import signal
from shim.model import status
from shim.model.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.model.directory import ContainerDir
    from shim.model.store import Store

EXIT_SECONDS = 10.0
"""After SIGKILL: longer means a process in uninterruptible sleep (SECURITY.md SP-19)."""
MONITOR_SECONDS = 3.0
"""What a monitor has for writing down the end of its container."""


def delete(store: Store, id: str, force: bool) -> None:
    """The verb. `force` kills first and is content with a container that is not there, as in
    runc."""
    try:
        directory = store.container(id)
        with directory.lock():
            container = _checked(directory, force)
            init = _kill_init(container)
        # Without the lock: a monitor needs it to write down the end and to leave.
        _wait_init(container, init)
        _wait_monitor(container, force)
        with directory.lock():
            remove(_checked(directory, force))
    except NotFoundError:
        if not force:
            raise


def _checked(directory: ContainerDir, force: bool) -> Container:
    container = Container(directory)
    now = container.status()
    if not force and now not in (status.STOPPED, status.CREATED):
        phase = container.state.get("phase")
        doing = "stopping" if phase in ("terminating", "stopping") else now
        raise StateError(f"cannot delete container that is not stopped: {doing}")
    return container


def _kill_init(container: Container) -> int:
    """SIGKILL; a pidfd to wait on, -1 when init is gone already."""
    try:
        pidfd = container.open_init()
    except NotRunningError:
        return -1
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        os.close(pidfd)
        return -1
    return pidfd


def _wait_init(container: Container, pidfd: int) -> None:
    if pidfd >= 0 and not _ended(pidfd, EXIT_SECONDS):
        raise ShimError(f"process {container.pid} does not end after SIGKILL")


def _wait_monitor(container: Container, force: bool) -> None:
    """Its last writes would meet the removal. A monitor that is stuck does not keep us: it is in
    the way of nothing but itself, and `force` ends it (SECURITY.md SP-13)."""
    try:
        pidfd = container.open_monitor()
    except NotRunningError:
        return
    try:
        if not _ended(os.dup(pidfd), MONITOR_SECONDS) and force:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def _ended(pidfd: int, seconds: float) -> bool:
    """Whether the process has ended, waiting for it; closes the pidfd."""
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(pidfd)


def remove(container: Container) -> None:
    """Kill what is left in the cgroup, remove it, then the state directory. The caller holds the
    lock."""
    if container.state.get("cgroup"):
        try:
            with open_cgroup(container) as cgroup:
                cgroup.kill()
                cgroup.remove()
                drop_default_parent(cgroup.path)
        except CgroupGoneError:
            pass
    container.dir.remove()


def drop_default_parent(path: str) -> None:
    """The last container below shim's own default parent takes it along; others' parents stay."""
    parent = os.path.dirname(path)
    if parent == DEFAULT_PARENT:
        try:
            os.rmdir(find_mount().path + parent)
        except OSError:
            return  # another container is in it

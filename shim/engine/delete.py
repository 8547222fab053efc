"""`delete`: remove what create made; the id may be used again afterwards."""

from __future__ import annotations

import os
import select
import signal

from shim.engine.kill import open_cgroup
from shim.errors import NotFoundError, NotRunningError, ShimError, StateError
from shim.kernel.cgroup import CgroupGoneError
from shim.model import status
from shim.model.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.model.directory import ContainerDir
    from shim.model.store import Store

EXIT_SECONDS = 10.0
"""After SIGKILL: longer means a process in uninterruptible sleep (SECURITY.md SP-19)."""


def delete(store: Store, id: str, force: bool) -> None:
    """The verb. `force` kills first and is content with a container that is not there, as in
    runc."""
    try:
        directory = store.container(id)
        with directory.lock():
            _delete(directory, force)
    except NotFoundError:
        if not force:
            raise


def _delete(directory: ContainerDir, force: bool) -> None:
    container = Container(directory)
    now = container.status()
    phase = container.state.get("phase")
    if not force and now not in (status.STOPPED, status.CREATED):
        doing = "stopping" if phase in ("terminating", "stopping") else now
        raise StateError(f"cannot delete container that is not stopped: {doing}")
    if now != status.STOPPED or force:
        end_init(container)
    remove(container)


def end_init(container: Container) -> None:
    """SIGKILL and wait until init has ended; a container whose init is gone already is fine."""
    try:
        pidfd = container.open_init()
    except NotRunningError:
        return
    try:
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(EXIT_SECONDS * 1000):
            raise ShimError(f"process {container.pid} does not end after SIGKILL")
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
        except CgroupGoneError:
            pass
    container.dir.remove()

"""`start`: let the created process go, and have PostStart delivered."""

from __future__ import annotations

import os
from time import time_ns

from shim.engine.slots import START_SOCKET
from shim.errors import KernelError, NotRunningError, ShimError
from shim.kernel import unix
from shim.model import plan, status
from shim.model.container import Container
from shim.model.event import NORMAL, event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.model.directory import ContainerDir
    from shim.model.store import Store


def start(store: Store, id: str) -> None:
    """The verb. Returns when the user's process runs; PostStart goes on beside it (CONTRACT.md)."""
    directory = store.container(id)
    with directory.lock():
        container = Container(directory)
        status.check("start", container.status())
        release(directory)
    lifecycle = container.state.get("lifecycle") or {}
    if lifecycle.get("postStart"):
        from shim.engine import launch

        connection = launch.resume(store, id)
        if connection is not None:
            connection.close()


def release(directory: ContainerDir, **changes: Any) -> None:
    """Tell init to execute, record that it did (with `changes` to the state), and announce it. The
    caller holds the lock.

    Raises CommandNotFoundError or CannotInvokeError when execve fails in init.
    """
    go(directory)
    state = directory.read_state()
    hooks = state.get("lifecycle") or {}
    phase = "starting" if hooks.get("postStart") else "running"
    directory.write_state({**state, "status": "running", "phase": phase, **changes})
    directory.append(
        event(NORMAL, "Started", f"Started container {directory.id}", directory.id, time_ns())
    )
    try:
        os.unlink(START_SOCKET, dir_fd=directory.fd)
    except FileNotFoundError:
        pass


def go(directory: ContainerDir) -> None:
    """The start socket's protocol: GO, then end of file once execve has succeeded
    (csrc/final.c)."""
    with unix.Socket() as sock:
        try:
            sock.connect(f"/proc/self/fd/{directory.fd}/{START_SOCKET}")
            sock.send(plan.MSG.pack(plan.MSG_GO, 0, 0, 0, 0, 0, 0, 0))
            answer = sock.recv(plan.MSG.size)
        except (FileNotFoundError, ConnectionError):
            raise NotRunningError() from None
        except OSError as error:
            raise KernelError("connect to init", error.errno or 0) from error
    if not answer:
        return
    if len(answer) != plan.MSG.size:
        raise ShimError("init sent a malformed answer")
    _, _, err, detail, *_ = plan.MSG.unpack(answer)
    raise plan.command_failure(command_of(directory), err, detail)


def command_of(directory: ContainerDir) -> str:
    """args[0] of the container's process, for messages."""
    from shim.bundle.spec import parse

    process = parse(directory.read_bytes("config.json")).process
    return process.args[0] if process is not None else ""

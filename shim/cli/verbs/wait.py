"""`shim wait`."""

from __future__ import annotations

import os
import select
from time import monotonic

from shim.cli.report import out
from shim.errors import CallerTimeoutError
from shim.model.container import Container
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args

UNKNOWN = 125
"""The status when nobody could learn the container's own; `null` is printed for it."""


def run(args: Args) -> int:
    """Print one exit status a line, in the order asked for; exit with the last one."""
    from shim.engine.client import wait

    store = Store(args.root)
    containers = [store.container(id) for id in args.ids]
    fds = [wait(store, id) for id in args.ids]
    try:
        _wait_all(fds, args.timeout)
    finally:
        for fd in fds:
            os.close(fd)
    code: int | None = None
    for directory in containers:
        code = Container(directory).exit_status()
        out(f"{'null' if code is None else code}\n")
    return UNKNOWN if code is None else code


def _wait_all(fds: list[int], timeout: float | None) -> None:
    """Until every descriptor was readable; CallerTimeoutError after `timeout` seconds."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    pending = set(fds)
    end = None if timeout is None else monotonic() + timeout
    while pending:
        left = None if end is None else max(0.0, end - monotonic())
        ready = poll.poll(None if left is None else left * 1000)
        if not ready and left == 0.0:
            raise CallerTimeoutError(f"still running after {timeout:g} seconds")
        for fd, _ in ready:
            poll.unregister(fd)
            pending.discard(fd)

"""`shim logs`."""

from __future__ import annotations

import os

from shim.errors import ShimError
from shim.model.container import Container
from shim.model.store import Store
from shim.view.logs import Lines, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args

LOG = "log"


def run(args: Args) -> int:
    """Write what the container wrote, stdout to stdout and stderr to stderr; -f goes on until it
    stops."""
    store = Store(args.root)
    container = Container.load(store, args.id)
    try:
        fd = container.dir.open(LOG)
    except FileNotFoundError:
        raise ShimError("no log is kept: the container has its caller's stdio") from None
    try:
        lines = Lines()
        if args.follow:
            _follow(store, container, fd, lines)
        else:
            _copy(fd, lines)
    finally:
        os.close(fd)
    return 0


def _copy(fd: int, lines: Lines) -> None:
    """Write what has been added to the log since the last call."""
    while data := os.read(fd, 1 << 16):
        for line in lines.feed(data):
            parsed = parse(line)
            if parsed is not None:
                _write(*parsed)


def _write(stream: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view) :]


def _follow(store: Store, container: Container, fd: int, lines: Lines) -> None:
    from shim.cli.follow import changes

    for _ in changes(store, container):
        _copy(fd, lines)

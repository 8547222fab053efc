"""`shim logs`."""

from __future__ import annotations

import os

from shim.errors import NotFoundError, NotRunningError, ShimError
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
    container = Container.load(Store(args.root), args.id)
    try:
        fd = container.dir.open(LOG)
    except FileNotFoundError:
        raise ShimError("no log is kept: the container has its caller's stdio") from None
    try:
        lines = Lines()
        if args.follow:
            _follow(container, fd, lines)
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


def _follow(container: Container, fd: int, lines: Lines) -> None:
    from shim.cli.follow import Watch

    watch = Watch()
    watch.add(container.id, container.dir.path)
    while True:
        try:
            pidfd = container.open_init()
        except NotRunningError:
            break
        try:
            watch.also(pidfd)
            while True:
                _copy(fd, lines)
                if pidfd in watch.wait():
                    break
            watch.forget(pidfd)
        finally:
            os.close(pidfd)
        try:
            container.reload()
        except NotFoundError:  # deleted meanwhile; its log is still open
            break
    _copy(fd, lines)

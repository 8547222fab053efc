"""`shim hooks`."""

from __future__ import annotations

import errno
import sys

from shim.cli.adopt import load
from shim.cli.report import out
from shim.errors import KernelError
from shim.model.container import Container
from shim.model.event import deliveries
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.cli.options import Args
    from shim.model.directory import ContainerDir

OUTPUT_MAX = 16 << 20


def run(args: Args) -> int:
    """Print every hook delivery. With -f each one is printed when it has ended, until the container
    has
    stopped; then JSON is one object a line, because an array would never close."""
    store = Store(args.root)
    container = load(store, args.id)
    if args.follow:
        return _follow(args, store, container)
    found = read(container.dir)
    if args.format == "json":
        from shim.view.json import document

        out(document(found))
    else:
        from shim.view.hooks import as_table

        out(as_table(found))
    return 0


def read(directory: ContainerDir) -> list[dict[str, Any]]:
    """The deliveries of a container with their output."""
    return deliveries(directory.journal(), lambda n: _output(directory, n))


def _output(directory: ContainerDir, n: int) -> bytes | None:
    try:
        return directory.read_bytes(f"hooks/{n:d}.out", OUTPUT_MAX)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def _follow(args: Args, store: Store, container: Container) -> int:
    from shim.cli.follow import changes
    from shim.view.hooks import as_table
    from shim.view.json import line

    printed: set[int] = set()
    for stopped in changes(store, container):
        for number, delivery in enumerate(read(container.dir)):
            if number in printed or (delivery["outcome"] is None and not stopped):
                continue
            text = line(delivery) if args.format == "json" else as_table([delivery])
            out(text if args.format == "json" or not printed else text.split("\n", 1)[1])
            printed.add(number)
        if sys.stdout is not None:
            sys.stdout.flush()
    return 0

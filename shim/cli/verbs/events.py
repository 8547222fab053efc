"""`shim events`."""

from __future__ import annotations

import os
import sys

from shim.cli.report import out
from shim.errors import NotFoundError, ShimError, UsageError
from shim.model.event import events
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.cli.options import Args


def run(args: Args) -> int:
    """Print the events of a container, or of all merged by time, oldest first.

    -f goes on until the container is deleted. --stats is runc's verb of the same name.
    """
    if args.stats:
        from shim.cli import oci_stats

        return oci_stats.run(args)
    if args.interval is not None:
        raise UsageError("flag --interval is for --stats")
    reader = _Reader(args)
    if not args.follow:
        _print(args, reader.new())
        return reader.status
    from shim.cli.follow import Watch

    watch = Watch()
    store, last = Store(args.root), False
    if args.format == "table":
        from shim.view.events import stream_header

        out(stream_header())
    while not last:
        last = _rewatch(watch, store, args.id)
        _stream(args, reader.new())
        if not last:
            watch.wait()
    return reader.status


def _rewatch(watch: Any, store: Store, id: str | None) -> bool:
    """Watch every container there is now; True when the one that was asked for has gone."""
    # the root tells of containers made and removed: a directory that somebody holds open does not
    # report its own (inotify(7), IN_DELETE_SELF)
    watch.add("", store.root)
    ids = store.ids() if id is None else [id]
    there = {""}
    for name in ids:
        path = os.path.join(store.root, name)
        try:
            # by inode: a successor of the same name is another directory
            key = f"{name}:{os.stat(path).st_ino}"
            watch.add(key, path)
        except (OSError, ShimError):  # deleted since it was listed
            continue
        there.add(key)
    watch.keep(there)
    return id is not None and id not in store.ids()


class _Reader:
    """Reads journals and remembers what was printed of each."""

    def __init__(self, args: Args) -> None:
        self.status = 0
        self._args = args
        self._store = Store(args.root)
        self._seen: dict[tuple[str, int], int] = {}
        if args.id is not None:
            self._store.container(args.id).close()

    def new(self) -> list[dict[str, Any]]:
        """The events since the last call, oldest first."""
        found: list[dict[str, Any]] = []
        for id in self._store.ids() if self._args.id is None else [self._args.id]:
            try:
                found += self._of(id)
            except NotFoundError:  # deleted meanwhile
                continue
            except ShimError as error:
                self.status = self._args.report.error("events", id, error)
        return sorted(found, key=lambda event: str(event["time"]))

    def _of(self, id: str) -> list[dict[str, Any]]:
        directory = self._store.container(id)
        try:
            # the inode tells a container from its successor of the same name
            key = (id, os.fstat(directory.fd).st_ino)
            journal = directory.journal()
        finally:
            directory.close()
        new = journal[self._seen.get(key, 0) :]
        self._seen[key] = len(journal)
        return events(new)


def _print(args: Args, found: list[dict[str, Any]]) -> None:
    if args.format == "json":
        _stream(args, found)
        return
    from shim.view.events import as_table

    out(as_table(found))


def _stream(args: Args, found: list[dict[str, Any]]) -> None:
    from shim.view.events import as_line
    from shim.view.json import line

    for event in found:
        out(line(event) if args.format == "json" else as_line(event))
    if sys.stdout is not None:
        sys.stdout.flush()

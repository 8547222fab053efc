"""Waiting for news in state directories, by inotify(7): no polling, nothing missed between two
reads.

Watch first, then read, then wait: what is written after the read wakes the wait.
"""

from __future__ import annotations

import os
import select

from shim.errors import NotFoundError
from shim.kernel.api import KERNEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.model.container import Container
    from shim.model.store import Store

_MODIFY, _MOVED_TO, _CREATE, _DELETE, _DELETE_SELF = 0x2, 0x80, 0x100, 0x200, 0x400
_MASK = _MODIFY | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF


class Watch:
    """A set of watched directories by name, and other descriptors to wake up for."""

    __slots__ = ("_fds", "_poll")

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}
        self._poll = select.poll()

    def add(self, name: str, path: str) -> None:
        """Watch a directory; nothing when the name is watched already."""
        if name not in self._fds:
            self._fds[name] = KERNEL.inotify(path, _MASK)
            self._poll.register(self._fds[name], select.POLLIN)

    def keep(self, names: set[str]) -> None:
        """Stop watching all but these."""
        for name in set(self._fds) - names:
            fd = self._fds.pop(name)
            self._poll.unregister(fd)
            os.close(fd)

    def also(self, fd: int) -> None:
        """Wake up when `fd` becomes readable too. It stays the caller's."""
        self._poll.register(fd, select.POLLIN)

    def forget(self, fd: int) -> None:
        """Undo `also`."""
        self._poll.unregister(fd)

    def wait(self) -> list[int]:
        """Until something happens; the descriptors that are ready. inotify's own are emptied: what
        happened
        is found by reading the files."""
        ready = [fd for fd, _ in self._poll.poll()]
        for fd in self._fds.values():
            if fd in ready:
                _drain(fd)
        return ready


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 1 << 16):
            continue
    except BlockingIOError:
        return


def changes(store: Store, container: Container) -> Iterator[bool]:
    """False at first and after every change in the container's directory; True in the end, once it
    has stopped and that is written down, or was deleted."""
    from shim.engine.client import wait

    watch = Watch()
    watch.add(container.id, container.dir.path)
    try:
        while not _over(container):
            end = wait(store, container.id)
            watch.also(end)
            try:
                ready: list[int] = []
                while end not in ready and not _over(container):
                    yield False
                    ready = watch.wait()
                    container.reload()
            finally:
                watch.forget(end)
                os.close(end)
    except NotFoundError:  # deleted meanwhile
        pass
    yield True


def _over(container: Container) -> bool:
    return not container.is_alive() and not container.ending()

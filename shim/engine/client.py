"""The verbs' side of the monitor's control socket; a monitor is started when there is none."""

from __future__ import annotations

import os

from shim import jsontext
from shim.engine.control import MESSAGE_MAX, SOCKET
from shim.errors import NotFoundError, NotRunningError, ShimError
from shim.kernel import unix
from shim.model import status
from shim.model.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.model.directory import ContainerDir
    from shim.model.store import Store

ANSWER_SECONDS = 10.0
"""A monitor that is stopped or swapped out does not make a verb hang (SECURITY.md SP-13)."""


class StopWatch:
    """News of a stop. `deadline` is in CLOCK_BOOTTIME seconds, None when nothing is to be
    killed."""

    __slots__ = ("_sock", "deadline", "exit", "finished", "phase")

    def __init__(self, sock: unix.Socket | None, first: dict[str, Any] | None) -> None:
        self._sock = sock
        self.deadline: float | None = None
        self.phase = "stopped"
        self.exit: dict[str, Any] | None = None
        self.finished = sock is None
        if first is not None:
            self._take(first)

    def _take(self, message: dict[str, Any]) -> None:
        self.phase, self.deadline = message["phase"], message["deadline"]
        self.exit, self.finished = message["exit"], message["finished"]

    def fileno(self) -> int:
        """Becomes readable with news."""
        if self._sock is None:
            raise ShimError("nothing to wait for")
        return self._sock.fileno()

    def read(self) -> list[dict[str, Any]]:
        """The news that have arrived; [] when the monitor has hung up."""
        if self._sock is None:
            return []
        found: list[dict[str, Any]] = []
        while True:
            try:
                data = self._sock.recv(MESSAGE_MAX, unix.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except OSError:
                data = b""
            if not data:
                return found
            message = jsontext.loads(data)
            self._take(message)
            found.append(message)

    def close(self) -> None:
        """Stop watching; the stop goes on."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def stop(
    store: Store,
    id: str,
    *,
    grace: float | None,
    reason: str | None,
    now: bool,
    trigger: str = "api",
) -> StopWatch:
    """Ask for a stop. A container that has stopped already is fine: the watch is finished."""
    container = Container.load(store, id)
    request = {"op": "stop", "grace": grace, "trigger": trigger, "reason": reason, "now": now}
    if container.status() == status.STOPPED:
        if not container.ending():
            return StopWatch(None, None)
        request = {"op": "watch"}
    try:
        sock, answer = ask(store, container.dir, request)
    except (NotRunningError, NotFoundError):
        return StopWatch(None, None)  # it ended in between
    return StopWatch(sock, answer)


def request_stop(
    store: Store, id: str, *, grace: float | None, reason: str | None, now: bool
) -> None:
    """Ask and leave: `kill ID <stop signal>` returns at once (KUBERNETES.md rule 89)."""
    stop(store, id, grace=grace, reason=None, now=now, trigger=reason or "api").close()


def ask(
    store: Store, directory: ContainerDir, request: dict[str, Any]
) -> tuple[unix.Socket, dict[str, Any]]:
    """(connection, first answer). Twice when the monitor ended just as we connected."""
    for attempt in (1, 2):
        sock = connect(directory)
        if sock is None:
            from shim.engine import launch

            sock = launch.resume(store, directory.id) or connect(directory)
        if sock is None:
            continue
        try:
            sock.settimeout(ANSWER_SECONDS)
            sock.send(jsontext.dumps(request).encode())
            data = sock.recv(MESSAGE_MAX)
        except TimeoutError:
            sock.close()
            raise ShimError("monitor not responding (delete --force needs no monitor)") from None
        except OSError:
            data = b""
        if not data:
            sock.close()
            if attempt == 2:
                break
            continue
        sock.settimeout(None)  # with a timeout, Python waits in spite of MSG_DONTWAIT
        answer = jsontext.loads(data)
        if "error" in answer:
            sock.close()
            raise ShimError(answer["error"])
        return sock, answer
    if Container(directory).status() == status.STOPPED:
        raise NotRunningError()
    raise ShimError("the monitor ended before it answered")


def connect(directory: ContainerDir) -> unix.Socket | None:
    """A connection to a live monitor, None when there is none."""
    sock = unix.Socket()
    try:
        sock.connect(f"/proc/self/fd/{directory.fd}/{SOCKET}")
    except (FileNotFoundError, ConnectionError):
        sock.close()
        return None
    except OSError as error:
        sock.close()
        raise ShimError(f"connect to the monitor: {error.strerror}") from None
    return sock


def adopt(store: Store, container: Container) -> None:
    """Have a monitor complete what one that was killed had begun; the next verb is what notices
    (SECURITY.md SP-11)."""
    if not container.orphaned():
        return
    from shim.engine import launch

    try:
        connection = launch.resume(store, container.id)
    except ShimError:
        return  # it ended in between
    if connection is not None:
        connection.close()


def wait(store: Store, id: str) -> int:
    """A descriptor that becomes readable when the container has stopped and that is written
    down."""
    container = Container.load(store, id)
    adopt(store, container)
    stopped = container.status() == status.STOPPED
    if not stopped or container.ending():
        sock = connect(container.dir)
        if sock is not None:
            try:
                sock.send(b'{"op":"wait"}')
            except OSError:
                pass  # it ended just now, which makes the socket readable
            return sock.detach()
    if not stopped:
        try:
            return container.open_init()
        except NotRunningError:
            pass
    return os.eventfd(1, os.EFD_CLOEXEC)

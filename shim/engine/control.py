"""The monitor's control socket: ROOT/ID/monitor.sock, SOCK_SEQPACKET, one JSON object a message.

Requests: {"op": "stop", "grace": S|null, "trigger": T, "reason": T|null, "now": bool}, {"op":
"signal", "number": N}, {"op": "watch"}, {"op": "wait"}. Every connection then hears news:
{"phase", "deadline", "event"|null, "finished", "exit"|null}, one that waits only the last. Below a
0700 directory, peers checked, sizes bounded, never an abstract socket (SECURITY.md CV-28, SP-23).
"""

from __future__ import annotations

import os
import struct

from shim import jsontext
from shim.engine import loop as ev
from shim.kernel import unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shim.engine.loop import Loop

SOCKET = "monitor.sock"
MESSAGE_MAX = 64 << 10
PEERS_MAX = 256


class Control:
    """The listening socket and its connections."""

    __slots__ = ("_alone", "_handle", "_listener", "_loop", "_peers", "_quiet")

    def __init__(
        self,
        loop: Loop,
        handle: Callable[[dict[str, Any]], dict[str, Any]],
        alone: Callable[[], None],
    ) -> None:
        """`handle` answers a request; `alone` is called when the last connection is gone."""
        self._loop, self._handle, self._alone = loop, handle, alone
        self._listener: unix.Socket | None = None
        self._peers: dict[int, unix.Socket] = {}
        self._quiet: set[int] = set()

    def listen(self, dir_fd: int) -> None:
        """Replace a dead monitor's socket by our own; the caller holds the monitor lock."""
        if self._listener is not None:
            self._loop.add(self._listener.fileno(), ev.IN, self._accept)
            return
        try:
            os.unlink(SOCKET, dir_fd=dir_fd)
        except FileNotFoundError:
            pass
        listener = unix.Socket(unix.SOCK_SEQPACKET | unix.SOCK_NONBLOCK)
        listener.bind(f"/proc/self/fd/{dir_fd}/{SOCKET}")
        listener.listen(128)
        self._listener = listener
        self._loop.add(listener.fileno(), ev.IN, self._accept)

    def inherit(self, fd: int) -> None:
        """Take over a listening socket that this process had before it parked; before `listen`."""
        self._listener = unix.Socket(fd=fd)

    def fileno(self) -> int:
        """The listening socket, -1 when there is none."""
        return -1 if self._listener is None else self._listener.fileno()

    def peers(self) -> list[tuple[int, bool]]:
        """(descriptor, whether it only waits for the end) of every connection."""
        return [(fd, fd in self._quiet) for fd in self._peers]

    def adopt(self, sock: unix.Socket, quiet: bool = True) -> None:
        """Serve a connection. Until it has asked for something else it hears the last word alone:
        one that is about to `wait` must not take news for the end, nor a `stop` for its answer."""
        sock.setblocking(False)
        if quiet:
            self._quiet.add(sock.fileno())
        self._peers[sock.fileno()] = sock
        self._loop.add(sock.fileno(), ev.IN, lambda _: self._receive(sock))

    def _accept(self, _events: int) -> None:
        assert self._listener is not None
        try:
            sock = self._listener.accept()
        except OSError:
            return
        _, uid, _ = struct.unpack("iII", sock.getsockopt(unix.SOL_SOCKET, unix.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()) or len(self._peers) >= PEERS_MAX:
            sock.close()
            return
        self.adopt(sock)

    def _receive(self, sock: unix.Socket) -> None:
        try:
            data = sock.recv(MESSAGE_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(sock)
            return
        try:
            request = jsontext.loads(data)
            if not isinstance(request, dict):
                raise ValueError("not an object")
            answer = self._handle(request)
            if request.get("op") == "wait":
                return
            self._quiet.discard(sock.fileno())
        except (ValueError, TypeError, KeyError, RecursionError, OSError) as error:
            answer = {"error": f"bad request: {error}"}
        self._send(sock, answer)

    def _send(self, sock: unix.Socket, message: dict[str, Any]) -> None:
        try:
            sock.send(jsontext.dumps(message).encode())
        except BlockingIOError:
            self._hang_up(sock)  # a reader that does not read: it can ask again
        except OSError:
            self._hang_up(sock)

    def tell(self, message: dict[str, Any], final: bool = False) -> None:
        """News for everybody who is connected; whoever only waits hears the last word alone."""
        for fd, sock in list(self._peers.items()):
            if final or fd not in self._quiet:
                self._send(sock, message)

    def _hang_up(self, sock: unix.Socket) -> None:
        self._quiet.discard(sock.fileno())
        if self._peers.pop(sock.fileno(), None) is not None:
            self._loop.drop(sock.fileno())
            sock.close()
            if not self._peers:
                self._alone()

    def close(self, dir_fd: int) -> None:
        """Hang up on everybody and remove the socket."""
        for sock in list(self._peers.values()):
            self._hang_up(sock)
        if self._listener is not None:
            self._loop.drop(self._listener.fileno())
            self._listener.close()
            self._listener = None
            try:
                os.unlink(SOCKET, dir_fd=dir_fd)
            except OSError:
                return

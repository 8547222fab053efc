"""AF_UNIX sockets on the C module alone: `import socket` brings enum and selectors, which cost a
verb more time than all that it does (MODELS.md, "The price of an import")."""

from __future__ import annotations

import _socket
from _socket import (
    AF_UNIX,
    MSG_DONTWAIT,
    SCM_RIGHTS,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
)

__all__ = [
    "MSG_DONTWAIT", "SCM_RIGHTS", "SOCK_NONBLOCK", "SOCK_SEQPACKET", "SOCK_STREAM", "SOL_SOCKET",
    "SO_PEERCRED", "Socket", "pair",
]  # fmt: skip


class Socket(_socket.socket):
    """A Unix socket, CLOEXEC; `fd` wraps a descriptor that exists. A context manager that
    closes."""

    __slots__ = ()

    def __init__(self, kind: int = SOCK_SEQPACKET, fd: int | None = None) -> None:
        super().__init__(AF_UNIX, kind | SOCK_CLOEXEC if fd is None else kind, 0, fd)

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def accept(self) -> Socket:
        """accept4(2)."""
        fd, _ = super().__getattribute__("_accept")()  # which typeshed leaves out
        return Socket(fd=fd)


def pair(kind: int = SOCK_SEQPACKET) -> tuple[Socket, Socket]:
    """socketpair(2)."""
    first, second = _socket.socketpair(AF_UNIX, kind)
    return Socket(kind, first.detach()), Socket(kind, second.detach())

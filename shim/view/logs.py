"""The container log: CRI lines `TIME STREAM F|P TEXT` (Kubernetes, CRI logging; conmon's
ctr_logging.c)."""

from __future__ import annotations

STDOUT, STDERR = 1, 2
_STREAMS = {b"stdout": STDOUT, b"stderr": STDERR}


def parse(line: bytes) -> tuple[int, bytes] | None:
    """(1 for stdout or 2 for stderr, the bytes the container wrote) of a line without its newline.

    F ends a line of the container's, P is a part of a longer one. None for a line that is not CRI.
    """
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in _STREAMS:
        return None
    # tags may follow F or P, separated by colons
    tag = parts[2].partition(b":")[0]
    if tag not in (b"F", b"P"):
        return None
    return _STREAMS[parts[1]], parts[3] + (b"\n" if tag == b"F" else b"")


class Lines:
    """Cuts a byte stream that comes in pieces into complete lines."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without newlines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

"""A stream of the container's whose attached caller reads late (SECURITY.md HK-19)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from shim.engine.logs import Stream
from shim.engine.loop import Loop

F_SETPIPE_SZ = 1031
SIZE = 20_000


def test_nothing_is_lost_when_the_container_ends_before_its_caller_reads(tmp_path: Path) -> None:
    loop = Loop()
    source, container = os.pipe()
    caller, sink = os.pipe()
    fcntl.fcntl(sink, F_SETPIPE_SZ, 4096)
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stream: Stream

    def idle() -> None:
        loop.running = stream.busy

    stream = Stream(loop, "stdout", source, log, sink, idle)
    os.write(container, b"a" * SIZE)
    stream.drain()
    assert stream.busy, "the caller's pipe holds less than that"
    os.write(container, b"b" * SIZE)
    os.close(container)
    stream.drain()  # what the monitor does when the container ends

    got = b""
    os.set_blocking(caller, False)

    def read(_events: int) -> None:
        nonlocal got
        got += os.read(caller, 65536)

    loop.add(caller, 1, read)
    loop.run()
    while data := os.read(caller, 65536):
        got += data
    assert got == b"a" * SIZE + b"b" * SIZE
    assert (tmp_path / "log").read_bytes().count(b"b") == SIZE
    loop.discard(caller)
    os.close(log)
    loop.close()

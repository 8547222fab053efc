"""Run shim-executor for real, without shim._core: what it is given and what it reports."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shim.model import plan
from shim.model.plan import Op

REPO = Path(__file__).resolve().parents[2]
FREESTANDING = str(REPO / "shim/shim-executor")
SANITIZED = os.environ.get(
    "SHIM_SANITIZED_EXECUTOR", str(REPO / "build/sanitize/csrc/shim-executor")
)
BASE = 500  # descriptors from here on are the executor's; pytest has nothing up there
TIMEOUT = 30.0
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="changes ids and limits: needs root")
BOTH = pytest.mark.parametrize(
    "executor", [FREESTANDING, SANITIZED], ids=["freestanding", "sanitized"]
)
# the leak check traces the process, which makes itself untraceable, and a sanitizer's own tables
# would not fit into small limits
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=0:exitcode=99:log_path=stderr",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
GO = plan.MSG.pack(plan.MSG_GO, 0, 0, 0, 0, 0, 0, 0)


@dataclass
class Message:
    kind: int
    step: int
    err: int
    detail: int
    v: tuple[int, ...]


@dataclass
class Result:
    """What one run reported until the end of the socket, and how its first process ended."""

    messages: list[Message] = field(default_factory=list)
    status: int = -1
    output: str = ""

    @property
    def error(self) -> tuple[int, int, int]:
        """(step, errno, detail) of the only message, which must be an error."""
        (message,) = [m for m in self.messages if m.kind == plan.MSG_ERROR]
        assert self.status == 125, self
        return message.step, message.err, message.detail


def message(data: bytes) -> Message:
    assert len(data) == plan.MSG.size
    kind, step, err, detail, *values = plan.MSG.unpack(data)
    return Message(kind, step, err, detail, tuple(values))


def messages(sock: socket.socket, answer: Callable[[Message], bytes | None]) -> Iterator[Message]:
    while data := sock.recv(4096):
        yield (got := message(data))
        if (reply := answer(got)) is not None:
            sock.send(reply)


def go(got: Message) -> bytes | None:
    return GO if got.kind == plan.MSG_SYNC else None


def memfd(data: bytes) -> int:
    fd = os.memfd_create("plan")
    os.write(fd, data)
    return fd


@contextlib.contextmanager
def placed(fds: Sequence[int]) -> Iterator[range]:
    """Inheritable copies of `fds` at BASE and up, where the executor will look for them."""
    where = range(BASE, BASE + len(fds))
    try:
        for fd, target in zip(fds, where, strict=True):
            os.dup2(fd, target, inheritable=True)
        yield where
    finally:
        for target in where:
            with contextlib.suppress(OSError):
                os.close(target)


class Started:
    """A running executor, the test's end of its socket, and its output."""

    def __init__(
        self,
        executor: str,
        blob: bytes | int,
        fds: Sequence[int] = (),
        prefix: Sequence[str] = (),
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        assert Path(executor).is_file(), f"{executor} is missing: ./scripts/test csrc builds it"
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(TIMEOUT)
        plan_fd = memfd(blob) if isinstance(blob, bytes) else blob
        with placed([theirs.fileno(), plan_fd, *fds]) as where:
            self.process = subprocess.Popen(
                [*prefix, executor, "plan", str(BASE), str(len(fds))],
                pass_fds=where, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, env=os.environ | SANITIZER_ENV,
                restore_signals=False,  # SIGPIPE stays ignored, as it is for the real caller
            )  # fmt: skip
        theirs.close()
        if isinstance(blob, bytes):
            os.close(plan_fd)

    def finish(self, answer: Callable[[Message], bytes | None] = go) -> Result:
        """Answer until end of file, then reap."""
        result = Result()
        try:
            result.messages = list(messages(self.sock, answer))
            result.output = self.process.communicate(timeout=TIMEOUT)[0]
            result.status = self.process.returncode
        finally:
            self.end()
        for word in ("Sanitizer", "runtime error"):
            assert word not in result.output, result.output
        return result

    def end(self) -> None:
        """Leave nothing behind, whatever the test found."""
        self.sock.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def command(*argv: str, env: Sequence[str] = ()) -> list[Op]:
    """The end of every plan."""
    close = Op("CLOSE_FDS", "", num=[0])
    return [close, Op("EXEC", "", list=argv, list2=list(env))]


def run(
    executor: str,
    ops: Sequence[Op],
    *,
    fds: dict[str, int] | None = None,
    answer: Callable[[Message], bytes | None] = go,
    prefix: Sequence[str] = (),
) -> Result:
    """One plan from start to end of file."""
    given = [(fds or {})[name] for name in plan.slots(ops)]
    return Started(executor, plan.pack(ops), given, prefix).finish(answer)


def status_fields(text: str) -> dict[str, str]:
    """/proc/PID/status as a mapping."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}

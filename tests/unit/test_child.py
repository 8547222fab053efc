"""engine.child: what the executor's messages are taken for, in whatever order they come."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from shim.engine.child import KILLED_AT_BIRTH, Child, Packed
from shim.errors import ShimError
from shim.kernel import unix
from shim.model import plan


def process() -> tuple[int, int]:
    """A child that waits to be killed: (pid, pidfd)."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    return pid, os.pidfd_open(pid)


def message(kind: int, *values: int) -> bytes:
    return plan.MSG.pack(kind, 0, 0, 0, *values, *[0] * (4 - len(values)))


class Run:
    """A Child whose executor is this test; the joiner has ended, `born` is what it left behind."""

    def __init__(self) -> None:
        ours, self.executor = unix.pair()
        joiner, pidfd = process()
        os.kill(joiner, signal.SIGKILL)
        self.born, self.born_fd = process()
        self.child = Child(Packed(b"", (), list), ours, joiner, pidfd)

    def say(self, *messages: bytes) -> None:
        for data in messages:
            self.executor.send(data)

    def close(self) -> None:
        self.executor.close()
        self.child.kill()
        if self.child.pid != self.born:
            os.kill(self.born, signal.SIGKILL)
            os.waitpid(self.born, 0)
        os.close(self.born_fd)


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    yield made
    made.close()


@pytest.mark.parametrize("early", [0, 1, 2])
def test_ready_may_overtake_the_pid(run: Run, early: int) -> None:
    """The joiner tells the pid, its child the rest: on a busy machine the child may be first."""
    messages = [message(plan.MSG_ROOT, 7, 8, 9), message(plan.MSG_READY)]
    messages.insert(early, message(plan.MSG_PID, run.born))
    run.say(*messages)
    run.child.drive()
    assert run.child.pid == run.born
    assert run.child.root == (7, 8, 9)


def test_a_pid_that_is_no_child_of_ours_is_not_believed(run: Run) -> None:
    """EX-26: the socket is also in the hands of a process that the container may trace."""
    run.say(message(plan.MSG_PID, os.getppid()))
    with pytest.raises(ShimError, match="not ours"):
        run.child.drive()


def test_a_second_pid_is_not_believed(run: Run) -> None:
    other, fd = process()
    run.say(message(plan.MSG_PID, run.born), message(plan.MSG_PID, other))
    with pytest.raises(ShimError, match="second process"):
        run.child.drive()
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
    os.close(fd)


@pytest.mark.parametrize("data", [b"x", b"x" * (plan.MSG.size - 1)])
def test_half_a_message_is_an_error(run: Run, data: bytes) -> None:
    run.say(data)
    with pytest.raises(ShimError, match="bytes for a message"):
        run.child.drive()


@pytest.mark.parametrize("last", [(), (message(plan.MSG_READY),)])
def test_the_end_before_any_pid(run: Run, last: tuple[bytes, ...]) -> None:
    run.say(*last)
    run.executor.shutdown(socket.SHUT_RDWR)  # the forked processes have it open, too
    with pytest.raises(ShimError, match=KILLED_AT_BIRTH):
        run.child.drive()

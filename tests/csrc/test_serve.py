"""The spawner: one message with descriptors in, one process of the caller's out."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from csrc.exec_support import (
    BASE,
    BOTH,
    FREESTANDING,
    NEEDS_ROOT,
    SANITIZER_ENV,
    TIMEOUT,
    Message,
    command,
    memfd,
    message,
)

from shim.model import plan
from shim.model.plan import Op

pytestmark = NEEDS_ROOT
COUNT = itertools.count()
REQUEST = 0  # what a request is is clear from the direction: serve.c does not look at the type


class Spawner:
    """A process in serve mode, and the monitor's part of the conversation."""

    def __init__(self, executor: str, prefix: Sequence[str] = ()) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(TIMEOUT)
        os.dup2(theirs.fileno(), BASE)
        theirs.close()
        self.process = subprocess.Popen(
            [*prefix, executor, "serve", str(BASE)],
            pass_fds=[BASE], stdin=subprocess.DEVNULL, env=os.environ | SANITIZER_ENV,
        )  # fmt: skip
        os.close(BASE)

    def ask(self, fds: Sequence[int], cookie: int = 0, migrate: int = 0) -> Message:
        request = plan.MSG.pack(REQUEST, 0, 0, 0, cookie, migrate, 0, 0)
        socket.send_fds(self.control, [request], fds)
        return message(self.control.recv(4096))

    def end(self) -> None:
        self.control.close()
        try:
            assert self.process.wait(TIMEOUT) == 0, "the end of the socket is no failure"
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


class Hook:
    """The descriptors of one process to be, and what came of it."""

    def __init__(self, ops: Sequence[Op], cgroup: int, blob: bytes | None = None) -> None:
        self.status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.status.settimeout(TIMEOUT)
        self.stdin = os.memfd_create("stdin")
        os.write(self.stdin, b"typed\n")
        os.lseek(self.stdin, 0, os.SEEK_SET)
        self.stdout, out = os.pipe()
        self.stderr, err = os.pipe()
        plan_fd = memfd(plan.pack(ops) if blob is None else blob)
        self.theirs = [theirs.detach(), plan_fd, cgroup, self.stdin, out, err]
        self.cgroup = cgroup

    def hand_over(self) -> None:
        """Close what the spawner has copies of."""
        for fd in self.theirs:
            if fd not in (self.cgroup, self.stdin):
                os.close(fd)

    def finish(self, pid: int) -> tuple[bytes, str, str, int]:
        """What the status socket said, both outputs and the exit status, reaped by us."""
        said = self.status.recv(4096)
        outputs = []
        for fd in (self.stdout, self.stderr):
            with os.fdopen(fd) as file:
                outputs.append(file.read())
        os.close(self.stdin)
        self.status.close()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return said, outputs[0], outputs[1], status


def cgroup2() -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] == "cgroup2":
            return Path(left.split()[4])
    raise AssertionError("no cgroup2 is mounted")


class Group:
    """A cgroup of the test's own."""

    def __init__(self) -> None:
        self.name = f"shim-test-{os.getpid()}-serve-{next(COUNT)}"
        self.path = cgroup2() / self.name
        self.path.mkdir()
        self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)

    def end(self) -> None:
        os.close(self.fd)
        self.path.rmdir()


@pytest.fixture
def group() -> Iterator[Group]:
    made = Group()
    try:
        yield made
    finally:
        made.end()


@contextlib.contextmanager
def spawner(executor: str, prefix: Sequence[str] = ()) -> Iterator[Spawner]:
    started = Spawner(executor, prefix)
    try:
        yield started
    finally:
        started.end()


def shell(script: str) -> list[Op]:
    return command("/bin/sh", "-c", script)


def spawn(
    server: Spawner, ops: Sequence[Op], group: Group, migrate: int = 0
) -> tuple[bytes, str, str, int]:
    hook = Hook(ops, group.fd)
    reply = server.ask(hook.theirs, 77, migrate)
    hook.hand_over()
    assert (reply.kind, reply.err, reply.v[1]) == (plan.MSG_PID, 0, 77), reply
    return hook.finish(reply.v[0])


@BOTH
@pytest.mark.parametrize("migrate", [0, 1], ids=["born into the cgroup", "moved into it"])
def test_process_is_ours_and_furnished(executor: str, group: Group, migrate: int) -> None:
    script = "read a; echo $a; echo oops >&2; echo $PPID; ls /proc/self/fd; cat /proc/self/cgroup"
    with spawner(executor) as server:
        said, out, err, status = spawn(server, shell(f"{script}; exit 7"), group, migrate)
    lines = out.splitlines()
    assert (said, err, status) == (b"", "oops\n", 7)
    assert lines[:2] == ["typed", str(os.getpid())]
    assert lines[2:6] == ["0", "1", "2", "3"]
    assert lines[-1].startswith("0::")
    assert lines[-1].endswith(f"/{group.name}")


@BOTH
def test_it_serves_many_and_keeps_nothing(executor: str, group: Group) -> None:
    with spawner(executor) as server:
        where = f"/proc/{server.process.pid}/fd"
        before = sorted(os.listdir(where), key=int)
        for i in range(50):
            assert spawn(server, shell(f"exit {i}"), group)[3] == i
        assert sorted(os.listdir(where), key=int) == before


@BOTH
def test_descriptors_of_the_plan_follow_the_first_six(executor: str, group: Group) -> None:
    ops = [
        Op("JOIN_NS", "", fd="uts", num=[0x04000000]),
        Op("JOIN_NS", "", fd="ipc", num=[0x08000000]),
        *shell("exit 3"),
    ]
    fds = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in plan.slots(ops)]
    with spawner(executor) as server:
        hook = Hook(ops, group.fd)
        reply = server.ask([*hook.theirs, *fds])
        hook.hand_over()
        assert hook.finish(reply.v[0])[::3] == (b"", 3)
        # in the other order the types do not fit
        hook = Hook(ops, group.fd)
        reply = server.ask([*hook.theirs, *fds[::-1]])
        hook.hand_over()
        said, _, _, status = hook.finish(reply.v[0])
        assert status == 125
        assert message(said).err == errno.EINVAL
    for fd in fds:
        os.close(fd)


@BOTH
def test_failure_is_reported_on_the_status_socket(executor: str, group: Group) -> None:
    ops = [Op("LOOKUP", ""), *command("no-such")]
    with spawner(executor) as server:
        said, _, _, status = spawn(server, ops, group)
        got = message(said)
        assert (got.kind, got.step, got.err, status) == (plan.MSG_ERROR, 0, errno.ENOENT, 125)
        hook = Hook([], group.fd, b"no plan")
        reply = server.ask(hook.theirs)
        hook.hand_over()
        assert message(hook.finish(reply.v[0])[0]).err == errno.EINVAL
        assert spawn(server, shell("exit 5"), group)[3] == 5


@BOTH
@pytest.mark.parametrize("count", range(6))
def test_request_with_too_few_descriptors(executor: str, group: Group, count: int) -> None:
    with spawner(executor) as server:
        hook = Hook(shell("exit 0"), group.fd)
        reply = server.ask(hook.theirs[:count], 5)
        assert (reply.kind, reply.err, reply.v[:2]) == (plan.MSG_ERROR, errno.EPROTO, (0, 5))
        reply = server.ask(hook.theirs, 6)
        assert (reply.kind, reply.v[1]) == (plan.MSG_PID, 6), "it goes on serving"
        hook.hand_over()
        assert hook.finish(reply.v[0])[3] == 0


@BOTH
@pytest.mark.parametrize("size", [1, 47, 49, 4000])
def test_request_of_another_size(executor: str, group: Group, size: int) -> None:
    """Its descriptors are closed, too: the status socket ends."""
    with spawner(executor) as server:
        hook = Hook(shell("exit 0"), group.fd)
        socket.send_fds(server.control, [bytes(size)], hook.theirs)
        hook.hand_over()
        reply = message(server.control.recv(4096))
        assert (reply.kind, reply.err) == (plan.MSG_ERROR, errno.EPROTO)
        assert hook.status.recv(1) == b""
        for fd in (hook.stdin, hook.stdout, hook.stderr):
            os.close(fd)
        hook.status.close()
        assert spawn(server, shell("exit 5"), group)[3] == 5


@BOTH
def test_cgroup_that_is_none(executor: str, group: Group) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    with spawner(executor) as server:
        hook = Hook(shell("exit 0"), null)
        reply = server.ask(hook.theirs, 8)
        assert (reply.kind, reply.err, reply.v[:2]) == (plan.MSG_ERROR, errno.EBADF, (0, 8))
        # moved into it instead: that the process itself finds out
        reply = server.ask(hook.theirs, 9, migrate=1)
        hook.hand_over()
        said, _, _, status = hook.finish(reply.v[0])
        assert (message(said).err, status) == (errno.ENOTDIR, 125)
    os.close(null)


@BOTH
def test_processes_outlive_the_spawner(executor: str, group: Group) -> None:
    """They are the monitor's: the spawner's end is nothing to them."""
    with spawner(executor) as server:
        hook = Hook(shell("read a; cat >/dev/null; exit 4"), group.fd)
        reader, writer = os.pipe()
        os.dup2(reader, hook.stdin)
        os.close(reader)
        os.write(writer, b"x\n")
        reply = server.ask(hook.theirs)
        hook.hand_over()
    os.close(writer)
    assert hook.finish(reply.v[0])[3] == 4


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "EINVAL"])
def test_without_clone3(tmp_path: Path, group: Group, error: str) -> None:
    """The process puts itself into the cgroup before the plan is looked at."""
    log = tmp_path / "strace.log"
    prefix = ["strace", "-D", "-f", "-q", "-o", str(log), "-e", "trace=clone3"]
    with spawner(FREESTANDING, [*prefix, "-e", f"inject=clone3:error={error}"]) as server:
        said, out, _, status = spawn(server, shell("cat /proc/self/cgroup; exit 6"), group)
    assert (said, status) == (b"", 6)
    assert out.rstrip().endswith(f"/{group.name}")
    assert "(INJECTED)" in log.read_text()

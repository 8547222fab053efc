"""What the executor says on its socket, and what becomes of it when nobody listens."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from csrc.exec_support import (
    BASE,
    BOTH,
    GO,
    NEEDS_ROOT,
    SANITIZER_ENV,
    TIMEOUT,
    Message,
    Started,
    command,
    go,
    memfd,
    message,
    run,
)

from shim.model import plan
from shim.model.plan import Op

pytestmark = [NEEDS_ROOT, BOTH]
SYNC = Op("SYNC", "", num=[7])
D_PLAN = next(code for code, words in plan.DETAILS.items() if words == "malformed plan")
NEWUTS, NEWNET, NEWTIME, NEWPID = 0x04000000, 0x40000000, 0x00000080, 0x20000000


def test_success_is_the_end_of_the_socket(executor: str) -> None:
    result = run(executor, command("/bin/sh", "-c", "exit 42"))
    assert (result.messages, result.status) == ([], 42)


def test_sync_waits_for_go(executor: str) -> None:
    seen: list[Message] = []

    def answer(got: Message) -> bytes | None:
        seen.append(got)
        return go(got)

    ops = [Op("SETSID", ""), SYNC, Op("SYNC", "", num=[1 << 40]), *command("/bin/true")]
    result = run(executor, ops, answer=answer)
    assert [(m.kind, m.step, m.v[0]) for m in seen] == [(2, 1, 7), (2, 2, 1 << 40)]
    assert result.status == 0


@pytest.mark.parametrize(
    "reply",
    [
        plan.MSG.pack(plan.MSG_READY, 0, 0, 0, 0, 0, 0, 0),
        plan.MSG.pack(0, 0, 0, 0, 0, 0, 0, 0),
        GO[:-1],
        GO[:4],
        GO + b"\0",
        GO + b"\0" * 1000,
    ],
    ids=["another type", "type 0", "one byte less", "type only", "one byte more", "far too long"],
)
def test_sync_takes_nothing_else_for_go(executor: str, reply: bytes) -> None:
    def answer(got: Message) -> bytes | None:
        return reply if got.kind == plan.MSG_SYNC else None

    assert run(executor, [SYNC, *command("/bin/true")], answer=answer).error == (
        0,
        errno.EPROTO,
        0,
    )


def test_descriptors_sent_with_go_are_closed(executor: str) -> None:
    started = Started(executor, plan.pack([SYNC, SYNC, *command("/bin/true")]))
    try:
        assert message(started.sock.recv(64)).kind == plan.MSG_SYNC
        reader, writer = os.pipe()
        socket.send_fds(started.sock, [GO], [writer] * 200)
        os.close(writer)
        assert message(started.sock.recv(64)).kind == plan.MSG_SYNC
        assert select.select([reader], [], [], TIMEOUT)[0], "the executor still holds the pipe"
        assert os.read(reader, 1) == b""
        os.close(reader)
        started.sock.send(GO)
        assert started.finish().status == 0
    finally:
        started.end()


def corrupt(field: int, value: int) -> bytes:
    blob = bytearray(plan.pack(command("/bin/true")))
    struct.pack_into("<I", blob, 4 * field, value)
    return bytes(blob)


VALID = plan.pack(command("/bin/true"))


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\0",
        VALID[:23],
        VALID[:-1],
        VALID + b"\0",
        corrupt(0, 0),
        corrupt(1, 2),
        corrupt(3, 0),
        plan.with_command(VALID, []),
        bytes(9 << 20),
    ],
    ids=[
        "empty",
        "byte",
        "header",
        "cut",
        "longer",
        "magic",
        "version",
        "no ops",
        "no argv",
        "huge",
    ],
)
def test_malformed_plan(executor: str, blob: bytes) -> None:
    assert Started(executor, blob).finish().error == (0, errno.EINVAL, D_PLAN)


def test_plan_that_names_a_descriptor_which_was_not_given(executor: str) -> None:
    blob = plan.pack([Op("JOIN_NS", "", fd="net"), *command("/bin/true")])
    assert Started(executor, blob).finish().error == (0, errno.EINVAL, D_PLAN)


def test_plan_that_is_no_file(executor: str) -> None:
    reader, writer = os.pipe()
    assert Started(executor, reader).finish().error[2] == D_PLAN
    os.close(reader)
    os.close(writer)


def test_nothing_of_a_malformed_plan_is_done(executor: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    ops = [Op("CHDIR", "", flags=plan.CHDIR_CREATE, str=[str(made)]), *command("/bin/true")]
    blob = bytearray(plan.pack([*ops[:1], Op("SETSID", ""), *ops[1:]]))
    at = plan.HEADER.size + plan.RECORD.size
    struct.pack_into("<H", blob, at, 19)  # there is no op 19
    assert Started(executor, bytes(blob)).finish().error == (0, errno.EINVAL, D_PLAN)
    assert not made.exists()


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["plan"],
        ["plan", str(BASE)],
        ["plan", str(BASE), "0", "0"],
        ["plan", "2", "0"],
        ["plan", str(BASE), "241"],
        ["plan", str(BASE), "-1"],
        ["plan", str(BASE), ""],
        ["plan", f" {BASE}", "0"],
        ["plan", "99999999999999999999", "0"],
        ["serve"],
        ["serve", "x"],
        ["run", str(BASE), "0"],
    ],
)
def test_bad_arguments(executor: str, argv: list[str]) -> None:
    result = subprocess.run(
        [executor, *argv], env=os.environ | SANITIZER_ENV, capture_output=True, check=False,
        timeout=TIMEOUT,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (125, b"", b"")


@pytest.fixture
def started(executor: str) -> Iterator[Started]:
    """Waits at a sync point that was reported."""
    waiting = Started(executor, plan.pack([SYNC, *command("/bin/true")]))
    try:
        assert message(waiting.sock.recv(64)).kind == plan.MSG_SYNC
        yield waiting
    finally:
        waiting.end()


def test_socket_closed_while_it_waits(started: Started) -> None:
    started.sock.close()
    assert started.process.wait(TIMEOUT) == 125


def test_socket_that_is_closed_from_the_start(executor: str) -> None:
    """The parent may have died before PDEATHSIG was armed: nothing is run for it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    fd = memfd(plan.pack(command("/bin/echo", "ran")))
    try:
        os.dup2(theirs.fileno(), BASE)
        os.dup2(fd, BASE + 1)
        result = subprocess.run(
            [executor, "plan", str(BASE), "0"], pass_fds=(BASE, BASE + 1), stdout=subprocess.PIPE,
            env=os.environ | SANITIZER_ENV, timeout=TIMEOUT, check=False,
        )  # fmt: skip
    finally:
        for each in (fd, BASE, BASE + 1):
            os.close(each)
        theirs.close()
    assert (result.returncode, result.stdout) == (125, b"")


@pytest.mark.parametrize("ids", [[], [Op("SETIDS", "", num=[1000, 1000])]], ids=["root", "user"])
def test_parent_that_dies_takes_it_along(executor: str, ids: list[Op]) -> None:
    """The socket stays open: it is PDEATHSIG, which a change of ids disarms (SECURITY.md EX-20)."""
    prefix = ["/bin/sh", "-c", '"$@" & echo $!; read line <&3', "sh"]
    prefix = ["/bin/sh", "-c", 'exec 3<&0; exec "$@"', "sh", *prefix]
    blob = plan.pack([*ids, SYNC, *command("/bin/true")])
    started = Started(executor, blob, prefix=prefix, stdin=subprocess.PIPE)
    try:
        assert started.process.stdout is not None
        pid = int(started.process.stdout.readline())
        pidfd = os.pidfd_open(pid)
        assert message(started.sock.recv(64)).kind == plan.MSG_SYNC
        assert not select.select([pidfd], [], [], 0)[0]
        assert started.process.stdin is not None
        started.process.stdin.close()
        assert select.select([pidfd], [], [], TIMEOUT)[0], "it outlived its parent"
        os.close(pidfd)
    finally:
        started.end()


def test_fork_makes_a_child_of_the_caller(executor: str) -> None:
    ops = [Op("FORK", ""), *command("/bin/sh", "-c", "exit 9")]
    result = run(executor, ops)
    (report,) = result.messages
    assert (report.kind, report.step, result.status) == (plan.MSG_PID, 0, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(report.v[0], 0)[1]) == 9


def test_fork_into_a_pid_namespace(executor: str) -> None:
    ops = [Op("UNSHARE", "", num=[NEWPID]), Op("FORK", ""), *command("/bin/sh", "-c", "echo $$")]
    result = run(executor, ops)
    assert result.output == "1\n"
    assert os.waitpid(result.messages[0].v[0], 0)[1] == 0


def test_wait_start(executor: str, tmp_path: Path) -> None:
    """A starter that dies before it says go is forgotten; after go it hears of failures."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(tmp_path / "start"))
    listener.listen()
    ops = [Op("WAIT_START", "", fd="start"), *command("/no/such")]
    started = Started(executor, plan.pack(ops), [listener.fileno()])
    try:
        assert message(started.sock.recv(64)).kind == plan.MSG_READY
        assert started.sock.recv(64) == b"", "create is told no more"
        for nothing in (None, GO[:-1], plan.MSG.pack(plan.MSG_PID, 0, 0, 0, 0, 0, 0, 0)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dying:
                dying.connect(str(tmp_path / "start"))
                if nothing is not None:
                    dying.send(nothing)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as starter:
            starter.settimeout(TIMEOUT)
            starter.connect(str(tmp_path / "start"))
            starter.send(GO)
            got = message(starter.recv(64))
            assert (got.kind, got.err, got.detail) == (
                plan.MSG_ERROR,
                errno.ENOENT,
                plan.D_NOT_FOUND,
            )
            assert starter.recv(64) == b""
        assert started.process.wait(TIMEOUT) == 125
    finally:
        started.end()
        listener.close()


def test_root_identity(executor: str) -> None:
    (report,) = run(executor, [Op("REPORT_ROOT", ""), *command("/bin/true")]).messages
    assert report.kind == plan.MSG_ROOT
    root = os.stat("/")
    device = os.major(root.st_dev) << 32 | os.minor(root.st_dev)
    assert report.v[:2] == (device, root.st_ino)
    same = list(report.v[:3])
    assert run(executor, [Op("CHECK_ROOT", "", num=same), *command("/bin/true")]).status == 0
    for i in range(3):
        other = [value + (n == i) for n, value in enumerate(same)]
        result = run(executor, [Op("CHECK_ROOT", "", num=other), *command("/bin/true")])
        assert result.error == (0, errno.ESTALE, plan.D_CHECK)


def test_names_in_a_new_uts_namespace(executor: str) -> None:
    ops = [
        Op("UNSHARE", "", num=[NEWUTS]),
        Op("HOSTNAME", "", str=["inner"]),
        Op("DOMAINNAME", "", str=["example"]),
    ]
    files = ["/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"]
    assert run(executor, [*ops, *command("/bin/cat", *files)]).output == "inner\nexample\n"
    assert os.uname().nodename != "inner"
    ops[1] = Op("HOSTNAME", "", str=["x" * 65])
    assert run(executor, [*ops, *command("/bin/true")]).error == (1, errno.EINVAL, 0)


def test_loopback_in_a_new_network_namespace(executor: str) -> None:
    ops = [Op("UNSHARE", "", num=[NEWNET]), Op("LOOPBACK_UP", "")]
    assert "LOOPBACK,UP" in run(executor, [*ops, *command("/bin/ip", "-o", "link")]).output


def test_time_offsets(executor: str) -> None:
    shift = 1_000_000
    ops = [
        Op("UNSHARE", "", num=[NEWTIME]),
        Op("TIME_OFFSETS", "", str=[f"boottime {shift} 0\n"]),
        Op("FORK", ""),
        *command("/bin/cat", "/proc/uptime"),
    ]
    own = float(Path("/proc/uptime").read_text().split()[0])
    result = run(executor, ops)
    os.waitpid(result.messages[0].v[0], 0)
    assert own + shift <= float(result.output.split()[0]) < own + shift + 100
    ops[1] = Op("TIME_OFFSETS", "", str=["nonsense\n"])
    step, number, detail = run(executor, ops).error
    assert (step, number, plan.DETAILS[detail]) == (1, errno.EINVAL, "write")


def test_join_of_a_process_that_is_gone(executor: str) -> None:
    child = subprocess.Popen(["/bin/true"])
    pidfd = os.pidfd_open(child.pid)
    child.wait()
    ops = [Op("JOIN_PIDFD", "", fd="init", num=[NEWUTS]), *command("/bin/true")]
    try:
        result = run(executor, ops, fds={"init": pidfd})
    finally:
        os.close(pidfd)
    assert result.error == (0, errno.ESRCH, 0)
    assert str(plan.failure(ops, *result.error)) == "container not running"

"""SECURITY.md EX-08, EX-26: an execve that fails is told from a command that fails."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.runtime import Runtime

from shim.bundle.make import PATH

# -- EX-26 -----------------------------------------------------------------------------------------

NOEXEC = {"destination": "/noexec", "type": "bind", "options": ["bind", "noexec"]}
FOREIGN_ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(200)
"""For RISC-V; this test's own machine is none."""


def prepare(rt: Runtime) -> None:
    """One file for every way in which execve fails."""
    root = rt.rootfs
    busybox = (root / "bin/busybox").read_bytes()
    for name, data, mode in (
        ("denied", busybox, 0o644),
        ("foreign", FOREIGN_ELF, 0o755),
        ("text", b"hello\n", 0o755),
        ("empty", b"", 0o755),
        ("lost", b"#!/no/interpreter\n", 0o755),
        ("busy", busybox, 0o755),
    ):
        (root / "bin" / name).write_bytes(data)
        (root / "bin" / name).chmod(mode)
    (root / "bin/loop").symlink_to("loop")
    (root / "bin/dangling").symlink_to("/no/target")
    (root / "closed").mkdir(mode=0o700)
    (root / "closed/program").write_bytes(busybox)
    (root / "closed/program").chmod(0o755)
    os.mkfifo(root / "bin/fifo", 0o755)
    source = rt.dir / "noexec"
    source.mkdir()
    (source / "program").write_bytes(busybox)
    (source / "program").chmod(0o755)


NOT_FOUND = "executable file not found in $PATH"
CASES = {
    # what is run: (status, words after `exec: "COMMAND": `)
    "nothing": (127, NOT_FOUND),
    "/nothing": (127, "no such file or directory"),
    "./nothing": (127, "no such file or directory"),
    "/bin/dangling": (127, "no such file or directory"),
    "dangling": (127, NOT_FOUND),
    "/bin/lost": (127, "no such file or directory"),
    "lost": (127, "no such file or directory"),
    "/bin/busybox/deeper": (126, "not a directory"),
    "denied": (126, "permission denied"),
    "/bin/denied": (126, "permission denied"),
    "/noexec/program": (126, "permission denied"),
    "/bin": (126, "permission denied"),
    "/bin/fifo": (126, "permission denied"),
    "/bin/foreign": (126, "exec format error"),
    "/bin/text": (126, "exec format error"),
    "/bin/empty": (126, "exec format error"),
    "/bin/loop": (126, "too many levels of symbolic links"),
    "/bin/busy": (126, "text file busy"),
    "/" + "x" * 300: (126, "file name too long"),
}


def wanted(command: str, words: str) -> str:
    return f'exec: "{command}": {words}'


@pytest.fixture
def broken(rt: Runtime) -> Runtime:
    prepare(rt)
    return rt


def with_noexec(rt: Runtime) -> dict[str, Any]:
    mount = {**NOEXEC, "source": str(rt.dir / "noexec")}
    return {"mounts": [*rt.config()["mounts"], mount]}


def test_ex_26_exec(broken: Runtime) -> None:
    id = broken.running(**with_noexec(broken))
    with (broken.rootfs / "bin/busy").open("ab"):
        for command, (status, words) in CASES.items():
            result = broken.exec(id, command)
            assert result.code == status, (command, result)
            assert result.line == f'shim: cannot exec "{id}": {wanted(command, words)}'
    assert broken.group.pids() == [broken.state(id)["pid"]]


def test_ex_26_create_and_start(broken: Runtime) -> None:
    """What can be seen before start is told by create; the rest by start, and neither leaves a
    container that runs."""
    changes = with_noexec(broken)
    with (broken.rootfs / "bin/busy").open("ab"):
        for command, (status, words) in CASES.items():
            result = broken.create("c", broken.bundle(command, **changes))
            verb = "create"
            if result.code == 0:
                result, verb = broken.start("c"), "start"
            assert result.code == status, (command, result)
            assert result.line == f'shim: cannot {verb} "c": {wanted(command, words)}'
            if verb == "start":
                assert broken.state("c")["status"] == "stopped"
                assert broken.delete("c").code == 0
            assert broken.leaks() == [], command


@pytest.mark.parametrize(
    ("flags", "command", "status", "words"),
    [
        (("--user", "1000"), "/closed/program", 126, "permission denied"),
        (("--env", "PATH=/closed:/nowhere", "--user", "1000"), "program", 126, "permission denied"),
        (("--env", "PATH=bin:.:"), "true", 127, NOT_FOUND),
    ],
)
def test_ex_26_as_the_user_of_the_process(
    broken: Runtime, flags: tuple[str, ...], command: str, status: int, words: str
) -> None:
    """The search is made with the rights of the user, and never in the working directory."""
    id = broken.running(process={"capabilities": None})
    result = broken.exec(id, command, flags=flags)
    assert (result.code, result.line) == (
        status,
        f'shim: cannot exec "{id}": {wanted(command, words)}',
    )


def test_ex_26_too_many_arguments(rt: Runtime) -> None:
    """E2BIG for one of 128 KiB, the kernel's MAX_ARG_STRLEN (execve(2))."""
    id = rt.running()
    big = "x" * (128 * 1024 - 1)
    assert rt.exec(id, "true", big).code == 0
    process = rt.dir / "process.json"
    document = {"args": ["true", big + "x"], "cwd": "/", "env": [PATH]}
    process.write_text(json.dumps({**document, "user": {"uid": 0, "gid": 0}}))
    result = rt.shim("exec", "--process", str(process), id)
    assert result.code == 126, result
    assert "argument list too long" in result.line


@pytest.mark.parametrize("code", [0, 1, 125, 126, 127, 255])
def test_ex_26_the_status_of_a_command_says_nothing_on_stderr(rt: Runtime, code: int) -> None:
    result = rt.exec(rt.running(), "sh", "-c", f"exit {code}")
    assert (result.code, result.err) == (code, "")


# -- EX-08 -----------------------------------------------------------------------------------------

CWDS: dict[str, tuple[Callable[[Path], object] | None, str]] = {
    "/missing": (None, "no such file or directory"),
    "/missing/deep": (None, "no such file or directory"),
    "/bin/busybox": (None, "not a directory"),
    "/loop": (lambda root: (root / "loop").symlink_to("loop"), "too many levels of symbolic links"),
    "/dangling": (lambda root: (root / "dangling").symlink_to("gone"), "no such file or directory"),
    "/" + "d" * 256: (None, "file name too long"),
    "/" + "a/" * 2100: (None, "file name too long"),
}


@pytest.mark.parametrize("cwd", CWDS, ids=lambda cwd: cwd[:20])
def test_ex_08_exec_refuses(rt: Runtime, cwd: str) -> None:
    make, words = CWDS[cwd]
    if make:
        make(rt.rootfs)
    result = rt.exec(rt.running(), "pwd", flags=["--cwd", cwd])
    assert result.code == 125, result
    assert "/process/cwd: " in result.line
    assert result.line.endswith(words), result
    assert not (rt.rootfs / "missing").exists(), "exec must not create it"


@pytest.mark.parametrize("cwd", ["", "tmp", "./tmp", "../tmp"])
def test_ex_08_a_relative_one_is_refused(rt: Runtime, cwd: str) -> None:
    id = rt.running()
    process = rt.dir / "process.json"
    user = {"uid": 0, "gid": 0}
    process.write_text(json.dumps({"args": ["pwd"], "cwd": cwd, "user": user}))
    for result in (
        rt.exec(id, "pwd", flags=["--cwd", cwd or "."]),
        rt.shim("exec", "--process", str(process), id),
        rt.create("other", rt.bundle(process={"cwd": cwd})),
    ):
        assert result.code in (1, 125), result
        assert "cwd" in result.line
        assert result.out == ""


def test_ex_08_create_makes_it_as_runc_does(rt: Runtime) -> None:
    id = rt.running(process={"cwd": "/made/by/create"})
    assert rt.output(id, "pwd") == "/made/by/create\n"
    made = (rt.rootfs / "made/by/create").stat()
    assert (stat.S_IMODE(made.st_mode), made.st_uid) == (0o755, 0)


def test_ex_08_create_makes_it_below_the_roots_symlinks_only(rt: Runtime) -> None:
    """An absolute symlink counts from the container's root; nothing of it is made on the host."""
    target = rt.dir / "outside"
    (rt.rootfs / "link").symlink_to(target)
    result = rt.create("c", rt.bundle(process={"cwd": "/link/made"}))
    assert result.code == 1, result
    assert "/process/cwd" in result.line
    assert not target.exists()
    assert rt.leaks() == []


def test_ex_08_a_directory_that_only_its_user_may_enter(rt: Runtime) -> None:
    own = rt.rootfs / "home/own"
    own.mkdir(mode=0o700)
    os.chown(own, 1000, 1000)
    id = rt.running(process={"capabilities": None})
    assert (
        rt.output(id, "pwd", flags=["--user", "1000:1000", "--cwd", "/home/own"]) == "/home/own\n"
    )


def test_ex_08_a_directory_that_was_removed(rt: Runtime) -> None:
    """The container's first process still stands in it; whoever joins cannot."""
    (rt.rootfs / "gone").mkdir()
    id = rt.running(process={"cwd": "/gone"})
    (rt.rootfs / "gone").rmdir()
    result = rt.exec(id, "pwd")
    assert result.code == 125, result
    assert "/process/cwd" in result.line

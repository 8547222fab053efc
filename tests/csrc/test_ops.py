"""Ops of the process part, run for real: what the executed program finds."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest
from csrc.exec_support import (
    BASE,
    BOTH,
    FREESTANDING,
    NEEDS_ROOT,
    Result,
    command,
    run,
    status_fields,
)

from shim.model import plan
from shim.model.plan import Op

pytestmark = [NEEDS_ROOT, BOTH]
STATUS = command("/bin/cat", "/proc/self/status")
ALL = int(status_fields(Path("/proc/self/status").read_text())["CapBnd"], 16)
CHOWN, KILL, NET_BIND, SYS_RESOURCE = 1 << 0, 1 << 5, 1 << 10, 1 << 24
WRITE = next(code for code, words in plan.DETAILS.items() if words == "write")


def succeeded(result: Result) -> str:
    assert (result.messages, result.status) == ([], 0), result
    return result.output


def shell(script: str) -> list[Op]:
    return command("/bin/sh", "-c", script, env=["PATH=/usr/bin:/bin"])


def test_arguments_and_environment_arrive_as_they_were(executor: str) -> None:
    output = succeeded(run(executor, shell('printf "%s|" "$0" "$PATH"')))
    assert output == "/bin/sh|/usr/bin:/bin|"
    env = ["A=1", "B=x y", "A=2"]
    assert succeeded(run(executor, command("/usr/bin/env", env=env))).splitlines() == env


@pytest.mark.parametrize("mask", [0, 0o22, 0o777])
def test_umask(executor: str, mask: int) -> None:
    output = succeeded(run(executor, [Op("UMASK", "", num=[mask]), *STATUS]))
    assert int(status_fields(output)["Umask"], 8) == mask


def test_ids_and_groups(executor: str) -> None:
    ops = [Op("SETGROUPS", "", nums=[4, 27]), Op("SETIDS", "", num=[1000, 2000]), *STATUS]
    found = status_fields(succeeded(run(executor, ops)))
    assert found["Uid"].split() == ["1000"] * 4
    assert found["Gid"].split() == ["2000"] * 4
    assert found["Groups"].split() == ["4", "27"]


@pytest.mark.parametrize("nums", [None, []])
def test_no_groups(executor: str, nums: list[int] | None) -> None:
    os.setgroups([4])
    try:
        output = succeeded(run(executor, [Op("SETGROUPS", "", nums=nums), *STATUS]))
    finally:
        os.setgroups([])
    assert status_fields(output)["Groups"] == ""


@pytest.mark.parametrize(
    ("uid", "sets"),
    [
        (0, (0, 0, 0, 0)),
        (0, (CHOWN, CHOWN, 0, 0)),
        (0, (ALL, ALL, ALL, 0)),
        (1000, (0, 0, 0, 0)),
        (1000, (CHOWN | KILL, CHOWN | KILL, 0, 0)),
        (1000, (CHOWN | KILL, CHOWN | KILL, KILL, 0)),
        (1000, (CHOWN | KILL, CHOWN | KILL, CHOWN | KILL, KILL)),
        (1000, (ALL, ALL, ALL, ALL)),
        (1000, (1 << 63 | NET_BIND, 1 << 63 | NET_BIND, NET_BIND, 1 << 63 | NET_BIND)),
    ],
)
@pytest.mark.parametrize("bounding", [ALL, ALL & ~CHOWN])
def test_capabilities(executor: str, uid: int, sets: tuple[int, ...], bounding: int) -> None:
    """capabilities(7), "Transformation of capabilities during execve()". What is not there to be
    given is left out without an error."""
    effective, permitted, inheritable, ambient = (mask & bounding for mask in sets)
    ops = [
        Op("BOUNDING", "", num=[bounding]),
        Op("SETIDS", "", num=[uid, uid]),
        Op("CAPS", "", num=[effective, permitted, inheritable, ambient]),
        *STATUS,
    ]
    found = {
        key: int(value, 16)
        for key, value in status_fields(succeeded(run(executor, ops))).items()
        if key.startswith("Cap")
    }
    ambient &= ALL
    gained = bounding if uid == 0 else ambient
    assert found == {
        "CapInh": inheritable & ALL,
        "CapPrm": gained,
        "CapEff": gained,
        "CapBnd": bounding,
        "CapAmb": ambient,
    }


def test_no_new_privileges(executor: str) -> None:
    assert status_fields(succeeded(run(executor, STATUS)))["NoNewPrivs"] == "0"
    output = succeeded(run(executor, [Op("NO_NEW_PRIVS", ""), *STATUS]))
    assert status_fields(output)["NoNewPrivs"] == "1"


def test_signals_are_default_and_unblocked(executor: str) -> None:
    """Python, the caller, ignores SIGPIPE (SECURITY.md EX-25)."""
    own = status_fields(Path("/proc/self/status").read_text())
    assert int(own["SigIgn"], 16) & 1 << 12
    found = status_fields(succeeded(run(executor, STATUS)))
    assert [int(found[key], 16) for key in ("SigIgn", "SigBlk", "SigCgt")] == [0, 0, 0]


def test_descriptors(executor: str) -> None:
    """Not the socket, the plan, or what it refers to; ls itself opens 3 (SECURITY.md EX-06)."""
    ops = [Op("JOIN_NS", "", fd="uts", num=[0x04000000]), *command("/bin/ls", "/proc/self/fd")]
    fd = os.open("/proc/self/ns/uts", os.O_RDONLY)
    try:
        assert succeeded(run(executor, ops, fds={"uts": fd})).split() == ["0", "1", "2", "3"]
    finally:
        os.close(fd)


def test_preserved_descriptors(executor: str) -> None:
    ops = [Op("CLOSE_FDS", "", num=[2]), Op("EXEC", "", list=["/bin/ls", "/proc/self/fd"])]
    prefix = ["/bin/sh", "-c", 'exec "$@" 3</dev/null 4</dev/null 5</dev/null', "sh"]
    output = succeeded(run(executor, ops, prefix=prefix))
    assert output.split() == ["0", "1", "2", "3", "4", "5"]  # 5 is ls's own


def test_limits(executor: str) -> None:
    """RLIMIT_NOFILE comes last: with 3 descriptors nothing could be opened on the way."""
    script = "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; echo $HOME"
    ops = [
        Op("RLIMIT", "", num=[7, 3, 4]),
        Op("RLIMIT", "", num=[4, 0, (1 << 64) - 1]),
        Op("HOME", "", num=[0]),
        # static: a dynamic loader would need a descriptor
        *command("/bin/busybox", "sh", "-c", script),
    ]
    assert succeeded(run(executor, ops)).split() == ["3", "4", "0", "unlimited", "/root"]


def test_limit_that_is_refused(executor: str) -> None:
    ops = [Op("SETSID", ""), Op("RLIMIT", "", num=[7, 5, 4]), *STATUS]
    assert run(executor, ops).error[1] == errno.EINVAL
    assert run(executor, [Op("RLIMIT", "", num=[99, 1, 1]), *STATUS]).error == (0, errno.EINVAL, 0)


@pytest.mark.parametrize("value", [-1000, -5, 0, 1000])
def test_oom_score(executor: str, value: int) -> None:
    ops = [Op("OOM_SCORE_ADJ", "", num=[value]), *command("/bin/cat", "/proc/self/oom_score_adj")]
    own = int(Path("/proc/self/oom_score_adj").read_text())
    result = run(executor, ops)
    if value < own and not ALL & SYS_RESOURCE:  # a root without it may not, proc(5)
        assert result.error == (0, errno.EACCES, WRITE)
    else:
        assert int(succeeded(result)) == value


@pytest.mark.parametrize("value", [1001, -1001, -(1 << 63), (1 << 63) - 1])
def test_oom_score_out_of_range(executor: str, value: int) -> None:
    result = run(executor, [Op("OOM_SCORE_ADJ", "", num=[value]), *STATUS])
    assert result.error in [(0, number, WRITE) for number in (errno.EINVAL, errno.ERANGE)]


def test_session(executor: str) -> None:
    output = succeeded(run(executor, [Op("SETSID", ""), *shell("cat /proc/$$/stat")]))
    pid, _, _, _, group, session, terminal = output.split()[:7]
    assert pid == group == session
    assert terminal == "0"


def chdir(path: object, flags: int = 0) -> Op:
    return Op("CHDIR", "", flags=flags, str=[str(path)])


def test_working_directory(executor: str, tmp_path: Path) -> None:
    assert succeeded(run(executor, [chdir(tmp_path), *command("/bin/pwd")])) == f"{tmp_path}\n"


def test_missing_working_directory(executor: str, tmp_path: Path) -> None:
    assert run(executor, [chdir(tmp_path / "no"), *STATUS]).error == (0, errno.ENOENT, 0)
    made = tmp_path / "a/b//c"
    ops = [Op("UMASK", "", num=[0o22]), chdir(f"{tmp_path}/a/b//c/", plan.CHDIR_CREATE)]
    assert succeeded(run(executor, [*ops, *command("/bin/pwd")])) == f"{made}\n"
    assert made.stat().st_mode & 0o7777 == 0o755


def test_working_directory_that_cannot_be_made(executor: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    blocked = run(executor, [chdir(tmp_path / "file/x", plan.CHDIR_CREATE), *STATUS])
    assert blocked.error[:2] == (0, errno.ENOTDIR)
    # within PATH_MAX for the kernel there is no such path; ours must not overflow either
    long = run(executor, [chdir("/x" * 4096, plan.CHDIR_CREATE), *STATUS])
    assert long.error[:2] == (0, errno.ENAMETOOLONG)


def test_working_directory_is_tried_before_and_after_the_ids(executor: str, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    first, drop = chdir(closed, plan.CHDIR_FIRST_TRY), Op("SETIDS", "", num=[1000, 1000])
    as_root = run(executor, [first, drop, chdir(closed), *command("/bin/true")])
    assert succeeded(as_root) == ""
    tmp_path.chmod(0o755)
    only_later = run(executor, [drop, first, chdir(closed), *STATUS])
    assert only_later.error == (2, errno.EACCES, 0)


def test_working_directory_through_a_magic_link(executor: str, tmp_path: Path) -> None:
    """CVE-2024-21626: a descriptor of a directory outside of the root."""
    if executor != FREESTANDING:
        executor = FREESTANDING  # the sanitized one needs its libraries inside of the new root
    (tmp_path / "root/proc").mkdir(parents=True)
    script = 'cp "$2" "$1/x"; mount -t proc proc "$1/proc"; shift 2; exec chroot "$ROOT" /x "$@"'
    prefix = ["env", f"ROOT={tmp_path}/root", "unshare", "-m", "/bin/sh", "-ec", script, "sh"]
    fd = os.open("/", os.O_RDONLY)
    try:
        # the first op only hands the descriptor over
        ops = [Op("NO_NEW_PRIVS", "", fd="x"), chdir(f"/proc/self/fd/{BASE + 2}"), *command("/x")]
        prefix += [f"{tmp_path}/root"]
        result = run(executor, ops, fds={"x": fd}, prefix=prefix)
    finally:
        os.close(fd)
    assert result.error == (1, errno.ELOOP, 0)


def test_working_directory_outside_the_root(executor: str, tmp_path: Path) -> None:
    """The kernel's path of it does not start with "/", however we came there."""
    if executor != FREESTANDING:
        executor = FREESTANDING  # see above
    enter = """
import os, shutil, sys
shutil.copy(sys.argv[2], sys.argv[1] + "/x")
os.chroot(sys.argv[1])
os.execv("/x", sys.argv[2:])
"""
    prefix = [sys.executable, "-c", enter, str(tmp_path)]
    result = run(executor, [chdir("."), *command("/x")], prefix=prefix)
    assert result.error == (0, errno.ENOENT, plan.D_CWD)

"""Every new system call has a way around it on kernels, or below seccomp profiles, without it
(SECURITY.md section 9, rule 6). strace makes the kernel say ENOSYS; its log proves that it did."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from csrc.exec_support import FREESTANDING, NEEDS_ROOT, Result, command, run

from shim.model import plan
from shim.model.plan import Op

pytestmark = [
    NEEDS_ROOT,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]


def without(tmp_path: Path, call: str, error: str, ops: list[Op]) -> Result:
    """One run where every `call` fails with `error`. -D: strace is not the executor's parent, so
    that CLONE_PARENT means what it does without it."""
    log = tmp_path / "strace.log"
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}"]
    prefix = ["strace", "-D", "-f", "-q", "-o", str(log), *inject]
    result = run(FREESTANDING, ops, prefix=prefix)
    assert "(INJECTED)" in log.read_text(), "the executor never made this call"
    return result


@pytest.mark.parametrize("error", ["ENOSYS", "EINVAL"])
def test_close_range(tmp_path: Path, error: str) -> None:
    """EINVAL: Linux 5.9 and 5.10 know the call but not CLOSE_RANGE_CLOEXEC."""
    result = without(tmp_path, "close_range", error, command("/bin/ls", "/proc/self/fd"))
    assert (result.messages, result.output.split()) == ([], ["0", "1", "2", "3"])


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_clone3(tmp_path: Path, error: str) -> None:
    """EPERM: what older seccomp profiles of an outer container say."""
    ops = [Op("FORK", ""), *command("/bin/sh", "-c", "exit 9")]
    result = without(tmp_path, "clone3", error, ops)
    (report,) = result.messages
    assert (report.kind, result.status) == (plan.MSG_PID, 0)
    # only a parent may wait
    assert os.waitstatus_to_exitcode(os.waitpid(report.v[0], 0)[1]) == 9


def test_fork_that_fails_for_good(tmp_path: Path) -> None:
    result = without(tmp_path, "clone3", "EAGAIN", [Op("FORK", ""), *command("/bin/true")])
    assert result.error == (0, errno.EAGAIN, plan.D_FORK)


def test_faccessat2(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "program").write_text(f"#!/bin/sh\necho {name}\n")
    (tmp_path / "two/program").chmod(0o755)
    env = [f"PATH={tmp_path}/one:{tmp_path}/two"]
    ops = [Op("LOOKUP", ""), *command("program", env=env)]
    assert without(tmp_path, "faccessat2", "ENOSYS", ops).output == "two\n"
    (tmp_path / "two/program").chmod(0o644)
    refused = without(tmp_path, "faccessat2", "ENOSYS", ops)
    assert refused.error == (0, errno.EACCES, plan.D_NOT_FOUND)


def test_keyrings(tmp_path: Path) -> None:
    """CONFIG_KEYS may be off, which is fine; a quota that is used up is an error."""
    ops = [Op("KEYRING", "", str=["_ses.test"]), *command("/bin/echo", "ran")]
    assert without(tmp_path, "keyctl", "ENOSYS", ops).output == "ran\n"
    assert without(tmp_path, "keyctl", "EDQUOT", ops).error == (0, errno.EDQUOT, 0)


def test_groups_that_a_user_namespace_denies(tmp_path: Path) -> None:
    """user_namespaces(7), setgroups "deny": fine when none are asked for (SECURITY.md EX-09)."""
    none = [Op("SETGROUPS", "", nums=[]), *command("/bin/echo", "ran")]
    assert without(tmp_path, "setgroups", "EPERM", none).output == "ran\n"
    some = [Op("SETGROUPS", "", nums=[5]), *command("/bin/true")]
    step, number, detail = without(tmp_path, "setgroups", "EPERM", some).error
    assert (step, number) == (0, errno.EPERM)
    assert plan.DETAILS[detail] == "setgroups is denied in this user namespace"


@pytest.mark.parametrize("call", ["setresgid", "setresuid", "capset", "prctl", "prlimit64"])
def test_no_privilege_step_fails_quietly(tmp_path: Path, call: str) -> None:
    ops = [
        Op("RLIMIT", "", num=[4, 0, 0]),
        Op("SETIDS", "", num=[1000, 1000]),
        Op("CAPS", "", num=[0, 0, 0, 0]),
        *command("/bin/echo", "ran"),
    ]
    result = without(tmp_path, call, "EPERM", ops)
    assert result.status == 125
    assert result.output == ""

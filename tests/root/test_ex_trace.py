"""SECURITY.md EX-01, EX-04: which process does what between setns and execve, as strace sees it."""

from __future__ import annotations

import re

import pytest
from support.runtime import Runtime

CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")


class Trace:
    """The calls of `strace -f`, in order: (pid, name, rest of the line)."""

    def __init__(self, text: str) -> None:
        found = [CALL.match(line) for line in text.splitlines()]
        self.calls = [(int(m[1]), m[2], m[3]) for m in found if m]
        self.first = self.calls[0][0]

    def of(self, pid: int) -> list[tuple[str, str]]:
        return [(name, rest) for who, name, rest in self.calls if who == pid]

    def pids(self, name: str) -> set[int]:
        return {who for who, call, _ in self.calls if call == name}

    def position(self, name: str) -> int:
        return next(i for i, call in enumerate(self.calls) if call[1] == name)


@pytest.fixture(params=["plain", "options"])
def trace(rt: Runtime, request: pytest.FixtureRequest) -> Trace:
    """One exec, without and with the options that have the plan compiled anew."""
    id = rt.running()
    flags = () if request.param == "plain" else ("--user", "1000:1000", "--cwd", "/tmp")
    output = rt.dir / "trace"
    prefix = ("strace", "-f", "-s", "256", "-o", str(output))
    result = rt.exec(id, "true", flags=flags, prefix=prefix)
    assert result.code == 0, result
    return Trace(output.read_text())


def test_ex_01_nothing_but_the_executor_runs_between_setns_and_execve(trace: Trace) -> None:
    assert trace.pids("setns"), "nobody joined"
    assert trace.first not in trace.pids("setns") | trace.pids("unshare") | trace.pids("chroot")
    for pid in trace.pids("setns"):
        calls = trace.of(pid)
        names = [name for name, _ in calls]
        assert "shim-executor" in calls[names.index("execveat")][1]
        assert names.index("execveat") < names.index("setns")
    born = trace.pids("execve") - {trace.first}
    assert len(born) == 1, "one process became the command"


def test_ex_01_of_the_containers_files_only_passwd_is_read(trace: Trace) -> None:
    """Every path that the executor opens to read once it has joined; the working directory is
    opened with O_PATH, which reads nothing."""
    joined = trace.calls[trace.position("setns") :]
    paths = set()
    for pid, name, rest in joined:
        if pid != trace.first and name in ("open", "openat", "openat2", "readlink", "readlinkat"):
            paths |= set() if "O_PATH" in rest else set(re.findall(r'"([^"]*)"', rest))
        if name == "execve":
            break
    assert paths <= {"/etc/passwd"}


def test_ex_04_dumpable_is_cleared_before_anything_else(trace: Trace) -> None:
    (pid,) = trace.pids("execveat")
    calls = trace.of(pid)
    after = calls[[name for name, _ in calls].index("execveat") + 1]
    assert after[0] == "prctl"
    assert after[1].startswith("PR_SET_DUMPABLE, SUID_DUMP_DISABLE")


def test_ex_04_dumpable_is_cleared_again_after_every_change_of_ids(trace: Trace) -> None:
    """Before the fork that makes the process visible: setresuid set it to suid_dumpable."""
    (pid,) = trace.pids("execveat")
    calls = [f"{name}({rest}" for name, rest in trace.of(pid)]
    ids = [i for i, call in enumerate(calls) if call.startswith(("setresuid", "setuid"))]
    fork = max(i for i, call in enumerate(calls) if call.startswith(("clone", "clone3")))
    assert ids, "the ids were never set"
    assert any("PR_SET_DUMPABLE, SUID_DUMP_DISABLE" in call for call in calls[max(ids) : fork])

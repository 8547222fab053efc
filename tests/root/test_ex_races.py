"""SECURITY.md EX-16, EX-18, EX-19: processes that end, or are somebody else by now."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from support.runtime import Runtime

# -- EX-16: the pid has been given to somebody else ------------------------------------------------


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def point_at(rt: Runtime, id: str, victim: int, *missing: str) -> None:
    """Have the state file name another process, as after a reuse of the pid."""
    path = Path(rt.root, id, "state.json")
    state = json.loads(path.read_bytes())
    state["pid"] = victim
    for name in missing:
        state[name] = None
    path.write_text(json.dumps(state))


@pytest.mark.parametrize("missing", [(), ("pidfsIno",), ("startTime",), ("startTime", "pidfsIno")])
def test_ex_16_a_process_with_the_pid_of_init_survives(
    rt: Runtime, victim: subprocess.Popen[bytes], missing: tuple[str, ...]
) -> None:
    """Fewer facts to tell them apart by make it less sure, never a victim."""
    id = rt.running()
    point_at(rt, id, victim.pid, *missing)
    assert rt.state(id)["status"] == "stopped"
    for number in ("KILL", "TERM", "0"):
        result = rt.kill(id, number)
        assert result.code == 1, result
        assert "container not running" in result.line
    result = rt.exec(id, "true")
    assert result.code == 125, result
    assert "container not running" in result.line
    assert rt.delete(id, "--force").code == 0
    assert victim.poll() is None
    assert rt.leaks() == []


REUSE = """
import json, os, signal, subprocess, sys, tempfile

def say(*words):
    print(*words, flush=True)

def shim(*words):
    with open("/dev/null", "r+") as null, tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run([*shim_argv, *words], stdin=null, stdout=null, stderr=errors)
        errors.seek(0)
        return done.returncode, errors.read()

bundle, *shim_argv = sys.argv[1:]
assert shim("create", "--bundle", bundle, "c")[0] == 0
root = shim_argv[shim_argv.index("--root") + 1]
pid = json.load(open(root + "/c/state.json"))["pid"]
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)  # pid 1 of this namespace inherits it
with open("/proc/sys/kernel/ns_last_pid", "w") as file:
    file.write(str(pid - 1))
victim = os.fork()
if victim == 0:
    signal.pause()
assert victim == pid, (victim, pid)
for words in (("kill", "c", "KILL"), ("delete", "--force", "c")):
    code, text = shim(*words)
    say(*words, code, text.strip())
say("victim", os.waitpid(victim, os.WNOHANG)[0])
os.kill(victim, signal.SIGKILL)
"""


def test_ex_16_a_pid_that_really_was_reused(rt: Runtime) -> None:
    """In a pid namespace, where the next pid can be chosen; we are its pid 1 and reap what dies."""
    inner = [sys.executable, "-c", REUSE, str(rt.bundle()), *rt.argv()]
    result = rt.run(["unshare", "--pid", "--fork", "--mount-proc", *inner])
    lines = result.out.splitlines()
    assert result.code == 0, result
    assert lines[0].startswith("kill c KILL 1 "), result
    assert "container not running" in lines[0]
    assert [line for line in lines if line.startswith("delete")] == ["delete --force c 0 "], result
    assert lines[-1] == "victim 0", "the process that took the pid was killed"


# -- EX-18: init dies while we enter ---------------------------------------------------------------

STAGES = {
    "before setns": "setns:delay_enter=300000",
    "after setns": "setns:delay_exit=300000",
    "before the fork": "clone3:delay_enter=300000",
    "after the fork": "clone3:delay_exit=300000",
    "in the pid namespace": "setsid:delay_enter=300000",
    "before execve": "close_range:delay_exit=300000",
}


@pytest.mark.parametrize("stage", STAGES)
def test_ex_18_init_dies_at_a_stage_of_the_helper(rt: Runtime, stage: str) -> None:
    """strace holds the helper at the stage, in which init is killed."""
    id = rt.running()
    pidfd = os.pidfd_open(rt.state(id)["pid"])
    out = rt.dir / "stderr"
    log_read, log_write = os.pipe()
    words = ["strace", "-f", "-o", f"/proc/self/fd/{log_write}", "-e", "trace=all"]
    words += ["-e", f"inject={STAGES[stage]}"]
    with out.open("wb") as errors:
        process = rt.spawn("exec", id, "true", prefix=words, stderr=errors, pass_fds=[log_write])
    os.close(log_write)
    name = STAGES[stage].partition(":")[0]
    joined = False
    with os.fdopen(log_read, "rb") as log:
        for line in log:
            joined = joined or b"shim-executor" in line
            if joined and f" {name}(".encode() in line:
                break
        started = monotonic()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        log.read()  # until strace and all it traced have ended
    code = process.wait(5)
    assert monotonic() - started < 2
    text = out.read_text()
    assert "memory" not in text
    assert code in (125, 137, 255), (code, text)
    assert code == 137 or "container not running" in text, (code, text)


def test_ex_18_init_dies_at_any_moment(rt: Runtime) -> None:
    """40 times, each time a little later; always an end within 2 s, and one of two answers."""
    bundle = rt.bundle()
    answers = set()
    for turn in range(40):
        assert rt.create("c", bundle).code == 0
        assert rt.start("c").code == 0
        pidfd = os.pidfd_open(rt.state("c")["pid"])
        with (rt.dir / "stderr").open("w+b") as errors:
            process = rt.spawn("exec", "c", "sleep", "1000", stderr=errors)
            select.select([], [], [], turn * 0.002)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
            code = process.wait(2)
            errors.seek(0)
            text = errors.read().decode()
        if code != 137:
            assert code == 125, (code, text)
            assert text.endswith(": container not running\n"), text
            assert text.count("\n") == 1, text
        answers.add(code)
        assert rt.delete("c").code == 0
    assert answers == {125, 137}, "the moments were all too early or all too late"


# -- EX-19: a zombie of ours in the container ------------------------------------------------------


def test_ex_19_an_unreaped_exec_does_not_keep_delete_for_long(rt: Runtime) -> None:
    """The kernel ends init only after every other process of the pid namespace was reaped, and the
    parent of what `exec` started is outside. Once that reaps, all must end within a second."""
    id = rt.running()
    caller = rt.spawn("exec", id, "sleep", "1000")
    wait_for_processes(rt, 2)
    os.kill(caller.pid, signal.SIGSTOP)
    delete = rt.spawn("delete", "--force", id)
    select.select([], [], [], 0.5)
    assert delete.poll() is None, "init has ended although its namespace has a zombie"
    os.kill(caller.pid, signal.SIGCONT)
    started = monotonic()
    assert caller.wait(5) == 137
    assert delete.wait(5) == 0
    assert monotonic() - started < 1
    assert rt.leaks() == []


def wait_for_processes(rt: Runtime, count: int) -> None:
    """Until the container has so many processes; cgroup.events does not tell that, so look."""
    deadline = monotonic() + 10
    while len(rt.group.pids()) < count or any(
        "shim" in Path(f"/proc/{pid}/comm").read_text() for pid in rt.group.pids()
    ):
        assert monotonic() < deadline, "the processes do not come"
        select.select([], [], [], 0.01)

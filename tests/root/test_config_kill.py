"""`kill` and `delete` on real containers, in every state."""

from __future__ import annotations

import json
import os
import select
import signal
from pathlib import Path

import pytest
from root.config_support import init_pid, status_of, wait_stopped
from support.runtime import Runtime


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("TERM", "TERM"), ("SIGTERM", "TERM"), ("sigterm", "TERM"), ("15", "TERM"), ("HUP", "HUP"),
        ("10", "USR1"),
    ],
)  # fmt: skip
def test_kill_by_name_and_number(rt: Runtime, given: str, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    rt.running("sh", "-c", "trap 'echo got >/got; exit 0' " + name + "; mkfifo /f; read x </f")
    pid = init_pid(rt)
    # the trap is set once the fifo is there
    while not (rt.rootfs / "f").exists():
        assert Path(f"/proc/{pid}").exists()
    caught = int(status_of(Path(f"/proc/{pid}/status").read_text())["SigCgt"], 16)
    assert caught >> (number - 1) & 1
    assert rt.kill("c", given).code == 0
    wait_stopped(rt)
    assert (rt.rootfs / "got").read_text() == "got\n"


def test_kill_without_a_signal_is_sigterm(rt: Runtime) -> None:
    rt.running("sh", "-c", "trap 'echo got >/got; exit 0' TERM; mkfifo /f; read x </f")
    while not (rt.rootfs / "f").exists():
        assert Path(f"/proc/{init_pid(rt)}").exists()
    assert rt.shim("kill", "c").code == 0
    wait_stopped(rt)
    assert (rt.rootfs / "got").exists()


@pytest.mark.parametrize("given", ["NOSUCH", "0x9", "-9", "99"])
def test_kill_with_a_signal_that_does_not_exist(rt: Runtime, given: str) -> None:
    rt.running()
    result = rt.shim("kill", "c", "--", given) if given == "-9" else rt.shim("kill", "c", given)
    assert result.code in (1, 2)
    assert rt.state("c")["status"] == "running"


def test_kill_zero_only_asks(rt: Runtime) -> None:
    rt.running()
    assert rt.kill("c", "0").code == 0
    assert rt.state("c")["status"] == "running"


def test_kill_all_reaches_every_process(rt: Runtime) -> None:
    """Processes that init does not know of, too: those of exec."""
    rt.running()
    file = rt.dir / "pid"
    assert rt.exec("c", "sleep", "500", flags=["-d", "--pid-file", str(file)]).code == 0
    pid = int(file.read_text())
    pidfd = os.pidfd_open(pid)
    assert rt.kill("c", "TERM", "--all").code == 0
    assert select.select([pidfd], [], [], 5)[0]
    os.close(pidfd)
    # pid 1 of a pid namespace has no handler for TERM: it lives (pid_namespaces(7))
    assert rt.state("c")["status"] == "running"


def test_kill_all_of_a_stopped_container_is_content(rt: Runtime) -> None:
    """containerd's shim does it after init has ended, with its pid namespace shared."""
    rt.running("true")
    wait_stopped(rt)
    assert rt.kill("c", "KILL", "--all").code == 0


def test_kill_of_a_paused_container(rt: Runtime) -> None:
    """The freezer of cgroup v2 lets SIGKILL through (cgroup-v2.rst)."""
    rt.running()
    assert rt.shim("pause", "c").code == 0
    assert rt.kill("c", "KILL").code == 0
    wait_stopped(rt)
    assert rt.state("c")["status"] == "stopped"
    assert rt.delete("c").code == 0


@pytest.mark.parametrize("state", ["created", "running", "paused", "stopped"])
def test_delete_force_in_every_state(rt: Runtime, state: str) -> None:
    assert rt.create("c", rt.bundle()).code == 0
    if state != "created":
        assert rt.start("c").code == 0
    if state == "paused":
        assert rt.shim("pause", "c").code == 0
    if state == "stopped":
        assert rt.kill("c", "KILL").code == 0
        wait_stopped(rt)
    assert rt.state("c")["status"] == state
    result = rt.delete("c", "--force")
    assert (result.code, result.err) == (0, "")
    assert rt.leaks() == []


def test_delete_ends_what_exec_started(rt: Runtime) -> None:
    """Without a pid namespace of its own init's end ends nobody else."""
    config = rt.config("true")
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]
    config["process"]["args"] = ["sh", "-c", "sleep 1000 & sleep 1000 & exit 0"]
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    wait_stopped(rt)
    listed = json.loads(rt.shim("ps", "-f", "json", "c").out)
    assert len(listed) == 2
    assert rt.delete("c").code == 0
    assert rt.leaks() == []

"""`resources` beside a handler: the container's process in <cgroup>/main, its hooks beside it.

What the limits do needs controllers that not every machine has on cgroup v2: tests/vm. `resources:
{}` has the layout without needing any.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.lifecycle import TERM_EXIT, Lives, eventually, sh

COUNTED: dict[str, Any] = {"resources": {}}


def where(pid: int) -> str:
    """The last part of a process's cgroup."""
    return Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition("/")[2]


def test_the_process_an_exec_and_a_hook_each_in_their_place(lives: Lives) -> None:
    begun, go = lives.fifo("begun"), lives.fifo("go")
    lives.run(post_start=sh("echo x >/home/begun; read x </home/go") | COUNTED, pre_stop=sh("true"))
    begun.line()
    assert where(lives.rt.state("c")["pid"]) == "main"
    assert lives.pids(below="hook-")
    assert lives.rt.output("c", "cat", "/proc/self/cgroup").splitlines()[-1] == "0::/"
    held = lives.rt.spawn("exec", "c", "sh", "-c", "echo x >/home/begun; read x </home/go")
    begun.line()
    assert len(lives.pids(below="main")) >= 3, "PID 1, its sleep, and the exec"
    assert (lives.cgroup() / "cgroup.procs").read_text() == ""
    go.go()
    go.go()
    assert held.wait(10) == 0
    lives.stop()
    assert [hook["outcome"] for hook in lives.hooks()] == ["succeeded", "succeeded"]
    assert all(hook["usage"]["cpuUsec"] > 0 for hook in lives.hooks())
    assert lives.exit_code() == "7"


def test_pause_and_kill_reach_all_of_it(lives: Lives) -> None:
    begun = lives.fifo("begun")
    lives.fifo("never")
    lives.run(post_start=sh("echo x >/home/begun; read x </home/never") | COUNTED)
    begun.line()
    assert lives.rt.shim("pause", "c").code == 0
    assert lives.rt.state("c")["status"] == "paused"
    assert lives.rt.shim("resume", "c").code == 0
    assert lives.rt.state("c")["status"] == "running"
    assert lives.rt.kill("c", "KILL").code == 0
    assert lives.exit_code() == "137"
    assert lives.pids() == []
    assert (lives.hook()["outcome"], lives.hook()["error"]) == (
        "interrupted", "the container exited",
    )  # fmt: skip
    assert lives.rt.delete("c").code == 0  # and the fixture looks for what is left


def test_the_device_rules_hold_in_main(lives: Lives) -> None:
    lives.run(pre_stop=sh("true") | COUNTED)
    kmsg = "mknod /dev/k c 1 11 && dd if=/dev/k of=/dev/null bs=1 count=1"
    result = lives.rt.exec("c", "sh", "-c", kmsg)
    assert result.code == 1
    assert "Operation not permitted" in result.err


def test_a_hook_is_delivered_again_by_the_next_monitor(lives: Lives) -> None:
    begun, go = lives.fifo("begun"), lives.fifo("go")
    lives.run(post_start=sh("echo x >/home/begun; read x </home/go") | COUNTED)
    begun.line()
    lives.kill_monitor()
    assert lives.rt.state("c")["status"] == "running"
    follow = lives.follow()
    begun.line()
    go.go()
    follow.until("PostStartHookSucceeded")
    assert [hook["attempt"] for hook in lives.hooks()] == [1, 2]
    assert eventually(lambda: not list(lives.cgroup().glob("hook-*")))


def test_the_engines_way(lives: Lives) -> None:
    """create, start, the stop signal: the monitor that comes for the stop finds the layout."""
    lives.create(pre_stop=sh("echo bye") | COUNTED)
    assert where(lives.rt.state("c")["pid"]) == "main"
    assert lives.rt.kill("c", "TERM").code == 0
    assert eventually(lambda: lives.phase() == "stopped")
    assert lives.hook()["output"] == "bye\n"


def test_a_container_without_limits_is_as_before(lives: Lives) -> None:
    lives.run(pre_stop=sh("true"))
    assert not (lives.cgroup() / "main").exists()
    assert where(lives.rt.state("c")["pid"]) == lives.cgroup().name


@pytest.mark.parametrize(
    ("field", "value", "file", "text"),
    [
        ("memory", "64Mi", "memory.max", f"{64 << 20}\n"),
        ("pids", 20, "pids.max", "20\n"),
        ("cpu", "500m", "cpu.max", "50000 100000\n"),
    ],
)
def test_a_limit_holds_or_is_refused_by_name(
    lives: Lives, field: str, value: object, file: str, text: str
) -> None:
    """No controller, no container: create says which field, and where the controller is."""
    controller = file.partition(".")[0]
    document = lives.document(
        post_start=sh("echo x >/home/begun; read x </home/go") | {"resources": {field: value}}
    )
    begun, go = lives.fifo("begun"), lives.fifo("go")
    bundle = lives.rt.bundle("sh", "-c", TERM_EXIT)
    path = lives.file(document)
    result = lives.rt.shim("run", "-d", "-b", str(bundle), "--lifecycle", path, "c")
    if controller in lives.rt.group.read("cgroup.controllers").split():
        assert result.code == 0, result
        begun.line()
        (leaf,) = lives.cgroup().glob("hook-*")
        assert (leaf / file).read_text() == text
        go.go()
        return
    where_from = f"{path}: /lifecycle/postStart/resources/{field}: {controller} controller is "
    assert result.code != 0
    assert where_from in result.line
    assert lives.rt.ids() == []
    assert not list(Path(f"{lives.rt.mount.path}{lives.rt.cgroup}").glob("c*/"))


def test_the_state_keeps_the_layout(lives: Lives) -> None:
    lives.run(pre_stop=sh("true") | COUNTED)
    state = json.loads((Path(lives.rt.root) / "c/state.json").read_text())
    assert state["cgroup"]["layout"] == "inner"
    assert state["lifecycle"]["preStop"]["resources"] == {}

"""Hooks and the state of cgroups: killed once, frozen, limited (SECURITY.md CG-01, CG-02, CG-03,
EX-19)."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest
from support.lifecycle import DEAF, TERM_EXIT, Lives, eventually, ready, sh

LIVES = 25
"""Containers of a test that repeats itself; each has two hooks."""


def two_hooks(lives: Lives, id: str, prefix: tuple[str, ...] = ()) -> list[str | None]:
    """A whole life with both hooks; how they ended."""
    bundle = lives.rt.bundle("sh", "-c", TERM_EXIT)
    file = lives.file(lives.document(post_start=sh("echo one"), pre_stop=sh("echo two")))
    flags = ["-b", str(bundle), "--lifecycle", file]
    result = lives.rt.shim("run", "-d", *flags, id, prefix=prefix)
    assert result.code == 0, result
    assert eventually(lambda: lives.phase(id) != "starting")
    lives.stop(id)
    hooks = lives.hooks(id)
    assert lives.rt.delete(id).code == 0
    assert [hook["output"] for hook in hooks] == ["one\n", "two\n"], hooks
    return [hook["outcome"] for hook in hooks]


def test_cg_01_below_a_cgroup_that_was_killed_once(lives: Lives) -> None:
    """Linux 6.18 kills what CLONE_INTO_CGROUP puts below it at birth; hooks run all the same."""
    lives.rt.group.kill()
    for number in range(LIVES):
        assert two_hooks(lives, f"c{number}") == ["succeeded", "succeeded"]


def test_cg_01_with_a_monitor_whose_own_cgroup_was_killed_once(lives: Lives) -> None:
    marked = lives.rt.group.child("marked")
    marked.kill()
    procs = f"{lives.rt.mount.path.rstrip('/')}{marked.path}/cgroup.procs"
    enter = ("sh", "-c", f'echo $$ >{procs}; exec "$@"', "sh")
    for number in range(5):
        assert two_hooks(lives, f"c{number}", enter) == ["succeeded", "succeeded"]
    assert marked.wait_empty(5), "a monitor is left"
    marked.remove()


def test_cg_01_the_leaf_of_a_hook_is_killed_and_the_next_hook_runs(lives: Lives) -> None:
    begun = lives.fifo("begun")
    lives.fifo("never")
    lives.run(post_start=sh("echo x >/home/begun; read x </home/never"), pre_stop=sh("echo next"))
    begun.line()
    (leaf,) = lives.cgroup().glob("hook-*")
    (leaf / "cgroup.kill").write_text("1")
    assert lives.exit_code() == "7"
    first, second = lives.hooks()
    assert (first["outcome"], first["signal"]) == ("failed", 9)
    assert (second["outcome"], second["output"]) == ("succeeded", "next\n")
    assert first["attempt"] == 1  # the hook had begun: it is not run twice


def test_cg_02_a_paused_container_is_thawed_for_its_stop(lives: Lives) -> None:
    lives.run(pre_stop=sh("echo thawed"))
    assert lives.rt.shim("pause", "c").code == 0
    before = monotonic()
    state = lives.rt.state("c")
    assert monotonic() - before < 2
    assert (state["status"], state["lifecycle"]["phase"]) == ("paused", "running")
    assert lives.timed_stop() < 3
    assert lives.hook()["output"] == "thawed\n"
    assert lives.exit_code() == "7"


@pytest.mark.parametrize("hook", ["postStart", "preStop"])
def test_cg_02_a_hook_in_a_frozen_container_is_cut_off_in_time(lives: Lives, hook: str) -> None:
    """Frozen while the hook runs: nothing of it can react, and the monitor still answers."""
    begun = lives.fifo("begun")
    lives.fifo("never")
    handler = sh("trap '' TERM; echo x >/home/begun; read x </home/never") | {"timeoutSeconds": 1}
    before = monotonic()
    lives.run(**{"post_start" if hook == "postStart" else "pre_stop": handler}, grace=20)
    if hook == "preStop":
        lives.stop("--no-wait", "c")
    begun.line()
    assert lives.rt.shim("pause", "c").code == 0
    asked = monotonic()
    lives.rt.state("c")
    assert monotonic() - asked < 2
    assert eventually(lambda: lives.hooks()[0]["outcome"] == "timedOut", 5)
    assert 1.0 <= monotonic() - before < 4
    if hook == "preStop":
        lives.rt.shim("resume", "c")
    assert lives.exit_code() == "7"


def test_cg_02_frozen_past_the_deadline(lives: Lives) -> None:
    """SIGKILL through cgroup.kill ends frozen processes as well (cgroup v2)."""
    begun = lives.fifo("begun")
    lives.fifo("never")
    lives.run(DEAF, pre_stop=sh("echo x >/home/begun; read x </home/never"), grace=1)
    with lives.pidfd(lives.rt.state("c")["pid"]) as init:
        lives.stop("--no-wait", "c")
        begun.line()
        assert lives.rt.shim("pause", "c").code == 0
        assert ready(init, 3)
    assert lives.exit_code() == "137"


def test_cg_03_frozen_and_thawed_while_hooks_run(lives: Lives) -> None:
    lives.run(
        post_start={"sleep": {"seconds": 1}},
        pre_stop=sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo $i"),
        grace=20,
    )
    freezer = Path(lives.cgroup() / "cgroup.freeze")
    lives.stop("--no-wait", "c")
    for _ in range(200):
        if not freezer.exists():
            break
        try:
            freezer.write_text("1")
            freezer.write_text("0")
        except OSError:  # removed meanwhile
            break
    assert lives.exit_code() == "7"
    assert lives.hooks()[-1]["output"] == "20000\n"


def test_a_hook_that_may_not_fork_any_more_fails_and_the_stop_goes_on(lives: Lives) -> None:
    """pids.max of the container holds for its hooks too. Where the controller is on another
    hierarchy, RLIMIT_NPROC of a user with no other process stands in for it."""
    if "pids" in lives.rt.mount.controllers:
        config: dict[str, object] = {"linux": {"resources": {"pids": {"limit": 1}}}}
    else:
        rlimits = [{"type": "RLIMIT_NPROC", "soft": 1, "hard": 1}]
        user = {"uid": 4321, "gid": 4321}
        config = {"process": {"rlimits": rlimits, "user": user, "capabilities": None}}
    lives.run(["sleep", "1000"], pre_stop=sh("true & wait"), grace=1, config=config)
    lives.stop()
    hook = lives.hook()
    assert hook["outcome"] == "failed"
    assert "temporarily unavailable" in f"{hook['error']} {hook['output']}".lower(), hook
    assert lives.exit_code() == "137"


def test_ex_19_a_zombie_in_the_pid_namespace_does_not_hold_the_end_up(lives: Lives) -> None:
    """The kernel reaps init last: a hook that is dead and not reaped would keep init for ever."""
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.fifo("never")
    main = "read x </home/go; exit 3"
    lives.run(
        main,
        post_start=sh(
            "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo x >/home/begun; kill -STOP $$"
        ),
    )
    begun.line()
    with lives.pidfd(lives.rt.state("c")["pid"]) as init:
        before = monotonic()
        let_go.go()
        assert ready(init, 5)
        assert monotonic() - before < 1
    assert lives.exit_code() == "3"


def test_no_leaf_is_left_and_none_is_used_twice(lives: Lives) -> None:
    where = sh("grep ^0:: /proc/self/cgroup")
    lives.run(post_start=where, pre_stop=where)
    lives.follow().until("PostStartHookSucceeded")
    assert eventually(lambda: not list(lives.cgroup().glob("hook-*")))
    lives.stop()
    first, second = (hook["output"] for hook in lives.hooks())
    assert first.startswith("0::/")
    assert first != second

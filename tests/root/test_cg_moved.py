"""Containers that rearrange their own cgroup: exec and hooks stay below what create recorded
(SECURITY.md CG-04, CG-08, CG-09)."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest
from support.lifecycle import TERM_EXIT, Lives, sh


def cgroup_of(pid: int) -> str:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line[3:] for line in lines if line.startswith("0::"))


def moved(group: Path, to: Path) -> None:
    """Put the container's processes into another cgroup."""
    to.mkdir()
    for pid in (group / "cgroup.procs").read_text().split():
        (to / "cgroup.procs").write_text(pid)


def test_cg_08_exec_and_hooks_below_an_inner_node(lives: Lives) -> None:
    """As systemd inside does it: init moves down and hands out a controller, which makes the
    container's cgroup a place that takes no process (EBUSY)."""
    lives.run(["sleep", "1000"], pre_stop=sh("echo hooked"), grace=2)
    group = lives.cgroup()
    controllers = (group / "cgroup.controllers").read_text().split()
    if not controllers:
        pytest.skip("no cgroup v2 controller reaches this cgroup")
    moved(group, group / "init.scope")
    (group / "cgroup.subtree_control").write_text(f"+{controllers[0]}")
    before = cgroup_of(lives.rt.state("c")["pid"])
    assert before.endswith("/init.scope")
    assert lives.rt.output("c", "echo", "joined") == "joined\n"
    assert [d.name for d in group.iterdir() if d.name.startswith("exec-")], "no leaf of its own"
    lives.stop("c")
    assert lives.hooks()[-1]["output"] == "hooked\n"
    assert lives.rt.delete("c").code == 0
    assert not group.exists()


def test_cg_09_exec_does_not_follow_an_init_that_went_elsewhere(lives: Lives) -> None:
    lives.run(["sleep", "1000"])
    group = lives.cgroup()
    elsewhere = group.parent / "elsewhere"
    try:
        moved(group, elsewhere)
        begun, end = lives.fifo("begun"), lives.fifo("end")
        script = "echo x >/home/begun; read x </home/end"
        process = lives.rt.spawn("exec", "c", "sh", "-c", script)
        begun.line()
        joined = (group / "cgroup.procs").read_text().split()
        assert len(joined) == 1, "exec is not in the recorded cgroup"
        init = str(lives.rt.state("c")["pid"])
        assert (elsewhere / "cgroup.procs").read_text().split() == [init]
        end.go()
        assert process.wait(5) == 0
        assert lives.rt.kill("c", "KILL").code == 0
        lives.exit_code()
    finally:
        if elsewhere.exists():
            (elsewhere / "cgroup.kill").write_text("1")
            elsewhere.rmdir()


def test_cg_04_stop_of_a_paused_container(lives: Lives) -> None:
    """Thawed, then PreStop, then the signal, within the grace period."""
    lives.run(TERM_EXIT, pre_stop=sh("echo thawed"), grace=10)
    assert lives.rt.shim("pause", "c").code == 0
    before = monotonic()
    lives.stop("c")
    assert monotonic() - before < 10
    assert lives.exit_code() == "7"
    assert lives.hooks()[-1]["output"] == "thawed\n"

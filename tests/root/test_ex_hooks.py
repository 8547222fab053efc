"""SECURITY.md CV-01, CV-02, EX-02, EX-03, EX-06, EX-07, EX-19, EX-25 for hooks: the same executor,
started by the monitor's spawner instead of by a verb (csrc/serve.c)."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

from root.test_cv_exec import HELPER, OWN, REFUSED, TRACING, host_files
from root.test_ex_environment import CARELESS, NOISE
from support.attack import Findings
from support.lifecycle import Lives, eventually, sh

from shim.bundle.make import PATH

CONTAINERS = 12
"""Two hooks each; starting a container is what takes the time."""


def attacked(lives: Lives, attacker: Path, process: dict[str, Any] | None = None) -> list[Findings]:
    """Containers with the attacker as their init; a hook at start and one at stop."""
    rt = lives.rt
    shutil.copy(attacker, rt.rootfs / "attacker")
    found = []
    for _ in range(CONTAINERS):
        (rt.rootfs / "findings").unlink(missing_ok=True)
        lives.run(
            ["/attacker", "/findings"],
            config={"process": process or {}},
            post_start={"exec": {"command": ["true"]}},
            pre_stop={"exec": {"command": ["true"]}},
        )
        lives.stop()
        assert [hook["outcome"] for hook in lives.hooks()] == ["succeeded"] * 2
        assert rt.delete("c").code == 0
        found.append(Findings((rt.rootfs / "findings").read_text()))
    assert sum(one.count("helper") for one in found) >= CONTAINERS // 2
    return found


def test_cv_01_cv_02_ex_02_hooks_are_out_of_reach(lives: Lives, attacker: Path) -> None:
    before = host_files()
    for found in attacked(lives, attacker):
        assert found.all("reach") == set(), found.text
        assert found.all("fd") == set(), found.text
        assert found.all("write") <= {f"running {name}" for name in REFUSED}, found.text
    assert host_files() == before


def test_cv_01_ex_02_ex_03_hooks_of_a_container_that_may_trace(
    lives: Lives, attacker: Path
) -> None:
    before = host_files()
    refused = {f"{when} {name}" for when in ("running", "ended") for name in REFUSED}
    links = set()
    for found in attacked(lives, attacker, TRACING):
        links |= found.all("exe")
        assert found.all("write") <= refused, found.text
        rest = {fd for fd in found.all("fd") if fd.split()[0] not in ("0", "1", "2")}
        assert {fd.split()[1].split(":")[0] for fd in rest} <= {"socket"}, found.text
        assert len(rest) <= 2, f"more than the status socket of each hook:\n{found.text}"
        stdio = found.all("fd") - rest
        assert {fd.split()[1].split(":")[0] for fd in stdio} <= {"/dev/null", "pipe"}, found.text
    assert HELPER in links
    assert links - {"ENOENT", "ESRCH"} <= {HELPER, OWN}
    assert host_files() == before


def output(lives: Lives, command: list[str], prefix: tuple[str, ...] = (), **how: Any) -> list[str]:
    """What a PostStart and a PreStop hook print, when `prefix` starts the monitor."""
    rt = lives.rt
    hook = {"exec": {"command": command}}
    file = lives.file(lives.document(post_start=hook, pre_stop=hook))
    bundle = rt.bundle("sleep", "1000", process={"env": [PATH, "A=1"]})
    words = ("run", "-d", "-b", str(bundle), "--lifecycle", file, "c")
    result = rt.shim(*words, prefix=prefix, **how)
    assert result.code == 0, result
    lives.stop("--grace", "1", "c")
    hooks = lives.hooks()
    assert [hook["outcome"] for hook in hooks] == ["succeeded"] * 2, hooks
    return [hook["output"] for hook in hooks]


def test_ex_06_a_hook_gets_stdio_only(lives: Lives) -> None:
    """The fourth is ls's own."""
    for text in output(lives, ["ls", "/proc/self/fd"], CARELESS):
        assert text.split() == ["0", "1", "2", "3"]


def test_ex_06_the_monitor_holds_nothing_of_its_caller(lives: Lives) -> None:
    output(lives, ["true"])  # one that is over
    assert lives.rt.delete("c", "--force").code == 0
    file = lives.file(lives.document(pre_stop=sh("true")))
    words = ("run", "-d", "-b", str(lives.rt.bundle()), "--lifecycle", file, "c")
    assert lives.rt.shim(*words, prefix=CARELESS).code == 0
    pid = lives.lifecycle()["monitorPid"]
    links = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert "/" not in links, "a directory of the host that was its caller's"
    assert len(links) < 40, links
    lives.stop("--now", "c")


def test_ex_07_a_hook_has_the_environment_of_the_container(lives: Lives) -> None:
    for text in output(lives, ["env"], env={**os.environ, **NOISE}):
        lines = [line for line in text.splitlines() if not line.startswith("SHIM_HOOK")]
        assert lines == [PATH, "A=1", "HOME=/root"]
        assert len(text.splitlines()) <= len(lines) + 8


def test_ex_25_a_hook_has_default_signals(lives: Lives) -> None:
    """Python ignores SIGPIPE, the caller everything else, and the monitor blocks what it reads."""
    for text in output(lives, ["grep", "^Sig[BIC]", "/proc/self/status"], CARELESS):
        assert {line.split()[1] for line in text.splitlines()} == {"0" * 16}


def test_ex_19_a_monitor_that_did_not_reap_ends_within_a_second_of_reaping(lives: Lives) -> None:
    """The hook's zombie keeps init; the monitor must reap it before it waits for init, ever."""
    lives.run("sleep 1000", post_start=sh("echo here > /home/here; sleep 1000"))
    assert eventually((lives.rt.rootfs / "home/here").exists)
    monitor = lives.lifecycle()["monitorPid"]
    with lives.pidfd(lives.rt.state("c")["pid"]) as init:
        os.kill(monitor, signal.SIGSTOP)
        try:
            assert lives.rt.kill("c", "KILL").code == 0
            assert not lives.rt.ended(init, 0.5), "the hook was no zombie in the pid namespace"
        finally:
            os.kill(monitor, signal.SIGCONT)
        assert lives.rt.ended(init, 1)
    assert lives.exit_code() == "137"

"""A hook's own limits and counts, and who the OOM killer is said to have ended (SECURITY.md CG-12,
CG-13, CG-15): asserted against the kernel's own files."""

from __future__ import annotations

from typing import Any

import pytest
from support.accounts import MIB, Account, alive
from support.lifecycle import DEAF, Lives, eventually, sh

FAR = 30.0
"""Seconds for what an emulated machine does slowly."""

GREEDY = "exec dd if=/dev/zero of=/dev/null bs=256M count=1"
CHILD = "dd if=/dev/zero of=/dev/null bs=256M count=1; exit $?"
TOUCH = "dd if=/dev/zero of=/dev/null bs=20M count=1 2>/dev/null"
BOMB = "i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; echo all of them"
ITS, HOOKS = (f"killed: out of memory ({whose}'s limit)" for whose in ("container", "hook"))


def memory(limit: int, **unified: str) -> dict[str, Any]:
    """A config's memory limit, without swap."""
    limits = {"limit": limit, "swap": limit}
    return {"linux": {"resources": {"memory": limits, "unified": unified}}}


def stopped_by(lives: Lives, reason: str = "FailedPreStopHook", **life: Any) -> dict[str, Any]:
    """Run a container to the end of its preStop hook; what is known of that."""
    lives.run(DEAF, post_start=sh("true"), grace=60, **life)
    lives.follow().until("PostStartHookSucceeded", FAR)
    lives.stop("--no-wait", "c")
    lives.follow().until(reason, FAR)
    assert eventually(lambda: lives.hooks()[1]["outcome"] is not None)
    return lives.hooks()[1]


@pytest.mark.parametrize("script", [GREEDY, CHILD])
def test_the_containers_limit(lives: Lives, account: Account, script: str) -> None:
    hook = stopped_by(lives, pre_stop=sh(script), config=memory(64 * MIB))
    assert (hook["outcome"], hook["error"]) == ("failed", ITS)
    assert hook["usage"]["oomKills"] == account.keyed("memory.events")["oom_kill"] == 1
    assert ITS in lives.message("FailedPreStopHook")
    assert alive(lives)
    assert lives.rt.kill("c", "KILL").code == 0
    assert lives.exit_code() == "137"
    assert "OOMKilled" not in lives.reasons()


@pytest.mark.parametrize("script", [GREEDY, CHILD])
def test_the_hooks_own_memory_limit(lives: Lives, account: Account, script: str) -> None:
    """Below the container's: the service never notices."""
    bounded = sh(script) | {"resources": {"memory": "32Mi"}}
    hook = stopped_by(lives, pre_stop=bounded, config=memory(512 * MIB))
    assert (hook["outcome"], hook["error"], hook["signal"]) == ("failed", HOOKS, 9)
    usage = hook["usage"]
    assert usage["oomKills"] == account.keyed("memory.events")["oom_kill"]
    assert usage["oomKills"] >= 1
    assert 16 * MIB <= usage["memoryPeakBytes"] <= 32 * MIB
    assert alive(lives)
    assert "OOMKilled" not in lives.reasons()


def test_cg_13_no_memory_even_for_the_helper(lives: Lives, account: Account) -> None:
    """It dies before it can run the hook, both times."""
    hook = stopped_by(lives, pre_stop=sh("true") | {"resources": {"memory": 4096}})
    assert (hook["outcome"], hook["error"]) == ("failed", HOOKS), hook
    assert account.keyed("memory.events")["oom_kill"] >= 1
    assert alive(lives)


def test_the_hooks_own_pids_limit(lives: Lives) -> None:
    hook = stopped_by(lives, pre_stop=sh(BOMB) | {"resources": {"pids": 10}})
    assert hook["outcome"] == "failed"
    assert hook["error"] == "pids limit (hook's limit)"
    assert "all of them" not in hook["output"]
    assert hook["usage"]["pidsPeak"] in (None, 10)
    assert alive(lives)


def test_the_containers_pids_limit(lives: Lives) -> None:
    config = {"linux": {"resources": {"pids": {"limit": 24}}}}
    hook = stopped_by(lives, pre_stop=sh(BOMB), config=config)
    assert (hook["outcome"], hook["error"]) == ("failed", "pids limit (container's limit)")


def test_cg_15_no_room_for_the_hook_itself(lives: Lives) -> None:
    """clone3 or the fork into the pid namespace says EAGAIN; the stop goes on."""
    config = {"linux": {"resources": {"pids": {"limit": 24}}}}
    still = ["sleep", "1000"]  # one process and no fork: a full container must not end by itself
    lives.run(still, pre_stop=sh("true"), config=config, grace=3)
    full = Account(lives).number("pids.current")
    for limit, reason in ((full, "clone3"), (full + 1, "fork")):
        (lives.cgroup() / "pids.max").write_text(str(limit))
        lives.stop("c")
        (hook,) = lives.hooks()
        assert hook["outcome"] == "failed"
        assert "pids limit" in hook["error"]
        assert reason in hook["error"]
        assert lives.exit_code() == "137"
        assert lives.rt.delete("c").code == 0
        if reason == "clone3":
            lives.run(still, pre_stop=sh("true"), config=config, grace=3)


def test_the_hooks_own_cpu_limit(lives: Lives) -> None:
    busy = sh("while :; do :; done") | {"resources": {"cpu": "100m"}, "timeoutSeconds": 2}
    hook = stopped_by(lives, "PreStopHookTimeout", pre_stop=busy)
    assert hook["outcome"] == "timedOut"
    assert 100_000 <= hook["usage"]["cpuUsec"] <= 350_000
    assert hook["usage"]["throttledUsec"] >= 1_000_000


def test_what_a_hook_is_counted_apart_for(lives: Lives) -> None:
    counted = sh(TOUCH) | {"resources": {}}
    hook = stopped_by(lives, "PreStopHookSucceeded", pre_stop=counted)
    usage = hook["usage"]
    assert usage["memoryPeakBytes"] >= 20 * MIB
    assert usage["maxRssBytes"] >= 20 * MIB
    assert usage["oomKills"] == 0
    assert usage["pidsPeak"] in (None, 2, 3)
    assert (usage["ioReadBytes"], usage["ioWriteBytes"]) == (0, 0)


def test_the_service_itself_runs_out_of_memory(lives: Lives) -> None:
    lives.run(GREEDY, config=memory(64 * MIB))
    assert lives.exit_code(timeout=FAR) == "137"
    assert lives.message("OOMKilled")
    assert lives.rt.shim("describe", "c").out.count("OOMKilled") == 2


@pytest.mark.parametrize("resources", [{}, None])
def test_the_service_runs_out_of_memory_during_a_hook(
    lives: Lives, resources: dict[str, Any] | None
) -> None:
    go = lives.fifo("go")
    hook = sh("echo x >/home/begun; exec sleep 1000")
    if resources is not None:
        hook["resources"] = resources
    begun = lives.fifo("begun")
    lives.run(f"read x </home/go; {GREEDY}", post_start=hook, config=memory(64 * MIB))
    begun.line(FAR)
    go.go()
    assert lives.exit_code(timeout=FAR) == "137"
    assert "OOMKilled" in lives.reasons()
    assert (lives.hook()["outcome"], lives.hook()["error"]) == (
        "interrupted",
        "the container exited",
    )


@pytest.mark.parametrize("resources", [{}, None])
def test_memory_oom_group_ends_both_and_both_say_so(
    lives: Lives, resources: dict[str, Any] | None
) -> None:
    hook = sh(GREEDY)
    if resources is not None:
        hook["resources"] = resources
    lives.run(
        "exec sleep 1000", pre_stop=hook, config=memory(64 * MIB, **{"memory.oom.group": "1"})
    )
    lives.rt.shim("stop", "c", timeout=FAR)
    assert lives.exit_code(timeout=FAR) == "137"
    assert "OOMKilled" in lives.reasons()
    assert lives.hook()["error"] == ITS

"""A hook that runs into the container's limits is stopped by them, and the service lives
(SECURITY.md CG-03..05, HK-01)."""

from __future__ import annotations

from datetime import datetime

from support.accounts import MIB, Account, alive
from support.lifecycle import DEAF, Lives, eventually, sh

FAR = 30.0
"""Seconds for what an emulated machine does slowly."""

BOMB = "i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; echo all of them"
GREEDY = "dd if=/dev/zero of=/dev/null bs=256M count=1"


def test_pids_max_stops_a_fork_bomb(lives: Lives, account: Account) -> None:
    lives.run(
        DEAF,
        config={"linux": {"resources": {"pids": {"limit": 24}}}},
        post_start=sh("true"),
        pre_stop=sh(BOMB),
        grace=60,
    )
    lives.follow().until("PostStartHookSucceeded", FAR)
    lives.stop("--no-wait", "c")
    lives.follow().until("FailedPreStopHook", FAR)
    hook = lives.hooks()[1]
    assert hook["outcome"] == "failed", hook
    assert "fork" in hook["output"], hook
    assert "all of them" not in hook["output"]
    assert account.keyed("pids.events")["max"] >= 1
    # the bomb is cleared away, and the service (a shell that reaps, and its sleep) is not
    assert eventually(lambda: account.number("pids.current") == 2)
    assert alive(lives)


def test_pids_max_stops_a_fork_bomb_of_exec(lives: Lives, account: Account) -> None:
    lives.rt.running(linux={"resources": {"pids": {"limit": 24}}})
    result = lives.rt.exec("c", "sh", "-c", BOMB + " >/dev/null")
    assert result.code == 2, result  # busybox sh: cannot fork
    assert account.keyed("pids.events")["max"] >= 1
    assert account.number("pids.current") <= 24
    assert alive(lives)


def test_memory_max_kills_a_greedy_hook_and_not_the_service(lives: Lives, account: Account) -> None:
    limit = {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}
    lives.run(
        "exec sleep 1000",
        config={"linux": {"resources": limit}},
        post_start=sh("true"),
        pre_stop=sh(f"exec {GREEDY}"),
        grace=60,
    )
    lives.follow().until("PostStartHookSucceeded", FAR)
    lives.stop("--no-wait", "c")
    lives.follow().until("FailedPreStopHook", FAR)
    hook = lives.hooks()[1]
    assert (hook["outcome"], hook["exitCode"], hook["signal"]) == ("failed", None, 9), hook
    events = account.keyed("memory.events")
    assert (events["oom_kill"], events.get("oom_group_kill", 0)) == (1, 0)
    assert account.number("memory.peak") <= 64 * MIB
    assert "OOMKilled" not in lives.reasons()
    assert alive(lives)


def test_memory_max_kills_a_greedy_exec_and_not_the_service(lives: Lives, account: Account) -> None:
    lives.rt.running(linux={"resources": {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}})
    assert lives.rt.exec("c", *GREEDY.split()).code == 137
    assert account.keyed("memory.events")["oom_kill"] == 1
    assert alive(lives)


def test_cpu_max_does_not_shift_the_deadline(lives: Lives, account: Account) -> None:
    """A hook that gets a tenth of a CPU and wants all of it is ended when the grace is."""
    lives.run(
        DEAF,
        config={"linux": {"resources": {"cpu": {"quota": 10_000, "period": 100_000}}}},
        post_start=sh("true"),
        pre_stop=sh("while :; do :; done"),
        grace=3,
    )
    lives.follow().until("PostStartHookSucceeded", FAR)
    before = account.cpu_usec()
    lives.stop("--no-wait", "c")
    follow = lives.follow()
    follow.until("Killing")
    # the last look before the end takes the cgroup away
    assert eventually(lambda: account.keyed("cpu.stat")["nr_throttled"] >= 5)
    assert account.cpu_usec() - before < 500_000
    follow.until("Exited")
    at = {event["reason"]: datetime.fromisoformat(event["time"]) for event in follow.seen}
    assert abs((at["Exited"] - at["Killing"]).total_seconds() - 3) <= 0.3
    assert lives.hooks()[1]["outcome"] == "timedOut"

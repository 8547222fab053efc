"""The monitor is killed in every phase; the next verb takes over (CONTRACT.md "Delivery is at least
once"; SECURITY.md SP-11, SP-12, HK-16).

The container itself must not notice, an unfinished hook is delivered again with attempt 2 and the
grace that remains, a finished one is not, and an exit code that nobody saw is unknown.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic

import pytest
from support.lifecycle import DEAF, TERM_EXIT, Lives, eventually, ready, sh

ANSWERING = "trap 'exit 7' TERM; while read q </home/ask; do echo alive >/home/answer; done"


def readopt(lives: Lives) -> None:
    """Any verb that needs a monitor; this one asks for nothing new."""
    assert lives.rt.shim("stop", "--no-wait", "-t", "1000000", "c").code == 0


def moment(lives: Lives) -> float:
    """When SIGKILL comes, seconds since the epoch."""
    return datetime.fromisoformat(lives.lifecycle()["deadline"]).timestamp()


def left(lives: Lives) -> float:
    return moment(lives) - datetime.now(UTC).timestamp()


def test_sp_11_idle(lives: Lives) -> None:
    """The container lives on, and a stop delivers PreStop as if nothing had been."""
    ask, answer = lives.fifo("ask"), lives.fifo("answer")
    lives.run(ANSWERING, pre_stop=sh("echo $SHIM_HOOK_ATTEMPT"))
    lives.kill_monitor()
    ask.go()
    assert answer.line() == "alive"
    assert lives.rt.state("c")["status"] == "running"
    assert lives.lifecycle()["monitorPid"] is None
    assert lives.phase() == "running"
    lives.stop()
    hook = lives.hook()
    assert (hook["attempt"], hook["output"], hook["outcome"]) == (1, "1\n", "succeeded")
    assert "HookRedelivered" not in lives.reasons()


def test_sp_11_post_start(lives: Lives) -> None:
    begun = lives.fifo("begun")
    lives.fifo("never")
    script = "[ $SHIM_HOOK_ATTEMPT = 2 ] || { echo x >/home/begun; read x </home/never; }"
    lives.run(post_start=sh(script), pre_stop=sh("echo x"))
    begun.line()
    lives.kill_monitor()
    lost = lives.pids(below="hook")
    assert lost, "a hook lives on without its monitor"
    follow = lives.follow()
    assert lives.phase() == "starting"  # which also has it taken up again
    follow.until("PostStartHookSucceeded")
    assert [event["reason"] for event in follow.seen][2:] == [
        "HookRedelivered",
        "PostStartHookSucceeded",
    ]
    assert not set(lost) & set(lives.pids())
    assert lives.phase() == "running"
    lives.stop()
    first, second, *rest = lives.hooks()
    assert (first["hook"], first["attempt"], first["outcome"]) == ("postStart", 1, "interrupted")
    assert (first["exitCode"], first["durationSeconds"], first["finishedAt"]) == (None, None, None)
    assert (second["hook"], second["attempt"]) == ("postStart", 2)
    assert second["outcome"] == "succeeded"
    assert [hook["hook"] for hook in rest] == ["preStop"]


@pytest.mark.parametrize("times", [1, 2])
def test_sp_11_pre_stop_is_delivered_again_with_the_grace_that_remains(
    lives: Lives, times: int
) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    script = "echo $SHIM_HOOK_ATTEMPT >/home/begun; read x </home/go; echo done $SHIM_HOOK_ATTEMPT"
    lives.run(pre_stop=sh(script), grace=40)
    lives.stop("--no-wait", "c")
    for number in range(times):
        assert begun.line() == str(number + 1)
        deadline = moment(lives)
        lives.kill_monitor()
        readopt(lives)
        assert lives.phase() == "terminating"
        assert abs(moment(lives) - deadline) < 0.1
    assert begun.line() == str(times + 1)
    assert 30 < left(lives) <= 40
    let_go.go()
    follow = lives.follow()
    follow.until("Exited")
    *lost, last = lives.hooks()
    assert [hook["outcome"] for hook in lost] == ["interrupted"] * times
    assert [hook["attempt"] for hook in lives.hooks()] == list(range(1, times + 2))
    assert (last["outcome"], last["output"]) == ("succeeded", f"done {times + 1}\n")
    assert lives.reasons().count("HookRedelivered") == times
    assert lives.reasons().count("Killing") == 1
    redelivered = next(e for e in lives.events() if e["reason"] == "HookRedelivered")
    assert redelivered["type"] == "Warning"
    assert lives.reasons()[-2:] == ["StopSignalSent", "Exited"]


@pytest.mark.parametrize("verb", ["state", "list", "describe", "hooks", "wait", "stop", "kill"])
def test_sp_11_whatever_verb_comes_next_has_the_stop_completed(lives: Lives, verb: str) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.run(pre_stop=sh("echo x >/home/begun; read x </home/go"), grace=30)
    lives.stop("--no-wait", "c")
    begun.line()
    follow = lives.follow()
    lives.kill_monitor()
    words = {"list": ("list",), "wait": ("wait", "--timeout", "0.1", "c")}.get(verb, (verb, "c"))
    if verb == "stop":
        words = ("stop", "--no-wait", "c")
    assert lives.rt.shim(*words).code == (124 if verb == "wait" else 0)
    begun.line()
    let_go.go()
    follow.until("Exited")
    assert [hook["attempt"] for hook in lives.hooks()] == [1, 2]


def test_sp_11_a_grace_that_was_asked_for_remains_too(lives: Lives) -> None:
    """`stop -t` may give more than is configured; the takeover must not take it back."""
    begun = lives.fifo("begun")
    lives.fifo("never")
    lives.run(pre_stop=sh("echo x >/home/begun; read x </home/never"), grace=2)
    lives.stop("--no-wait", "-t", "60", "c")
    begun.line()
    lives.kill_monitor()
    readopt(lives)
    begun.line()
    assert 50 < left(lives) <= 60


def test_sp_11_the_deadline_is_kept_while_nobody_watches(lives: Lives) -> None:
    begun = lives.fifo("begun")
    lives.fifo("never")
    lives.run(DEAF, pre_stop=sh("echo x >/home/begun; read x </home/never"), grace=1)
    before = monotonic()
    lives.stop("--no-wait", "c")
    begun.line()
    with lives.pidfd(lives.rt.state("c")["pid"]) as init:
        lives.kill_monitor()
        assert not ready(init, 1.2), "killed by nobody"  # past the deadline
        readopt(lives)
        assert ready(init, 3)
    assert monotonic() - before < 5
    assert eventually(lambda: "Exited" in lives.reasons())
    assert len(lives.hooks()) == 1, "a hook was begun after the deadline"
    assert "KilledAfterGracePeriod" in lives.reasons()


def test_sp_11_after_the_stop_signal(lives: Lives) -> None:
    """Neither the hook nor the signal again, and SIGKILL when it was due."""
    term, begun = lives.fifo("term"), lives.fifo("begun")
    main = (
        "trap 'echo x >/home/term' TERM; echo x >/home/begun; while :; do sleep 1000 & wait; done"
    )
    lives.run(main, pre_stop=sh("echo $SHIM_HOOK_ATTEMPT"), grace=3)
    begun.line()
    before = monotonic()
    lives.stop("--no-wait", "c")
    term.line()
    assert eventually(lambda: lives.phase() == "stopping")
    with lives.pidfd(lives.rt.state("c")["pid"]) as init:
        lives.kill_monitor()
        readopt(lives)
        assert ready(init, 5)
        assert 3.0 <= monotonic() - before < 3.0 + 1
    assert eventually(lambda: lives.reasons()[-1] == "Exited")
    assert not ready(term.fd, 0), "the signal was sent twice"
    assert len(lives.hooks()) == 1
    assert lives.reasons().count("StopSignalSent") == 1
    assert lives.reasons().count("KilledAfterGracePeriod") == 1


def test_sp_11_with_sleep(lives: Lives) -> None:
    lives.run(pre_stop={"sleep": {"seconds": 2}}, grace=20)
    lives.stop("--no-wait", "c")
    assert eventually(lambda: lives.phase() == "terminating")
    lives.kill_monitor()
    readopt(lives)
    lives.follow().until("Exited")
    assert [(hook["attempt"], hook["outcome"]) for hook in lives.hooks()] == [
        (1, "interrupted"),
        (2, "succeeded"),
    ]


def test_sp_11_a_stop_waits_on_through_a_crash(lives: Lives) -> None:
    """The caller of `stop` is told when its monitor has gone; the next one ends it."""
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.run(pre_stop=sh("echo x >/home/begun; read x </home/go"), grace=30)
    caller = lives.rt.spawn("stop", "c")
    begun.line()
    lives.kill_monitor()
    assert caller.wait(10) == 1
    second = lives.rt.spawn("stop", "c")
    begun.line()
    let_go.go()
    assert second.wait(10) == 0
    assert lives.phase() == "stopped"


# -- exit codes ------------------------------------------------------------------------------------


def test_sp_12_an_exit_that_nobody_saw_is_unknown_never_zero(lives: Lives) -> None:
    let_go = lives.fifo("go")
    lives.run("read x </home/go; exit 0")
    with lives.pidfd(lives.rt.state("c")["pid"]) as init:
        lives.kill_monitor()
        let_go.go()
        assert ready(init)
    assert lives.rt.state("c")["status"] == "stopped"
    result = lives.wait()
    assert (result.code, result.out) == (125, "null\n")
    lives.stop()
    assert lives.wait().out == "null\n"
    assert lives.rt.delete("c").code == 0


def test_sp_12_the_takeover_learns_the_code_or_says_null(lives: Lives) -> None:
    """An adopted process is nobody's child here; Linux 6.15 tells its code all the same."""
    lives.run(TERM_EXIT)
    lives.kill_monitor()
    lives.stop()
    assert lives.exit_code() in ("7", "null")
    described = [e["message"] for e in lives.events() if e["reason"] == "Exited"]
    assert described in (
        ["Container c exited with code 7"],
        ["Container c exited, exit code unknown"],
    )
    assert lives.reasons() == ["Created", "Started", "Killing", "StopSignalSent", "Exited"]


def test_a_container_without_its_monitor_is_never_blocked_by_its_output(lives: Lives) -> None:
    """What it writes then is lost: EPIPE, as for any program whose reader has gone."""
    ask, answer = lives.fifo("ask"), lives.fifo("answer")
    main = (
        "trap '' PIPE; trap 'exit 7' TERM; echo one; "
        "while read q </home/ask; do echo two; echo alive >/home/answer; done"
    )
    lives.run(main)
    assert eventually(lambda: lives.rt.shim("logs", "c").out == "one\n")
    lives.kill_monitor()
    ask.go()
    assert answer.line() == "alive"
    assert lives.rt.shim("logs", "c").out == "one\n"

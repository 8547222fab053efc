"""PreStop, stop signal and SIGKILL in one budget, in real containers, scaled seconds
(CONTRACT.md "Lifecycle semantics"; SECURITY.md SP-01, SP-03, SP-05, SP-06, HK-12).

Times are taken from the monotonic clock here, where nothing may come early, and from the journal
there. LATE is what a loaded machine may add.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from time import monotonic

import pytest
from support.lifecycle import DEAF, TERM_EXIT, Lives, ready, sh

LATE = 0.5
SOON = 0.05  # what is written down a moment after the countdown has begun
WHOLE = ["Created", "Started", "Killing", "PreStopHookSucceeded", "StopSignalSent", "Exited"]


def seconds(event: dict[str, str]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def between(lives: Lives, first: str, second: str) -> float:
    found = {event["reason"]: seconds(event) for event in lives.events()}
    return found[second] - found[first]


def test_sp_01_pre_stop_then_the_signal_then_the_end(lives: Lives) -> None:
    """The container itself writes down what it saw, in order."""
    main = "trap 'echo TERM >>/home/log; exit 5' TERM; echo up >>/home/log; " + (
        "while :; do sleep 1000 & wait; done"
    )
    up = lives.fifo("up")
    lives.run(
        main.replace("echo up", "echo up >/home/up; echo up"),
        pre_stop=sh("echo hook >>/home/log; sleep 0.3; echo hook done >>/home/log"),
    )
    up.line()
    took = lives.timed_stop()
    assert 0.3 <= took < 0.3 + 2
    assert (lives.rt.rootfs / "home/log").read_text() == "up\nhook\nhook done\nTERM\n"
    assert lives.reasons() == WHOLE
    assert lives.exit_code() == "5"
    assert 0.3 - SOON <= between(lives, "Killing", "StopSignalSent") < 0.3 + LATE
    times = [event["time"] for event in lives.events()]
    assert times == sorted(times)


def test_the_process_runs_on_while_pre_stop_runs(lives: Lives) -> None:
    """No signal before the hook is done: the process answers the hook."""
    lives.fifo("ask")
    lives.fifo("answer")
    main = "trap 'exit 9' TERM; read q </home/ask; echo alive >/home/answer; sleep 1000 & wait"
    lives.run(main, pre_stop=sh("echo q >/home/ask; read a </home/answer; echo $a"))
    lives.stop()
    assert lives.hook()["output"] == "alive\n"
    assert lives.exit_code() == "9"


def test_phase_and_deadline_while_it_stops(lives: Lives) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.fifo("never")
    main = (
        "trap 'echo x >/home/begun; read x </home/never' TERM; while :; do sleep 1000 & wait; done"
    )
    lives.run(main, pre_stop=sh("echo x >/home/begun; read x </home/go"), grace=20)
    assert (lives.phase(), lives.lifecycle()["deadline"]) == ("running", None)
    lives.stop("--no-wait", "c")
    begun.line()
    terminating = lives.lifecycle()
    assert terminating["phase"] == "terminating"
    assert lives.rt.state("c")["status"] == "running"
    let_go.go()
    begun.line()
    stopping = lives.lifecycle()
    assert (stopping["phase"], stopping["deadline"]) == ("stopping", terminating["deadline"])
    killing = next(event for event in lives.events() if event["reason"] == "Killing")
    left = datetime.fromisoformat(stopping["deadline"]).timestamp() - seconds(killing)
    assert 19.9 <= left <= 20.1
    lives.stop("--now", "c")
    assert (lives.phase(), lives.lifecycle()["deadline"]) == ("stopped", None)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 1", 1), ("exit 255", 255), ("no-such-command-here", 127)]
)
def test_the_signal_follows_a_failed_pre_stop(lives: Lives, script: str, code: int) -> None:
    lives.run(pre_stop=sh(script))
    lives.stop()
    assert lives.reasons() == [
        r.replace("PreStopHookSucceeded", "FailedPreStopHook") for r in WHOLE
    ]
    assert (lives.hook()["outcome"], lives.hook()["exitCode"]) == ("failed", code)
    failed = next(event for event in lives.events() if event["reason"] == "FailedPreStopHook")
    assert failed["type"] == "Warning"
    assert f"exited with {code}" in failed["message"]
    assert lives.exit_code() == "7"


def test_a_hanging_pre_stop_is_killed_at_start_plus_grace(lives: Lives) -> None:
    begun = lives.fifo("begun")
    lives.fifo("never")
    lives.run(DEAF, pre_stop=sh("trap '' TERM; echo x >/home/begun; read x </home/never"), grace=1)
    with lives.pidfd(lives.rt.state("c")["pid"]) as init:
        before = monotonic()
        lives.stop("--no-wait", "c")
        asked = monotonic()
        begun.line()
        assert ready(init), "not killed"
        ended = monotonic()
    assert ended >= before + 1.0
    assert ended <= asked + 1.0 + LATE
    lives.wait()
    assert lives.reasons() == [
        "Created",
        "Started",
        "Killing",
        "PreStopHookTimeout",
        "StopSignalSent",
        "KilledAfterGracePeriod",
        "Exited",
    ]
    hook = lives.hook()
    assert (hook["outcome"], hook["exitCode"]) == ("timedOut", None)
    assert 1.0 - SOON <= hook["durationSeconds"] < 1.0 + LATE
    assert 1.0 - SOON <= between(lives, "Killing", "KilledAfterGracePeriod") < 1.0 + LATE
    assert lives.exit_code() == "137"


def test_the_documented_example_scaled(lives: Lives) -> None:
    """grace 60, hook 55, process needs 10 -> SIGKILL at 60; here 20 times faster."""
    main = "trap 'sleep 0.5; exit 0' TERM; while :; do sleep 1000 & wait; done"
    lives.run(main, pre_stop=sh("sleep 2.75"), grace=3)
    took = lives.timed_stop()
    assert 3.0 <= took < 3.0 + 2
    assert 2.75 - SOON <= between(lives, "Killing", "StopSignalSent") < 2.75 + LATE
    assert 3.0 - SOON <= between(lives, "Killing", "KilledAfterGracePeriod") < 3.0 + LATE
    assert lives.exit_code() == "137"
    assert lives.reasons()[-2:] == ["KilledAfterGracePeriod", "Exited"]


def test_a_pre_stop_with_a_timeout_of_its_own(lives: Lives) -> None:
    lives.fifo("never")
    lives.run(pre_stop={**sh("read x </home/never"), "timeoutSeconds": 0.4}, grace=20)
    took = lives.timed_stop()
    assert 0.4 <= took < 3
    assert lives.hook()["outcome"] == "timedOut"
    assert lives.reasons() == [r.replace("HookSucceeded", "HookTimeout") for r in WHOLE]
    assert lives.exit_code() == "7"


def test_sleep_holds_the_signal_back(lives: Lives) -> None:
    lives.run(pre_stop={"sleep": {"seconds": 1}}, grace=10)
    assert 1.0 <= lives.timed_stop() < 3
    hook = lives.hook()
    assert (hook["handler"], hook["outcome"], hook["output"]) == ("sleep", "succeeded", "")
    assert 1.0 - SOON <= between(lives, "Killing", "StopSignalSent") < 1.0 + LATE
    assert lives.reasons() == WHOLE


def test_sleep_ends_at_once_when_the_process_does(lives: Lives) -> None:
    let_go = lives.fifo("go")
    lives.run("read x </home/go; exit 2", pre_stop={"sleep": {"seconds": 30}}, grace=60)
    lives.stop("--no-wait", "c")
    let_go.go()
    assert lives.exit_code(timeout=5) == "2"
    hook = lives.hook()
    assert (hook["outcome"], hook["error"]) == ("interrupted", "the container exited")
    assert lives.reasons() == ["Created", "Started", "Killing", "Exited"]


def test_hk_12_the_end_of_the_process_ends_the_waiting(lives: Lives) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.fifo("never")
    lives.run(
        "read x </home/go; exit 6",
        pre_stop=sh("echo x >/home/begun; read x </home/never"),
        grace=60,
    )
    lives.stop("--no-wait", "c")
    begun.line()
    let_go.go()
    assert lives.exit_code(timeout=5) == "6"
    hook = lives.hook()
    assert (hook["outcome"], hook["error"]) == ("interrupted", "the container exited")
    assert lives.reasons() == ["Created", "Started", "Killing", "Exited"]


def test_no_pre_stop_when_the_process_ends_by_itself(lives: Lives) -> None:
    lives.run("exit 3", pre_stop=sh("echo x"))
    assert lives.exit_code() == "3"
    assert lives.reasons() == ["Created", "Started", "Exited"]
    assert lives.hooks() == []
    assert lives.events()[-1]["type"] == "Warning"  # nobody asked for a failure


@pytest.mark.parametrize("words", [("-t", "0"), ("--now",)])
def test_sp_03_grace_zero_is_sigkill_without_pre_stop(lives: Lives, words: tuple[str, ...]) -> None:
    lives.run(pre_stop=sh("echo x >/home/ran"), grace=30)
    assert lives.timed_stop(*words, "c") < 3
    assert lives.exit_code() == "137"
    assert lives.reasons() == ["Created", "Started", "Killing", "KilledAfterGracePeriod", "Exited"]
    assert not (lives.rt.rootfs / "home/ran").exists()


def test_sp_03_configured_grace_zero(lives: Lives) -> None:
    lives.run(pre_stop=sh("echo x"), grace=0)
    lives.stop()
    assert (lives.exit_code(), lives.hooks()) == ("137", [])


def test_sp_05_a_process_without_a_handler(lives: Lives) -> None:
    """The kernel ignores the signal for PID 1; the deadline is right all the same."""
    lives.run(["sleep", "1000"], grace=1)
    took = lives.timed_stop()
    assert 1.0 <= took < 1.0 + 2
    assert lives.exit_code() == "137"
    assert 1.0 - SOON <= between(lives, "StopSignalSent", "KilledAfterGracePeriod") < 1.0 + LATE


def test_sp_06_leftovers_of_a_process_that_forks_and_exits(lives: Lives) -> None:
    lives.run("setsid sleep 1000 & setsid sleep 1000 & exit 11")
    assert lives.exit_code() == "11"
    assert lives.pids() == []


def test_the_stop_signal_is_configurable(lives: Lives) -> None:
    main = "trap 'exit 3' QUIT; trap 'exit 4' TERM; while :; do sleep 1000 & wait; done"
    lives.run(main, stop_signal="SIGQUIT")
    lives.stop()
    assert lives.exit_code() == "3"
    assert lives.message("StopSignalSent") == "Sent SIGQUIT to container c"
    assert lives.lifecycle()["stopSignal"] == "SIGQUIT"


def test_the_stop_signal_of_the_image(lives: Lives) -> None:
    annotations = {"org.opencontainers.image.stopSignal": "SIGUSR1"}
    main = "trap 'exit 3' USR1; while :; do sleep 1000 & wait; done"
    lives.run(main, config={"annotations": annotations})
    lives.stop()
    assert lives.exit_code() == "3"


@pytest.mark.parametrize("source", ["annotations", "file", "flag"])
def test_where_the_lifecycle_comes_from(lives: Lives, source: str) -> None:
    """First found wins: --lifecycle, annotations, lifecycle.json beside config.json."""

    def says(word: str) -> dict[str, object]:
        return {"preStop": {"exec": {"command": ["echo", word]}}}

    rank = ["flag", "annotations", "file"].index(source)
    changes = {}
    if rank <= 1:
        changes = {"annotations": {"io.hookshim.lifecycle": json.dumps(says("annotations"))}}
    bundle = lives.rt.bundle("sh", "-c", TERM_EXIT, **changes)
    Path(bundle, "lifecycle.json").write_text(json.dumps({"lifecycle": says("file")}))
    flags = ["--lifecycle", lives.file({"lifecycle": says("flag")})] if rank == 0 else []
    assert lives.rt.shim("run", "-d", "-b", str(bundle), *flags, "c").code == 0
    lives.stop()
    assert lives.hook()["output"] == f"{source}\n"


def test_a_container_without_any_lifecycle_is_stopped_as_well(lives: Lives) -> None:
    bundle = lives.rt.bundle("sh", "-c", TERM_EXIT)
    assert lives.rt.shim("run", "-d", "-b", str(bundle), "c").code == 0
    assert lives.lifecycle()["gracePeriodSeconds"] == 30
    lives.stop()
    assert lives.exit_code() == "7"
    assert lives.reasons() == ["Created", "Started", "Killing", "StopSignalSent", "Exited"]


def test_the_reason_of_a_stop_is_in_the_killing_event(lives: Lives) -> None:
    lives.run(pre_stop=sh("echo $SHIM_HOOK $SHIM_HOOK_REASON $SHIM_HOOK_ATTEMPT"))
    lives.stop("--reason", "node drain", "c")
    assert lives.message("Killing") == "Stopping container c: node drain"
    assert lives.hook()["output"] == "preStop api 1\n"
    assert lives.hook()["trigger"] == "api"

"""Who may ask for a stop, when, and how often (CONTRACT.md "Lifecycle verbs"; SECURITY.md
SP-07..10, SP-13, SP-14; KUBERNETES.md rule 89)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
from support.lifecycle import DEAF, TERM_EXIT, Lives, eventually, ready, sh


def held(lives: Lives, main: str = TERM_EXIT, **how: object) -> None:
    """A container `c` whose PreStop has begun and hangs until "go" comes through /home/go."""
    begun = lives.fifo("begun")
    lives.fifo("go")
    lives.run(main, pre_stop=sh("echo x >/home/begun; read x </home/go"), **how)
    lives.stop("--no-wait", "c")
    begun.line()


def deadline_in(lives: Lives) -> float:
    """Seconds to SIGKILL, as `state` says."""
    from datetime import UTC, datetime

    at = datetime.fromisoformat(lives.lifecycle()["deadline"])
    return (at - datetime.now(UTC)).total_seconds()


# -- more than one stop ----------------------------------------------------------------------------


def test_sp_07_a_second_stop_shortens(lives: Lives) -> None:
    held(lives, DEAF, grace=60)
    with lives.pidfd(lives.rt.state("c")["pid"]) as init:
        before = monotonic()
        lives.stop("-t", "1", "--no-wait", "c")
        assert 0 < deadline_in(lives) <= 1
        assert ready(init)
        assert 1.0 <= monotonic() - before < 1.0 + 1
    lives.wait()
    assert lives.reasons().count("Killing") == 1
    assert lives.hook()["outcome"] == "timedOut"


def test_sp_07_a_second_stop_never_extends(lives: Lives) -> None:
    held(lives, grace=10)
    first = deadline_in(lives)
    lives.stop("-t", "500", "--no-wait", "c")
    lives.stop("--no-wait", "c")
    assert first - 3 < deadline_in(lives) <= first


def test_sp_07_ten_parallel_stops_are_one(lives: Lives) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.run(pre_stop=sh("echo x >>/home/count; echo x >/home/begun; read x </home/go"), grace=60)
    graces = [str(grace) for grace in (60, 50, 40, 30, 45, 35, 55, 31, 59, 33)]
    with ThreadPoolExecutor(10) as pool:
        stops = [pool.submit(lives.rt.shim, "stop", "-t", grace, "c") for grace in graces]
        begun.line()
        # each of them has been heard once the deadline is the shortest
        assert eventually(lambda: 25 < deadline_in(lives) <= 30)
        let_go.go()
        results = [stop.result() for stop in stops]
    assert [result.code for result in results] == [0] * 10, results
    assert lives.hook()["attempt"] == 1
    assert (lives.rt.rootfs / "home/count").read_text() == "x\n"
    assert lives.reasons().count("StopSignalSent") == 1
    assert lives.exit_code() == "7"


def test_stop_now_during_pre_stop(lives: Lives) -> None:
    held(lives, grace=60)
    assert lives.timed_stop("--now", "c") < 3
    assert lives.exit_code() == "137" or lives.exit_code() == "7"  # the signal comes first
    assert lives.hook()["outcome"] == "timedOut"


# -- where there is nothing to stop ----------------------------------------------------------------


def test_sp_09_a_stopped_container_is_stopped_already(lives: Lives) -> None:
    lives.run("exit 3", pre_stop=sh("echo x"))
    lives.wait()
    for _ in range(3):
        lives.stop()
    assert lives.hooks() == []
    assert lives.reasons() == ["Created", "Started", "Exited"]
    assert lives.exit_code() == "3"


def test_sp_09_a_created_container_ends_without_hooks(lives: Lives) -> None:
    lives.create(start=False, post_start=sh("echo x"), pre_stop=sh("echo x"))
    assert lives.timed_stop() < 3
    assert (lives.phase(), lives.hooks()) == ("stopped", [])
    result = lives.rt.start("c")
    assert result.code == 1
    assert "stopped" in result.line


def test_sp_09_an_unknown_container(lives: Lives) -> None:
    result = lives.rt.shim("stop", "nobody")
    assert result.code == 1
    assert result.line == 'shim: cannot stop "nobody": container does not exist'


def test_several_containers_are_stopped_at_once(lives: Lives) -> None:
    for id in ("a", "b", "c"):
        lives.run(id=id, pre_stop={"sleep": {"seconds": 1}})
    before = monotonic()
    result = lives.rt.shim("stop", "a", "b", "nobody", "c")
    assert monotonic() - before < 2.5
    assert result.code == 1
    assert 'cannot stop "nobody": container does not exist' in result.err
    assert [lives.phase(id) for id in ("a", "b", "c")] == ["stopped"] * 3


# -- callers that leave ----------------------------------------------------------------------------


def test_sp_10_the_stop_goes_on_without_its_caller(lives: Lives) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.run(pre_stop=sh("echo x >/home/begun; read x </home/go"), grace=60)
    for number in (signal.SIGKILL, signal.SIGINT):
        caller = lives.rt.spawn("stop", "c")
        if number == signal.SIGKILL:
            begun.line()
        caller.send_signal(number)
        assert caller.wait(5) != 0
    let_go.go()
    assert lives.exit_code() == "7"
    assert lives.hook()["outcome"] == "succeeded"
    assert lives.reasons()[-2:] == ["StopSignalSent", "Exited"]


def test_no_wait_returns_at_once(lives: Lives) -> None:
    lives.run(DEAF, pre_stop={"sleep": {"seconds": 30}}, grace=30)
    assert lives.timed_stop("--no-wait", "c") < 3
    assert lives.phase() == "terminating"


def test_a_caller_with_less_time_than_the_stop(lives: Lives) -> None:
    lives.run(DEAF, grace=2)
    before = monotonic()
    result = lives.rt.shim("stop", "--timeout", "0.3", "c")
    assert result.code == 124, result
    assert 0.3 <= monotonic() - before < 1.8
    assert lives.exit_code() == "137"


def test_sp_08_delete_during_a_stop(lives: Lives) -> None:
    held(lives, grace=60)
    refused = lives.rt.delete("c")
    assert refused.code == 1
    assert refused.line.endswith("cannot delete container that is not stopped: stopping")
    waiting = lives.rt.spawn("stop", "c", stderr=subprocess.PIPE)
    before = monotonic()
    forced = lives.rt.delete("c", "--force")
    assert forced.code == 0, forced
    assert monotonic() - before < 3
    waiting.communicate(timeout=10)
    assert lives.rt.ids() == []


def test_sp_08_delete_straight_after_the_end(lives: Lives) -> None:
    """The monitor is still writing down what happened when the process has ended."""
    for number in range(10):
        id = f"c{number}"
        lives.run(id=id, post_start=sh("echo x"), pre_stop=sh("echo y"))
        with lives.pidfd(lives.rt.state(id)["pid"]) as init:
            lives.stop("--no-wait", id)
            assert ready(init)
            result = lives.rt.delete(id)
        assert result.code == 0, result
    assert lives.rt.leaks() == []


def test_delete_force_while_hooks_run(lives: Lives) -> None:
    for number in range(5):
        id = f"c{number}"
        lives.run(id=id, post_start=sh("while :; do echo x; done"), pre_stop=sh("sleep 100"))
        result = lives.rt.delete(id, "--force")
        assert result.code == 0, result
    assert lives.rt.leaks() == []


# -- kill, as engines use it -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "15"])
def test_kill_with_the_stop_signal_begins_a_stop_and_returns(lives: Lives, name: str) -> None:
    """rule 89: the engine's timer and ours run over the same budget."""
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.create(pre_stop=sh("echo x >/home/begun; read x </home/go"), grace=60)
    before = monotonic()
    assert lives.rt.kill("c", name).code == 0
    assert monotonic() - before < 3
    begun.line()
    assert lives.phase() == "terminating"
    with lives.pidfd(lives.rt.state("c")["pid"]) as init:
        let_go.go()
        assert ready(init)
    assert eventually(lambda: lives.reasons()[-1] == "Exited")
    assert lives.reasons()[2:] == ["Killing", "PreStopHookSucceeded", "StopSignalSent", "Exited"]
    assert lives.hook()["trigger"] == "api"


def test_kill_kill_is_immediate_also_during_pre_stop(lives: Lives) -> None:
    held(lives, grace=60)
    with lives.pidfd(lives.rt.state("c")["pid"]) as init:
        before = monotonic()
        assert lives.rt.kill("c", "KILL").code == 0
        assert ready(init)
        assert monotonic() - before < 3
    assert lives.exit_code() == "137"
    hook = lives.hook()
    assert (hook["outcome"], hook["error"]) == ("interrupted", "the container exited")
    assert "KilledAfterGracePeriod" not in lives.reasons()


def test_kill_with_another_signal_goes_straight_through(lives: Lives) -> None:
    main = "trap 'exit 9' USR1; while :; do sleep 1000 & wait; done"
    lives.run(main, pre_stop=sh("echo x"))
    assert lives.rt.kill("c", "USR1").code == 0
    assert lives.exit_code() == "9"
    assert lives.hooks() == []


def test_kill_without_pre_stop_is_a_plain_signal(lives: Lives) -> None:
    lives.create()
    assert lives.rt.kill("c", "TERM").code == 0
    assert eventually(lambda: lives.rt.state("c")["status"] == "stopped")
    assert lives.lifecycle()["monitorPid"] is None
    assert "Killing" not in lives.reasons()


def test_kill_of_a_stopped_container_is_refused_and_delivers_nothing(lives: Lives) -> None:
    lives.run("exit 0", pre_stop=sh("echo x"))
    lives.wait()
    for name in ("TERM", "KILL", "USR1"):
        result = lives.rt.kill("c", name)
        assert result.code == 1
        assert "container not running" in result.line
    assert lives.hooks() == []


# -- the monitor under pressure --------------------------------------------------------------------


def test_sp_14_signals_do_not_end_the_monitor(lives: Lives) -> None:
    let_go = lives.fifo("go")
    lives.run("read x </home/go; exit 8")
    monitor = lives.lifecycle()["monitorPid"]
    for _ in range(1000):
        for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            os.kill(monitor, number)
    assert lives.lifecycle()["monitorPid"] == monitor
    let_go.go()
    assert lives.exit_code() == "8"


def test_sp_14_sigterm_to_the_monitor_is_a_graceful_stop(lives: Lives) -> None:
    lives.run(pre_stop=sh("echo $SHIM_HOOK_REASON"))
    os.kill(lives.lifecycle()["monitorPid"], signal.SIGTERM)
    assert lives.exit_code() == "7"
    assert lives.hook()["output"] == "shutdown\n"


def test_sp_13_a_stopped_monitor_is_told_and_delete_needs_none(lives: Lives) -> None:
    lives.run(pre_stop=sh("echo x"))
    monitor = lives.lifecycle()["monitorPid"]
    with lives.pidfd(monitor) as fd:
        signal.pidfd_send_signal(fd, signal.SIGSTOP)
        try:
            before = monotonic()
            result = lives.rt.shim("stop", "c")
            assert result.code == 1
            assert "monitor not responding" in result.line
            assert monotonic() - before < 15
            assert lives.rt.state("c")["status"] == "running"
            assert lives.rt.delete("c", "--force").code == 0
            assert ready(fd), "the stopped monitor is left"
        finally:
            try:
                signal.pidfd_send_signal(fd, signal.SIGCONT)
            except ProcessLookupError:
                pass


def test_twenty_verbs_at_once_on_one_container(lives: Lives) -> None:
    """Whatever their order, each succeeds or says why not, and the state stays readable."""
    lives.run(post_start={"sleep": {"seconds": 1}}, pre_stop=sh("echo x; sleep 0.2"), grace=20)
    verbs: list[tuple[str, ...]] = [
        ("state", "c"), ("list",), ("events", "c"), ("hooks", "c"), ("describe", "c"),
        ("pause", "c"), ("resume", "c"), ("kill", "c", "USR2"), ("exec", "c", "true"), ("ps", "c"),
        ("stop", "c"), ("stop", "-t", "9", "c"), ("kill", "c", "TERM"), ("wait", "c"),
        ("logs", "c"),
        ("resume", "c"), ("delete", "c"), ("start", "c"), ("stop", "--no-wait", "c"),
        ("state", "c"),
    ]  # fmt: skip
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda words: lives.rt.shim(*words), verbs))
    for result in results:
        assert "Traceback" not in result.err
        assert "corrupt" not in result.err, result
        assert result.code in (0, 1, 7, 125, 137), result
        if result.code in (1, 125):
            assert result.err.splitlines()[-1].startswith("shim: cannot "), result
    if "c" in lives.rt.ids():
        lives.stop()
        assert lives.phase() == "stopped"
        pre_stops = [hook for hook in lives.hooks() if hook["hook"] == "preStop"]
        assert len(pre_stops) <= 1
        assert lives.reasons().count("StopSignalSent") <= 1
        assert lives.rt.delete("c").code == 0
    assert json.loads(lives.rt.shim("list", "--format", "json").out) == []


@pytest.mark.parametrize("grace", ["-1", "nan", "inf", "1e18", "-0.1", "3s", "", "2147483648"])
def test_sp_04_a_grace_that_is_no_number_of_seconds_is_refused(lives: Lives, grace: str) -> None:
    """And the container goes on: neither an overflow nor a wrong sign ends it."""
    lives.run(pre_stop=sh("echo x"))
    for words in (("-t", grace), (f"--grace={grace}",)):
        result = lives.rt.shim("stop", *words, "c")
        assert result.code in (1, 2), result
        assert "grace" in result.err or "seconds" in result.err
    assert (lives.phase(), lives.hooks()) == ("running", [])


def test_sp_04_a_fraction_of_a_second_is_a_grace(lives: Lives) -> None:
    lives.run(DEAF, grace=30)
    assert 0.4 <= lives.timed_stop("-t", "0.4", "c") < 3
    assert lives.exit_code() == "137"


@pytest.mark.parametrize("grace", [-1, 1e18, 0.5, "3", None, True, 2**31])
def test_sp_04_a_configured_grace_is_checked_at_create(lives: Lives, grace: object) -> None:
    document = {"lifecycle": {"preStop": sh("true")}, "terminationGracePeriodSeconds": grace}
    bundle = lives.rt.bundle("sh", "-c", TERM_EXIT)
    flags = ("-b", str(bundle), "--lifecycle", lives.file(document))
    result = lives.rt.shim("run", "-d", *flags, "c")
    if grace is None:  # as in the Kubernetes API: the default
        assert (result.code, lives.lifecycle()["gracePeriodSeconds"]) == (0, 30)
        return
    assert result.code == 125
    assert "/terminationGracePeriodSeconds" in result.line
    assert lives.rt.ids() == []

"""PostStart in real containers (CONTRACT.md "Lifecycle semantics"; SECURITY.md HK-11, 13..15)."""

from __future__ import annotations

from time import monotonic

from support.lifecycle import DEAF, TERM_EXIT, Lives, sh


def test_post_start_runs_beside_the_process(lives: Lives) -> None:
    """The hook waits for something that only the process does, and the process for the hook."""
    lives.fifo("both")
    main = f"echo from-main >/home/both; {TERM_EXIT}"
    lives.run(main, post_start=sh("read line </home/both; echo got $line"))
    lives.follow().until("PostStartHookSucceeded")
    hook = lives.hook()
    assert hook["output"] == "got from-main\n"
    assert (hook["hook"], hook["handler"], hook["trigger"]) == ("postStart", "exec", "start")
    assert (hook["attempt"], hook["outcome"], hook["exitCode"]) == (1, "succeeded", 0)
    assert lives.phase() == "running"


def test_until_post_start_completes_the_phase_is_starting(lives: Lives) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.run(post_start=sh("echo x >/home/begun; read x </home/go"))
    begun.line()
    follow = lives.follow()
    assert lives.phase() == "starting"
    assert lives.rt.state("c")["status"] == "running"  # OCI knows no starting
    assert lives.hook()["outcome"] is None
    let_go.go()
    follow.until("PostStartHookSucceeded")
    assert lives.phase() == "running"
    assert lives.reasons() == ["Created", "Started", "PostStartHookSucceeded"]


def test_run_detached_does_not_wait_for_post_start(lives: Lives) -> None:
    """`run -d` returns once the process runs."""
    lives.fifo("never")
    before = monotonic()
    lives.run(post_start=sh("read x </home/never"))
    assert monotonic() - before < 5
    assert lives.phase() == "starting"


def test_a_failed_post_start_stops_the_container_pre_stop_included(lives: Lives) -> None:
    lives.run(post_start=sh("echo sorry; exit 3"), pre_stop=sh("echo draining"))
    assert lives.exit_code() == "7"  # the process had its SIGTERM
    assert lives.reasons() == [
        "Created",
        "Started",
        "FailedPostStartHook",
        "Killing",
        "PreStopHookSucceeded",
        "StopSignalSent",
        "Exited",
    ]
    failed, stopped = lives.hooks()
    assert (failed["outcome"], failed["exitCode"]) == ("failed", 3)
    assert (stopped["hook"], stopped["trigger"]) == ("preStop", "postStartFailed")
    assert stopped["output"] == "draining\n"
    assert lives.message("Killing") == "FailedPostStartHook"


def test_a_failed_post_start_keeps_the_grace_period(lives: Lives) -> None:
    before = monotonic()
    lives.run(DEAF, post_start=sh("exit 1"), grace=1)
    assert lives.exit_code() == "137"
    assert 1.0 <= monotonic() - before < 2.5
    assert lives.reasons()[-2:] == ["KilledAfterGracePeriod", "Exited"]


def test_the_message_of_a_command_that_is_not_there(lives: Lives) -> None:
    """CONTRACT.md "JSON", word for word."""
    lives.run(post_start={"exec": {"command": ["badcommand"]}})
    lives.wait()
    assert lives.message("FailedPostStartHook") == (
        'Exec lifecycle hook ([badcommand]) for Container "c" in Pod "c" failed - error: command '
        "'badcommand' exited with 126: , message: "
        '"exec: \\"badcommand\\": executable file not found in $PATH"'
    )
    event = next(e for e in lives.events() if e["reason"] == "FailedPostStartHook")
    assert (event["type"], event["container"], event["count"]) == ("Warning", "c", 1)
    assert lives.hooks()[0]["exitCode"] == 126


def test_the_message_of_a_command_that_fails_quotes_its_output(lives: Lives) -> None:
    command = ["sh", "-c", 'echo "no \\"luck\\""; exit 9']
    lives.run(post_start={"exec": {"command": command}})
    lives.wait()
    words = " ".join(command)
    assert lives.message("FailedPostStartHook") == (
        f'Exec lifecycle hook ([{words}]) for Container "c" in Pod "c" failed - error: command '
        f"'{words}' exited with 9: , message: " + r'"no \"luck\"\n"'
    )


def test_hk_14_a_post_start_that_exceeds_its_own_timeout_has_failed(lives: Lives) -> None:
    lives.fifo("never")
    before = monotonic()
    lives.run(post_start={**sh("read x </home/never"), "timeoutSeconds": 0.3})
    assert lives.exit_code() == "7"
    assert 0.3 <= monotonic() - before < 2
    hook = lives.hook()
    assert (hook["outcome"], hook["exitCode"]) == ("timedOut", None)
    assert 0.3 <= hook["durationSeconds"] < 0.8
    assert "FailedPostStartHook" in lives.reasons()


def test_hk_15_a_stop_interrupts_a_hanging_post_start(lives: Lives) -> None:
    begun = lives.fifo("begun")
    lives.fifo("never")
    lives.run(
        post_start=sh("trap '' TERM; sleep 999 & echo x >/home/begun; read x </home/never"),
        pre_stop=sh("echo drained"),
        grace=30,
    )
    begun.line()
    assert lives.timed_stop() < 3
    first, second = lives.hooks()
    assert (first["hook"], first["outcome"]) == ("postStart", "interrupted")
    assert (second["hook"], second["outcome"]) == ("preStop", "succeeded")
    assert lives.reasons() == [
        "Created",
        "Started",
        "Killing",
        "PreStopHookSucceeded",
        "StopSignalSent",
        "Exited",
    ]
    assert lives.exit_code() == "7"


def test_hk_15_a_stop_interrupts_a_sleeping_post_start(lives: Lives) -> None:
    lives.run(post_start={"sleep": {"seconds": 20}}, grace=20)
    assert lives.phase() == "starting"
    assert lives.timed_stop() < 3
    hook = lives.hook()
    assert (hook["handler"], hook["outcome"]) == ("sleep", "interrupted")


def test_sleep_lasts_as_long_as_it_says(lives: Lives) -> None:
    lives.run(post_start={"sleep": {"seconds": 1}})
    assert lives.phase() == "starting"
    lives.follow().until("PostStartHookSucceeded")
    hook = lives.hook()
    assert 1.0 <= hook["durationSeconds"] < 1.4
    assert hook["output"] == ""
    assert hook["usage"]["cpuUsec"] is None  # it costs the container nothing


def test_sleep_with_a_shorter_timeout_times_out(lives: Lives) -> None:
    lives.run(post_start={"sleep": {"seconds": 5}, "timeoutSeconds": 0.2})
    lives.wait()
    assert lives.hook()["outcome"] == "timedOut"
    message = lives.message("FailedPostStartHook")
    assert "timed out" in message


def test_hk_13_a_process_that_ends_at_once_leaves_nothing_hanging(lives: Lives) -> None:
    """Whichever is first, the end of the process or the hook: nothing hangs, and the exit code is
    the process's own."""
    for number in range(20):
        id = f"c{number}"
        lives.run(f"exit {number}", id=id, post_start=sh("echo x"))
        assert lives.exit_code(id) == str(number)
        hook = lives.hook(id)
        assert hook["outcome"] in ("succeeded", "interrupted", "failed"), hook
        if hook["outcome"] == "interrupted":
            assert hook["error"] == "the container exited"
        assert lives.reasons(id)[-1] == "Exited"
        assert "Killing" not in lives.reasons(id), lives.events(id)
        assert lives.phase(id) == "stopped"


def test_the_end_of_the_process_ends_a_hanging_post_start(lives: Lives) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.fifo("never")
    lives.run(
        "read x </home/go; exit 4",
        post_start=sh("echo x >/home/begun; read x </home/never"),
        grace=60,
    )
    begun.line()
    let_go.go()
    assert lives.exit_code(timeout=5) == "4"
    hook = lives.hook()
    assert (hook["outcome"], hook["error"]) == ("interrupted", "the container exited")
    assert lives.reasons() == ["Created", "Started", "Exited"]


def test_engines_create_and_start(lives: Lives) -> None:
    """`start` has PostStart delivered too, and its monitor leaves when that is done."""
    let_go = lives.fifo("go")
    lives.create(post_start=sh("read x </home/go"))
    follow = lives.follow()
    assert lives.phase() == "starting"
    assert isinstance(lives.lifecycle()["monitorPid"], int)
    with lives.pidfd(lives.lifecycle()["monitorPid"]) as monitor:
        let_go.go()
        follow.until("PostStartHookSucceeded")
        assert lives.rt.ended(monitor), "the monitor stays although there is nothing to drive"
    assert lives.phase() == "running"
    assert lives.lifecycle()["monitorPid"] is None


def test_start_returns_before_post_start_has_ended(lives: Lives) -> None:
    lives.fifo("never")
    lives.create(start=False, post_start=sh("read x </home/never"))
    assert lives.phase() == "created"
    before = monotonic()
    assert lives.rt.start("c").code == 0
    assert monotonic() - before < 5
    assert lives.phase() == "starting"

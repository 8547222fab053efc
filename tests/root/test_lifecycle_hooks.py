"""What an exec hook may do, and what becomes of it (SECURITY.md HK-01..11, HK-17, CG-07)."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from support.lifecycle import DEAF, TERM_EXIT, Lives, ready, sh
from support.runtime import CAPS

HEAD = TAIL = 32 << 10


def pre_stop(lives: Lives, script: str, **how: Any) -> dict[str, Any]:
    """One container's life with that PreStop; the delivery."""
    how.setdefault("grace", 30)
    lives.run(pre_stop=sh(script) | how.pop("extra", {}), **how)
    lives.stop()
    return lives.hook()


def programs(lives: Lives) -> str:
    """Command lines of everything in the container's cgroup."""
    found = []
    for pid in lives.pids():
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except OSError:  # ended since
            continue
    return "\n".join(found)


# -- time and what is left running -----------------------------------------------------------------


@pytest.mark.parametrize("trap", ["", "trap '' TERM INT HUP;"])
def test_hk_01_hk_02_a_hook_past_its_timeout_is_dead_with_all_it_forked(
    lives: Lives, trap: str
) -> None:
    begun = lives.fifo("begun")
    script = f"{trap} sleep 4242 & setsid sleep 4243 & echo x >/home/begun; sleep 4244; sleep 4245"
    lives.run(pre_stop=sh(script) | {"timeoutSeconds": 0.5}, grace=30)
    lives.stop("--no-wait", "c")
    begun.line()
    assert "sleep 4244" in programs(lives)
    lives.wait()
    hook = lives.hook()
    assert (hook["outcome"], hook["error"]) == ("timedOut", "timed out")
    assert 0.5 <= hook["durationSeconds"] < 0.7 + 0.3
    assert lives.pids() == []


def test_cg_07_what_a_hook_leaves_running_dies_when_it_ends(lives: Lives) -> None:
    """A double fork into a session of its own, output to nowhere: still in the hook's cgroup."""
    let_go, left = lives.fifo("go"), lives.fifo("left")
    daemon = "setsid sh -c 'echo x >/home/left; exec sleep 4242' </dev/null >/dev/null 2>&1 &"
    lives.run(post_start=sh(f"({daemon}); read x </home/go; exit 0"))
    left.line()
    assert "sleep 4242" in programs(lives)
    follow = lives.follow()
    let_go.go()
    follow.until("PostStartHookSucceeded")
    lives.hooks()
    assert "sleep 4242" not in programs(lives)
    assert not list(lives.cgroup().glob("hook-*")), "a hook's cgroup is left"
    assert lives.phase() == "running"


def test_hk_03_a_grandchild_that_holds_stdout_holds_nothing_up(lives: Lives) -> None:
    hook = pre_stop(lives, "echo before; sleep 6 & exit 0")
    assert hook["outcome"] == "succeeded"
    assert hook["durationSeconds"] < 2
    assert hook["output"] == "before\n"


def test_hk_09_a_hook_that_stops_itself_is_cut_off(lives: Lives) -> None:
    before = monotonic()
    hook = pre_stop(lives, "kill -STOP 1; kill -STOP $$", extra={"timeoutSeconds": 0.4})
    assert hook["outcome"] == "timedOut"
    assert monotonic() - before < 5
    assert lives.exit_code() == "7"


def test_hk_08_a_hook_that_kills_everything_it_can_reach(lives: Lives) -> None:
    """-1 is its pid namespace without PID 1 and itself: the monitor is out of reach."""
    lives.run(DEAF, pre_stop=sh("kill -9 1; kill -9 -1; kill -9 0; echo not reached"), grace=1)
    monitor = lives.lifecycle()["monitorPid"]
    lives.stop()
    hook = lives.hook()
    assert (hook["outcome"], hook["signal"], hook["exitCode"]) == ("failed", 9, None)
    assert lives.reasons()[-3:] == ["StopSignalSent", "KilledAfterGracePeriod", "Exited"]
    assert isinstance(monitor, int)
    assert lives.exit_code() == "137"


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 2, 64, 125, 126, 127, 128, 130, 137, 255])
def test_hk_10_exit_codes_one_to_one(lives: Lives, code: int) -> None:
    hook = pre_stop(lives, f"exit {code}")
    assert (hook["exitCode"], hook["signal"]) == (code, None)
    assert hook["outcome"] == ("failed" if code else "succeeded")


@pytest.mark.parametrize("name", ["TERM", "KILL", "ABRT", "SEGV", "HUP", "PIPE", "USR1"])
def test_hk_10_signals(lives: Lives, name: str) -> None:
    number = int(getattr(signal, f"SIG{name}"))
    hook = pre_stop(lives, f"kill -{name} $$")
    assert (hook["outcome"], hook["signal"], hook["exitCode"]) == ("failed", number, None)
    assert f"exited with {128 + number}" in lives.message("FailedPreStopHook")


def test_hk_11_commands_that_cannot_be_run(lives: Lives) -> None:
    """Each is a failed hook, 126, with the path and the cause in the error."""
    home = lives.rt.rootfs / "home"
    (home / "plain").write_text("#!/bin/sh\n")
    (home / "wrong").write_bytes(b"\x7fELF" + bytes(60))
    (home / "noexec").write_text("echo no interpreter line\n")
    (home / "lost").write_text("#!/no/such/interpreter\n")
    for name in ("wrong", "noexec", "lost"):
        (home / name).chmod(0o755)
    table = {
        "nothing-of-that-name": "executable file not found in $PATH",
        "/home/nothing": "no such file or directory",
        "/home/plain": "permission denied",
        "/home": "permission denied",
        "/home/wrong": "exec format error",
        "/home/noexec": "exec format error",
        "/home/lost": "no such file or directory",
    }
    for number, (path, cause) in enumerate(table.items()):
        id = f"c{number}"
        lives.run(id=id, pre_stop={"exec": {"command": [path]}})
        lives.stop(id)
        hook = lives.hook(id)
        assert (hook["outcome"], hook["exitCode"]) == ("failed", 126), hook
        assert path in hook["error"], hook
        assert cause in hook["error"], hook
        assert cause in lives.message("FailedPreStopHook", id)
        assert lives.exit_code(id) == "7"


def test_the_path_of_the_container_finds_the_command(lives: Lives) -> None:
    (lives.rt.rootfs / "home/bin").mkdir()
    tool = lives.rt.rootfs / "home/bin/drain-it"
    tool.write_text("#!/bin/sh\necho found $0\n")
    tool.chmod(0o755)
    env = ["PATH=/home/bin:/bin"]
    lives.run(pre_stop={"exec": {"command": ["drain-it"]}}, config={"process": {"env": env}})
    lives.stop()
    assert lives.hook()["output"] == "found /home/bin/drain-it\n"


# -- output ----------------------------------------------------------------------------------------


def peak_rss(pid: int) -> int:
    """VmHWM in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def test_hk_05_two_hundred_megabytes_of_output(lives: Lives) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.fifo("never")
    noise = "echo first; dd if=/dev/zero bs=65536 count=3200 2>/dev/null; echo last"
    lives.run(
        post_start=sh(
            f"echo x >/home/begun; read x </home/go; {noise}; "
            "echo x >/home/begun; read x </home/never"
        )
    )
    begun.line()
    monitor = lives.lifecycle()["monitorPid"]
    Path(f"/proc/{monitor}/clear_refs").write_text("5")  # the peak counts from here (proc(5))
    quiet = peak_rss(monitor)
    let_go.go()
    before = monotonic()
    begun.line(30)
    took = monotonic() - before
    grown = peak_rss(monitor) - quiet
    assert grown < 1 << 20, f"the monitor grew by {grown} bytes"
    assert took < 10, f"{200 / took:.0f} MB/s"
    lives.stop()
    hook = lives.hook()
    assert hook["outputTruncated"] is True
    assert hook["output"].startswith("first\n\0")
    assert hook["output"].endswith("\0last\n")
    assert len(hook["output"]) == HEAD + TAIL


def test_hk_06_binary_output_stays_valid_json_and_off_the_terminal(lives: Lives) -> None:
    blob = bytes(range(256)) * 40 + b'\x1b]0;title\x07\x1b[2J{"}\n' + b"\xff\xfe" * 100
    (lives.rt.rootfs / "home/blob").write_bytes(blob)
    hook = pre_stop(lives, "cat /home/blob; echo oops >&2; exit 1")
    assert hook["output"] == (blob + b"oops\n").decode("utf-8", "backslashreplace")
    assert hook["outputTruncated"] is False
    for words in (("hooks", "c"), ("events", "c"), ("describe", "c")):
        shown = lives.rt.shim(*words)
        assert shown.code == 0, shown
        assert all(line.isprintable() for line in shown.out.splitlines()), words
    lines = lives.rt.shim("events", "--format", "json", "c").out.splitlines()
    assert len(lines) == len(lives.events())
    journal = (Path(lives.rt.root) / "c/journal.jsonl").read_bytes()
    assert all(json.loads(line) for line in journal.splitlines())


def test_a_failed_hook_with_much_output_is_an_event_of_bounded_size(lives: Lives) -> None:
    """One message tells every watcher; `stop` is one."""
    lives.run(pre_stop=sh("head -c 300000 /dev/urandom; echo; echo the end; exit 1"))
    lives.stop("--reason", "r" * 30_000, "c")
    message = lives.message("FailedPreStopHook")
    assert message.endswith('the end\\n"')
    assert len(message) < 50_000
    assert len(lives.message("Killing")) < 2_000
    assert lives.reasons()[-1] == "Exited"


def test_output_and_errors_keep_their_order(lives: Lives) -> None:
    hook = pre_stop(lives, "for i in 1 2 3; do echo out $i; echo err $i >&2; done")
    assert hook["output"] == "".join(f"out {i}\nerr {i}\n" for i in (1, 2, 3))


def test_a_hook_is_not_in_the_log_of_the_container(lives: Lives) -> None:
    """The logs for a hook handler are not exposed in pod events either."""
    lives.run(f"echo from-main; {TERM_EXIT}", post_start=sh("echo secret-word"))
    lives.follow().until("PostStartHookSucceeded")
    lives.stop()
    assert lives.rt.shim("logs", "c").out == "from-main\n"
    assert "secret-word" not in lives.rt.shim("events", "c").out
    assert lives.hook()["output"] == "secret-word\n"


# -- what a hook is given --------------------------------------------------------------------------


def test_hk_07_stdin_is_at_its_end(lives: Lives) -> None:
    hook = pre_stop(lives, "cat; read line; echo status $?; tty; true")
    assert hook["outcome"] == "succeeded"
    assert hook["output"] == "status 1\nnot a tty\n"
    assert hook["durationSeconds"] < 2


def test_no_parameters_are_passed(lives: Lives) -> None:
    tool = lives.rt.rootfs / "home/argv"
    tool.write_text('#!/bin/sh\necho $#; tr "\\0" "|" </proc/$$/cmdline\n')
    tool.chmod(0o755)
    lives.run(pre_stop={"exec": {"command": ["/home/argv"]}})
    lives.stop()
    assert lives.hook()["output"] == "0\n/bin/sh|/home/argv|"


def test_argv_is_not_shell_expanded(lives: Lives) -> None:
    words = [
        "$HOME",
        "*",
        "`id`",
        "$(id)",
        ";",
        "&&",
        "a  b",
        "",
        "'",
        '"',
        "\\",
        "naïve ☃",
        "new\nline",
    ]
    lives.run(pre_stop={"exec": {"command": ["printf", "%s|", *words]}})
    lives.stop()
    assert lives.hook()["output"] == "".join(f"{word}|" for word in words)


def test_hk_17_ten_thousand_arguments_and_one_that_is_too_long(lives: Lives) -> None:
    lives.run(pre_stop={"exec": {"command": ["sh", "-c", "echo $#", "sh", *["x"] * 10_000]}})
    lives.stop()
    assert lives.hook()["output"] == "10000\n"
    lives.run(id="long", pre_stop={"exec": {"command": ["echo", "x" * (128 << 10)]}})
    lives.stop("long")
    hook = lives.hook("long")
    assert hook["outcome"] == "failed"
    assert "argument list too long" in hook["error"].lower()
    assert len(lives.message("FailedPreStopHook", "long")) < 10_000
    assert lives.exit_code("long") == "7"


@pytest.mark.parametrize("command", [[], [""], ["a\0b"], ["sh", "x\0y"], [3], "sh"])
def test_hk_17_commands_that_are_refused_leave_no_container(lives: Lives, command: object) -> None:
    file = lives.file({"lifecycle": {"preStop": {"exec": {"command": command}}}})
    bundle = lives.rt.bundle("sh", "-c", TERM_EXIT)
    for verb in (("run", "-d"), ("create",)):
        result = lives.rt.shim(*verb, "-b", str(bundle), "--lifecycle", file, "c")
        assert result.code in (1, 125), result
        assert "/lifecycle/preStop/exec/command" in result.line
    assert lives.rt.ids() == []


WHO = (
    "id -u; id -g; id -G; pwd; umask; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; "
    "for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n; done; "
    "ulimit -n; cat /proc/self/oom_score_adj; env | grep -v -E '^(SHLVL|PWD|OLDPWD|SHIM_)' | sort"
)


def test_a_hook_is_given_what_the_process_was_given(lives: Lives) -> None:
    """User, groups, directory, umask, capabilities, namespaces, limits and environment."""
    some = [name for name in CAPS if name in ("CAP_CHOWN", "CAP_KILL")]
    process = {
        "user": {"uid": 1000, "gid": 1000, "additionalGids": [7, 8], "umask": 0o077},
        "cwd": "/home",
        "env": ["PATH=/bin", "GREETING=hello world", "HOME=/home", "EMPTY="],
        "capabilities": {
            n: some for n in ("bounding", "permitted", "inheritable", "effective", "ambient")
        },
        "noNewPrivileges": True,
        "oomScoreAdj": 345,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}],
    }
    (lives.rt.rootfs / "home").chmod(0o777)
    up = lives.fifo("up")
    main = f"({WHO}) >/home/main; echo x >/home/up; {TERM_EXIT}"
    lives.run(main, pre_stop=sh(WHO), config={"process": process})
    up.line()
    lives.stop()
    expected = (lives.rt.rootfs / "home/main").read_text()
    assert lives.hook()["output"] == expected
    assert expected.startswith("1000\n1000\n1000 7 8\n/home\n0077\n")
    assert "GREETING=hello world\n" in expected
    assert "CapEff:\t0000000000000021\n" in expected


def test_a_hook_gets_its_context_and_nothing_of_the_host(lives: Lives) -> None:
    os.environ["SHIM_TEST_SECRET"] = "leak"
    try:
        hook = pre_stop(lives, "env; ls -l /proc/self/fd | grep -c -E ' [0-9]+ -> '; ls /")
    finally:
        del os.environ["SHIM_TEST_SECRET"]
    lines = hook["output"].splitlines()
    assert {"SHIM_HOOK=preStop", "SHIM_HOOK_ATTEMPT=1", "SHIM_HOOK_REASON=api"} <= set(lines)
    assert "SHIM_TEST_SECRET" not in hook["output"]
    # stdin, stdout, stderr; the one of ls itself is gone when it is looked at
    assert [line for line in lines if line.isdigit()] == ["3"], hook["output"]


def test_a_hook_sees_the_same_processes_and_is_seen(lives: Lives) -> None:
    lives.run(pre_stop=sh("cat /proc/1/cmdline | tr '\\0' ' '; test $$ -gt 1 && echo; echo $PPID"))
    lives.stop()
    first, parent = lives.hook()["output"].splitlines()
    assert first.startswith("sh -c trap")
    assert parent == "0"  # its parent is outside the namespace


def test_a_hook_with_a_daemon_that_outlives_the_shell_is_ready_to_read(lives: Lives) -> None:
    """Output of a leftover that comes after the end of the hook is not waited for."""
    begun = lives.fifo("begun")
    hook = pre_stop(lives, "(sleep 3; echo late) & echo early; echo x >/home/begun")
    assert ready(begun.fd)
    assert hook["output"] == "early\n"
    assert hook["durationSeconds"] < 2

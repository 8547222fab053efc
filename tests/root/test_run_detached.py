"""`run -d`: what the caller gets back, and what is kept of the output (CONTRACT.md "Lifecycle
verbs"; the CRI log format; SECURITY.md SP-16, SP-22)."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from pathlib import Path
from time import monotonic

import pytest
from support.lifecycle import PATIENCE, TERM_EXIT, Lives, eventually, ready, sh

LINE = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (stdout|stderr) ([FP]) (.*)$")


def log(lives: Lives) -> list[tuple[bytes, bytes, bytes]]:
    """(stream, tag, text) of every line of the log file."""
    data = Path(lives.rt.root, "c", "log").read_bytes()
    found = []
    for line in data.splitlines():
        match = LINE.match(line)
        assert match, line
        found.append((match[1], match[2], match[3]))
    return found


def test_it_returns_once_the_process_runs_and_holds_nothing_of_its_caller(lives: Lives) -> None:
    """The caller's pipes are at their end as soon as `run -d` is: a reader is not kept waiting."""
    bundle = lives.rt.bundle("sh", "-c", TERM_EXIT)
    process = lives.rt.spawn(
        "run", "-d", "-b", str(bundle), "c", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (0, b"", b"")
    state = lives.rt.state("c")
    assert state["status"] == "running"
    monitor = state["lifecycle"]["monitorPid"]
    assert os.getsid(monitor) == monitor
    assert os.readlink(f"/proc/{monitor}/cwd") == "/"
    for fd in ("0", "1", "2"):
        assert os.readlink(f"/proc/{monitor}/fd/{fd}") == "/dev/null"


def test_stdin_is_at_its_end(lives: Lives) -> None:
    lives.run("read line; exit $((10 + $?))")
    assert lives.exit_code() == "11"


def test_the_log_is_in_cri_format(lives: Lives) -> None:
    long = 40_000
    main = (
        f"echo one; echo two >&2; printf '%{long}s\\n' x; printf 'no newline'; "
        "printf ' ends' >&2; exit 0"
    )
    lives.run(main)
    lives.wait()
    lines = log(lives)
    out = [(tag, text) for stream, tag, text in lines if stream == b"stdout"]
    err = [(tag, text) for stream, tag, text in lines if stream == b"stderr"]
    assert out[0] == (b"F", b"one")
    assert err == [(b"F", b"two"), (b"P", b" ends")]
    assert out[-1] == (b"P", b"no newline")
    parts = out[1:-1]
    assert [tag for tag, _ in parts] == [b"P"] * (len(parts) - 1) + [b"F"]
    assert all(len(text) <= 16 << 10 for _, text in parts)
    assert b"".join(text for _, text in parts) == b"x".rjust(long)


def test_logs_gives_back_both_streams_as_they_were(lives: Lives) -> None:
    blob = bytes(range(256)) * 300 + b"\n" + b"y" * 50_000
    (lives.rt.rootfs / "home/blob").write_bytes(blob)
    lives.run("cat /home/blob; echo warned >&2")
    lives.wait()
    process = subprocess.run(
        lives.rt.argv("logs", "c"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert process.stdout == blob
    assert process.stderr == b"warned\n"


def test_logs_follow_ends_with_the_container(lives: Lives) -> None:
    let_go = lives.fifo("go")
    lives.run("echo one; read x </home/go; echo two; exit 0")
    follower = lives.rt.spawn("logs", "-f", "c", stdout=subprocess.PIPE)
    assert follower.stdout is not None
    fd, data = follower.stdout.fileno(), b""
    while b"one\n" not in data:
        assert select.select([fd], [], [], PATIENCE)[0]
        data += os.read(fd, 4096)
    let_go.go()
    rest, _ = follower.communicate(timeout=PATIENCE)
    assert data + rest == b"one\ntwo\n"
    assert follower.returncode == 0


def test_a_created_container_keeps_no_log(lives: Lives) -> None:
    lives.create()
    result = lives.rt.shim("logs", "c")
    assert result.code == 1
    assert "no log is kept" in result.line


def test_rm_removes_it_when_it_has_ended(lives: Lives) -> None:
    let_go = lives.fifo("go")
    lives.run("read x </home/go; exit 3", flags=("--rm",))
    waiting = lives.rt.spawn("wait", "c", stdout=subprocess.PIPE)
    follow = lives.follow()
    follow.until("Started")
    let_go.go()
    assert follow.process.wait(PATIENCE) == 0  # `events -f` ends when the container is deleted
    waiting.communicate(timeout=PATIENCE)
    assert lives.rt.ids() == []
    assert lives.rt.leaks() == []


def test_pid_file(lives: Lives, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    lives.run(flags=("--pid-file", str(path)))
    assert int(path.read_text()) == lives.rt.state("c")["pid"]


def test_wait_prints_each_status_in_order_and_exits_with_the_last(lives: Lives) -> None:
    for number in (3, 0, 9):
        lives.run(f"exit {number}", id=f"c{number}")
    result = lives.rt.shim("wait", "c3", "c0", "c9")
    assert (result.code, result.out) == (9, "3\n0\n9\n")
    assert lives.rt.shim("wait", "c9", "c0").code == 0


def test_wait_with_less_time(lives: Lives) -> None:
    lives.run()
    before = monotonic()
    assert lives.rt.shim("wait", "--timeout", "0.3", "c").code == 124
    assert 0.3 <= monotonic() - before < 3
    assert lives.rt.state("c")["status"] == "running"


def test_wait_for_what_is_killed_meanwhile(lives: Lives) -> None:
    lives.run()
    waiting = lives.rt.spawn("wait", "c", stdout=subprocess.PIPE)
    lives.rt.kill("c", "KILL")
    out, _ = waiting.communicate(timeout=PATIENCE)
    assert (out, waiting.returncode) == (b"137\n", 137)


@pytest.mark.parametrize("reason", ["output", "exit", "stop", "kill"])
def test_a_monitor_at_rest_wakes_for_every_reason(lives: Lives, reason: str) -> None:
    """After a while without news it is a few kilobytes of C (engine.park); news make it a monitor
    again, the same process as before, with the line that was not finished."""
    ask, answer = lives.fifo("ask"), lives.fifo("answer")
    main = (
        "trap 'echo bye; exit 7' TERM; printf 'begin '; read q </home/ask; echo end; "
        "[ $q = exit ] && exit 8; echo alive >/home/answer; while :; do sleep 1000 & wait; done"
    )
    lives.run(main, pre_stop=sh("echo hook"))
    monitor = lives.lifecycle()["monitorPid"]
    assert eventually(lambda: "shim-executor" in os.readlink(f"/proc/{monitor}/exe"), 8)
    assert lives.lifecycle()["monitorPid"] == monitor
    said = "begin "
    if reason in ("output", "exit"):
        os.write(ask.fd, f"{reason}\n".encode())
        said += "end\n"
    if reason == "output":
        assert answer.line() == "alive"
        assert eventually(lambda: lives.rt.shim("logs", "c").out == said)
        assert lives.lifecycle()["monitorPid"] == monitor
    if reason == "kill":
        assert lives.rt.kill("c", "KILL").code == 0
    elif reason != "exit":
        lives.stop()
        assert lives.hook()["output"] == "hook\n"
        said += "bye\n"
    assert lives.exit_code() == {"exit": "8", "kill": "137"}.get(reason, "7")
    assert lives.rt.shim("logs", "c").out == said


def test_a_monitor_at_rest_is_killed_and_taken_over(lives: Lives) -> None:
    lives.run(pre_stop=sh("echo hook"))
    monitor = lives.lifecycle()["monitorPid"]
    assert eventually(lambda: "shim-executor" in os.readlink(f"/proc/{monitor}/exe"), 8)
    lives.kill_monitor()
    lives.stop()
    assert lives.hook()["output"] == "hook\n"


def test_sp_16_a_log_that_cannot_be_written_stops_nothing(lives: Lives) -> None:
    """The file is gone under the monitor; the container neither blocks nor notices."""
    ask, answer = lives.fifo("ask"), lives.fifo("answer")
    lives.run(
        "trap 'exit 7' TERM; while read q </home/ask; do "
        "dd if=/dev/zero bs=1000000 count=1 2>/dev/null; echo alive >/home/answer; done"
    )
    Path(lives.rt.root, "c", "log").unlink()
    ask.go()
    assert answer.line() == "alive"
    lives.stop()
    assert lives.exit_code() == "7"


def test_the_monitor_ends_with_its_container(lives: Lives) -> None:
    let_go = lives.fifo("go")
    lives.run("read x </home/go; exit 0", post_start=sh("true"))
    with lives.pidfd(lives.lifecycle()["monitorPid"]) as monitor:
        let_go.go()
        assert ready(monitor), "the monitor is left"
    assert lives.lifecycle()["monitorPid"] is None
    assert lives.rt.leaks() == ["state directory c", "cgroup /c0"]  # until delete


def test_sigterm_to_everything_at_once(lives: Lives) -> None:
    """Shutdown: no dependence on the order in which monitor and container are told."""
    lives.run(pre_stop=sh("echo x"))
    pids = [lives.rt.state("c")["pid"], lives.lifecycle()["monitorPid"]]
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    assert lives.exit_code() == "7"
    assert lives.reasons()[-1] == "Exited"

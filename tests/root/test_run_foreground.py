"""`run` in the foreground: exit status, stdio, signals, refusals (CONTRACT.md "Exit status")."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from support.lifecycle import DEAF, PATIENCE, Lives, eventually, sh
from support.runtime import Result, Runtime

WORKERS = 4


def foreground(lives: Lives, *argv: str, flags: tuple[str, ...] = (), **how: object) -> Result:
    """`run` of an argv to its end."""
    bundle = lives.rt.bundle(*argv)
    return lives.rt.shim("run", "-b", str(bundle), *flags, "c", **how)


@contextmanager
def attached(
    lives: Lives, main: str, *flags: str, stdin: int = subprocess.DEVNULL, **lifecycle: object
) -> Iterator[subprocess.Popen[bytes]]:
    """`run` of a shell script with pipes; the caller reads them."""
    bundle = lives.rt.bundle("sh", "-c", main)
    file = lives.file(lives.document(**lifecycle))  # type: ignore[arg-type]
    process = lives.rt.spawn(
        "run", "-b", str(bundle), "--lifecycle", file, *flags, "c",
        stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        yield process
        process.kill()


def read(stream: object, until: bytes, timeout: float = PATIENCE) -> bytes:
    """From a pipe until it has said `until`."""
    fd = stream.fileno()  # type: ignore[attr-defined]
    data, end = b"", monotonic() + timeout
    while until not in data:
        assert select.select([fd], [], [], max(0.0, end - monotonic()))[0], f"only {data!r}"
        more = os.read(fd, 1 << 16)
        assert more, f"closed after {data!r}"
        data += more
    return data


# -- exit status -----------------------------------------------------------------------------------


def statuses(rt: Runtime, wanted: list[tuple[int, str]]) -> dict[int, int]:
    """{number: status} of one container for each (number, script), four at a time."""

    def worker(index: int) -> dict[int, int]:
        bundle = rt.bundle_of(rt.config("true", linux={"cgroupsPath": f"{rt.cgroup}/w{index}"}))
        config = json.loads((bundle / "config.json").read_text())
        found = {}
        for number, script in wanted[index::WORKERS]:
            config["process"]["args"] = ["sh", "-c", script]
            (bundle / "config.json").write_text(json.dumps(config))
            found[number] = rt.shim("run", "--rm", "-b", str(bundle), f"w{index}").code
        return found

    assert rt.rootfs.exists()  # made before the workers need it
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = list(pool.map(worker, range(WORKERS)))
    return {number: code for part in parts for number, code in part.items()}


def test_every_exit_code_is_the_status(lives: Lives) -> None:
    codes = list(range(256))
    assert statuses(lives.rt, [(n, f"exit {n}") for n in codes]) == {n: n for n in codes}
    assert lives.rt.ids() == []


def test_a_signal_is_128_and_its_number(lives: Lives) -> None:
    """In the host's pid namespace: PID 1 of one of its own is immune to what it sends itself. A
    program, since busybox' shell ignores SIGQUIT."""
    numbers = [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 31, 34, 64]
    namespaces = [
        ns for ns in lives.rt.config("true")["linux"]["namespaces"] if ns["type"] != "pid"
    ]
    for number in numbers:
        bundle = lives.rt.bundle(
            "sh", "-c", f"exec /bin/kill -{number} $$", linux={"namespaces": namespaces}
        )
        result = lives.rt.shim("run", "--rm", "-b", str(bundle), "c")
        assert result.code == 128 + number, result


def test_sigkill_from_outside(lives: Lives) -> None:
    with attached(lives, DEAF) as process:
        assert eventually(lambda: "c" in lives.rt.ids() and lives.phase() == "running")
        assert lives.rt.kill("c", "KILL").code == 0
        assert process.wait(PATIENCE) == 137
    assert lives.message("Exited") == "Container c was ended by SIGKILL"


def test_commands_that_cannot_be_run_leave_nothing(lives: Lives) -> None:
    (lives.rt.rootfs / "home/plain").write_text("#!/bin/sh\n")
    for argv, code, words in (
        ("nothing-of-that-name", 127, "executable file not found in $PATH"),
        ("/home/nothing", 127, "no such file or directory"),
        ("/home/plain", 126, "permission denied"),
        ("/home", 126, "permission denied"),
    ):
        for flags in ((), ("-d",)):
            result = foreground(lives, argv, flags=flags)
            assert result.code == code, result
            assert words in result.line
            assert result.line.startswith('shim: cannot run "c": ')
            assert lives.rt.ids() == []
    assert lives.rt.leaks() == []


def test_what_shim_itself_cannot_do_is_125(lives: Lives) -> None:
    bundle = lives.rt.bundle("true")
    for words in (
        ("run", "-b", "/nonexistent", "c"),
        ("run", "-b", str(bundle), "--lifecycle", "/nonexistent", "c"),
        ("run", "-b", str(bundle), "../c"),
        ("run", "-b", str(bundle), "--restart", "Always", "c"),
    ):
        result = lives.rt.shim(*words)
        assert result.code == 125, result
        assert len(result.err.splitlines()) == 1
    assert lives.rt.ids() == []


@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
def test_restart_policies_are_refused_by_name(lives: Lives, policy: str) -> None:
    result = foreground(lives, "true", flags=("--restart", policy))
    assert result.code == 125
    assert "--restart" in result.line
    assert "not supported" in result.line
    file = lives.file({"restartPolicy": policy})
    result = foreground(lives, "true", flags=("--lifecycle", file))
    assert result.code == 125
    assert f"restartPolicy {policy} is not supported" in result.line
    assert foreground(lives, "true", flags=("--restart", "Never")).code == 0


@pytest.mark.parametrize("handler", ["httpGet", "tcpSocket"])
def test_handlers_of_later_versions_are_refused_by_name(lives: Lives, handler: str) -> None:
    file = lives.file({"lifecycle": {"preStop": {handler: {"port": 80}}}})
    result = foreground(lives, "true", flags=("--lifecycle", file))
    assert result.code == 125
    assert f"/lifecycle/preStop/{handler}" in result.line
    assert lives.rt.ids() == []


def test_an_id_that_is_taken(lives: Lives) -> None:
    lives.run()
    result = foreground(lives, "true")
    assert result.code == 125
    assert "already exists" in result.line
    assert lives.rt.state("c")["status"] == "running"


# -- stdio -----------------------------------------------------------------------------------------


def test_stdout_and_stderr_are_kept_apart(lives: Lives) -> None:
    result = foreground(lives, "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (result.code, result.out, result.err) == (5, "out\n", "err\n")


def test_stdin_is_the_callers(lives: Lives) -> None:
    text = b"".join(b"line %d\n" % n for n in range(20_000))
    result = foreground(lives, "sh", "-c", "wc -lc", stdin=text)
    assert result.code == 0
    assert result.out.split() == ["20000", str(len(text))]


def test_stdin_is_read_while_the_container_runs(lives: Lives) -> None:
    echo = "while read line; do echo got $line; done; exit 4"
    with attached(lives, echo, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for word in (b"one", b"two"):
            process.stdin.write(word + b"\n")
            process.stdin.flush()
            assert read(process.stdout, b"\n") == b"got " + word + b"\n"
        process.stdin.close()
        assert process.wait(PATIENCE) == 4


def test_much_output_for_a_slow_reader_is_complete(lives: Lives) -> None:
    """8 MB, read a little at a time: nothing is lost, nothing blocks the monitor."""
    size = 8 << 20
    main = f"dd if=/dev/zero bs=65536 count={size >> 16} 2>/dev/null | tr '\\0' 'x'; echo end >&2"
    with attached(lives, main) as process:
        assert process.stdout is not None
        total = len(read(process.stdout, b"x"))  # it has begun, and now we do not read
        before = monotonic()
        assert lives.phase() == "running"
        assert monotonic() - before < 2
        data = b"x"
        while data:
            data = os.read(process.stdout.fileno(), 4096)
            total += len(data)
        assert process.stderr is not None
        assert process.stderr.read() == b"end\n"
        assert process.wait(PATIENCE) == 0
    log = Path(lives.rt.root, "c", "log").read_bytes()
    assert log.count(b"x") == size
    assert total == size


def test_a_caller_that_closes_its_end(lives: Lives) -> None:
    """`run | head -1`: the container goes on, into the log."""
    let_go = lives.fifo("go")
    with attached(lives, "echo one; read x </home/go; echo two; exit 3") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        read(process.stdout, b"one\n")
        process.stdout.close()
        let_go.go()
        assert process.wait(PATIENCE) == 3
    assert lives.rt.shim("logs", "c").out == "one\ntwo\n"


def test_output_that_comes_last_is_not_lost(lives: Lives) -> None:
    for number in range(20):
        result = foreground(lives, "sh", "-c", f"printf last-{number}", flags=("--rm",))
        assert (result.code, result.out) == (0, f"last-{number}")


def test_a_daemon_that_holds_stdout_dies_with_its_container(lives: Lives) -> None:
    before = monotonic()
    result = foreground(lives, "sh", "-c", "setsid sleep 100 & echo done; exit 0")
    assert (result.code, result.out) == (0, "done\n")
    assert monotonic() - before < 5


# -- signals ---------------------------------------------------------------------------------------

UP = "echo up; while :; do sleep 1000 & wait; done"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_and_sigint_are_a_graceful_stop(lives: Lives, number: int) -> None:
    main = f"trap 'echo bye; exit 6' TERM; {UP}"
    with attached(lives, main, pre_stop=sh("echo hook >/home/hook")) as process:
        read(process.stdout, b"up\n")
        process.send_signal(number)
        assert process.wait(PATIENCE) == 6
        assert process.stdout is not None
        assert process.stdout.read() == b"bye\n"
    assert (lives.rt.rootfs / "home/hook").read_text() == "hook\n"
    assert lives.reasons()[-2:] == ["StopSignalSent", "Exited"]


def test_the_second_sigint_kills(lives: Lives) -> None:
    begun = lives.fifo("begun")
    lives.fifo("never")
    hang = sh("echo x >/home/begun; read x </home/never")
    with attached(lives, f"trap '' TERM; {UP}", pre_stop=hang, grace=60) as process:
        read(process.stdout, b"up\n")
        process.send_signal(signal.SIGINT)
        begun.line()
        before = monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 137
        assert monotonic() - before < 3


def test_a_second_sigterm_does_not_kill(lives: Lives) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    hang = sh("echo x >/home/begun; read x </home/go")
    with attached(lives, f"trap 'exit 6' TERM; {UP}", pre_stop=hang, grace=60) as process:
        read(process.stdout, b"up\n")
        process.send_signal(signal.SIGTERM)
        begun.line()
        process.send_signal(signal.SIGTERM)
        assert lives.phase() == "terminating"
        let_go.go()
        assert process.wait(PATIENCE) == 6
    assert lives.hook()["outcome"] == "succeeded"


@pytest.mark.parametrize("name", ["HUP", "QUIT", "USR1", "USR2"])
def test_other_signals_reach_the_container(lives: Lives, name: str) -> None:
    main = f"trap 'echo {name}; exit 8' {name}; {UP}"
    with attached(lives, main, pre_stop=sh("echo x")) as process:
        read(process.stdout, b"up\n")
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.wait(PATIENCE) == 8
        assert process.stdout is not None
        assert process.stdout.read() == f"{name}\n".encode()
    assert lives.hooks() == []


def test_the_container_outlives_a_caller_that_is_killed(lives: Lives) -> None:
    with attached(lives, f"trap 'exit 6' TERM; {UP}") as process:
        read(process.stdout, b"up\n")
        process.kill()
        process.wait(PATIENCE)
        assert lives.rt.state("c")["status"] == "running"
    lives.stop()
    assert lives.exit_code() == "6"


# -- what is left ----------------------------------------------------------------------------------


def test_rm_leaves_nothing(lives: Lives) -> None:
    result = foreground(lives, "sh", "-c", "exit 3", flags=("--rm",))
    assert result.code == 3
    assert lives.rt.ids() == []
    assert lives.rt.leaks() == []


def test_without_rm_the_container_can_be_looked_at(lives: Lives) -> None:
    assert foreground(lives, "sh", "-c", "echo x; exit 3").code == 3
    assert (lives.phase(), lives.exit_code()) == ("stopped", "3")
    assert lives.rt.shim("logs", "c").out == "x\n"
    assert lives.rt.delete("c").code == 0


def test_delete_force_of_a_foreground_container(lives: Lives) -> None:
    with attached(lives, UP) as process:
        read(process.stdout, b"up\n")
        assert lives.rt.delete("c", "--force").code == 0
        assert process.wait(PATIENCE) == 137
    assert lives.rt.ids() == []


def test_a_failed_post_start_ends_a_foreground_run(lives: Lives) -> None:
    with attached(lives, f"trap 'exit 6' TERM; {UP}", post_start=sh("exit 1")) as process:
        assert process.wait(PATIENCE) == 6
    assert "FailedPostStartHook" in lives.reasons()


def test_pid_file(lives: Lives, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with attached(lives, f"trap 'exit 6' TERM; {UP}", "--pid-file", str(path)) as process:
        read(process.stdout, b"up\n")
        assert int(path.read_text()) == lives.rt.state("c")["pid"]
        process.terminate()
        assert process.wait(PATIENCE) == 6

"""`run` of a process with a terminal, from a terminal (CONTRACT.md: "stdio attached")."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from support.lifecycle import PATIENCE, Lives


class Terminal:
    """The master's side of the terminal that `shim run` has as its own."""

    def __init__(self, lives: Lives, *argv: str, flags: tuple[str, ...] = ()) -> None:
        bundle = lives.rt.bundle(*argv, process={"terminal": True})
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
        self.process = lives.rt.spawn(
            "run", "-b", str(bundle), *flags, "c",
            stdin=slave, stdout=slave, stderr=slave, prefix=("setsid", "--ctty"),
        )  # fmt: skip
        os.close(slave)
        self.seen = b""

    def until(self, text: bytes, timeout: float = PATIENCE) -> bytes:
        """All that was shown since the last call, up to and with `text`."""
        end = monotonic() + timeout
        while text not in self.seen:
            arrived = select.select([self.master], [], [], max(0.0, end - monotonic()))[0]
            assert arrived, f"no {text!r} in {self.seen!r}"
            try:
                self.seen += os.read(self.master, 4096)
            except OSError:
                raise AssertionError(f"the terminal closed after {self.seen!r}") from None
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


@contextmanager
def terminal(lives: Lives, *argv: str, flags: tuple[str, ...] = ()) -> Iterator[Terminal]:
    made = Terminal(lives, *argv, flags=flags)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        os.close(made.master)


def test_the_process_has_a_terminal_of_its_own(lives: Lives) -> None:
    with terminal(lives, "sh", "-c", "tty; stty size; exit 5") as term:
        assert b"/dev/pts/0" in term.until(b"33 77")
        assert term.process.wait(PATIENCE) == 5


def test_keys_and_control_c_go_to_the_container(lives: Lives) -> None:
    main = "trap 'echo caught; exit 9' INT; echo ready; while :; do read x; echo got-$x; done"
    with terminal(lives, "sh", "-c", main) as term:
        term.until(b"ready")
        term.type(b"hello\r")
        term.until(b"got-hello")
        term.type(b"\x03")
        term.until(b"caught")
        assert term.process.wait(PATIENCE) == 9
    assert "Killing" not in lives.reasons()  # a byte for the container, not a stop


def test_a_new_size_is_passed_on(lives: Lives) -> None:
    main = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 1000 & wait; done"
    with terminal(lives, "sh", "-c", main) as term:
        term.until(b"ready")
        term.resize(11, 22)
        term.until(b"11 22")
        assert term.process.wait(PATIENCE) == 0


def test_sigterm_to_run_is_a_graceful_stop(lives: Lives) -> None:
    main = "trap 'echo bye; exit 6' TERM; echo ready; while :; do sleep 1000 & wait; done"
    with terminal(lives, "sh", "-c", main) as term:
        term.until(b"ready")
        term.process.terminate()
        term.until(b"bye")
        assert term.process.wait(PATIENCE) == 6
    assert lives.reasons()[-3:] == ["Killing", "StopSignalSent", "Exited"]


def test_the_callers_terminal_is_put_back(lives: Lives) -> None:
    with terminal(lives, "sh", "-c", "echo ready; read x; exit 0") as term:
        cooked = termios.tcgetattr(term.master)
        term.until(b"ready")
        raw = termios.tcgetattr(term.master)
        assert not raw[3] & termios.ICANON
        term.type(b"\r")
        assert term.process.wait(PATIENCE) == 0
        assert termios.tcgetattr(term.master)[3] | cooked[3] & termios.ICANON == cooked[3]


def test_a_detached_terminal_needs_a_console_socket(lives: Lives) -> None:
    bundle = lives.rt.bundle("sh", process={"terminal": True})
    result = lives.rt.shim("run", "-d", "-b", str(bundle), "c")
    assert result.code == 2
    assert "no --console-socket is given" in result.err
    assert lives.rt.ids() == []


def test_a_stop_from_another_terminal_shows_the_countdown(lives: Lives) -> None:
    lives.run("trap '' TERM; while :; do sleep 1000 & wait; done", grace=1)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    process = lives.rt.spawn("stop", "c", stdin=subprocess.DEVNULL, stderr=slave, stdout=slave)
    os.close(slave)
    shown = b""
    try:
        while True:
            assert select.select([master], [], [], PATIENCE)[0]
            shown += os.read(master, 4096)
    except OSError:  # the last holder of the slave has gone
        pass
    os.close(master)
    assert process.wait(PATIENCE) == 0
    assert shown.count(b"\r") > 5, shown  # a picture every tenth of a second
    assert b"c: stopped" in shown

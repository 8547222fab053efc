"""`exec -t`: the caller's own terminal, none, or a console socket."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest
from root.terminal_support import Screen, caller, console_socket, receive
from support.runtime import Runtime


def test_exec_t_with_a_console_socket(rt: Runtime) -> None:
    rt.running()
    with console_socket(rt) as (path, server):
        flags = ["--tty", "--detach", "--console-socket", path]
        assert rt.exec("c", "sh", "-c", "tty; read x", flags=flags).code == 0
        master = receive(server)
        try:
            Screen(master).until("/dev/pts/0")
        finally:
            os.close(master)


def test_exec_detached_with_a_terminal_needs_a_console_socket(rt: Runtime) -> None:
    rt.running()
    result = rt.exec("c", "true", flags=["--tty", "--detach"])
    assert result.code == 2
    assert "cannot allocate tty" in result.err
    with console_socket(rt) as (path, _):
        result = rt.exec("c", "true", flags=["--console-socket", path])
    assert result.code == 2
    assert "the process has no terminal" in result.err


def test_exec_t_on_a_terminal(rt: Runtime) -> None:
    """Size, typing, echo by the inner terminal only, Ctrl-C to the inner process, exit status."""
    rt.running()
    script = "stty size; trap 'echo interrupted' INT; read x; echo got $x; read y; exit 5"
    with caller(rt, "exec", "-t", "c", "sh", "-c", script) as person:
        person.screen.until("33 77\r\n")
        assert person.raw()
        person.screen.type("words\r")
        assert person.screen.until("got words\r\n") == "words\r\ngot words\r\n"
        person.screen.type("\x03")
        person.screen.until("interrupted")
        person.screen.type("\r")  # for a shell that had not begun to read
        assert person.ended() == 5


def test_exec_t_follows_the_size_of_the_window(rt: Runtime) -> None:
    rt.running()
    script = "trap 'stty size' WINCH; echo ready; while :; do read x && exit; done"
    with caller(rt, "exec", "-t", "c", "sh", "-c", script) as person:
        person.screen.until("ready")
        # the pseudo-terminal of a session leader's foreground group gets SIGWINCH; ours is told
        person.screen.size(12, 34)
        person.process.send_signal(signal.SIGWINCH)
        person.screen.until("12 34")
        person.screen.type("x\r")
        assert person.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_exec_t_gives_the_terminal_back_when_it_is_signalled(
    rt: Runtime, number: signal.Signals
) -> None:
    """The signal is the process's; what ends then ends in the usual way."""
    rt.running()
    with caller(rt, "exec", "-t", "c", "sleep", "1000") as person:
        while not person.raw():
            assert person.process.poll() is None
            select.select([], [], [], 0.01)
        person.process.send_signal(number)
        assert person.ended() == 128 + number


def test_exec_t_gives_the_terminal_back_when_the_container_is_killed(rt: Runtime) -> None:
    rt.running()
    with caller(rt, "exec", "-t", "c", "sh", "-c", "echo up; sleep 1000") as person:
        person.screen.until("up")
        assert rt.kill("c", "KILL").code == 0
        assert person.ended() == 137


def test_exec_t_gives_the_terminal_back_when_nothing_was_started(rt: Runtime) -> None:
    rt.running()
    with caller(rt, "exec", "-t", "c", "/not/there") as person:
        person.screen.until("no such file or directory")
        assert person.ended() == 127


def test_exec_t_without_a_terminal_relays_all_the_same(rt: Runtime) -> None:
    rt.running()
    result = rt.exec("c", "sh", "-c", "tty; read x; echo got $x", flags=["-t"], stdin=b"line\n")
    assert result.code == 0
    assert "/dev/pts/0\n" in result.out
    assert result.out.endswith("got line\n")


@pytest.mark.parametrize("data", [b"", b"whole\n", b"unfinished"])
def test_exec_t_ends_the_input_when_ours_ends(rt: Runtime, data: bytes) -> None:
    """A terminal has no end of file of its own; `cat` would wait for ever."""
    rt.running()
    # some of it may be echoed before stty has run; the end is cat's
    result = rt.exec("c", "sh", "-c", "stty -echo; cat", flags=["-t"], stdin=data)
    assert result.code == 0
    assert result.out.endswith(data.decode())


def test_exec_t_passes_on_all_output_before_it_ends(rt: Runtime) -> None:
    """More than a pseudo-terminal holds, and the last of it written just before the exit."""
    rt.running()
    result = rt.exec("c", "seq", "1", "60000", flags=["-t"])
    assert result.code == 0
    assert result.out.split() == [str(n) for n in range(1, 60001)]


def test_exec_t_ends_although_a_grandchild_keeps_the_terminal(rt: Runtime) -> None:
    rt.running()
    script = "trap '' HUP; sleep 1000 & echo gone"
    result = rt.exec("c", "sh", "-c", script, flags=["-t"], timeout=10)
    assert (result.code, result.out) == (0, "gone\n")


def test_exec_t_ends_although_a_grandchild_writes_without_end(rt: Runtime) -> None:
    rt.running()
    script = "trap '' HUP; for i in 1 2 3; do cat /dev/zero & done; exit 4"
    result = rt.exec("c", "sh", "-c", script, flags=["-t"], timeout=20)
    assert result.code == 4


def test_exec_t_takes_keys_while_its_output_is_not_read(rt: Runtime) -> None:
    """A stopped reader of stdout must not keep Ctrl-C from the process."""
    rt.running()
    read, write = os.pipe()
    master, slave = pty.openpty()
    process = subprocess.Popen(
        rt.argv("exec", "-t", "c", "sh", "-c", "trap 'exit 6' INT; while :; do echo full; done"),
        stdin=slave, stdout=write, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        os.close(write)
        fcntl.fcntl(read, 1031, 4096)  # F_SETPIPE_SZ
        while termios.tcgetattr(slave)[3] & termios.ICANON:
            assert process.poll() is None
            select.select([], [], [], 0.01)
        os.read(read, 1)
        os.write(master, b"\x03")
        # the process ends now; what it wrote waits for a reader
        pids = [os.read(read, 4096)]
        while pids[-1]:
            pids.append(os.read(read, 4096))
        assert process.wait(10) == 6
    finally:
        process.kill()
        process.wait()
        for fd in (read, master, slave):
            os.close(fd)


def test_exec_t_outlives_the_reader_of_its_output(rt: Runtime) -> None:
    """The process has a terminal, not our pipe: it neither dies of it nor hangs."""
    rt.running()
    read, write = os.pipe()
    script = "for i in $(seq 20000); do echo line; done; echo done >/finished; exit 8"
    process = subprocess.Popen(
        rt.argv("exec", "-t", "c", "sh", "-c", script),
        stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    os.read(read, 1)
    os.close(read)
    try:
        assert process.wait(20) == 8
    finally:
        process.kill()
        process.wait()
    assert (rt.rootfs / "finished").read_text() == "done\n"


def test_exec_t_comes_back_when_the_slave_is_opened_again(rt: Runtime) -> None:
    """All descriptors of the slave closed is a hang-up without end: no busy loop, and what is
    written later still comes."""
    rt.running()
    script = "T=$(tty); exec 0<&- 1>&- 2>&-; sleep 1; exec >$T; echo back"
    with caller(rt, "exec", "-t", "c", "sh", "-c", script) as person:
        person.screen.until("back")
        # a zombie's times are still there; a loop would have taken most of the second
        os.waitid(os.P_PID, person.process.pid, os.WEXITED | os.WNOWAIT)
        stat = Path(f"/proc/{person.process.pid}/stat").read_text().rpartition(")")[2].split()
        assert (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK") < 0.7
        assert person.ended() == 0


def test_exec_process_file_with_a_terminal(rt: Runtime) -> None:
    """CRI-O runs `exec --process FILE ID` attached."""
    rt.running()
    file = rt.dir / "process.json"
    document: dict[str, Any] = {
        "terminal": True,
        "consoleSize": {"height": 9, "width": 8},
        "args": ["sh", "-c", "tty; stty size"],
        "env": ["PATH=/bin"],
        "cwd": "/",
    }
    file.write_text(json.dumps(document))
    with caller(rt, "exec", "--process", str(file), "c") as person:
        person.screen.until("/dev/pts/0\r\n9 8\r\n")
        assert person.ended() == 0


def test_cv_32_the_callers_terminal_cannot_be_reached(rt: Runtime) -> None:
    """Not the controlling terminal, and no descriptor of it: TIOCSTI has nothing to act on."""
    rt.running()
    with caller(rt, "exec", "-t", "c", "sh", "-c", "ls -l /proc/self/fd; echo end") as person:
        listing = person.screen.until("end\r\n")
        assert person.ended() == 0
    links = [line.split(" -> ")[1].strip() for line in listing.splitlines() if " -> " in line]
    assert set(links[:3]) == {"/dev/pts/0"}
    assert all(link == "/dev/pts/0" or "/proc/" in link for link in links)

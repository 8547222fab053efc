"""`process.terminal`: --console-socket, and the caller's own terminal with `exec -t`."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from root.config_support import in_user_namespace, init_pid, refused
from support.runtime import Runtime


@contextmanager
def console_socket(rt: Runtime) -> Iterator[tuple[str, socket.socket]]:
    """What an engine listens on (runc's docs/terminals.md)."""
    path = f"{rt.dir}/console.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.settimeout(5)
        yield path, server


def receive(server: socket.socket) -> int:
    connection, _ = server.accept()
    with connection:
        connection.settimeout(5)
        data, fds, _, _ = socket.recv_fds(connection, 64, 2)
    assert data  # the name of the master: anything but nothing
    assert len(fds) == 1
    return fds[0]


class Screen:
    """One end of a pseudo-terminal: what was written to it, and waiting for more."""

    def __init__(self, fd: int) -> None:
        self.fd, self.text = fd, ""

    def until(self, words: str, timeout: float = 10) -> str:
        """Read until `words` have come; everything up to and including them."""
        while words not in self.text:
            assert select.select([self.fd], [], [], timeout)[0], f"no {words!r} in {self.text!r}"
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                data = b""
            assert data, f"hung up before {words!r}: {self.text!r}"
            self.text += data.decode()
        found, _, self.text = self.text.partition(words)
        return found + words

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


class Caller:
    """A shim process on a pseudo-terminal of its own, as a person would have it."""

    def __init__(self, rt: Runtime, *words: str, size: tuple[int, int] = (33, 77)) -> None:
        master, self.slave = pty.openpty()
        self.screen = Screen(master)
        self.screen.size(*size)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            rt.argv(*words), stdin=self.slave, stdout=self.slave, stderr=self.slave,
            start_new_session=True,
        )  # fmt: skip

    def raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def ended(self, timeout: float = 10) -> int:
        """Its exit status; the terminal is as it was, whatever happened."""
        code = self.process.wait(timeout)
        assert termios.tcgetattr(self.slave) == self.before
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.slave)
        os.close(self.screen.fd)


@contextmanager
def caller(rt: Runtime, *words: str, size: tuple[int, int] = (33, 77)) -> Iterator[Caller]:
    made = Caller(rt, *words, size=size)
    try:
        yield made
    finally:
        made.close()


TERMINAL = {"terminal": True}


@pytest.mark.parametrize("user_namespace", [False, True], ids=["root", "user namespace"])
def test_create_sends_the_master_to_the_console_socket(rt: Runtime, user_namespace: bool) -> None:
    script = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all; read x; echo got $x"
    config = rt.config("sh", "-c", script, process=TERMINAL)
    config["process"]["consoleSize"] = {"height": 21, "width": 43}
    if user_namespace:
        in_user_namespace(config)
    with console_socket(rt) as (path, server):
        assert rt.create("c", rt.bundle_of(config), "--console-socket", path).code == 0
        screen = Screen(receive(server))
        try:
            assert rt.start("c").code == 0
            screen.until("/dev/pts/0")
            screen.until("21 43")
            screen.until("all")
            screen.type("hello\n")
            screen.until("got hello")
        finally:
            os.close(screen.fd)


def test_the_slave_is_the_controlling_terminal_and_dev_console(rt: Runtime) -> None:
    config = rt.config(process={**TERMINAL, "user": {"uid": 1000, "gid": 1000}})
    with console_socket(rt) as (path, server):
        assert rt.create("c", rt.bundle_of(config), "--console-socket", path).code == 0
        master = receive(server)
    try:
        assert rt.start("c").code == 0
        stat = Path(f"/proc/{init_pid(rt)}/stat").read_text().rpartition(")")[2].split()
        number = int(stat[4])
        assert (number >> 8 & 0xFFF, number & 0xFF) == (136, 0)  # pts/0
        found = rt.output("c", "stat", "-c", "%t:%T %u", "/dev/console", "/dev/pts/0").split("\n")
        assert found[:2] == ["88:0 1000", "88:0 1000"]  # runc gives it to the process's user
        assert os.readlink(f"/proc/{init_pid(rt)}/fd/0") == "/dev/pts/0"
        # EX-06: no other descriptor, of the master least of all
        assert sorted(os.listdir(f"/proc/{init_pid(rt)}/fd")) == ["0", "1", "2"]
    finally:
        os.close(master)


def test_a_terminal_needs_a_console_socket_and_the_other_way_round(rt: Runtime) -> None:
    refused_line = rt.create("bad", rt.bundle(process=TERMINAL))
    assert refused_line.code == 2
    assert "cannot allocate tty" in refused_line.err
    with console_socket(rt) as (path, _):
        result = rt.create("bad", rt.bundle(), "--console-socket", path)
    assert result.code == 2
    assert "process.terminal is false" in result.err
    assert rt.leaks() == []


def test_a_console_socket_nobody_listens_on(rt: Runtime) -> None:
    result = rt.create("bad", rt.bundle(process=TERMINAL), "--console-socket", "/nowhere/sock")
    assert result.code == 1
    assert "connect to console socket /nowhere/sock: no such file or directory" in result.line
    assert rt.leaks() == []


def test_a_console_socket_with_a_path_longer_than_sun_path(rt: Runtime) -> None:
    deep = rt.dir / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        parent = os.open(deep, os.O_PATH)
        server.bind(f"/proc/self/fd/{parent}/s")
        os.close(parent)
        server.listen()
        server.settimeout(5)
        path = str(deep / "s")
        bundle = rt.bundle(process=TERMINAL)
        assert rt.create("c", bundle, "--console-socket", path).code == 0
        os.close(receive(server))


def test_without_a_devpts_a_terminal_is_an_error_of_its_field(rt: Runtime) -> None:
    config = rt.config(process=TERMINAL)
    config["mounts"] = [m for m in config["mounts"] if m["type"] != "devpts"]
    with console_socket(rt) as (path, _):
        result = rt.create("bad", rt.bundle_of(config), "--console-socket", path)
    assert result.code == 1
    assert "/process/terminal" in result.line
    assert rt.leaks() == []


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


def run_bundle(rt: Runtime, script: str, **process: Any) -> str:
    return str(rt.bundle("sh", "-c", script, process={**TERMINAL, **process}))


def test_run_on_a_terminal(rt: Runtime) -> None:
    """Foreground `run` is the same: size, typing, window changes, exit status."""
    script = "stty size; trap 'stty size' WINCH; read x; echo got $x; read y; exit 5"
    with caller(rt, "run", "--bundle", run_bundle(rt, script), "c") as person:
        person.screen.until("33 77\r\n")
        person.screen.type("words\r")
        person.screen.until("got words\r\n")
        assert person.raw()
        person.screen.size(12, 34)
        person.process.send_signal(signal.SIGWINCH)
        person.screen.until("12 34")
        person.screen.type("\r")
        assert person.ended() == 5


def test_run_with_a_console_size_of_its_own(rt: Runtime) -> None:
    size = {"height": 21, "width": 43}
    bundle = run_bundle(rt, "stty size; read x", consoleSize=size)
    with caller(rt, "run", "--bundle", bundle, "c") as person:
        person.screen.until("21 43\r\n")
        person.screen.type("\r")
        assert person.ended() == 0


def test_run_gives_the_terminal_back_when_the_container_is_killed(rt: Runtime) -> None:
    with caller(rt, "run", "--bundle", run_bundle(rt, "echo up; sleep 1000"), "c") as person:
        person.screen.until("up")
        assert rt.kill("c", "KILL").code == 0
        assert person.ended() == 137


def test_run_relays_without_a_terminal_too(rt: Runtime) -> None:
    result = rt.shim("run", "--bundle", run_bundle(rt, "tty; cat; exit 3"), "c", stdin=b"line\n")
    assert result.code == 3
    assert "/dev/pts/0\n" in result.out
    assert result.out.endswith("line\n")


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


def test_refused_names_the_field(rt: Runtime) -> None:
    config = rt.config(process={"consoleSize": {"height": 70000, "width": 1}})
    refused(rt, config, "/process/consoleSize/height")

"""`process.terminal` with --console-socket, and the caller's own terminal with `run`."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from root.config_support import in_user_namespace, init_pid, refused
from root.terminal_support import TERMINAL, Screen, caller, console_socket, receive
from support.runtime import Runtime


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


def test_refused_names_the_field(rt: Runtime) -> None:
    config = rt.config(process={"consoleSize": {"height": 70000, "width": 1}})
    refused(rt, config, "/process/consoleSize/height")


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

"""`events -f`, `hooks -f`, `logs -f`: nothing is missed, and they end when no more can come."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shimcli import command

from shim.kernel import proc
from shim.model import event
from shim.model.directory import ContainerDir
from shim.model.store import Store

pytest.importorskip("shim._core", reason="scripts/build --in-place was not run")


class Reader:
    """A following verb and the lines it prints."""

    def __init__(self, *argv: str) -> None:
        self.process = subprocess.Popen(
            command(*argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._rest = b""

    def line(self) -> str:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while b"\n" not in self._rest:
            assert select.select([fd], [], [], 10)[0], "nothing came"
            data = os.read(fd, 4096)
            assert data, "the stream ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, (self._rest + out).decode(), err.decode()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def init() -> Iterator[int]:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture
def web(tmp_path: Path, init: int) -> ContainerDir:
    return add(tmp_path, "web", init)


def add(root: Path, id: str, pid: int) -> ContainerDir:
    directory = Store(str(root / "root")).create(id)
    directory.write_state(
        {
            "id": id,
            "status": "running",
            "phase": "running",
            "pid": pid,
            "bootId": proc.boot_id(),
            "startTime": proc.start_time(pid),
        }
    )
    return directory


def note(directory: ContainerDir, message: str) -> None:
    directory.append(event.event("Normal", "Created", message, directory.id, 0))


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Any]:
    readers: list[Reader] = []

    def start(*argv: str) -> Reader:
        readers.append(Reader("--root", str(tmp_path / "root"), *argv))
        return readers[-1]

    yield start
    for reader in readers:
        reader.close()


def test_events_of_one_container_until_it_is_deleted(web: ContainerDir, follow: Any) -> None:
    note(web, "one")
    reader = follow("events", "-f", "--format", "json", "web")
    assert json.loads(reader.line())["message"] == "one"
    for number in range(20):
        note(web, str(number))
    assert [json.loads(reader.line())["message"] for _ in range(20)] == [
        str(number) for number in range(20)
    ]
    web.remove()
    assert reader.end() == (0, "", "")


def test_events_of_all_include_containers_made_later(
    web: ContainerDir, follow: Any, tmp_path: Path, init: int
) -> None:
    note(web, "one")
    reader = follow("events", "--follow", "--format=json")
    assert json.loads(reader.line())["container"] == "web"
    note(add(tmp_path, "db", init), "two")
    assert json.loads(reader.line())["container"] == "db"
    web.remove()
    again = add(tmp_path, "web", init)
    note(again, "three")
    assert json.loads(reader.line())["message"] == "three"
    note(again, "four")
    assert json.loads(reader.line())["message"] == "four"
    reader.process.send_signal(signal.SIGINT)
    assert reader.end() == (130, "", "")


def test_events_table_has_its_header_first(web: ContainerDir, follow: Any) -> None:
    reader = follow("events", "-f", "web")
    assert reader.line().split() == ["TIME", "TYPE", "REASON", "CONTAINER", "MESSAGE"]
    note(web, "x\x1b[1m")
    assert reader.line().endswith("x\\e[1m")


def deliver(web: ContainerDir, n: int) -> None:
    hook = {"hook": "preStop", "handler": "exec", "attempt": n, "trigger": "stop", "time": "T"}
    web.append({"t": "intent", "n": n, **hook})
    web.write_bytes(f"hooks/{n}.out", b"output %d\n" % n)
    web.append({"t": "done", "n": n, "outcome": "succeeded"})


def test_hooks_are_printed_as_they_end(web: ContainerDir, follow: Any, init: int) -> None:
    deliver(web, 1)
    reader = follow("hooks", "-f", "--format", "json", "web")
    assert json.loads(reader.line())["output"] == "output 1\n"
    deliver(web, 2)
    assert json.loads(reader.line())["output"] == "output 2\n"
    web.append({"t": "intent", "n": 3, "hook": "preStop", "attempt": 3})
    web.update(status="stopped", phase="stopped", pid=None)
    assert json.loads(reader.line())["outcome"] is None
    assert reader.end() == (0, "", "")


def test_hooks_table_has_one_header(web: ContainerDir, follow: Any) -> None:
    deliver(web, 1)
    reader = follow("hooks", "-f", "web")
    assert reader.line().startswith("HOOK ")
    assert reader.line().endswith("output 1")
    deliver(web, 2)
    assert reader.line().endswith("output 2")


def test_logs_until_the_container_has_stopped(web: ContainerDir, follow: Any, init: int) -> None:
    path = os.path.join(web.path, "log")
    with open(path, "wb", buffering=0) as log:
        log.write(b"T stdout F one\nT stdout P hal")
        reader = follow("logs", "-f", "web")
        assert reader.line() == "one"
        log.write(b"f\nT stdout F -two\nT stderr F three\n")
        assert reader.line() == "half-two"
        log.write(b"T stdout F last\n")
        os.kill(init, signal.SIGKILL)
        assert reader.end() == (0, "last\n", "three\n")


@pytest.mark.parametrize("verb", ["logs", "hooks"])
def test_a_container_deleted_by_force_ends_the_stream(
    verb: str, web: ContainerDir, follow: Any, init: int
) -> None:
    Path(web.path, "log").write_bytes(b"T stdout F one\n")
    deliver(web, 1)
    reader = follow(verb, "-f", "web")
    reader.line()
    os.kill(init, signal.SIGKILL)
    with web.lock():
        web.remove()
    status, _, err = reader.end()
    assert (status, err) == (0, "")


def test_logs_of_a_stopped_container_end_at_once(web: ContainerDir, follow: Any) -> None:
    web.update(status="stopped", pid=None)
    Path(web.path, "log").write_bytes(b"T stdout F one\n")
    assert follow("logs", "-f", "web").end() == (0, "one\n", "")

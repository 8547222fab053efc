"""`stop` and `wait` as callers see them, over a scripted engine: lines, statuses, Ctrl-C."""

from __future__ import annotations

import os
import select
import sys
import types
from collections.abc import Callable
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Any

import pytest

from shim.cli.main import main
from shim.cli.verbs import stop as stop_verb
from shim.errors import NotFoundError
from shim.model.store import Store


class Watch:
    """A StopWatch that plays (phase, finished) steps; without steps it never has news."""

    def __init__(self, steps: list[tuple[str, bool]], grace: float | None = 30.0) -> None:
        self._steps = list(steps)
        self._read, self._write = os.pipe()
        os.write(self._write, b"." * len(steps))
        self.deadline = None if grace is None else clock_gettime(CLOCK_BOOTTIME) + grace
        self.phase, self.finished, self.closed = "terminating", False, False

    def fileno(self) -> int:
        return self._read

    def read(self) -> list[dict[str, Any]]:
        os.read(self._read, 1)
        phase, self.finished = self._steps.pop(0)
        if not phase:
            return []
        self.phase = phase
        return [{"t": "event"}]

    def close(self) -> None:
        if not self.closed:
            os.close(self._read)
            os.close(self._write)
        self.closed = True


WHOLE = [("stopping", False), ("stopped", True)]


class Engine(types.ModuleType):
    """shim.engine.client, scripted."""

    def __init__(self) -> None:
        super().__init__("shim.engine.client")
        self.watches: dict[str, Watch] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def stop(self, store: Store, id: str, **how: Any) -> Watch:
        self.calls.append((id, how))
        if id not in self.watches:
            raise NotFoundError()
        return self.watches[id]

    def wait(self, store: Store, id: str) -> int:
        read, write = os.pipe()
        if id in self.watches:
            os.close(write)
        return read


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    fake = Engine()
    monkeypatch.setitem(sys.modules, "shim.engine.client", fake)
    return fake


def add(root: Path, id: str, **state: Any) -> None:
    Store(str(root)).create(id).write_state({"id": id, "status": "stopped", "pid": None, **state})


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., int]:
    return lambda *argv: main(["--root", str(tmp_path), *argv])


def test_one_line_a_phase(
    engine: Engine, run: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    engine.watches["web"] = Watch(WHOLE)
    assert run("stop", "web") == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "web: preStop, SIGKILL in 30.0s",
        "web: stop signal sent, SIGKILL in 30.0s",
        "web: stopped",
    ]
    assert engine.calls == [("web", {"grace": None, "reason": None, "now": False})]
    assert engine.watches["web"].closed


def test_flags_reach_the_engine(engine: Engine, run: Callable[..., int]) -> None:
    engine.watches["web"] = Watch(WHOLE)
    assert run("stop", "-t", "2.5", "--reason", "drain", "--now", "web") == 0
    assert engine.calls == [("web", {"grace": 2.5, "reason": "drain", "now": True})]


def test_a_stopped_container_is_no_error_and_prints_nothing(
    engine: Engine, run: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    engine.watches["web"] = Watch([])
    engine.watches["web"].finished = True
    assert run("stop", "web") == 0
    assert capfd.readouterr() == ("", "")


def test_several_are_requested_before_any_is_waited_for(
    engine: Engine, run: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    engine.watches.update(a=Watch(WHOLE), b=Watch(WHOLE))
    assert run("stop", "a", "nosuch", "b", "a") == 1
    assert [id for id, _ in engine.calls] == ["a", "nosuch", "b"]
    err = capfd.readouterr().err
    assert 'shim: cannot stop "nosuch": container does not exist\n' in err
    assert "a: stopped\n" in err
    assert "b: stopped\n" in err


def test_an_unknown_id_is_one_line(
    engine: Engine, run: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("stop", "web") == 1
    assert capfd.readouterr().err == 'shim: cannot stop "web": container does not exist\n'


def test_no_wait_returns_at_once(engine: Engine, run: Callable[..., int]) -> None:
    engine.watches["web"] = Watch([])
    assert run("stop", "--no-wait", "web") == 0
    assert engine.watches["web"].closed


def test_the_callers_own_timeout_is_124(
    engine: Engine, run: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    engine.watches["web"] = Watch([])
    assert run("stop", "--timeout", "0.05", "web") == 124
    assert "still not stopped after 0.05 seconds" in capfd.readouterr().err


def test_a_monitor_that_ends_too_early_is_an_error(
    engine: Engine,
    run: Callable[..., int],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    add(tmp_path, "web", status="creating")
    engine.watches["web"] = Watch([("stopping", False), ("", False)])
    assert run("stop", "web") == 1
    assert "the monitor ended before the container had stopped" in capfd.readouterr().err


def test_a_monitor_that_ends_with_the_container_is_fine(
    engine: Engine, run: Callable[..., int], tmp_path: Path
) -> None:
    add(tmp_path, "web")
    engine.watches["web"] = Watch([("", False)])
    assert run("stop", "web") == 0


def interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C instead of the first wait."""

    class Poll:
        def register(self, fd: int, mask: int) -> None: ...

        def poll(self, timeout: float | None) -> list[tuple[int, int]]:
            raise KeyboardInterrupt

    monkeypatch.setattr(select, "poll", Poll)


def test_ctrl_c_stops_watching_and_the_stop_goes_on(
    engine: Engine, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.watches["web"] = Watch(WHOLE)
    interrupt(monkeypatch)
    assert run("stop", "web") == 130
    assert len(engine.calls) == 1


@pytest.mark.parametrize(("twice", "calls"), [(False, 1), (True, 2)])
def test_ctrl_c_twice_on_a_terminal_kills_now(
    twice: bool,
    calls: int,
    engine: Engine,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine.watches["web"] = Watch(WHOLE)
    interrupt(monkeypatch)
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((80, 24)))

    def wait(*sets: Any) -> None:
        assert sets[3] == stop_verb.SECOND_CTRL_C
        if twice:
            raise KeyboardInterrupt

    monkeypatch.setattr(select, "select", wait)
    assert run("stop", "web") == 130
    assert len(engine.calls) == calls
    if twice:
        assert engine.calls[1] == ("web", {"grace": None, "reason": None, "now": True})
    assert "web: preStop | SIGKILL in 30.0s [" in capfd.readouterr().err


def test_the_countdown_is_redrawn_in_place(
    engine: Engine,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine.watches["web"] = Watch(WHOLE)
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((40, 24)))
    assert run("stop", "web") == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    drawn = [part.removesuffix("\x1b[K") for part in err.split("\r") if part.endswith("\x1b[K")]
    assert drawn[0].startswith("web: preStop | SIGKILL in 30.0s")
    assert all(len(line) < 40 for line in drawn)


# ---- wait


def test_wait_prints_one_status_a_line_and_exits_with_the_last(
    engine: Engine, run: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    add(tmp_path, "a", exit={"exitCode": 3, "signal": None})
    add(tmp_path, "b", exit={"exitCode": None, "signal": 9})
    engine.watches.update(a=Watch([]), b=Watch([]))
    assert run("wait", "a", "b") == 137
    assert capfd.readouterr() == ("3\n137\n", "")


def test_wait_for_a_status_nobody_knows(
    engine: Engine, run: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    add(tmp_path, "a")
    engine.watches["a"] = Watch([])
    assert run("wait", "a") == 125
    assert capfd.readouterr().out == "null\n"


def test_wait_for_a_container_that_does_not_exist(
    engine: Engine, run: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("wait", "a") == 125
    assert capfd.readouterr().err == 'shim: cannot wait "a": container does not exist\n'


def test_wait_timeout_is_124(
    engine: Engine, run: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    add(tmp_path, "a")
    assert run("wait", "--timeout", "0.05", "a") == 124
    assert "still running after 0.05 seconds" in capfd.readouterr().err

"""The monitor in virtual time: its own code with a clock that jumps to the next timer, a process
that is a few numbers, and sleep hooks; a life of a minute takes milliseconds.

It is ended before and after every single write that it makes, and a second monitor takes over with
what is in the directory (SECURITY.md SP-11, ST-13: "before/after each journal record").
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from unit.stop_support import FakeClock

from shim.bundle.lifecycle import Handler, Lifecycle
from shim.engine import monitor as monitor_module
from shim.engine.clock import Clock
from shim.engine.loop import Timer
from shim.engine.monitor import Monitor
from shim.engine.recover import Past
from shim.errors import ShimError
from shim.model.directory import ContainerDir
from shim.model.event import deliveries, events
from shim.model.store import Store

BOOT = 5000.0
DOWN = 0.25
"""Seconds without a monitor."""


class Crash(BaseException):
    """SIGKILL; nothing catches it."""


class VirtualClock(FakeClock, Clock):
    __slots__ = ()

    def boottime(self) -> float:
        return self.now() + BOOT

    def wall_ns(self) -> int:
        return int((self.now() + 1e9) * 1e9)


class VirtualLoop:
    """Timers only: with nothing else to wait for, the clock jumps to the next one."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.running, self.last = clock, True, 0.0
        self._timers: list[Timer] = []

    def at(self, deadline: float, action: Callable[[], None]) -> Timer:
        self._timers.append(Timer(deadline, action))
        return self._timers[-1]

    def add(self, *_: object) -> None:
        """No descriptor ever becomes ready."""

    def run(self) -> None:
        while self.running:
            due = [timer for timer in self._timers if timer.action is not None]
            assert due, "nothing will ever happen again"
            first = min(due, key=lambda timer: timer.deadline)
            self._timers.remove(first)
            self.clock.jump(max(first.deadline, self.clock.now()))
            assert first.action is not None
            first.action()


class Nothing:
    """Stands for what a sleep hook never needs: a socket, a reaper, a spawner, a cgroup."""

    def __init__(self, *_: object) -> None:
        pass

    def peers(self) -> list[int]:
        return []

    def populated(self) -> bool:
        return False

    def child(self, name: str, create: bool = True) -> None:
        raise ShimError(f"no cgroup {name}")

    def write(self, *_: object) -> None:
        pass

    tell = close = kill = write


class Process:
    """PID 1: ends `needs` seconds after SIGTERM (None: ignores it) and at once at SIGKILL."""

    def __init__(self, needs: float | None) -> None:
        self.needs = needs
        self.ends: float | None = None
        self.got: list[tuple[float, str]] = []


class VirtualMonitor(Monitor):
    __slots__ = ("process",)

    def send(self, number: int) -> None:
        now, process = self.clock.now(), self.process
        process.got.append((now, "KILL" if number == 9 else "TERM"))
        ends = now if number == 9 else None if process.needs is None else now + process.needs
        if ends is not None and (process.ends is None or ends < process.ends):
            process.ends = ends
            self.watch()

    def watch(self) -> None:
        if self.process.ends is not None:
            self.loop.at(self.process.ends, lambda: self._exited or self._on_exit(0))


class Life:
    """A container, and the monitors that it had."""

    def __init__(self, store: Store, lifecycle: Lifecycle, needs: float | None) -> None:
        self.clock = VirtualClock(100.0)
        self.process = Process(needs)
        self.directory = store.create("web")
        phase = "starting" if lifecycle.post_start else "running"
        self.directory.write_state(
            {
                "id": "web",
                "status": "running",
                "phase": phase,
                "pid": 4242,
                "lifecycle": lifecycle.to_json(),
            }
        )
        self.accepted: float | None = None
        self.writes, self.stop_at = 0, 0.0

    def monitor(self, directory: ContainerDir) -> VirtualMonitor:
        loop: Any = VirtualLoop(self.clock)
        cgroup: Any = Nothing()
        made = VirtualMonitor(directory, directory.read_state(), loop, -1, cgroup, parent=True)
        made.process = self.process
        made.watch()
        return made

    def ask(self, monitor: Monitor, at: float) -> None:
        """A client that asks for a stop and asks again when it got no answer."""

        def stop() -> None:
            monitor.stop(None, "api", None)
            self.accepted = self.accepted or self.clock.now()

        if self.accepted is None:
            monitor.loop.at(at, stop)

    def first(self, stop_at: float, crash_at: int, after: bool) -> bool:
        """The first monitor, which ends before or after its write number `crash_at`."""
        self.stop_at = self.clock.now() + stop_at
        monitor = self.monitor(_Failing(self.directory, self, crash_at, after))
        try:
            self.ask(monitor, self.stop_at)
            monitor.started()
            monitor.loop.run()
        except Crash:
            return False
        return True

    def second(self) -> None:
        """Another one takes over, if there is anything left to take over."""
        self.clock.jump(self.clock.now() + DOWN)
        if self.process.ends is not None and self.process.ends <= self.clock.now():
            return
        monitor = self.monitor(self.directory)
        monitor.resume(self.directory.read_state(), Past(self.directory.journal()))
        self.ask(monitor, max(self.clock.now(), self.stop_at))
        monitor.finish_if_idle()
        monitor.loop.run()


class _Failing:
    """A ContainerDir that ends its monitor at one write."""

    def __init__(self, directory: ContainerDir, life: Life, crash_at: int, after: bool) -> None:
        self._directory, self._life, self._crash_at, self._after = directory, life, crash_at, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._directory, name)

    def _count(self, write: Callable[[], Any]) -> Any:
        self._life.writes += 1
        dead = 0 < self._crash_at < self._life.writes  # whatever is still tried on the way out
        if dead or (self._life.writes == self._crash_at and not self._after):
            raise Crash
        result = write()
        if self._life.writes == self._crash_at:
            raise Crash
        return result

    def append(self, record: dict[str, Any]) -> None:
        self._count(lambda: self._directory.append(record))

    def try_update(self, **changes: Any) -> bool:
        return bool(self._count(lambda: self._directory.try_update(**changes)))


@pytest.fixture(autouse=True)
def _no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Control", "Reaper", "Spawner"):
        monkeypatch.setattr(monitor_module, name, Nothing)


@pytest.fixture
def stores() -> Iterator[Callable[[], Store]]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        numbers = iter(range(1000))
        yield lambda: Store(f"{path}/{next(numbers)}")


def sleeping(post: float | None, pre: float | None, grace: float) -> Lifecycle:
    hooks = [None if s is None else Handler("sleep", seconds=s) for s in (post, pre)]
    return Lifecycle(post_start=hooks[0], pre_stop=hooks[1], grace=grace)


CASES = {
    "the documented example": (sleeping(None, 55, 60), 10.0, 5.0, ("TERM", 60.0)),
    "in time": (sleeping(2, 3, 10), 1.0, 5.0, ("TERM", 4.0)),
    "deaf": (sleeping(2, 3, 10), None, 5.0, ("KILL", 10.0)),
    "no hooks": (sleeping(None, None, 10), None, 5.0, ("KILL", 10.0)),
    "a hook as long as the grace": (sleeping(None, 10, 10), 1.0, 5.0, ("KILL", 10.0)),
    "stop during postStart": (sleeping(20, 3, 30), 1.0, 5.0, ("TERM", 4.0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_whole_life(stores: Callable[[], Store], case: str) -> None:
    lifecycle, needs, stop_at, (last, took) = CASES[case]
    life = Life(stores(), lifecycle, needs)
    assert life.first(stop_at, 0, False)
    assert life.process.ends == pytest.approx(100 + stop_at + took)
    assert life.process.got[0][1] == "TERM"
    assert life.process.got[-1][1] == ("KILL" if case == "the documented example" else last)
    state = life.directory.read_state()
    assert (state["status"], state["phase"], state["deadline"]) == ("stopped", "stopped", None)


def check(life: Life, lifecycle: Lifecycle, stop_at: float) -> None:
    """What holds for every way to die and be taken over."""
    journal = life.directory.journal()
    found = deliveries(journal, lambda n: None)
    reasons = [event["reason"] for event in events(journal)]
    got = [name for _, name in life.process.got]
    assert life.process.ends is not None, "the stop does not end"
    assert life.accepted is not None
    assert life.process.ends <= max(life.accepted, 100 + stop_at) + lifecycle.grace + DOWN
    for hook in ("postStart", "preStop"):
        attempts = [d["attempt"] for d in found if d["hook"] == hook]
        assert attempts in ([], [1], [1, 2]), found
    if lifecycle.post_start is not None and lifecycle.post_start.seconds < 5:
        last = [d["outcome"] for d in found if d["hook"] == "postStart"][-1]
        # its success may be in the events and the state, and not in the record that comes last
        assert last == "succeeded" or "PostStartHookSucceeded" in reasons, "not delivered again"
    redelivered = sum(d["attempt"] == 2 for d in found)
    assert reasons.count("HookRedelivered") in (redelivered, redelivered - 1)
    assert reasons.count("Killing") <= 2
    if lifecycle.pre_stop is not None and "TERM" in got:
        assert any(d["hook"] == "preStop" for d in found), "the signal without the hook"
    assert "TERM" in got
    assert got.count("TERM") <= 2
    if "KILL" in got:
        assert got.index("TERM") < got.index("KILL")
    assert [d["outcome"] for d in found][:-1].count(None) == 0, "a delivery without an end"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("after", [False, True])
def test_st_13_killed_before_and_after_every_write(
    stores: Callable[[], Store], case: str, after: bool
) -> None:
    lifecycle, needs, stop_at, _ = CASES[case]
    for crash_at in range(1, 100):
        life = Life(stores(), lifecycle, needs)
        if life.first(stop_at, crash_at, after):
            assert crash_at > 4, "so few writes"
            break
        life.second()
        try:
            check(life, lifecycle, stop_at)
        except AssertionError as error:
            error.add_note(f"ended at write {crash_at}: {life.directory.journal()}")
            raise
    else:
        raise AssertionError("never a whole life")


@pytest.mark.parametrize(
    ("outcome", "attempts"),
    [("succeeded", [1]), ("failed", [1, 2]), ("interrupted", [1, 2]), (None, [1, 2])],
)
def test_sp_11_only_a_post_start_that_succeeded_is_not_delivered_again(
    stores: Callable[[], Store], outcome: str | None, attempts: list[int]
) -> None:
    """The journal had the end of the hook, and the state file could not be written any more."""
    life = Life(stores(), sleeping(2, None, 10), 1.0)
    intent = {"t": "intent", "n": 1, "hook": "postStart", "handler": "sleep", "attempt": 1}
    life.directory.append({**intent, "trigger": "start", "time": "T"})
    if outcome is not None:
        life.directory.append({"t": "done", "n": 1, "outcome": outcome})
    life.stop_at = life.clock.now() + 20
    life.second()
    found = deliveries(life.directory.journal(), lambda n: None)
    assert [d["attempt"] for d in found] == attempts
    assert found[-1]["outcome"] == "succeeded"
    reasons = [event["reason"] for event in events(life.directory.journal())]
    assert reasons[-3:] == ["Killing", "StopSignalSent", "Exited"]

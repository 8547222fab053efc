"""A world for the stop machine: a clock that jumps, and a record of everything that was asked for.

The world carries actions out as the monitor does (engine.monitor.Monitor.act): a cancelled hook is
gone at once, a timer fires at the deadline or later, never before.
"""

from __future__ import annotations

from typing import Any

from shim.engine.stop import CANCEL, EMIT, KILL, PHASE, RUN, SIGNAL, TIMER, Machine


class FakeClock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def jump(self, to: float) -> None:
        assert to >= self._now, "time does not run backwards"
        self._now = to


class World:
    """What surrounds a machine. `trace` has (time, what) of every act, oldest first: "run preStop",
    "cancel preStop timedOut", "TERM", "KILL", "phase stopping", "exit"; events are in `events`."""

    def __init__(
        self,
        *,
        post_start: bool = False,
        pre_stop: bool = False,
        grace: float = 30,
        now: float = 1000.0,
    ) -> None:
        self.clock = FakeClock(now)
        self.machine = Machine(
            "web", post_start=post_start, pre_stop=pre_stop, grace=grace, signal_name="SIGTERM"
        )
        self.trace: list[tuple[float, str]] = []
        self.events: list[tuple[float, str, str]] = []
        self.messages: list[tuple[str, str]] = []
        self.hooks: list[str] = []
        self.triggers: list[str] = []
        self.timer: float | None = None
        self.alive = True

    # -- inputs ------------------------------------------------------------------------------------

    def start(self) -> None:
        self.act(self.machine.started())

    def stop(
        self, grace: float | None = None, trigger: str = "api", message: str | None = None
    ) -> None:
        self.act(self.machine.stop(self.clock.now(), grace, trigger, message))

    def hook_ends(self, hook: str, outcome: str = "succeeded", message: str = "why") -> None:
        if hook in self.hooks:
            self.hooks.remove(hook)
        self.act(self.machine.hook_done(self.clock.now(), hook, outcome, message))

    def exit(self, failed: bool = False) -> None:
        self.alive = False
        self.note("exit")
        self.act(self.machine.exited("Container web exited", failed))

    def advance(self, seconds: float, late: float = 0.0) -> None:
        """Let time pass. A timer that falls due wakes the machine, `late` seconds after."""
        end = self.clock.now() + seconds
        while self.timer is not None and self.timer <= end:
            self.clock.jump(max(self.clock.now(), self.timer + late))
            self.timer = None
            self.act(self.machine.timer(self.clock.now()))
        self.clock.jump(max(end, self.clock.now()))

    # -- what the machine wants --------------------------------------------------------------------

    def act(self, actions: list[Any]) -> None:
        for kind, *rest in actions:
            if kind == RUN:
                self.hooks.append(rest[0])
                self.triggers.append(rest[1])
                self.note(f"run {rest[0]}")
            elif kind == CANCEL:
                assert rest[0] in self.hooks, f"{rest[0]} does not run"
                self.hooks.remove(rest[0])
                self.note(f"cancel {rest[0]} {rest[1]}")
            elif kind == SIGNAL:
                self.note("TERM")
            elif kind == KILL:
                self.note("KILL")
            elif kind == TIMER:
                self.timer = self.machine.deadline
            elif kind == PHASE:
                assert self.machine.phase == rest[0]
                self.note(f"phase {rest[0]}")
            else:
                assert kind == EMIT
                self.events.append((self.clock.now(), rest[0], rest[1]))
                self.messages.append((rest[1], rest[2]))

    def note(self, what: str) -> None:
        self.trace.append((self.clock.now(), what))

    # -- for assertions ----------------------------------------------------------------------------

    @property
    def did(self) -> list[str]:
        """Acts without their times and without phases."""
        return [what for _, what in self.trace if not what.startswith("phase")]

    @property
    def phases(self) -> list[str]:
        return [what.split()[1] for _, what in self.trace if what.startswith("phase")]

    @property
    def reasons(self) -> list[str]:
        return [reason for _, _, reason in self.events]

    def times(self, what: str) -> list[float]:
        return [at for at, act in self.trace if act == what]

    def message(self, reason: str) -> str:
        return dict(self.messages)[reason]

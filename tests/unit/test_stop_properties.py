"""The stop machine against a model of CONTRACT.md "Lifecycle semantics".

`Model` was written from that page and SECURITY.md SP-01..09 and never from engine/stop.py: it keeps
what a user knows (what runs, what was sent, when SIGKILL is due), not how the machine keeps it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from unit.stop_support import World

OUTCOMES = ("succeeded", "failed", "timedOut")
SECONDS = st.integers(0, 100).map(float) | st.floats(0, 100, allow_subnormal=False)
PHASES = ("created", "starting", "running", "terminating", "stopping", "stopped")


class Model:
    """One life of a container as CONTRACT.md tells it."""

    def __init__(self, post_start: bool, pre_stop: bool, grace: float) -> None:
        self.has_post_start, self.has_pre_stop, self.grace = post_start, pre_stop, grace
        self.phase = "created"
        self.kill_at: float | None = None
        self.sent: list[str] = []
        self.pre_stops = 0
        self.reasons: list[str] = []

    @property
    def stopping(self) -> bool:
        return self.kill_at is not None

    def started(self) -> None:
        if self.phase == "created":
            self.phase = "starting" if self.has_post_start else "running"

    def post_start_ends(self, now: float, outcome: str) -> None:
        if self.phase != "starting":
            return
        if outcome == "succeeded":
            self.phase = "running"
            self.reasons.append("PostStartHookSucceeded")
        else:
            self.reasons.append("FailedPostStartHook")
            self.stop(now, None)

    def stop(self, now: float, grace: float | None) -> None:
        if self.phase == "stopped":
            return
        wanted = now + (self.grace if grace is None else grace)
        if self.stopping:
            assert self.kill_at is not None
            self.kill_at = min(self.kill_at, wanted)
            self.time_is(now)
            return
        self.kill_at = wanted
        self.reasons.append("Killing")
        if wanted <= now or self.phase == "created":
            self.phase = "stopping"
            self._kill()
        elif self.has_pre_stop:
            self.phase = "terminating"
            self.pre_stops += 1
        else:
            self._signal()

    def pre_stop_ends(self, outcome: str) -> None:
        if self.phase == "terminating":
            self.reasons.append(
                {
                    "succeeded": "PreStopHookSucceeded",
                    "failed": "FailedPreStopHook",
                    "timedOut": "PreStopHookTimeout",
                }[outcome]
            )
            self._signal()

    def time_is(self, now: float) -> None:
        if self.kill_at is None or now < self.kill_at or "KILL" in self.sent:
            return
        if self.phase == "terminating":
            self.pre_stop_ends("timedOut")
        self._kill()

    def exits(self) -> None:
        if self.phase != "stopped":
            self.phase, self.kill_at = "stopped", None
            self.reasons.append("Exited")

    def _signal(self) -> None:
        self.phase = "stopping"
        self.sent.append("TERM")
        self.reasons.append("StopSignalSent")

    def _kill(self) -> None:
        self.sent.append("KILL")
        self.reasons.append("KilledAfterGracePeriod")

    @property
    def running_hooks(self) -> list[str]:
        return {"starting": ["postStart"], "terminating": ["preStop"]}.get(self.phase, [])


class Lives(RuleBasedStateMachine):
    """Any order of starts, stops, ends of hooks, ends of the process and passing time."""

    @initialize(post_start=st.booleans(), pre_stop=st.booleans(), grace=st.integers(0, 60))
    def begin(self, post_start: bool, pre_stop: bool, grace: int) -> None:
        self.world = World(post_start=post_start, pre_stop=pre_stop, grace=grace)
        self.model = Model(post_start, pre_stop, grace)
        self.lowest: float | None = None
        self.first_grace: float | None = None
        self.at_exit: int | None = None

    @rule()
    def start(self) -> None:
        self.world.start()
        self.model.started()

    @rule(grace=st.none() | SECONDS)
    def stop(self, grace: float | None) -> None:
        if not self.model.stopping and self.model.phase != "stopped":
            now = self.world.clock.now()  # 1e-20 s are none
            self.first_grace = now + (self.model.grace if grace is None else grace) - now
        self.world.stop(grace)
        self.model.stop(self.world.clock.now(), grace)

    @rule(hook=st.sampled_from(["postStart", "preStop"]), outcome=st.sampled_from(OUTCOMES))
    def hook_ends(self, hook: str, outcome: str) -> None:
        """Also of hooks that do not run: a message may be under way when a hook is cancelled."""
        if hook in self.world.hooks and hook == "postStart" and outcome != "succeeded":
            self.first_grace = self.model.grace
        self.world.hook_ends(hook, outcome)
        if hook == "postStart":
            self.model.post_start_ends(self.world.clock.now(), outcome)
        else:
            self.model.pre_stop_ends(outcome)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        end = self.world.clock.now() + seconds
        self.world.advance(seconds)
        if self.model.kill_at is not None and self.model.kill_at <= end:
            self.model.time_is(self.model.kill_at)
        self.model.time_is(end)

    @rule()
    def spurious_wake(self) -> None:
        self.world.act(self.world.machine.timer(self.world.clock.now()))

    @precondition(lambda self: self.at_exit is None)
    @rule(failed=st.booleans())
    def process_exits(self, failed: bool) -> None:
        self.world.exit(failed)
        self.model.exits()
        self.at_exit = len(self.world.trace)

    # -- what must hold whatever happened ----------------------------------------------------------

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.world.machine.phase == self.model.phase
        assert self.world.machine.deadline == self.model.kill_at
        assert self.world.hooks == self.model.running_hooks
        assert [act for act in self.world.did if act in ("TERM", "KILL")] == self.model.sent
        assert self.world.did.count("run preStop") == self.model.pre_stops
        assert self.world.reasons == self.model.reasons

    @invariant()
    def one_delivery_of_each_hook_in_one_life(self) -> None:
        assert self.world.did.count("run preStop") <= 1
        assert self.world.did.count("run postStart") <= 1

    @invariant()
    def sigkill_once_and_not_after_the_deadline(self) -> None:
        kills = self.world.times("KILL")
        assert len(kills) <= 1
        if self.world.alive and self.model.kill_at is not None:
            due = self.model.kill_at <= self.world.clock.now()
            if due or self.model.phase == "created":
                assert kills, "past the deadline and not killed"
            if kills and self.model.kill_at > kills[0]:
                assert "created" not in self.world.phases
                assert self.world.did[0] == "KILL", "killed before its time"

    @invariant()
    def the_deadline_only_shrinks(self) -> None:
        deadline = self.world.machine.deadline
        if deadline is not None:
            assert self.lowest is None or deadline <= self.lowest
            assert self.world.timer in (deadline, None)
            self.lowest = deadline

    @invariant()
    def the_signal_comes_between_pre_stop_and_sigkill(self) -> None:
        did = self.world.did
        assert did.count("TERM") <= 1
        if "TERM" in did and "run preStop" in did:
            assert did.index("run preStop") < did.index("TERM")
            assert "preStop" not in self.world.hooks
        if "KILL" in did and "TERM" not in did:
            unstarted = not {"starting", "running"} & set(self.world.phases)
            assert self.first_grace == 0 or unstarted
        if "KILL" in did and "TERM" in did:
            assert did.index("TERM") < did.index("KILL")

    @invariant()
    def grace_zero_runs_no_pre_stop(self) -> None:
        if self.first_grace == 0 and self.model.stopping:
            assert "run preStop" not in self.world.did

    @invariant()
    def a_stop_ends_a_running_post_start(self) -> None:
        if self.world.machine.deadline is not None:
            assert "postStart" not in self.world.hooks

    @invariant()
    def nothing_happens_after_the_exit(self) -> None:
        if self.at_exit is not None:
            assert self.world.trace[self.at_exit :] == []
            assert self.world.hooks == []

    @invariant()
    def phases_only_go_forward(self) -> None:
        ranks = [PHASES.index(phase) for phase in self.world.phases]
        assert ranks == sorted(set(ranks))

    def teardown(self) -> None:
        """A stop always ends, whatever the hook and the process do."""
        if not hasattr(self, "world"):
            return
        self.stop(None)
        self.time_passes(100_000)
        assert not self.world.alive or "KILL" in self.world.did
        assert self.world.hooks == []


LIVES = settings(max_examples=400, stateful_step_count=25, deadline=None)


def test_any_life_agrees_with_the_contract() -> None:
    run_state_machine_as_test(Lives, settings=LIVES)


# -- whole timelines -------------------------------------------------------------------------------


def timeline(
    grace: float, hook: float | None, needs: float | None, own_end: float | None = None
) -> World:
    """A stop at 0 of a running container: `hook` seconds of PreStop (None: hangs), a process that
    needs `needs` seconds after the signal (None: ignores it) or ends by itself at `own_end`."""
    world = World(pre_stop=True, grace=grace, now=0.0)
    world.start()
    world.stop()
    for _ in range(10):
        soon: list[tuple[float, Any]] = []
        if hook is not None and "preStop" in world.hooks:
            soon.append((hook, lambda: world.hook_ends("preStop")))
        if needs is not None and world.times("TERM"):
            soon.append((world.times("TERM")[0] + needs, world.exit))
        if own_end is not None:
            soon.append((own_end, world.exit))
        if world.times("KILL"):
            soon.append((world.times("KILL")[0], world.exit))
        if world.timer is not None:
            soon.append((world.timer, lambda: world.advance(0)))
        at, act = min(soon, key=lambda entry: entry[0])
        world.clock.jump(max(at, world.clock.now()))
        act()
        if not world.alive:
            return world
    raise AssertionError(f"the stop does not end: {world.trace}")


@pytest.mark.parametrize(
    ("grace", "hook", "needs", "signal", "end", "killed"),
    [
        (60, 55, 10, 55, 60, True),  # CONTRACT.md's example, and the seed's
        (60, 55, 4, 55, 59, False),
        (60, 60, 10, 60, 60, True),
        (30, None, 0, 30, 30, True),
        (30, 0, None, 0, 30, True),
        (30, 1, 2, 1, 3, False),
    ],
)
def test_timelines(
    grace: float, hook: float | None, needs: float | None, signal: float, end: float, killed: bool
) -> None:
    world = timeline(grace, hook, needs)
    assert world.times("TERM") == [signal]
    assert world.times("exit") == [end]
    assert bool(world.times("KILL")) is killed


@given(
    grace=st.integers(1, 10**6),
    hook=st.none() | SECONDS.map(lambda s: s + 0.001),
    needs=st.none() | SECONDS.map(lambda s: s + 0.001),
    own_end=st.none() | SECONDS.map(lambda s: s + 0.0005),
)
@settings(max_examples=500)
def test_every_stop_has_ended_by_start_plus_grace(
    grace: int, hook: float | None, needs: float | None, own_end: float | None
) -> None:
    """The signal at min(hook, grace), the end at min(signal + needs, own end, grace)."""
    infinity = float("inf")
    world = timeline(grace, hook, needs, own_end)
    signal = min(infinity if hook is None else hook, grace)
    natural = signal + (infinity if needs is None else needs)
    end = min(natural, grace, infinity if own_end is None else own_end)
    assert world.times("exit") == [end]
    assert end <= grace
    assert world.times("TERM") == ([signal] if signal < end or signal == grace == end else [])
    assert world.did.count("run preStop") == 1

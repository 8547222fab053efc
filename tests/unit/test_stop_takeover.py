"""The stop machine when another monitor takes over in any phase (SECURITY.md SP-11)."""

from __future__ import annotations

import pytest
from unit.stop_support import World

T0 = 1000.0


def resumed(
    phase: str, deadline: float | None, *, signalled: bool = False, now: float = T0, **how: object
) -> World:
    world = World(post_start=True, pre_stop=True, grace=30, now=now)
    world.machine.grace = float(how.get("grace", 30))  # type: ignore[arg-type]
    world.machine.pre_stop = bool(how.get("pre_stop", True))
    world.machine.post_start = bool(how.get("post_start", True))
    world.act(world.machine.resume(now, phase, deadline, "eviction", signalled))
    return world


def test_sp_11_an_unfinished_post_start_is_delivered_again() -> None:
    world = resumed("starting", None)
    assert world.did == ["run postStart"]
    world.hook_ends("postStart")
    assert world.phases == ["running"]


def test_sp_11_starting_without_a_hook_is_running() -> None:
    assert resumed("starting", None, post_start=False).phases == ["running"]


def test_sp_11_an_unfinished_pre_stop_is_delivered_again_with_the_grace_that_remains() -> None:
    world = resumed("terminating", T0 + 4)
    assert world.did == ["run preStop"]
    assert world.triggers == ["eviction"]
    assert world.timer == T0 + 4
    world.advance(100)
    assert world.times("KILL") == [T0 + 4]


def test_sp_11_after_the_signal_only_the_deadline_is_left() -> None:
    world = resumed("stopping", T0 + 4, signalled=True)
    assert world.did == []
    world.advance(5)
    assert world.did == ["KILL"]


def test_sp_11_the_signal_was_sent_before_the_phase_was_written() -> None:
    world = resumed("terminating", T0 + 4, signalled=True)
    assert world.did == []
    assert world.timer == T0 + 4


def test_sp_11_the_phase_was_written_before_the_signal() -> None:
    world = resumed("stopping", T0 + 4, signalled=False)
    assert world.did == ["TERM"]


@pytest.mark.parametrize("phase", ["terminating", "stopping"])
@pytest.mark.parametrize("signalled", [False, True])
def test_sp_11_a_deadline_that_passed_unwatched_kills_at_once(phase: str, signalled: bool) -> None:
    world = resumed(phase, T0 - 1, signalled=signalled)
    assert world.times("KILL") == [T0]
    assert world.hooks == []


def test_sp_11_no_hook_is_begun_with_no_time_left() -> None:
    world = resumed("terminating", T0)
    assert world.did == ["TERM", "KILL"]


@pytest.mark.parametrize("phase", ["created", "running", "stopped"])
def test_sp_11_nothing_to_resume(phase: str) -> None:
    world = resumed(phase, None)
    assert (world.did, world.machine.phase) == ([], phase)


def test_sp_11_a_stop_whose_deadline_was_not_written_is_begun_again() -> None:
    """The state file got the phase, and the monitor ended before it got the deadline."""
    world = resumed("terminating", None)
    world.advance(1000)
    assert world.times("KILL") == [T0 + 30]


def test_sp_11_a_resumed_stop_can_still_only_be_shortened() -> None:
    world = resumed("terminating", T0 + 4)
    world.stop(30)
    assert world.machine.deadline == T0 + 4
    world.stop(1)
    assert world.machine.deadline == T0 + 1

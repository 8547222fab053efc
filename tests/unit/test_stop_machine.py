"""The stop machine by table: one test for each sentence of CONTRACT.md "Lifecycle semantics" that
is about order and time (SECURITY.md SP-01..09, HK-12..15)."""

from __future__ import annotations

import pytest
from unit.stop_support import World

from shim.engine.stop import Machine

T0 = 1000.0


def running(**how: object) -> World:
    world = World(**how)  # type: ignore[arg-type]
    world.start()
    if "postStart" in world.hooks:
        world.hook_ends("postStart")
    assert world.machine.phase == "running"
    return world


# -- PostStart -------------------------------------------------------------------------------------


def test_post_start_is_delivered_as_soon_as_the_process_has_started() -> None:
    world = World(post_start=True)
    assert world.did == []
    world.start()
    assert world.trace == [(T0, "phase starting"), (T0, "run postStart")]
    assert world.triggers == ["start"]


def test_until_post_start_completes_the_phase_is_starting_never_running() -> None:
    world = World(post_start=True)
    world.start()
    world.advance(10_000)
    assert world.phases == ["starting"]
    world.hook_ends("postStart")
    assert world.phases == ["starting", "running"]
    assert world.reasons == ["PostStartHookSucceeded"]


def test_without_post_start_it_is_running_at_once() -> None:
    world = World()
    world.start()
    assert (world.phases, world.did, world.reasons) == (["running"], [], [])


@pytest.mark.parametrize("outcome", ["failed", "timedOut"])
def test_a_failed_post_start_stops_the_container_pre_stop_included(outcome: str) -> None:
    world = World(post_start=True, pre_stop=True, grace=30)
    world.start()
    world.advance(3)
    world.hook_ends("postStart", outcome, "the kubelet's words")
    assert world.did == ["run postStart", "run preStop"]
    assert world.phases == ["starting", "terminating"]
    assert world.reasons == ["FailedPostStartHook", "Killing"]
    assert world.message("FailedPostStartHook") == "the kubelet's words"
    assert world.message("Killing") == "FailedPostStartHook"
    assert world.triggers == ["start", "postStartFailed"]
    assert world.machine.deadline == T0 + 3 + 30
    assert "running" not in world.phases


def test_a_failed_post_start_without_pre_stop_goes_to_the_signal() -> None:
    world = World(post_start=True)
    world.start()
    world.hook_ends("postStart", "failed")
    assert world.did == ["run postStart", "TERM"]


def test_hk_15_a_stop_interrupts_a_running_post_start() -> None:
    world = World(post_start=True, pre_stop=True)
    world.start()
    world.advance(0.1)
    world.stop()
    assert world.did == ["run postStart", "cancel postStart interrupted", "run preStop"]
    assert world.phases == ["starting", "terminating"]


@pytest.mark.parametrize("pre_stop", [False, True])
def test_hk_15_the_end_of_an_interrupted_post_start_changes_nothing(pre_stop: bool) -> None:
    world = World(post_start=True, pre_stop=pre_stop)
    world.start()
    world.stop()
    before = (list(world.trace), list(world.events))
    for outcome in ("succeeded", "failed", "timedOut", "interrupted"):
        world.hook_ends("postStart", outcome)
    assert (world.trace, world.events) == before


# -- the order of a stop ---------------------------------------------------------------------------


def test_sp_01_pre_stop_then_the_signal_then_the_end() -> None:
    world = running(pre_stop=True, grace=30)
    world.stop()
    world.advance(2)
    world.hook_ends("preStop")
    world.advance(1)
    world.exit()
    acts = [entry for entry in world.trace if not entry[1].startswith("phase r")]
    assert acts == [
        (T0, "phase terminating"),
        (T0, "run preStop"),
        (T0 + 2, "TERM"),
        (T0 + 2, "phase stopping"),
        (T0 + 3, "exit"),
        (T0 + 3, "phase stopped"),
    ]
    assert world.reasons == ["Killing", "PreStopHookSucceeded", "StopSignalSent", "Exited"]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("succeeded", "PreStopHookSucceeded"),
        ("failed", "FailedPreStopHook"),
        ("timedOut", "PreStopHookTimeout"),
    ],
)
def test_the_signal_follows_whatever_the_outcome_of_pre_stop(outcome: str, reason: str) -> None:
    world = running(pre_stop=True)
    world.stop()
    assert "TERM" not in world.did
    world.hook_ends("preStop", outcome, "said so")
    assert world.did == ["run preStop", "TERM"]
    assert world.reasons == ["Killing", reason, "StopSignalSent"]
    if outcome != "succeeded":
        assert world.message(reason) == "said so"


@pytest.mark.parametrize("post_start", [False, True])
def test_without_pre_stop_the_signal_goes_out_at_once(post_start: bool) -> None:
    world = running(post_start=post_start)
    world.stop()
    assert world.times("TERM") == [T0]
    assert world.phases[-1] == "stopping"
    assert world.timer == T0 + 30


def test_the_reason_and_the_trigger_of_a_stop_are_told() -> None:
    world = running(pre_stop=True)
    world.stop(trigger="liveness", message="Container web failed liveness probe")
    assert world.triggers == ["liveness"]
    assert world.message("Killing") == "Container web failed liveness probe"


# -- the deadline ----------------------------------------------------------------------------------


def test_the_documented_example() -> None:
    """grace 60, hook 55 s, process needs 10 s -> SIGKILL at 60, before it could stop normally."""
    world = running(pre_stop=True, grace=60)
    world.stop()
    world.advance(55)
    world.hook_ends("preStop")
    world.advance(10)
    assert world.times("run preStop") == [T0]
    assert world.times("TERM") == [T0 + 55]
    assert world.times("KILL") == [T0 + 60]
    assert world.reasons[-1] == "KilledAfterGracePeriod"


def test_a_hook_still_running_at_the_deadline_is_cut_off() -> None:
    world = running(pre_stop=True, grace=5)
    world.stop()
    world.advance(100)
    assert [entry for entry in world.trace if entry[0] > T0] == [
        (T0 + 5, "cancel preStop timedOut"),
        (T0 + 5, "TERM"),
        (T0 + 5, "phase stopping"),
        (T0 + 5, "KILL"),
    ]
    assert world.reasons == [
        "Killing",
        "PreStopHookTimeout",
        "StopSignalSent",
        "KilledAfterGracePeriod",
    ]


def test_no_two_second_floor_the_deadline_is_hard() -> None:
    """The kubelet gives at least 2 s after the hook; the contract profile does not (SP-02)."""
    world = running(pre_stop=True, grace=5)
    world.stop()
    world.advance(4.9)
    world.hook_ends("preStop")
    world.advance(0.1)
    assert world.times("KILL") == [T0 + 5]


def test_sp_05_a_process_that_ignores_the_signal_is_killed_at_the_deadline() -> None:
    world = running(grace=7)
    world.stop()
    world.advance(6.999)
    assert world.did == ["TERM"]
    world.advance(0.001)
    assert world.did == ["TERM", "KILL"]


def test_the_timer_early_does_nothing_and_late_kills_once() -> None:
    world = running(grace=7)
    world.stop()
    assert world.machine.timer(T0 + 6.999) == []
    world.advance(7, late=3)
    assert world.times("KILL") == [T0 + 10]
    assert world.machine.timer(T0 + 11) == []


def test_without_a_stop_no_time_kills() -> None:
    world = running(post_start=True, pre_stop=True, grace=0)
    assert world.machine.timer(1e12) == []
    assert world.machine.deadline is None


@pytest.mark.parametrize("grace", [None, 0])
def test_sp_03_grace_zero_skips_pre_stop_and_kills_now(grace: int | None) -> None:
    world = running(pre_stop=True, grace=30 if grace == 0 else 0)
    world.stop(grace)
    assert world.did == ["KILL"]
    assert world.phases[-1] == "stopping"
    assert world.reasons == ["Killing", "KilledAfterGracePeriod"]


def test_grace_of_the_caller_counts_instead_of_the_configured_one() -> None:
    world = running(pre_stop=True, grace=30)
    world.stop(90)
    assert world.machine.deadline == T0 + 90  # the first request may also give more time


# -- a second stop ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "wait", "deadline"),
    [
        (30, 10, 0, 10), (30, 60, 0, 30), (30, 30, 5, 30), (30, 10, 25, 30), (30, None, 1, 30),
        (90, None, 1, 31), (None, 1, 2, 3),
    ],
)  # fmt: skip
def test_sp_07_a_second_stop_can_only_shorten(
    first: float | None, second: float | None, wait: float, deadline: float
) -> None:
    world = running(pre_stop=True, grace=30)
    world.stop(first)
    world.advance(wait)
    world.stop(second, trigger="again")
    assert world.timer == world.machine.deadline == T0 + deadline
    assert world.did == ["run preStop"]
    assert world.triggers == ["api"]
    assert world.reasons == ["Killing"]
    world.advance(200)
    assert world.times("KILL") == [T0 + deadline]


@pytest.mark.parametrize("hook", [True, False])
def test_sp_07_stop_now_while_stopping_kills_now(hook: bool) -> None:
    world = running(pre_stop=hook)
    world.stop()
    world.advance(1)
    world.stop(0)
    world.advance(100)
    assert world.times("KILL") == [T0 + 1]
    assert world.times("TERM") == [T0 + (1 if hook else 0)]
    assert world.hooks == []


def test_sp_07_ten_stops_are_one() -> None:
    world = running(pre_stop=True)
    for grace in (30, 29, 40, 20, None, 25, 20, 21, 19, 30):
        world.stop(grace)
    assert world.did == ["run preStop"]
    assert world.machine.deadline == T0 + 19
    assert world.reasons == ["Killing"]


# -- the process ends ------------------------------------------------------------------------------


def test_no_pre_stop_when_the_process_ends_by_itself() -> None:
    world = running(pre_stop=True)
    world.exit()
    assert world.did == ["exit"]
    assert world.reasons == ["Exited"]


@pytest.mark.parametrize(("failed", "kind"), [(False, "Normal"), (True, "Warning")])
def test_an_end_that_nobody_asked_for_is_a_warning_when_it_failed(failed: bool, kind: str) -> None:
    world = running()
    world.exit(failed)
    assert [(kind, reason) for _, kind, reason in world.events] == [(kind, "Exited")]


def test_an_end_that_was_asked_for_is_normal() -> None:
    world = running()
    world.stop()
    world.exit(failed=True)
    assert world.events[-1] == (T0, "Normal", "Exited")


def test_hk_12_when_the_process_exits_during_pre_stop_waiting_ends_at_once() -> None:
    world = running(pre_stop=True)
    world.stop()
    world.advance(1)
    world.exit()
    assert world.did == ["run preStop", "exit", "cancel preStop interrupted"]
    assert world.times("cancel preStop interrupted") == [T0 + 1]
    assert world.phases[-1] == "stopped"
    assert world.reasons == ["Killing", "Exited"]


def test_hk_12_a_hook_that_went_down_with_its_container_sends_no_signal() -> None:
    world = running(pre_stop=True)
    world.stop()
    world.hook_ends("preStop", "interrupted")
    world.exit()
    assert world.did == ["run preStop", "exit"]
    assert world.reasons == ["Killing", "Exited"]


def test_hk_13_exit_during_post_start_cancels_it_and_is_no_failure_of_the_hook() -> None:
    world = World(post_start=True, pre_stop=True)
    world.start()
    world.exit()
    assert world.did == ["run postStart", "exit", "cancel postStart interrupted"]
    assert world.reasons == ["Exited"]


def test_after_the_end_nothing_happens_any_more() -> None:
    world = running(post_start=True, pre_stop=True)
    world.stop()
    world.exit()
    before = (list(world.trace), list(world.events))
    world.start()
    world.stop()
    world.stop(0)
    world.hook_ends("preStop")
    world.hook_ends("postStart", "failed")
    world.advance(1000)
    world.act(world.machine.exited("again", failed=True))
    world.act(world.machine.timer(1e9))
    assert (world.trace, world.events) == before
    assert world.machine.deadline is None
    assert world.timer is None


# -- a container that was never started ------------------------------------------------------------


def test_sp_09_a_created_container_is_killed_without_hooks() -> None:
    world = World(post_start=True, pre_stop=True)
    world.stop()
    assert world.did == ["KILL"]
    world.exit()
    assert world.phases == ["stopping", "stopped"]


def test_a_start_that_comes_after_the_stop_starts_nothing() -> None:
    world = World(post_start=True)
    world.stop()
    assert world.machine.started() == []


def test_two_machines_share_nothing() -> None:
    first, second = (
        Machine("a", post_start=False, pre_stop=False, grace=1, signal_name="SIGTERM")
        for _ in range(2)
    )
    first.started()
    assert (first.phase, second.phase) == ("running", "created")

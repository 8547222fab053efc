"""SECURITY.md CG-02, CG-05, CG-06, CG-07 on the machine's own cgroup2 mount."""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Iterator

import pytest
from root.cg_support import Process, pause, process, read_exactly, reap_orphans, scratch

from shim.errors import ShimError
from shim.kernel.cgroup import Cgroup, read_events

RUNNERS = 40
BOMB_UID = 64_231


class NoKillFile(Cgroup):
    """A cgroup as kernels before 5.14 have it."""

    __slots__ = ()

    _KILL_FILE = "cgroup.kill.of.the.future"


@pytest.fixture
def group() -> Iterator[Cgroup]:
    with scratch() as (_, found):
        yield found


# -- freezing ------------------------------------------------------------------------------------


def test_cg_02_freeze_waits_until_nothing_runs_and_thaw_until_it_runs(group: Cgroup) -> None:
    beats, beat = os.pipe()
    os.set_blocking(beats, False)

    def body() -> None:
        while True:
            os.write(beat, b"x")

    with process(group, body):
        assert select.select([beats], [], [], 10)[0]
        group.freeze()
        assert group.frozen()
        assert group.populated()
        while select.select([beats], [], [], 0)[0]:
            os.read(beats, 1 << 20)
        assert not select.select([beats], [], [], 0.1)[0], "a frozen process wrote"
        group.thaw()
        assert not group.frozen()
        assert select.select([beats], [], [], 10)[0]
    os.close(beats)
    os.close(beat)


def test_cg_02_process_moved_into_a_frozen_cgroup_does_nothing_until_the_thaw(
    group: Cgroup,
) -> None:
    said, say = os.pipe()
    group.freeze()
    with process(group, lambda: os.write(say, b"x")) as child:
        assert not select.select([said], [], [], 0.1)[0]
        group.thaw()
        assert read_exactly(said, 1) == b"x"
        assert child.ended(10)
    os.close(said)
    os.close(say)


def test_thaw_below_a_frozen_ancestor_says_so_at_the_deadline(group: Cgroup) -> None:
    with group.child("inner") as inner, process(inner, pause):
        group.freeze()
        with pytest.raises(ShimError, match=r"did not thaw within 0\.05 seconds"):
            inner.thaw(0.05)
        group.thaw()
        assert not inner.frozen()


def test_cg_05_freeze_that_takes_too_long_is_undone() -> None:
    class NeverFrozen(Cgroup):
        __slots__ = ()

        def _wait(self, key: str, want: int, deadline: float) -> bool:
            return (key, want) != ("frozen", 1) and super()._wait(key, want, deadline)

    with scratch(NeverFrozen) as (_, group):
        with pytest.raises(ShimError, match="did not freeze within"):
            group.freeze(1)
        assert group.read("cgroup.freeze").strip() == "0"


# -- killing -------------------------------------------------------------------------------------


def _fork_bomb(group: Cgroup, reader: int, generations: int, born: int) -> None:
    """Runners that fork and exit, so that a pid read from cgroup.procs is stale at once.

    Bounded by RLIMIT_NPROC, which root would be exempt from, hence a user of its own; and by the
    pipe: it breaks when the test process, the only reader, is gone.
    """
    reap_orphans()
    os.close(reader)
    for _ in range(RUNNERS):
        if os.fork() == 0:
            group.write("cgroup.procs", "0")
            os.write(born, b"x")
            resource.setrlimit(resource.RLIMIT_NPROC, (4 * RUNNERS, 4 * RUNNERS))
            os.setresuid(BOMB_UID, BOMB_UID, BOMB_UID)
            while True:
                try:
                    if os.fork() > 0:
                        os._exit(0)
                    os.write(generations, b"x")
                except BlockingIOError:
                    continue  # the pipe is full, or the limit is reached
    signal.pause()


@pytest.mark.parametrize("cls", [Cgroup, NoKillFile])
def test_cg_06_kill_beats_fork_bomb(cls: type[Cgroup]) -> None:
    with scratch(cls) as (_, group):
        generations, generation = os.pipe2(os.O_NONBLOCK)
        started, born = os.pipe()
        with process(None, lambda: _fork_bomb(group, generations, generation, born)):
            read_exactly(started, RUNNERS)
            read_exactly(generations, 20 * RUNNERS)
            assert group.populated()
            group.kill()
            assert group.wait_empty(5)
            assert group.pids() == []
            assert group.read("cgroup.freeze").strip() == "0"
        for fd in (generations, generation, started, born):
            os.close(fd)


def _daemonise(report: int) -> None:
    """Leave a grandchild behind: own session, reparented, stdio closed; reports its pid."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in (0, 1, 2):
                os.close(fd)
            os.write(report, str(os.getpid()).encode())
            signal.pause()
        os._exit(0)


@pytest.mark.parametrize("cls", [Cgroup, NoKillFile])
def test_cg_07_daemonised_grandchildren_die_with_their_leaf_and_nobody_else(
    cls: type[Cgroup],
) -> None:
    with scratch(cls) as (_, group), process(group, pause) as service:
        leaf = group.child("hook-1")
        report, told = os.pipe()
        hook = Process(leaf, lambda: _daemonise(told))
        assert hook.reap() == 0
        assert select.select([report], [], [], 10)[0]
        daemon = os.pidfd_open(int(os.read(report, 32)))
        assert leaf.populated()
        leaf.kill()
        assert leaf.wait_empty(5)
        assert select.select([daemon], [], [], 5)[0]
        leaf.remove(5)
        assert not service.ended(0)
        assert group.pids() == [service.pid]
        leaf.close()
        for fd in (daemon, report, told):
            os.close(fd)


def test_kill_without_the_kill_file_reaches_below_and_a_frozen_cgroup() -> None:
    with scratch(NoKillFile) as (_, group), group.child("a") as a, a.child("b") as b:
        with process(group, pause) as one, process(b, pause) as two:
            group.freeze()
            group.kill()
            assert one.ended(5)
            assert two.ended(5)
        assert not group.frozen()


def test_kill_without_the_kill_file_stops_everybody_before_the_first_signal() -> None:
    seen: list[bool] = []

    class Watched(NoKillFile):
        __slots__ = ()

        def _signal(self, pids: list[int]) -> list[int]:
            seen.append(self.frozen())
            return super()._signal(pids)

    with scratch(Watched) as (_, group), process(group, pause) as child:
        group.kill()
        assert child.ended(5)
    assert seen == [True]


def test_kill_works_on_a_frozen_cgroup(group: Cgroup) -> None:
    with process(group, pause) as child:
        group.freeze()
        group.kill()
        assert child.ended(5)


# -- events --------------------------------------------------------------------------------------


def test_events_descriptor_wakes_once_for_the_last_exit(group: Cgroup) -> None:
    events = group.events_fd()
    poll = select.epoll()
    poll.register(events, select.EPOLLPRI)
    with process(group, pause) as child:
        assert read_events(events) == {"populated": 1, "frozen": 0}
        # Moving the process in is reported within 10 ms; take that report first.
        while poll.poll(0.05):
            read_events(events)
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        assert poll.poll(10)
        assert read_events(events) == {"populated": 0, "frozen": 0}
        assert poll.poll(0) == []
    poll.close()
    os.close(events)


def test_wait_empty_keeps_its_deadline(group: Cgroup) -> None:
    assert group.wait_empty(0)
    with process(group, pause):
        assert not group.wait_empty(0.05)


def test_events_of_a_removed_cgroup(group: Cgroup) -> None:
    leaf = group.child("gone")
    events = leaf.events_fd()
    leaf.remove()
    assert read_events(events) == {}
    assert leaf.wait_empty(0)
    os.close(events)
    leaf.close()


def test_threaded_cgroups_are_listed_by_thread(group: Cgroup) -> None:
    with group.child("threads") as threads:
        threads.write("cgroup.type", "threaded")
        with process(group, pause) as child:
            threads.write("cgroup.threads", str(child.pid))
            assert threads.pids() == [child.pid]
            assert child.pid in group.pids()


def test_cpu_time_is_counted(group: Cgroup) -> None:
    before = group.cpu_usec()
    assert before is not None

    def burn() -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        while resource.getrusage(resource.RUSAGE_SELF).ru_utime < used.ru_utime + 0.05:
            pass

    with process(group, burn) as child:
        assert child.ended(10)
    after = group.cpu_usec()
    assert after is not None
    assert after - before >= 40_000

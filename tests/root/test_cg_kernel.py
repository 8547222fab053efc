"""SECURITY.md CG-02, CG-05, CG-06, CG-07, CG-10, CG-11 on the machine's own cgroup2 mount."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
from collections.abc import Iterator

import pytest
from root.cg_support import Process, pause, process, read_exactly, reap_orphans, scratch

from shim.errors import KernelError, ShimError
from shim.kernel.cgroup import Cgroup, CgroupGoneError, CgroupMount, read_events

RUNNERS = 40
BOMB_UID = 64_231


class NoKillFile(Cgroup):
    """A cgroup as kernels before 5.14 have it."""

    __slots__ = ()

    _KILL_FILE = "cgroup.kill.of.the.future"


@pytest.fixture
def place() -> Iterator[tuple[CgroupMount, Cgroup]]:
    with scratch() as found:
        yield found


@pytest.fixture
def group(place: tuple[CgroupMount, Cgroup]) -> Cgroup:
    return place[1]


# -- create, open, identity ----------------------------------------------------------------------


def test_create_makes_parents_and_reports_what_is_new(place: tuple[CgroupMount, Cgroup]) -> None:
    mount, top = place
    with Cgroup.create(mount, top.path + "/a/b/c") as made:
        assert made.fresh
        assert made.path == top.path + "/a/b/c"
        with Cgroup.open(mount, made.path, made.ino) as again:
            assert again.ino == made.ino
        with Cgroup.create(mount, made.path) as taken:
            assert not taken.fresh
            assert taken.ino == made.ino


def test_create_enables_what_the_parents_offer_but_not_for_its_own_children(
    place: tuple[CgroupMount, Cgroup],
) -> None:
    mount, top = place
    with Cgroup.create(mount, top.path + "/a/b") as made, Cgroup.open(mount, top.path) as parent:
        offered = set(parent.read("cgroup.controllers").split())
        assert set(parent.read("cgroup.subtree_control").split()) == offered
        assert set(made.read("cgroup.controllers").split()) == offered
        assert made.read("cgroup.subtree_control").strip() == ""


def test_create_refuses_a_populated_leaf(place: tuple[CgroupMount, Cgroup]) -> None:
    mount, top = place
    with Cgroup.create(mount, top.path + "/leaf") as leaf, process(leaf, pause) as child:
        with pytest.raises(ShimError, match=rf"/leaf is not empty: 1 process.*: {child.pid}$"):
            Cgroup.create(mount, leaf.path)
        assert leaf.pids() == [child.pid]


def test_create_refuses_a_frozen_leaf(place: tuple[CgroupMount, Cgroup]) -> None:
    mount, top = place
    with Cgroup.create(mount, top.path + "/leaf") as leaf:
        leaf.freeze()
        with pytest.raises(ShimError, match="/leaf is frozen"):
            Cgroup.create(mount, leaf.path)


def test_create_under_a_threaded_parent_fails_and_leaves_nothing(
    place: tuple[CgroupMount, Cgroup],
) -> None:
    mount, top = place
    with top.child("parent") as parent, parent.child("threads") as threads:
        threads.write("cgroup.type", "threaded")
        with pytest.raises(ShimError, match="parent is a threaded cgroup"):
            Cgroup.create(mount, parent.path + "/x/y")
        assert not parent.has("x")


def test_child_is_never_reused(group: Cgroup) -> None:
    with group.child("hook-1") as leaf:
        with pytest.raises(KernelError) as caught:
            group.child("hook-1")
        assert caught.value.errno == errno.EEXIST
        with group.child("hook-1", create=False) as again:
            assert again.ino == leaf.ino
    with pytest.raises(CgroupGoneError):
        group.child("hook-2", create=False)


def test_cg_10_replaced_directory_is_not_ours(place: tuple[CgroupMount, Cgroup]) -> None:
    mount, top = place
    old = Cgroup.create(mount, top.path + "/web")
    os.rmdir("web", dir_fd=top.fd)
    with Cgroup.create(mount, top.path + "/web") as new, process(new, pause) as victim:
        with pytest.raises(CgroupGoneError, match=f"inode {new.ino}, not {old.ino}"):
            Cgroup.open(mount, old.path, old.ino)
        old.kill()
        old.remove(1)
        assert not old.populated()
        assert old.pids() == []
        assert old.cpu_usec() is None
        assert old.wait_empty(1)
        assert not victim.ended(0.05)
        assert new.pids() == [victim.pid]
    old.close()


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


def _fork_bomb(group: Cgroup, generations: int, born: int) -> None:
    """Runners that fork and exit, so that a pid read from cgroup.procs is stale at once. Bounded by
    RLIMIT_NPROC, which root would be exempt from, hence a user of its own."""
    reap_orphans()
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
        with process(None, lambda: _fork_bomb(group, generation, born)):
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


# -- removing ------------------------------------------------------------------------------------


def test_cg_11_remove_waits_lists_who_remains_and_kills_nothing(group: Cgroup) -> None:
    web = group.child("web")
    with web.child("a") as a, a.child("b") as b, web.child("idle"):
        with process(b, pause) as one, process(web, pause) as two:
            with pytest.raises(ShimError) as caught:
                web.remove(0.05)
            assert str(caught.value).startswith(f"cgroup {web.path} is busy: 2 process(es) remain")
            assert str(one.pid) in str(caught.value)
            assert str(two.pid) in str(caught.value)
            assert not one.ended(0)
            assert not two.ended(0)
            assert not web.has("idle"), "empty children go at once"
        web.remove()
    assert not group.has("web")
    web.remove()
    web.close()


def test_cg_11_remove_goes_on_when_the_last_process_ends() -> None:
    release, hold = os.pipe()

    class ReleasesWhenItWaits(Cgroup):
        __slots__ = ()
        waits = 0

        def _wait(self, key: str, want: int, deadline: float) -> bool:
            if type(self).waits == 0:
                os.write(hold, b"x")
            type(self).waits += 1
            return super()._wait(key, want, deadline)

    with scratch() as (mount, top):
        Cgroup.create(mount, top.path + "/web/inner").close()
        web = ReleasesWhenItWaits.open(mount, top.path + "/web")
        with web.child("inner", create=False) as inner, process(inner, lambda: os.read(release, 1)):
            web.remove(10)
        assert ReleasesWhenItWaits.waits >= 1
        assert not top.has("web")
        web.close()
    os.close(release)
    os.close(hold)


def test_cg_11_a_zombie_does_not_hold_the_cgroup(group: Cgroup) -> None:
    web = group.child("web")
    child = Process(web, lambda: None)
    assert child.ended(10)
    web.remove()
    assert not group.has("web")
    assert child.reap() == 0
    web.close()


def test_cg_11_deep_and_wide_trees_need_few_descriptors(place: tuple[CgroupMount, Cgroup]) -> None:
    mount, top = place
    Cgroup.create(mount, top.path + "/deep" + "/d" * 200).close()
    for number in range(100):
        top.child(f"wide-{number}").close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(top.fd)
    os.close(lowest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 8, hard))
        with (
            Cgroup.open(mount, top.path + "/deep" + "/d" * 200) as leaf,
            process(leaf, pause) as child,
        ):
            assert top.pids() == [child.pid]
            assert top.pids(recursive=False) == []
            leaf.kill()
            assert top.wait_empty(5)
        top.remove()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with pytest.raises(CgroupGoneError):
        Cgroup.open(mount, top.path)


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

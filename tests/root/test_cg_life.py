"""SECURITY.md CG-10, CG-11; making, opening and removing, on the machine's own cgroup2 mount."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from time import monotonic

import pytest
from root.cg_support import Process, pause, process, scratch

from shim.errors import KernelError, ShimError
from shim.kernel.cgroup import Cgroup, CgroupGoneError, CgroupMount


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
            start = monotonic()
            web.remove(60)
            assert monotonic() - start < 10, "the event did not end the wait"
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

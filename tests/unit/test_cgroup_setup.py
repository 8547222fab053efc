"""Limits, order and errors of apply(), and path rules, on plain directories in place of cgroups."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.test_resources import block_io, memory, resources

from shim.engine import cgroup_setup
from shim.errors import InputError, KernelError, ShimError
from shim.kernel.cgroup import Cgroup, CgroupGoneError, CgroupMount
from shim.kernel.cgroup_tree import split

CORE = ("cgroup.controllers", "cgroup.subtree_control", "cgroup.events", "cgroup.type")


class FakeMount:
    """A directory in place of a cgroup2 mount; `make` adds a cgroup with the files named."""

    def __init__(self, top: Path, v1: dict[str, str] | None = None) -> None:
        self.top = top
        self.mount = CgroupMount(str(top), frozenset({"memory", "pids", "io"}), v1 or {})

    def make(self, rel: str, controllers: str, *files: str) -> Cgroup:
        directory = self.top / rel.strip("/")
        directory.mkdir(parents=True)
        for name in (*CORE, *files):
            (directory / name).touch()
        (directory / "cgroup.controllers").write_text(controllers)
        return Cgroup.open(self.mount, rel)

    def text(self, path: str) -> str:
        return (self.top / path).read_text()


@pytest.fixture
def fake(tmp_path: Path) -> FakeMount:
    return FakeMount(tmp_path, {"memory": "/v1/memory"})


def test_limits_are_written(fake: FakeMount) -> None:
    with fake.make("/a", "memory pids", "memory.max", "pids.max", "memory.high") as group:
        wanted = resources(memory=memory(limit=100), pids_limit=4, unified={"memory.high": "77"})
        cgroup_setup.apply(group, wanted, fake.mount)
    written = [fake.text(f"a/{name}") for name in ("memory.max", "pids.max", "memory.high")]
    assert written == ["100", "4", "77"]


def test_missing_controller_is_found_before_anything_is_written(fake: FakeMount) -> None:
    with fake.make("/a", "pids", "pids.max") as group:
        wanted = resources(pids_limit=4, memory=memory(limit=100))
        with pytest.raises(ShimError) as caught:
            cgroup_setup.apply(group, wanted, fake.mount)
    assert str(caught.value) == (
        f"/linux/resources/memory/limit: memory controller is not delegated: "
        f"not in {fake.top}/a/cgroup.controllers"
    )
    assert fake.text("a/pids.max") == ""


def test_missing_controller_says_that_it_is_on_v1(tmp_path: Path) -> None:
    fake = FakeMount(tmp_path, {"blkio": "/v1/blkio"})
    fake.mount.controllers = frozenset({"pids"})
    with fake.make("/a", "pids") as group, pytest.raises(ShimError) as caught:
        cgroup_setup.apply(group, resources(block_io=block_io(weight=20)), fake.mount)
    assert str(caught.value) == (
        "/linux/resources/blockIO/weight: io controller is on cgroup v1 at /v1/blkio"
    )


def test_unified_key_of_a_missing_controller(fake: FakeMount) -> None:
    with fake.make("/a", "pids") as group, pytest.raises(ShimError) as caught:
        cgroup_setup.apply(group, resources(unified={"memory.high": "1"}), fake.mount)
    assert str(caught.value).startswith("/linux/resources/unified/memory.high: memory controller")


def test_unknown_unified_key_of_a_present_controller(fake: FakeMount) -> None:
    with fake.make("/a", "pids") as group, pytest.raises(ShimError) as caught:
        cgroup_setup.apply(group, resources(unified={"pids.frob": "1"}), fake.mount)
    assert str(caught.value) == (
        "/linux/resources/unified/pids.frob: this kernel has no pids.frob in cgroup /a"
    )


def test_unified_file_that_needs_no_controller(fake: FakeMount) -> None:
    with fake.make("/a", "pids", "cpu.pressure") as group:
        cgroup_setup.apply(group, resources(unified={"cpu.pressure": "some 1 2"}), fake.mount)
    assert fake.text("a/cpu.pressure") == "some 1 2"


@pytest.mark.parametrize("present", ["io.bfq.weight", "io.weight"])
def test_io_weight_goes_where_there_is_a_file(fake: FakeMount, present: str) -> None:
    with fake.make("/a", "io", present) as group:
        cgroup_setup.apply(group, resources(block_io=block_io(weight=1000)), fake.mount)
    assert fake.text(f"a/{present}") == {"io.bfq.weight": "1000", "io.weight": "10000"}[present]


def test_no_file_for_an_io_weight(fake: FakeMount) -> None:
    with fake.make("/a", "io") as group, pytest.raises(ShimError) as caught:
        cgroup_setup.apply(group, resources(block_io=block_io(weight=1000)), fake.mount)
    assert "has no io.bfq.weight or io.weight" in str(caught.value)


def test_swap_without_swap_accounting(fake: FakeMount) -> None:
    with fake.make("/a", "memory", "memory.max") as group:
        cgroup_setup.apply(group, resources(memory=memory(limit=100, swap=100)), fake.mount)
        assert fake.text("a/memory.max") == "100"
        with pytest.raises(ShimError, match=r"/memory/swap: this kernel has no memory\.swap\.max"):
            cgroup_setup.apply(group, resources(memory=memory(limit=100, swap=101)), fake.mount)


def test_check_before_update(fake: FakeMount) -> None:
    with fake.make("/a", "memory", "memory.max", "memory.swap.max", "memory.current") as group:
        (fake.top / "a/memory.current").write_text("100\n")
        low = memory(limit=100, check_before_update=True)
        with pytest.raises(ShimError, match="/memory/limit: 100 is not above the 100 bytes in use"):
            cgroup_setup.apply(group, resources(memory=low), fake.mount)
        assert fake.text("a/memory.max") == ""
        low.check_before_update = False
        cgroup_setup.apply(group, resources(memory=low), fake.mount)
        assert fake.text("a/memory.max") == "100"


def test_a_value_the_kernel_refuses_names_the_field(fake: FakeMount) -> None:
    with fake.make("/a", "pids") as group:
        (fake.top / "a/pids.max").mkdir()  # opening a directory for writing: EISDIR
        with pytest.raises(KernelError) as caught:
            cgroup_setup.apply(group, resources(pids_limit=4), fake.mount)
    assert caught.value.errno == errno.EISDIR
    assert str(caught.value).startswith("/linux/resources/pids/limit: write '4' to cgroup file /a/")


def test_bad_value_is_an_input_error(fake: FakeMount) -> None:
    with fake.make("/a", "pids") as group, pytest.raises(InputError):
        cgroup_setup.apply(group, resources(pids_limit=-9), fake.mount)


@pytest.mark.parametrize("step", ["load", "attach"])
def test_device_program_errors_name_the_field_and_leak_nothing(fake: FakeMount, step: str) -> None:
    held: list[int] = []

    def load(_code: bytes) -> int:
        if step == "load":
            raise OSError(errno.EPERM, "no")
        held.append(os.open("/dev/null", os.O_RDONLY))
        return held[0]

    def attach(_cgroup: int, _program: int) -> None:
        raise OSError(errno.EPERM, "no")

    kernel: Any = SimpleNamespace(bpf_device_load=load, bpf_device_attach=attach)
    with fake.make("/a", "") as group, pytest.raises(KernelError) as caught:
        cgroup_setup.attach_devices(group, None, kernel)
    assert str(caught.value).startswith("/linux/resources/devices: ")
    for fd in held:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.mark.parametrize(
    ("rel", "parts"),
    [("/a/b", ["a", "b"]), ("a/b", ["a", "b"]), ("//a/./b/", ["a", "b"]), ("/", []), ("", [])],
)
def test_relative_and_absolute_paths_are_below_the_mount(rel: str, parts: list[str]) -> None:
    assert split(rel) == parts


@pytest.mark.parametrize("rel", ["..", "/a/../b", "a/..", "/a\0b"])
def test_paths_that_climb_are_refused(rel: str) -> None:
    with pytest.raises(ShimError, match="invalid cgroup path"):
        split(rel)


def test_default_location() -> None:
    assert cgroup_setup.location(None, "web") == "/shim/web"
    assert cgroup_setup.location("/pod/web", "x") == "/pod/web"


def test_the_top_is_no_containers_cgroup(fake: FakeMount) -> None:
    with pytest.raises(ShimError, match="top of the cgroup hierarchy"):
        Cgroup.create(fake.mount, "/")
    with Cgroup.open(fake.mount, "/") as top, pytest.raises(ShimError, match="cannot be removed"):
        top.remove()


def test_open_missing_and_symlinks(fake: FakeMount) -> None:
    (fake.top / "link").symlink_to("/")
    with pytest.raises(CgroupGoneError, match="cgroup /nope does not exist"):
        Cgroup.open(fake.mount, "nope")
    with pytest.raises(KernelError):
        Cgroup.open(fake.mount, "/link")


@pytest.mark.parametrize("name", ["..", "a/b", "", ".", "../x"])
def test_files_and_children_are_single_names(fake: FakeMount, name: str) -> None:
    with fake.make("/a", "") as group:
        with pytest.raises(ShimError, match="invalid cgroup"):
            group.read(name)
        with pytest.raises(ShimError, match="invalid cgroup"):
            group.child(name)

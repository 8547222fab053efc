"""config.json `mounts` and `linux.rootfsPropagation`: what goes in and out of the container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from root.config_support import mounts, own_capabilities, tool
from root.mount_support import bind, running, tmpfs
from support.runtime import Runtime

from shim.bundle.mounts import PROPAGATION

PEERS = {
    # option: (top, below), for a bind of a shared tree into a root that is a slave
    "": ({"master"}, {"master"}),
    "private": (set(), {"master"}),
    "rprivate": (set(), set()),
    "slave": ({"master"}, {"master"}),
    "rslave": ({"master"}, {"master"}),
    "shared": ({"shared", "master"}, {"master"}),
    "rshared": ({"shared", "master"}, {"shared", "master"}),
    "unbindable": ({"unbindable"}, {"master"}),
    "runbindable": ({"unbindable"}, {"unbindable"}),
}


def test_propagation_of_a_bind_mount(rt: Runtime, tree: Path) -> None:
    running(rt, *(bind(f"/p{name}", tree, *([name] if name else [])) for name in PEERS))
    found = mounts(rt)
    for name, (top, below) in PEERS.items():
        assert set(found[f"/p{name}"]["propagation"]) == top, name
        assert set(found[f"/p{name}/sub"]["propagation"]) == below, name


def test_propagation_of_a_new_file_system(rt: Runtime) -> None:
    running(rt, *(tmpfs(f"/p{name}", name) for name in PROPAGATION))
    found = mounts(rt)
    for name in PROPAGATION:
        word = name.removeprefix("r")
        wanted = {word} if word in ("shared", "unbindable") else set()
        assert set(found[f"/p{name}"]["propagation"]) == wanted, name


def test_a_mount_of_the_host_comes_in_and_one_of_the_container_stays_inside(
    rt: Runtime, tree: Path
) -> None:
    """rslave is Kubernetes' HostToContainer."""
    everything = own_capabilities()
    caps = dict.fromkeys(("bounding", "permitted", "effective"), everything)
    for name in ("late", "inner"):
        (tree / name).mkdir()
    running(rt, bind("/b", tree, "rslave"), process={"capabilities": caps})
    tool("mount", "-t", "tmpfs", "late", str(tree / "late"))
    assert "/b/late" in mounts(rt)
    rt.output("c", "mount", "-t", "tmpfs", "inner", "/b/inner")
    assert "/b/inner" in mounts(rt)
    assert not os.path.ismount(tree / "inner")


def test_a_mount_of_the_container_goes_out_when_both_ends_are_shared(
    rt: Runtime, tree: Path
) -> None:
    """Kubernetes' Bidirectional; nothing else of the container's mounts may go that way."""
    everything = own_capabilities()
    caps = dict.fromkeys(("bounding", "permitted", "effective"), everything)
    (tree / "inner").mkdir()
    before = set(Path("/proc/self/mountinfo").read_text().splitlines())
    running(
        rt,
        bind("/b", tree, "rshared"),
        process={"capabilities": caps},
        linux={"rootfsPropagation": "rshared"},
    )
    assert set(Path("/proc/self/mountinfo").read_text().splitlines()) == before
    rt.output("c", "mount", "-t", "tmpfs", "inner", "/b/inner")
    assert os.path.ismount(tree / "inner")
    tool("umount", str(tree / "inner"))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, {"master"}),
        ("slave", {"master"}),
        ("rslave", {"master"}),
        ("private", set()),
        ("rprivate", set()),
        ("shared", {"shared", "master"}),
        ("rshared", {"shared", "master"}),
        ("unbindable", {"unbindable"}),
        ("runbindable", {"unbindable"}),
    ],
)
def test_rootfs_propagation(rt: Runtime, tree: Path, value: str | None, wanted: set[str]) -> None:
    """With a rootfs on a shared mount, so that there is something to be cut off from."""
    root = tree / "rootfs"
    tool("cp", "-a", str(rt.rootfs), str(root))
    running(rt, root={"path": str(root)}, linux={"rootfsPropagation": value})
    assert set(mounts(rt)["/"]["propagation"]) == wanted
    (root / "late").mkdir()
    tool("mount", "-t", "tmpfs", "late", str(root / "late"))
    assert ("/late" in mounts(rt)) == ("master" in wanted)

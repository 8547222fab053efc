"""config.json `root`, masked and read-only paths."""

from __future__ import annotations

import pytest
from root.config_support import mounts, refused
from root.mount_support import running, tmpfs
from support.runtime import Runtime


@pytest.mark.parametrize("readonly", [False, True])
def test_root_readonly(rt: Runtime, readonly: bool) -> None:
    rt.running(root={"readonly": readonly})
    assert ("ro" in mounts(rt)["/"]["options"]) is readonly
    result = rt.exec("c", "touch", "/new")
    assert (result.code == 0) is not readonly
    assert ("Read-only file system" in result.err) is readonly
    # what is mounted below is not touched
    rt.output("c", "touch", "/tmp/new")


def test_root_path_relative_to_the_bundle(rt: Runtime) -> None:
    config = rt.config(root={"path": "../rootfs"})
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.state("c")["rootfs"] == str(rt.rootfs)


def test_root_path_that_is_not_there(rt: Runtime) -> None:
    refused(
        rt, rt.config(root={"path": "/not/there"}), "config.json: /root/path: /not/there: no such"
    )
    refused(rt, rt.config(root={"path": "/etc/passwd"}), "/root/path: /etc/passwd: not a directory")


def test_masked_paths(rt: Runtime) -> None:
    """A file reads as empty, a directory is empty and read-only; what is not there is no error."""
    (rt.rootfs / "secret").write_text("words")
    (rt.rootfs / "vault").mkdir()
    (rt.rootfs / "vault" / "key").write_text("words")
    (rt.rootfs / "way").symlink_to("/vault")
    rt.running(
        linux={"maskedPaths": ["/secret", "/vault", "/not/there", "/proc/kcore", "/secret/below"]}
    )
    assert rt.output("c", "cat", "/secret") == ""
    assert rt.output("c", "ls", "-A", "/vault", "/way/") == "/vault:\n\n/way/:\n"
    assert "Read-only" in rt.exec("c", "touch", "/vault/x").err
    assert rt.exec("c", "cat", "/vault/key").code != 0
    rt.output("c", "sh", "-c", "echo lost > /secret")
    assert (rt.rootfs / "secret").read_text() == "words"
    # character device 1:3, nodev or not: what the mount shows is the host's /dev/null
    assert rt.output("c", "stat", "-c", "%t:%T", "/secret") == "1:3\n"


def test_a_masked_path_through_a_symlink_is_masked(rt: Runtime) -> None:
    (rt.rootfs / "vault").mkdir()
    (rt.rootfs / "vault" / "key").touch()
    (rt.rootfs / "way").symlink_to("/vault")
    rt.running(linux={"maskedPaths": ["/way"]})
    assert rt.output("c", "ls", "/vault") == ""


def test_readonly_paths(rt: Runtime) -> None:
    (rt.rootfs / "fixed").mkdir()
    (rt.rootfs / "file").touch()
    running(
        rt,
        tmpfs("/fixed/below", "nosuid"),
        linux={"readonlyPaths": ["/fixed", "/file", "/not/there", "/proc/sys"]},
    )
    for path in ("/fixed/x", "/fixed/below/x", "/file"):
        assert "Read-only" in rt.exec("c", "sh", "-c", f"echo > {path}").err, path
    found = mounts(rt)
    assert {"ro", "nosuid"} <= found["/fixed/below"]["options"]
    assert "ro" in found["/proc/sys"]["options"]


def test_the_default_masks_of_spec_hide_what_they_name(rt: Runtime) -> None:
    rt.running()
    assert "Read-only" in rt.exec("c", "sh", "-c", "echo 1 > /proc/sys/kernel/core_uses_pid").err
    assert rt.output("c", "cat", "/proc/timer_list", "/proc/keys") == ""


def test_the_hosts_mounts_are_gone(rt: Runtime) -> None:
    """Nothing of the old root: every mount point is one that config.json names."""
    rt.running()
    named = {m["destination"] for m in rt.config()["mounts"]} | {"/"}
    masks = {*rt.config()["linux"]["maskedPaths"], *rt.config()["linux"]["readonlyPaths"]}
    assert set(mounts(rt)) <= named | masks

"""config.json `mounts`: order, sources, and the file systems of the kernel."""

from __future__ import annotations

import os
from pathlib import Path

from root.config_support import mounts, refused
from root.mount_support import bind, running, tmpfs
from support.runtime import Runtime


def test_remount(rt: Runtime) -> None:
    running(
        rt,
        tmpfs("/m", "nodev", "noexec"),
        {"destination": "/m", "options": ["remount", "ro", "nosuid", "exec"]},
        bind("/b", rt.rootfs / "etc"),
        {"destination": "/b", "type": "bind", "options": ["bind", "remount", "ro", "rprivate"]},
    )
    found = mounts(rt)
    assert {"ro", "nosuid", "nodev"} <= found["/m"]["options"]
    assert "noexec" not in found["/m"]["options"]
    assert "ro" in found["/b"]["options"]


def test_mounts_are_made_in_the_listed_order(rt: Runtime) -> None:
    (rt.dir / "lower").mkdir()
    (rt.dir / "lower" / "file").write_text("lower")
    running(rt, tmpfs("/m"), bind("/m/in", rt.dir / "lower"), tmpfs("/n"), tmpfs("/n", "size=4k"))
    assert rt.output("c", "cat", "/m/in/file") == "lower"
    assert "size=4k" in mounts(rt)["/n"]["super"]


def test_bind_sources(rt: Runtime) -> None:
    """A file is bound on a file; what is not there is made; a relative source is the bundle's."""
    config = rt.config()
    config["mounts"] += [
        {"destination": "/made/file", "source": "own.txt", "options": ["bind", "ro"]},
        {"destination": "/made/dir", "source": ".", "options": ["bind"]},
    ]
    bundle = rt.bundle_of(config)
    (bundle / "own.txt").write_text("own")
    assert rt.create("c", bundle).code == 0
    assert rt.start("c").code == 0
    assert rt.output("c", "cat", "/made/file") == "own"
    assert "config.json" in rt.output("c", "ls", "/made/dir")
    assert "Read-only" in rt.exec("c", "sh", "-c", "echo x > /made/file").err


def test_a_bind_source_that_is_not_there_is_named(rt: Runtime) -> None:
    config = rt.config()
    config["mounts"].append(bind("/b", "/not/there"))
    where = f"config.json: /mounts/{len(config['mounts']) - 1}/source"
    refused(rt, config, f"{where}: /not/there: no such file or directory")


def test_a_directory_cannot_be_bound_on_a_file(rt: Runtime) -> None:
    config = rt.config()
    config["mounts"].append(bind("/etc/passwd", rt.dir))
    refused(rt, config, "not a directory")


def test_tmpcopyup(rt: Runtime) -> None:
    """What is there is copied with owner, mode and links; the rootfs keeps its own."""
    old = rt.rootfs / "data"
    (old / "deep").mkdir(parents=True)
    (old / "deep" / "file").write_text("words")
    os.chmod(old / "deep" / "file", 0o640)
    os.chown(old / "deep" / "file", 12, 34)
    (old / "link").symlink_to("/nowhere")
    os.chmod(old, 0o750)
    running(rt, tmpfs("/data", "tmpcopyup", "noexec"), tmpfs("/new", "tmpcopyup", "ro"))
    assert rt.output("c", "stat", "-c", "%a %u %g", "/data/deep/file") == "640 12 34\n"
    assert rt.output("c", "readlink", "/data/link") == "/nowhere\n"
    assert rt.output("c", "stat", "-c", "%a", "/data") == "750\n"
    rt.output("c", "sh", "-c", "echo changed > /data/deep/file; touch /data/more")
    assert (old / "deep" / "file").read_text() == "words"
    assert sorted(os.listdir(old)) == ["deep", "link"]
    found = mounts(rt)
    assert found["/data"]["type"] == "tmpfs"
    assert "noexec" in found["/data"]["options"]
    assert "ro" in found["/new"]["options"]


def test_the_file_systems_of_the_kernel(rt: Runtime) -> None:
    running(rt)
    found = mounts(rt)
    kinds = {
        "/proc": "proc", "/dev": "tmpfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue", "/sys": "sysfs", "/sys/fs/cgroup": "cgroup2",
    }  # fmt: skip
    assert {path: found[path]["type"] for path in kinds} == kinds
    assert {"mode=755", "size=65536k"} <= found["/dev"]["super"]
    assert {"gid=5", "mode=620", "ptmxmode=666"} <= found["/dev/pts"]["super"]
    assert rt.output("c", "cat", "/proc/1/comm") == "sleep\n"
    assert rt.output("c", "ls", "/sys/class/net") == "lo\n"
    assert rt.output("c", "stat", "-f", "-c", "%T", "/dev/mqueue").strip() != ""
    # an instance of its own: no pseudo-terminal of the host's
    assert rt.output("c", "ls", "/dev/pts") == "ptmx\n"


def test_cv_18_cgroup2_shows_the_containers_tree_and_is_read_only(rt: Runtime) -> None:
    running(rt)
    assert rt.output("c", "cat", "/proc/self/cgroup").splitlines()[-1] == "0::/"
    # the container's own directory, not the top of the hierarchy: that has no cgroup.type
    assert "cgroup.type" in rt.output("c", "ls", "/sys/fs/cgroup").split()
    result = rt.exec("c", "mkdir", "/sys/fs/cgroup/x")
    assert "Read-only" in result.err


def test_cv_18_without_a_cgroup_namespace_it_is_the_containers_tree_all_the_same(
    rt: Runtime,
) -> None:
    config = rt.config()
    config["linux"]["namespaces"] = [
        n for n in config["linux"]["namespaces"] if n["type"] != "cgroup"
    ]
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    procs = rt.output("c", "cat", "/sys/fs/cgroup/cgroup.procs").split()
    assert "1" in procs
    assert "Read-only" in rt.exec("c", "mkdir", "/sys/fs/cgroup/x").err
    assert rt.output("c", "ls", "/sys/fs/cgroup/..").split() != []
    assert mounts(rt)["/sys/fs/cgroup"]["root"].endswith("/c0")


def test_cgroup2_by_its_own_name_and_writable(rt: Runtime) -> None:
    config = rt.config()
    for mount in config["mounts"]:
        if mount["type"] == "cgroup":
            mount.update(type="cgroup2", options=["nosuid", "noexec", "nodev"])
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    rt.output("c", "mkdir", "/sys/fs/cgroup/own")
    assert (Path(rt.mount.path + rt.cgroup) / "c0" / "own").is_dir()

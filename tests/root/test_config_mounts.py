"""config.json `mounts`, `root`, masked and read-only paths: every option, seen in the container's
mountinfo."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from root.config_support import mounts, own_capabilities, refused, tool
from support.runtime import Runtime

from shim.bundle.mounts import PROPAGATION, SUPPORTED

ATTRS = {"nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow", "ro"}


def tmpfs(destination: str, *options: str) -> dict[str, Any]:
    return {
        "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": list(options),
    }  # fmt: skip


def bind(destination: str, source: object, *options: str) -> dict[str, Any]:
    return {"destination": destination, "source": str(source), "options": ["rbind", *options]}


def running(rt: Runtime, *extra: dict[str, Any], **changes: Any) -> str:
    config = rt.config(**changes)
    config["mounts"] += extra
    result = rt.create("c", rt.bundle_of(config))
    assert result.code == 0, result
    assert rt.start("c").code == 0
    return "c"


@pytest.fixture
def tree(rt: Runtime) -> Iterator[Path]:
    """A shared mount with a mount below it, both bare of attributes."""
    top = rt.dir / "source"
    top.mkdir()
    tool("mount", "-t", "tmpfs", "top", str(top))
    tool("mount", "--make-rshared", str(top))
    (top / "sub").mkdir()
    tool("mount", "-t", "tmpfs", "sub", str(top / "sub"))
    try:
        yield top
    finally:
        # the container's copies of the mounts are its own
        tool("umount", "--recursive", str(top))


OPTIONS: dict[str, tuple[list[str], set[str], set[str]]] = {
    # option: (given, what the mount must say, what it must not say)
    "ro": (["ro"], {"ro"}, {"rw"}),
    "rw": (["ro", "rw"], {"rw"}, {"ro"}),
    "nosuid": (["nosuid"], {"nosuid"}, set()),
    "suid": (["nosuid", "suid"], set(), {"nosuid"}),
    "nodev": (["nodev"], {"nodev"}, set()),
    "dev": (["nodev", "dev"], set(), {"nodev"}),
    "noexec": (["noexec"], {"noexec"}, set()),
    "exec": (["noexec", "exec"], set(), {"noexec"}),
    "nosymfollow": (["nosymfollow"], {"nosymfollow"}, set()),
    "symfollow": (["nosymfollow", "symfollow"], set(), {"nosymfollow"}),
    "nodiratime": (["nodiratime"], {"nodiratime"}, set()),
    "diratime": (["nodiratime", "diratime"], set(), {"nodiratime"}),
    "noatime": (["noatime"], {"noatime"}, {"relatime"}),
    "atime": (["noatime", "atime"], {"relatime"}, {"noatime"}),
    "relatime": (["noatime", "relatime"], {"relatime"}, {"noatime"}),
    "norelatime": (["norelatime"], {"relatime"}, {"noatime"}),
    "strictatime": (["strictatime"], set(), {"relatime", "noatime"}),
    "nostrictatime": (["strictatime", "nostrictatime"], {"relatime"}, set()),
    "defaults": (["defaults"], {"rw", "relatime"}, ATTRS),
    "silent": (["silent"], {"rw", "relatime"}, ATTRS),
    "loud": (["loud"], {"rw", "relatime"}, ATTRS),
    "noiversion": (["noiversion"], {"rw", "relatime"}, ATTRS),
}
SUPER: dict[str, tuple[list[str], set[str], set[str]]] = {
    "sync": (["sync"], {"sync"}, set()),
    "async": (["sync", "async"], set(), {"sync"}),
    "dirsync": (["dirsync"], {"dirsync"}, set()),
    "lazytime": (["lazytime"], {"lazytime"}, set()),
    "nolazytime": (["lazytime", "nolazytime"], set(), {"lazytime"}),
    # mandatory locking is gone since Linux 5.15, but the option is still taken
    "mand": (["mand"], set(), set()),
    "nomand": (["mand", "nomand"], set(), {"mand"}),
}
RECURSIVE = {f"r{name}": expected for name, expected in OPTIONS.items() if f"r{name}" in SUPPORTED}


def check(found: dict[str, Any], path: str, field: str, table: dict[str, Any]) -> None:
    for name, (_, present, absent) in table.items():
        flags = found[f"{path}/{name}"][field]
        assert present <= flags, (name, flags)
        assert not absent & flags, (name, flags)


def test_every_option_on_a_new_file_system(rt: Runtime) -> None:
    """One mount an option: the table of the specification, attribute by attribute."""
    extra = [tmpfs(f"/m/{name}", *given) for name, (given, _, _) in OPTIONS.items()]
    extra += [tmpfs(f"/s/{name}", *given) for name, (given, _, _) in SUPER.items()]
    extra += [
        tmpfs(f"/r/{name}", *(f"r{option}" for option in OPTIONS[name[1:]][0]))
        for name in RECURSIVE
    ]
    running(rt, *extra)
    found = mounts(rt)
    check(found, "/m", "options", OPTIONS)
    check(found, "/s", "super", SUPER)
    check(found, "/r", "options", RECURSIVE)


def test_every_option_on_a_bind_mount(rt: Runtime) -> None:
    source = rt.dir / "plain"
    source.mkdir()
    running(rt, *(bind(f"/m/{name}", source, *given) for name, (given, _, _) in OPTIONS.items()))
    check(mounts(rt), "/m", "options", OPTIONS)


def test_the_tables_are_complete() -> None:
    """Whatever `features` claims is tried here."""
    tried = {*OPTIONS, *SUPER, *RECURSIVE, *PROPAGATION, "bind", "rbind", "remount", "tmpcopyup"}
    assert tried == set(SUPPORTED) - {"iversion"}


def test_an_option_the_file_system_does_not_know_is_an_error_that_names_it(rt: Runtime) -> None:
    config = rt.config()
    config["mounts"].append(tmpfs("/m", "nosuid", "size=1m", "wrong=1"))
    refused(rt, config, "option 'wrong=1': invalid argument")
    config["mounts"][-1] = tmpfs("/m", "size=lots")
    refused(rt, config, "option 'size=lots'")
    config["mounts"][-1] = tmpfs("/m", "iversion")
    refused(rt, config, f"/mounts/{len(config['mounts']) - 1}: mount tmpfs on /m (iversion)")


def test_data_reaches_the_file_system(rt: Runtime) -> None:
    running(rt, tmpfs("/m", "size=64k", "mode=1701", "uid=12", "gid=34"))
    assert {"size=64k", "mode=1701", "uid=12", "gid=34"} <= mounts(rt)["/m"]["super"]
    assert rt.output("c", "stat", "-c", "%a %u %g", "/m") == "1701 12 34\n"


SET = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"]
CLEAR = ["rw", "suid", "dev", "exec", "atime", "diratime", "symfollow"]


def test_attributes_with_and_without_recursion(rt: Runtime, tree: Path) -> None:
    running(
        rt,
        bind("/plain", tree),
        bind("/top", tree, *SET),
        bind("/all", tree, *(f"r{name}" for name in SET)),
    )
    found = mounts(rt)
    assert not found["/plain"]["options"] & ATTRS
    assert set(SET) <= found["/top"]["options"]
    assert not found["/top/sub"]["options"] & ATTRS
    assert set(SET) <= found["/all"]["options"]
    assert set(SET) <= found["/all/sub"]["options"]
    assert rt.exec("c", "touch", "/all/sub/x").code != 0
    assert rt.exec("c", "touch", "/top/sub/x").code == 0
    # and the host's own mounts are as they were
    assert os.access(tree / "x", os.F_OK) is False
    (tree / "sub" / "y").touch()


def test_attributes_are_cleared_with_and_without_recursion(rt: Runtime, tree: Path) -> None:
    for path in (tree, tree / "sub"):
        tool("mount", "-o", f"remount,bind,{','.join(SET)}", str(path))
    running(
        rt,
        bind("/plain", tree),
        bind("/top", tree, *CLEAR),
        bind("/all", tree, *(f"r{name}" for name in CLEAR)),
    )
    found = mounts(rt)
    assert set(SET) <= found["/plain"]["options"]
    assert not found["/top"]["options"] & ATTRS
    assert set(SET) <= found["/top/sub"]["options"]
    assert not found["/all"]["options"] & ATTRS
    assert not found["/all/sub"]["options"] & ATTRS
    for path in (tree, tree / "sub"):
        tool("mount", "-o", f"remount,bind,{','.join(CLEAR)}", str(path))


def test_bind_without_r_leaves_what_is_mounted_below(rt: Runtime, tree: Path) -> None:
    (tree / "sub" / "inside").touch()
    flat = {"destination": "/flat", "source": str(tree), "options": ["bind"]}
    running(rt, flat, bind("/deep", tree))
    assert "/flat/sub" not in mounts(rt)
    assert rt.output("c", "ls", "/flat/sub") == ""
    assert rt.output("c", "ls", "/deep/sub") == "inside\n"


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

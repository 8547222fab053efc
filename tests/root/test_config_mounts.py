"""config.json `mounts`: every option, seen in the container's mountinfo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from root.config_support import mounts, refused, tool
from root.mount_support import bind, running, tmpfs
from support.runtime import Runtime

from shim.bundle.mounts import PROPAGATION, SUPPORTED

ATTRS = {"nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow", "ro"}


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

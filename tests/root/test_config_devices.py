"""config.json `linux.devices` and `linux.resources.devices`: the nodes, and the program that says
who may open them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from root.config_support import in_user_namespace, init_file, refused
from support.runtime import Runtime

DEFAULT = {
    "/dev/null": (1, 3), "/dev/zero": (1, 5), "/dev/full": (1, 7), "/dev/random": (1, 8),
    "/dev/urandom": (1, 9), "/dev/tty": (5, 0),
}  # fmt: skip
LINKS = {
    "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2", "/dev/ptmx": "pts/ptmx",
}  # fmt: skip


def inside(rt: Runtime, path: str) -> os.stat_result:
    """stat of a path of the container, from the host."""
    return os.lstat(f"/proc/{rt.state('c')['pid']}/root{path}")


@pytest.mark.parametrize("user_namespace", [False, True], ids=["root", "user namespace"])
def test_default_devices_and_links(rt: Runtime, user_namespace: bool) -> None:
    config = rt.config()
    if user_namespace:
        in_user_namespace(config)
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    for path, numbers in DEFAULT.items():
        found = inside(rt, path)
        assert stat.S_ISCHR(found.st_mode), path
        assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == numbers
        assert stat.S_IMODE(found.st_mode) == 0o666
    for path, target in LINKS.items():
        assert rt.output("c", "readlink", path) == f"{target}\n"
    assert rt.output("c", "sh", "-c", "head -c 3 /dev/zero | wc -c; echo x >/dev/null") == "3\n"
    if not user_namespace:  # there the file behind it is another user's
        assert rt.output("c", "sh", "-c", "echo through >/dev/stdout") == "through\n"
    assert "No space left" in rt.exec("c", "sh", "-c", "echo x >/dev/full").err
    # the terminal of a process without one
    assert "No such device or address" in rt.exec("c", "sh", "-c", ": </dev/tty").err


def test_there_is_nothing_else_in_dev(rt: Runtime) -> None:
    rt.running()
    names = {Path(path).name for path in (*DEFAULT, *LINKS)} | {"pts", "shm", "mqueue"}
    assert set(rt.output("c", "ls", "/dev").split()) == names


def test_devices_are_made_with_mode_and_owner(rt: Runtime) -> None:
    devices: list[dict[str, Any]] = [
        {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o640,
         "uid": 12, "gid": 34},
        {"type": "u", "path": "/dev/deep/below/raw", "major": 1, "minor": 3},
        {"type": "b", "path": "/dev/loop7", "major": 7, "minor": 7, "fileMode": 0o100600},
        {"type": "p", "path": "/run/pipe", "fileMode": 0o622},
        {"type": "c", "path": "/dev/zero", "major": 1, "minor": 5, "fileMode": 0o600},
    ]  # fmt: skip

    def odd() -> None:
        os.umask(0o077)

    bundle = rt.bundle(linux={"devices": devices})
    assert rt.create("c", bundle, preexec_fn=odd).code == 0
    assert rt.start("c").code == 0
    wanted = {
        "/dev/fuse": (stat.S_IFCHR | 0o640, 10, 229, 12, 34),
        "/dev/deep/below/raw": (stat.S_IFCHR | 0o666, 1, 3, 0, 0),
        "/dev/loop7": (stat.S_IFBLK | 0o600, 7, 7, 0, 0),
        "/run/pipe": (stat.S_IFIFO | 0o622, 0, 0, 0, 0),
        "/dev/zero": (stat.S_IFCHR | 0o600, 1, 5, 0, 0),
    }
    for path, expected in wanted.items():
        s = inside(rt, path)
        found = (s.st_mode, os.major(s.st_rdev), os.minor(s.st_rdev), s.st_uid, s.st_gid)
        assert found == expected, path


def test_a_device_that_another_file_is_in_the_place_of(rt: Runtime) -> None:
    (rt.rootfs / "opt").mkdir()
    (rt.rootfs / "opt" / "node").write_text("a file")
    devices = [{"type": "c", "path": "/opt/node", "major": 1, "minor": 3}]
    refused(rt, rt.config(linux={"devices": devices}), "/linux/devices/0: /opt/node c 1:3")
    assert (rt.rootfs / "opt" / "node").read_text() == "a file"


def test_a_dev_of_the_images_own_is_completed(rt: Runtime) -> None:
    """No tmpfs on /dev: nodes and links that are there already stay."""
    os.mknod(rt.rootfs / "dev" / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (rt.rootfs / "dev" / "fd").symlink_to("/elsewhere")
    config = rt.config()
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert stat.S_IMODE(inside(rt, "/dev/null").st_mode) == 0o600
    assert os.readlink(rt.rootfs / "dev" / "fd") == "/elsewhere"
    assert os.major(os.lstat(rt.rootfs / "dev" / "zero").st_rdev) == 1


def test_a_bound_dev_is_left_alone(rt: Runtime) -> None:
    own = rt.dir / "own"
    own.mkdir()
    config = rt.config()
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
    config["mounts"].append({"destination": "/dev", "source": str(own), "options": ["rbind"]})
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert os.listdir(own) == []


# No driver has it (major 240 is for local use): an open that is let through ends in ENXIO.
PROBE = {"type": "c", "path": "/dev/probe", "major": 240, "minor": 11, "fileMode": 0o666}


def probes(rt: Runtime, rules: list[dict[str, Any]]) -> dict[str, bool]:
    """Which of reading, writing, making the device work under `rules`."""
    linux = {"devices": [PROBE], "resources": {"devices": rules}}
    rt.running(linux=linux)
    found = {}
    for name, script in (
        ("r", ": </dev/probe"),
        ("w", ": >>/dev/probe"),
        ("rw", ": <>/dev/probe"),
        ("m", "mknod /dev/new c 240 11"),
    ):
        result = rt.exec("c", "sh", "-c", script)
        denied = "Operation not permitted" in result.err
        assert denied or result.code == 0 or "No such device or address" in result.err, result
        found[name] = not denied
    return found


DENY = {"allow": False, "access": "rwm"}


def allow(access: str, **numbers: int) -> dict[str, Any]:
    return {"allow": True, "type": "c", **numbers, "access": access}


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        ([], "m"),
        ([DENY], "m"),
        ([DENY, allow("rwm", major=240, minor=11)], "r w rw m"),
        ([DENY, allow("r", major=240, minor=11)], "r m"),
        ([DENY, allow("w", major=240, minor=11)], "w m"),
        ([DENY, allow("rw", major=240)], "r w rw m"),
        ([DENY, allow("rw", major=240, minor=12)], "m"),
        ([DENY, allow("rw", major=-1, minor=-1)], "r w rw m"),
        ([DENY, {"allow": True, "type": "b", "major": 240, "minor": 11, "access": "rw"}], "m"),
        ([{"allow": True, "access": "rwm"}], "r w rw m"),
        # the last rule that matches wins, access by access
        ([allow("rwm", major=240, minor=11), DENY], "m"),
        (
            [DENY, allow("rw", major=240), {**allow("w", major=240, minor=11), "allow": False}],
            "r m",
        ),
    ],
)
def test_device_rules_are_enforced(rt: Runtime, rules: list[dict[str, Any]], allowed: str) -> None:
    """cgroup v2's eBPF program, asked by really opening the node. "m" is for everybody (runc)."""
    found = probes(rt, rules)
    assert {name for name, works in found.items() if works} == set(allowed.split())


def test_a_rule_cannot_take_the_default_devices_away(rt: Runtime) -> None:
    rules = [{"allow": False, "type": "a", "access": "rwm"}]
    rt.running(linux={"resources": {"devices": rules}})
    assert rt.output("c", "sh", "-c", "head -c 2 /dev/urandom | wc -c; : >/dev/null") == "2\n"


def test_the_rules_hold_for_what_joins(rt: Runtime) -> None:
    """In the container's cgroup from birth, or it could open what init cannot."""
    rt.running()
    own = init_file(rt, "cgroup")
    assert rt.output("c", "cat", "/proc/self/cgroup").splitlines()[-1] == "0::/"
    file = rt.dir / "pid"
    assert rt.exec("c", "sleep", "100", flags=["-d", "--pid-file", str(file)]).code == 0
    assert Path(f"/proc/{file.read_text()}/cgroup").read_bytes() == own


def test_without_devpts_and_dev_a_container_still_starts(rt: Runtime) -> None:
    config = rt.config()
    config["mounts"] = [m for m in config["mounts"] if m["destination"] == "/proc"]
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    assert os.path.lexists(rt.rootfs / "dev" / "ptmx")

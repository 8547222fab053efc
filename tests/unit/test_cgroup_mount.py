"""Finding the cgroup2 mount in mountinfo texts of pure, hybrid and odd machines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shim.errors import KernelError, ShimError
from shim.kernel.cgroup_mount import CgroupMount, find_mount, parse_mountinfo, unescape

HYBRID = """\
23 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 master:2 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
"""


def test_hybrid() -> None:
    unified, v1 = parse_mountinfo(HYBRID)
    assert unified == [("/sys/fs/cgroup/unified", os.makedev(0, 38))]
    assert v1 == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "blkio": "/sys/fs/cgroup/blkio",
    }


def test_v2_only() -> None:
    text = "26 24 0:23 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    assert parse_mountinfo(text) == ([("/sys/fs/cgroup", os.makedev(0, 23))], {})


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("/a\\040b", "/a b"),
        ("/a\\134040b", "/a\\040b"),
        ("/tab\\011new\\012", "/tab\tnew\n"),
        ("/\\303\\251", "/\u00e9"),
        ("/plain", "/plain"),
        ("/trailing\\04", "/trailing\\04"),
        ("/\\089", "/\\089"),
    ],
)
def test_escapes(field: str, path: str) -> None:
    assert unescape(field) == path


@pytest.mark.parametrize(
    "line", ["", "garbage", "1 2 0:1 / /x rw shared:1", " - cgroup2 x rw", "- - -"]
)
def test_malformed_lines_are_skipped(line: str) -> None:
    assert parse_mountinfo(line + "\n" + HYBRID) == parse_mountinfo(HYBRID)


def _mountinfo(tmp_path: Path, *mounts: tuple[Path, int]) -> str:
    lines = [
        f"{n} 1 {os.major(dev)}:{os.minor(dev)} / {str(path).replace(' ', chr(92) + '040')} rw"
        " - cgroup2 none rw\n"
        for n, (path, dev) in enumerate(mounts)
    ]
    file = tmp_path / "mountinfo"
    file.write_text("".join(lines))
    return str(file)


def test_first_reachable_mount_wins_and_covered_ones_are_skipped(tmp_path: Path) -> None:
    covered, first, second = (tmp_path / name for name in ("covered", "with space", "second"))
    for directory, controllers in ((covered, "io"), (first, "memory pids"), (second, "cpu")):
        directory.mkdir()
        (directory / "cgroup.controllers").write_text(controllers + "\n")
    dev = tmp_path.stat().st_dev
    gone = tmp_path / "gone"
    info = _mountinfo(tmp_path, (gone, dev), (covered, dev + 1), (first, dev), (second, dev))
    found = find_mount(info)
    assert found.path == str(first)
    assert found.controllers == {"memory", "pids"}
    os.close(found.open())


def test_the_usual_place_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [tmp_path / "first", tmp_path / "usual"]
    for directory in mounts:
        directory.mkdir()
        (directory / "cgroup.controllers").write_text("\n")
    info = _mountinfo(tmp_path, *((path, tmp_path.stat().st_dev) for path in mounts))
    assert find_mount(info).path == str(mounts[0])
    monkeypatch.setattr("shim.kernel.cgroup_mount._found", {})  # another process
    monkeypatch.setattr("shim.kernel.cgroup_mount.PREFERRED", str(mounts[1]))
    assert find_mount(info).path == str(mounts[1])


def test_no_cgroup2(tmp_path: Path) -> None:
    with pytest.raises(ShimError, match="no cgroup2 file system is mounted"):
        find_mount(_mountinfo(tmp_path))
    with pytest.raises(KernelError, match="no such file or directory"):
        find_mount(str(tmp_path / "missing"))


def test_open_refuses_a_mount_that_was_replaced(tmp_path: Path) -> None:
    stale = CgroupMount(str(tmp_path), frozenset(), {}, tmp_path.stat().st_dev + 1)
    with pytest.raises(ShimError, match="no longer the cgroup2 mount"):
        stale.open()


def test_where_a_controller_went() -> None:
    mount = CgroupMount("/cg", frozenset(), {"memory": "/v1/memory", "blkio": "/v1/blkio"})
    assert mount.where("memory") == "memory controller is on cgroup v1 at /v1/memory"
    assert mount.where("io") == "io controller is on cgroup v1 at /v1/blkio"
    assert mount.where("nonsense").startswith("nonsense controller is not in this kernel")

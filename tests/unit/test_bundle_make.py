"""The documents of `shim spec` and `shim bundle`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shim.bundle.make import bundle_document, host_filesystems, render, spec_document
from shim.bundle.spec import Mount, parse
from shim.errors import UsageError

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "runc-1.1-spec.json"


def like_runc() -> str:
    document = spec_document()
    document |= {"ociVersion": "1.0.2-dev", "hostname": "runc"}
    linux = document["linux"]
    assert isinstance(linux, dict)
    assert linux["namespaces"].pop() == {"type": "cgroup"}
    return render(document)


def test_spec_is_runcs_document_byte_for_byte() -> None:
    """But for the version, the host name and the cgroup namespace."""
    assert spec_document()["ociVersion"] == "1.3.0"
    assert spec_document()["hostname"] == "shim"
    assert like_runc() == GOLDEN.read_text() + "\n"


@pytest.mark.skipif(shutil.which("runc") is None, reason="no runc here to compare `runc spec` with")
def test_the_golden_file_is_what_runc_writes(tmp_path: Path) -> None:
    subprocess.run(["runc", "spec"], cwd=tmp_path, check=True)
    found, golden = (
        json.loads((tmp_path / "config.json").read_text()),
        json.loads(GOLDEN.read_text()),
    )
    for document in (found, golden):
        del document["ociVersion"]
        # `runc spec` asks for a cgroup namespace where it finds cgroup v2 alone
        document["linux"]["namespaces"] = [
            entry for entry in document["linux"]["namespaces"] if entry["type"] != "cgroup"
        ]
    assert found == golden


def test_spec_document_parses_and_is_new_each_time() -> None:
    assert parse(render(spec_document()).encode()).root.path == "rootfs"
    first = spec_document()
    first.clear()
    assert spec_document()


def test_bundle_from_host() -> None:
    document = bundle_document("host", ["nginx", "-g", "daemon off;"], MOUNTINFO, lambda path: True)
    spec = parse(render(document).encode())
    assert spec.process is not None
    assert spec.process.args == ["nginx", "-g", "daemon off;"]
    assert (spec.process.terminal, spec.process.no_new_privileges) == (False, True)
    assert spec.process.caps is not None
    assert (
        spec.process.caps.bounding == spec.process.caps.effective == 0xA80425FB
    )  # docker's default
    assert spec.process.caps.inheritable == spec.process.caps.ambient == 0
    assert (spec.root.path, spec.root.readonly) == ("rootfs", False)
    assert spec.mounts[:4] == [
        Mount(path, "overlay", "overlay", [f"lowerdir={path}", "ephemeral"])
        for path in ("/", "/usr", "/usr/local files", "/home")
    ]
    by_path = {mount.destination: mount for mount in spec.mounts}
    assert "mode=755" in by_path["/run"].options
    assert "mode=1777" in by_path["/tmp"].options
    kinds = {namespace.type for namespace in spec.linux.namespaces if namespace.path is None}
    assert kinds == {"pid", "network", "ipc", "uts", "mount", "cgroup"}


def test_bundle_from_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = parse(render(bundle_document("dir:sub/../root")).encode())
    assert (spec.root.path, spec.root.readonly) == (str(tmp_path / "root"), False)
    assert spec.process is not None
    assert spec.process.args == ["sh"]
    assert spec.mounts[0].destination == "/proc"


@pytest.mark.parametrize("source", ["", "dir", "dir:", "image:x", "Host"])
def test_other_sources(source: str) -> None:
    with pytest.raises(UsageError, match="host or dir:PATH"):
        bundle_document(source)


MOUNTINFO = r"""
22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw
23 28 0:21 / /proc rw shared:14 - proc proc rw
24 28 0:5 / /dev rw shared:2 - devtmpfs udev rw
27 28 0:23 / /run rw shared:5 - tmpfs tmpfs rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 28 254:2 / /usr rw shared:30 - ext4 /dev/vda2 rw
41 40 254:3 / /usr/local\040files rw - xfs /dev/mapper/a\134b rw
42 28 0:44 / /home rw - nfs4 server:/home rw
43 28 0:45 / /boot rw - ext4 /dev/vda3 rw
44 43 0:46 / /boot/efi rw - vfat /dev/vda4 rw
45 28 0:47 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
46 28 0:48 / /mnt rw - tmpfs tmpfs rw
47 46 254:5 / /mnt/disk rw - ext4 /dev/vdb rw
48 28 0:49 / /misc rw - autofs systemd-1 rw
49 28 254:1 /etc/h /etc/hosts rw - ext4 /dev/vda1 rw
50 28 254:6 / /srv rw - ext4 /dev/vdc rw
51 50 0:50 / /srv rw - tmpfs tmpfs rw
52 28 0:51 / /opt rw - tmpfs tmpfs rw
53 52 254:7 / /opt rw - ext4 /dev/vdd rw
54 27 254:8 / /run/media rw - ext4 /dev/vde rw
55 28 0:52 / /pool rw - zfs tank/data rw
56 28 7:0 / /snap/core/1 ro - squashfs /dev/loop0 ro
57 28 0:53 / /tmpfiles rw - ext4 /dev/vdf rw
58 28 0:54 / /fuse rw - fuse.sshfs host: rw
garbage
"""


def test_host_filesystems() -> None:
    assert host_filesystems(MOUNTINFO, lambda path: path != "/etc/hosts") == [
        "/usr",
        "/usr/local files",
        "/home",
        "/opt",
        "/pool",
        "/tmpfiles",
    ]


def test_a_mount_point_that_json_cannot_write_is_left_out() -> None:
    line = os.fsdecode(b"30 28 254:9 / /\xff rw - ext4 /dev/vdg rw")
    root = "28 1 254:1 / / rw - ext4 /dev/vda1 rw"
    assert host_filesystems(f"{root}\n{line}", lambda path: True) == []


def test_host_filesystems_of_this_machine() -> None:
    points = host_filesystems(Path("/proc/self/mountinfo").read_text())
    assert all(os.path.isdir(point) and point != "/" for point in points)
    assert not [point for point in points if point.startswith(("/proc", "/sys/", "/dev/", "/run/"))]

"""`shim update` on this machine's own cgroup2 mount; the controllers it lacks are for tests/vm."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.runtime import Result, Runtime

from shim.kernel.api import KERNEL
from shim.kernel.cgroup import Cgroup

MIB = 1 << 20


def limit(rt: Runtime, name: str) -> str:
    base = Path(rt.mount.path) / f"{rt.cgroup}/c0".lstrip("/")
    return (base / name).read_text().strip()


def change(rt: Runtime, document: object) -> Result:
    """`update -r -` with the document on stdin."""
    return rt.shim("update", "--resources", "-", "c", stdin=json.dumps(document).encode())


def huge(limit: int) -> dict[str, object]:
    return {"hugepageLimits": [{"pageSize": "2MB", "limit": limit}]}


@pytest.fixture
def hugetlb(rt: Runtime) -> None:
    if "hugetlb" not in rt.mount.controllers:
        pytest.skip("no hugetlb controller on this machine's cgroup2 mount")
    if not Path("/sys/kernel/mm/hugepages/hugepages-2048kB").is_dir():
        pytest.skip("no 2 MiB pages on this machine")


@pytest.mark.usefixtures("hugetlb")
def test_limits_from_stdin_and_from_a_file_reach_the_kernel(rt: Runtime) -> None:
    rt.running(linux={"resources": huge(8 * MIB)})
    assert limit(rt, "hugetlb.2MB.max") == str(8 * MIB)
    result = change(rt, huge(16 * MIB))
    assert (result.code, result.out, result.err) == (0, "", "")
    assert limit(rt, "hugetlb.2MB.max") == str(16 * MIB)
    assert limit(rt, "hugetlb.2MB.rsvd.max") == str(16 * MIB)
    file = rt.dir / "limits.json"
    file.write_text(json.dumps({"unified": {"cgroup.max.depth": "7"}}))
    assert rt.shim("update", "-r", str(file), "c").code == 0
    assert limit(rt, "cgroup.max.depth") == "7"
    assert limit(rt, "hugetlb.2MB.max") == str(16 * MIB)


@pytest.mark.usefixtures("hugetlb")
def test_nothing_has_changed_when_the_kernel_refuses_one_limit(rt: Runtime) -> None:
    rt.running(linux={"resources": huge(8 * MIB)})
    result = change(rt, {**huge(4 * MIB), "unified": {"cgroup.max.depth": "soup"}})
    assert result.code == 1
    assert "/linux/resources/unified/cgroup.max.depth: write 'soup'" in result.line
    assert limit(rt, "hugetlb.2MB.max") == str(8 * MIB)
    assert limit(rt, "hugetlb.2MB.rsvd.max") == str(8 * MIB)


def test_a_limit_without_its_controller_is_the_error_of_create(rt: Runtime) -> None:
    if "rdma" in rt.mount.controllers:
        pytest.skip("this machine's cgroup2 mount has the rdma controller")
    rt.running()
    wanted = {"unified": {"rdma.max": "x hca_handle=2"}}
    created = rt.create("d", rt.bundle(linux={"resources": wanted}))
    updated = change(rt, wanted)
    assert created.code == updated.code == 1
    assert created.line.replace('create "d"', 'update "c"') == updated.line
    assert "/linux/resources/unified/rdma.max: rdma controller is " in updated.line


def test_device_rules_are_replaced(rt: Runtime) -> None:
    names = ("bounding", "effective", "permitted")
    caps = {name: ["CAP_MKNOD", "CAP_SYSLOG"] for name in names}
    rt.running(process={"capabilities": caps})
    with Cgroup.open(rt.mount, f"{rt.cgroup}/c0") as group:
        (old,) = KERNEL.bpf_device_query(group.fd)
        assert rt.output("c", "mknod", "/dev/kmsg", "c", "1", "11") == ""
        assert rt.exec("c", "sh", "-c", "exec 3</dev/kmsg").code != 0
        allow = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
        assert change(rt, {"devices": [{"allow": False, "access": "rwm"}, allow]}).code == 0
        assert rt.exec("c", "sh", "-c", "exec 3</dev/kmsg").code == 0
        (new,) = KERNEL.bpf_device_query(group.fd)
        assert new != old
        assert change(rt, {"devices": [{"allow": False, "access": "rwm"}]}).code == 0
        assert rt.exec("c", "sh", "-c", "exec 3</dev/kmsg").code != 0
        assert len(KERNEL.bpf_device_query(group.fd)) == 1


def test_an_update_without_device_rules_leaves_them_alone(rt: Runtime) -> None:
    rt.running()
    with Cgroup.open(rt.mount, f"{rt.cgroup}/c0") as group:
        old = KERNEL.bpf_device_query(group.fd)
        assert change(rt, {"unified": {"cgroup.max.depth": "3"}, "devices": []}).code == 0
        assert KERNEL.bpf_device_query(group.fd) == old


def test_a_created_and_a_paused_container_can_be_updated_a_stopped_one_cannot(rt: Runtime) -> None:
    assert rt.create("c", rt.bundle()).code == 0
    wanted = {"unified": {"cgroup.max.depth": "3"}}
    assert change(rt, wanted).code == 0
    assert rt.start("c").code == 0
    assert rt.shim("pause", "c").code == 0
    assert change(rt, {"unified": {"cgroup.max.depth": "4"}}).code == 0
    assert limit(rt, "cgroup.max.depth") == "4"
    assert rt.shim("resume", "c").code == 0
    init = os.pidfd_open(rt.state("c")["pid"])
    assert rt.kill("c").code == 0
    assert rt.ended(init)
    os.close(init)
    result = change(rt, wanted)
    assert (result.code, result.line) == (1, 'shim: cannot update "c": container not running')
    missing = rt.shim("update", "--pids-limit", "3", "nosuch")
    assert missing.line == 'shim: cannot update "nosuch": container does not exist'

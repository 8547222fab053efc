"""What config.json asks for is in the kernel's own files, with every controller there is
(SECURITY.md CG-08, OCI.md "resources")."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.accounts import MIB, Account, device_of
from support.runtime import Runtime

CONTROLLERS = {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}


def test_every_controller_is_there_and_handed_down(rt: Runtime) -> None:
    """Else the other tests here would prove nothing."""
    assert rt.mount.path == "/sys/fs/cgroup"
    assert set(rt.mount.controllers) >= CONTROLLERS
    assert not rt.mount.v1
    rt.running()
    handed = Path(f"/sys/fs/cgroup{rt.cgroup}/cgroup.subtree_control").read_text().split()
    assert set(handed) >= CONTROLLERS


def test_resources_reach_the_kernel(rt: Runtime, account: Account, disk: Path) -> None:
    device = device_of(disk)
    major, minor = (int(part) for part in device.split(":"))
    rates = [{"major": major, "minor": minor, "rate": 3 * MIB}]
    resources: dict[str, Any] = {
        "memory": {"limit": 96 * MIB, "reservation": 32 * MIB, "swap": 128 * MIB},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "1", "mems": "0"},
        "pids": {"limit": 77},
        "blockIO": {
            "weight": 500,
            "throttleReadBpsDevice": rates,
            "throttleWriteIOPSDevice": [{"major": major, "minor": minor, "rate": 40}],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}],
        "unified": {"memory.high": str(80 * MIB), "memory.oom.group": "1"},
    }
    rt.running(linux={"resources": resources})
    expected = {
        "memory.max": str(96 * MIB),
        "memory.low": str(32 * MIB),
        "memory.swap.max": str(32 * MIB),
        "memory.high": str(80 * MIB),
        "memory.oom.group": "1",
        "cpu.weight": "59",  # 512 shares on the curve of runc 1.3.2
        "cpu.max": "50000 100000",
        "cpuset.cpus": "1",
        "cpuset.mems": "0",
        "cpuset.cpus.effective": "1",
        "pids.max": "77",
        "io.max": f"{device} rbps={3 * MIB} wbps=max riops=max wiops=40",
        "hugetlb.2MB.max": str(4 * MIB),
    }
    assert {file: account.text(file) for file in expected} == expected
    weight = "io.bfq.weight" if (account.path / "io.bfq.weight").exists() else "io.weight"
    assert account.text(weight) == "default " + ("500" if "bfq" in weight else "4950")
    # and it binds: the only CPU is the one that was given
    assert "Cpus_allowed_list:\t1\n" in rt.output("c", "cat", "/proc/self/status")


def test_without_resources_nothing_is_limited(rt: Runtime, account: Account) -> None:
    rt.running()
    unlimited = ("memory.max", "memory.high", "pids.max")
    assert {account.text(file) for file in unlimited} == {"max"}
    assert account.text("cpu.max") == "max 100000"
    assert account.text("io.max") == ""


def test_an_unknown_device_is_refused_by_its_field(rt: Runtime) -> None:
    rates = [{"major": 250, "minor": 99, "rate": MIB}]
    bundle = rt.bundle(linux={"resources": {"blockIO": {"throttleReadBpsDevice": rates}}})
    result = rt.create("c", bundle)
    assert result.code == 1
    assert "/linux/resources/blockIO/throttleReadBpsDevice/0" in result.line
    assert rt.leaks() == []

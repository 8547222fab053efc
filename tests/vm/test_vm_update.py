"""`shim update` and `shim stats` with every cgroup v2 controller: what is asked for is in the
kernel's own files, and it binds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.accounts import BURN, MIB, Account, device_of
from support.runtime import Result, Runtime

LIMITS = {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}, "pids": {"limit": 50}}


@pytest.fixture
def running(rt: Runtime) -> Runtime:
    """A container `c` with LIMITS that sleeps."""
    rt.running(linux={"resources": LIMITS})
    return rt


def texts(account: Account, *files: str) -> list[str]:
    return [account.text(file) for file in files]


def change(rt: Runtime, *flags: str, document: Any = None) -> None:
    result = attempt(rt, *flags, document=document)
    assert (result.code, result.out, result.err) == (0, "", ""), result


def attempt(rt: Runtime, *flags: str, document: Any = None) -> Result:
    if document is None:
        return rt.shim("update", *flags, "c")
    return rt.shim("update", "--resources", "-", "c", stdin=json.dumps(document).encode())


def test_memory_keeps_the_sum_with_swap(running: Runtime, account: Account) -> None:
    files = ("memory.max", "memory.swap.max", "memory.low")
    assert texts(account, *files) == [str(64 * MIB), str(32 * MIB), "0"]
    change(running, "--memory", "80M", "--memory-reservation", "16M")
    assert texts(account, *files) == [str(80 * MIB), str(16 * MIB), str(16 * MIB)]
    change(running, "--memory-swap", "128M")
    assert texts(account, *files) == [str(80 * MIB), str(48 * MIB), str(16 * MIB)]
    result = attempt(running, "--memory", "129M")
    assert result.code == 1
    assert "command line: /linux/resources/memory/limit: " in result.line
    assert texts(account, *files) == [str(80 * MIB), str(48 * MIB), str(16 * MIB)]
    change(running, "--memory=-1")
    assert texts(account, *files) == ["max", "max", str(16 * MIB)]


def test_a_lower_memory_limit_binds(running: Runtime, account: Account) -> None:
    hold = "dd if=/dev/zero of=/dev/null bs=40M count=1 2>/dev/null"
    assert running.exec("c", "sh", "-c", hold).code == 0
    change(running, "--memory", "24M", "--memory-swap", "24M")
    assert running.exec("c", "sh", "-c", hold).code != 0
    assert account.keyed("memory.events")["oom_kill"] >= 1


def test_a_limit_below_what_is_in_use_is_refused_when_asked_for(
    running: Runtime, account: Account
) -> None:
    document = {"memory": {"limit": 4096, "checkBeforeUpdate": True}}
    result = attempt(running, document=document)
    assert result.code == 1
    assert "/linux/resources/memory/limit: 4096 is not above the " in result.line
    assert account.text("memory.max") == str(64 * MIB)


def test_quota_period_and_burst_in_every_order(running: Runtime, account: Account) -> None:
    """The kernel refuses a quota below the burst and a burst above the quota."""
    files = ("cpu.max", "cpu.max.burst")
    change(running, "--cpu-quota", "50000", "--cpu-burst", "50000")
    assert texts(account, *files) == ["50000 100000", "50000"]
    change(running, "--cpu-quota", "10000", "--cpu-burst", "10000")
    assert texts(account, *files) == ["10000 100000", "10000"]
    change(running, "--cpu-quota", "90000", "--cpu-burst", "80000")
    assert texts(account, *files) == ["90000 100000", "80000"]
    change(running, "--cpu-period", "200000")
    assert texts(account, *files) == ["90000 200000", "80000"]
    result = attempt(running, "--cpu-quota", "5000")
    assert result.code == 1
    assert "/linux/resources/cpu/quota: write '5000 200000'" in result.line
    assert texts(account, *files) == ["90000 200000", "80000"]
    change(running, "--cpu-quota=-1", "--cpu-burst", "0")
    assert texts(account, *files) == ["max 200000", "0"]


def test_a_quota_throttles_what_runs_already(running: Runtime, account: Account) -> None:
    change(running, "--cpu-quota", "20000")
    burn = BURN.format(ns=200_000_000)
    assert int(running.output("c", "sh", "-c", burn)) >= 200_000_000
    found = account.keyed("cpu.stat")
    assert found["nr_throttled"] > 0
    (one,) = json.loads(running.shim("stats", "--format", "json", "c").out)
    assert one["cpu"]["throttledPeriods"] >= found["nr_throttled"]


def test_cpu_weight_idle_and_cpuset(running: Runtime, account: Account) -> None:
    change(running, "--cpu-share", "1024", "--cpuset-cpus", "1", "--cpuset-mems", "0")
    assert texts(account, "cpu.weight", "cpuset.cpus", "cpuset.mems") == ["100", "1", "0"]
    status = Path(f"/proc/{running.state('c')['pid']}/status").read_text()
    assert "Cpus_allowed_list:\t1\n" in status
    change(running, "--cpu-idle", "1")
    assert account.text("cpu.idle") == "1"
    change(running, "--cpu-idle", "0", "--cpu-share", "512")
    assert texts(account, "cpu.idle", "cpu.weight") == ["0", "59"]


def test_pids(running: Runtime, account: Account) -> None:
    many = "for i in 1 2 3 4 5 6; do sleep 1 & done; wait"
    assert running.exec("c", "sh", "-c", many).code == 0
    change(running, "--pids-limit", "4")
    assert account.text("pids.max") == "4"
    assert running.exec("c", "sh", "-c", many).code != 0
    assert account.keyed("pids.events")["max"] >= 1
    change(running, "--pids-limit=-1")
    assert account.text("pids.max") == "max"


def test_block_io(running: Runtime, account: Account, disk: Path) -> None:
    device = device_of(disk)
    major, minor = (int(part) for part in device.split(":"))
    rate = {"major": major, "minor": minor, "rate": 3 * MIB}
    change(running, document={"blockIO": {"throttleReadBpsDevice": [rate]}})
    assert account.text("io.max") == f"{device} rbps={3 * MIB} wbps=max riops=max wiops=max"
    change(running, document={"blockIO": {"throttleReadBpsDevice": [{**rate, "rate": 0}]}})
    assert account.text("io.max") == ""
    change(running, "--blkio-weight", "500")
    bfq = (account.path / "io.bfq.weight").exists()
    weight = account.text("io.bfq.weight" if bfq else "io.weight")
    assert weight == ("default 500" if bfq else "default 4950")


def test_everything_is_put_back_when_one_limit_is_refused(
    running: Runtime, account: Account, disk: Path
) -> None:
    files = ("pids.max", "memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "io.max",
             "cpuset.cpus.effective", "hugetlb.2MB.max")  # fmt: skip
    before = texts(account, *files)
    major, minor = (int(part) for part in device_of(disk).split(":"))
    document = {
        "pids": {"limit": 9},
        "memory": {"limit": 48 * MIB, "swap": 48 * MIB},
        "cpu": {"shares": 2, "quota": 5000, "cpus": "0"},
        "blockIO": {"throttleWriteIOPSDevice": [{"major": major, "minor": minor, "rate": 9}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}],
        "unified": {"memory.oom.group": "soup"},
    }
    result = attempt(running, document=document)
    assert result.code == 1
    assert "/linux/resources/unified/memory.oom.group: write 'soup'" in result.line
    assert texts(account, *files) == before


def test_stats_are_the_kernel_s_own(running: Runtime, account: Account) -> None:
    (one,) = json.loads(running.shim("stats", "--format", "json", "c").out)
    assert one["memory"]["limitBytes"] == 64 * MIB
    assert one["memory"]["swapLimitBytes"] == 32 * MIB
    assert 0 < one["memory"]["currentBytes"] <= one["memory"]["peakBytes"] <= 64 * MIB
    assert one["memory"]["oomKills"] == 0
    assert (one["pids"]["current"], one["pids"]["limit"]) == (1, 50)
    data = json.loads(running.shim("events", "--stats", "c").out)["data"]
    assert data["pids"] == {"current": 1, "limit": 50}
    assert data["memory"]["usage"]["limit"] == 64 * MIB
    assert data["memory"]["swap"]["limit"] == 96 * MIB
    assert data["memory"]["raw"]["anon"] == account.keyed("memory.stat")["anon"]
    assert set(data["cpu"]["throttling"]) == {"periods", "throttledPeriods", "throttledTime"}


def test_doctor_finds_every_controller(rt: Runtime) -> None:
    result = rt.shim("doctor", "--format", "json")
    assert result.code == 0, result
    checks = {check["name"]: check for check in json.loads(result.out)["checks"]}
    for name in ("cpu", "cpuset", "io", "memory", "pids", "hugetlb"):
        assert checks[f"{name} controller"]["status"] == "ok"
    assert checks["capabilities"]["value"] == "all"

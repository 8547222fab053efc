"""linux.resources: what is honoured, in the units and with the defaults the specification gives."""

from __future__ import annotations

from typing import Any

import pytest
from unit.bundle_support import refused_with, spec_with

from shim.bundle.spec import BlockIO, Cpu, DeviceRule, Memory, Resources

AT = "/linux/resources"


def resources(value: dict[str, Any]) -> Resources:
    found = spec_with(AT, value).linux.resources
    assert found is not None
    return found


def test_absent_and_empty() -> None:
    assert spec_with(AT, None).linux.resources is None
    assert resources({}) == Resources()


def test_device_rules_in_order() -> None:
    rules = [
        {"allow": False},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
        {"allow": True, "type": "b", "major": -1, "minor": -1, "access": "m"},
        {"allow": False, "type": "", "access": ""},
    ]
    assert resources({"devices": rules}).devices == [
        DeviceRule(False, "a", None, None, "rwm"),
        DeviceRule(True, "c", 1, 3, "rw"),
        DeviceRule(True, "b", None, None, "m"),
        DeviceRule(False, "a", None, None, "rwm"),
    ]


def test_everything() -> None:
    found = resources(
        {
            "memory": {"limit": 1, "reservation": -1, "swap": 2, "checkBeforeUpdate": True},
            "cpu": {
                "shares": 1024,
                "quota": -1,
                "period": 100000,
                "burst": 0,
                "idle": 1,
                "cpus": "0-3,7",
                "mems": "0",
            },
            "pids": {"limit": 0},
            "blockIO": {
                "weight": 10,
                "weightDevice": [
                    {"major": 8, "minor": 0, "weight": 500},
                    {"major": 8, "minor": 1, "leafWeight": 0},
                ],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 4}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 2**63}],
            "unified": {"memory.high": "max", "io.max": "8:0 rbps=1\n", "cgroup.max.depth": "3"},
        }
    )
    assert found == Resources(
        memory=Memory(limit=1, reservation=-1, swap=2, check_before_update=True),
        cpu=Cpu(1024, -1, 100000, 0, 1, "0-3,7", "0"),
        pids_limit=0,
        block_io=BlockIO(
            weight=10,
            weight_device=[(8, 0, 500)],
            throttle=[
                ("rbps", 8, 0, 1),
                ("wbps", 8, 0, 2),
                ("riops", 8, 0, 3),
                ("wiops", 8, 16, 4),
            ],
        ),
        hugepage_limits=[("2MB", 2**63)],
        unified={"memory.high": "max", "io.max": "8:0 rbps=1\n", "cgroup.max.depth": "3"},
    )


def test_zero_is_unset_where_runc_says_so() -> None:
    found = resources(
        {
            "memory": {"limit": 0, "swap": 0, "reservation": 0},
            "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "realtimeRuntime": 0},
            "blockIO": {"weight": 0},
        }
    )
    assert found == Resources(memory=Memory(), cpu=Cpu(), block_io=BlockIO())


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ({"devices": [{"type": "c"}]}, "/devices/0/allow"),
        ({"devices": [{"allow": True, "type": "p"}]}, "/devices/0/type"),
        ({"devices": [{"allow": True, "access": "rx"}]}, "/devices/0/access"),
        ({"devices": [{"allow": True, "major": -2}]}, "/devices/0/major"),
        ({"devices": [{"allow": True, "minor": 2**20}]}, "/devices/0/minor"),
        ({"memory": {"limit": -2}}, "/memory/limit"),
        ({"memory": {"limit": 2**63}}, "/memory/limit"),
        ({"memory": {"swap": 1.5}}, "/memory/swap"),
        ({"memory": {"swappiness": 101}}, "/memory/swappiness"),
        ({"cpu": {"shares": -1}}, "/cpu/shares"),
        ({"cpu": {"quota": -2}}, "/cpu/quota"),
        ({"cpu": {"idle": 2}}, "/cpu/idle"),
        ({"cpu": {"cpus": "all"}}, "/cpu/cpus"),
        ({"cpu": {"mems": "0\n1"}}, "/cpu/mems"),
        ({"pids": {"limit": -2}}, "/pids/limit"),
        ({"blockIO": {"weight": 9}}, "/blockIO/weight"),
        ({"blockIO": {"weight": 1001}}, "/blockIO/weight"),
        (
            {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0}]}},
            "/blockIO/throttleReadBpsDevice/0/rate",
        ),
        ({"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}, "/hugepageLimits/0/pageSize"),
        ({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}, "/hugepageLimits/0/pageSize"),
        ({"unified": {"../cgroup.procs": "1"}}, "/unified/..~1cgroup.procs"),
        ({"unified": {"memory": "1"}}, "/unified/memory"),
        ({"unified": {"..": "1"}}, "/unified/.."),
        ({"unified": {"cgroup.procs": "1"}}, "/unified/cgroup.procs"),
        ({"unified": {"cgroup.kill": "1"}}, "/unified/cgroup.kill"),
        ({"unified": {"memory.max": 1}}, "/unified/memory.max"),
    ],
)
def test_refused_at_its_place(value: dict[str, Any], at: str) -> None:
    refused_with(AT, value, at=AT + at)

"""linux.resources -> cgroup v2 settings: runc's conversions, and errors where it is silent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.engine.resources import io_weight, settings, weight_from_shares
from shim.errors import InputError


def memory(**fields: Any) -> SimpleNamespace:
    base = {"limit": None, "reservation": None, "swap": None, "check_before_update": False}
    return SimpleNamespace(**(base | fields))


def cpu(**fields: Any) -> SimpleNamespace:
    names = ("shares", "quota", "period", "burst", "idle", "cpus", "mems")
    return SimpleNamespace(**(dict.fromkeys(names) | fields))


def block_io(**fields: Any) -> SimpleNamespace:
    base: dict[str, Any] = {"weight": None, "weight_device": [], "throttle": []}
    return SimpleNamespace(**(base | fields))


def resources(**fields: Any) -> Any:
    base: dict[str, Any] = {
        "devices": [],
        "memory": None,
        "cpu": None,
        "pids_limit": None,
        "block_io": None,
        "hugepage_limits": [],
        "unified": {},
    }
    return SimpleNamespace(**(base | fields))


def writes(**fields: Any) -> list[tuple[str, str]]:
    return [(setting.file, setting.value) for setting in settings(resources(**fields))]


def pointer_of_error(**fields: Any) -> str:
    with pytest.raises(InputError) as caught:
        settings(resources(**fields))
    assert str(caught.value).startswith("config.json: /linux/resources/")
    return caught.value.pointer.removeprefix("/linux/resources")


def test_nothing_asked_nothing_written() -> None:
    assert writes() == []
    assert writes(memory=memory(), cpu=cpu(), block_io=block_io()) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"limit": 1000}, [("memory.max", "1000")]),
        ({"limit": -1}, [("memory.swap.max", "max"), ("memory.max", "max")]),
        ({"limit": 0}, []),
        ({"limit": 1000, "swap": 3000}, [("memory.swap.max", "2000"), ("memory.max", "1000")]),
        ({"limit": 1000, "swap": 1000}, [("memory.swap.max", "0"), ("memory.max", "1000")]),
        ({"limit": 1000, "swap": -1}, [("memory.swap.max", "max"), ("memory.max", "1000")]),
        ({"limit": -1, "swap": 500}, [("memory.swap.max", "500"), ("memory.max", "max")]),
        ({"swap": -1}, [("memory.swap.max", "max")]),
        ({"reservation": 64}, [("memory.low", "64")]),
        ({"reservation": -1}, [("memory.low", "max")]),
    ],
)
def test_memory(fields: dict[str, int], expected: list[tuple[str, str]]) -> None:
    assert writes(memory=memory(**fields)) == expected


def test_memory_errors_name_the_field() -> None:
    assert pointer_of_error(memory=memory(swap=1000)) == "/memory/swap"
    assert pointer_of_error(memory=memory(limit=1000, swap=999)) == "/memory/swap"
    assert pointer_of_error(memory=memory(limit=-2)) == "/memory/limit"
    assert pointer_of_error(memory=memory(limit=1000, swap=-5)) == "/memory/swap"
    assert pointer_of_error(memory=memory(reservation=-7)) == "/memory/reservation"


def test_swap_of_nothing_needs_no_swap_accounting() -> None:
    found = settings(resources(memory=memory(limit=1000, swap=1000)))
    assert found[0].file == "memory.swap.max"
    assert found[0].optional
    real = settings(resources(memory=memory(limit=1000, swap=2000)))
    assert not real[0].optional


@pytest.mark.parametrize(
    ("shares", "weight"),
    # The points the curve is made for, and two values that runc's issues #4896 and #4772 measured.
    [(0, 1), (2, 1), (1024, 100), (2000, 170), (262144, 10000), (1 << 40, 10000)],
)
def test_shares_to_weight(shares: int, weight: int) -> None:
    assert weight_from_shares(shares) == weight


@given(st.integers(2, 1 << 18))
def test_more_shares_never_weigh_less(shares: int) -> None:
    assert 1 <= weight_from_shares(shares) <= weight_from_shares(shares + 1) <= 10000


def test_cpu() -> None:
    assert writes(cpu=cpu(shares=1024)) == [("cpu.weight", "100")]
    assert writes(cpu=cpu(shares=0)) == []
    assert writes(cpu=cpu(quota=5000)) == [("cpu.max", "5000 100000")]
    assert writes(cpu=cpu(quota=5000, period=20000)) == [("cpu.max", "5000 20000")]
    assert writes(cpu=cpu(quota=-1, period=20000)) == [("cpu.max", "max 20000")]
    assert writes(cpu=cpu(period=20000)) == [("cpu.max", "max 20000")]
    assert writes(cpu=cpu(quota=5000, burst=0)) == [
        ("cpu.max", "5000 100000"),
        ("cpu.max.burst", "0"),
    ]
    assert writes(cpu=cpu(cpus="0-1", mems="0")) == [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]
    assert writes(cpu=cpu(cpus="", mems="")) == []


def test_cpu_idle_and_weight_are_ordered_so_that_the_kernel_takes_both() -> None:
    assert writes(cpu=cpu(shares=1024, idle=1)) == [("cpu.weight", "100"), ("cpu.idle", "1")]
    assert writes(cpu=cpu(shares=1024, idle=0)) == [("cpu.idle", "0"), ("cpu.weight", "100")]


def test_pids_limit_zero_is_a_limit() -> None:
    assert writes(pids_limit=0) == [("pids.max", "0")]
    assert writes(pids_limit=-1) == [("pids.max", "max")]
    assert writes(pids_limit=7) == [("pids.max", "7")]
    assert pointer_of_error(pids_limit=-2) == "/pids/limit"


def test_block_io() -> None:
    found = settings(
        resources(block_io=block_io(weight=500, weight_device=[(8, 0, 10), (8, 16, 0)]))
    )
    assert [(s.file, s.value, s.other) for s in found] == [
        ("io.bfq.weight", "500", ("io.weight", str(io_weight(500)))),
        ("io.bfq.weight", "8:0 10", ("io.weight", "8:0 1")),
    ]
    assert io_weight(1000) == 10000
    assert pointer_of_error(block_io=block_io(weight=9)) == "/blockIO/weight"
    assert (
        pointer_of_error(block_io=block_io(weight_device=[(8, 0, 1001)]))
        == "/blockIO/weightDevice/0"
    )


def test_throttle() -> None:
    throttle = [("rbps", 8, 0, 1000), ("wiops", 8, 0, 0), ("rbps", 8, 16, 5)]
    found = settings(resources(block_io=block_io(throttle=throttle)))
    assert [(s.file, s.value) for s in found] == [
        ("io.max", "8:0 rbps=1000"),
        ("io.max", "8:0 wiops=max"),
        ("io.max", "8:16 rbps=5"),
    ]
    assert [s.pointer for s in found] == [
        "/linux/resources/blockIO/throttleReadBpsDevice/0",
        "/linux/resources/blockIO/throttleWriteIOPSDevice/0",
        "/linux/resources/blockIO/throttleReadBpsDevice/1",
    ]


def test_hugetlb_limits_usage_and_reservations() -> None:
    found = settings(resources(hugepage_limits=[("2MB", 4194304)]))
    assert [(s.file, s.value, s.optional) for s in found] == [
        ("hugetlb.2MB.max", "4194304", False),
        ("hugetlb.2MB.rsvd.max", "4194304", True),
    ]


@pytest.mark.parametrize(
    "size", ["", "2", "2M", "MB", "\u00b2MB", "02MB", "2mb", "-2MB", "2MB/../x", "2 MB"]
)
def test_hugetlb_refuses_odd_sizes(size: str) -> None:
    assert pointer_of_error(hugepage_limits=[(size, 1)]) == "/hugepageLimits/0/pageSize"


def test_unified_is_verbatim_line_by_line_and_last() -> None:
    unified = {"memory.high": "max", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "made.up": "x y"}
    assert writes(pids_limit=5, unified=unified) == [
        ("pids.max", "5"),
        ("memory.high", "max"),
        ("io.max", "8:0 rbps=1"),
        ("io.max", "8:16 rbps=2"),
        ("made.up", "x y"),
    ]


def test_unified_empty_value_is_still_a_write() -> None:
    assert writes(unified={"cpuset.cpus": ""}) == [("cpuset.cpus", "\n")]


def test_unified_controllers() -> None:
    unified = {"memory.high": "1", "cgroup.max.depth": "3", "odd": "1"}
    found = settings(resources(unified=unified))
    assert [s.controller for s in found] == ["memory", "", "odd"]


@pytest.mark.parametrize(
    ("key", "pointer"),
    [
        ("a/b", "/unified/a~1b"),
        ("../x", "/unified/..~1x"),
        ("~/", "/unified/~0~1"),
        ("", "/unified/"),
    ],
)
def test_unified_key_is_a_file_name(key: str, pointer: str) -> None:
    assert pointer_of_error(unified={key: "1"}) == pointer

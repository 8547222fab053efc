"""`update`: flags to linux.resources, what is completed, in which order, and what is put back."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from unit.test_cgroup_setup import FakeMount
from unit.test_resources import block_io, cpu, memory, resources

from shim.cli.options import Args, find_verb, parse_verb
from shim.cli.verbs.update import from_flags, size
from shim.engine import update
from shim.errors import InputError, KernelError, ShimError, UsageError
from shim.kernel.cgroup import Cgroup

NO_KERNEL: Any = None
CPU = ("cpu.max", "cpu.max.burst", "cpu.weight", "cpu.idle")
MEMORY = ("memory.max", "memory.swap.max", "memory.low")


class Journal(Cgroup):
    """A cgroup that keeps its writes and refuses those to `broken`."""

    written: list[tuple[str, str]]
    broken = ""

    def __enter__(self) -> Journal:
        return self

    def write(self, file: str, value: str) -> None:
        if file == self.broken:
            raise KernelError(f"write {value!r} to {file}", errno.EINVAL)
        if not self.has(file):
            raise KernelError(f"write {value!r} to {file}", errno.ENOENT)
        self.written.append((file, value))


def journal(fake: FakeMount, files: dict[str, str]) -> Journal:
    names = " ".join(sorted({name.partition(".")[0] for name in files}))
    fake.make("/a", names, *files).close()
    for name, text in files.items():
        (fake.top / "a" / name).write_text(text)
    group = Journal.open(fake.mount, "/a")
    assert isinstance(group, Journal)
    group.written = []
    return group


def change(fake: FakeMount, files: dict[str, str], **wanted: Any) -> list[tuple[str, str]]:
    with journal(fake, files) as group:
        update.change(group, resources(**wanted), fake.mount, NO_KERNEL, "limits.json")
        return group.written


@pytest.fixture
def fake(tmp_path: Path) -> FakeMount:
    return FakeMount(tmp_path)


def flags(*words: str) -> dict[str, Any]:
    args = Args()
    parse_verb(find_verb("update"), [*words, "web"], args)
    return from_flags(args)


def test_flags_become_a_resources_document() -> None:
    assert flags() == {}
    assert flags("--memory", "512M", "--memory-swap=-1", "--pids-limit", "0") == {
        "memory": {"limit": 512 << 20, "swap": -1},
        "pids": {"limit": 0},
    }
    assert flags(
        "--cpu-period", "100000", "--cpu-quota", "-1", "--cpu-burst", "5", "--cpu-share", "512",
        "--cpuset-cpus", "0-1", "--cpuset-mems", "0", "--cpu-idle", "1", "--blkio-weight", "500",
        "--memory-reservation", "1k",
    ) == {
        "cpu": {"period": 100000, "quota": -1, "burst": 5, "shares": 512, "cpus": "0-1",
                "mems": "0", "idle": 1},
        "blockIO": {"weight": 500},
        "memory": {"reservation": 1024},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("-1", -1), ("10", 10), ("10b", 10), ("1k", 1024), ("1KiB", 1024), ("1.5G", 3 << 29),
     ("2 gb", 2 << 30), ("1t", 1 << 40), ("0.1k", 102)],
)  # fmt: skip
def test_sizes_are_powers_of_1024(text: str, number: int) -> None:
    assert size("memory", text) == number


@pytest.mark.parametrize("text", ["", "k", "-2", "1e3", "1.", ".5", "0x10", "1kk", "1_0", "\u0663"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        size("memory", text)


@pytest.mark.parametrize(
    ("before", "asked", "after"),
    [
        ("50000 200000\n", {"quota": 70000}, "70000 200000"),
        ("50000 200000\n", {"period": 300000}, "50000 300000"),
        ("max 100000\n", {"period": 300000}, "max 300000"),
        ("50000 200000\n", {"quota": -1}, "max 200000"),
        ("50000 200000\n", {"quota": 1, "period": 2}, "1 2"),
    ],
)
def test_half_of_cpu_max_keeps_the_other_half(
    fake: FakeMount, before: str, asked: dict[str, int], after: str
) -> None:
    assert change(fake, {"cpu.max": before}, cpu=cpu(**asked)) == [("cpu.max", after)]


@pytest.mark.parametrize(
    ("burst", "order"),
    [(100, ["cpu.max.burst", "cpu.max"]), (9000, ["cpu.max", "cpu.max.burst"])],
)
def test_a_burst_is_lowered_first_and_raised_last(
    fake: FakeMount, burst: int, order: list[str]
) -> None:
    files = {"cpu.max": "5000 100000\n", "cpu.max.burst": "5000\n"}
    done = change(fake, files, cpu=cpu(quota=9000, burst=burst))
    assert [name for name, _ in done] == order


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ({"limit": 150}, [("memory.swap.max", "150"), ("memory.max", "150")]),
        ({"limit": 300}, [("memory.swap.max", "0"), ("memory.max", "300")]),
        ({"limit": -1}, [("memory.swap.max", "max"), ("memory.max", "max")]),
        ({"limit": 150, "swap": 160}, [("memory.swap.max", "10"), ("memory.max", "150")]),
        ({"swap": 500}, [("memory.swap.max", "400"), ("memory.max", "100")]),
        ({"swap": -1}, [("memory.swap.max", "max")]),
        ({"reservation": 7}, [("memory.low", "7")]),
    ],
)
def test_memory_and_swap_are_one_sum(
    fake: FakeMount, asked: dict[str, int], written: list[tuple[str, str]]
) -> None:
    files = {"memory.max": "100\n", "memory.swap.max": "200\n", "memory.low": "0\n"}
    assert change(fake, files, memory=memory(**asked)) == written


def test_a_limit_above_memory_and_swap_needs_a_new_sum(fake: FakeMount) -> None:
    files = {"memory.max": "100\n", "memory.swap.max": "200\n"}
    with pytest.raises(InputError, match=r"^limits.json: /linux/resources/memory/limit: 301 is"):
        change(fake, files, memory=memory(limit=301))


def test_unlimited_memory_has_no_sum_to_keep(fake: FakeMount) -> None:
    files = {"memory.max": "max\n", "memory.swap.max": "200\n"}
    assert change(fake, files, memory=memory(limit=50)) == [("memory.max", "50")]


def test_a_sum_without_any_memory_limit_is_refused(fake: FakeMount) -> None:
    files = {"memory.max": "max\n", "memory.swap.max": "max\n"}
    with pytest.raises(InputError, match="a swap limit needs a memory limit"):
        change(fake, files, memory=memory(swap=50))


def test_a_controller_that_is_missing_is_found_before_anything_is_written(fake: FakeMount) -> None:
    with journal(fake, {"pids.max": "9\n"}) as group:
        wanted = resources(pids_limit=4, cpu=cpu(quota=5), memory=memory(limit=3))
        with pytest.raises(ShimError, match="/linux/resources/memory/limit: memory controller is "):
            update.change(group, wanted, fake.mount, NO_KERNEL, "limits.json")
        assert group.written == []


def test_a_limit_below_what_is_in_use_is_refused_when_asked_for(fake: FakeMount) -> None:
    files = {"memory.max": "1000\n", "memory.current": "400\n"}
    with pytest.raises(ShimError, match="/memory/limit: 400 is not above the 400 bytes in use"):
        change(fake, files, memory=memory(limit=400, check_before_update=True))


def test_what_was_written_is_put_back_when_a_limit_is_refused(fake: FakeMount) -> None:
    files = {
        "pids.max": "9\n",
        "io.max": "8:0 rbps=5 wbps=max riops=max wiops=max\n7:0 rbps=1\n",
        "cpu.weight": "100\n",
        "cpu.max": "max 100000\n",
        "cpuset.cpus": "\n",
    }
    with journal(fake, files) as group:
        group.broken = "cpuset.cpus"
        wanted = resources(
            pids_limit=-1,
            block_io=block_io(throttle=[("rbps", 8, 0, 77), ("wbps", 9, 1, 3)]),
            cpu=cpu(shares=2, quota=5, cpus="9"),
        )
        with pytest.raises(KernelError, match=r"^/linux/resources/cpu/cpus: "):
            update.change(group, wanted, fake.mount, NO_KERNEL, "limits.json")
        assert group.written == [
            ("pids.max", "max"),
            ("io.max", "8:0 rbps=77"),
            ("io.max", "9:1 wbps=3"),
            ("cpu.weight", "1"),
            ("cpu.max", "5 100000"),
            ("cpu.max", "max 100000"),
            ("cpu.weight", "100"),
            ("io.max", "9:1 rbps=max wbps=max riops=max wiops=max"),
            ("io.max", "8:0 rbps=5 wbps=max riops=max wiops=max"),
            ("pids.max", "9"),
        ]


def test_an_empty_cpuset_gets_back_what_was_in_force_and_is_emptied(fake: FakeMount) -> None:
    files = {"cpuset.cpus": "\n", "cpuset.cpus.effective": "0-3\n", "cpuset.mems": "\n"}
    with journal(fake, files) as group:
        group.broken = "cpuset.mems"
        wanted = resources(cpu=cpu(cpus="0", mems="9"))
        with pytest.raises(KernelError):
            update.change(group, wanted, fake.mount, NO_KERNEL, "limits.json")
        assert group.written == [
            ("cpuset.cpus", "0"),
            ("cpuset.cpus", "0-3"),
            ("cpuset.cpus", "\n"),
        ]


@pytest.mark.parametrize("name", ["io.bfq.weight", "io.weight"])
def test_a_weight_is_put_back_whatever_devices_have(fake: FakeMount, name: str) -> None:
    files = {name: "default 100\n8:0 300\n", "cpuset.mems": "\n"}
    with journal(fake, files) as group:
        group.broken = "cpuset.mems"
        weights = block_io(weight=1000, weight_device=[(8, 0, 10), (9, 0, 10)])
        with pytest.raises(KernelError):
            update.change(
                group, resources(block_io=weights, cpu=cpu(mems="9")), fake.mount, NO_KERNEL, "x"
            )
        assert group.written[-3:] == [
            (name, "9:0 default"),
            (name, "8:0 300"),
            (name, "default 100"),
        ]

"""What the files of a cgroup say, and what comes of files that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from unit.test_cgroup_setup import FakeMount

from shim.kernel.cgroup_stats import UNLIMITED, measure

FILES = {
    "cpu.stat": "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 9\nnr_throttled 2\n"
    "throttled_usec 55\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=12\n",
    "memory.current": "100\n",
    "memory.peak": "150\n",
    "memory.max": "max\n",
    "memory.stat": "anon 5\nfile 6\n",
    "memory.events": "low 0\nhigh 0\nmax 8\noom 1\noom_kill 1\n",
    "memory.swap.current": "0\n",
    "memory.swap.max": "30\n",
    "pids.current": "3\n",
    "pids.peak": "4\n",
    "pids.max": "10\n",
    "pids.events": "max 2\n",
    "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n7:0 \n254:1 rbytes=5\n",
    "hugetlb.2MB.current": "2097152\n",
    "hugetlb.2MB.max": "max\n",
    "hugetlb.2MB.events": "max 1\n",
    "hugetlb.2MB.rsvd.current": "9\n",
}


def measured(tmp_path: Path, files: dict[str, str]) -> dict[str, Any]:
    fake = FakeMount(tmp_path)
    with fake.make("/a", "", *files) as group:
        for name, text in files.items():
            (tmp_path / "a" / name).write_text(text)
        return measure(group)


def test_every_number(tmp_path: Path) -> None:
    assert measured(tmp_path, FILES) == {
        "cpu": {"usageUsec": 7, "userUsec": 4, "systemUsec": 3, "periods": 9,
                "throttledPeriods": 2, "throttledUsec": 55},
        "memory": {"currentBytes": 100, "peakBytes": 150, "limitBytes": UNLIMITED, "limitHits": 8,
                   "cacheBytes": 6, "swapBytes": 0, "swapLimitBytes": 30, "oomKills": 1,
                   "stat": {"anon": 5, "file": 6}},
        "pids": {"current": 3, "peak": 4, "limit": 10, "limitHits": 2},
        "io": [{"major": 8, "minor": 0, "readBytes": 1, "writeBytes": 2, "readOps": 3,
                "writeOps": 4, "discardBytes": 0, "discardOps": 0},
               {"major": 254, "minor": 1, "readBytes": 5}],
        "hugetlb": {"2MB": {"currentBytes": 2097152, "limitBytes": UNLIMITED, "limitHits": 1}},
        "pressure": {"cpu": {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 12}},
                     "memory": None, "io": None},
    }  # fmt: skip


@pytest.mark.parametrize("there", [True, False])
def test_what_the_kernel_does_not_say_is_none(tmp_path: Path, there: bool) -> None:
    found = measured(tmp_path, {}) if there else measure(None)
    assert found["io"] is None
    assert found["hugetlb"] == {}
    memory = found["memory"]
    assert memory.pop("stat") == {}
    for section in (found["cpu"], memory, found["pids"], found["pressure"]):
        assert set(section.values()) == {None}

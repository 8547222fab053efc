"""The table and JSON of `stats`, and runc's event."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.test_cgroup_stats import FILES, measured

from shim.cli.oci_stats import duration
from shim.errors import UsageError
from shim.kernel.cgroup_stats import measure
from shim.view.stats import as_table, oci_event, record, size


def test_a_record_has_null_for_no_limit_and_for_no_number(tmp_path: Path) -> None:
    full = record("web", "running", 3, 4096, measured(tmp_path, FILES))
    assert full["memory"] == {
        "currentBytes": 100, "peakBytes": 150, "limitBytes": None, "limitHits": 8, "cacheBytes": 6,
        "swapBytes": 0, "swapLimitBytes": 30, "oomKills": 1, "rssBytes": 4096,
    }  # fmt: skip
    assert full["io"] == {"readBytes": 6, "writeBytes": 2, "readOps": 3, "writeOps": 4}
    assert full["pids"]["limit"] == 10
    assert full["hugetlb"]["2MB"]["limitBytes"] is None
    empty = record("web", "stopped", 0, None, measure(None))
    assert set(empty["io"].values()) == {None}
    assert (empty["processes"], empty["memory"]["rssBytes"]) == (0, None)


def test_the_table(tmp_path: Path) -> None:
    rows = [
        record("web", "running", 3, 1536, measured(tmp_path, {**FILES, "memory.max": "67108864"})),
        record("db", "stopped", 0, None, measure(None)),
    ]
    assert as_table(rows) == (
        "ID    STATUS    PROCESSES   CPU     MEMORY   LIMIT     RSS      READ   WRITTEN\n"
        "web   running   3           0.00s   100B     64.0MiB   1.5KiB   6B     2B\n"
        "db    stopped   0           -       -        -         -        -      -\n"
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, None), (0, "0B"), (1023, "1023B"), (1024, "1.0KiB"), (3 << 29, "1.5GiB"),
     (5 << 50, "5120.0TiB")],
)  # fmt: skip
def test_sizes(number: int | None, text: str | None) -> None:
    assert size(number) == text


def test_the_event_is_runc_s(tmp_path: Path) -> None:
    unlimited = 2**64 - 1
    assert oci_event("web", measured(tmp_path, FILES)) == {
        "type": "stats",
        "id": "web",
        "data": {
            "cpu": {
                "usage": {"total": 7000, "kernel": 3000, "user": 4000},
                "throttling": {"periods": 9, "throttledPeriods": 2, "throttledTime": 55000},
                "psi": {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 12}},
            },
            "memory": {
                "cache": 6,
                "usage": {"limit": unlimited, "usage": 100, "max": 150, "failcnt": 8},
                "swap": {"limit": unlimited, "usage": 100},
                "raw": {"anon": 5, "file": 6},
            },
            "pids": {"current": 3, "limit": 10},
            "blkio": {
                "ioServiceBytesRecursive": [
                    {"major": 8, "minor": 0, "op": "Read", "value": 1},
                    {"major": 8, "minor": 0, "op": "Write", "value": 2},
                    {"major": 8, "minor": 0, "op": "Discard", "value": 0},
                    {"major": 254, "minor": 1, "op": "Read", "value": 5},
                ],
                "ioServicedRecursive": [
                    {"major": 8, "minor": 0, "op": "Read", "value": 3},
                    {"major": 8, "minor": 0, "op": "Write", "value": 4},
                    {"major": 8, "minor": 0, "op": "Discard", "value": 0},
                ],
            },
            "hugetlb": {"2MB": {"usage": 2097152, "failcnt": 1}},
        },
    }


def test_the_event_leaves_out_what_is_not_known() -> None:
    data = oci_event("web", measure(None))["data"]
    assert data == {
        "cpu": {"usage": {}, "throttling": {}},
        "memory": {"usage": {}, "swap": {}},
        "pids": {},
        "blkio": {},
        "hugetlb": {},
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), ("1000us", 0.001), ("24h", 86400)],
)
def test_go_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "0s", "-1s", "1x", "25h", "1e3s", "1..5s", "9" * 20]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        duration(text)

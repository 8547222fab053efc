"""`shim stats` and `events --stats` against the kernel's own files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.runtime import Runtime

BURN = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; : >/tmp/burnt; exec sleep 1000"


def stats(rt: Runtime, *ids: str) -> Any:
    result = rt.shim("stats", "--format", "json", *ids)
    assert result.code == 0, result
    return json.loads(result.out)


def usage(rt: Runtime) -> int:
    base = Path(rt.mount.path) / f"{rt.cgroup}/c0".lstrip("/")
    return int((base / "cpu.stat").read_text().split()[1])


def test_cpu_is_what_the_kernel_counted(rt: Runtime) -> None:
    rt.running("sh", "-c", BURN)
    assert rt.exec("c", "sh", "-c", "until [ -e /tmp/burnt ]; do sleep 0.02; done").code == 0
    before = usage(rt)
    (one,) = stats(rt, "c")
    assert before <= one["cpu"]["usageUsec"] <= usage(rt)
    assert one["cpu"]["usageUsec"] > 20_000
    assert (one["id"], one["status"], one["processes"]) == ("c", "running", 1)
    assert one["memory"]["rssBytes"] > 0
    event = json.loads(rt.shim("events", "--stats", "c").out)
    assert (event["type"], event["id"]) == ("stats", "c")
    assert before * 1000 <= event["data"]["cpu"]["usage"]["total"] <= usage(rt) * 1000


def test_exec_counts_against_the_container(rt: Runtime) -> None:
    rt.running()
    before = stats(rt, "c")[0]["cpu"]["usageUsec"]
    assert rt.exec("c", "sh", "-c", BURN.replace("exec sleep 1000", "true")).code == 0
    assert stats(rt, "c")[0]["cpu"]["usageUsec"] > before + 20_000


def test_numbers_without_a_controller_are_null(rt: Runtime) -> None:
    if "memory" in rt.mount.controllers or "pids" in rt.mount.controllers:
        pytest.skip("this machine's cgroup2 mount has these controllers")
    rt.running()
    (one,) = stats(rt, "c")
    assert one["memory"]["currentBytes"] is None
    assert one["pids"] == {"current": None, "peak": None, "limit": None, "limitHits": None}
    data = json.loads(rt.shim("events", "--stats", "c").out)["data"]
    assert (data["memory"]["usage"], data["pids"]) == ({}, {})


def test_a_stopped_container_has_stats_but_no_event(rt: Runtime) -> None:
    rt.running()
    init = os.pidfd_open(rt.state("c")["pid"])
    assert rt.kill("c").code == 0
    assert rt.ended(init)
    os.close(init)
    (one,) = stats(rt, "c")
    assert (one["status"], one["processes"], one["memory"]["rssBytes"]) == ("stopped", 0, None)
    result = rt.shim("events", "--stats", "c")
    assert (result.code, result.line) == (1, 'shim: cannot events "c": container not running')


def test_one_missing_container_does_not_hide_the_other(rt: Runtime) -> None:
    rt.running()
    result = rt.shim("stats", "nosuch", "c")
    assert result.code == 1
    assert result.line == 'shim: cannot stats "nosuch": container does not exist'
    assert [line.split()[0] for line in result.out.splitlines()] == ["ID", "c"]


def test_a_stream_of_events_ends_with_the_container(rt: Runtime) -> None:
    rt.running()
    process = rt.spawn("events", "--stats", "-f", "--interval", "20ms", "c", stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as stream:
        lines = [json.loads(stream.readline()) for _ in range(3)]
        assert {line["type"] for line in lines} == {"stats"}
        assert rt.kill("c").code == 0
        stream.read()
    assert process.wait(5) == 0

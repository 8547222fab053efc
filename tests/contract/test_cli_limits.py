"""What `update`, `stats` and `events --stats` refuse. No container needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shimcli import shim


@pytest.mark.parametrize(
    "flag",
    ["kernel-memory", "kernel-memory-tcp", "cpu-rt-period", "cpu-rt-runtime", "l3-cache-schema",
     "mem-bw-schema"],
)  # fmt: skip
def test_limits_that_cgroup_v2_does_not_have_are_refused_by_name(flag: str) -> None:
    result = shim("update", f"--{flag}", "1", "web")
    assert result.returncode == 1
    assert result.stderr == (
        f'shim: cannot update "web": --{flag}: not supported by this version\n'
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "nothing to update: give a limit or --resources FILE"),
        (["-r", "-", "--pids-limit", "3"], "exclude each other"),
        (["--memory", "12X"], "flag --memory: '12X' is not a size such as 512M or 1.5G, or -1"),
        (["--cpu-quota", "1.5"], "flag --cpu-quota: '1.5' is not a whole number"),
        (["--pids-limit", ""], "flag --pids-limit: '' is not a whole number"),
    ],
)
def test_update_without_a_limit_that_can_be_read_is_a_usage_error(
    flags: list[str], words: str
) -> None:
    result = shim("update", *flags, "web")
    assert result.returncode == 2
    assert words in result.stderr.splitlines()[0]


def test_update_names_the_field_that_makes_no_sense(tmp_path: Path) -> None:
    result = shim("update", "--blkio-weight", "1001", "web")
    assert result.returncode == 1
    assert result.stderr.startswith(
        'shim: cannot update "web": command line: /blockIO/weight: must be '
    )
    file = tmp_path / "limits.json"
    file.write_text('{"pids": {"limit": "many"}}')
    result = shim("update", "--resources", str(file), "web")
    assert result.stderr == (
        f'shim: cannot update "web": {file}: /pids/limit: must be an integer, not a string\n'
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--stats"], "ID is missing: --stats is about one container"),
        (["--interval", "5s"], "flag --interval is for --stats"),
        (["--stats", "--interval", "5", "web"], "flag --interval: '5' is not a time"),
        (["--stats", "--interval", "0s", "web"], "flag --interval: '0s' is not a time"),
    ],
)
def test_events_stats_is_about_one_container(flags: list[str], words: str) -> None:
    result = shim("events", *flags)
    assert result.returncode == 2
    assert words in result.stderr.splitlines()[0]


def test_stats_of_several_containers_names_the_one_that_failed(tmp_path: Path) -> None:
    result = shim("--root", str(tmp_path / "root"), "stats", "--format", "json", "a", "b")
    assert result.returncode == 1
    assert json.loads(result.stdout) == []
    assert result.stderr == (
        'shim: cannot stats "a": container does not exist\n'
        'shim: cannot stats "b": container does not exist\n'
    )

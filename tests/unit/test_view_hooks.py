"""The hook table, and `describe` around it."""

from __future__ import annotations

from typing import Any

from shim.view import hooks
from shim.view.describe import describe, handler

DELIVERY: dict[str, Any] = {
    "hook": "preStop",
    "handler": "exec",
    "attempt": 1,
    "trigger": "stop",
    "startedAt": "2026-01-01T00:00:00.000000Z",
    "finishedAt": "2026-01-01T00:00:01.250000Z",
    "durationSeconds": 1.25,
    "outcome": "succeeded",
    "exitCode": 0,
    "signal": None,
    "error": None,
    "output": "one\n\x1b]0;title\x07two\n",
    "outputTruncated": False,
    "usage": {"cpuUsec": 12300},
}


def row(**change: Any) -> list[str]:
    header, line = hooks.as_table([{**DELIVERY, **change}]).splitlines()
    starts = [header.index(name) for name in hooks.HEADER]
    ends = [*starts[1:], len(line)]
    return [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def test_a_row() -> None:
    assert row() == [
        "preStop", "exec", "1", "stop", "2026-01-01T00:00:00.000000Z", "1.25s", "12.3ms",
        "succeeded", "0", "\\e]0;title\\x07two",
    ]  # fmt: skip


def test_unknown_numbers_are_dashes_not_zeros() -> None:
    cells = row(durationSeconds=None, usage={}, outcome=None, exitCode=None)
    assert cells[5:9] == ["-", "-", "running", "-"]


def test_a_signal_stands_in_the_exit_column() -> None:
    assert row(exitCode=None, signal=9)[8] == "signal 9"


def test_without_output_the_error_is_shown_and_long_lines_are_cut() -> None:
    assert row(output="", error="timed out")[-1] == "timed out"
    assert len(row(output="x" * 500)[-1]) == 80


def test_hk_06_no_control_byte_of_a_hook_reaches_the_terminal() -> None:
    everything = "".join(map(chr, range(0x100)))
    shown = hooks.as_table([{**DELIVERY, "output": everything, "error": everything}])
    assert all(line.isprintable() for line in shown.splitlines())


def test_handlers() -> None:
    assert handler({"exec": {"command": ["nginx", "-s", "quit"]}}) == "exec [nginx -s quit]"
    assert handler({"sleep": {"seconds": 5}, "timeoutSeconds": 2}) == "sleep 5s timeout=2s"
    assert handler(None) is None


FACTS: dict[str, Any] = {
    "oci": {
        "id": "web",
        "status": "stopped",
        "pid": 0,
        "bundle": "/b",
        "rootfs": "/b/rootfs",
        "created": "2026-01-01T00:00:00.000000Z",
        "annotations": {"b": "2", "a": "1\x1b"},
        "lifecycle": {"monitorPid": None, "deadline": None},
    },
    "state": {
        "cgroup": {"path": "/shim/web"},
        "exit": {"exitCode": None, "signal": 9, "at": "T", "reason": "KilledAfterGracePeriod"},
        "lifecycle": {
            "postStart": None,
            "preStop": {"exec": {"command": ["true"]}},
            "stopSignal": "SIGTERM",
            "terminationGracePeriodSeconds": 30,
            "profile": "contract",
            "restartPolicy": "Never",
            "source": "annotations",
        },
        "restartCount": 0,
    },
    "phase": "stopped",
    "deliveries": [],
    "events": [],
}

GOLDEN = """\
Name:         web
Status:       stopped
Phase:        stopped
PID:          <none>
Monitor:      <none>
Bundle:       /b
Root:         /b/rootfs
Cgroup:       /shim/web
Created:      2026-01-01T00:00:00.000000Z
Started:      <none>
Deadline:     <none>
Restarts:     0
Annotations:  a=1\\e
              b=2
Exit:
  Code:       <none>
  Signal:     9
  Reason:     KilledAfterGracePeriod
  Finished:   T
Lifecycle:
  postStart:  <none>
  preStop:    exec [true]
  stopSignal: SIGTERM
  grace:      30s
  profile:    contract
  restart:    Never
  source:     annotations
Hooks:        <none>
Events:       <none>
"""


def test_describe_golden() -> None:
    assert describe(FACTS, 0.0) == GOLDEN


def test_describe_with_hooks_and_events_has_their_tables_indented() -> None:
    started = {
        "time": "2026-01-01T00:00:00Z", "type": "Normal", "reason": "Started", "message": "m",
    }  # fmt: skip
    shown = describe({**FACTS, "deliveries": [DELIVERY], "events": [started]}, 0.0)
    assert "Started:      2026-01-01T00:00:00Z\n" in shown
    assert "\nHooks:\n  HOOK " in shown
    assert "\nEvents:\n  Type " in shown

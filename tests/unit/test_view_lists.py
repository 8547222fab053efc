"""`list` and `ps` tables."""

from __future__ import annotations

from shim.view.lists import containers, process_table


def test_containers() -> None:
    state = {
        "id": "web", "pid": 12, "status": "running", "bundle": "/b", "created": "T",
        "owner": "root", "lifecycle": {"phase": "starting"},
    }  # fmt: skip
    assert containers([state, {**state, "id": "db", "lifecycle": None}]) == (
        "ID    PID   STATUS    PHASE      BUNDLE   CREATED   OWNER\n"
        "web   12    running   starting   /b       T         root\n"
        "db    12    running   -          /b       T         root\n"
    )


def test_processes() -> None:
    process = {
        "user": "root", "pid": 12, "ppid": 1, "started": 3660.0, "tty": "/dev/pts/1", "cpu": 3725.4,
        "command": ["sh", "-c", "\x1b"],
    }  # fmt: skip
    assert process_table([process, {**process, "tty": None}], zone="utc") == (
        "UID    PID   PPID   STIME   TTY     TIME       CMD\n"
        "root   12    1      01:01   pts/1   01:02:05   sh -c \\e\n"
        "root   12    1      01:01   ?       01:02:05   sh -c \\e\n"
    )

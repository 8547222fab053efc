"""What the reading verbs print: shapes that users and engines parse. No live container needed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from shimcli import shim

from shim.cli.table import VERBS
from shim.model import event
from shim.model.store import Store

CONFIG_SCHEMA_KEYS = {"ociVersion", "process", "root", "hostname", "mounts", "linux"}


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A root with one stopped container that has a history."""
    path = str(tmp_path / "root")
    add(path, "web")
    return path


def add(root: str, id: str, second: int = 0) -> None:
    directory = Store(root).create(id)
    directory.write_state(
        {
            "ociVersion": "1.3.0",
            "id": id,
            "bundle": "/b",
            "rootfs": "/b/rootfs",
            "created": "2026-01-01T00:00:00.000000Z",
            "owner": "root",
            "annotations": {},
            "pid": None,
            "status": "stopped",
            "phase": "stopped",
            "lifecycle": None,
            "exit": {"exitCode": 3, "signal": None, "at": "T", "reason": "Exited"},
        }
    )
    at = (second + 1_700_000_000) * 10**9
    directory.append(event.event("Normal", "Created", "made \x1b[1m", id, at))
    directory.append(event.event("Normal", "Exited", "status 3", id, at + 2 * 10**9))
    hook = {"hook": "preStop", "handler": "exec", "attempt": 1, "trigger": "stop", "time": "T"}
    directory.append({"t": "intent", "n": 1, **hook})
    directory.append({"t": "done", "n": 1, "outcome": "succeeded", "exitCode": 0, "usage": {}})
    directory.write_bytes("hooks/1.out", b"drained\xff\n")
    directory.write_bytes(
        "log", b"T stdout F out 1\nT stderr F err\nT stdout P out\nT stdout F  2\nT stdout F to"
    )


def ok(root: str, *argv: str) -> str:
    result = shim("--root", root, *argv)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_version_as_docker_parses_it() -> None:
    for flag in ("--version", "-v"):
        lines = shim(flag).stdout.splitlines()
        assert lines[0].startswith("shim version ")
        assert lines[1].startswith("commit: ")
        assert lines[2:] == ["spec: 1.3.0"]


def test_help_lists_every_verb_and_none_that_only_refuses() -> None:
    shown = shim("--help").stdout
    for name, verb in VERBS.items():
        assert (f"\n  {name} " in shown) == (not verb.answer)
    assert shim("-h").stdout == shim("help").stdout == shown


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if not verb.answer])
def test_help_of_a_verb_names_every_flag_it_honours(name: str) -> None:
    result = shim(name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"usage: shim {name}")
    for flag in VERBS[name].flags:
        assert (f"--{flag.name}" in result.stdout) == (not flag.refused)
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_state_has_the_keys_of_runc_and_lifecycle(root: str) -> None:
    state = json.loads(ok(root, "state", "web"))
    assert list(state) == [
        "ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner",
        "lifecycle",
    ]  # fmt: skip
    assert (state["status"], state["pid"], state["lifecycle"]) == ("stopped", 0, None)


def test_list(root: str) -> None:
    add(root, "db")
    assert ok(root, "list", "-q") == "db\nweb\n"
    assert [entry["id"] for entry in json.loads(ok(root, "list", "-f", "json"))] == ["db", "web"]
    header, *rows = ok(root, "list").splitlines()
    assert header.split() == ["ID", "PID", "STATUS", "PHASE", "BUNDLE", "CREATED", "OWNER"]
    assert [row.split()[0] for row in rows] == ["db", "web"]


def test_an_empty_list_is_an_empty_array(tmp_path: Path) -> None:
    assert ok(str(tmp_path / "none"), "list", "--format=json") == "[]\n"


def test_st_08_list_reports_what_it_cannot_read_and_shows_the_rest(root: str) -> None:
    add(root, "bad")
    os.unlink(os.path.join(root, "bad", "state.json"))
    os.mkfifo(os.path.join(root, "bad", "state.json"))
    result = shim("--root", root, "list", "--format", "json")
    assert [entry["id"] for entry in json.loads(result.stdout)] == ["web"]
    assert result.stderr.startswith('shim: cannot list "bad": corrupt state')
    assert result.returncode == 1


def test_events_json_is_one_object_a_line_oldest_first(root: str) -> None:
    add(root, "db", second=1)
    records = [json.loads(line) for line in ok(root, "events", "--format", "json").splitlines()]
    assert [(r["container"], r["reason"]) for r in records] == [
        ("web", "Created"), ("db", "Created"), ("web", "Exited"), ("db", "Exited"),
    ]  # fmt: skip
    assert all(
        list(r) == ["time", "type", "reason", "message", "container", "count"] for r in records
    )
    only = ok(root, "events", "--format=json", "db").splitlines()
    assert [json.loads(line)["container"] for line in only] == ["db", "db"]


def test_events_table_has_no_control_bytes(root: str) -> None:
    shown = ok(root, "events", "web")
    assert shown.splitlines()[0].split() == ["TIME", "TYPE", "REASON", "CONTAINER", "MESSAGE"]
    assert "\x1b" not in shown
    assert "made \\e[1m" in shown


def test_hooks_json_in_contract_shape(root: str) -> None:
    (delivery,) = json.loads(ok(root, "hooks", "--format", "json", "web"))
    assert list(delivery) == [
        "hook", "handler", "attempt", "trigger", "startedAt", "finishedAt", "durationSeconds",
        "outcome", "exitCode", "signal", "error", "output", "outputTruncated", "usage",
    ]  # fmt: skip
    assert delivery["output"] == "drained\\xff\n"
    assert delivery["durationSeconds"] is None


def test_no_hooks_is_an_empty_array(root: str) -> None:
    os.unlink(os.path.join(root, "web", "journal.jsonl"))
    assert json.loads(ok(root, "hooks", "--format", "json", "web")) == []


def test_hooks_table(root: str) -> None:
    header, row = ok(root, "hooks", "web").splitlines()
    assert header.split() == [
        "HOOK", "HANDLER", "ATTEMPT", "TRIGGER", "STARTED", "DURATION", "CPU", "OUTCOME", "EXIT",
        "OUTPUT",
    ]  # fmt: skip
    assert row.endswith("drained\\xff")


def test_describe_has_kubectls_shape(root: str) -> None:
    lines = ok(root, "describe", "web").splitlines()
    assert lines[0] == "Name:         web"
    names = [line.split(":")[0] for line in lines if not line.startswith(" ")]
    assert names[:4] == ["Name", "Status", "Phase", "PID"]
    assert names[-4:] == ["Exit", "Lifecycle", "Hooks", "Events"]
    assert "  Type    Reason   Age" in ok(root, "describe", "web")


def test_logs_go_to_the_stream_they_came_from(root: str) -> None:
    result = shim("--root", root, "logs", "web")
    assert (result.returncode, result.stdout, result.stderr) == (0, "out 1\nout 2\n", "err\n")


def test_logs_of_a_container_without_a_log(root: str) -> None:
    os.unlink(os.path.join(root, "web", "log"))
    result = shim("--root", root, "logs", "web")
    assert result.returncode == 1
    assert "no log is kept" in result.stderr


def test_spec_writes_once(tmp_path: Path) -> None:
    assert shim("spec", "-b", str(tmp_path)).returncode == 0
    config: dict[str, Any] = json.loads((tmp_path / "config.json").read_text())
    assert set(config) >= CONFIG_SCHEMA_KEYS
    (tmp_path / "config.json").write_text("mine")
    result = shim("spec", "--bundle", str(tmp_path))
    assert result.returncode == 1
    assert "file exists" in result.stderr
    assert (tmp_path / "config.json").read_text() == "mine"


def test_bundle_from_the_host_and_from_a_directory(tmp_path: Path) -> None:
    host = tmp_path / "host"
    assert shim("bundle", str(host), "--", "nginx", "-g", "x").returncode == 0
    assert (host / "rootfs").is_dir()
    config = json.loads((host / "config.json").read_text())
    assert config["process"]["args"] == ["nginx", "-g", "x"]
    made = shim("bundle", str(tmp_path / "dir"), "--from", f"dir:{host}", "--", "sh")
    assert made.returncode == 0, made.stderr
    config = json.loads((tmp_path / "dir" / "config.json").read_text())
    assert config["root"]["path"] == str(host)


def test_bundle_refuses_other_sources_and_missing_directories(tmp_path: Path) -> None:
    result = shim("bundle", str(tmp_path / "x"), "--from", "oci:alpine")
    assert result.returncode == 2
    result = shim("bundle", str(tmp_path / "x"), "--from", "dir:/no/such")
    assert result.returncode == 1
    assert "/no/such: not a directory" in result.stderr
    assert not (tmp_path / "x" / "config.json").exists()


def test_ps_of_a_stopped_container_is_empty(root: str) -> None:
    result = shim("--root", root, "ps", "--format", "json", "web")
    assert result.returncode == 1
    assert "no cgroup" in result.stderr

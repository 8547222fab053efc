"""HK-12: what a delivery is when the container ends while its hook runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from shimcli import command, shim

# PID 1 ends at USR1; a shell without a trap would not get the signal at all
MAIN = ["sh", "-c", "trap 'exit 3' USR1; while :; do sleep 1000 & wait; done"]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[str]:
    root = f"/dev/shm/shim-test-{tmp_path.name}"
    yield root
    shim("--root", root, "delete", "--force", "web")
    subprocess.run(["rm", "-rf", root], check=True)


def run_with(root: str, tmp_path: Path, lifecycle: object) -> None:
    """`run -d` of MAIN in the host bundle."""
    made = shim("bundle", str(tmp_path / "bundle"), "--from", "host", "--", *MAIN)
    assert made.returncode == 0, made.stderr
    (tmp_path / "lifecycle.json").write_text(json.dumps(lifecycle))
    flags = ["--bundle", str(tmp_path / "bundle"), "--lifecycle", str(tmp_path / "lifecycle.json")]
    with (tmp_path / "stderr").open("w+") as errors:
        argv = command("--root", root, "run", "-d", *flags, "web")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        code = subprocess.run(argv, stderr=errors, check=False, timeout=30, **quiet).returncode  # type: ignore[call-overload]
        errors.seek(0)
        assert code == 0, errors.read()


def facts(root: str) -> tuple[dict[str, object], list[str]]:
    """(the last delivery, the reasons of all events)."""
    deliveries = json.loads(shim("--root", root, "hooks", "--format", "json", "web").stdout)
    lines = shim("--root", root, "events", "--format", "json", "web").stdout.splitlines()
    return deliveries[-1], [json.loads(line)["reason"] for line in lines]


def test_hk_12_container_that_drains_in_pre_stop(root: str, tmp_path: Path) -> None:
    """The hook makes the container end, as `nginx -s quit` does: no failure, no signal."""
    hook = {"exec": {"command": ["sh", "-c", "kill -USR1 1; exec sleep 1000"]}}
    run_with(root, tmp_path, {"lifecycle": {"preStop": hook}})
    stopped = shim("--root", root, "stop", "web")
    assert stopped.returncode == 0, stopped.stderr
    delivery, reasons = facts(root)
    assert (delivery["outcome"], delivery["error"]) == ("interrupted", "the container exited")
    assert reasons == ["Created", "Started", "Killing", "Exited"]
    assert shim("--root", root, "wait", "web").stdout.split()[-1] == "3"


def test_hk_10_hook_that_is_killed_on_its_own_has_failed(root: str, tmp_path: Path) -> None:
    hook = {"exec": {"command": ["sh", "-c", "kill -KILL $$"]}}
    document = {"lifecycle": {"preStop": hook, "stopSignal": "USR1"}}
    run_with(root, tmp_path, document)
    stopped = shim("--root", root, "stop", "web")
    assert stopped.returncode == 0, stopped.stderr
    delivery, reasons = facts(root)
    assert (delivery["outcome"], delivery["signal"]) == ("failed", 9)
    assert "FailedPreStopHook" in reasons
    assert reasons[-1] == "Exited"

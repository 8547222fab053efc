"""A container as it is now: the record checked against the live process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shim.errors import NotFoundError, NotRunningError, ShimError
from shim.kernel import proc
from shim.model.container import Container
from shim.model.store import Store

LIFECYCLE = {
    "postStart": None,
    "preStop": None,
    "stopSignal": "SIGTERM",
    "terminationGracePeriodSeconds": 30,
    "profile": "contract",
    "restartPolicy": "Never",
    "source": "default",
}


@pytest.fixture
def live() -> Iterator[dict[str, Any]]:
    """The identity of a process that lives until the end of the test."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    fd = os.pidfd_open(pid)
    yield {
        "pid": pid,
        "bootId": proc.boot_id(),
        "startTime": proc.start_time(pid),
        "pidfsIno": proc.pidfs_ino(fd),
    }
    os.close(fd)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Container]:
    def build(**state: Any) -> Container:
        directory = Store(str(tmp_path / "root")).create("web")
        directory.write_state(
            {
                "ociVersion": "1.3.0",
                "id": "web",
                "bundle": "/b",
                "rootfs": "/b/rootfs",
                "created": "2026-01-01T00:00:00.000000Z",
                "owner": "root",
                "annotations": {"a": "b"},
                **state,
            }
        )
        return Container(directory)

    return build


@pytest.mark.parametrize("recorded", ["created", "running"])
def test_a_live_process_keeps_the_recorded_status(
    make: Callable[..., Container], live: dict[str, Any], recorded: str
) -> None:
    container = make(status=recorded, **live)
    assert container.status() == recorded
    assert container.is_alive()
    os.close(container.open_init())


@pytest.mark.parametrize(
    "change", [{"pid": 1}, {"pid": -1}, {"startTime": 1}, {"startTime": None}, {"bootId": "x"}]
)
def test_st_06_another_process_means_stopped(
    make: Callable[..., Container], live: dict[str, Any], change: dict[str, Any]
) -> None:
    container = make(status="running", phase="running", **{**live, **change})
    assert container.status() == "stopped"
    assert container.phase() == "stopped"
    assert container.oci_state()["pid"] == 0
    with pytest.raises(NotRunningError):
        container.open_init()


def test_a_status_nobody_knows_means_stopped(
    make: Callable[..., Container], live: dict[str, Any]
) -> None:
    assert make(status="flying", **live).status() == "stopped"


def test_creating_without_a_process_is_creating(make: Callable[..., Container]) -> None:
    assert make(status="creating", pid=None).status() == "creating"


def test_oci_state_keys_and_order(make: Callable[..., Container], live: dict[str, Any]) -> None:
    state = make(status="running", lifecycle=None, **live).oci_state()
    assert state == {
        "ociVersion": "1.3.0",
        "id": "web",
        "pid": live["pid"],
        "status": "running",
        "bundle": "/b",
        "rootfs": "/b/rootfs",
        "created": "2026-01-01T00:00:00.000000Z",
        "annotations": {"a": "b"},
        "owner": "root",
        "lifecycle": None,
    }


def test_lifecycle_in_contract_shape(make: Callable[..., Container], live: dict[str, Any]) -> None:
    container = make(
        status="running",
        phase="terminating",
        deadline=time.clock_gettime(time.CLOCK_BOOTTIME) + 3600,
        lifecycle=LIFECYCLE,
        monitor={key: live[key] for key in ("pid", "bootId", "startTime")},
        **live,
    )
    lifecycle = container.lifecycle_state()
    assert lifecycle is not None
    deadline = lifecycle.pop("deadline")
    assert lifecycle == {
        "phase": "terminating",
        "monitorPid": live["pid"],
        "gracePeriodSeconds": 30,
        "stopSignal": "SIGTERM",
        "profile": "contract",
        "restartCount": 0,
    }
    assert deadline.endswith("0000Z")
    assert deadline == container.deadline()


def test_a_dead_monitor_is_null(make: Callable[..., Container], live: dict[str, Any]) -> None:
    monitor = {**live, "startTime": 1}
    container = make(status="running", lifecycle=LIFECYCLE, monitor=monitor, **live)
    assert container.monitor_pid() is None


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (None, None),
        ({"exitCode": 0, "signal": None}, 0),
        ({"exitCode": 7, "signal": None}, 7),
        ({"exitCode": None, "signal": 9}, 137),
        ({"exitCode": None, "signal": None}, None),
    ],
)
def test_exit_status(
    make: Callable[..., Container], end: dict[str, Any] | None, status: int | None
) -> None:
    assert make(status="stopped", exit=end).exit_status() == status


@pytest.mark.parametrize("deleted", [True, False])
def test_reading_waits_for_a_delete_or_create_that_is_under_way(
    make: Callable[..., Container], deleted: bool
) -> None:
    """A reader that comes between the last unlink and the rmdir must not call the state corrupt."""
    container = make(status="stopped", pid=None)
    holder = container.dir.store.container("web")
    state = holder.read_state()
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        with holder.lock():
            os.unlink(os.path.join(holder.path, "state.json"))
            os.write(ready[1], b".")
            os.read(done[0], 1)
            # the reader is about to wait, or waits: both must come out right
            if deleted:
                holder.remove()
            else:
                holder.write_state(state)
        os._exit(0)
    os.read(ready[0], 1)
    os.write(done[1], b".")
    if deleted:
        with pytest.raises(NotFoundError):
            container.reload()
    else:
        container.reload()
        assert container.state == state
    assert os.waitpid(pid, 0)[1] == 0
    for fd in (*ready, *done):
        os.close(fd)


def test_st_05_a_corrupt_state_is_still_called_corrupt(make: Callable[..., Container]) -> None:
    container = make(status="stopped", pid=None)
    Path(container.dir.path, "state.json").write_text("{")
    with pytest.raises(ShimError, match="corrupt state"):
        container.reload()


def test_a_cgroup_that_is_not_the_recorded_one_does_not_pause(
    make: Callable[..., Container], live: dict[str, Any]
) -> None:
    cgroup = {"path": "/shim-test-no-such", "ino": 1}
    assert make(status="running", cgroup=cgroup, **live).status() == "running"

"""The monitor at rest. With nothing to drive, the process replaces its interpreter by a few
kilobytes of C that wait on the same descriptors (csrc/wait.c), and becomes a monitor again at the
first news.

It is the recovery path once more: what the monitor knows is in the state directory, and what only
the process has (descriptors, the last line of output without its newline) goes through the command
line. An idle container thus costs next to no memory and no wake-ups. A parked monitor wakes up
with the installation that is there then; when that is gone, the next verb starts another monitor.
"""

from __future__ import annotations

import os
import sys

from shim import jsontext
from shim.engine.kill import open_cgroup
from shim.engine.logs import Stream
from shim.engine.loop import Loop
from shim.engine.monitor import Monitor
from shim.engine.recover import Past
from shim.kernel import unix
from shim.kernel.api import KERNEL
from shim.model.container import Container
from shim.model.store import Store
from shim.paths import package_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERB = "_monitor"
REST_FACTOR, REST_MAX = 4.0, 300.0
"""Without any event for Monitor.rest seconds the interpreter goes. Coming back costs some 20 ms of
CPU, so each return makes the next rest need REST_FACTOR times as long: a container that says a
line now and then keeps its interpreter."""
FDS_MAX = 64


def arm(monitor: Monitor) -> None:
    """Consider parking once nothing has happened for `monitor.rest` seconds."""
    monitor.loop.last = monitor.loop.clock.now()
    _again(monitor)


def _again(monitor: Monitor) -> None:
    monitor.loop.at(monitor.loop.last + monitor.rest, lambda: _consider(monitor))


def _consider(monitor: Monitor) -> None:
    now = monitor.loop.clock.now()
    if now - monitor.loop.last < monitor.rest or not monitor.resting:
        monitor.loop.last = max(monitor.loop.last, now - monitor.rest / 2)
        _again(monitor)
        return
    parked = snapshot(monitor)
    if len(parked["peers"]) + len(parked["streams"]) > FDS_MAX:
        _again(monitor)
        return
    monitor.spawner.close()
    monitor.reaper.drain()  # the spawner's own SIGCHLD would wake us at once
    if monitor.resting:
        sleep(parked)


def snapshot(monitor: Monitor) -> dict[str, Any]:
    """Everything of the monitor that is not in the state directory."""
    return {
        "root": monitor.directory.store.root,
        "id": monitor.name,
        "rest": monitor.rest,
        "init": monitor.init,
        "lock": monitor.lock,
        "signals": monitor.reaper.fd,
        "listener": monitor.control.fileno(),
        "peers": monitor.control.peers(),
        "streams": [s.snapshot() for s in monitor.streams if s.fd >= 0],
    }


def sleep(parked: dict[str, Any]) -> None:
    """Replace this process's program; does not return."""
    wake = [parked["init"], parked["signals"], parked["listener"]]
    wake += [fd for fd, _ in parked["peers"]] + [stream["fd"] for stream in parked["streams"]]
    kept = [parked["lock"], *(fd for s in parked["streams"] for fd in (s["log"], s["sink"]))]
    for fd in {*wake, *kept}:
        if fd >= 0:
            os.set_inheritable(fd, True)
    flags = ["-I", "-S"] if sys.flags.no_site else ["-I"]
    program = [sys.executable, *flags, "-X", "utf8", os.path.join(package_dir(), "__main__.py")]
    argv = ["shim-executor", "wait", str(len(wake)), *map(str, wake), *program]
    command = [*argv, VERB, jsontext.dumps(parked), os.pathsep.join(sys.path)]
    os.execve(KERNEL.executor(), command, os.environ)  # noqa: S606 - a descriptor, no path


def wake(text: str) -> int:
    """In the new interpreter: be the monitor again."""
    from shim.engine import launch

    parked = jsontext.loads(text)
    store = Store(parked["root"])
    directory = store.container(parked["id"])
    state = directory.read_state()
    cgroup = open_cgroup(Container(directory, state))
    os.close(parked["signals"])  # made anew; what is pending stays pending
    monitor = Monitor(directory, state, Loop(), parked["init"], cgroup, parent=True)
    monitor.lock = parked["lock"]
    monitor.rest = min(parked["rest"] * REST_FACTOR, REST_MAX)
    monitor.control.inherit(parked["listener"])
    monitor.open()
    for fd, quiet in parked["peers"]:
        monitor.control.adopt(unix.Socket(fd=fd), quiet)
    for stream in parked["streams"]:
        monitor.streams.append(Stream.restore(monitor.loop, stream, monitor.finish_if_idle))
    for fd in [parked["init"], parked["lock"], parked["listener"], *_fds(parked)]:
        if fd >= 0:
            os.set_inheritable(fd, False)
    monitor.resume(state, Past(directory.journal()))
    launch.drive(monitor)
    return 0


def _fds(parked: dict[str, Any]) -> list[int]:
    streams = [fd for s in parked["streams"] for fd in (s["fd"], s["log"], s["sink"])]
    return streams + [fd for fd, _ in parked["peers"]]

"""Containers with a life: `run -d` with hooks, what `events` and `hooks` say of it, and ways for a
test and a container to wait for each other without a clock.

A test and its container share the rootfs: a Fifo in it is how one tells the other to go on.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from support.runtime import Result, Runtime

PATIENCE = 10.0
"""Seconds that a test waits for what must come."""

TERM_EXIT = "trap 'exit 7' TERM; while :; do sleep 1000 & wait; done"
"""PID 1 that ends at once at SIGTERM, with 7."""
DEAF = "trap '' TERM; while :; do sleep 1000 & wait; done"
"""PID 1 that ignores SIGTERM."""


def sh(script: str) -> dict[str, Any]:
    """An exec handler."""
    return {"exec": {"command": ["sh", "-c", script]}}


def ready(fd: int, timeout: float = PATIENCE) -> bool:
    return bool(select.select([fd], [], [], timeout)[0])


class Fifo:
    """A FIFO in a container's rootfs, open for both ends here so that nobody blocks in open."""

    def __init__(self, rootfs: Path, name: str) -> None:
        self.inside = f"/home/{name}"
        path = rootfs / "home" / name
        os.mkfifo(path, 0o666)
        path.chmod(0o666)
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""

    def line(self, timeout: float = PATIENCE) -> str:
        """The next line that the container writes."""
        end = monotonic() + timeout
        while b"\n" not in self._rest:
            assert ready(self.fd, max(0.0, end - monotonic())), (
                f"nothing came through {self.inside}"
            )
            self._rest += os.read(self.fd, 4096)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def go(self) -> None:
        """Let a container go on that does `read x <FIFO`."""
        os.write(self.fd, b"go\n")

    def close(self) -> None:
        os.close(self.fd)


class Following:
    """`shim events -f --format json ID`, read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.seen: list[dict[str, Any]] = []
        self._rest = b""

    def until(self, reason: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next event of that reason; the ones before it are in `seen`."""
        end = monotonic() + timeout
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while True:
            line, found, rest = self._rest.partition(b"\n")
            if found:
                self._rest = rest
                event: dict[str, Any] = json.loads(line)
                self.seen.append(event)
                if event["reason"] == reason:
                    return event
                continue
            arrived = ready(fd, max(0.0, end - monotonic()))
            reasons = [event["reason"] for event in self.seen]
            assert arrived, f"no {reason} within {timeout} s, only {reasons}"
            data = os.read(fd, 1 << 16)
            assert data, f"the events ended without {reason}: {reasons}"
            self._rest += data


class Lives:
    """Everything that tests of the lifecycle need of one Runtime."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self._fifos: list[Fifo] = []
        self._followers: list[subprocess.Popen[bytes]] = []
        self._files = 0

    # -- making containers -------------------------------------------------------------------------

    def fifo(self, name: str) -> Fifo:
        made = Fifo(self.rt.rootfs, name)
        self._fifos.append(made)
        return made

    def file(self, document: dict[str, Any]) -> str:
        """A lifecycle file."""
        path = self.rt.dir / f"lifecycle{self._files}.json"
        self._files += 1
        path.write_text(json.dumps(document))
        return str(path)

    def document(
        self,
        *,
        post_start: dict[str, Any] | None = None,
        pre_stop: dict[str, Any] | None = None,
        grace: int = 5,
        stop_signal: str | None = None,
    ) -> dict[str, Any]:
        hooks: dict[str, Any] = {}
        if post_start is not None:
            hooks["postStart"] = post_start
        if pre_stop is not None:
            hooks["preStop"] = pre_stop
        if stop_signal is not None:
            hooks["stopSignal"] = stop_signal
        return {"lifecycle": hooks, "terminationGracePeriodSeconds": grace}

    def run(
        self,
        main: str | Sequence[str] = TERM_EXIT,
        *,
        id: str = "c",
        flags: Sequence[str] = (),
        config: dict[str, Any] | None = None,
        **lifecycle: Any,
    ) -> str:
        """`run -d` of a shell script or an argv, with a lifecycle file; the id."""
        argv = ["sh", "-c", main] if isinstance(main, str) else list(main)
        bundle = self.rt.bundle(*argv, **(config or {}))
        file = self.file(self.document(**lifecycle))
        result = self.rt.shim("run", "-d", "-b", str(bundle), "--lifecycle", file, *flags, id)
        assert result.code == 0, result
        return id

    def create(
        self, main: str = TERM_EXIT, *, id: str = "c", start: bool = True, **lifecycle: Any
    ) -> str:
        """The engines' way: create and start, no resident monitor."""
        bundle = self.rt.bundle("sh", "-c", main)
        result = self.rt.create(id, bundle, "--lifecycle", self.file(self.document(**lifecycle)))
        assert result.code == 0, result
        if start:
            result = self.rt.start(id)
            assert result.code == 0, result
        return id

    # -- what happened -----------------------------------------------------------------------------

    def events(self, id: str = "c") -> list[dict[str, Any]]:
        result = self.rt.shim("events", "--format", "json", id)
        assert result.code == 0, result
        return [json.loads(line) for line in result.out.splitlines()]

    def reasons(self, id: str = "c") -> list[str]:
        return [event["reason"] for event in self.events(id)]

    def message(self, reason: str, id: str = "c") -> str:
        return next(str(e["message"]) for e in self.events(id) if e["reason"] == reason)

    def hooks(self, id: str = "c") -> list[dict[str, Any]]:
        result = self.rt.shim("hooks", "--format", "json", id)
        assert result.code == 0, result
        found: list[dict[str, Any]] = json.loads(result.out)
        return found

    def hook(self, id: str = "c") -> dict[str, Any]:
        """The only delivery there was."""
        found = self.hooks(id)
        assert len(found) == 1, found
        return found[0]

    def lifecycle(self, id: str = "c") -> dict[str, Any]:
        found: dict[str, Any] = self.rt.state(id)["lifecycle"]
        return found

    def phase(self, id: str = "c") -> str:
        return str(self.lifecycle(id)["phase"])

    def follow(self, id: str = "c") -> Following:
        process = self.rt.spawn("events", "-f", "--format", "json", id, stdout=subprocess.PIPE)
        self._followers.append(process)
        return Following(process)

    def wait(self, id: str = "c", timeout: float = PATIENCE) -> Result:
        return self.rt.shim("wait", id, timeout=timeout)

    def exit_code(self, id: str = "c", timeout: float = PATIENCE) -> str:
        """What `wait` prints."""
        return self.wait(id, timeout).out.strip()

    # -- stopping ----------------------------------------------------------------------------------

    def stop(self, *words: str, **how: Any) -> Result:
        """`stop WORDS...` that must succeed."""
        result = self.rt.shim("stop", *(words or ("c",)), **how)
        assert result.code == 0, result
        return result

    def timed_stop(self, *words: str) -> float:
        """Seconds that `stop` took."""
        before = monotonic()
        self.stop(*words)
        return monotonic() - before

    # -- processes ---------------------------------------------------------------------------------

    def pids(self, id: str = "c", below: str = "") -> list[int]:
        """Processes in the container's cgroup, as the host counts them."""
        where = self.cgroup(id)
        return [
            int(pid)
            for path in [where, *where.rglob("*")]
            if path.is_dir() and below in path.name
            for pid in (path / "cgroup.procs").read_text().split()
        ]

    def cgroup(self, id: str = "c") -> Path:
        """The directory of the container's cgroup."""
        state = json.loads((Path(self.rt.root) / id / "state.json").read_text())
        return Path(self.rt.mount.path.rstrip("/") + state["cgroup"]["path"])

    @contextmanager
    def pidfd(self, pid: int) -> Iterator[int]:
        fd = os.pidfd_open(pid)
        try:
            yield fd
        finally:
            os.close(fd)

    def kill_monitor(self, id: str = "c") -> int:
        """SIGKILL the monitor and wait until it has gone; its pid."""
        pid = self.lifecycle(id)["monitorPid"]
        assert isinstance(pid, int), "no monitor to kill"
        with self.pidfd(pid) as fd:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            assert ready(fd), "the monitor does not die"
        return pid

    def close(self) -> None:
        for process in self._followers:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        for fifo in self._fifos:
            fifo.close()


def eventually(what: Callable[[], bool], timeout: float = PATIENCE) -> bool:
    """For the few facts that the kernel announces to nobody; everything else has a descriptor."""
    end = monotonic() + timeout
    while not what():
        if monotonic() > end:
            return False
        select.select([], [], [], 0.01)
    return True

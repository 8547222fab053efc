"""What the tests of config.json's fields share: looking at a container from outside and inside, and
asking runc to do the same."""

from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.runtime import Runtime

from shim.bundle.caps import names

_numbers = itertools.count()


def status_of(text: str) -> dict[str, str]:
    """/proc/PID/status by field."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: " ".join(value.split()) for key, _, value in pairs}


def init_pid(rt: Runtime, id: str = "c") -> int:
    pid = rt.state(id)["pid"]
    assert isinstance(pid, int)
    assert pid > 1
    return pid


def init_file(rt: Runtime, name: str, id: str = "c") -> bytes:
    """A file of /proc/PID of the container's init, seen from the host."""
    return Path(f"/proc/{init_pid(rt, id)}/{name}").read_bytes()


def exec_status(rt: Runtime, id: str = "c", *flags: str) -> dict[str, str]:
    return status_of(rt.output(id, "cat", "/proc/self/status", flags=flags))


def wait_stopped(rt: Runtime, id: str = "c", timeout: float = 10) -> None:
    """Until the container's init has ended; AssertionError when it does not."""
    pid = rt.state(id)["pid"]
    if pid:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            assert select.select([pidfd], [], [], timeout)[0], f"{id} has not ended in {timeout} s"
        finally:
            os.close(pidfd)


def mounts(rt: Runtime, id: str = "c") -> dict[str, dict[str, Any]]:
    """The container's mounts by mount point, topmost last wins (proc_pid_mountinfo(5))."""
    found = {}
    for line in init_file(rt, "mountinfo", id).decode().splitlines():
        fields, _, tail = line.partition(" - ")
        before, after = fields.split(" "), tail.split(" ")
        found[before[4]] = {
            "options": set(before[5].split(",")),
            "propagation": [word.partition(":")[0] for word in before[6:]],
            "peers": set(before[6:]),
            "type": after[0],
            "source": after[1],
            "super": set(after[2].split(",")),
            "root": before[3],
        }
    return found


def own_capabilities() -> list[str]:
    """What this process may grant."""
    text = Path("/proc/self/status").read_text()
    return names(int(status_of(text)["CapPrm"], 16))


def refused(rt: Runtime, config: Any, words: str, verb: str = "create") -> str:
    """`create` fails with status 1 and one line that holds `words`, and leaves nothing behind."""
    result = rt.create("bad", rt.bundle_of(config))
    assert result.code == 1, result
    assert words in result.line
    assert result.line.startswith(f'shim: cannot {verb} "bad": ')
    assert rt.leaks() == []
    return result.line


@contextmanager
def runc(rt: Runtime, config: dict[str, Any]) -> Iterator[Runc]:
    """The same config under runc: running in the block, gone after it."""
    made = Runc(rt, config)
    try:
        yield made
    finally:
        made.call("delete", "--force", made.id)


class Runc:
    """A container of runc, its init running."""

    def __init__(self, rt: Runtime, config: dict[str, Any]) -> None:
        self._rt = rt
        self.id = f"shim-test-{os.getpid()}-runc{next(_numbers)}"
        config = json.loads(json.dumps(config))
        config["ociVersion"] = "1.0.2"  # as new as runc 1.1 takes
        # One level, which runc removes again, in whatever hierarchies it uses here.
        config["linux"]["cgroupsPath"] = f"/{self.id}"
        result = self.call("run", "--detach", "--bundle", str(rt.bundle_of(config)), self.id)
        assert result.code == 0, result

    def call(self, *words: str) -> Any:
        return self._rt.run(["runc", "--root", f"{self._rt.dir}/runc", *words])

    def init_file(self, name: str) -> bytes:
        state = self.call("state", self.id)
        assert state.code == 0, state
        pid = json.loads(state.out)["pid"]
        # runc returns before its init has executed, and offers nothing to wait on for that.
        for _ in range(500):
            if "runc" not in os.readlink(f"/proc/{pid}/exe"):
                break
            select.select([], [], [], 0.01)
        return Path(f"/proc/{pid}/{name}").read_bytes()

    def output(self, *argv: str) -> str:
        result = self.call("exec", self.id, *argv)
        assert result.code == 0, result
        return str(result.out)


def in_user_namespace(config: dict[str, Any], base: int = 100_000) -> dict[str, Any]:
    """`config` in a new user namespace whose ids 0..65535 are `base`.. on the host."""
    config["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [{"containerID": 0, "hostID": base, "size": 65536}]
    return config


def tool(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20).stdout

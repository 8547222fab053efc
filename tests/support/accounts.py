"""What a cgroup v2 kernel has written down about a container (admin-guide/cgroup-v2.rst), and
programs for containers that use up a known amount of something."""

from __future__ import annotations

import os
from pathlib import Path

from support.lifecycle import Lives

MIB = 1 << 20

BURN = (
    "spent=0; while [ $spent -lt {ns} ]; do i=0; while [ $i -lt 500 ]; do i=$((i+1)); done; "
    "read spent rest </proc/$$/schedstat; done; echo $spent"
)
"""A script that takes {ns} nanoseconds of CPU by the kernel's own count, which it prints: no matter
how fast or busy the machine is."""

HOLD = (
    "dd if=/dev/zero bs={mib}M count=1 2>/dev/null | "
    "{{ head -c 1 >/dev/null; echo x >/home/begun; read x </home/go; cat >/dev/null; }}"
)
"""A script that has touched {mib} MiB when it says so in /home/begun, and holds them until it reads
a line from /home/go: dd has filled its block when the first byte of it comes."""


class Account:
    """The files of the cgroup of one container; `id` may be made later."""

    def __init__(self, lives: Lives, id: str = "c") -> None:
        self._lives, self._id = lives, id

    @property
    def path(self) -> Path:
        return self._lives.cgroup(self._id)

    def text(self, file: str) -> str:
        return (self.path / file).read_text().strip()

    def number(self, file: str) -> int:
        return int(self.text(file))

    def keyed(self, file: str) -> dict[str, int]:
        """A flat keyed file: cpu.stat, memory.events, pids.events."""
        return {key: int(value) for key, value in (x.split() for x in self.text(file).splitlines())}

    def cpu_usec(self) -> int:
        return self.keyed("cpu.stat")["usage_usec"]

    def io(self, device: str) -> dict[str, int]:
        """The counters of one block device, "254:0"; all zero before its first request."""
        for line in self.text("io.stat").splitlines():
            name, *pairs = line.split()
            if name == device:
                return {key: int(value) for key, value in (pair.split("=") for pair in pairs)}
        return {"rbytes": 0, "wbytes": 0}


def device_of(path: Path) -> str:
    """MAJOR:MINOR of the block device that the file system of `path` is on."""
    number = os.stat(path).st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def alive(lives: Lives, id: str = "c") -> bool:
    """Whether the container's main process lives on."""
    return bool(lives.rt.state(id)["status"] == "running")

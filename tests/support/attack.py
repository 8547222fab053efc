"""The hostile containers of tests/root/attack, built once and run inside a test's rootfs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.runtime import Runtime

SOURCES = Path(__file__).resolve().parent.parent / "root/attack"


def build(name: str, into: Path) -> Path:
    """Compile tests/root/attack/NAME.c to a static program."""
    program = into / name
    flags = ["-static", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", program, SOURCES / f"{name}.c"], check=True)
    return program


class Findings:
    """What the attacker wrote: see attacker.c."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = [line.partition(" ") for line in text.splitlines()]

    def all(self, kind: str) -> set[str]:
        return {rest for key, _, rest in self._lines if key == kind}

    def count(self, kind: str) -> int:
        return int(next(rest for key, _, rest in self._lines if key == kind))

    def of_status(self) -> dict[str, str]:
        """The helper's privileges; an AssertionError when it was seen with more than one set."""
        found: dict[str, str] = {}
        for line in self.all("status"):
            key, _, value = line.partition(":")
            assert key not in found, f"two values of {key}:\n{self.text}"
            found[key] = value.strip()
        return found


def attack(
    rt: Runtime, attacker: Path, action: Callable[[str], object], **changes: Any
) -> Findings:
    """Run `action(id)` while the attacker is the container's init; its findings."""
    shutil.copy(attacker, rt.rootfs / "attacker")
    for name in ("ready", "findings"):
        (rt.rootfs / name).unlink(missing_ok=True)
    id = rt.running("/attacker", "/findings", id="attacked", **changes)
    action(id)
    pidfd = os.pidfd_open(rt.state(id)["pid"])
    try:
        assert rt.kill(id, "TERM").code == 0
        assert rt.ended(pidfd), "the attacker does not end"
    finally:
        os.close(pidfd)
    assert rt.delete(id).code == 0
    return Findings((rt.rootfs / "findings").read_text())


def sha256(*paths: str) -> dict[str, str]:
    """Path -> digest of each file."""
    return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}

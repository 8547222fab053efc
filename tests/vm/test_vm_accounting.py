"""What a hook, and a command of `shim exec`, consumes counts against the container: "Resources
consumed by the command are counted against the Container" (container-lifecycle-hooks.seed.md;
SECURITY.md CG-03), asserted with the kernel's own numbers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from support.accounts import BURN, HOLD, MIB, Account, device_of
from support.lifecycle import PATIENCE, Lives, eventually, sh

SECOND = 1_000_000
"""In microseconds."""

FAR = 30.0
"""Seconds for what takes a second of CPU on a real one."""


def near(value: float, wanted: float) -> bool:
    return abs(value - wanted) <= 0.05 * wanted


# -- cpu -------------------------------------------------------------------------------------------


def test_cpu_of_a_hook(lives: Lives, account: Account) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    script = "echo x >/home/begun; read x </home/go; " + BURN.format(ns=SECOND * 1000)
    lives.run("exec sleep 1000", post_start=sh(script))
    follow = lives.follow()
    begun.line()
    before = account.cpu_usec()
    let_go.go()
    follow.until("PostStartHookSucceeded", FAR)
    spent = account.cpu_usec() - before
    hook = lives.hook()
    own = int(hook["output"]) / 1000
    assert own >= SECOND
    assert near(spent, own), (spent, own)
    assert near(hook["usage"]["cpuUsec"], own), (hook["usage"], own)


def test_cpu_of_exec(lives: Lives, account: Account) -> None:
    lives.rt.running()
    before = account.cpu_usec()
    own = int(lives.rt.output("c", "sh", "-c", BURN.format(ns=SECOND * 1000))) / 1000
    spent = account.cpu_usec() - before
    # the way into the container counts too, which is no more than a moment
    assert own >= SECOND
    assert own <= spent <= own * 1.1, (spent, own)


# -- memory ----------------------------------------------------------------------------------------


def held(account: Account, before: int) -> None:
    """64 MiB more than before are in use, and the peak has seen them."""
    more = account.number("memory.current") - before
    assert 64 * MIB <= more <= 80 * MIB, more
    assert account.number("memory.peak") >= before + 64 * MIB


def gone(account: Account, before: int) -> None:
    # freed pages are given back in batches, and page tables by the next grace period
    assert eventually(lambda: account.number("memory.current") < before + 4 * MIB)
    assert account.number("memory.peak") >= before + 64 * MIB


def test_memory_of_a_hook(lives: Lives, account: Account) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    script = "read x </home/go; " + HOLD.format(mib=64)
    lives.run("exec sleep 1000", post_start=sh(script))
    follow = lives.follow()
    before = account.number("memory.current")
    let_go.go()
    begun.line(FAR)
    held(account, before)
    let_go.go()
    follow.until("PostStartHookSucceeded", FAR)
    gone(account, before)


def test_memory_of_exec(lives: Lives, account: Account) -> None:
    begun, let_go = lives.fifo("begun"), lives.fifo("go")
    lives.rt.running()
    before = account.number("memory.current")
    process = lives.rt.spawn("exec", "c", "sh", "-c", HOLD.format(mib=64))
    begun.line(FAR)
    held(account, before)
    let_go.go()
    assert process.wait(PATIENCE) == 0
    gone(account, before)


# -- io --------------------------------------------------------------------------------------------

# a new inode: writeback stays charged to whoever first dirtied an old one
WRITE = "rm -f /data/f; dd if=/dev/zero of=/data/f bs=1M count=8 conv=fsync 2>/dev/null"
READ = "cat /data/f >/dev/null"


def with_disk(disk: Path, **linux: Any) -> dict[str, Any]:
    bind = {"destination": "/data", "type": "bind", "source": str(disk), "options": ["rbind"]}
    return {"mounts": [*_usual_mounts(), bind], **({"linux": linux} if linux else {})}


def _usual_mounts() -> list[dict[str, Any]]:
    from shim.bundle.make import bundle_document

    mounts: list[dict[str, Any]] = bundle_document("dir:/")["mounts"]
    return mounts


def cold() -> None:
    """What was written is on the disk and in no cache."""
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("1")


def test_io_of_a_hook(lives: Lives, account: Account, disk: Path) -> None:
    lives.run(
        "exec sleep 1000", config=with_disk(disk), post_start=sh(WRITE), pre_stop=sh(READ), grace=60
    )
    lives.follow().until("PostStartHookSucceeded", FAR)
    device = device_of(disk)
    wrote = account.io(device)
    assert 8 * MIB <= wrote["wbytes"] < 10 * MIB, wrote
    cold()
    before = account.io(device)["rbytes"]
    keep = account.path
    lives.stop("--no-wait", "c")
    follow = lives.follow()
    follow.until("PreStopHookSucceeded", FAR)
    # sleep is PID 1 and deaf to SIGTERM: the cgroup is still there
    assert keep.exists()
    assert 8 * MIB <= account.io(device)["rbytes"] - before < 10 * MIB


def test_io_of_exec(lives: Lives, account: Account, disk: Path) -> None:
    lives.rt.running(**with_disk(disk))
    lives.rt.output("c", "sh", "-c", WRITE)
    wrote = account.io(device_of(disk))["wbytes"]
    assert 8 * MIB <= wrote < 10 * MIB
    cold()
    lives.rt.output("c", "sh", "-c", READ)
    assert 8 * MIB <= account.io(device_of(disk))["rbytes"] < 10 * MIB


def test_io_max_holds_a_hook_back(lives: Lives, account: Account, disk: Path) -> None:
    """8 MiB at 4 MiB/s take 2 s, and the monitor waits for them."""
    major, minor = (int(part) for part in device_of(disk).split(":"))
    rate = {"major": major, "minor": minor, "rate": 4 * MIB}
    limited = with_disk(disk, resources={"blockIO": {"throttleWriteBpsDevice": [rate]}})
    lives.run("exec sleep 1000", config=limited, post_start=sh(WRITE))
    lives.follow().until("PostStartHookSucceeded", FAR)
    assert lives.hook()["durationSeconds"] > 1.5

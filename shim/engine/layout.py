"""The inner layout: the container's process in <cgroup>/main, each hook in <cgroup>/hook-N.

A cgroup that hands controllers to its children may hold no process itself (cgroup-v2.rst, "No
Internal Process Constraint"), so a hook can have limits and counts of its own only beside the
container's process. The container's limits, its device program, kill and freeze stay on <cgroup>
and hold for both.
"""

from __future__ import annotations

import os

from shim.engine.usage import MAIN
from shim.errors import ShimError
from shim.kernel.cgroup import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.bundle.lifecycle import Lifecycle
    from shim.bundle.limits import Limits
    from shim.kernel.cgroup import CgroupMount

INNER = "inner"
"""In state.json: cgroup.layout. The other layout, without a word for it, has everything in the
container's cgroup and leaves without controllers below it."""
CONTROLLERS = ("memory", "pids", "cpu", "io")
PERIOD = 100_000
"""Microseconds: the kernel's own cpu.max period."""


def wanted(lifecycle: Lifecycle | None) -> bool:
    """Whether a hook has `resources`."""
    return lifecycle is not None and bool(_limits(lifecycle))


def recorded(cgroup: Cgroup, lifecycle: Lifecycle | None) -> dict[str, Any]:
    """state.json's "cgroup"."""
    found: dict[str, Any] = {"path": cgroup.path, "ino": cgroup.ino}
    return {**found, "layout": INNER} if wanted(lifecycle) else found


def is_inner(state: dict[str, Any]) -> bool:
    """Which layout a container has."""
    return (state.get("cgroup") or {}).get("layout") == INNER


def make_main(cgroup: Cgroup, mount: CgroupMount, lifecycle: Lifecycle | None) -> Cgroup:
    """Where the container's process goes, to be closed by the caller: the container's cgroup, or
    in the inner layout a new one below it, after the controllers have been handed out.

    Those that a limit needs must be there: ShimError names the field and where the controller is.
    The others are for counting, as far as they are there.
    """
    if lifecycle is None or not wanted(lifecycle):
        return Cgroup(cgroup.path, os.dup(cgroup.fd))
    offered = cgroup.read("cgroup.controllers").split()
    for controller in CONTROLLERS:
        if controller in offered:
            try:
                cgroup.write("cgroup.subtree_control", f"+{controller}")
            except ShimError:
                continue  # noticed below, when a limit needs it
    on = cgroup.read("cgroup.subtree_control").split()
    for hook, limits in _limits(lifecycle):
        for file, _, field in settings(limits):
            controller = file.partition(".")[0]
            if controller not in on:
                where = f"{lifecycle.source}: /lifecycle/{hook}/resources/{field}"
                raise ShimError(f"{where}: {_lack(controller, offered, cgroup, mount)}")
    return cgroup.child(MAIN)


def of_main(cgroup: Cgroup, state: dict[str, Any]) -> Cgroup:
    """Where the container's process is, and an exec goes; takes `cgroup` over."""
    if not is_inner(state):
        return cgroup
    with cgroup:
        return cgroup.child(MAIN, create=False)


def _limits(lifecycle: Lifecycle) -> list[tuple[str, Limits]]:
    hooks = (("postStart", lifecycle.post_start), ("preStop", lifecycle.pre_stop))
    return [
        (name, hook.resources)
        for name, hook in hooks
        if hook is not None and hook.resources is not None
    ]


def _lack(controller: str, offered: list[str], cgroup: Cgroup, mount: CgroupMount) -> str:
    if controller not in mount.controllers:
        return mount.where(controller)
    directory = mount.path.rstrip("/") + cgroup.path
    if controller in offered:
        return f"{controller} controller cannot be switched on in {directory}"
    return f"{controller} controller is not delegated: not in {directory}/cgroup.controllers"


def settings(limits: Limits) -> list[tuple[str, str, str]]:
    """(file, value, field) of a hook's leaf. A hook that runs out of its memory ends as a whole:
    half a hook is of no use to anybody."""
    found = []
    if limits.memory is not None:
        found.append(("memory.max", str(limits.memory), "memory"))
        found.append(("memory.oom.group", "1", "memory"))
    if limits.pids is not None:
        found.append(("pids.max", str(limits.pids), "pids"))
    if limits.cpu is not None:
        found.append(("cpu.max", f"{limits.cpu * PERIOD // 1000} {PERIOD}", "cpu"))
    return found


def limit(leaf: Cgroup, limits: Limits) -> None:
    """Bound a hook before it is put into its leaf. KernelError names the file."""
    for file, value, _ in settings(limits):
        leaf.write(file, value)

"""A container's numbers now: what `stats` and `events --stats` print."""

from __future__ import annotations

from shim.kernel.cgroup import Cgroup, CgroupGoneError, find_mount
from shim.kernel.cgroup_stats import measure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.model.container import Container


def open_cgroup(container: Container) -> Cgroup | None:
    """The container's cgroup; None when it has none any more."""
    where = container.state.get("cgroup")
    if not where or not where.get("path"):
        return None
    try:
        return Cgroup.open(find_mount(), str(where["path"]), where.get("ino"))
    except CgroupGoneError:
        return None


def numbers(container: Container) -> dict[str, Any]:
    """kernel.cgroup_stats.measure of the container."""
    group = open_cgroup(container)
    try:
        return measure(group)
    finally:
        if group is not None:
            group.close()


def record(container: Container) -> dict[str, Any]:
    """One object of `stats --format json`."""
    from shim.kernel.stats import resident
    from shim.view import stats

    group = open_cgroup(container)
    try:
        pids = [] if group is None else group.pids()
        found = measure(group)
    finally:
        if group is not None:
            group.close()
    rss = resident([pid for pid in pids if pid > 0])
    return stats.record(container.id, container.status(), len(pids), rss, found)

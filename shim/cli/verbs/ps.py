"""`shim ps`."""

from __future__ import annotations

from shim.cli.report import out
from shim.errors import ShimError, UnsupportedError
from shim.kernel.cgroup import Cgroup, CgroupGoneError, find_mount
from shim.model.container import Container
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Print the processes of the container's cgroup and of all below it, hooks included."""
    if args.option:
        raise UnsupportedError(" ".join(args.option), "", "options of ps(1) are not supported")
    pids = _pids(Container.load(Store(args.root), args.id))
    if args.format == "json":
        from shim.view.json import line

        out(line(pids))
        return 0
    from shim.kernel.stats import processes
    from shim.view.lists import process_table

    out(process_table(processes(pids)))
    return 0


def _pids(container: Container) -> list[int]:
    where = container.state.get("cgroup")
    if not where:
        raise ShimError("the container has no cgroup")
    try:
        with Cgroup.open(find_mount(), str(where.get("path")), where.get("ino")) as group:
            return sorted(pid for pid in group.pids(recursive=True) if pid > 0)
    except CgroupGoneError:
        return []

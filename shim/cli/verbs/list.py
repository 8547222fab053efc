"""`shim list`."""

from __future__ import annotations

from shim.cli.adopt import load
from shim.cli.report import out
from shim.errors import ShimError
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.cli.options import Args


def run(args: Args) -> int:
    """Print the containers. One whose state cannot be read is reported and passed over (ST-08)."""
    store = Store(args.root)
    if args.quiet:
        out("".join(f"{id}\n" for id in store.ids()))
        return 0
    found, status = _read(store, args)
    if args.format == "json":
        from shim.view.json import line

        out(line(found))
    else:
        from shim.view.lists import containers

        out(containers(found))
    return status


def _read(store: Store, args: Args) -> tuple[list[dict[str, Any]], int]:
    found, status = [], 0
    for id in store.ids():
        try:
            found.append(load(store, id).oci_state())
        except ShimError as error:
            status = args.report.error("list", id, error)
    return found, status

"""`shim delete`."""

from __future__ import annotations

from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Remove the container and all that create made."""
    from shim.engine.delete import delete

    delete(Store(args.root), args.id, args.force)
    return 0

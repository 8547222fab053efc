"""`shim pause`."""

from __future__ import annotations

from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Freeze every process of the container."""
    from shim.engine.pause import pause

    pause(Store(args.root), args.id)
    return 0

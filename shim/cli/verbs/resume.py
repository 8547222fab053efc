"""`shim resume`."""

from __future__ import annotations

from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Let the processes of a paused container run again."""
    from shim.engine.pause import resume

    resume(Store(args.root), args.id)
    return 0

"""`shim start`."""

from __future__ import annotations

from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Let the created process run."""
    from shim.engine.start import start

    start(Store(args.root), args.id)
    return 0

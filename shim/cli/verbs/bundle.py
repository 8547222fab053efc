"""`shim bundle`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Make a runnable bundle from this machine's own root or from a directory."""
    from shim.bundle.make import make

    make(args.dir, getattr(args, "from"), args.args or [])
    return 0

"""`shim kill`."""

from __future__ import annotations

from shim.errors import ShimError
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Send the signal, given as number or name; SIGTERM without one."""
    from shim.bundle.signals import parse_signal
    from shim.engine.kill import kill

    text = args.signal or "SIGTERM"
    try:
        number = parse_signal(text)
    except ValueError:
        raise ShimError(f"unknown signal {text!r}") from None
    kill(Store(args.root), args.id, number, args.all)
    return 0

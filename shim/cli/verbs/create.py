"""`shim create`."""

from __future__ import annotations

from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Make the container and leave it ready to start."""
    from shim.engine.create import create

    create(
        Store(args.root),
        args.id,
        args.bundle,
        console_socket=args.console_socket,
        pid_file=args.pid_file,
        no_pivot=args.no_pivot,
        no_new_keyring=args.no_new_keyring,
        preserve_fds=args.preserve_fds,
        lifecycle_file=args.lifecycle,
    )
    return 0

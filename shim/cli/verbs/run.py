"""`shim run`: create and start below a monitor of its own."""

from __future__ import annotations

from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args


def run(args: Args) -> int:
    """Run the container; the status is the container's own unless it was detached."""
    from shim.engine.run import run as engine_run

    return engine_run(
        Store(args.root),
        args.id,
        args.bundle,
        detach=args.detach,
        rm=args.rm,
        lifecycle_file=args.lifecycle,
        restart=args.restart,
        console_socket=args.console_socket,
        pid_file=args.pid_file,
        no_pivot=args.no_pivot,
        no_new_keyring=args.no_new_keyring,
        preserve_fds=args.preserve_fds,
        keep=args.keep,
    )

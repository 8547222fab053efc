"""`shim exec`."""

from __future__ import annotations

from shim.errors import UsageError
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.options import Args

_GID_MAX = 2**32 - 2


def run(args: Args) -> int:
    """Run a process in the container; the status is its own unless it was detached."""
    from shim.engine.execute import execute

    if args.process and args.command:
        raise UsageError("a command and --process exclude each other")
    if not args.process and not args.command:
        raise UsageError("COMMAND is missing")
    for entry in args.env:
        if entry.find("=") < 1:  # what config.json may not hold either (SECURITY.md IN-13)
            raise UsageError(f"flag --env: {entry!r} is not NAME=VALUE")
    return execute(
        Store(args.root),
        args.id,
        args=args.command,
        process_file=args.process,
        cwd=args.cwd,
        env=args.env,
        user=args.user,
        tty=args.tty,
        detach=args.detach,
        pid_file=args.pid_file,
        console_socket=args.console_socket,
        caps=args.cap,
        no_new_privs=args.no_new_privs,
        preserve_fds=args.preserve_fds,
        ignore_paused=args.ignore_paused,
        additional_gids=[_gid(text) for text in args.additional_gids],
        cgroup=args.cgroup,
    )


def _gid(text: str) -> int:
    """A group id; 2^32-1 means "no change" to the kernel and is refused (SECURITY.md IN-05)."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _GID_MAX):
        raise UsageError(f"flag --additional-gids: {text!r} is not a group id")
    return int(text)

"""argv -> verb -> lazy import -> exit status. The one place where an exception becomes a line and
a status."""

from __future__ import annotations

import os
import sys

from shim.cli.options import LATER, Args, find_verb, parse_globals, parse_verb
from shim.cli.report import Report, out, stderr
from shim.errors import ShimError, UnsupportedError, UsageError
from shim.paths import default_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.cli.table import Verb


def main(argv: list[str]) -> int:
    """Run one command line (without the program's name) and return the exit status."""
    _open_stdio()
    args = Args()
    args.report = Report()
    try:
        status = _dispatch(argv, args)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader of stdout has gone, as with `| head`: quiet, the status SIGPIPE would have
        # given
        os.dup2(os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC), 1)
        return 141
    except Exception as error:
        status = args.report.error(args.verb, args.operand_name, error)
        if isinstance(error, UsageError):
            _print_usage(args.verb)
        return status


def _open_stdio() -> None:
    """Fill the holes in descriptors 0-2, else the next file opened would become somebody's
    stdout."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open("/dev/null", os.O_RDWR)


def _dispatch(argv: list[str], args: Args) -> int:
    rest = parse_globals(argv, args)
    args.report.debug, args.report.log_format = args.debug, args.log_format
    if args.log:
        args.report.open_log(args.log)
    if args.version:
        from shim.cli.version import text

        out(text())
        return 0
    if args.help or rest[:1] == ["help"]:
        return _help(rest[1:])
    if not rest:
        raise UsageError("a verb is missing")
    verb = find_verb(rest[0])
    args.verb = verb.name
    if verb.answer:
        raise ShimError(verb.answer)
    if parse_verb(verb, rest[1:], args):
        return _help([verb.name])
    _check_globals(args)
    return _run(verb, args)


def _check_globals(args: Args) -> None:
    """Refuse by name what would change the meaning of a verb and is not built yet."""
    if args.systemd_cgroup:
        raise UnsupportedError("--systemd-cgroup", "", LATER)
    if args.cgroup_manager != "cgroupfs":
        raise UnsupportedError(f"--cgroup-manager {args.cgroup_manager}", "", LATER)
    if args.rootless == "true":
        raise UnsupportedError("--rootless true", "", LATER)
    if args.root == "":
        raise UsageError("flag --root: empty")
    args.root = args.root or default_root()


def _run(verb: Verb, args: Args) -> int:
    # __import__ with a fromlist returns the verb's module without importlib
    module = __import__(verb.module, fromlist=["run"])
    status: int = module.run(args)
    return status


def _help(names: list[str]) -> int:
    from shim.cli.help import of_verb, overview

    if not names:
        out(overview())
        return 0
    verb = find_verb(names[0])
    if verb.answer:
        raise ShimError(f"{verb.name}: {verb.answer}")
    out(of_verb(verb))
    return 0


def _print_usage(name: str) -> None:
    from shim.cli.help import usage
    from shim.cli.table import VERBS

    stderr(usage(VERBS.get(name)))

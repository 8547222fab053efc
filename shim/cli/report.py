"""How a failure reaches the user: one line on stderr, one line in --log, an exit status.

CONTRACT.md "Exit status". The log is what engines read: podman and containerd take `msg` of the
error line.
"""

from __future__ import annotations

import os
import sys

from shim.errors import (
    CallerTimeoutError,
    CannotInvokeError,
    CommandNotFoundError,
    ShimError,
    UnsupportedError,
    UsageError,
    strerror,
)

_OWN_STATUS = (UsageError, CannotInvokeError, CommandNotFoundError, CallerTimeoutError)
_LOG_FLAGS = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | os.O_NOFOLLOW
    | os.O_NONBLOCK
    | os.O_NOCTTY
    | os.O_CLOEXEC
)
_PROCESS_VERBS = ("run", "exec", "wait")
"""Verbs whose status is a process's own, so that failures of shim itself must stand apart: 125."""


class Report:
    """Where errors go. One for each run of the command."""

    __slots__ = ("debug", "log_format", "_log")

    def __init__(self) -> None:
        self.debug, self.log_format, self._log = False, "text", -1

    def open_log(self, path: str) -> None:
        """Open --log for appending; ShimError when that cannot be done.

        Never through a symlink (SECURITY.md IN-29). crun's `file:` form is accepted; stderr is
        where the line goes anyway.
        """
        kind, colon, rest = path.partition(":")
        if colon and kind in ("journald", "syslog"):
            raise UnsupportedError("--log", "", f"{kind}: is not supported by this version")
        if colon and kind == "file":
            path = rest
        if path in ("", "/dev/stderr"):
            return
        try:
            self._log = os.open(path, _LOG_FLAGS, 0o644)
        except (OSError, ValueError) as error:
            raise ShimError(f"--log {path}: {cause(error)}") from error

    def error(self, verb: str, name: str | None, error: BaseException) -> int:
        """Write the line(s) for `error` and return the exit status."""
        text = message(verb, name, error)
        if self.debug:
            import traceback

            stderr("".join(traceback.format_exception(error)))
        stderr(f"shim: {text}\n")
        if self._log >= 0:
            self._write_log(text)
        return exit_code(verb, error)

    def _write_log(self, text: str) -> None:
        from time import time_ns

        from shim.model.event import rfc3339

        now = rfc3339(time_ns())
        if self.log_format == "json":
            from shim import jsontext

            line = jsontext.dumps({"level": "error", "msg": text, "time": now})
        else:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            line = f'time="{now}" level=error msg="{quoted}"'
        try:
            os.write(self._log, line.encode("utf-8", "backslashreplace") + b"\n")
        except OSError as error:
            stderr(f"shim: cannot write the log: {cause(error)}\n")


def stderr(text: str) -> None:
    """Write to stderr whatever its encoding; nothing can be done when that fails."""
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return


def cause(error: BaseException) -> str:
    """What went wrong, in one line without control characters (SECURITY.md HK-06)."""
    from shim.view.text import escape

    if isinstance(error, ShimError):
        text = str(error)
    elif isinstance(error, OSError) and error.errno:
        where = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        text = f"{where}: {strerror(error.errno)}" if where else strerror(error.errno)
    elif isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("shim"):
        text = f"the Python package {error.name} is not installed"
    else:
        text = f"internal error: {type(error).__name__}: {error}"
    notes = getattr(error, "__notes__", [])
    return escape(text + "".join(f"; clean-up: {note}" for note in notes))


def message(verb: str, name: str | None, error: BaseException) -> str:
    """`cannot VERB "NAME": cause`, less the parts that are not known."""
    from shim.view.text import escape

    if not verb:
        return cause(error)
    who = f' "{escape(name)}"' if name is not None else ""
    return f"cannot {verb}{who}: {cause(error)}"


def exit_code(verb: str, error: BaseException) -> int:
    """The process status for an error that ended a verb."""
    if isinstance(error, _OWN_STATUS):
        return error.exit_code
    if verb in _PROCESS_VERBS:
        return 125
    return error.exit_code if isinstance(error, ShimError) else 1


def out(text: str) -> None:
    """Write to stdout; dropped when the caller closed it before it started us."""
    if sys.stdout is not None:
        sys.stdout.write(text)

"""Every exception shim raises on purpose, as one tree; importable by all layers, imports nothing.

    ShimError                  1    an OCI verb failed
    ├── UsageError             2    the command line is wrong
    ├── InputError             1    something the user gave is wrong: names file and field
    │   └── UnsupportedError   1    valid, but not honoured (yet): refused by name, never ignored
    ├── StateError             1    the container is not in a state that allows the verb
    │   ├── NotFoundError      1    container does not exist
    │   └── NotRunningError    1    container not running
    ├── KernelError            1    a system call failed: step, errno
    ├── CannotInvokeError    126    the command was found but cannot be executed
    ├── CommandNotFoundError 127    the command was not found
    └── CallerTimeoutError   124    the caller's own time ran out

A message is the *cause* only ("container does not exist"); cli.main puts `cannot VERB "NAME": ` in
front. run, exec and wait report ShimError as 125 (CONTRACT.md, "Exit status"); the two command
errors and the timeout keep their own status everywhere.
"""

from __future__ import annotations

import os


class ShimError(Exception):
    """Base of every error that becomes one line on stderr. `exit_code` is the process status."""

    exit_code = 1


class UsageError(ShimError):
    """The command line is wrong: unknown verb or flag, missing operand, unparsable value."""

    exit_code = 2


class InputError(ShimError):
    """A file or flag the user gave is wrong.

    `file` names the file ("config.json"), `pointer` the field as an RFC 6901 JSON pointer, "" when
    the document as a whole is meant.
    """

    def __init__(self, file: str, pointer: str, cause: str) -> None:
        self.file, self.pointer, self.cause = file, pointer, cause
        text = ": ".join(part for part in (file, pointer, cause) if part)
        if not text.isprintable():  # a key or path may hold a newline; an error is one line
            text = text.encode("unicode_escape").decode("ascii")
        super().__init__(text)


class UnsupportedError(InputError):
    """A valid field that shim does not honour; silence would be a lie (issue rule: refuse by
    name)."""


class StateError(ShimError):
    """The container's status does not allow the verb."""


class NotFoundError(StateError):
    """No such container. Engines match the words."""

    def __init__(self, cause: str = "container does not exist") -> None:
        super().__init__(cause)


class NotRunningError(StateError):
    """The container has no live process. Engines match the words."""

    def __init__(self, cause: str = "container not running") -> None:
        super().__init__(cause)


class KernelError(ShimError):
    """A system call failed. `step` says what was being done, `errno` why."""

    def __init__(self, step: str, errno: int) -> None:
        self.step, self.errno = step, errno
        super().__init__(f"{step}: {strerror(errno)}")


class CannotInvokeError(ShimError):
    """The command exists but cannot be executed (EACCES, ENOEXEC, ...)."""

    exit_code = 126


class CommandNotFoundError(ShimError):
    """The command does not exist."""

    exit_code = 127


class CallerTimeoutError(ShimError):
    """`stop` or `wait` ran out of the caller's own --timeout; the container goes on as it was."""

    exit_code = 124


def strerror(errno: int) -> str:
    """errno as engines expect to read it: Go's lower-case spelling ("permission denied")."""
    text = os.strerror(errno)
    return text[:1].lower() + text[1:] if text[1:2].islower() else text

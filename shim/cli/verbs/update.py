"""`shim update`."""

from __future__ import annotations

import sys

from shim.errors import InputError, UsageError
from shim.model.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.bundle.spec import Resources
    from shim.cli.options import Args

FROM_FLAGS = "command line"
_INPUT_MAX = 1 << 20
_UNITS = "kmgtp"

_FIELDS: tuple[tuple[str, str, str], ...] = (
    ("blkio-weight", "blockIO", "weight"),
    ("cpu-period", "cpu", "period"),
    ("cpu-quota", "cpu", "quota"),
    ("cpu-burst", "cpu", "burst"),
    ("cpu-share", "cpu", "shares"),
    ("cpu-idle", "cpu", "idle"),
    ("cpuset-cpus", "cpu", "cpus"),
    ("cpuset-mems", "cpu", "mems"),
    ("memory", "memory", "limit"),
    ("memory-reservation", "memory", "reservation"),
    ("memory-swap", "memory", "swap"),
    ("pids-limit", "pids", "limit"),
)
"""(flag, object of linux.resources, field)."""


def run(args: Args) -> int:
    """Change the limits of a container."""
    from shim.engine.update import update

    resources, file = _resources(args)
    update(Store(args.root), args.id, resources, file)
    return 0


def _resources(args: Args) -> tuple[Resources, str]:
    """What is asked for and what to call its source in errors."""
    from shim import jsontext
    from shim.bundle.spec import parse_resources

    document = from_flags(args)
    if args.resources is None:
        if not document:
            raise UsageError("nothing to update: give a limit or --resources FILE")
        data = jsontext.dumps(document).encode()
        return parse_resources(data, FROM_FLAGS), FROM_FLAGS
    if document:
        raise UsageError("--resources and the flags for single limits exclude each other")
    file = "stdin" if args.resources == "-" else args.resources
    return parse_resources(_read(args.resources), file), file


def _read(path: str) -> bytes:
    if path != "-":
        from shim.bundle.files import read_regular

        return read_regular(path)
    if sys.stdin is None:
        raise UsageError("flag --resources: stdin is closed")
    data = sys.stdin.buffer.read(_INPUT_MAX + 1)
    if len(data) > _INPUT_MAX:
        raise InputError("stdin", "", f"is longer than {_INPUT_MAX} bytes")
    return data


def from_flags(args: Args) -> dict[str, Any]:
    """The flags as a linux.resources document; {} when none was given. UsageError."""
    document: dict[str, Any] = {}
    for flag, group, field in _FIELDS:
        text = getattr(args, flag.replace("-", "_"))
        if text is None or (text == "" and group != "pids"):  # as in runc, "" is not given
            continue
        value: Any = text
        if group == "memory":
            value = size(flag, text)
        elif field not in ("cpus", "mems"):
            value = whole(flag, text)
        document.setdefault(group, {})[field] = value
    return document


def whole(flag: str, text: str) -> int:
    """A decimal integer, perhaps negative; its range is for the field to check."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise UsageError(f"flag --{flag}: {text!r} is not a whole number")
    return int(text)


def size(flag: str, text: str) -> int:
    """Bytes, or with k, m, g, t, p (ki, kb, kib alike) powers of 1024, as runc's RAMInBytes; -1
    for no limit."""
    if text == "-1":
        return -1
    number = text.lower().removesuffix("b").removesuffix("i").rstrip(" ")
    factor = 1
    if number[-1:] and number[-1:] in _UNITS:
        factor = 1024 ** (_UNITS.index(number[-1]) + 1)
        number = number[:-1].rstrip(" ")
    integer, point, part = number.partition(".")
    digits = integer + part
    good = integer and digits.isascii() and digits.isdigit() and len(digits) <= 20
    if not good or (point and not part):
        raise UsageError(f"flag --{flag}: {text!r} is not a size such as 512M or 1.5G, or -1")
    scale: int = 10 ** len(part)
    return int(digits) * factor // scale

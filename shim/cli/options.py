"""The option table and the parser it drives: every verb, flag, usage line and --help comes from
here.

runc's command line is the contract (OCI.md 2.1): short and long flags, `--flag V`, `--flag=V`, `-b
DIR`, `-bDIR`, Go's single-dash long names (containerd sends `-no-subreaper`), flags before or after
operands except for verbs that pass a foreign command line on. argparse would cost 2-9 ms of every
verb (MODELS.md 6).
"""

from __future__ import annotations

from shim.cli.table import GLOBALS, VERBS, Flag, Verb
from shim.errors import UnsupportedError, UsageError
from shim.paths import check_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.cli.report import Report

LATER = "not supported by this version"

_SWITCHES = ("bool", "maybe")


class Args:
    """What was asked: one attribute a flag (dashes become underscores) and a operand, plus the
    globals."""

    report: Report
    help: bool
    root: str

    def __init__(self) -> None:
        self.verb = ""
        self.operand_name: str | None = None

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def parse_globals(argv: list[str], args: Args) -> list[str]:
    """Take the flags before the verb into `args` and return the rest; UsageError."""
    _defaults(GLOBALS, args)
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        _take_flag(rest, GLOBALS, args)
    return rest


def find_verb(name: str) -> Verb:
    """The table's entry for a verb; UsageError when there is none."""
    verb = VERBS.get(name)
    if verb is None:
        raise UsageError(f"unknown verb {name!r}")
    return verb


def parse_verb(verb: Verb, argv: list[str], args: Args) -> bool:
    """Take the verb's flags and operands into `args`; True when --help was asked for instead.

    Raises UsageError, UnsupportedError for a flag that is refused by name, and ShimError for an id
    that is not valid, before anything could make a path of it (SECURITY.md IN-01).
    """
    _defaults(verb.flags, args)
    args.help = False
    operands: list[str] = []
    rest = list(argv)
    while rest:
        word = rest[0]
        if word == "--":
            operands += rest[1:]
            break
        if not word.startswith("-") or word == "-":
            operands.append(rest.pop(0))
            if verb.foreign and len(operands) >= verb.foreign:
                operands += rest[1:] if rest[:1] == ["--"] else rest
                break
            continue
        _take_flag(rest, verb.flags, args)
        if args.help:
            return True
    _take_operands(verb, operands, args)
    for flag in verb.flags:
        if flag.refused and getattr(args, flag.dest) not in (None, False, ""):
            raise UnsupportedError(f"--{flag.name}", "", LATER)
    return False


def _defaults(flags: tuple[Flag, ...], args: Args) -> None:
    for flag in flags:
        setattr(args, flag.dest, [] if flag.kind == "list" else flag.default)


def _find(flags: tuple[Flag, ...], name: str) -> Flag | None:
    for flag in flags:
        if name in (flag.name, flag.short):
            return flag
    return None


def _take_flag(rest: list[str], flags: tuple[Flag, ...], args: Args) -> None:
    """Consume one flag, its value included, from the front of `rest`."""
    word = rest.pop(0)
    name, equals, value = word.lstrip("-").partition("=")
    if word.startswith("---") or not name:
        raise UsageError(f"unknown flag {word}")
    flag = _find(flags, name)
    if flag is None and name in ("help", "h"):
        args.help = True
        return
    if flag is None and not word.startswith("--"):
        _take_cluster(word[1:], rest, flags, args)
        return
    if flag is None:
        raise UsageError(f"unknown flag --{name}")
    if flag.kind in _SWITCHES:
        _set_bool(flag, value if equals else "true", args)
        return
    if not equals:
        if not rest:
            raise UsageError(f"flag --{flag.name} needs a value")
        value = rest.pop(0)
    _set(flag, value, args)


def _take_cluster(letters: str, rest: list[str], flags: tuple[Flag, ...], args: Args) -> None:
    """`-td` or `-bDIR`: one-letter flags in a row, the last of which may take a value."""
    while letters:
        flag = _find(flags, letters[0])
        if flag is None:
            if letters[0] == "h":
                args.help = True
                return
            raise UsageError(f"unknown flag -{letters[0]}")
        letters = letters[1:]
        if flag.kind in _SWITCHES:
            _set_bool(flag, "true", args)
            continue
        if not letters and not rest:
            raise UsageError(f"flag -{flag.short} needs a value")
        _set(flag, letters or rest.pop(0), args)
        return


def _set_bool(flag: Flag, value: str, args: Args) -> None:
    if value not in ("true", "false", "1", "0"):
        raise UsageError(f"flag --{flag.name}: {value!r} is not true or false")
    setattr(args, flag.dest, value in ("true", "1"))


def _set(flag: Flag, value: str, args: Args) -> None:
    if flag.choices and value not in flag.choices:
        raise UsageError(f"flag --{flag.name}: {value!r} is not one of {', '.join(flag.choices)}")
    if flag.kind == "list":
        getattr(args, flag.dest).append(value)
    elif flag.kind == "int":
        # isdigit alone would let Unicode digits and a million of them through
        if not (value.isascii() and value.isdigit() and len(value) <= 9):
            raise UsageError(f"flag --{flag.name}: {value!r} is not a whole number")
        setattr(args, flag.dest, int(value))
    elif flag.kind == "seconds":
        setattr(args, flag.dest, _seconds(flag, value))
    else:
        setattr(args, flag.dest, value)


def _seconds(flag: Flag, value: str) -> float:
    """A duration: plain decimal seconds, finite, not negative (SECURITY.md IN-30)."""
    whole, _, part = value.partition(".")
    digits = whole + part
    if not (whole and digits.isascii() and digits.isdigit() and len(digits) <= 15):
        raise UsageError(f"flag --{flag.name}: {value!r} is not a number of seconds")
    return float(value)


def _take_operands(verb: Verb, given: list[str], args: Args) -> None:
    """Hand the operands out by the verb's pattern: NAME, [NAME], NAME... and [NAME...]."""
    words = list(given)
    for pattern in verb.operands:
        optional = pattern.startswith("[")
        name = pattern.strip("[].")
        value: Any
        if "..." in pattern:
            value, words = words, []
        else:
            value = words.pop(0) if words else None
        if not value and not optional and value != "":
            raise UsageError(f"{name} is missing")
        if name == "ID":
            _take_ids(value, args)
        setattr(args, name.lower() + ("s" if "..." in pattern and name == "ID" else ""), value)
    if words:
        raise UsageError(f"unexpected argument {words[0]!r}")


def _take_ids(value: Any, args: Args) -> None:
    for id in [value] if isinstance(value, str) else value or []:
        args.operand_name = id
        check_id(id)
    if isinstance(value, list) and len(value) > 1:
        args.operand_name = None

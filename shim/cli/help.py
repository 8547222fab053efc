"""Usage lines and --help, generated from the option table. Imported only when one of them is
printed."""

from __future__ import annotations

from shim.cli.table import GLOBALS, VERBS, Flag, Verb

_OVERVIEW = "usage: shim [GLOBAL FLAGS] VERB [FLAGS] [OPERANDS]\n"


def usage(verb: Verb | None) -> str:
    """The usage line of a verb, or of shim itself."""
    if verb is None:
        return _OVERVIEW + "       shim --help lists the verbs\n"
    parts = ["usage: shim", verb.name]
    if verb.flags:
        parts.append("[FLAGS]")
    return " ".join([*parts, *verb.operands]) + f"\n       shim {verb.name} --help explains them\n"


def _flag_name(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    return f"{short}--{flag.name}" + (f" {flag.value}" if flag.value else "")


def _rows(rows: list[tuple[str, str]]) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    return "".join(f"  {name:<{width}}  {text}\n" for name, text in rows)


def overview() -> str:
    """`shim --help`."""
    verbs = [(verb.name, verb.summary) for verb in VERBS.values() if not verb.answer]
    flags = [(_flag_name(flag), flag.help) for flag in GLOBALS]
    return f"{_OVERVIEW}\nVerbs:\n{_rows(verbs)}\nGlobal flags:\n{_rows(flags)}"


def of_verb(verb: Verb) -> str:
    """`shim VERB --help`."""
    line = usage(verb).splitlines()[0]
    flags = [(_flag_name(flag), flag.help) for flag in verb.flags if not flag.refused]
    flags.append(("-h, --help", "print this help"))
    return f"{line}\n\n{verb.summary[:1].upper()}{verb.summary[1:]}.\n\nFlags:\n{_rows(flags)}"

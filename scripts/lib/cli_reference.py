"""docs/reference/cli.md from the option table: the page says what the command takes."""

from __future__ import annotations

from shim.cli.table import GLOBALS, VERBS, Flag, Verb

HEAD = """\
# Command line

Written by `scripts/gen-docs` from shim/cli/table.py; do not edit.

    shim [GLOBAL FLAGS] VERB [FLAGS] [OPERANDS]

Flags are written `--flag VALUE` or `--flag=VALUE`, with one dash too (`-flag`), and short ones
`-f VALUE`, `-fVALUE` or in a row (`-td`). They may stand before or after operands, except where
the operands are another program's command line (`exec`, `ps`): there they stand before it. `--`
ends the flags. What the exit status means is in [exit-status.md](exit-status.md).
"""


def _flag(flag: Flag) -> str:
    names = f"`-{flag.short}`, `--{flag.name}`" if flag.short else f"`--{flag.name}`"
    if flag.value:
        names += f" {flag.value}"
    text = flag.help
    if flag.choices:
        default = f"; default {flag.default}" if flag.default else ""
        text += f" ({', '.join(flag.choices)}{default})"
    if flag.kind == "list":
        text += "; may be given more than once"
    if flag.refused:
        text += " - **refused: not supported by this version**"
    return f"| {names} | {text} |"


def _table(flags: tuple[Flag, ...]) -> list[str]:
    return ["| flag | |", "|---|---|", *(_flag(flag) for flag in flags), ""]


def _verb(verb: Verb) -> list[str]:
    lines = [f"## shim {verb.name}", "", f"{verb.summary[:1].upper()}{verb.summary[1:]}.", ""]
    flags = [" [FLAGS]"] if verb.flags else []
    usage = "".join([*flags, *(f" {operand}" for operand in verb.operands)])
    lines += [f"    shim {verb.name}{usage}", ""]
    return lines + (_table(verb.flags) if verb.flags else [])


def render() -> str:
    """The whole page."""
    lines = [HEAD, "## Global flags", "", *_table(GLOBALS)]
    for verb in VERBS.values():
        if not verb.answer:
            lines += _verb(verb)
    lines += ["## Not there yet", ""]
    lines.append("These verbs only answer why they do nothing, with status 1:")
    lines.append("")
    lines += [f"- `{verb.name}`: {verb.answer}" for verb in VERBS.values() if verb.answer]
    return "\n".join(lines) + "\n"

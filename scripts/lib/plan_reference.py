"""docs/reference/plan.md from csrc/plan.h, which is the format."""

from __future__ import annotations

import re
from pathlib import Path

HEADER = Path(__file__).resolve().parents[2] / "csrc/plan.h"

HEAD = """\
# The plan

Written by `scripts/gen-docs` from csrc/plan.h; do not edit.

A container is a plan: a list of small kernel operations that Python compiles from config.json and
that `shim-executor` carries out. `shim explain -b BUNDLE` prints it, with the config field that
each operation comes from, and executes nothing. When an operation fails, the executor reports
(operation, errno, detail), and the one line that the user sees names that field.

## Format

One blob of little-endian fields without pointers: a header (magic, version, total size, number of
operations, where they are, where the data area is), fixed-size operation records, and a data area
that records point into by offset from the start of the blob; offset 0 means absent. The executor
checks every offset, length and terminator before the first operation runs (csrc/plan.c), so that
the interpreter may follow them without looking again. Descriptors travel beside the blob; a
record names them by index.

Each record holds: code, flags, fd index (-1: none), four numbers (num0..num3), three strings
(str0..str2), two string lists (list, list2) and a list of 32-bit numbers (nums).

## Operations
"""

TAIL = """\
## Messages

The executor talks on a SOCK_SEQPACKET socket, in messages of one fixed size (`struct msg`): an
error (step, errno, detail), a sync point where it waits for the parent's host operations, the pid
of the process it left behind, the identity of the container's root, and that it is ready and
waits for `start`. End of file without an error means that execve has succeeded.
"""


def _entries(body: str) -> list[tuple[str, str, str]]:
    """(name, number, comment) of one enum; a stage comment is an entry without a number."""
    pattern = re.compile(r"(?P<name>OP_\w+) = (?P<number>\d+),|/\*(?P<comment>.*?)\*/", re.S)
    found: list[tuple[str, str, str]] = []
    end = -1
    for match in pattern.finditer(body):
        if match["name"]:
            found.append((match["name"], match["number"], ""))
            end = match.end()
            continue
        comment = " ".join(match["comment"].split())
        # a comment on the line of a code belongs to it; one on a line of its own opens a stage
        if end >= 0 and "\n" not in body[end : match.start()]:
            name, number, _ = found[-1]
            found[-1] = (name, number, comment)
        else:
            found.append(("", "", comment))
    return found


def render() -> str:
    """The whole page."""
    body = HEADER.read_text().split("enum plan_code {")[1].split("};")[0]
    lines = [HEAD]
    for name, number, comment in _entries(body):
        if name:
            lines.append(f"| `{name[3:]}` | {number} | {comment.replace('|', chr(92) + '|')} |")
        else:
            lines += ["", f"### {comment[:1].upper()}{comment[1:]}", "", "| operation | code | |"]
            lines.append("|---|---:|---|")
    return "\n".join([*lines, "", TAIL])

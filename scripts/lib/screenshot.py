"""Draw what commands print on a terminal: screenshot.py FILE.svg SHIM ROOT "VERB OPERANDS"..."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

from rich.console import Console
from rich.text import Text

WIDTH = 170


def output(argv: list[str]) -> str:
    """What a command writes to a terminal of WIDTH columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave):
        os.close(slave)
        found = bytearray()
        try:
            while data := os.read(master, 65536):
                found += data
        except OSError:
            pass  # EIO: the last writer has closed the terminal
    os.close(master)
    return found.decode().replace("\r\n", "\n")


def main() -> None:
    """One picture of all the commands, each below its prompt."""
    target, shim, root, *commands = sys.argv[1:]
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        for command in commands:
            console.print(Text(f"# shim {command}", style="bold green"))
            console.print(Text.from_ansi(output([shim, "--root", root, *command.split()])))
            console.print()
    console.save_svg(target, title="shim")


if __name__ == "__main__":
    main()

"""The installed command, and `python -m shim`.

csrc/launcher.c runs this file by path with -IS: sys.path then has the standard library only, so the
directory that the package lies in is added, behind everything else.
"""

from __future__ import annotations

import sys

if not __package__:
    sys.path.append(__file__.rsplit("/", 2)[0])

from shim.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

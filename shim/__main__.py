"""The installed command, and `python -m shim`.

csrc/launcher.c runs this file by path with -IS: sys.path then has the standard library only, so the
directory that the package lies in is added, behind everything else.
"""

from __future__ import annotations

import sys

if not __package__:
    sys.path.append(__file__.rsplit("/", 2)[0])

if __name__ == "__main__":
    if sys.argv[1:2] == ["_monitor"] and len(sys.argv) == 3:
        from shim.engine.park import wake

        sys.exit(wake(sys.argv[2]))

    from shim.cli.main import main

    sys.exit(main(sys.argv[1:]))

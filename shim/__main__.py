"""The installed command, and `python -m shim`.

csrc/launcher.c runs this file by path with -IS: sys.path then has the standard library only, so the
directory that the package lies in is added, behind everything else.
"""

from __future__ import annotations

import gc
import os
import sys

if not __package__:
    sys.path.append(__file__.rsplit("/", 2)[0])

def run() -> int:
    """One command line."""
    if sys.argv[1:2] == ["_monitor"] and len(sys.argv) == 4:
        # where the monitor's libraries were found before; from a checkout that is elsewhere
        sys.path += [path for path in sys.argv[3].split(os.pathsep) if path not in sys.path]
        from shim.engine.park import wake

        return wake(sys.argv[2])

    from shim.cli.main import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    gc.disable()  # a verb ends before it would pay; the monitor turns it on
    status = run()
    # Taking the interpreter apart costs a millisecond and frees nothing that the kernel would not.
    os._exit(status)

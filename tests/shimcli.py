"""Runs the command line of the checkout in a fresh isolated interpreter, as the launcher does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
PYTHON = (sys.executable, "-I", "-S", "-X", "utf8")


def site_packages() -> str:
    """Where the libraries are that an installed shim finds beside itself."""
    import _cffi_backend

    return os.path.dirname(str(_cffi_backend.__file__))


def program(body: str) -> str:
    """Python source that can import shim and its libraries without `site`."""
    return f"import sys\nsys.path += {[str(REPO), site_packages()]!r}\n{body}"


_MAIN = program("from shim.cli.main import main\nsys.exit(main(sys.argv[1:]))")


def shim(
    *argv: str, stdin: int | None = subprocess.DEVNULL, **how: object
) -> subprocess.CompletedProcess[str]:
    """The finished command with its output as text."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*PYTHON, "-c", _MAIN, *argv],
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        **how,
    )


def command(*argv: str) -> list[str]:
    """The argument vector of `shim`, for tests that need the running process."""
    return [*PYTHON, "-c", _MAIN, *argv]


def python_json(body: str) -> object:
    """What the program prints, as JSON."""
    result = subprocess.run(
        [*PYTHON, "-c", program(body)], capture_output=True, text=True, check=True, timeout=30
    )
    return json.loads(result.stdout.splitlines()[-1])

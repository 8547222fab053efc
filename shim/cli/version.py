"""--version. docker parses these three lines (moby, daemon/info_unix.go)."""

from __future__ import annotations

import os

from shim import __version__
from shim.paths import package_dir

SPEC = "1.3.0"


def commit() -> str:
    """The commit this was built from: the build leaves it in the package; "unknown" in a
    checkout."""
    try:
        with open(os.path.join(package_dir(), "COMMIT"), encoding="ascii") as file:
            return file.read().strip() or "unknown"
    except (OSError, UnicodeDecodeError):
        return "unknown"


def text() -> str:
    """The three lines."""
    return f"shim version {__version__}\ncommit: {commit()}\nspec: {SPEC}\n"

"""Where things are, and which names are allowed; importable by all layers.

Sources: CONTRACT.md (--root default), ARCHITECTURE.md "State", SECURITY.md IN-01..03 and CV-17
(ids).
"""

from __future__ import annotations

import os

from shim.errors import ShimError

ID_MAX = 128
"""Bytes: leaves room for cgroup names and for sun_path's 108 when sockets are reached by directory
fd."""

_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_REST = _FIRST | frozenset("+.-")


def default_root() -> str:
    """The state root when --root is not given: /run/shim as root, $XDG_RUNTIME_DIR/shim
    otherwise."""
    if os.geteuid() == 0:
        return "/run/shim"
    base = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return os.path.join(base, "shim")


def check_id(name: str) -> str:
    """Return `name` if it is a valid container id, else raise ShimError before any path is
    built."""
    if not name or len(name) > ID_MAX or name[0] not in _FIRST or not _REST.issuperset(name):
        raise ShimError(f"invalid container ID format: {name[:ID_MAX]!r}")
    return name


def package_dir() -> str:
    """The directory the package is installed in; shim-executor lies there."""
    return os.path.dirname(os.path.abspath(__file__))


def executor_path() -> str:
    """The installed shim-executor, copied into a sealed memfd before use (SECURITY.md CV-01)."""
    return os.path.join(package_dir(), "shim-executor")

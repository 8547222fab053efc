"""Containers with more mounts, and a tree of mounts to bind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from root.config_support import tool
from support.runtime import Runtime


def tmpfs(destination: str, *options: str) -> dict[str, Any]:
    return {
        "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": list(options),
    }  # fmt: skip


def bind(destination: str, source: object, *options: str) -> dict[str, Any]:
    return {"destination": destination, "source": str(source), "options": ["rbind", *options]}


def running(rt: Runtime, *extra: dict[str, Any], **changes: Any) -> str:
    config = rt.config(**changes)
    config["mounts"] += extra
    result = rt.create("c", rt.bundle_of(config))
    assert result.code == 0, result
    assert rt.start("c").code == 0
    return "c"


@contextmanager
def mount_tree(rt: Runtime) -> Iterator[Path]:
    """A shared mount with a mount below it, both bare of attributes."""
    top = rt.dir / "source"
    top.mkdir()
    tool("mount", "-t", "tmpfs", "top", str(top))
    tool("mount", "--make-rshared", str(top))
    (top / "sub").mkdir()
    tool("mount", "-t", "tmpfs", "sub", str(top / "sub"))
    try:
        yield top
    finally:
        # the container's copies of the mounts are its own
        tool("umount", "--recursive", str(top))

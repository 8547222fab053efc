"""Fixtures of the root tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from root.mount_support import mount_tree
from support.attack import build
from support.lifecycle import Lives
from support.runtime import Runtime, busybox_root, runtime


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The busybox root file system that every test's own is copied from. Read only."""
    return busybox_root(tmp_path_factory.mktemp("busybox") / "rootfs")


@pytest.fixture
def rt(busybox: Path) -> Iterator[Runtime]:
    """A runtime with nothing in it; whatever a test leaves behind that `delete -f` does not remove
    fails the test."""
    with runtime(busybox) as made:
        yield made


@pytest.fixture(scope="session")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of attack/attacker.c."""
    return build("attacker", tmp_path_factory.mktemp("attacker"))


@pytest.fixture
def lives(rt: Runtime) -> Iterator[Lives]:
    """Containers with hooks (support.lifecycle)."""
    made = Lives(rt)
    yield made
    made.close()


@pytest.fixture
def tree(rt: Runtime) -> Iterator[Path]:
    """A shared mount with another below it, to be bound into containers (mount_support)."""
    with mount_tree(rt) as top:
        yield top

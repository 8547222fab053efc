"""Fixtures of the tests that need a real kernel with every cgroup v2 controller. They run in the
machine of scripts/vm, as `scripts/test vm` does:

    sudo ./scripts/vm -- .venv/bin/python -m pytest -p no:cacheprovider tests/vm
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.accounts import Account
from support.lifecycle import Lives
from support.runtime import Runtime, busybox_root, runtime

DISK = "/dev/vda"
"""The empty disk that scripts/vm gives to its machine."""


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The busybox root file system that every test's own is copied from. Read only."""
    return busybox_root(tmp_path_factory.mktemp("busybox") / "rootfs")


@pytest.fixture
def rt(busybox: Path) -> Iterator[Runtime]:
    """A runtime with nothing in it, which must be left with nothing in it."""
    with runtime(busybox) as made:
        yield made


@pytest.fixture
def lives(rt: Runtime) -> Iterator[Lives]:
    """Containers with hooks (support.lifecycle)."""
    made = Lives(rt)
    yield made
    made.close()


@pytest.fixture
def account(lives: Lives) -> Account:
    """What the kernel has on the container `c`."""
    return Account(lives)


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mounted ext4, whose writeback is charged to the cgroup that dirtied the page."""
    path = tmp_path_factory.mktemp("disk")
    subprocess.run(["mkfs.ext4", "-q", "-F", DISK], check=True)
    subprocess.run(["mount", "-t", "ext4", DISK, str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)

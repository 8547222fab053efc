"""The executor's file-system ops, as C tests under the address and undefined behaviour sanitizers.

tests/csrc/test_fs_*.c hold them; each runs as its own process in its own mount namespace.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
SOURCES = ("path", "mount", "mount_fs", "copyup", "overlay", "root", "mask", "dev", "tty", "lib")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
FLAGS = ("-std=gnu11", "-g", "-O1", "-DSHIM_HOSTED", "-Wall", "-Wextra", "-Wshadow", "-Werror")
# LeakSanitizer stops its own process with ptrace, which does not work here; nothing is allocated.
ENVIRONMENT = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}


@cache
def program() -> Path:
    """The test program, compiled once."""
    out = REPO / "build" / f"test_fs-{os.getpid()}"
    out.parent.mkdir(exist_ok=True)
    tests = sorted((REPO / "tests/csrc").glob("*.c"))
    tests = [path for path in tests if path.name.startswith(("fs_test", "test_fs"))]
    sources = [REPO / f"csrc/{name}.c" for name in SOURCES]
    command = [
        "cc",
        *FLAGS,
        *SANITIZE,
        f"-I{REPO}/csrc",
        *map(str, tests + sources),
        "-o",
        str(out),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return out


def names() -> list[str]:
    """Test names out of the C files' tables, so that collecting needs no compiler."""
    found = []
    for path in sorted((REPO / "tests/csrc").glob("test_fs_*.c")):
        table = path.read_text().partition("const struct test ")[2]
        found += [
            line.split('"')[1] for line in table.splitlines() if line.lstrip().startswith('{"')
        ]
    return found


@pytest.fixture(scope="module", autouse=True)
def _remove() -> Iterator[None]:
    yield
    program().unlink()


def test_every_test_of_the_program_is_run() -> None:
    listed = subprocess.run([str(program())], capture_output=True, text=True, check=True)
    assert sorted(listed.stdout.split()) == sorted(names())


@pytest.mark.parametrize("name", names())
def test_fs(name: str) -> None:
    result = subprocess.run(
        [str(program()), name],
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout

"""What the build makes: the wheel's content, the executor's shape, the launcher's isolation."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PT_LOAD, PT_INTERP, PT_GNU_STACK = 1, 3, 0x6474E551
PF_X, PF_W = 1, 2
ET_DYN = 3
SHT_RELA, SHT_DYNAMIC, SHT_REL = 4, 6, 9


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of a fresh build, installed as pip lays it out."""
    where = tmp_path_factory.mktemp("build")
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    for command in (
        ["meson", "setup", f"--prefix={where}/prefix", str(where / "build"), str(REPO)],
        ["meson", "install", "-C", str(where / "build")],
    ):
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
    link_dependencies(package_of(where / "prefix"))
    return where / "prefix"


def package_of(prefix: Path) -> Path:
    (entry,) = prefix.rglob("shim/__main__.py")
    return entry.parent


def segments(path: Path) -> list[tuple[int, int, int]]:
    """(type, flags, memory size) of each program header of a 64-bit ELF file."""
    data = path.read_bytes()
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    found = []
    for index in range(count):
        kind, flags = struct.unpack_from("<II", data, offset + index * size)
        (memory,) = struct.unpack_from("<Q", data, offset + index * size + 40)
        found.append((kind, flags, memory))
    return found


def test_every_module_of_the_tree_is_installed(installed: Path) -> None:
    package = package_of(installed)
    wanted = {
        path.relative_to(REPO / "shim")
        for pattern in ("*.py", "*.pyi", "py.typed")
        for path in (REPO / "shim").rglob(pattern)
    }
    found = {
        path.relative_to(package)
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    products = {Path("_core.abi3.so"), Path("shim-executor")}
    assert found == wanted | products


def test_typed_package_marker_and_stub_are_there(installed: Path) -> None:
    package = package_of(installed)
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file()


def test_executor_is_small_static_and_hardened(installed: Path) -> None:
    """MODELS.md 3.12 and SECURITY.md CV-26: nothing to load, nothing writable to execute."""
    executor = package_of(installed) / "shim-executor"
    assert executor.stat().st_size < 256 * 1024
    headers = segments(executor)
    assert PT_INTERP not in [kind for kind, _, _ in headers]
    (stack,) = [flags for kind, flags, _ in headers if kind == PT_GNU_STACK]
    assert not stack & PF_X
    assert not [flags for kind, flags, _ in headers if kind == PT_LOAD and flags & 3 == PF_W | PF_X]


def test_executor_is_position_independent_without_relocations(installed: Path) -> None:
    """ASLR applies, and there is nothing that start-up code would have to relocate."""
    data = (package_of(installed) / "shim-executor").read_bytes()
    (kind,) = struct.unpack_from("<H", data, 16)
    assert kind == ET_DYN
    (offset,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<I", data, offset + n * size + 4)[0] for n in range(count)]
    assert SHT_DYNAMIC in sections
    assert not {SHT_RELA, SHT_REL} & set(sections)


def test_version_is_said_once() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
    meson = (REPO / "meson.build").read_text()
    code = (REPO / "shim/__init__.py").read_text()
    assert f"version: '{project}'" in meson
    assert f'__version__ = "{project}"' in code


def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def link_dependencies(package: Path) -> None:
    """pip puts the dependencies beside the package; the bare prefix has none."""
    import _cffi_backend

    backend = Path(_cffi_backend.__file__)
    site = backend.parent
    for name in (backend.name, "cffi", "prctl.py", "psutil", "pyroute2", "yaml"):
        if not (package.parent / name).exists():
            (package.parent / name).symlink_to(site / name)


def test_launcher_trusts_no_environment_and_no_cwd(installed: Path, tmp_path: Path) -> None:
    """PYTHONPATH, PYTHONHOME, PYTHONSTARTUP, PATH and the cwd are the caller's, not root's."""
    marker = tmp_path / "executed"
    for name in ("os.py", "json.py", "sitecustomize.py", "usercustomize.py", "shim.py", "enum.py"):
        (tmp_path / name).write_text(f"open({str(marker)!r}, 'w')\n")
    (tmp_path / "python3.11").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (tmp_path / "python3.11").chmod(0o755)
    environment = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "os.py"),
        "PYTHONHOME": str(tmp_path),
        "PYTHONUSERBASE": str(tmp_path),
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
    }
    result = run([str(installed / "bin/shim"), "--version"], env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("shim version ")
    assert not marker.exists()


def test_launcher_works_through_a_symlink(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "shim").symlink_to(installed / "bin/shim")
    result = run([str(tmp_path / "shim"), "--version"], env={})
    assert result.returncode == 0, result.stderr


def test_launcher_passes_arguments_and_status_through(installed: Path) -> None:
    result = run([str(installed / "bin/shim"), "no such verb", "", "-x"], env={})
    assert result.returncode == 2
    assert "no such verb" in result.stderr


def test_launcher_without_its_package_says_so_in_one_line(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy(installed / "bin/shim", tmp_path / "bin/shim")
    result = run([str(tmp_path / "bin/shim"), "--version"], env={})
    assert result.returncode == 125
    assert result.stderr == (
        f'shim: cannot start: no package shim with its Python below "{tmp_path}"\n'
    )


def test_launcher_prefers_the_interpreter_beside_it(installed: Path, tmp_path: Path) -> None:
    """A virtual environment's own Python, not the one shim was built with."""
    prefix = with_fake_interpreter(installed, tmp_path)
    result = run([str(prefix / "bin/shim"), "state", "a b"], env={})
    entry = package_of(prefix) / "__main__.py"
    assert result.stdout.splitlines() == ["-IS", "-X", "utf8", str(entry), "state", "a b"]


def test_launcher_leaves_site_on_when_dependencies_are_elsewhere(
    installed: Path, tmp_path: Path
) -> None:
    prefix = with_fake_interpreter(installed, tmp_path)
    (package_of(prefix).parent / "yaml").unlink()
    result = run([str(prefix / "bin/shim"), "state"], env={})
    assert result.stdout.splitlines()[0] == "-I"


def with_fake_interpreter(installed: Path, tmp_path: Path) -> Path:
    """A copy of the prefix whose bin/python3.N prints its arguments."""
    prefix = tmp_path / "venv"
    shutil.copytree(installed, prefix, symlinks=True)
    python = prefix / f"bin/python3.{sys.version_info.minor}"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    return prefix

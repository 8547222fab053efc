"""The linters are tests (ARCHITECTURE.md, "Tests by privilege"): one command each, no findings."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
C_FILES = sorted(str(path) for path in REPO.glob("csrc/*.[ch]"))

LINTERS = {
    "ruff": ["ruff", "check", "--no-cache", "--output-format=concise", "."],
    "mypy": ["mypy", f"--cache-dir={REPO}/build/mypy"],
    "layers": ["lint-imports", "--no-cache"],
    "clang-format": ["clang-format", "--dry-run", "-Werror", *C_FILES],
}


@pytest.mark.lint
@pytest.mark.parametrize("name", LINTERS)
def test_linter_has_no_findings(name: str) -> None:
    command = LINTERS[name]
    environment = os.environ | {"PYTHONPATH": str(REPO), "NO_COLOR": "1"}
    result = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=REPO,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"


def imports(path: Path) -> set[str]:
    """Every module that `path` names in an import, as "package.name" too for from-imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_kernel_api_is_the_only_caller_of_the_c_core() -> None:
    """import-linter sees no compiled modules, so this one is by hand."""
    users = [path for path in (REPO / "shim").rglob("*.py") if "shim._core" in imports(path)]
    assert users == [REPO / "shim/kernel/api.py"]


def test_modules_stay_small() -> None:
    """MODELS.md section 3: modules <= 400 lines, C files <= 300."""
    too_long = {
        str(path.relative_to(REPO)): lines
        for limit, paths in (
            (400, [*(REPO / "shim").rglob("*.py"), *(REPO / "tests").rglob("*.py")]),
            (300, [Path(name) for name in C_FILES]),
        )
        for path in paths
        if (lines := len(path.read_text().splitlines())) > limit
    }
    assert too_long == {}


def test_functions_stay_small() -> None:
    """MODELS.md section 3: functions <= 60 lines."""
    too_long = {
        f"{path.relative_to(REPO)}:{node.name}": length
        for path in (REPO / "shim").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > 60
    }
    assert too_long == {}


@pytest.mark.lint
def test_import_linter_sees_a_planted_upward_import(tmp_path: Path) -> None:
    """The contract itself works: a copy of the package with one import upwards is refused."""
    subprocess.run(["cp", "-r", str(REPO / "shim"), str(tmp_path)], check=True)
    subprocess.run(["cp", str(REPO / "pyproject.toml"), str(tmp_path)], check=True)
    with (tmp_path / "shim/errors.py").open("a") as file:
        file.write("\nimport shim.paths\n")
    result = subprocess.run(
        [str(BIN / "lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout
    assert "shim.errors is not allowed to import shim.paths" in result.stdout

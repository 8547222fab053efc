"""The linters are tests (ARCHITECTURE.md, "Tests by privilege"): one command each, no findings."""

from __future__ import annotations

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

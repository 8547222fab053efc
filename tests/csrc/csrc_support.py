"""Build C test programs from tests/csrc and the executor's own sources, with sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wshadow", "-std=gnu11", "-O1", "-g"]
UNDEFINED = ["-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-DSHIM_HOSTED"]
ENVIRONMENT = os.environ | {
    "ASAN_OPTIONS": "abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def compile_c(
    target: Path, tests: Sequence[str], sources: Sequence[str], *, compiler: str, sanitize: str
) -> Path:
    """Link tests/csrc/`tests` with csrc/`sources` into `target`."""
    program = shutil.which(compiler)
    assert program, f"{compiler} is not installed"
    command = [program, *WARNINGS, *UNDEFINED, f"-fsanitize={sanitize}", f"-I{REPO}/csrc"]
    files = [REPO / "tests/csrc" / name for name in tests] + [REPO / "csrc" / s for s in sources]
    result = subprocess.run(
        [*command, *map(str, files), "-o", str(target)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return target


def run_program(program: Path, *arguments: str, timeout: float = 100) -> str:
    """Its output; an AssertionError with that output when it does not exit 0."""
    result = subprocess.run(
        [str(program), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT,
        check=False, timeout=timeout,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    return result.stdout

"""The hot path imports what ARCHITECTURE.md "Hot path" allows: each module costs start-up time."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path

import pytest
from shimcli import PYTHON, program, python_json

ALLOWED = (
    "sys os errno json enum signal select fcntl time socket struct stat resource array binascii"
    " _cffi_backend __future__"
)
BANNED = {
    "typing", "dataclasses", "logging", "subprocess", "pathlib", "tempfile", "shutil", "argparse",
    "asyncio", "importlib", "inspect", "datetime", "contextlib", "psutil", "pyroute2", "yaml",
    "prctl", "cffi",
}  # fmt: skip

VERBS = {
    "create": ["--bundle", "/nonexistent", "web"],
    "start": ["web"],
    "run": ["--bundle", "/nonexistent", "web"],
    "state": ["web"],
    "kill": ["web", "TERM"],
    "delete": ["web"],
    "exec": ["web", "true"],
    "list": ["--format", "json"],
    "pause": ["web"],
    "resume": ["web"],
}
"""The OCI verbs of the hot path; `ps` and `spec` are not on it."""


@cache
def allowed() -> frozenset[str]:
    """What the interpreter loads for the allow-list itself, top-level names."""
    body = f"import {ALLOWED.replace(' ', ', ')}\nprint(json.dumps(sorted(sys.modules)))"
    names = python_json(body)
    assert isinstance(names, list)
    return frozenset(name.partition(".")[0] for name in names) | {"shim"}


def loaded(argv: list[str]) -> tuple[set[str], str]:
    """Top-level names in sys.modules after a verb, and its stderr."""
    body = (
        "from shim.cli.main import main\n"
        f"main({argv!r})\n"
        "import json\n"
        "print()\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    result = subprocess.run(
        [*PYTHON, "-c", program(body)], capture_output=True, text=True, check=True, timeout=30
    )
    return set(json.loads(result.stdout.splitlines()[-1])), result.stderr


def test_the_allow_list_is_not_trivially_wide() -> None:
    assert not (allowed() & (BANNED - {"importlib", "contextlib", "inspect"}))


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_imports_only_what_is_allowed(verb: str, tmp_path: Path) -> None:
    names, stderr = loaded(["--root", str(tmp_path / "root"), verb, *VERBS[verb]])
    assert "internal error" not in stderr
    assert "not installed" not in stderr
    assert names - allowed() == set()


@pytest.mark.parametrize("argv", [["--version"], ["create", "--nosuch"]])
def test_small_answers_do_not_even_import_json(argv: list[str]) -> None:
    body = f"from shim.cli.main import main\nmain({argv!r})\nprint('json' in sys.modules)\n"
    result = subprocess.run(
        [*PYTHON, "-c", program(body)], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout.splitlines()[-1] == "False"

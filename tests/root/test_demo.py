"""The issue's demo: real downloads from a real nginx, with and without a PreStop hook."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from shimcli import command

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def shim_command(tmp_path: Path) -> str:
    """The checkout's shim as one executable file, as the demo wants it."""
    path = tmp_path / "shim"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command())} "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_downloads_complete_with_the_hook_and_are_cut_off_without(shim_command: str) -> None:
    before = set(Path("/var/tmp").glob("shim-demo.*"))
    result = subprocess.run(
        [str(REPO / "examples/nginx/demo")],
        env=os.environ | {"SHIM": shim_command},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"
    assert re.findall(r"^completed: (.*)$", result.stdout, re.MULTILINE) == ["0 of 8", "8 of 8"]
    assert "postStart wrote: Hello from the postStart handler" in result.stdout
    # the hook table: time and CPU of each delivery
    row = r"^(postStart|preStop) +exec .*?([\d.]+m?s) +([\d.]+[mu]?s) "
    rows = re.findall(row, result.stdout, re.MULTILINE)
    assert [name for name, _, _ in rows] == ["postStart", "preStop"]
    reasons = re.findall(r"Z +(?:Normal|Warning) +(\w+)", result.stdout)
    assert reasons == ["Created", "Started", "PostStartHookSucceeded", "Killing", "Exited"]
    assert set(Path("/var/tmp").glob("shim-demo.*")) == before

"""The Vagrantfile: valid for Debian's vagrant, with the machines and providers README names."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


def test_the_machines_and_providers_are_there() -> None:
    text = (REPO / "Vagrantfile").read_text()
    for word in ("debian12", "ubuntu2404", '"libvirt"', '"virtualbox"', "scripts/provision"):
        assert word in text


def test_vagrant_validate(tmp_path: Path) -> None:
    vagrant = shutil.which("vagrant")
    if vagrant is None:
        pytest.skip("vagrant is not installed (Debian 12 has it: apt install vagrant)")
    own = {"VAGRANT_HOME": "home", "VAGRANT_DOTFILE_PATH": "dot", "HOME": "."}
    env = {**os.environ, **{name: str(tmp_path / path) for name, path in own.items()}}
    # -p: no provider needs to be installed to read the file.
    result = subprocess.run(
        [vagrant, "validate", "-p"], cwd=REPO, env=env, capture_output=True, text=True, timeout=100
    )
    assert result.returncode == 0, result.stderr + result.stdout
    assert "validated successfully" in result.stdout

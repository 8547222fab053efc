"""SECURITY.md IN-26: files that are no files must neither hang the caller nor be read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from shim.bundle.load import load
from shim.bundle.make import spec_document
from shim.errors import InputError

GOOD = json.dumps(spec_document())


@pytest.mark.timeout(10)
def test_in_26_config_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    with pytest.raises(InputError, match=r"config\.json: no such file or directory"):
        load(str(tmp_path))
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InputError, match=r"config\.json: not a regular file"):
        load(str(tmp_path))
    (tmp_path / "config.json").rmdir()
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(InputError, match=r"config\.json: not a regular file"):
        load(str(tmp_path))
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"config\.json: not a regular file"):
        load(str(tmp_path))


@pytest.mark.timeout(10)
def test_in_26_lifecycle_that_is_a_fifo(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_text(GOOD)
    os.mkfifo(tmp_path / "lifecycle.json")
    with pytest.raises(InputError, match=r"lifecycle\.json: not a regular file"):
        load(str(tmp_path))

"""`shim bundle --from host`: an overlay over the root of the machine, and nothing else of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from shimcli import command, shim


@pytest.fixture
def host_container(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A running container of the host bundle: (state directory, id)."""
    root, bundle = f"/dev/shm/shim-test-{tmp_path.name}", tmp_path / "bundle"
    made = shim("bundle", str(bundle), "--from", "host", "--", "sleep", "1000")
    assert made.returncode == 0, made.stderr
    with (tmp_path / "stderr").open("w+") as errors:
        # not through a pipe: the container keeps our stdout and stderr open
        for words in (("create", "--bundle", str(bundle), "host"), ("start", "host")):
            argv = command("--root", root, *words)
            code = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, check=False
            ).returncode
            errors.seek(0)
            assert code == 0, errors.read()
    yield root, "host"
    deleted = shim("--root", root, "delete", "--force", "host")
    assert deleted.returncode == 0, deleted.stderr
    subprocess.run(["rm", "-r", root], check=True)


def execute(container: tuple[str, str], *argv: str) -> str:
    result = shim("--root", container[0], "exec", container[1], *argv)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_cv_11_nothing_of_the_host_lies_over_the_overlay(host_container: tuple[str, str]) -> None:
    """The old root goes away as a whole, whatever else was stacked on it before pivot_root."""
    mounts = execute(host_container, "cat", "/proc/self/mountinfo").splitlines()
    roots = [line for line in mounts if line.split()[4] == "/"]
    assert len(roots) == 1, "\n".join(roots)
    assert " - overlay " in roots[0]
    inode = execute(host_container, "stat", "-c", "%d %i", "/", "/..").splitlines()
    assert inode[0] == inode[1]


def test_writes_are_thrown_away(host_container: tuple[str, str], tmp_path: Path) -> None:
    marker = Path("/usr/share") / f"shim-{tmp_path.name}"
    execute(host_container, "sh", "-c", f"echo written > {marker}")
    assert execute(host_container, "cat", str(marker)) == "written\n"
    assert not marker.exists()

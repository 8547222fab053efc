"""SECURITY.md CV-06, CV-08, CV-10, CV-11: paths that the image chose, while it changes them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.attack import build
from support.runtime import Runtime


@pytest.fixture
def canary(rt: Runtime) -> Path:
    """A directory of the host that nothing may touch."""
    path = rt.dir / "canary"
    path.mkdir()
    (path / "secret-of-the-host").touch()
    return path


def untouched(canary: Path) -> None:
    assert os.listdir(canary) == ["secret-of-the-host"]
    with open("/proc/self/mountinfo") as file:
        assert str(canary) not in file.read()


# -- CV-06: /proc and /sys that are somewhere else -------------------------------------------------


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("where", ["absolute", "inside", "host", "dangling", "file"])
def test_cv_06_proc_and_sys_must_be_directories(
    rt: Runtime, canary: Path, name: str, where: str
) -> None:
    inside = rt.rootfs / "inside"
    inside.mkdir()
    path = rt.rootfs / name
    path.rmdir()
    if where == "file":
        path.touch()
    else:
        path.symlink_to(
            {
                "absolute": "/inside",
                "inside": "inside",
                "host": os.path.relpath(canary, rt.rootfs),
                "dangling": "/inside/nothing",
            }[where]
        )
    result = rt.create("c", rt.bundle())
    assert result.code == 1, result
    assert f"/{name}" in result.line
    assert "/mounts/" in result.line
    assert rt.leaks() == []
    assert os.listdir(inside) == []
    untouched(canary)


def test_cv_06_exec_does_not_trust_the_proc_of_the_container(rt: Runtime) -> None:
    """A tmpfs full of lies over /proc changes nothing: limits and ids were set before."""
    caps = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]
    sets = {name: caps for name in ("bounding", "effective", "permitted")}
    id = rt.running(process={"capabilities": sets})
    lies = (
        "mount -t tmpfs none /proc && mkdir -p /proc/self/fd && echo 0 > /proc/self/oom_score_adj"
    )
    assert rt.exec(id, "sh", "-c", lies).code == 0
    assert rt.output(id, "sh", "-c", "ls /proc && echo fine") == "self\nfine\n"


# -- CV-08, CV-11: exchanged under our feet --------------------------------------------------------


@pytest.fixture(scope="session")
def racer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of attack/racer.c."""
    return build("racer", tmp_path_factory.mktemp("racer"))


@contextmanager
def exchanging(racer: Path, one: Path, other: Path) -> Iterator[None]:
    """renameat2(RENAME_EXCHANGE) of the two names, as fast as the kernel can."""
    process = subprocess.Popen([racer, one, other], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"\n"
        yield
        assert process.poll() is None, "the race ended early"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("target", ["/", "relative", "absolute"])
def test_cv_08_a_mount_target_exchanged_for_a_symlink(
    rt: Runtime, canary: Path, racer: Path, target: str
) -> None:
    """A tmpfs, a bind mount and missing targets below a name that is now a directory, now a symlink
    out of the rootfs. Create may fail; the host must not change."""
    up = os.path.relpath(canary, rt.rootfs / "data")
    (rt.rootfs / "data").mkdir()
    (rt.rootfs / "link").symlink_to({"/": "/", "relative": up, "absolute": str(canary)}[target])
    source = rt.dir / "source"
    source.mkdir()
    mounts = [
        {"destination": "/data", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/data/made/deep", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/data/bound", "type": "bind", "source": str(source), "options": ["bind"]},
    ]
    config = rt.config()
    bundles = [
        rt.bundle_of({**config, "mounts": config["mounts"] + some})
        for some in (mounts, mounts[1:], mounts[2:])
    ]
    created = 0
    before = set(os.listdir("/"))
    with exchanging(racer, rt.rootfs / "data", rt.rootfs / "link"):
        for turn in range(60):
            result = rt.create("c", bundles[turn % 3])
            created += result.code == 0
            # a tmpfs over the whole root hides the command, too
            assert result.code in (0, 127) or "/mounts/" in result.line, result
            if result.code == 0:
                assert rt.delete("c", "--force").code == 0
            untouched(canary)
    assert set(os.listdir("/")) == before
    assert os.listdir(source) == []
    assert created, "not one create came through: nothing was tried"


def test_cv_11_a_missing_target_is_made_inside(rt: Runtime, canary: Path) -> None:
    """Without a race: every component of the target may be a symlink to anywhere."""
    up = os.path.relpath(canary, rt.rootfs)
    (rt.rootfs / "out").symlink_to(up)
    (rt.rootfs / "abs").symlink_to(canary)
    mounts = [
        {"destination": f"/{name}/new/{i}", "type": "tmpfs", "source": "tmpfs"}
        for i, name in enumerate(("out", "abs", "out/../abs"))
    ]
    config = rt.config()
    result = rt.create("c", rt.bundle_of({**config, "mounts": config["mounts"] + mounts}))
    assert result.code == 0 or "/mounts/" in result.line
    untouched(canary)


# -- CV-10: a working directory that is not in the container ---------------------------------------


LEAKY = """
import os, sys
root = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
for fd in range(3, 21):
    os.dup2(root, fd)
os.set_inheritable(root, True)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""A caller with a directory of the host open as 3..20."""

CWDS = [
    *[f"/proc/self/fd/{n}" for n in range(3, 21)],
    "/proc/1/cwd",
    "/proc/thread-self/cwd",
    "/link-to-fd",
    "/link-to-cwd",
]


def careless(canary: Path) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", LEAKY, str(canary))


@pytest.fixture
def linked(rt: Runtime) -> Runtime:
    (rt.rootfs / "link-to-fd").symlink_to("/proc/self/fd/7")
    (rt.rootfs / "link-to-cwd").symlink_to("/proc/self/cwd")
    return rt


def test_cv_10_exec(linked: Runtime, canary: Path) -> None:
    id = linked.running()
    for cwd in CWDS:
        result = linked.exec(id, "ls", "-a", ".", flags=["--cwd", cwd], prefix=careless(canary))
        assert "secret-of-the-host" not in result.out, cwd
        assert result.code == 125, (cwd, result)
        assert "/process/cwd" in result.line


@pytest.mark.parametrize("flags", [(), ("--preserve-fds", "18")], ids=["closed", "preserved"])
def test_cv_10_create(linked: Runtime, canary: Path, flags: tuple[str, ...]) -> None:
    config = linked.config()
    for cwd in (*CWDS, "/new/../proc/self/fd/7/made", "/link-to-fd/made"):
        config["process"]["cwd"] = cwd
        result = linked.create("c", linked.bundle_of(config), *flags, prefix=careless(canary))
        assert result.code == 1, (cwd, result)
        assert "/process/cwd" in result.line
        assert linked.leaks() == []
    untouched(canary)


@pytest.mark.parametrize("number", [3, 4, 9, 20])
def test_cv_10_exec_with_a_directory_handed_over_on_purpose(
    linked: Runtime, canary: Path, number: int
) -> None:
    """--preserve-fds gives the descriptor to the process; to start in it is still an escape."""
    id = linked.running()
    flags = ["--preserve-fds", "18", "--cwd", f"/proc/self/fd/{number}"]
    result = linked.exec(id, "ls", "-a", ".", flags=flags, prefix=careless(canary))
    assert result.code == 125, result
    assert "/process/cwd" in result.line
    assert "secret-of-the-host" not in result.out

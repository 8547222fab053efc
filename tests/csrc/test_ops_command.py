"""Finding, executing and furnishing the command: LOOKUP, EXEC, HOME."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from csrc.exec_support import BOTH, NEEDS_ROOT, Result, command, run

from shim.errors import CannotInvokeError, CommandNotFoundError
from shim.model import plan
from shim.model.plan import Op

pytestmark = [NEEDS_ROOT, BOTH]
LOOKUP = Op("LOOKUP", "")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """one/: a program, one that may not run, a directory; two/: the program that may run."""
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        for name in ("both", "refused", f"only-{place}"):
            file = tmp_path / place / name
            file.write_text(f"#!/bin/sh\necho {place} $0 $@\n")
            file.chmod(0o755)
    (tmp_path / "one/refused").chmod(0o644)
    (tmp_path / "one/directory").mkdir()
    (tmp_path / "garbage").write_text("no program\n")
    (tmp_path / "garbage").chmod(0o755)
    (tmp_path / "orphan").write_text("#!/no/such/interpreter\n")
    (tmp_path / "orphan").chmod(0o755)
    return tmp_path


def execute(executor: str, at: Path, argv: list[str], path: str | None) -> Result:
    env = [] if path is None else [f"PATH={path.format(at=at)}"]
    ops = [Op("CHDIR", "", str=[str(at / "one")]), LOOKUP, *command(*argv, env=env)]
    return run(executor, ops)


@pytest.mark.parametrize(
    ("name", "path", "output"),
    [
        ("both", "{at}/one:{at}/two", "one {at}/one/both x"),
        ("both", "{at}/two:{at}/one", "two {at}/two/both x"),
        ("only-two", "{at}/one:{at}/two", "two {at}/two/only-two x"),
        ("only-two", "/no/such:::.:{at}/two:", "two {at}/two/only-two x"),
        ("refused", "{at}/one:{at}/two", "two {at}/two/refused x"),
        ("../two/both", "/no/such", "two ../two/both x"),
        ("./both", "{at}/two", "one ./both x"),
        ("both", "/no/such:" + "/" + "x" * 5000 + ":{at}/two", "two {at}/two/both x"),
    ],
)
def test_lookup(executor: str, programs: Path, name: str, path: str, output: str) -> None:
    result = execute(executor, programs, [name, "x"], path)
    assert result.messages == []
    assert result.output == output.format(at=programs) + "\n"


@pytest.mark.parametrize(
    ("name", "path", "number", "detail"),
    [
        ("no-such", "{at}/one:{at}/two", errno.ENOENT, plan.D_NOT_FOUND),
        ("no-such", "", errno.ENOENT, plan.D_NOT_FOUND),
        ("", "{at}/one", errno.ENOENT, plan.D_NOT_FOUND),
        ("refused", "{at}/one", errno.EACCES, plan.D_NOT_FOUND),
        ("refused", "{at}/one:/no/such", errno.EACCES, plan.D_NOT_FOUND),
        ("directory", "{at}/one", errno.ENOENT, plan.D_NOT_FOUND),
        # the working directory is one/, and never searched
        ("both", "", errno.ENOENT, plan.D_NOT_FOUND),
        ("both", ".", errno.ENOENT, plan.D_NOT_FOUND),
        ("both", ":", errno.ENOENT, plan.D_NOT_FOUND),
        ("both", "../one::", errno.ENOENT, plan.D_NOT_FOUND),
        ("both", "{at}", errno.ENOENT, plan.D_NOT_FOUND),
        ("./refused", "{at}/two", errno.EACCES, 0),
        ("./directory", "{at}/two", errno.EACCES, 0),
        ("./no-such", "{at}/two", errno.ENOENT, 0),
        ("/", "{at}/two", errno.EACCES, 0),
        ("./both/x", "{at}/two", errno.ENOTDIR, 0),
        ("x" * 5000, "{at}/two", errno.ENOENT, plan.D_NOT_FOUND),
    ],
)
def test_lookup_fails(
    executor: str, programs: Path, name: str, path: str, number: int, detail: int
) -> None:
    assert execute(executor, programs, [name], path).error == (1, number, detail)


def test_lookup_takes_the_last_path_and_has_a_default(executor: str, programs: Path) -> None:
    env = ["PATH=/no/such", f"PATH={programs}/two", "PATHS=/no/such", "XPATH=/no/such"]
    result = run(executor, [LOOKUP, *command("both", env=env)])
    assert result.output == f"two {programs}/two/both\n"
    assert run(executor, [LOOKUP, *command("cat", "/proc/self/comm")]).output == "cat\n"


def test_lookup_as_the_user_that_will_run_it(executor: str, programs: Path) -> None:
    (programs / "one/both").chmod(0o700)
    programs.chmod(0o755)
    ids = Op("SETIDS", "", num=[1000, 1000])
    env = [f"PATH={programs}/one:{programs}/two"]
    for parent in programs.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    result = run(executor, [ids, LOOKUP, *command("both", env=env)])
    assert result.output == f"two {programs}/two/both\n"


@pytest.mark.parametrize(
    ("name", "number", "detail", "kind"),
    [
        ("garbage", errno.ENOEXEC, 0, CannotInvokeError),
        ("one", errno.EACCES, 0, CannotInvokeError),
        ("one/refused", errno.EACCES, 0, CannotInvokeError),
        ("orphan", errno.ENOENT, plan.D_NOT_FOUND, CommandNotFoundError),
        ("no-such", errno.ENOENT, plan.D_NOT_FOUND, CommandNotFoundError),
    ],
)
def test_execve_fails(
    executor: str, programs: Path, name: str, number: int, detail: int, kind: type[Exception]
) -> None:
    ops = command(f"{programs}/{name}")
    step, got, where = run(executor, ops).error
    assert (step, got, where) == (1, number, detail)
    assert type(plan.failure(ops, step, got, where)) is kind


def test_interpreter_that_is_missing_is_not_called_not_found_in_path(
    executor: str, programs: Path
) -> None:
    ops = [LOOKUP, *command(f"{programs}/orphan")]
    assert run(executor, ops).error == (2, errno.ENOENT, 0)


HOMES = {
    "plain": ("root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000:,:/home/u:/bin/sh\n", "/home/u"),
    "no line end": ("u:x:1000:1000::/home/u:/bin/sh", "/home/u"),
    "no shell field": ("u:x:1000:1000::/home/u:", "/home/u"),
    "home is the last field": ("u:x:1000:1000::/home/u\n", "/"),
    "first of two": ("a:x:1000:1:::\nb:x:1000:1::/b:\nc:x:1000:1::/c:\n", "/b"),
    "other users": ("a:x:100:1::/a:\nb:x:10000:1::/b:\nc:x:01001:1::/c:\n", "/"),
    "leading zeros": ("u:x:01000:1::/u:\n", "/u"),
    "negative": ("u:x:-1000:1::/u:\n", "/"),
    "space": ("u:x: 1000:1::/u:\n", "/"),
    "hexadecimal": ("u:x:0x3e8:1::/u:\n", "/"),
    "wraps 32 bits": (f"u:x:{(1 << 32) + 1000}:1::/u:\n", "/"),
    "wraps 64 bits": (f"u:x:{(1 << 64) + 1000}:1::/u:\n", "/"),
    "very long number": ("u:x:" + "9" * 100000 + ":1::/u:\nv:x:1000:1::/v:\n", "/v"),
    "relative": ("u:x:1000:1::home:\n", "/"),
    "relative after absolute": ("a:x:5:1::/a:\nu:x:1000:1::home:\n", "/"),
    "empty": ("u:x:1000:1:::\n", "/"),
    "longest": ("u:x:1000:1::/" + "h" * 4095 + ":\n", "/" + "h" * 4095),
    "too long": ("u:x:1000:1::/" + "h" * 4096 + ":\nv:x:1000:1::/v:\n", "/v"),
    "NUL in the home": ("u:x:1000:1::/u\0v:\n", "/"),
    "binary": ("\0\xff" * 5000 + "\nu:x:1000:1::/u:\n", "/u"),
    "many fields": (":" * 100000 + "\nu:x:1000:1::/u:\n", "/u"),
    "one long line": ("x" * 900_000 + "\nu:x:1000:1::/u:\n", "/u"),
    "past the limit": ("#\n" * (1 << 19) + "u:x:1000:1::/u:\n", "/"),
    "cut by the limit": ("#" * ((1 << 20) - 18) + "\nu:x:1000:1::/uuuuuu:\n", "/"),
    "no line": ("", "/"),
    "spaces in the home": ("u:x:1000:1::/a b = c:\n", "/a b = c"),
}


def home(executor: str, etc: Path, env: list[str] | None = None) -> str:
    """HOME of uid 1000 with `etc` in the place of /etc, in a mount namespace of its own."""
    script = 'mount --bind "$0" /etc; exec "$@"'
    prefix = ["unshare", "-m", "--propagation", "private", "/bin/sh", "-ec", script, str(etc)]
    ops = [
        Op("SETIDS", "", num=[1000, 1000]),
        Op("CAPS", "", num=[0, 0, 0, 0]),
        Op("HOME", "", num=[1000]),
        *command("/usr/bin/env", env=["A=1"] if env is None else env),
    ]
    result = run(executor, ops, prefix=prefix)
    assert (result.messages, result.status) == ([], 0), result
    lines = result.output.splitlines()
    assert [line for line in lines if line.startswith("HOME=")] == lines[-1:]
    return lines[-1].removeprefix("HOME=")


@pytest.mark.parametrize("case", HOMES)
def test_home(executor: str, tmp_path: Path, case: str) -> None:
    text, expected = HOMES[case]
    (tmp_path / "passwd").write_bytes(text.encode("latin-1"))
    (tmp_path / "passwd").chmod(0o644)
    tmp_path.chmod(0o755)
    assert home(executor, tmp_path) == expected


@pytest.mark.parametrize("kind", ["missing", "fifo", "directory", "zero", "symlink", "unreadable"])
def test_home_from_a_hostile_file(executor: str, tmp_path: Path, kind: str) -> None:
    """None of them may be waited for, followed or read without an end (SECURITY.md CV-31)."""
    tmp_path.chmod(0o755)
    passwd, line = tmp_path / "passwd", "u:x:1000:1000::/home/u:\n"
    if kind == "fifo":
        os.mkfifo(passwd, 0o666)
    elif kind == "directory":
        passwd.mkdir()
    elif kind == "zero":
        os.mknod(passwd, 0o666 | 0o020000, os.makedev(1, 5))
        passwd.chmod(0o666)
    elif kind == "symlink":
        (tmp_path / "elsewhere").write_text(line)
        passwd.symlink_to("elsewhere")
    elif kind == "unreadable":
        passwd.write_text(line)
        passwd.chmod(0o600)
    assert home(executor, tmp_path) == "/"


def test_home_from_a_huge_file(executor: str, tmp_path: Path) -> None:
    with (tmp_path / "passwd").open("wb") as file:
        file.truncate(2 << 30)
    tmp_path.chmod(0o755)
    assert home(executor, tmp_path) == "/"


def test_home_that_is_there_is_left_alone(executor: str, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("u:x:1000:1000::/home/u:\n")
    assert home(executor, tmp_path, ["A=1", "HOME=/mine"]) == "/mine"
    assert home(executor, tmp_path, ["A=1", "HOME="]) == ""
    tmp_path.chmod(0o755)
    assert home(executor, tmp_path, ["HOMES=1", "XHOME=/x"]) == "/home/u"


def test_home_fits_behind_the_environment(executor: str) -> None:
    """The slot for HOME is the last one of what was set aside."""
    env = [f"V{i}={i}" for i in range(511)]
    result = run(executor, [Op("HOME", "", num=[0]), *command("/usr/bin/env", env=env)])
    assert result.output.splitlines() == [*env, "HOME=/root"]

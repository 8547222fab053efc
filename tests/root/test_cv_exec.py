"""SECURITY.md CV-01, CV-02, EX-02, EX-03: what a container can do to the process that joins it.

The attacker (attack/attacker.c) is the container's init and root, and stops what joins at birth.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from root.test_ex_environment import CARELESS
from support.attack import Findings, attack, sha256
from support.runtime import CAPS, Runtime

import shim

PTRACE = [*CAPS, "CAP_SYS_PTRACE"]
TRACING = {"capabilities": {"bounding": PTRACE, "effective": PTRACE, "permitted": PTRACE}}
"""A container that may trace: it sees through PR_SET_DUMPABLE (CV-01, rows C and D)."""

HELPER = "/memfd:shim-executor (deleted)"
OWN = "/bin/busybox"
REFUSED = {"EACCES", "EPERM", "ETXTBSY", "ENOENT", "ESRCH"}
PACKAGE = Path(shim.__file__).parent


def execs(
    rt: Runtime, times: int, *flags: str, prefix: Sequence[str] = ()
) -> Callable[[str], None]:
    def run(id: str) -> None:
        for _ in range(times):
            result = rt.exec(id, "true", flags=flags, prefix=prefix)
            assert result.code == 0, result

    return run


def met(found: Findings, execs: int) -> None:
    """The attack is worth nothing unless it met the helper, and often."""
    assert found.count("helper") >= execs // 4, found.text


def host_files() -> dict[str, str]:
    """Digests of all that runs on the host in a verb."""
    executables = [sys.executable, str(PACKAGE / "shim-executor"), "/bin/busybox"]
    installed = os.environ.get("SHIM_COMMAND")
    if installed:
        executables.append(installed)
        executables += map(str, Path(installed).parents[1].rglob("shim-executor"))
    return sha256(*map(os.path.realpath, executables))


def test_cv_02_nothing_of_the_helper_can_be_reached(rt: Runtime, attacker: Path) -> None:
    found = attack(rt, attacker, execs(rt, 500))
    met(found, 500)
    assert found.all("reach") == set(), found.text
    assert found.all("fd") == set(), found.text
    assert found.all("write") <= {f"running {name}" for name in REFUSED}, found.text


@pytest.mark.parametrize("tracing", [False, True], ids=["plain", "CAP_SYS_PTRACE"])
def test_cv_01_the_executable_of_the_helper_is_not_the_hosts(
    rt: Runtime, attacker: Path, tracing: bool
) -> None:
    before = host_files()
    changes = {"process": TRACING} if tracing else {}
    found = attack(rt, attacker, execs(rt, 50), **changes)
    met(found, 50)
    assert host_files() == before
    refused = {f"{when} {name}" for when in ("running", "ended") for name in REFUSED}
    assert found.all("write") <= refused, found.text
    if tracing:  # else nobody can open it, let alone keep it
        assert HELPER in found.all("exe"), found.text
        assert {"ended EPERM"} <= found.all("write"), found.text


def test_cv_01_a_script_that_names_the_runtime_as_its_interpreter(rt: Runtime) -> None:
    """`#!/proc/self/exe`: execve runs the helper again, with words of the container's."""
    before = host_files()
    id = rt.running()
    for words in ("", " plan", " serve"):
        evil = rt.rootfs / "evil"
        evil.write_text(f"#!/proc/self/exe{words}\n")
        evil.chmod(0o755)
        for argv in (["/evil"], ["/evil", "3", "0"], ["/proc/self/exe", "serve", "0"]):
            result = rt.exec(id, *argv)
            assert result.code != 0, result
    assert host_files() == before
    assert rt.state(id)["status"] == "running"


def test_ex_02_only_the_helper_and_the_command_are_ever_seen(rt: Runtime, attacker: Path) -> None:
    found = attack(rt, attacker, execs(rt, 200), process=TRACING)
    met(found, 200)
    assert found.all("exe") - {"ENOENT", "ESRCH"} <= {HELPER, OWN}, found.text
    assert HELPER in found.all("exe"), found.text


@pytest.mark.parametrize(
    ("flags", "uid", "gid", "groups"),
    [((), 0, 0, ""), (("--user", "1000:1001", "--additional-gids", "7"), 1000, 1001, "7")],
    ids=["root", "user"],
)
def test_ex_03_the_helper_has_given_everything_up_before_it_is_seen(
    rt: Runtime, attacker: Path, flags: tuple[str, ...], uid: int, gid: int, groups: str
) -> None:
    found = attack(rt, attacker, execs(rt, 50, *flags), process=TRACING)
    met(found, 50)
    seen = found.of_status()
    mask = f"{_mask(PTRACE):016x}"
    assert seen["Uid"].split() == [str(uid)] * 4
    assert seen["Gid"].split() == [str(gid)] * 4
    assert seen["Groups"] == groups
    assert seen["CapBnd"] == mask
    assert int(seen["CapPrm"], 16) | int(seen["CapEff"], 16) | _mask(PTRACE) == _mask(PTRACE)
    assert seen["CapInh"] == seen["CapAmb"] == f"{0:016x}"
    assert seen["NoNewPrivs"] == "1"


def test_ex_03_the_helper_holds_nothing_of_the_host(rt: Runtime, attacker: Path) -> None:
    """Its stdio and the socket that tells of a failed execve; none of a caller's directories."""
    found = attack(rt, attacker, execs(rt, 50, prefix=CARELESS), process=TRACING)
    met(found, 50)
    stdio = {fd for fd in found.all("fd") if fd.split()[0] in ("0", "1", "2")}
    assert all(f"{rt.dir}/stdio." in fd for fd in stdio), found.text
    rest = found.all("fd") - stdio
    assert rest, found.text
    assert {fd.split(":")[0] for fd in rest} == {"3 socket"}, found.text


def _mask(names: list[str]) -> int:
    from shim.bundle.caps import CAPABILITIES

    return sum(1 << CAPABILITIES[name] for name in names)

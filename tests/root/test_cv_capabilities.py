"""SECURITY.md CV-09: what joins has no inheritable and no ambient capability unless asked."""

from __future__ import annotations

import json
import os
import struct

import pytest
from support.runtime import CAPS, Runtime

from shim.bundle.caps import CAPABILITIES

NET_ADMIN = 1 << CAPABILITIES["CAP_NET_ADMIN"]
KILL = 1 << CAPABILITIES["CAP_KILL"]
ALL = sum(1 << CAPABILITIES[name] for name in CAPS)
STATUS = ("grep", "^Cap", "/proc/self/status")
NOTHING = {"CapInh": 0, "CapAmb": 0}
ROOT = {**NOTHING, "CapPrm": ALL, "CapEff": ALL, "CapBnd": ALL}
USER = {**NOTHING, "CapPrm": 0, "CapEff": 0, "CapBnd": ALL}
MORE = {name: ALL | NET_ADMIN for name in ("CapPrm", "CapEff", "CapBnd")}

EXECS: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {
    "default": ((), ROOT),
    "cap": (("--cap", "CAP_NET_ADMIN"), {**ROOT, **MORE}),
    "user": (("--user", "1000:1000"), USER),
    "user and cap": (
        ("--user", "1000", "--cap", "CAP_NET_ADMIN"),
        {**USER, "CapBnd": ALL | NET_ADMIN},
    ),
    "compiled anew": (("--cwd", "/tmp"), ROOT),
}


def capabilities(text: str) -> dict[str, int]:
    return {name: int(value, 16) for name, value in (line.split(":") for line in text.splitlines())}


@pytest.mark.parametrize("case", EXECS)
@pytest.mark.parametrize("inheritable", [(), CAPS], ids=["empty", "in the config"])
def test_cv_09_exec(rt: Runtime, case: str, inheritable: tuple[str, ...]) -> None:
    """Also where config.json gives the container's own process inheritable ones."""
    flags, wanted = EXECS[case]
    id = rt.running(process={"capabilities": {"inheritable": list(inheritable)}})
    assert capabilities(rt.output(id, *STATUS, flags=flags)) == wanted


@pytest.mark.parametrize("uid", [0, 1000])
def test_cv_09_ambient_capabilities_of_the_process_bring_their_inheritable_ones(
    rt: Runtime, uid: int
) -> None:
    process = {
        "args": list(STATUS),
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": uid, "gid": 0},
        "capabilities": {
            "ambient": ["CAP_KILL"],
            **{name: list(CAPS) for name in ("bounding", "effective", "permitted", "inheritable")},
        },
    }
    path = rt.dir / "process.json"
    path.write_text(json.dumps(process))
    result = rt.shim("exec", "--process", str(path), rt.running())
    assert result.code == 0, result
    found = capabilities(result.out)
    assert found["CapInh"] == found["CapAmb"] == KILL
    assert found["CapPrm"] == found["CapEff"] == (KILL if uid else ALL)


@pytest.mark.parametrize("flags", [(), ("--user", "1000"), ("--cap", "CAP_NET_ADMIN")])
def test_cv_09_file_capabilities_gain_nothing(rt: Runtime, flags: tuple[str, ...]) -> None:
    """CVE-2022-29162: with an inheritable set, a program with inheritable file capabilities would
    get it without setuid. no_new_privs is off, so that the kernel looks at them at all."""
    program = rt.rootfs / "bin/grep"
    program.unlink()
    program.write_bytes((rt.rootfs / "bin/busybox").read_bytes())
    program.chmod(0o755)
    # vfs_cap_data, revision 2, effective; permitted none, inheritable CAP_NET_ADMIN: capability.h
    os.setxattr(program, "security.capability", struct.pack("<5I", 0x02000001, 0, NET_ADMIN, 0, 0))
    sets = {"inheritable": [*CAPS, "CAP_NET_ADMIN"], "bounding": [*CAPS, "CAP_NET_ADMIN"]}
    id = rt.running(process={"noNewPrivileges": False, "capabilities": sets})
    found = capabilities(rt.output(id, *STATUS, flags=["--user", "1000:1000", *flags]))
    assert found["CapEff"] == found["CapPrm"] == 0


def test_cv_09_a_new_container_of_ours_has_none(rt: Runtime) -> None:
    """`shim spec` and `shim bundle` write none, and create adds none."""
    id = rt.running()
    with open(f"/proc/{rt.state(id)['pid']}/status") as file:
        text = "".join(line for line in file if line.startswith("Cap"))
    assert capabilities(text) == ROOT

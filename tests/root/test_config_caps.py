"""config.json `process.capabilities`: the five sets, compared with runc's."""

from __future__ import annotations

from typing import Any

import pytest
from root.config_support import (
    exec_status,
    init_file,
    own_capabilities,
    runc,
    status_of,
)
from support.runtime import Runtime

IDENTITY = (
    "Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
)  # fmt: skip
SOME = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def identity(status: dict[str, str]) -> dict[str, str]:
    return {name: status[name] for name in IDENTITY}


def sets(*, every: list[str], **other: list[str]) -> dict[str, list[str]]:
    """bounding, permitted and effective are `every`; others as given."""
    return {**dict.fromkeys(("bounding", "permitted", "effective"), every), **other}


def capability_cases() -> dict[str, Any]:
    everything = own_capabilities()
    return {
        "absent": None,
        "none": sets(every=[]),
        "some": sets(every=SOME),
        "all": sets(every=everything),
        "ambient": sets(every=SOME, inheritable=SOME[:2], ambient=SOME[:2]),
        "ambient without inheritable": sets(every=SOME, ambient=SOME),
        "uneven": {
            "bounding": everything[:20],
            "permitted": SOME,
            "effective": SOME[:1],
            "inheritable": SOME[:1],
            "ambient": SOME[:1],
        },
    }


CASES = tuple(capability_cases())


@pytest.mark.parametrize("no_new_privileges", [False, True], ids=["may gain", "no new privileges"])
@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("case", CASES)
def test_ex_11_the_five_sets_are_runcs(
    rt: Runtime, case: str, uid: int, no_new_privileges: bool
) -> None:
    """Byte for byte, for init and for exec, beside ids and no_new_privs."""
    config = rt.config(
        process={
            "capabilities": capability_cases()[case],
            "user": {"uid": uid, "gid": uid, "additionalGids": [5, 20]},
            "noNewPrivileges": no_new_privileges,
        }
    )
    with runc(rt, config) as theirs:
        init = identity(status_of(theirs.init_file("status").decode()))
        joined = identity(status_of(theirs.output("cat", "/proc/self/status")))
    assert rt.create("c", rt.bundle_of(config)).code == 0
    assert rt.start("c").code == 0
    assert identity(status_of(init_file(rt, "status").decode())) == init
    assert identity(exec_status(rt)) == joined


@pytest.mark.parametrize("uid", [0, 1000])
def test_cv_09_exec_inherits_no_capability_that_is_not_ambient(rt: Runtime, uid: int) -> None:
    """The one wanted difference to runc 1.1: a file with inheritable capabilities gains nothing
    from an exec (CVE-2022-29162)."""
    rt.running(
        process={
            "capabilities": sets(every=SOME, inheritable=SOME, ambient=SOME[:1]),
            "user": {"uid": uid, "gid": uid},
        }
    )
    ambient, bit = f"{1:016x}", 1 << 0
    assert exec_status(rt)["CapInh"] == ambient
    assert exec_status(rt)["CapAmb"] == ambient
    assert int(status_of(init_file(rt, "status").decode())["CapInh"], 16) & ~bit


def test_cv_09_exec_cap_adds_to_three_sets_only(rt: Runtime) -> None:
    rt.running(process={"capabilities": sets(every=["CAP_CHOWN"]), "noNewPrivileges": False})
    found = exec_status(rt, "c", "--cap", "CAP_KILL")
    assert (found["CapPrm"], found["CapEff"], found["CapBnd"]) == (f"{0x21:016x}",) * 3
    assert found["CapInh"] == found["CapAmb"] == f"{0:016x}"


def test_a_capability_that_cannot_be_granted_is_left_out(rt: Runtime) -> None:
    """config.md: "ungrantable" is no error. In a microVM or container root often lacks some."""
    rt.running(process={"capabilities": sets(every=["CAP_CHOWN", "CAP_SYS_RESOURCE"])})
    wanted = 1 | (1 << 24 if "CAP_SYS_RESOURCE" in own_capabilities() else 0)
    assert int(status_of(init_file(rt, "status").decode())["CapPrm"], 16) == wanted

"""`shim doctor` on this machine, and on machines that lack something."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from support.runtime import Result, Runtime

NOBODY = 65534


def doctor(rt: Runtime, **how: Any) -> tuple[Result, dict[str, dict[str, Any]]]:
    result = rt.shim("doctor", "--format", "json", **how)
    document = json.loads(result.out)
    assert document["ok"] == (result.code == 0)
    assert document["ok"] == all(check["status"] != "fail" for check in document["checks"])
    return result, {check["name"]: check for check in document["checks"]}


def test_where_containers_run_nothing_fails(rt: Runtime) -> None:
    rt.running()
    result, found = doctor(rt)
    assert result.code == 0, result
    assert found["kernel"]["value"] == os.uname().release
    assert found["cgroup2 mount"]["value"] == rt.mount.path
    for name in ("cpu", "memory", "pids", "io", "hugetlb"):
        check = found[f"{name} controller"]
        assert (check["status"] == "ok") == (name in rt.mount.controllers)
    for name, point in rt.mount.v1.items():
        if (check := found.get(f"{name} controller")) is not None:
            assert check["value"] == f"on cgroup v1 at {point}"
    assert found["cgroup.kill"]["status"] == "ok"
    assert found["clone into cgroup"]["status"] == "ok"
    assert not [name for name in os.listdir(rt.mount.path) if name.startswith("shim-doctor-")]


def test_capabilities_are_those_of_the_process(rt: Runtime) -> None:
    text = Path("/proc/self/status").read_text()
    mask = int(next(line.split()[1] for line in text.splitlines() if line.startswith("CapEff")), 16)
    _, found = doctor(rt)
    assert ("CAP_SYS_RESOURCE" in found["capabilities"]["value"]) == (not mask >> 24 & 1)
    prefix = ["setpriv", "--bounding-set", "-mknod", "--inh-caps", "-mknod"]
    _, found = doctor(rt, prefix=prefix)
    assert "CAP_MKNOD" in found["capabilities"]["value"]


def test_without_root_it_says_so_and_what_to_do(rt: Runtime) -> None:
    result, found = doctor(rt, prefix=["setpriv", f"--reuid={NOBODY}", "--clear-groups"])
    assert result.code == 1
    assert found["root"] == {
        "name": "root",
        "status": "fail",
        "value": f"no: user id {NOBODY}",
        "remedy": "run it as root: rootless containers are not supported yet",
    }
    assert found["delegation"]["status"] == "fail"
    assert found["kernel"]["status"] == "ok"


def test_a_system_call_that_a_filter_hides_is_found_missing(rt: Runtime) -> None:
    prefix = ["strace", "-f", "-o", "/dev/null", "-e", "inject=openat2:error=ENOSYS"]
    result, found = doctor(rt, prefix=prefix)
    assert result.code == 1
    assert found["openat2"]["status"] == "fail"
    assert found["openat2"]["value"] == "not in this kernel"
    prefix[-1] = "inject=clone3:error=ENOSYS"
    result, found = doctor(rt, prefix=prefix)
    assert result.code == 0
    assert found["clone into cgroup"]["status"] == "warn"


def every_cgroup2(command: str) -> list[str]:
    """A prefix that does `command` to every cgroup2 mount of a private mount namespace."""
    script = (
        "mount --make-rprivate /; "
        f'for p in $(findmnt -rn -t cgroup2 -o TARGET); do {command} "$p"; done; exec "$@"'
    )
    return ["unshare", "-m", "sh", "-ec", script, "sh"]


def test_cgroups_that_cannot_be_made(rt: Runtime) -> None:
    result, found = doctor(rt, prefix=every_cgroup2("mount -o remount,bind,ro"))
    assert result.code == 1
    assert found["delegation"]["value"].endswith("read-only file system")


def test_a_machine_without_cgroup2(rt: Runtime) -> None:
    result, found = doctor(rt, prefix=every_cgroup2("umount -l"))
    assert result.code == 1
    assert found["cgroup2 mount"]["remedy"] == "mount -t cgroup2 none /sys/fs/cgroup"

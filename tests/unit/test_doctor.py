"""`doctor`: what each finding is called, and that every lack has a remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from shim.engine import doctor, doctor_host
from shim.engine.doctor_host import FAIL, OK, WARN, Check
from shim.errors import ShimError
from shim.kernel import probe
from shim.kernel.cgroup_mount import CgroupMount
from shim.view.doctor import as_table

ALL = 2**41 - 1


def named(found: list[Check], name: str) -> Check:
    (check,) = [check for check in found if check.name == name]
    return check


def test_every_check_has_one_line_and_every_lack_a_remedy() -> None:
    found = doctor.checks()
    names = [check.name for check in found]
    assert len(names) == len(set(names))
    for check in found:
        assert check.status in (OK, WARN, FAIL)
        assert check.value
        assert (check.remedy is None) == (check.status == OK), check.name
        assert "\n" not in check.value + (check.remedy or "")


def test_only_a_failure_keeps_shim_from_running() -> None:
    fine, less, bad = (Check("x", status, "v") for status in (OK, WARN, FAIL))
    assert doctor.runs([fine, less])
    assert not doctor.runs([fine, bad, less])


@pytest.mark.parametrize(
    ("release", "status"),
    [("6.18.44-fc", OK), ("5.14.0", OK), ("5.13.19-amd64", FAIL), ("4.19", FAIL), ("6", OK),
     ("10.0-rc1", OK)],
)  # fmt: skip
def test_kernel_versions(monkeypatch: pytest.MonkeyPatch, release: str, status: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("L", "n", release, "v", "m")))
    assert doctor_host.kernel_version().status == status


@pytest.mark.parametrize(
    ("mask", "status", "value"),
    [
        (ALL, OK, "all"),
        (ALL & ~(1 << 24), WARN, "without CAP_SYS_RESOURCE"),
        (ALL & ~(1 << 21), FAIL, "without CAP_SYS_ADMIN"),
        (0, FAIL, "none"),
    ],
)
def test_capabilities(tmp_path: Path, mask: int, status: str, value: str) -> None:
    file = tmp_path / "status"
    file.write_text(f"Name:\tx\nCapPrm:\t{0:016x}\nCapEff:\t{mask:016x}\n")
    check = doctor_host.capabilities(str(file))
    assert (check.status, check.value) == (status, value)


def test_security_modules(tmp_path: Path) -> None:
    file = tmp_path / "lsm"
    assert doctor_host.lsms(str(file)).status == WARN
    file.write_text("lockdown,capability,apparmor")
    check = doctor_host.lsms(str(file))
    assert (check.status, check.value) == (OK, "lockdown capability apparmor")


def test_sysctls(tmp_path: Path) -> None:
    for name, value in (("user/max_user_namespaces", "0"), ("vm/memfd_noexec", "2")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(value + "\n")
    found = doctor_host.sysctls(str(tmp_path))
    assert named(found, "user.max_user_namespaces").status == WARN
    assert named(found, "vm.memfd_noexec").remedy == (
        "sysctl -w vm.memfd_noexec=1: until then the executor is copied to /dev/shm"
    )
    assert named(found, "kernel.pid_max").value == "not in this kernel"


def test_tools_are_looked_for_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    tool = tmp_path / "skopeo"
    tool.touch(mode=0o755)
    assert named(doctor_host.tools(), "skopeo").value == str(tool)
    tool.unlink()
    check = named(doctor_host.tools(), "skopeo")
    if check.status == WARN:  # it may be in /usr/sbin
        assert check.remedy == "apt-get install skopeo (fetches images)"


@pytest.mark.parametrize(
    ("code", "status", "value"),
    [(0, OK, "yes"), (errno.ENOSYS, WARN, "not in this kernel"),
     (errno.EACCES, WARN, "no: permission denied")],
)  # fmt: skip
def test_a_probe_s_answer(code: int, status: str, value: str) -> None:
    check = doctor._probed("memfd exec", code, WARN, "remedy")
    assert (check.status, check.value) == (status, value)


def test_what_only_root_may_do_is_said_to_need_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check = doctor._probed("mount API", errno.EPERM, FAIL, "loosen")
    assert (check.status, check.value) == (FAIL, "not for this user")
    assert str(check.remedy).startswith("run it as root")
    assert doctor_host.root().value == "no: user id 1000"


@pytest.mark.parametrize(
    ("name", "status"), [("mnt", FAIL), ("net", FAIL), ("user", WARN), ("time", WARN)]
)
def test_a_namespace_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, name: str, status: str
) -> None:
    monkeypatch.setattr(probe, "namespace", lambda _: errno.ENOSYS)
    check = doctor._namespace(name)
    assert (check.status, check.value) == (status, "not in this kernel")
    assert str(check.remedy).startswith("boot a kernel with CONFIG_")


@pytest.mark.parametrize(
    ("hierarchy", "remedy"),
    [("0 5 1", "have memory written"), ("0 5 0", "take cgroup_disable=memory off"),
     ("4 5 1", "boot with cgroup_no_v1=all")],
)  # fmt: skip
def test_where_a_missing_controller_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hierarchy: str, remedy: str
) -> None:
    number, _, enabled = hierarchy.split()
    monkeypatch.setattr(
        "shim.kernel.cgroup_mount._kernel_hierarchy",
        lambda _: int(number) if enabled == "1" else -1,
    )
    check = doctor._controller(CgroupMount(str(tmp_path), frozenset({"cpu"}), {}), "memory")
    assert check.status == WARN
    assert str(check.remedy).startswith(remedy)
    assert doctor._controller(CgroupMount("/c", frozenset({"cpu"}), {}), "cpu").status == OK


def test_a_machine_without_cgroup2(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> CgroupMount:
        raise ShimError("no cgroup2 file system is mounted: mount one")

    monkeypatch.setattr(doctor, "find_mount", nothing)
    (check,) = doctor._cgroups()
    assert (check.status, check.value) == (FAIL, "no cgroup2 file system is mounted")


def test_the_probe_cgroup_is_removed_again(tmp_path: Path) -> None:
    assert probe.cgroup_file(str(tmp_path), "cgroup.kill") == errno.ENOENT
    assert list(tmp_path.iterdir()) == []
    assert probe.cgroup_file(str(tmp_path / "nosuch"), "cgroup.kill") == errno.ENOENT


def test_the_table_ends_with_the_verdict() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "root", "status": "fail", "value": "no: user id 7", "remedy": "run it as root"},
        {"name": "kernel", "status": "ok", "value": "6.1", "remedy": None},
    ]
    assert as_table(rows, ok=False) == (
        "STATUS   CHECK    VALUE           REMEDY\n"
        "fail     root     no: user id 7   run it as root\n"
        "ok       kernel   6.1             -\n"
        "\nshim cannot run here: 1 check(s) failed\n"
    )
    assert as_table(rows[1:], ok=True).endswith("\n\nshim can run here\n")

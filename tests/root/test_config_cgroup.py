"""config.json `linux.cgroupsPath` and `linux.resources`: where the container is, and its limits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from root.config_support import init_file, init_pid, refused
from support.runtime import Runtime


def base(rt: Runtime) -> Path:
    return Path(rt.mount.path)


def own(rt: Runtime) -> str:
    """The container's place in the cgroup2 hierarchy."""
    line = init_file(rt, "cgroup").decode().splitlines()[-1]
    assert line.startswith("0::")
    return line.removeprefix("0::")


def limit_file(rt: Runtime, name: str) -> str:
    return (base(rt) / f"{rt.cgroup}/c0".lstrip("/") / name).read_text().strip()


def test_an_absolute_path_is_below_the_mount(rt: Runtime) -> None:
    rt.running(linux={"cgroupsPath": f"{rt.cgroup}/deep/er/box"})
    directory = base(rt) / f"{rt.cgroup}/deep/er/box".lstrip("/")
    assert str(init_pid(rt)) in (directory / "cgroup.procs").read_text().split()
    assert rt.state("c")["status"] == "running"
    # What lies above the leaf may be shared and stays, as with runc and crun.
    assert rt.delete("c", "--force").code == 0
    assert not directory.exists()
    for above in (directory.parent, directory.parent.parent):
        above.rmdir()


def test_the_same_value_is_always_the_same_place(rt: Runtime) -> None:
    """A relative path too, from whatever cgroup the caller is in (runtime-spec "Cgroups Path")."""
    rt.running(linux={"cgroupsPath": f"{rt.cgroup}/here".lstrip("/")})
    directory = base(rt) / f"{rt.cgroup}/here".lstrip("/")
    assert str(init_pid(rt)) in (directory / "cgroup.procs").read_text().split()


def test_without_a_path_it_is_below_shim(rt: Runtime) -> None:
    config = rt.config()
    del config["linux"]["cgroupsPath"]
    id = f"test-{os.getpid()}"
    assert rt.create(id, rt.bundle_of(config)).code == 0
    directory = base(rt) / "shim" / id
    assert str(init_pid(rt, id)) in (directory / "cgroup.procs").read_text().split()
    assert rt.delete(id, "--force").code == 0
    assert not directory.exists()
    parent = base(rt) / "shim"
    # an empty one goes too; somebody else's containers may be there
    assert not parent.exists() or any(entry.is_dir() for entry in parent.iterdir())


@pytest.mark.parametrize("path", ["/a/../../b", "..", "/a\n/b"])
def test_cg_07_a_path_that_leads_elsewhere_is_refused(rt: Runtime, path: str) -> None:
    refused(rt, rt.config(linux={"cgroupsPath": path}), "config.json: /linux/cgroupsPath: ")


def test_a_cgroup_that_is_in_use_is_refused(rt: Runtime) -> None:
    rt.running()
    config = rt.config(linux={"cgroupsPath": f"{rt.cgroup}/c0"})
    result = rt.create("second", rt.bundle_of(config))
    assert result.code == 1
    assert f"{rt.cgroup}/c0" in result.line
    assert rt.state("c")["status"] == "running"
    assert rt.ids() == ["c"]


def test_delete_removes_the_cgroup_and_what_is_below(rt: Runtime) -> None:
    rt.running()
    directory = base(rt) / f"{rt.cgroup}/c0".lstrip("/")
    (directory / "inner" / "most").mkdir(parents=True)
    assert rt.delete("c", "--force").code == 0
    assert not directory.exists()
    assert directory.parent.exists()


def hugepage_sizes(rt: Runtime) -> list[str]:
    names = os.listdir(base(rt) / rt.cgroup.lstrip("/"))
    return sorted(n.split(".")[1] for n in names if n.startswith("hugetlb.") and n.count(".") == 2)


def test_hugepage_limits(rt: Runtime) -> None:
    """The one controller that a hybrid machine leaves to cgroup v2."""
    group = base(rt) / rt.cgroup.lstrip("/")
    if "hugetlb" not in (group / "cgroup.controllers").read_text().split():
        config = rt.config()
        config["linux"]["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 0}]
        refused(rt, config, "/linux/resources/hugepageLimits/0: hugetlb controller is ")
        return
    sizes = hugepage_sizes(rt) or ["2MB"]
    limits = [{"pageSize": size, "limit": 1 << 30} for size in sizes]
    rt.running(linux={"resources": {"hugepageLimits": limits}})
    for size in sizes:
        assert limit_file(rt, f"hugetlb.{size}.max") == str(1 << 30)
        assert limit_file(rt, f"hugetlb.{size}.rsvd.max") == str(1 << 30)


def test_a_page_size_the_machine_does_not_have(rt: Runtime) -> None:
    config = rt.config()
    config["linux"]["resources"]["hugepageLimits"] = [{"pageSize": "3MB", "limit": 0}]
    refused(rt, config, "/linux/resources/hugepageLimits/0")


# field: (value, controller, pointer, file, what the file says then)
LIMITS: dict[str, tuple[dict[str, Any], str, str, str, str]] = {
    "memory": (
        {"memory": {"limit": 1 << 26}},
        "memory", "/linux/resources/memory/limit", "memory.max", str(1 << 26),
    ),
    "reservation": (
        {"memory": {"reservation": 1 << 25}},
        "memory", "/linux/resources/memory/reservation", "memory.low", str(1 << 25),
    ),
    "cpu": (
        {"cpu": {"quota": 50000, "period": 100000}},
        "cpu", "/linux/resources/cpu/quota", "cpu.max", "50000 100000",
    ),
    "shares": (
        {"cpu": {"shares": 1024}}, "cpu", "/linux/resources/cpu/shares", "cpu.weight", "100",
    ),
    "cpuset": (
        {"cpu": {"cpus": "0"}}, "cpuset", "/linux/resources/cpu/cpus", "cpuset.cpus", "0",
    ),
    "pids": ({"pids": {"limit": 77}}, "pids", "/linux/resources/pids/limit", "pids.max", "77"),
    "unified": (
        {"unified": {"pids.max": "78"}},
        "pids", "/linux/resources/unified/pids.max", "pids.max", "78",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_holds_or_its_absence_is_explained(rt: Runtime, name: str) -> None:
    """Where cgroup v2 has the controller the limit is set. On a hybrid machine that keeps it on v1
    the error names the field and says where the controller is; nothing is left behind."""
    value, controller, pointer, file, says = LIMITS[name]
    config = rt.config()
    config["linux"]["resources"].update(value)
    available = (base(rt) / rt.cgroup.lstrip("/") / "cgroup.controllers").read_text().split()
    if controller in available:
        assert rt.create("c", rt.bundle_of(config)).code == 0
        assert limit_file(rt, file) == says
        return
    line = refused(rt, config, f"{pointer}: {controller} controller is ")
    if controller in rt.mount.v1:
        assert line.endswith(f"on cgroup v1 at {rt.mount.v1[controller]}")


def test_an_io_limit_holds_or_its_absence_is_explained(rt: Runtime) -> None:
    config = rt.config()
    rate = [{"major": 7, "minor": 0, "rate": 1 << 20}]
    config["linux"]["resources"]["blockIO"] = {"throttleReadBpsDevice": rate}
    result = rt.create("c", rt.bundle_of(config))
    pointer = "/linux/resources/blockIO/throttleReadBpsDevice/0"
    if result.code == 0:
        assert f"7:0 rbps={1 << 20}" in limit_file(rt, "io.max")
    else:
        assert pointer in result.line
        assert rt.leaks() == []
        v1 = rt.mount.v1.get("io", rt.mount.v1.get("blkio"))
        if v1 is not None and "io" not in rt.mount.controllers:
            assert f"io controller is on cgroup v1 at {v1}" in result.line


def test_a_unified_file_that_is_not_there_is_named(rt: Runtime) -> None:
    config = rt.config()
    config["linux"]["resources"]["unified"] = {"nonsense.max": "1"}
    refused(rt, config, "/linux/resources/unified/nonsense.max")


def test_a_limit_of_cgroup_v1_alone_is_refused_by_name(rt: Runtime) -> None:
    config = rt.config()
    config["linux"]["resources"]["memory"] = {"swappiness": 10}
    refused(rt, config, "/linux/resources/memory/swappiness: not supported")


def test_cg_01_a_container_is_made_below_a_cgroup_that_was_killed(rt: Runtime) -> None:
    """Some kernels kill what is born by CLONE_INTO_CGROUP where cgroup.kill was ever written."""
    (base(rt) / rt.cgroup.lstrip("/") / "cgroup.kill").write_text("1")
    rt.running()
    assert rt.output("c", "echo", "alive") == "alive\n"

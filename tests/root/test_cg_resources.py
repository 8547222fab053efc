"""Device programs, limits and mounts against the real kernel."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from root.cg_support import process, scratch

from shim.bundle import spec
from shim.engine import cgroup_setup
from shim.engine.devices import DEFAULT_RULES, Rule, program
from shim.errors import KernelError, ShimError
from shim.kernel.api import KERNEL
from shim.kernel.cgroup import Cgroup, CgroupMount, find_mount

KMSG, NULL, FULL = (1, 11), (1, 3), (1, 7)
DENY_ALL = {"allow": False, "access": "rwm"}
PAGE_FILE = "hugetlb.2MB.max"


def parse(resources: object) -> spec.Resources:
    """linux.resources of a whole config.json, as the bundle layer reads it."""
    config = {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "mount"}], "resources": resources},
    }
    found = spec.parse(json.dumps(config).encode()).linux.resources
    assert found is not None
    return found


def attempt(group: Cgroup, act: Callable[[], object]) -> int:
    """errno of `act` in a process in `group`, 0 when it works."""

    def body() -> None:
        try:
            act()
        except OSError as error:
            os._exit(error.errno or 255)

    with process(group, body) as child:
        assert child.ended(10)
        info = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert info is not None
        assert info.si_code == os.CLD_EXITED
        return info.si_status


def node(directory: Path, number: tuple[int, int]) -> str:
    """A character device node that this process, outside of the cgroup, can open."""
    path = str(directory / f"c{number[0]}-{number[1]}")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(*number))
    os.close(os.open(path, os.O_RDWR))
    return path


def opener(path: str, flags: int) -> Callable[[], object]:
    return lambda: os.open(path, flags)


EPERM = 1


def test_device_program_decides_opens_and_mknod(tmp_path: Path) -> None:
    null, kmsg, full = (node(tmp_path, number) for number in (NULL, KMSG, FULL))
    rules = parse(
        {
            "devices": [
                DENY_ALL,
                {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
            ]
        }
    )
    with scratch() as (_, group):
        assert attempt(group, opener(kmsg, os.O_RDWR)) == 0
        cgroup_setup.attach_devices(group, rules, KERNEL)
        assert attempt(group, opener(null, os.O_RDWR)) == 0
        assert attempt(group, opener(full, os.O_RDWR)) == 0
        assert attempt(group, opener(kmsg, os.O_RDONLY)) == 0
        assert attempt(group, opener(kmsg, os.O_WRONLY)) == EPERM
        assert attempt(group, opener(kmsg, os.O_RDWR)) == EPERM
        made = str(tmp_path / "made")
        mode, device = stat.S_IFBLK | 0o600, os.makedev(7, 200)
        assert attempt(group, lambda: os.mknod(made, mode, device)) == 0
        assert attempt(group, opener(made, os.O_RDONLY)) == EPERM
        os.close(os.open(kmsg, os.O_RDWR))


def test_device_program_covers_child_cgroups(tmp_path: Path) -> None:
    kmsg = node(tmp_path, KMSG)
    with scratch() as (_, group), group.child("hook-1") as hook:
        cgroup_setup.attach_devices(group, None, KERNEL)
        assert attempt(hook, opener(kmsg, os.O_RDONLY)) == EPERM
        assert attempt(hook, opener("/dev/null", os.O_RDWR)) == 0


def test_last_rule_wins_in_the_kernel(tmp_path: Path) -> None:
    kmsg = node(tmp_path, KMSG)
    allow, deny = (Rule(flag, "c", 1, None, "rwm") for flag in (True, False))
    for rules, expected in (([deny, allow], 0), ([allow, deny], EPERM), ([], EPERM)):
        with scratch() as (_, group):
            fd = KERNEL.bpf_device_load(program(rules))
            KERNEL.bpf_device_attach(group.fd, fd)
            os.close(fd)
            assert attempt(group, opener(kmsg, os.O_RDONLY)) == expected


def test_mknod_can_be_denied_when_the_defaults_are_left_out(tmp_path: Path) -> None:
    made = str(tmp_path / "made")
    with scratch() as (_, group):
        fd = KERNEL.bpf_device_load(program([Rule(True, "a", None, None, "rw")]))
        KERNEL.bpf_device_attach(group.fd, fd)
        os.close(fd)
        assert attempt(group, opener("/dev/null", os.O_RDWR)) == 0
        make = stat.S_IFCHR | 0o600, os.makedev(*NULL)
        assert attempt(group, lambda: os.mknod(made, *make)) == EPERM


def test_programs_add_up_until_the_old_one_is_detached(tmp_path: Path) -> None:
    """How an update replaces rules without a moment in which more is allowed."""
    kmsg = node(tmp_path, KMSG)
    with scratch() as (_, group):
        cgroup_setup.attach_devices(group, None, KERNEL)
        (old,) = KERNEL.bpf_device_query(group.fd)
        cgroup_setup.attach_devices(group, parse({"devices": [{"allow": True}]}), KERNEL)
        assert attempt(group, opener(kmsg, os.O_RDONLY)) == EPERM
        assert len(KERNEL.bpf_device_query(group.fd)) == 2
        KERNEL.bpf_device_detach(group.fd, old)
        assert attempt(group, opener(kmsg, os.O_RDONLY)) == 0
        assert len(KERNEL.bpf_device_query(group.fd)) == 1


@pytest.mark.parametrize("count", [0, 1, 500])
def test_the_verifier_takes_many_rules(count: int) -> None:
    rules = [Rule(number % 3 > 0, "c", 1, number, "rw") for number in range(count)]
    os.close(KERNEL.bpf_device_load(program([*rules, *DEFAULT_RULES])))


def test_the_verifier_refuses_a_broken_program() -> None:
    with pytest.raises(OSError, match=r"Invalid argument|Permission denied"):
        KERNEL.bpf_device_load(b"\x95" + bytes(7))  # exit without a return value


# -- limits --------------------------------------------------------------------------------------


@pytest.fixture
def mount() -> CgroupMount:
    return find_mount()


def missing_controller(mount: CgroupMount) -> tuple[str, object, str]:
    """(controller, resources, pointer) for a controller that this cgroup2 mount lacks."""
    choices: dict[str, tuple[object, str]] = {
        "memory": ({"memory": {"limit": 1 << 30}}, "/memory/limit"),
        "pids": ({"pids": {"limit": 10}}, "/pids/limit"),
        "misc": ({"unified": {"misc.max": "x 1"}}, "/unified/misc.max"),
        "rdma": ({"unified": {"rdma.max": "x 1"}}, "/unified/rdma.max"),
        "frob": ({"unified": {"frob.max": "1"}}, "/unified/frob.max"),
    }
    name = next(name for name in choices if name not in mount.controllers)
    return (name, *choices[name])


def test_limit_without_its_controller_says_where_it_is_and_leaves_no_cgroup(
    mount: CgroupMount,
) -> None:
    name, resources, pointer = missing_controller(mount)
    with scratch() as (_, top):
        with pytest.raises(ShimError) as caught:
            cgroup_setup.setup(mount, top.path + "/web", parse(resources), KERNEL)
        assert not top.has("web")
    message = str(caught.value)
    assert message.startswith(f"/linux/resources{pointer}: {name} controller is ")
    if name in mount.v1:
        assert message.endswith(f"on cgroup v1 at {mount.v1[name]}")


def test_hugetlb_limit_and_reservation_reach_the_kernel(mount: CgroupMount) -> None:
    if "hugetlb" not in mount.controllers or not os.path.isdir(
        "/sys/kernel/mm/hugepages/hugepages-2048kB"
    ):
        pytest.skip("no hugetlb controller with 2 MiB pages on this machine's cgroup2 mount")
    resources = parse({"hugepageLimits": [{"pageSize": "2MB", "limit": 8 << 20}]})
    with (
        scratch() as (_, top),
        cgroup_setup.setup(mount, top.path + "/web", resources, KERNEL) as web,
    ):
        assert web.read(PAGE_FILE).strip() == str(8 << 20)
        assert web.read("hugetlb.2MB.rsvd.max").strip() == str(8 << 20)
        assert len(KERNEL.bpf_device_query(web.fd)) == 1
        unified = parse({"unified": {PAGE_FILE: str(4 << 20), "cgroup.max.depth": "7"}})
        cgroup_setup.apply(web, unified, mount)
        assert web.read(PAGE_FILE).strip() == str(4 << 20)
        assert web.read("cgroup.max.depth").strip() == "7"


def test_page_size_the_kernel_lacks(mount: CgroupMount) -> None:
    if "hugetlb" not in mount.controllers:
        pytest.skip("no hugetlb controller on this machine's cgroup2 mount")
    resources = parse({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]})
    with scratch() as (_, group), pytest.raises(ShimError) as caught:
        cgroup_setup.apply(group, resources, mount)
    assert "/linux/resources/hugepageLimits/0: this kernel has no hugetlb.3MB.max" in str(
        caught.value
    )


def test_value_the_kernel_refuses_names_the_field_and_leaves_no_cgroup(mount: CgroupMount) -> None:
    resources = parse({"unified": {"cgroup.max.depth": "soup"}})
    with scratch() as (_, top):
        with pytest.raises(
            KernelError, match=r"^/linux/resources/unified/cgroup\.max\.depth: write"
        ):
            cgroup_setup.setup(mount, top.path + "/web", resources, KERNEL)
        assert not top.has("web")


# -- mounts --------------------------------------------------------------------------------------

FIND = (
    "from shim.kernel.cgroup import find_mount;"
    "mount = find_mount(); print(mount.path, *sorted(mount.controllers))"
)


def test_find_mount_in_a_private_mount_namespace(mount: CgroupMount, tmp_path: Path) -> None:
    """The usual mount is covered there; another one has a space and a backslash in its path."""
    place = tmp_path / "with space\\040"
    place.mkdir()
    script = (
        'set -e; mount --make-rprivate /; mount -t tmpfs none "$1"; mount -t cgroup2 none "$2";'
        ' exec "$3" -c "$4"'
    )
    argv = ["unshare", "-m", "sh", "-c", script, "sh", mount.path, str(place), sys.executable, FIND]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=_repository())
    assert done.stderr == ""
    assert done.stdout.split("\n")[0] == " ".join([str(place), *sorted(mount.controllers)])


def test_find_mount_without_any(mount: CgroupMount) -> None:
    script = 'set -e; mount --make-rprivate /; umount -l "$1"; exec "$2" -c "$3"'
    argv = ["unshare", "-m", "sh", "-c", script, "sh", mount.path, sys.executable, FIND]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=_repository())
    assert "ShimError: no cgroup2 file system is mounted" in done.stderr


def _repository() -> Path:
    return Path(__file__).parents[2]

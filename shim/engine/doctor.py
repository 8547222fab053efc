"""`doctor`: what this host offers and lacks, and how to get it. Changes nothing, needs nothing.

A check is `ok`, `warn` (shim runs, something is less) or `fail` (shim cannot run here); what is not
ok has a remedy.
"""

from __future__ import annotations

import errno
import os

from shim.engine import doctor_host as host
from shim.engine.doctor_host import FAIL, OK, WARN, Check, verdict
from shim.errors import ShimError, strerror
from shim.kernel import probe
from shim.kernel.cgroup_mount import find_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shim.kernel.cgroup_mount import CgroupMount

CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")
_AS_ROOT = "run it as root: rootless containers are not supported yet"

_FEATURES: tuple[tuple[str, Callable[[], int], str, str], ...] = (
    ("pidfd_open", probe.pidfd, FAIL, "boot Linux 5.3 or later, or loosen the seccomp filter"),
    ("openat2", probe.openat2, FAIL, "boot Linux 5.6 or later, or loosen the seccomp filter"),
    ("mount API", probe.mount_api, FAIL, "boot Linux 5.2 or later, or loosen the seccomp filter"),
    ("mount_setattr", probe.mount_setattr, FAIL, "boot Linux 5.12 or later"),
    ("setns by pidfd", probe.setns_pidfd, FAIL, "boot Linux 5.8 or later"),
    ("clone into cgroup", probe.clone_into_cgroup, WARN,
     "boot Linux 5.7 or later: until then processes are moved into their cgroup"),
    ("memfd exec", probe.memfd_exec, WARN,
     "sysctl -w vm.memfd_noexec=1: until then the executor is copied to /dev/shm"),
    ("PIDFD_GET_INFO", probe.pidfd_info, WARN,
     "boot Linux 6.15 or later: until then the exit status is lost when a monitor is killed"),
)  # fmt: skip
"""(name, probe, status without it, remedy)."""

_NEEDED_NAMESPACES = ("mnt", "pid", "ipc", "uts", "net")


def checks() -> list[Check]:
    """Every check, in the order to read them."""
    found = [host.kernel_version(), host.root(), host.capabilities()]
    found += [_feature(*feature) for feature in _FEATURES]
    found += [_namespace(name) for name in probe.NAMESPACES]
    found += [_executor(), _device_program()]
    found += _cgroups()
    found += [host.lsms(), *host.sysctls(), *host.tools()]
    return found


def runs(found: list[Check]) -> bool:
    """Whether shim can run here."""
    return all(check.status != FAIL for check in found)


def _feature(name: str, ask: Callable[[], int], without: str, remedy: str) -> Check:
    return _probed(name, ask(), without, remedy)


def _probed(name: str, code: int, without: str, remedy: str) -> Check:
    if code == 0:
        return Check(name, OK, "yes")
    if code == errno.EPERM and os.geteuid() != 0:
        return Check(name, FAIL, "not for this user", _AS_ROOT)
    value = "not in this kernel" if code == errno.ENOSYS else f"no: {strerror(code)}"
    return Check(name, without, value, remedy)


def _namespace(name: str) -> Check:
    without = FAIL if name in _NEEDED_NAMESPACES else WARN
    code = probe.namespace(name)
    option = "CONFIG_CGROUPS" if name == "cgroup" else f"CONFIG_{name.upper()}_NS"
    remedy = {
        errno.ENOSYS: f"boot a kernel with {option}",
        errno.ENOSPC: "raise its limit: sysctl user | grep namespaces",
    }.get(code, "loosen the container or seccomp filter that shim runs in")
    if name == "mnt" and code == errno.ENOSYS:
        remedy = "boot a kernel with CONFIG_NAMESPACES"
    return _probed(f"{name} namespace", code, without, remedy)


def _executor() -> Check:
    try:
        from shim.kernel.api import KERNEL

        KERNEL.executor()
    except ImportError:
        return Check("executor", FAIL, "shim._core is not built", "run scripts/build")
    except OSError as error:
        cause = strerror(error.errno or errno.EIO)
        return Check("executor", FAIL, f"no sealed copy: {cause}", "install shim again")
    return Check("executor", OK, "sealed copy works")


def _device_program() -> Check:
    name = "device program"
    from shim.engine.devices import DEFAULT_RULES, program

    try:
        from shim.kernel.api import KERNEL

        os.close(KERNEL.bpf_device_load(program(DEFAULT_RULES)))
    except ImportError:
        return Check(name, FAIL, "shim._core is not built", "run scripts/build")
    except OSError as error:
        remedy = "boot a kernel with CONFIG_CGROUP_BPF, and give CAP_BPF or CAP_SYS_ADMIN"
        return _probed(name, error.errno or errno.EIO, FAIL, remedy)
    return Check(name, OK, "yes")


def _cgroups() -> list[Check]:
    try:
        mount = find_mount()
    except ShimError as error:
        remedy = "mount -t cgroup2 none /sys/fs/cgroup"
        return [Check("cgroup2 mount", FAIL, str(error).partition(":")[0], remedy)]
    found = [Check("cgroup2 mount", OK, mount.path), *_delegation(mount)]
    return found + [_controller(mount, name) for name in CONTROLLERS]


def _delegation(mount: CgroupMount) -> list[Check]:
    """Whether cgroups can be made, and whether they can be killed as a whole."""
    code = probe.cgroup_file(mount.path, "cgroup.kill")
    if code not in (0, errno.ENOENT):
        value = f"cannot make a cgroup in {mount.path}: {strerror(code)}"
        remedy = _AS_ROOT if os.geteuid() else f"mount -o remount,rw {mount.path}"
        return [Check("delegation", FAIL, value, remedy)]
    kill = verdict(
        "cgroup.kill", code == 0, "yes", "not in this kernel", WARN,
        "boot Linux 5.14 or later: until then a cgroup is frozen and its processes killed singly",
    )  # fmt: skip
    return [Check("delegation", OK, f"can make cgroups in {mount.path}"), kill]


def _controller(mount: CgroupMount, name: str) -> Check:
    title = f"{name} controller"
    if name in mount.controllers:
        return Check(title, OK, f"on cgroup2 at {mount.path}")
    where = mount.where(name).removeprefix(f"{name} controller is ")
    if "cgroup v1" in where:
        remedy = "boot with cgroup_no_v1=all (systemd: systemd.unified_cgroup_hierarchy=1 as well)"
    elif "not in this kernel" in where:
        remedy = f"boot a kernel with the {name} controller"
    elif "disabled" in where:
        remedy = (
            f"take cgroup_disable={name} off the kernel's command line, or add cgroup_enable={name}"
        )
    else:
        remedy = f"have {name} written to cgroup.subtree_control of the parent (systemd: Delegate=)"
    return Check(title, WARN, where, remedy)

"""Make a container's cgroup: directory, limits, device program. All or nothing.

Where: `linux.cgroupsPath`, absolute or relative, is below the top of the cgroup2 mount, so that the
same value is always the same place (runtime-spec "Cgroups Path"; crun reads relative ones alike,
runc puts them below its own cgroup's parent). Without it: /shim/ID.
"""

from __future__ import annotations

import errno
import os

from shim.engine import devices
from shim.engine.resources import BASE, Setting, settings
from shim.errors import KernelError, ShimError
from shim.kernel.cgroup import Cgroup, CgroupMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.spec import DeviceRule, Memory, Resources
    from shim.kernel.api import Kernel

DEFAULT_PARENT = "/shim"

_MISSING = frozenset({errno.ENOENT, errno.EOPNOTSUPP})


def location(cgroups_path: str | None, container_id: str) -> str:
    """The container's cgroup, below the mount."""
    return cgroups_path or f"{DEFAULT_PARENT}/{container_id}"


def setup(mount: CgroupMount, rel: str, resources: Resources | None, kernel: Kernel) -> Cgroup:
    """Create the cgroup `rel` and apply `resources`. On any error nothing is left that was not
    there.

    Raises ShimError (InputError for a value, KernelError for a system call).
    """
    cgroup = Cgroup.create(mount, rel)
    try:
        if resources is not None:
            apply(cgroup, resources, mount)
        attach_devices(cgroup, resources, kernel)
    except BaseException:
        if cgroup.fresh:
            cgroup.remove()
        cgroup.close()
        raise
    return cgroup


def apply(cgroup: Cgroup, resources: Resources, mount: CgroupMount) -> None:
    """Write every limit. Nothing is written when one of them has no controller here.

    ShimError names the field's JSON pointer and where the controller is.
    """
    for setting in checked_settings(cgroup, resources, mount):
        write(cgroup, setting)


def checked_settings(
    cgroup: Cgroup, resources: Resources, mount: CgroupMount, file: str = "config.json"
) -> list[Setting]:
    """What `resources` asks for, in order, once it is sure that every controller is here and no
    limit is below what is in use; ShimError (InputError names `file`)."""
    wanted = settings(resources, file)
    available = frozenset(cgroup.read("cgroup.controllers").split())
    for setting in wanted:
        # Some files need no controller (cpu.pressure), so its absence alone is no error.
        missing = setting.controller and setting.controller not in available
        if missing and not cgroup.has(setting.file):
            raise ShimError(f"{setting.pointer}: {_where(setting.controller, cgroup, mount)}")
    if resources.memory is not None and resources.memory.check_before_update:
        _check_usage(cgroup, resources.memory)
    return wanted


def attach_devices(cgroup: Cgroup, resources: Resources | None, kernel: Kernel) -> None:
    """Attach the program for the config's rules and the defaults; a config without rules gets the
    defaults alone, as in runc."""
    own = [] if resources is None else resources.devices
    rules: list[DeviceRule | devices.Rule] = [*own, *devices.DEFAULT_RULES]
    pointer = f"{BASE}/devices"
    try:
        fd = kernel.bpf_device_load(devices.program(rules))
    except OSError as error:
        raise _devices_error(pointer, "load the device program", error) from None
    try:
        kernel.bpf_device_attach(cgroup.fd, fd)
    except OSError as error:
        raise _devices_error(pointer, f"attach it to cgroup {cgroup.path}", error) from None
    finally:
        os.close(fd)


def _devices_error(pointer: str, step: str, error: OSError) -> KernelError:
    return KernelError(f"{pointer}: {step}", error.errno or 0)


def _where(controller: str, cgroup: Cgroup, mount: CgroupMount) -> str:
    if controller not in mount.controllers:
        return mount.where(controller)
    directory = mount.path.rstrip("/") + cgroup.path
    return f"{controller} controller is not delegated: not in {directory}/cgroup.controllers"


def _check_usage(cgroup: Cgroup, memory: Memory) -> None:
    """memory.checkBeforeUpdate: refuse a limit below what is in use instead of an OOM kill."""
    try:
        usage = int(cgroup.read("memory.current"))
    except KernelError:
        return  # as in runc: a new cgroup uses nothing
    for field, limit in (("swap", memory.swap), ("limit", memory.limit)):
        if limit is not None and 0 < limit <= usage:
            raise ShimError(f"{BASE}/memory/{field}: {limit} is not above the {usage} bytes in use")


def write(cgroup: Cgroup, setting: Setting) -> None:
    """One limit, to the file that this kernel has for it; errors name the field."""
    choices = [(setting.file, setting.value)]
    if setting.other is not None:
        choices.append(setting.other)
    for file, value in choices:
        try:
            cgroup.write(file, value)
            return
        except KernelError as error:
            if error.errno not in _MISSING or cgroup.has(file):
                raise KernelError(f"{setting.pointer}: {error.step}", error.errno) from None
    if not setting.optional:
        names = " or ".join(file for file, _ in choices)
        raise ShimError(f"{setting.pointer}: this kernel has no {names} in cgroup {cgroup.path}")

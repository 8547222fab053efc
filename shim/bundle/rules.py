"""What must hold between the fields of a Spec; each rule is runc's or the kernel's."""

from __future__ import annotations

from shim.bundle import sysctl
from shim.bundle.caps import names
from shim.bundle.json_strict import escape
from shim.bundle.mounts import parse_options
from shim.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.classes import IDMap, Linux, Mount, Process, Spec

ID_MAPS_MAX = 340  # user_namespaces(7), Linux 4.15


def check(spec: Spec, file: str) -> None:
    """InputError, with the pointer of the field that has to change, for the first rule broken."""
    linux = spec.linux
    _namespaces(linux, file)
    if spec.process is not None:
        check_process(spec.process, file, "/process")
    for name, value in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if value is not None and linux.namespace("uts") is None:
            raise InputError(file, f"/{name}", "needs a uts namespace in /linux/namespaces")
    for index, mount in enumerate(spec.mounts):
        _overlay(mount, file, f"/mounts/{index}")
    _user_namespace(linux, file)
    _time_namespace(linux, file)
    _sysctls(linux, file)
    _devices(linux, file)


def check_process(process: Process, file: str, pointer: str) -> None:
    """The kernel refuses effective capabilities that are not permitted (capset(2), EPERM)."""
    caps = process.caps
    if caps is not None and caps.effective & ~caps.permitted:
        extra = names(caps.effective & ~caps.permitted)[0]
        where = f"{pointer}/capabilities/effective"
        raise InputError(file, where, f"{extra} is not in permitted")


def _namespaces(linux: Linux, file: str) -> None:
    seen: set[str] = set()
    for index, namespace in enumerate(linux.namespaces):
        if namespace.type in seen:
            where = f"/linux/namespaces/{index}/type"
            raise InputError(file, where, f"duplicate namespace {namespace.type}")
        seen.add(namespace.type)
    if "mount" not in seen:
        raise InputError(file, "/linux/namespaces", "a mount namespace is required")


def _user_namespace(linux: Linux, file: str) -> None:
    user = linux.namespace("user")
    for name, maps in (("uidMappings", linux.uid_mappings), ("gidMappings", linux.gid_mappings)):
        where = f"/linux/{name}"
        if user is None or user.path is not None:
            if maps:
                joined = "" if user is None else ", not a joined one"
                cause = f"needs a new user namespace in /linux/namespaces{joined}"
                raise InputError(file, where, cause)
        elif not maps:
            raise InputError(file, where, "is required with a new user namespace")
        else:
            _id_maps(maps, file, where)


def _id_maps(maps: list[IDMap], file: str, where: str) -> None:
    if len(maps) > ID_MAPS_MAX:
        raise InputError(file, where, f"must have at most {ID_MAPS_MAX} entries")
    for index, entry in enumerate(maps):
        for other in maps[:index]:
            if _overlap(entry.container_id, other.container_id, entry.size, other.size) or _overlap(
                entry.host_id, other.host_id, entry.size, other.size
            ):
                raise InputError(file, f"{where}/{index}", "overlaps an earlier mapping")


def _overlap(first: int, second: int, first_size: int, second_size: int) -> bool:
    return first < second + second_size and second < first + first_size


def _time_namespace(linux: Linux, file: str) -> None:
    time = linux.namespace("time")
    if linux.time_offsets and (time is None or time.path is not None):
        cause = "needs a new time namespace in /linux/namespaces"
        raise InputError(file, "/linux/timeOffsets", cause)


def _sysctls(linux: Linux, file: str) -> None:
    paths: dict[str, str] = {}
    for key in linux.sysctl:
        where = f"/linux/sysctl/{escape(key)}"
        path = sysctl.sysctl_path(key)
        if path in paths:
            raise InputError(file, where, f"is the same sysctl as {paths[path]!r}")
        paths[path] = key
        if path == "kernel/hostname":
            raise InputError(file, where, "not allowed: use the field /hostname")
        owner = sysctl.namespace_of(path)
        if owner is None:
            raise InputError(file, where, "is not in a separate kernel namespace")
        if linux.namespace(owner) is None:
            cause = f"needs a private {owner} namespace in /linux/namespaces"
            raise InputError(file, where, cause)


def _devices(linux: Linux, file: str) -> None:
    seen: dict[str, tuple[str, int, int]] = {}
    for index, device in enumerate(linux.devices):
        numbers = (device.type, device.major, device.minor)
        if seen.setdefault(device.path, numbers) != numbers:
            where = f"/linux/devices/{index}/path"
            raise InputError(file, where, f"{device.path!r} is listed with another device")


def _overlay(mount: Mount, file: str, where: str) -> None:
    """shim's own option: the upper directory is thrown away, the lower one is exactly one."""
    if "ephemeral" not in mount.options:
        return
    if mount.type != "overlay":
        raise InputError(file, where, "option 'ephemeral' is for type overlay only")
    data = [option for option in parse_options(mount.options).data if option != "ephemeral"]
    if len(data) != 1 or not data[0].startswith("lowerdir=/"):
        raise InputError(file, where, "an ephemeral overlay takes exactly one lowerdir=/PATH")

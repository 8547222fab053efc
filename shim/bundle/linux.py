"""The `linux` object of config.json, except resources."""

from __future__ import annotations

from shim.bundle import sysctl
from shim.bundle.classes import Device, IDMap, Linux, Namespace
from shim.bundle.fields import INT64_MAX, INT64_MIN, UINT32_MAX, Value
from shim.bundle.mounts import PROPAGATION
from shim.bundle.process import ID_MAX
from shim.bundle.resources import MAJOR_MAX, MINOR_MAX, read_resources

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
CLOCKS = ("monotonic", "boottime")

# Valid fields whose effect is not there yet: refused by name when they ask for something.
_UNSUPPORTED = (
    "seccomp", "mountLabel", "intelRdt", "personality", "netDevices", "memoryPolicy",
)  # fmt: skip
_LINUX = frozenset(
    (
        "namespaces", "uidMappings", "gidMappings", "timeOffsets", "devices", "cgroupsPath",
        "resources", "sysctl", "maskedPaths", "readonlyPaths", "rootfsPropagation", *_UNSUPPORTED,
    )
)  # fmt: skip
_NAMESPACE = frozenset(("type", "path"))
_IDMAP = frozenset(("containerID", "hostID", "size"))
_DEVICE = frozenset(("type", "path", "major", "minor", "fileMode", "uid", "gid"))
_OFFSET = frozenset(("secs", "nanosecs"))


def read_linux(value: Value) -> Linux:
    """The object in `value`; InputError and UnsupportedError carry the pointer of the field."""
    fields = value.record(_LINUX)
    for name in _UNSUPPORTED:
        # An empty seccomp or intelRdt object is still a request; only these two can be empty and
        # idle.
        if name in ("mountLabel", "netDevices"):
            fields.refuse(name)
        elif (found := fields.get(name)) is not None:
            found.unsupported()
    cgroups_path, resources = fields.get("cgroupsPath"), fields.get("resources")
    offsets, sysctls = fields.get("timeOffsets"), fields.get("sysctl")
    propagation = fields.get("rootfsPropagation")
    return Linux(
        namespaces=fields.each("namespaces", _namespace),
        uid_mappings=fields.each("uidMappings", _idmap),
        gid_mappings=fields.each("gidMappings", _idmap),
        time_offsets={} if offsets is None else _offsets(offsets),
        devices=fields.each("devices", _device),
        cgroups_path=None if cgroups_path is None else _cgroups_path(cgroups_path),
        resources=None if resources is None else read_resources(resources),
        sysctl={} if sysctls is None else _sysctl(sysctls),
        masked_paths=fields.each("maskedPaths", Value.path),
        readonly_paths=fields.each("readonlyPaths", Value.path),
        rootfs_propagation=(
            None if propagation is None else propagation.choice(("", *PROPAGATION)) or None
        ),
    )


def _namespace(item: Value) -> Namespace:
    fields = item.record(_NAMESPACE)
    path = fields.get("path")
    return Namespace(
        fields.need("type").choice(NAMESPACES),
        path.path() if path is not None and path.value != "" else None,
    )


def _idmap(item: Value) -> IDMap:
    fields = item.record(_IDMAP)
    container = fields.need("containerID").integer(0, ID_MAX)
    host = fields.need("hostID").integer(0, ID_MAX)
    size = fields.need("size").integer(1, UINT32_MAX)
    if max(container, host) + size > UINT32_MAX:
        item.fail("maps ids above 4294967294")
    return IDMap(container, host, size)


def _offsets(value: Value) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for clock, item in value.members().items():
        if clock not in CLOCKS:
            item.fail(f"unknown clock; one of {', '.join(CLOCKS)}")
        fields = item.record(_OFFSET)
        seconds = fields.integer("secs", INT64_MIN, INT64_MAX)
        found[clock] = (seconds or 0, fields.integer("nanosecs", 0, 999_999_999) or 0)
    return found


def _device(item: Value) -> Device:
    fields = item.record(_DEVICE)
    kind = fields.need("type").choice(("c", "b", "u", "p"))
    major = fields.get("major") if kind == "p" else fields.need("major")
    minor = fields.get("minor") if kind == "p" else fields.need("minor")
    # docker writes the file type bits along with the mode; the type is ours to set.
    mode = fields.integer("fileMode", 0, UINT32_MAX)
    return Device(
        type=kind,
        path=fields.need("path").path(),
        major=0 if major is None else major.integer(0, MAJOR_MAX),
        minor=0 if minor is None else minor.integer(0, MINOR_MAX),
        file_mode=None if mode is None else mode & 0o7777,
        uid=fields.integer("uid", 0, ID_MAX) or 0,
        gid=fields.integer("gid", 0, ID_MAX) or 0,
    )


def _cgroups_path(value: Value) -> str | None:
    text = value.text()
    if ".." in text.split("/"):
        value.fail("must not contain '..'")
    if "\n" in text:
        value.fail("must not contain a newline")
    return text or None


def _sysctl(value: Value) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, item in value.members().items():
        try:
            sysctl.sysctl_path(key)
            sysctl.check_value(item.text())
        except ValueError as error:
            item.fail(str(error))
        found[key] = item.text()
    return found

"""Where the cgroup v2 hierarchy is mounted and which controllers it has, on pure and hybrid
machines.

Sources: proc_pid_mountinfo(5), cgroups(7), Documentation/admin-guide/cgroup-v2.rst. On a hybrid
machine a controller bound to a v1 hierarchy cannot be used on v2; the v1 mount points are kept so
that an error can say where the controller went.
"""

from __future__ import annotations

import os

from shim.errors import KernelError, ShimError

PREFERRED = "/sys/fs/cgroup"

# Mount options of a v1 super block that are not controller names (cgroups(7),
# kernel/cgroup/cgroup-v1.c).
_V1_OPTIONS = frozenset(
    {
        "rw",
        "ro",
        "all",
        "none",
        "noprefix",
        "clone_children",
        "cpuset_v2_mode",
        "xattr",
        "favordynmods",
    }
)
# The one v2 controller with another name on v1.
_V1_NAMES = {"io": "blkio"}


class CgroupMount:
    """A cgroup2 mount: `path` its mount point, `dev` its st_dev, `controllers` what its top
    directory offers, `v1` controller name -> mount point of the v1 hierarchies."""

    __slots__ = ("controllers", "dev", "path", "v1")

    def __init__(
        self, path: str, controllers: frozenset[str], v1: dict[str, str], dev: int | None = None
    ) -> None:
        self.path = path
        self.controllers = controllers
        self.v1 = v1
        self.dev = dev

    def open(self) -> int:
        """A descriptor of the mount's top directory. ShimError when another mount now covers it."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError(f"open {self.path}", error.errno or 0) from None
        if self.dev is not None and os.fstat(fd).st_dev != self.dev:
            os.close(fd)
            raise ShimError(f"{self.path} is no longer the cgroup2 mount it was")
        return fd

    def where(self, controller: str) -> str:
        """Why `controller` is not in the top directory's cgroup.controllers, as the end of an error
        line."""
        v1_name = _V1_NAMES.get(controller, controller)
        if v1_name in self.v1:
            return f"{controller} controller is on cgroup v1 at {self.v1[v1_name]}"
        hierarchy = _kernel_hierarchy(v1_name)
        if hierarchy is None:
            return f"{controller} controller is not in this kernel (no line in /proc/cgroups)"
        if hierarchy < 0:
            return f"{controller} controller is disabled in this kernel (/proc/cgroups)"
        if hierarchy > 0:
            return f"{controller} controller is on a cgroup v1 hierarchy that is not mounted here"
        return f"{controller} controller is not delegated: not in {self.path}/cgroup.controllers"


def unescape(field: str) -> str:
    """A mountinfo field with its octal escapes (space \\040, tab \\011, newline \\012, backslash
    \\134) undone."""
    if "\\" not in field:
        return field
    out, index = bytearray(), 0
    raw = os.fsencode(field)
    while index < len(raw):
        digits = raw[index + 1 : index + 4]
        if (
            raw[index] == 0x5C
            and len(digits) == 3
            and all(0x30 <= digit <= 0x37 for digit in digits)
        ):
            out.append(int(digits, 8) & 0xFF)
            index += 4
        else:
            out.append(raw[index])
            index += 1
    return os.fsdecode(bytes(out))


def parse_mountinfo(text: str) -> tuple[list[tuple[str, int]], dict[str, str]]:
    """(cgroup2 mounts as (mount point, device) in file order, v1 controller -> mount point)."""
    unified: list[tuple[str, int]] = []
    v1: dict[str, str] = {}
    for line in text.splitlines():
        # Optional fields make the line's left part of variable length; " - " ends it
        # (proc_pid_mountinfo(5)).
        left, separator, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if not separator or len(fields) < 6 or not tail:
            continue
        mount_point = unescape(fields[4])
        if tail[0] == "cgroup2":
            major, _, minor = fields[2].partition(":")
            unified.append((mount_point, os.makedev(int(major), int(minor))))
        elif tail[0] == "cgroup":
            for option in tail[-1].split(","):
                if option not in _V1_OPTIONS and "=" not in option:
                    v1.setdefault(option, mount_point)
    return unified, v1


_found: dict[str, CgroupMount] = {}


def find_mount(mountinfo: str = "/proc/self/mountinfo") -> CgroupMount:
    """The cgroup2 mount to use: the one at /sys/fs/cgroup if any, else the first that is reachable.

    Looked up once in a process: a verb lives for milliseconds, and a monitor keeps what it opened.
    A mount point that a later mount covers is recognised by its device number and skipped. Raises
    ShimError when no cgroup2 is mounted, KernelError when mountinfo cannot be read.
    """
    if (known := _found.get(mountinfo)) is not None:
        return known
    try:
        with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
            unified, v1 = parse_mountinfo(file.read())
    except OSError as error:
        raise KernelError(f"read {mountinfo}", error.errno or 0) from None
    unified.sort(key=lambda mount: mount[0] != PREFERRED)
    for path, dev in unified:
        try:
            if os.stat(path).st_dev != dev:
                continue
            with open(os.path.join(path, "cgroup.controllers"), encoding="ascii") as file:
                _found[mountinfo] = CgroupMount(path, frozenset(file.read().split()), v1, dev)
                return _found[mountinfo]
        except OSError:
            continue
    raise ShimError(
        "no cgroup2 file system is mounted: mount one with `mount -t cgroup2 none /sys/fs/cgroup`"
    )


def _kernel_hierarchy(name: str) -> int | None:
    """Hierarchy id of a controller in /proc/cgroups: 0 on v2, -1 disabled, None unknown to the
    kernel."""
    try:
        with open("/proc/cgroups", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if fields[0] == name and len(fields) >= 4:
                    return int(fields[1]) if fields[3] != "0" else -1
    except OSError:
        return 0
    return None

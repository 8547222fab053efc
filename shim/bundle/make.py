"""Documents that `shim spec` and `shim bundle` write. Pure: the caller does the reading and
writing."""

from __future__ import annotations

import json
import os

from shim.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OCI_VERSION = "1.3.0"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SPEC_CAPS = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
# docker's and podman's default set: moby oci/caps/defaults.go.
_BUNDLE_CAPS = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip
_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
)  # fmt: skip
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_MOUNTS = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    (
        "/dev/pts", "devpts", "devpts",
        ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),  # noqa: S108 - a mount point inside the container
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro")),
)  # fmt: skip
_SCRATCH = (
    ("/run", "tmpfs", "tmpfs", ("nosuid", "nodev", "mode=755")),
    ("/tmp", "tmpfs", "tmpfs", ("nosuid", "nodev", "mode=1777")),  # noqa: S108 - a mount point inside the container
)

# Network and pooled file systems whose source is no /dev node; every other one counts by its
# source.
_REAL_TYPES = frozenset(
    ("zfs", "btrfs", "bcachefs", "nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs")
)
_SKIPPED_TYPES = frozenset(("tmpfs", "overlay", "autofs", "devtmpfs", "squashfs", "ramfs"))
_SKIPPED_TREES = ("/proc", "/sys", "/dev", "/run", "/tmp", "/boot")  # noqa: S108 - names to leave out

Document = dict[str, object]


def _mount(destination: str, type: str, source: str, options: tuple[str, ...]) -> Document:
    mount: Document = {"destination": destination, "type": type, "source": source}
    if options:
        mount["options"] = list(options)
    return mount


def _linux() -> Document:
    return {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": name} for name in _NAMESPACES],
        "maskedPaths": list(_MASKED),
        "readonlyPaths": list(_READONLY),
    }


def spec_document() -> Document:
    """What `shim spec` writes: the document of runc 1.1, with a cgroup namespace, for OCI 1.3.0."""
    sets = ("bounding", "effective", "permitted", "ambient")
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [PATH, "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(_SPEC_CAPS) for name in sets},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "shim",
        "mounts": [_mount(*entry) for entry in _MOUNTS],
        "linux": _linux(),
    }


def bundle_document(
    source: str,
    args: list[str] | None = None,
    mountinfo: str = "",
    is_dir: Callable[[str], bool] = os.path.isdir,
) -> Document:
    """The config.json of `shim bundle DIR --from SOURCE [-- ARGS...]`.

    "dir:PATH" uses the directory as the root, writes included. "host" uses the machine's own root
    below an overlay whose writes are thrown away; `mountinfo` is the text of /proc/self/mountinfo,
    and root.path is then "rootfs", an empty directory the caller makes. UsageError for another
    source.
    """
    if source == "host":
        root = "rootfs"
        base = [_ephemeral(path) for path in ("/", *host_filesystems(mountinfo, is_dir))]
    elif source.startswith("dir:") and len(source) > len("dir:"):
        root, base = os.path.abspath(source[len("dir:") :]), []
    else:
        raise UsageError(f"--from must be host or dir:PATH, not {source!r}")
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(args or ["sh"]),
            "env": [PATH, "HOME=/root"],
            "cwd": "/",
            # No inheritable set: SECURITY.md CV-09.
            "capabilities": {
                name: list(_BUNDLE_CAPS) for name in ("bounding", "effective", "permitted")
            },
            # No rlimits: the caller's are inherited. To raise one takes CAP_SYS_RESOURCE, which
            # root in a container or a microVM often lacks.
            "noNewPrivileges": True,
        },
        "root": {"path": root, "readonly": False},
        "hostname": "shim",
        "mounts": [*base, *(_mount(*entry) for entry in (*_MOUNTS, *_SCRATCH))],
        "linux": _linux(),
    }


def _ephemeral(path: str) -> Document:
    # "ephemeral" is shim's own: the upper and work directories live on a tmpfs made in the
    # container's mount namespace. lowerdir is then one path taken as it stands, without overlayfs'
    # escaping.
    return _mount(path, "overlay", "overlay", (f"lowerdir={path}", "ephemeral"))


def host_filesystems(mountinfo: str, is_dir: Callable[[str], bool] = os.path.isdir) -> list[str]:
    """Mount points below / that hold real files and that an overlay of / alone would show empty.

    A mount below one that is left out is left out too: its directory would not be there. `is_dir`
    tells directories from bind-mounted files such as docker's /etc/hosts. Format:
    proc_pid_mountinfo(5).
    """
    kept: dict[str, bool] = {}
    seen: dict[str, tuple[str, bool, bool]] = {}  # mount id: point, its directory exists, kept
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        before, after = fields.split(" "), tail.split(" ")
        if len(before) < 6 or len(after) < 2:
            continue
        point = _unescape(before[4])
        above, exists, parent_kept = seen.get(before[1], ("/", True, True))
        exists = exists if above == point else parent_kept
        # A later mount on the same point hides the earlier one.
        kept[point] = point == "/" or (
            exists and _is_real(point, after[0], _unescape(after[1])) and is_dir(point)
        )
        seen[before[0]] = point, exists, kept[point]
    return [point for point, keep in kept.items() if keep and point != "/"]


def _is_real(point: str, type: str, source: str) -> bool:
    if type in _SKIPPED_TYPES:
        return False
    if any("\ud800" <= char <= "\udfff" for char in point):
        return False  # bytes that are no UTF-8 (os.fsdecode) have no form in JSON
    if any(point == tree or point.startswith(f"{tree}/") for tree in _SKIPPED_TREES):
        return False
    return source.startswith("/dev/") or type in _REAL_TYPES


def _unescape(text: str) -> str:
    r"""Undo \040 and the like, which the kernel writes for space, tab, newline, backslash and
    '#'."""
    if "\\" not in text:
        return text
    for code in ("040", "011", "012", "043", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text


def render(document: Document) -> str:
    """The document as runc writes it: tabs, one line a value, a newline at the end."""
    return json.dumps(document, indent="\t", ensure_ascii=False) + "\n"

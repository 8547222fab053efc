"""The ops that build the container's file systems: mounts, devices, masks (config.md,
config-linux.md)."""

from __future__ import annotations

import stat

from shim.bundle.mounts import MS_SHARED, parse_options
from shim.errors import InputError
from shim.model import plan
from shim.model.plan import Op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.mounts import MountOptions
    from shim.bundle.spec import Mount, Spec

PSEUDO = frozenset(("proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts", "tmpfs"))
"""File systems whose super block is shared or made here: "ro" is the mount's, never the super
block's."""

DEFAULT_DEVICES = (
    ("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7),
    ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0),
)  # fmt: skip
"""config-linux.md, "Default Devices"; console and ptmx are made of the devpts instance."""

DEV_LINKS = (
    ("/proc/self/fd", "/dev/fd"), ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"), ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)  # fmt: skip
"""runtime-linux.md, "Dev symbolic links"."""

_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def has_new(spec: Spec, kind: str) -> bool:
    """True when the container gets a fresh namespace of that type."""
    return any(n.type == kind and n.path is None for n in spec.linux.namespaces)


def is_bind(mount: Mount, options: MountOptions) -> bool:
    """runc's rule: the option decides, the type "bind" is a synonym."""
    return options.bind or mount.type == "bind"


def mount_ops(spec: Spec) -> list[Op]:
    """One op a mount, in the listed order."""
    return [_mount_op(spec, i, mount) for i, mount in enumerate(spec.mounts)]


def _mount_op(spec: Spec, i: int, mount: Mount) -> Op:
    where = f"/mounts/{i}"
    options = parse_options(mount.options)
    if options.remount:
        num = [options.attr_set, options.attr_clr, options.propagation]
        return Op(
            "REMOUNT", f"remount {mount.destination}", where, num=num, str=[mount.destination]
        )
    if is_bind(mount, options):
        text = f"bind {mount.source} on {mount.destination}"
        return _bind_op(spec, mount, options, where, f"bind:{i}", text)
    if mount.type in ("cgroup", "cgroup2") and not has_new(spec, "cgroup"):
        # Without a cgroup namespace a new cgroup2 mount would show the whole host's tree.
        text = f"bind the container's cgroup on {mount.destination}"
        return _bind_op(spec, mount, options, where, "cgroup-tree", text)
    if mount.type == "overlay" and "ephemeral" in options.data:
        return _overlay_op(mount, options, where, i)
    return _fs_op(spec, mount, options, where)


def _bind_op(spec: Spec, mount: Mount, options: MountOptions, where: str, fd: str, text: str) -> Op:
    recursive = bool(options.rec_set or options.rec_clr)
    # Mounts made below travel back to the host only when both ends ask for it (Bidirectional).
    peer = options.propagation & MS_SHARED and "shared" in (spec.linux.rootfs_propagation or "")
    return Op(
        "MOUNT_BIND",
        text + _shown(mount.options),
        where,
        flags=plan.BIND_SHARED_PEER if peer else 0,
        fd=fd,
        num=[options.attr_set, options.attr_clr, options.propagation, int(recursive)],
        str=[mount.destination],
        nums=[options.rec_set, options.rec_clr],
    )


def _overlay_op(mount: Mount, options: MountOptions, where: str, i: int) -> Op:
    lower = [o[9:] for o in options.data if o.startswith("lowerdir=")]
    if len(lower) != 1 or not lower[0].startswith("/"):
        raise InputError(
            "config.json", f"{where}/options", "ephemeral overlay needs one absolute lowerdir"
        )
    if mount.destination == "/" and i != 0:
        raise InputError(
            "config.json", f"{where}/destination", "an overlay on / must be the first mount"
        )
    rest = [o for o in options.data if o != "ephemeral" and not o.startswith("lowerdir=")]
    text = f"overlay over {lower[0]} on {mount.destination}, writes on a tmpfs"
    return Op(
        "MOUNT_OVERLAY", text, where,
        num=[options.attr_set], str=[mount.destination, lower[0]], list=rest,
    )  # fmt: skip


def _fs_op(spec: Spec, mount: Mount, options: MountOptions, where: str) -> Op:
    kind = "cgroup2" if mount.type == "cgroup" else mount.type
    flags = plan.MOUNT_TMPCOPYUP if options.tmpcopyup else 0
    if kind == "sysfs" and not has_new(spec, "network"):
        # The kernel gives a new sysfs only to the owner of the network namespace (sysfs(5)).
        flags |= plan.MOUNT_SYSFS_BIND
    data = list(options.data)
    if kind not in PSEUDO:
        data = list(options.sb_flags) + data
    else:
        data = [name for name in options.sb_flags if name != "ro"] + data
    if any(len(item.partition("=")[2].encode()) > 255 for item in data):
        raise InputError("config.json", f"{where}/options", "option value longer than 255 bytes")
    return Op(
        "MOUNT_FS",
        f"mount {kind} on {mount.destination}" + _shown(mount.options),
        where,
        flags=flags,
        # One mount, so its recursive attributes are its own.
        num=[options.attr_set & ~options.rec_clr | options.rec_set, options.propagation],
        str=[mount.destination, kind, mount.source or kind],
        list=data,
    )


def _shown(options: list[str]) -> str:
    return f" ({','.join(options)})" if options else ""


def device_ops(spec: Spec) -> list[Op]:
    """Device nodes and links in /dev, unless the user brought a /dev of their own (a bind), as
    runc does."""
    own_dev = any(
        m.destination.rstrip("/") == "/dev" and is_bind(m, parse_options(m.options))
        for m in spec.mounts
    )
    if own_dev:
        return []
    bind = has_new(spec, "user") or any(n.type == "user" for n in spec.linux.namespaces)
    ops: list[Op] = []
    listed = {d.path for d in spec.linux.devices}
    for path, major, minor in DEFAULT_DEVICES:
        if path not in listed:
            ops.append(_mknod(path, stat.S_IFCHR | 0o666, major, minor, 0, 0, bind, ""))
    for i, d in enumerate(spec.linux.devices):
        mode = _KINDS[d.type] | (0o666 if d.file_mode is None else d.file_mode & 0o7777)
        ops.append(
            _mknod(
                d.path, mode, d.major, d.minor, d.uid or 0, d.gid or 0, bind, f"/linux/devices/{i}"
            )
        )
    for target, path in DEV_LINKS:
        ops.append(Op("SYMLINK", f"{path} -> {target}", str=[target, path]))
    return ops


def _mknod(
    path: str, mode: int, major: int, minor: int, uid: int, gid: int, bind: bool, where: str
) -> Op:
    import os

    device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
    kind = "c" if stat.S_ISCHR(mode) else "b" if stat.S_ISBLK(mode) else "p"
    text = f"{path} {kind} {major}:{minor}" if device else f"{path} {kind}"
    use_bind = bind and device
    return Op(
        "MKNOD",
        text + (" (bind)" if use_bind else ""),
        where,
        flags=plan.MKNOD_BIND if use_bind else 0,
        fd=f"dev:{path}" if use_bind else None,
        num=[mode, os.makedev(major, minor) if device else 0, uid << 32 | gid],
        str=[path],
    )


def mask_ops(spec: Spec) -> list[Op]:
    """Read-only paths, then masked ones, as seen from the new root."""
    linux = spec.linux
    ops = [
        Op("READONLY_PATH", f"read-only {path}", f"/linux/readonlyPaths/{i}", str=[path])
        for i, path in enumerate(linux.readonly_paths)
    ]
    ops += [
        Op("MASK_PATH", f"mask {path}", f"/linux/maskedPaths/{i}", str=[path])
        for i, path in enumerate(linux.masked_paths)
    ]
    return ops

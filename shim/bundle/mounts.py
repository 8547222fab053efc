"""The mount option table: strings of config.json to masks for mount_setattr(2) and data for
fsconfig(2).

Names: runtime-spec config.md "Linux mount options"; values: linux/mount.h. An unknown option is
file system data, as the specification demands. Later options win over earlier ones, as with
mount(8).
"""

from __future__ import annotations

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

MS_REC = 1 << 14
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

PROPAGATION: dict[str, int] = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}

# option -> (bits it sets, bits it clears). The access time is one field of several bits, not a
# flag: mount_setattr(2) gives EINVAL unless attr_clr holds the whole of MOUNT_ATTR__ATIME.
_ATTRS: dict[str, tuple[int, int]] = {
    "ro": (MOUNT_ATTR_RDONLY, 0),
    "rw": (0, MOUNT_ATTR_RDONLY),
    "nosuid": (MOUNT_ATTR_NOSUID, 0),
    "suid": (0, MOUNT_ATTR_NOSUID),
    "nodev": (MOUNT_ATTR_NODEV, 0),
    "dev": (0, MOUNT_ATTR_NODEV),
    "noexec": (MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, MOUNT_ATTR_NOEXEC),
    "nodiratime": (MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, MOUNT_ATTR_NOSYMFOLLOW),
    "noatime": (MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    "strictatime": (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    "relatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "atime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "nostrictatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    # Without MS_RELATIME the kernel still defaults to relatime (fs/namespace.c), so this changes
    # nothing.
    "norelatime": (0, 0),
}

# The names vfs_parse_sb_flag() in fs/fs_context.c knows, each with the one that takes it back.
_SB_SET = {"ro": "ro", "sync": "sync", "dirsync": "dirsync", "lazytime": "lazytime", "mand": "mand"}
_SB_CLEAR = {"rw": "ro", "async": "sync", "nolazytime": "lazytime", "nomand": "mand"}
# MS_SILENT only mutes kernel messages and has no counterpart in fsconfig(2); the others are the
# default.
_NOTHING = frozenset(("defaults", "silent", "loud", "noiversion"))
_IDMAP = ("idmap", "ridmap")

SUPPORTED: tuple[str, ...] = tuple(
    sorted(
        {"bind", "rbind", "remount", "tmpcopyup", "iversion", *_NOTHING, *_SB_SET, *_SB_CLEAR}
        | {*PROPAGATION, *_ATTRS}
        | {f"r{name}" for name in _ATTRS}
    )
)


class UnsupportedOptionError(ValueError):
    """A valid option that this version does not honour; the message says which."""


class MountOptions:
    """Parsed options of one mount. `propagation` is MS_* with MS_REC for the r form, 0 when none is
    named.

    `data` holds "k" or "k=v" for fsconfig(2); `sb_flags` names for FSCONFIG_SET_FLAG. "ro" is in
    both attr_set and sb_flags: mount(2) means both, the caller knows when the super block is
    shared.
    """

    __slots__ = (
        "attr_set", "attr_clr", "rec_set", "rec_clr", "propagation", "bind", "recursive", "remount",
        "tmpcopyup", "data", "sb_flags",
    )  # fmt: skip

    def __init__(self) -> None:
        self.attr_set = self.attr_clr = 0
        self.rec_set = self.rec_clr = 0
        self.propagation = 0
        self.bind = self.recursive = self.remount = self.tmpcopyup = False
        self.data: list[str] = []
        self.sb_flags: list[str] = []

    def _attr(self, change: tuple[int, int]) -> None:
        on, off = change
        self.attr_set = self.attr_set & ~off | on
        self.attr_clr = self.attr_clr & ~on | off

    def _recursive_attr(self, change: tuple[int, int]) -> None:
        on, off = change
        self.rec_set = self.rec_set & ~off | on
        self.rec_clr = self.rec_clr & ~on | off


def _super_block(name: str, result: MountOptions) -> bool:
    if name in _SB_SET:
        if _SB_SET[name] not in result.sb_flags:
            result.sb_flags.append(_SB_SET[name])
        return True
    if name in _SB_CLEAR:
        if _SB_CLEAR[name] in result.sb_flags:
            result.sb_flags.remove(_SB_CLEAR[name])
        return True
    return False


def _propagate(name: str, result: MountOptions) -> None:
    wanted = PROPAGATION[name]
    if result.propagation not in (0, wanted):
        raise UnsupportedOptionError(f"{name!r} after another propagation option is not supported")
    result.propagation = wanted


def parse_options(options: list[str]) -> MountOptions:
    """Sort `options` into their kinds.

    ValueError for an empty option or one with NUL, UnsupportedOptionError for idmap and ridmap
    (they come with id-mapped mounts) and for a second, different propagation.
    """
    result = MountOptions()
    for name in options:
        if not name or "\0" in name:
            raise ValueError("mount option with a NUL character" if name else "empty mount option")
        super_block = _super_block(name, result)
        if name in _ATTRS:
            result._attr(_ATTRS[name])
        elif name in PROPAGATION:
            _propagate(name, result)
        elif name in ("bind", "rbind"):
            result.bind = True
            result.recursive = result.recursive or name == "rbind"
        elif name == "remount":
            result.remount = True
        elif name == "tmpcopyup":
            result.tmpcopyup = True
        elif name[:1] == "r" and name[1:] in _ATTRS:
            result._recursive_attr(_ATTRS[name[1:]])
        elif name.partition("=")[0] in _IDMAP:
            raise UnsupportedOptionError(f"mount option {name!r} is not supported by this version")
        elif not super_block and name not in _NOTHING:
            result.data.append(name)
    return result

"""A bundle directory: config.json, the root file system it names, and the lifecycle that goes with
it."""

from __future__ import annotations

import os

from shim.bundle import sources, sysctl
from shim.bundle.files import read_regular
from shim.bundle.json_strict import escape
from shim.bundle.spec import parse
from shim.errors import InputError, strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.classes import Linux, Spec
    from shim.bundle.lifecycle import Lifecycle

CONFIG = "config.json"
_NS_FILES = {"network": "net", "ipc": "ipc", "uts": "uts"}


class Bundle:
    """`dir` and `rootfs` are absolute; `config` is config.json as it was read: later edits of the
    file have no effect (OCI.md row 5)."""

    __slots__ = ("config", "dir", "lifecycle", "rootfs", "spec")

    def __init__(
        self, dir: str, spec: Spec, config: bytes, lifecycle: Lifecycle | None, rootfs: str
    ) -> None:
        self.dir, self.spec, self.config = dir, spec, config
        self.lifecycle, self.rootfs = lifecycle, rootfs


def load(bundle_dir: str, lifecycle_file: str | None = None) -> Bundle:
    """Read the bundle; nothing is created. InputError names file and field of whatever is wrong."""
    absolute = os.path.abspath(bundle_dir)
    if not os.path.isdir(absolute):
        cause = "not a directory" if os.path.lexists(absolute) else "no such file or directory"
        raise InputError(absolute, "", cause)
    config = read_regular(os.path.join(absolute, CONFIG))
    spec = parse(config, CONFIG)
    rootfs = os.path.normpath(os.path.join(absolute, spec.root.path))
    try:
        os.close(os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise InputError(CONFIG, "/root/path", f"{rootfs}: {strerror(error.errno or 0)}") from None
    check_sysctl_namespaces(spec.linux)
    return Bundle(absolute, spec, config, sources.find(spec, absolute, lifecycle_file), rootfs)


def check_sysctl_namespaces(linux: Linux) -> None:
    """InputError when a sysctl would be set in the machine's own namespace because the one to join
    is that one, as runc's validator does for net."""
    for key in linux.sysctl:
        owner = sysctl.namespace_of(sysctl.sysctl_path(key)) or ""
        namespace = linux.namespace(owner)
        if namespace is None or namespace.path is None:
            continue
        try:
            same = os.path.samefile(namespace.path, f"/proc/self/ns/{_NS_FILES[owner]}")
        except OSError as error:
            index = linux.namespaces.index(namespace)
            where = f"/linux/namespaces/{index}/path"
            cause = f"{namespace.path}: {strerror(error.errno or 0)}"
            raise InputError(CONFIG, where, cause) from None
        if same:
            where = f"/linux/sysctl/{escape(key)}"
            raise InputError(CONFIG, where, f"not allowed in the host's {owner} namespace")

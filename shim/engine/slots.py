"""Open what a create plan refers to by slot name, as the caller, before anything is joined
(SECURITY.md section 9 rule 3). Every failure names the config field."""

from __future__ import annotations

import errno
import fcntl
import os

from shim.bundle.mounts import parse_options
from shim.engine.compile import CLONE
from shim.errors import InputError, KernelError, ShimError, strerror
from shim.kernel import unix
from shim.kernel.api import AT_FDCWD, AT_RECURSIVE, KERNEL, OPEN_TREE_CLONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.load import Bundle
    from shim.engine.create import Request
    from shim.kernel.cgroup import Cgroup, CgroupMount
    from shim.model.directory import ContainerDir

NS_GET_NSTYPE = 0xB703
"""ioctl_ns(2)."""

START_SOCKET = "start.sock"


class Slots:
    """The open descriptors of a plan by name; a context manager that closes them all."""

    __slots__ = ("fds",)

    def __init__(self) -> None:
        self.fds: dict[str, int] = {}

    def __enter__(self) -> Slots:
        return self

    def __exit__(self, *exc: object) -> None:
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()

    def open(
        self,
        names: list[str],
        bundle: Bundle,
        directory: ContainerDir,
        cgroup: Cgroup,
        mount: CgroupMount,
        request: Request,
    ) -> None:
        """Open every slot in `names`. ShimError on the first that cannot be opened."""
        for name in names:
            kind, _, rest = name.partition(":")
            if kind == "rootfs":
                fd = open_rootfs(bundle)
            elif kind == "bind":
                fd = open_bind(bundle, int(rest))
            elif kind == "ns":
                fd = open_namespace(bundle, rest)
            elif kind == "dev":
                fd = _tree(rest, False, f"device {rest}")
            elif kind == "cgroup-tree":
                fd = _tree(mount.path + cgroup.path, False, f"cgroup {cgroup.path}")
            elif kind == "start":
                fd = listen(directory)
            elif kind == "console" and request.console_fd >= 0:
                fd = fcntl.fcntl(request.console_fd, fcntl.F_DUPFD_CLOEXEC, 3)
            elif kind == "console" and request.console_socket:
                fd = connect(request.console_socket)
            else:
                raise ShimError(f"plan refers to an unknown descriptor {name!r}")
            self.fds[name] = fd


def open_rootfs(bundle: Bundle) -> int:
    """A detached copy of the rootfs's mount tree; the path is resolved once (SECURITY.md IN-19,
    CV-08).

    A clone made here can be moved into another mount namespace, which a plain descriptor cannot.
    """
    try:
        return KERNEL.open_tree(AT_FDCWD, bundle.rootfs, OPEN_TREE_CLONE | AT_RECURSIVE)
    except OSError as error:
        cause = f"{bundle.rootfs}: {strerror(error.errno or 0)}"
        raise InputError("config.json", "/root/path", cause) from None


def open_bind(bundle: Bundle, index: int) -> int:
    """A detached copy of a bind mount's source; relative ones are relative to the bundle."""
    mount = bundle.spec.mounts[index]
    source = os.path.join(bundle.dir, mount.source)
    recursive = parse_options(mount.options).recursive
    try:
        return KERNEL.open_tree(
            AT_FDCWD, source, OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0)
        )
    except OSError as error:
        pointer = f"/mounts/{index}/source"
        raise InputError(
            "config.json", pointer, f"{source}: {strerror(error.errno or 0)}"
        ) from None


def open_namespace(bundle: Bundle, kind: str) -> int:
    """A namespace given by path, opened once and proved to be of the type the config says
    (EX-30)."""
    index, path = next(
        (i, n.path)
        for i, n in enumerate(bundle.spec.linux.namespaces)
        if n.type == kind and n.path is not None
    )
    pointer = f"/linux/namespaces/{index}/path"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError("config.json", pointer, f"{path}: {strerror(error.errno or 0)}") from None
    try:
        found = fcntl.ioctl(fd, NS_GET_NSTYPE)
    except OSError:
        found = 0
    if found != CLONE[kind]:
        os.close(fd)
        raise InputError("config.json", pointer, f"{path}: not a {kind} namespace")
    return fd


def _tree(path: str, recursive: bool, what: str) -> int:
    try:
        return KERNEL.open_tree(
            AT_FDCWD, path, OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0)
        )
    except OSError as error:
        raise KernelError(f"clone mount of {what}", error.errno or 0) from None


def listen(directory: ContainerDir) -> int:
    """The socket on which init waits for `start`. Bound through the directory's descriptor: the
    path may be longer than sun_path's 108 bytes."""
    sock = unix.Socket()
    try:
        sock.bind(f"/proc/self/fd/{directory.fd}/{START_SOCKET}")
        sock.listen(8)
    except OSError as error:
        sock.close()
        raise KernelError(f"listen on {START_SOCKET}", error.errno or 0) from error
    return sock.detach()


def connect(path: str) -> int:
    """A connection to the --console-socket of the engine (runc's docs/terminals.md)."""
    sock = unix.Socket(unix.SOCK_STREAM)
    parent = -1
    try:
        parent = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        sock.connect(f"/proc/self/fd/{parent}/{os.path.basename(path)}")
    except OSError as error:
        sock.close()
        raise KernelError(f"connect to console socket {path}", error.errno or errno.EIO) from None
    finally:
        if parent >= 0:
            os.close(parent)
    return sock.detach()

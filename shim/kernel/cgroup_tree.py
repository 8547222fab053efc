"""Directory work on a cgroup2 mount, by descriptor only: walking, making, enabling, removing.

No function here follows a symlink or trusts a path twice. A hostile container with a writable
cgroupfs can nest deeply, so walks keep a constant number of descriptors: they go up through "..",
which is exact here because cgroup2 has no rename.
"""

from __future__ import annotations

import errno
import os

from shim.errors import KernelError, ShimError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def failed(step: str, error: OSError) -> KernelError:
    """The OSError as shim's own error; `step` says what was being done."""
    return KernelError(step, error.errno or 0)


def split(rel: str) -> list[str]:
    """The components of a cgroup path. ".." is refused (SECURITY.md IN-23), as is NUL."""
    parts = [part for part in rel.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in rel:
        raise ShimError(f"invalid cgroup path: {rel!r}")
    return parts


def open_at(dir_fd: int, name: str) -> int:
    """Descriptor of the directory `name` in `dir_fd`; never through a symlink."""
    try:
        return os.open(name, _DIR, dir_fd=dir_fd)
    except OSError as error:
        raise failed(f"open cgroup {name}", error) from None


def read_at(dir_fd: int, file: str) -> str:
    """Whole text of a file in `dir_fd`. Raises OSError."""
    fd = os.open(_leaf(file), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks).decode("utf-8", "surrogateescape")


def write_at(dir_fd: int, file: str, value: str) -> None:
    """One write(2): kernfs takes each as a whole new value. Raises OSError."""
    fd = os.open(_leaf(file), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.write(fd, os.fsencode(value))
    finally:
        os.close(fd)


def inode_at(dir_fd: int, name: str) -> int | None:
    """Inode number of `name` in `dir_fd`; None when there is none."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_ino
    except OSError:
        return None


def procs(dir_fd: int) -> list[int]:
    """Process ids in one cgroup; in a threaded one, where cgroup.procs cannot be read, thread
    ids."""
    for file in ("cgroup.procs", "cgroup.threads"):
        try:
            return [int(line) for line in read_at(dir_fd, file).split()]
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return []
            if error.errno != errno.EOPNOTSUPP:
                raise failed(f"read {file}", error) from None
    return []


def children(dir_fd: int) -> list[str]:
    """Names of the child cgroups of `dir_fd`; none when it is gone."""
    try:
        with os.scandir(dir_fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return []
        raise failed("list cgroup", error) from None


def open_path(top: int, parts: list[str]) -> int:
    """Walk down from `top` (which is closed) and return the last directory's descriptor."""
    fd = top
    for part in parts:
        try:
            below = open_at(fd, part)
        finally:
            os.close(fd)
        fd = below
    return fd


def make_path(top: int, parts: list[str], made: list[tuple[int, str]]) -> tuple[int, bool]:
    """Walk down from `top` (which is closed), making what is missing and enabling controllers on
    the way.

    Returns (descriptor of the last one, whether it is new). Appends (parent descriptor, name) to
    `made` for each directory made; the caller closes those.
    """
    fd, fresh = top, False
    for part in parts:
        try:
            enable_controllers(fd)
            fresh = True
            try:
                os.mkdir(part, 0o755, dir_fd=fd)
                made.append((os.dup(fd), part))
            except FileExistsError:
                fresh = False
            except OSError as error:
                raise failed(f"mkdir cgroup {part} of /{'/'.join(parts)}", error) from None
            below = open_at(fd, part)
        finally:
            os.close(fd)
        fd = below
    return fd, fresh


def enable_controllers(dir_fd: int) -> None:
    """Switch on, for the children of `dir_fd`, every controller it offers, as runc does.

    Best effort for each: a cgroup that holds processes itself refuses (EBUSY, "no internal
    processes"), cpu refuses with real-time tasks about, and so on. A limit that then has no file is
    an error later.
    """
    try:
        offered = read_at(dir_fd, "cgroup.controllers").split()
        missing = set(offered).difference(read_at(dir_fd, "cgroup.subtree_control").split())
    except OSError:
        return
    wanted = [name for name in offered if name in missing]
    if not wanted or _switch_on(dir_fd, wanted) or len(wanted) == 1:
        return
    for name in wanted:  # one write is all or nothing
        _switch_on(dir_fd, [name])


def walk(dir_fd: int, visit: Callable[[int], None]) -> None:
    """Call `visit` with a descriptor of `dir_fd` and of each cgroup below, parents first."""
    current = os.dup(dir_fd)
    try:
        visit(current)
        pending = [children(current)]
        while pending:
            target = pending[-1].pop() if pending[-1] else ".."
            if target == "..":
                pending.pop()
                if not pending:
                    return
            try:
                there = open_at(current, target)
            except KernelError as error:
                if target != ".." and error.errno in (errno.ENOENT, errno.ENODEV):
                    continue
                raise
            os.close(current)
            current = there
            if target != "..":
                visit(current)
                pending.append(children(current))
    finally:
        os.close(current)


def remove_tree(parent: int, name: str) -> bool:
    """rmdir `name` in `parent` with all below it, bottom up, going on past busy ones. Whether it is
    gone."""
    current = os.dup(parent)
    path: list[str] = []
    pending = [[name]]
    try:
        while True:
            if pending[-1]:
                target = pending[-1].pop()
                if _rmdir(current, target):
                    continue
                try:
                    below = open_at(current, target)
                except KernelError as error:
                    if error.errno in (errno.ENOENT, errno.ENODEV):
                        continue
                    raise
                os.close(current)
                current = below
                path.append(target)
                pending.append(children(current))
                continue
            pending.pop()
            if not path:
                return inode_at(parent, name) is None
            above = open_at(current, "..")
            os.close(current)
            current = above
            _rmdir(current, path.pop())
    finally:
        os.close(current)


def rmdir_quietly(dir_fd: int, name: str) -> None:
    """Undo one mkdir while another error is on its way."""
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError:
        return


def _rmdir(dir_fd: int, name: str) -> bool:
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return True
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise failed(f"rmdir cgroup {name}", error) from None
    return True


def _switch_on(dir_fd: int, names: list[str]) -> bool:
    try:
        write_at(dir_fd, "cgroup.subtree_control", " ".join("+" + name for name in names))
    except OSError:
        return False
    return True


def _leaf(file: str) -> str:
    if "/" in file or file in ("", ".", "..") or "\0" in file:
        raise ShimError(f"invalid cgroup file name: {file!r}")
    return file

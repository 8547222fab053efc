"""The one seam to the kernel: class Kernel wraps shim._core, and nothing else may import it.

Everything raises OSError with the errno the kernel gave; callers that know what was being done turn
that into KernelError. Descriptors returned are CLOEXEC and owned by the caller.
"""

from __future__ import annotations

import os

from shim import paths
from shim._core import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 0x01, 0x02, 0x04
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 0x08, 0x10
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE = 1
CLOCK_MONOTONIC, CLOCK_BOOTTIME = 1, 7


def _check(result: int, what: str) -> int:
    if result < 0:
        raise OSError(-result, os.strerror(-result), what)
    return result


class Kernel:
    """Host-side primitives of csrc/core_*.c. Stateless but for the sealed executor, made once."""

    __slots__ = ("_executor",)

    def __init__(self) -> None:
        self._executor = -1

    def executor(self, scratch_dir: str = "/dev/shm") -> int:  # noqa: S108 - O_TMPFILE, never a name
        """Descriptor of the sealed copy of shim-executor; kept for the life of this process."""
        if self._executor < 0:
            path = paths.executor_path()
            found = lib.shim_sealed_copy(path.encode(), scratch_dir.encode())
            self._executor = _check(found, path)
        return self._executor

    def forget_executor(self) -> None:
        """After a fork whose child closes what it inherited."""
        self._executor = -1

    def spawn(
        self,
        argv: Sequence[str],
        fds: Sequence[int],
        *,
        base: int = 3,
        stdio: tuple[int, int, int] = (-1, -1, -1),
        cgroup: int = -1,
        migrate: bool = False,
    ) -> tuple[int, int]:
        """Start shim-executor; (pid, pidfd). `fds` arrive as base, base+1, ...; -1 in stdio
        inherits.

        With `cgroup` (a directory descriptor) the child is born in it (clone3(2),
        CLONE_INTO_CGROUP).
        """
        args = [ffi.new("char[]", arg.encode()) for arg in argv]
        how = ffi.new("struct shim_spawn *")
        vector = ffi.new("char *[]", [*args, ffi.NULL])
        numbers = ffi.new("int[]", list(fds))
        how.exe, how.argv, how.fds = (
            self.executor(),
            ffi.cast("const char *const *", vector),
            numbers,
        )
        how.nfds, how.base, how.stdio = len(fds), base, stdio
        how.cgroup, how.migrate = cgroup, migrate
        pidfd = ffi.new("int *")
        pid = _check(lib.shim_spawn(how, pidfd), "clone3")
        return pid, int(pidfd[0])

    def sealed_bytes(self, name: str, data: bytes) -> int:
        """A sealed memfd holding `data`: how a packed plan reaches the executor."""
        return _check(lib.shim_sealed_bytes(name.encode(), data, len(data)), "memfd_create")

    def openat2(self, dirfd: int, path: str, flags: int, resolve: int = 0, mode: int = 0) -> int:
        """openat2(2); `resolve` is a mask of RESOLVE_*."""
        return _check(lib.shim_openat2(dirfd, os.fsencode(path), flags, mode, resolve), path)

    def open_tree(self, dirfd: int, path: str, flags: int) -> int:
        """open_tree(2): with OPEN_TREE_CLONE a detached copy of the mount at `path`."""
        return _check(lib.shim_open_tree(dirfd, os.fsencode(path), flags), path)

    def mount_setattr(
        self, dirfd: int, path: str, flags: int, set_: int, clr: int, propagation: int = 0
    ) -> None:
        """mount_setattr(2)."""
        result = lib.shim_mount_setattr(dirfd, os.fsencode(path), flags, set_, clr, propagation)
        _check(result, path)

    def mount_identity(self, dirfd: int, path: str, flags: int = 0) -> tuple[int, int, int]:
        """(device, inode, mount id) of what `path` names (statx(2)); mount id 0 before 5.8."""
        out = ffi.new("uint64_t[3]")
        _check(lib.shim_mount_identity(dirfd, os.fsencode(path), flags, out), path)
        return int(out[0]), int(out[1]), int(out[2])

    def timerfd(self, clock: int = CLOCK_BOOTTIME) -> int:
        """A non-blocking timerfd on `clock`."""
        return _check(lib.shim_timerfd(clock), "timerfd_create")

    def timerfd_set(self, fd: int, deadline: float | None) -> None:
        """Arm for an absolute deadline in seconds on the timer's clock; None disarms."""
        when = 0 if deadline is None else max(1, int(deadline * 1e9))
        _check(lib.shim_timerfd_set(fd, when), "timerfd_settime")

    def signalfd(self, signals: Sequence[int]) -> int:
        """Block `signals` in this thread and return a non-blocking descriptor that reads them."""
        return _check(lib.shim_signalfd(ffi.new("int[]", list(signals)), len(signals)), "signalfd")

    def inotify(self, path: str, mask: int) -> int:
        """A non-blocking inotify descriptor watching one path."""
        return _check(lib.shim_inotify(os.fsencode(path), mask), path)

    def exit_status(self, pidfd: int) -> int | None:
        """wait(2) status of an exited process that need not be our child; None before kernel
        6.15."""
        out = ffi.new("int *")
        return int(out[0]) if lib.shim_pidfd_exit_status(pidfd, out) == 0 else None

    def bpf_device_load(self, insns: bytes) -> int:
        """Load a cgroup-device program (8 bytes an instruction); its descriptor."""
        return _check(lib.shim_bpf_device_load(insns, len(insns) // 8), "bpf(BPF_PROG_LOAD)")

    def bpf_device_attach(self, cgroup_fd: int, prog_fd: int, flags: int = 0) -> None:
        """Attach a loaded program to a cgroup directory descriptor."""
        _check(lib.shim_bpf_device_attach(cgroup_fd, prog_fd, flags), "bpf(BPF_PROG_ATTACH)")

    def bpf_device_query(self, cgroup_fd: int) -> list[int]:
        """Ids of the cgroup-device programs attached to a cgroup."""
        ids, count = ffi.new("uint32_t[64]"), ffi.new("uint32_t *", 64)
        _check(lib.shim_bpf_device_query(cgroup_fd, ids, count), "bpf(BPF_PROG_QUERY)")
        return [int(ids[i]) for i in range(count[0])]

    def bpf_device_detach(self, cgroup_fd: int, prog_id: int) -> None:
        """Detach a program, by an id that bpf_device_query gave, from a cgroup."""
        _check(lib.shim_bpf_device_detach(cgroup_fd, prog_id), "bpf(BPF_PROG_DETACH)")


KERNEL = Kernel()

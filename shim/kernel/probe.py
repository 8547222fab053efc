"""Does this kernel have it? Each question is asked by trying, in a way that changes nothing.

Version numbers do not tell: distributions port features back, and a seccomp filter around us hides
those that are there. Every probe returns 0 when it worked, else the errno that the kernel gave;
ENOSYS always means "not there", EPERM "there, but not for us".
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

# From 424 on a system call has the same number on every architecture (asm-generic/unistd.h).
_SYS_MOVE_MOUNT, _SYS_FSOPEN = 429, 430
_SYS_CLONE3, _SYS_OPENAT2, _SYS_MOUNT_SETATTR = 435, 437, 442
_CLONE_INTO_CGROUP = 0x2_0000_0000
_CLONE_NEWUTS = 0x0400_0000
_RESOLVE_IN_ROOT, _FSOPEN_CLOEXEC = 0x10, 1
_MFD_CLOEXEC, _MFD_EXEC = 0x1, 0x10
_PIDFD_GET_INFO = 0xC040FF0B
_BAD_FD = 2**31 - 1

NAMESPACES = {
    "mnt": 0x0002_0000,
    "pid": 0x2000_0000,
    "ipc": 0x0800_0000,
    "uts": _CLONE_NEWUTS,
    "net": 0x4000_0000,
    "user": 0x1000_0000,
    "cgroup": 0x0200_0000,
    "time": 0x0000_0080,
}
"""Name in /proc/PID/ns -> flag of unshare(2)."""

_libc = ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *args: object) -> int:
    """0 or an errno; a descriptor that the call gave is closed."""
    result = _libc.syscall(ctypes.c_long(number), *args)
    if result < 0:
        return ctypes.get_errno()
    if number in (_SYS_FSOPEN, _SYS_OPENAT2):
        os.close(result)
    return 0


def clone_into_cgroup() -> int:
    """clone3(2) with CLONE_INTO_CGROUP (5.7). The cgroup is no descriptor: a kernel that knows the
    flag says EBADF before it makes any process."""
    args = struct.pack("=11Q", _CLONE_INTO_CGROUP, 0, 0, 0, 17, 0, 0, 0, 0, 0, _BAD_FD)
    found = _syscall(_SYS_CLONE3, args, ctypes.c_size_t(len(args)))
    return 0 if found == errno.EBADF else found


def openat2() -> int:
    """openat2(2) with RESOLVE_IN_ROOT (5.6)."""
    how = struct.pack("=3Q", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
    return _syscall(_SYS_OPENAT2, ctypes.c_int(-100), b"/", how, ctypes.c_size_t(len(how)))


def mount_api() -> int:
    """fsopen(2) and move_mount(2) (5.2)."""
    found = _syscall(_SYS_FSOPEN, b"tmpfs", ctypes.c_uint(_FSOPEN_CLOEXEC))
    if found:
        return found
    moved = _syscall(_SYS_MOVE_MOUNT, ctypes.c_int(-1), b"", ctypes.c_int(-1), b"", 0)
    return moved if moved in (errno.ENOSYS, errno.EPERM) else 0


def mount_setattr() -> int:
    """mount_setattr(2) (5.12); a size of 0 is EINVAL where the call exists."""
    found = _syscall(_SYS_MOUNT_SETATTR, ctypes.c_int(-1), b"", 0, None, ctypes.c_size_t(0))
    return found if found in (errno.ENOSYS, errno.EPERM) else 0


def pidfd() -> int:
    """pidfd_open(2) (5.3)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def setns_pidfd() -> int:
    """setns(2) by pidfd (5.8), into the namespace that we are in already."""
    try:
        fd = os.pidfd_open(os.getpid())
    except OSError as error:
        return error.errno or errno.EIO
    try:
        return ctypes.get_errno() if _libc.setns(fd, _CLONE_NEWUTS) else 0
    finally:
        os.close(fd)


def pidfd_info() -> int:
    """ioctl PIDFD_GET_INFO (6.13; exit status since 6.15)."""
    fd = -1
    try:
        fd = os.pidfd_open(os.getpid())
        fcntl.ioctl(fd, _PIDFD_GET_INFO, bytes(64))
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        if fd >= 0:
            os.close(fd)
    return 0


def memfd_exec() -> int:
    """A memfd that may be executed: EACCES under vm.memfd_noexec=2 (6.3)."""
    try:
        os.close(os.memfd_create("shim-doctor", _MFD_CLOEXEC | _MFD_EXEC))
    except OSError as error:
        # kernels before 6.3 do not know the flag, and let every memfd be executed
        return 0 if error.errno == errno.EINVAL else error.errno or errno.EIO
    return 0


def namespace(name: str) -> int:
    """unshare(2) of one kind in a child; ENOSYS when the kernel was built without it."""
    if not os.path.exists(f"/proc/self/ns/{name}"):
        return errno.ENOSYS
    child = os.fork()
    if child == 0:
        failed = _libc.unshare(NAMESPACES[name])
        os._exit(ctypes.get_errno() if failed else 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def cgroup_file(directory: str, file: str) -> int:
    """Make a cgroup in `directory`, look for `file` in it, remove it."""
    path = f"{directory}/shim-doctor-{os.getpid()}"
    try:
        os.mkdir(path)
    except OSError as error:
        return error.errno or errno.EIO
    try:
        return 0 if os.path.exists(f"{path}/{file}") else errno.ENOENT
    finally:
        os.rmdir(path)

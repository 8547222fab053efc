"""One cgroup v2 directory, held by descriptor: create, read, write, freeze, kill, wait, remove.

After the first walk everything goes through the directory's descriptor, so that a directory that
somebody removed and made again under the same name is never taken for ours; the identity kept in
the state file is the inode number, which kernfs does not reuse (SECURITY.md CG-10). Waits are
poll(2) for POLLPRI on cgroup.events against a monotonic deadline: the kernel reports `populated`
and `frozen` there (cgroup-v2.rst), at most once in 10 ms per file, so a wait can take that long.
Durations are seconds.
"""

from __future__ import annotations

import errno
import os
import select
from time import monotonic

from shim.errors import KernelError, ShimError
from shim.kernel import cgroup_tree as tree
from shim.kernel.cgroup_mount import CgroupMount, find_mount
from shim.kernel.sig import signal

__all__ = ["Cgroup", "CgroupGoneError", "CgroupMount", "find_mount", "read_events"]

FREEZE_SECONDS = 5.0
REMOVE_SECONDS = 5.0
_GONE = frozenset({errno.ENOENT, errno.ENODEV})
_LISTED_PIDS = 20


class CgroupGoneError(ShimError):
    """The cgroup does not exist any more, or its name now belongs to another one (CG-10)."""


class Cgroup:
    """`path` below the mount ("/a/b"), `fd` its directory, `ino` its identity.

    `fresh` is False when the directory existed before create(): it may have had a cgroup.kill, and
    then CLONE_INTO_CGROUP children die at birth (CG-01): move processes in through cgroup.procs
    instead. Methods raise KernelError for a failed system call.
    """

    __slots__ = ("fd", "fresh", "ino", "path")

    _KILL_FILE = "cgroup.kill"

    def __init__(self, path: str, fd: int, fresh: bool = False) -> None:
        self.path = path
        self.fd = fd
        self.fresh = fresh
        self.ino = os.fstat(fd).st_ino

    # -- opening ---------------------------------------------------------------------------------

    @classmethod
    def create(cls, mount: CgroupMount, rel: str) -> Cgroup:
        """Make `rel` below `mount` with its missing parents; an empty existing one is taken over.

        Every controller that an ancestor offers is switched on for its children, best effort. The
        new cgroup's own subtree_control is left alone. ShimError when the leaf holds processes or
        is frozen, or cannot hold processes; then nothing that was made stays.
        """
        parts = tree.split(rel)
        if not parts:
            raise ShimError("the top of the cgroup hierarchy cannot be a container's cgroup")
        made: list[tuple[int, str]] = []
        try:
            fd, fresh = tree.make_path(mount.open(), parts, made)
            group = cls("/" + "/".join(parts), fd, fresh)
            try:
                group._check_usable()
            except ShimError:
                group.close()
                raise
            return group
        except ShimError:
            for parent, name in reversed(made):
                tree.rmdir_quietly(parent, name)
            raise
        finally:
            for parent, _ in made:
                os.close(parent)

    @classmethod
    def open(cls, mount: CgroupMount, rel: str, ino: int | None = None) -> Cgroup:
        """The existing cgroup `rel`. CgroupGoneError when it is missing or its inode is not
        `ino`."""
        parts = tree.split(rel)
        path = "/" + "/".join(parts)
        try:
            fd = tree.open_path(mount.open(), parts)
        except KernelError as error:
            if error.errno in _GONE:
                raise CgroupGoneError(f"cgroup {path} does not exist") from None
            raise
        group = cls(path, fd)
        if ino is not None and group.ino != ino:
            group.close()
            raise CgroupGoneError(
                f"cgroup {path} is not the one recorded: inode {group.ino}, not {ino}"
            )
        return group

    def child(self, name: str, create: bool = True) -> Cgroup:
        """A direct child. With `create` it must be new (KernelError EEXIST): a leaf is never reused
        (CG-01)."""
        if tree.split(name) != [name]:
            raise ShimError(f"invalid cgroup name: {name!r}")
        path = self.path.rstrip("/") + "/" + name
        if create:
            try:
                os.mkdir(name, 0o755, dir_fd=self.fd)
            except OSError as error:
                raise tree.failed(f"mkdir cgroup {path}", error) from None
        try:
            return type(self)(path, tree.open_at(self.fd, name), create)
        except KernelError as error:
            if error.errno in _GONE:
                raise CgroupGoneError(f"cgroup {path} does not exist") from None
            raise

    def close(self) -> None:
        """Drop the descriptor; the cgroup itself stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Cgroup:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # -- files -----------------------------------------------------------------------------------

    def read(self, file: str) -> str:
        """The whole text of an interface file."""
        try:
            return tree.read_at(self.fd, file)
        except OSError as error:
            raise tree.failed(f"read cgroup file {self.path}/{file}", error) from None

    def write(self, file: str, value: str) -> None:
        """Write `value` in one write(2), as the kernel wants it."""
        try:
            tree.write_at(self.fd, file, value)
        except OSError as error:
            step = f"write {value.strip()!r} to cgroup file {self.path}/{file}"
            raise tree.failed(step, error) from None

    def has(self, file: str) -> bool:
        """Whether this cgroup has the interface file: says that its controller is on here."""
        try:
            os.stat(file, dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def pids(self, recursive: bool = True) -> list[int]:
        """Processes of this cgroup, with `recursive` of all below too. 0 stands for one that lives
        outside the reader's pid namespace (cgroups(7))."""
        if not recursive:
            return tree.procs(self.fd)
        found: list[int] = []
        tree.walk(self.fd, lambda fd: found.extend(tree.procs(fd)))
        return found

    def cpu_usec(self) -> int | None:
        """CPU time used by this cgroup and all below, in microseconds; None when the kernel does
        not say."""
        try:
            return _keyed(self.read("cpu.stat")).get("usage_usec")
        except KernelError:
            return None

    # -- events ----------------------------------------------------------------------------------

    def events_fd(self) -> int:
        """A new descriptor of cgroup.events for poll or epoll with (E)POLLPRI.

        It is ready until read_events() has been called on it, so no change before the first poll is
        lost.
        """
        try:
            return os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError as error:
            raise tree.failed(f"open cgroup file {self.path}/cgroup.events", error) from None

    def populated(self) -> bool:
        """Whether any live process is in this cgroup or below. A removed cgroup is not
        populated."""
        return self._event("populated") == 1

    def frozen(self) -> bool:
        """Whether every process here and below is stopped by the freezer."""
        return self._event("frozen") == 1

    def wait_empty(self, timeout: float) -> bool:
        """Wait until no process is left here or below; False when `timeout` seconds were not
        enough."""
        return self._wait("populated", 0, monotonic() + timeout)

    def freeze(self, timeout: float = FREEZE_SECONDS) -> None:
        """Stop every process here and below, and wait until they are. If that takes longer than
        `timeout` the freeze is undone (CG-05: no error path leaves a cgroup frozen) and ShimError
        raised."""
        try:
            self.write("cgroup.freeze", "1")
            if not self._wait("frozen", 1, monotonic() + timeout):
                raise ShimError(f"cgroup {self.path} did not freeze within {timeout:g} seconds")
        except BaseException:
            self._thaw_quietly()
            raise

    def thaw(self, timeout: float = FREEZE_SECONDS) -> None:
        """Let the processes run again, and wait until they do. ShimError at the deadline: then an
        ancestor is frozen."""
        self.write("cgroup.freeze", "0")
        if not self._wait("frozen", 0, monotonic() + timeout):
            raise ShimError(f"cgroup {self.path} did not thaw within {timeout:g} seconds")

    # -- ending ----------------------------------------------------------------------------------

    def kill(self, timeout: float = FREEZE_SECONDS) -> None:
        """SIGKILL every process here and below, atomically against fork (CG-06); does not wait for
        the end.

        Without cgroup.kill (before Linux 5.14, or a threaded cgroup): freeze, signal each, thaw.
        `timeout` bounds only that second way.
        """
        try:
            tree.write_at(self.fd, self._KILL_FILE, "1")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                raise tree.failed(f"kill cgroup {self.path}", error) from None
            if self.has(
                "cgroup.procs"
            ):  # ENOENT of the whole directory means there is nobody to kill
                self._kill_each(monotonic() + timeout)

    def _kill_each(self, deadline: float) -> None:
        signalled: set[int] = set()
        try:
            # Not freeze(): a process in uninterruptible sleep never freezes, and must not stop us.
            # The rounds below catch what forks meanwhile.
            self.write("cgroup.freeze", "1")
            self._wait("frozen", 1, (monotonic() + deadline) / 2)
            while True:
                new = [pid for pid in self.pids() if pid > 0 and pid not in signalled]
                if not new:
                    return
                signalled.update(self._signal(new))
                if monotonic() > deadline:
                    raise ShimError(f"cgroup {self.path} forks faster than it can be killed")
        finally:
            self._thaw_quietly()

    def _signal(self, pids: list[int]) -> list[int]:
        """SIGKILL the given processes. The pidfd comes first and membership is read again after it,
        so a pid number that was reused outside the cgroup in between is not hit."""
        held: dict[int, int] = {}
        try:
            for pid in pids[:256]:
                try:
                    held[pid] = os.pidfd_open(pid)
                except ProcessLookupError:
                    continue
            still = set(self.pids())
            for pid, pidfd in held.items():
                if pid in still:
                    try:
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
            return list(held)
        finally:
            for pidfd in held.values():
                os.close(pidfd)

    def remove(self, timeout: float = REMOVE_SECONDS) -> None:
        """Remove the cgroup with all below it, bottom up. Kills nothing: waits for the processes to
        end.

        ShimError after `timeout` seconds, naming the processes that remain (CG-11). A cgroup that
        is gone already, or whose name belongs to another one by now, is no error and is not
        touched.
        """
        name = self.path.rpartition("/")[2]
        if not name:
            raise ShimError("the top of the cgroup hierarchy cannot be removed")
        deadline = monotonic() + timeout
        try:
            parent = tree.open_at(self.fd, "..")
        except KernelError as error:
            if error.errno in _GONE:
                return
            raise
        try:
            if tree.inode_at(parent, name) == self.ino:
                self._remove_from(parent, name, deadline)
        finally:
            os.close(parent)

    def _remove_from(self, parent: int, name: str, deadline: float) -> None:
        while not tree.remove_tree(parent, name):
            # Busy: a live process somewhere below. cgroup.events of this cgroup covers all of them.
            if not self._wait("populated", 0, deadline):
                raise ShimError(f"cgroup {self.path} is busy: {_list(self.pids())}")
            if tree.remove_tree(parent, name):
                return
            # Empty and still EBUSY: an exit in progress, or somebody makes children as fast as we
            # remove them. The kernel has no event for either; a short bounded wait keeps this from
            # spinning.
            if monotonic() >= deadline:
                raise ShimError(f"cgroup {self.path} is busy, although no process is in it")
            self._wait("populated", 1, min(deadline, monotonic() + 0.01))

    # -- inside ----------------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if "invalid" in self.read("cgroup.type"):
            raise ShimError(
                f"cgroup {self.path} cannot hold processes: its parent is a threaded cgroup"
            )
        if self.fresh:
            return
        if self.populated():
            raise ShimError(f"cgroup {self.path} is not empty: {_list(self.pids())}")
        if self.read("cgroup.freeze").strip() == "1":
            raise ShimError(
                f"cgroup {self.path} is frozen: write 0 to its cgroup.freeze, or remove it"
            )

    def _event(self, key: str) -> int:
        try:
            return _keyed(tree.read_at(self.fd, "cgroup.events")).get(key, 0)
        except OSError as error:
            if error.errno in _GONE:
                return 0
            raise tree.failed(f"read cgroup file {self.path}/cgroup.events", error) from None

    def _wait(self, key: str, want: int, deadline: float) -> bool:
        try:
            fd = self.events_fd()
        except KernelError as error:
            if error.errno in _GONE:
                return want == 0
            raise
        try:
            poller = select.poll()
            poller.register(fd, select.POLLPRI)
            while read_events(fd).get(key, 0) != want:
                left = deadline - monotonic()
                if left <= 0:
                    return False
                poller.poll(left * 1000 + 1)
            return True
        finally:
            os.close(fd)

    def _thaw_quietly(self) -> None:
        try:
            tree.write_at(self.fd, "cgroup.freeze", "0")
        except OSError:  # the cgroup is gone
            return


def read_events(fd: int) -> dict[str, int]:
    """The current content of an events_fd(): {"populated": 0|1, "frozen": 0|1}; {} when the cgroup
    is gone. Also arms the descriptor for the next poll."""
    try:
        return _keyed(os.pread(fd, 4096, 0).decode("ascii"))
    except OSError as error:
        if error.errno in _GONE:
            return {}
        raise tree.failed("read cgroup.events", error) from None


def _keyed(text: str) -> dict[str, int]:
    return {
        key: int(value) for key, _, value in (line.partition(" ") for line in text.splitlines())
    }


def _list(pids: list[int]) -> str:
    names = [str(pid) if pid else "one outside this pid namespace" for pid in pids[:_LISTED_PIDS]]
    more = f" and {len(pids) - _LISTED_PIDS} more" if len(pids) > _LISTED_PIDS else ""
    return (
        f"{len(pids)} process(es) remain: {', '.join(names)}{more}"
        if pids
        else "processes just ended"
    )

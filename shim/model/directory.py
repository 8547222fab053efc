"""One container's state directory (ARCHITECTURE.md "State").

Everything goes through directory descriptors with O_NOFOLLOW, and everything read back is hostile
input: regular files only, capped in size, checked for shape (SECURITY.md ST-05..08). Writes are
atomic and durable: temporary file, fsync, rename, fsync of the directory (ST-03, ST-04). System
errors become KernelError with the file's name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from shim import jsontext
from shim.errors import KernelError, NotFoundError, ShimError
from shim.model import files, journal, lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from shim.model.store import Store

STATE = "state.json"
JOURNAL = "journal.jsonl"
VERSION = 1

STATE_MAX = 4 << 20
FILE_MAX = 64 << 20
"""Bytes of the largest other file we agree to read whole."""

_TYPES: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "bundle": (str,),
    "rootfs": (str,),
    "created": (str,),
    "owner": (str,),
    "annotations": (dict,),
    "pid": (int, type(None)),
    "bootId": (str, type(None)),
    "startTime": (int, type(None)),
    "pidfsIno": (int, type(None)),
    "cgroup": (dict, type(None)),
    "root": (dict, type(None)),
    "lifecycle": (dict, type(None)),
    "status": (str,),
    "phase": (str, type(None)),
    "deadline": (int, float, type(None)),
    "exit": (dict, type(None)),
    "monitor": (dict, type(None)),
    "namespaces": (dict,),
}
"""Shape of the keys whose wrong type could mislead a verb; others are kept as they are (ST-10)."""


def parse_state(data: bytes) -> dict[str, Any]:
    """state.json as a dict with keys of the right types; ShimError "corrupt state" otherwise."""
    try:
        state = jsontext.loads(data)
    except (ValueError, RecursionError) as error:
        raise ShimError(f"corrupt state: {STATE}: {error}") from None
    if not isinstance(state, dict):
        raise ShimError(f"corrupt state: {STATE}: not an object")
    if state.get("version") != VERSION:
        raise ShimError(f"{STATE}: version {state.get('version')!r} is not supported by this shim")
    for key in ("id", "status"):
        if key not in state:
            raise ShimError(f"corrupt state: {STATE}: no {key}")
    for key, types in _TYPES.items():
        if key in state and (not isinstance(state[key], types) or isinstance(state[key], bool)):
            raise ShimError(f"corrupt state: {STATE}: /{key} has the wrong type")
    return state


class ContainerDir:
    """One container's directory, held open by `fd`. Not for use by several threads."""

    __slots__ = ("_depth", "_journal", "_lock", "_seq", "_size", "fd", "id", "path", "store")

    def __init__(self, store: Store, id: str, fd: int) -> None:
        self.store, self.id, self.fd = store, id, fd
        self.path = os.path.join(store.root, id)
        self._depth, self._lock = 0, -1
        self._seq, self._size, self._journal = 0, -1, -1
        try:
            files.check_owned(fd, self.path)
        except ShimError:
            os.close(fd)
            raise

    # ---- files

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor of a regular file below this directory; OSError as from openat(2).

        O_NONBLOCK, so that a planted FIFO cannot hang the open; no component may be a symlink.
        """
        parent, last = self._parent(name)
        try:
            fd = os.open(last, flags | files.FILE, 0o600, dir_fd=parent)
        finally:
            if parent != self.fd:
                os.close(parent)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ShimError(f"corrupt state: {name}: not a regular file")
        return fd

    def _parent(self, name: str, make: bool = False) -> tuple[int, str]:
        """The directory descriptor and last part of `name`, which has one "/" at most."""
        first, slash, last = name.partition("/")
        if not slash:
            return self.fd, first
        if make:
            try:
                os.mkdir(first, 0o700, dir_fd=self.fd)
            except FileExistsError:
                pass
        return os.open(first, files.DIR, dir_fd=self.fd), last

    def read_bytes(self, name: str, limit: int = FILE_MAX) -> bytes:
        """The content of a file, ShimError when larger than `limit` bytes or no regular file."""
        try:
            fd = self.open(name)
        except OSError as error:
            raise files.fail(f"read {name}", error) from error
        try:
            if os.fstat(fd).st_size > limit:
                raise ShimError(f"corrupt state: {name}: larger than {limit} bytes")
            return files.read_all(fd, limit)
        except OSError as error:
            raise files.fail(f"read {name}", error) from error
        finally:
            os.close(fd)

    def write_bytes(self, name: str, data: bytes, durable: bool = True) -> None:
        """Replace a file: after a crash it holds the old or the new content, never a mix. Without
        `durable` only as long as the machine runs: enough for what a reboot makes useless."""
        try:
            self._replace(name, data, durable)
        except OSError as error:
            raise files.fail(f"write {name}", error) from error

    def _replace(self, name: str, data: bytes, durable: bool) -> None:
        parent, last = self._parent(name, make=True)
        temporary = f".{last}.{os.getpid()}"
        try:
            try:
                os.unlink(temporary, dir_fd=parent)
            except FileNotFoundError:
                pass
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | files.FILE
            fd = os.open(temporary, flags, 0o600, dir_fd=parent)
            try:
                files.write_all(fd, data)
                if durable:
                    os.fsync(fd)
                os.rename(temporary, last, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                os.unlink(temporary, dir_fd=parent)
                raise
            finally:
                os.close(fd)
            if durable:
                os.fsync(parent)
        finally:
            if parent != self.fd:
                os.close(parent)

    # ---- state

    def read_state(self) -> dict[str, Any]:
        """state.json, checked by `parse_state`."""
        try:
            data = self.read_bytes(STATE, STATE_MAX)
        except KernelError as error:
            raise ShimError(f"corrupt state: {error}") from error
        state = parse_state(data)
        if state["id"] != self.id:
            raise ShimError(f"corrupt state: {STATE}: /id is not {self.id}")
        return state

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace state.json; `version` is set here."""
        data = jsontext.dumps({**state, "version": VERSION}).encode("ascii")
        self.write_bytes(STATE, data)

    def update(self, **changes: Any) -> dict[str, Any]:
        """Change some keys of state.json under the lock and return the new state."""
        with self.lock():
            state = self.read_state()
            state.update(changes)
            self.write_state(state)
            return state

    def try_update(self, **changes: Any) -> bool:
        """update, but False at once when somebody holds the lock: for the monitor, which never
        waits (SECURITY.md section 9 rule 7)."""
        if not self.acquire(wait=False):
            return False
        try:
            self.update(**changes)
        finally:
            self.release()
        return True

    # ---- lock

    def lock(self) -> _Lock:
        """Context manager: exclusive use of the container by this object; may be nested.

        Raises NotFoundError when the container was removed while waiting, ShimError "busy" after
        lock.WAIT seconds. Never hold it while a hook runs (ST-11).
        """
        return _Lock(self)

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock, see `lock`; False when it is taken and `wait` is false."""
        if self._depth == 0:
            held = lock.acquire(self.store.root_fd, self.id, wait)
            if held is None:
                return False
            self._lock = held
            if not self.store.current(self.id, self.fd):
                self._depth = 1
                self.release()
                raise NotFoundError()
        self._depth += 1
        return True

    def release(self) -> None:
        """Give the lock back, see `lock`. The lock file goes with the container."""
        self._depth -= 1
        if self._depth == 0:
            fd, self._lock = self._lock, -1
            try:
                if not os.access(
                    self.id, os.F_OK, dir_fd=self.store.root_fd, follow_symlinks=False
                ):
                    lock.drop(self.store.root_fd, self.id)
            finally:
                os.close(fd)

    # ---- journal

    def append(self, record: dict[str, Any], durable: bool = True) -> None:
        """Add one record to the journal; with `durable` it is on the disk when this returns.

        Several processes may append: the file's own lock orders them. What a crash or tampering
        left behind the last good record is cut off first, because nothing after it would ever be
        read.
        """
        try:
            fd = self._journal if self._journal >= 0 else self._open_journal()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                self._append(fd, record, durable)
            finally:
                if fd == self._journal:
                    fcntl.flock(fd, fcntl.LOCK_UN)
                else:
                    os.close(fd)
        except OSError as error:
            raise files.fail(f"write {JOURNAL}", error) from error

    def _open_journal(self) -> int:
        return self.open(JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def keep_journal(self) -> None:
        """Keep the file open from now on: for the monitor, which must not fork while it does."""
        try:
            self._journal = self._open_journal()
        except OSError as error:
            raise files.fail(f"open {JOURNAL}", error) from error

    def _append(self, fd: int, record: dict[str, Any], durable: bool) -> None:
        size = os.fstat(fd).st_size
        if size != self._size:
            if size > FILE_MAX:
                raise ShimError(f"{JOURNAL}: larger than {FILE_MAX} bytes")
            records, good = journal.replay(files.read_all(fd, size))
            if good != size:
                os.ftruncate(fd, good)
            self._seq, self._size = len(records), good
        line = journal.encode(self._seq + 1, record)
        try:
            files.write_all(fd, line)
        except OSError:
            os.ftruncate(fd, self._size)
            raise
        self._seq += 1
        self._size += len(line)
        if durable:
            os.fdatasync(fd)
            if self._seq == 1:
                os.fsync(self.fd)

    def journal(self) -> list[dict[str, Any]]:
        """All good records, oldest first; [] when nothing was written yet."""
        try:
            data = self.read_bytes(JOURNAL)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        return journal.replay(data)[0]

    # ---- the end

    def remove(self) -> None:
        """Erase the directory; state.json goes last, so that a cut-short removal can be
        repeated."""
        try:
            files.empty(self.fd, keep=STATE)
            files.empty(self.fd, keep="")
            self.store.unlink_dir(self.id)
        except FileNotFoundError:
            return
        except OSError as error:
            raise files.fail(f"remove {self.path}", error) from error

    def close(self) -> None:
        """Close the directory; the object is of no use afterwards."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1


class _Lock:
    __slots__ = ("_dir",)

    def __init__(self, directory: ContainerDir) -> None:
        self._dir = directory

    def __enter__(self) -> None:
        self._dir.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._dir.release()

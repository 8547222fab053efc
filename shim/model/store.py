"""The state root: which containers there are (ARCHITECTURE.md "State").

One directory a container, mode 0700, below a root that only we can write to (SECURITY.md ST-07).
"""

from __future__ import annotations

import errno
import os

from shim.errors import KernelError, NotFoundError, ShimError
from shim.model import files
from shim.model.directory import ContainerDir
from shim.paths import check_id


class Store:
    """The root directory. Opened on first use; made (0700) only by `create`."""

    __slots__ = ("root", "root_fd")

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.root_fd = -1

    def _open(self, make: bool) -> int:
        """A descriptor of the root; KernelError ENOENT when it is not there and `make` is false."""
        if self.root_fd < 0:
            try:
                if make:
                    os.makedirs(self.root, 0o700, exist_ok=True)
                fd = os.open(self.root, files.DIR)
            except OSError as error:
                raise files.fail(f"state root {self.root}", error) from error
            try:
                files.check_owned(fd, f"state root {self.root}")
            except ShimError:
                os.close(fd)
                raise
            self.root_fd = fd
        return self.root_fd

    def container(self, id: str) -> ContainerDir:
        """The directory of a container that exists; NotFoundError otherwise."""
        check_id(id)
        try:
            root = self._open(make=False)
            return ContainerDir(self, id, os.open(id, files.DIR, dir_fd=root))
        except KernelError as error:
            if error.errno == errno.ENOENT:
                raise NotFoundError() from None
            raise
        except FileNotFoundError:
            raise NotFoundError() from None
        except OSError as error:
            raise ShimError(
                f"corrupt state: {os.path.join(self.root, id)}: not a directory"
            ) from error

    def create(self, id: str) -> ContainerDir:
        """Make the directory of a new container; ShimError when the id is taken."""
        check_id(id)
        root = self._open(make=True)
        try:
            os.mkdir(id, 0o700, dir_fd=root)
            os.fsync(root)
            return ContainerDir(self, id, os.open(id, files.DIR, dir_fd=root))
        except FileExistsError:
            raise ShimError("container with given ID already exists") from None
        except OSError as error:
            raise files.fail(f"mkdir {os.path.join(self.root, id)}", error) from error

    def ids(self) -> list[str]:
        """The ids of all containers, sorted. Entries that are not ours are passed over (ST-08)."""
        try:
            root = self._open(make=False)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        found = []
        with os.scandir(root) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        found.append(check_id(entry.name))
                except (ShimError, OSError):
                    continue
        return sorted(found)

    def current(self, id: str, fd: int) -> bool:
        """True when `fd` is the directory that the id names now."""
        try:
            there = os.stat(id, dir_fd=self.root_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(fd))

    def unlink_dir(self, id: str) -> None:
        """rmdir the emptied directory of a container."""
        os.rmdir(id, dir_fd=self.root_fd)
        os.fsync(self.root_fd)

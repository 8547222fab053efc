"""The monitor's side of the spawner: one small static process that starts every hook
(csrc/serve.c).

A request is one message with descriptors; the answer is the joiner's pid. The joiner and the hook
are children of the monitor (CLONE_PARENT), which reaps them. Nothing here waits for the hook.
"""

from __future__ import annotations

import os
import signal
import struct

from shim.errors import KernelError, ShimError
from shim.kernel import unix
from shim.kernel.api import KERNEL
from shim.model import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Spawner:
    """Started on first use and again after it died. `fileno()` becomes readable with answers."""

    __slots__ = ("_sock", "generation", "pid", "pidfd")

    def __init__(self) -> None:
        self._sock: unix.Socket | None = None
        self.pid, self.pidfd = 0, -1
        self.generation = 0

    def start(self) -> None:
        """Have it running."""
        if self._sock is not None:
            return
        ours, theirs = unix.pair()
        try:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            try:
                self.pid, self.pidfd = KERNEL.spawn(
                    ["shim-executor", "serve", "3"], [theirs.fileno()], stdio=(null, null, null)
                )
            finally:
                os.close(null)
        except OSError as error:
            ours.close()
            raise KernelError("start spawner", error.errno or 0) from error
        finally:
            theirs.close()
        self._sock = ours
        self.generation += 1

    def fileno(self) -> int:
        """The control socket."""
        if self._sock is None:
            raise ShimError("spawner is not running")
        return self._sock.fileno()

    def request(
        self,
        *,
        token: int,
        status: int,
        blob: bytes,
        cgroup: int,
        stdio: tuple[int, int, int],
        fds: Sequence[int],
        migrate: bool = False,
    ) -> None:
        """Ask for one process. `status` receives the executor's messages, `fds` are the plan's
        slots in order. KernelError when the spawner is gone: it is started anew and the request
        repeated once."""
        memfd = KERNEL.sealed_bytes("shim-plan", blob)
        try:
            message = plan.MSG.pack(plan.MSG_GO, 0, 0, 0, token, int(migrate), 0, 0)
            passed = [status, memfd, cgroup, *stdio, *fds]
            rights = struct.pack(f"{len(passed)}i", *passed)
            ancillary = [(unix.SOL_SOCKET, unix.SCM_RIGHTS, rights)]
            for attempt in (1, 2):
                self.start()
                assert self._sock is not None
                try:
                    self._sock.sendmsg([message], ancillary)
                    return
                except OSError as error:
                    self.close()
                    if attempt == 2:
                        raise KernelError("ask the spawner", error.errno or 0) from error
        finally:
            os.close(memfd)

    def answers(self) -> list[tuple[int, int, int]]:
        """The answers that have arrived: (token, joiner pid or 0, errno). Empty when it has
        died."""
        found = []
        while self._sock is not None:
            try:
                data = self._sock.recv(plan.MSG.size, unix.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if len(data) != plan.MSG.size:
                self.close()
                break
            kind, _, err, _, pid, token, _, _ = plan.MSG.unpack(data)
            found.append((token, pid if kind == plan.MSG_PID else 0, err))
        return found

    @property
    def running(self) -> bool:
        """Whether there is a control socket to wait on."""
        return self._sock is not None

    def close(self) -> None:
        """Hang up, which ends the spawner, and reap it."""
        if self._sock is None:
            return
        self._sock.close()
        self._sock = None
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        except ChildProcessError:
            pass
        os.close(self.pidfd)
        self.pid, self.pidfd = 0, -1

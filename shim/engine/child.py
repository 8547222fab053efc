"""Drive one run of shim-executor: hand over a plan, answer its sync points, turn its reports into
facts.

The caller owns every descriptor it passes in. The executor's first process (the joiner) is always
our child and is reaped here; the process it leaves behind is our child too, because it was cloned
with CLONE_PARENT (csrc/ns.c, op_fork).
"""

from __future__ import annotations

import errno
import os

from shim.errors import KernelError, ShimError
from shim.kernel import unix
from shim.kernel.api import KERNEL
from shim.kernel.sig import signal
from shim.model import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shim.model.plan import Op

KILLED_AT_BIRTH = "executor killed before it reported anything"


class Packed:
    """A plan ready to run: the blob, the slot names in order, and how to get the ops that explain a
    failure, which are wanted only then."""

    __slots__ = ("blob", "explain", "names")

    def __init__(
        self, blob: bytes, names: Sequence[str], explain: Callable[[], Sequence[Op]]
    ) -> None:
        self.blob, self.names, self.explain = blob, names, explain

    @classmethod
    def of(cls, ops: Sequence[Op]) -> Packed:
        """Pack a plan that has just been compiled."""
        return cls(plan.pack(ops), plan.slots(ops), lambda: ops)


class Child:
    """One executor run. `pid` and `pidfd` are the process that will run the user's command, once
    known."""

    __slots__ = ("_packed", "_sock", "joiner", "joiner_pid", "pid", "pidfd", "root")

    def __init__(
        self, packed: Packed, sock: unix.Socket, joiner_pid: int, joiner: int
    ) -> None:
        self._packed, self._sock = packed, sock
        self.joiner_pid, self.joiner = joiner_pid, joiner
        self.pid, self.pidfd = 0, -1
        self.root: tuple[int, int, int] | None = None

    def drive(self, on_sync: Callable[[int], None] | None = None) -> None:
        """Until READY or until execve has succeeded (end of file). Raises what the plan's failure
        means.

        READY may come before PID: they are of two processes, and the forked one may run first.
        """
        ready = False
        while not (ready and self.pidfd >= 0) and (message := self._receive()) is not None:
            kind, step, err, detail, *values = message
            if kind == plan.MSG_ERROR:
                raise plan.failure(self._packed.explain(), step, err, detail)
            if kind == plan.MSG_READY:
                ready = True
            elif kind == plan.MSG_PID:
                self._adopt(values[0])
            elif kind == plan.MSG_ROOT:
                self.root = (values[0], values[1], values[2])
            elif kind == plan.MSG_SYNC and on_sync is not None:
                on_sync(values[0])
                self._sock.send(plan.MSG.pack(plan.MSG_GO, 0, 0, 0, 0, 0, 0, 0))
        self._reap_joiner()
        if self.pidfd < 0:
            raise ShimError(KILLED_AT_BIRTH)

    def _receive(self) -> tuple[int, ...] | None:
        data = self._sock.recv(plan.MSG.size)
        if not data:
            return None
        if len(data) != plan.MSG.size:
            raise ShimError(f"executor sent {len(data)} bytes for a message")
        return plan.MSG.unpack(data)

    def _adopt(self, pid: int) -> None:
        """Believe the pid only if it is a child of ours: the channel is shared with a process that
        the container may trace (SECURITY.md EX-26)."""
        pidfd = os.pidfd_open(pid)
        try:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            os.close(pidfd)
            raise ShimError(f"executor named a process that is not ours: {pid}") from None
        if self.pidfd >= 0:
            os.close(pidfd)
            raise ShimError("executor named a second process")
        self.pid, self.pidfd = pid, pidfd

    def _reap_joiner(self) -> None:
        if self.joiner >= 0:
            os.waitid(os.P_PIDFD, self.joiner, os.WEXITED)
            os.close(self.joiner)
            self.joiner = -1

    def kill(self) -> None:
        """End and reap whatever this run started; for error paths."""
        for fd in (self.joiner, self.pidfd):
            if fd >= 0:
                try:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                try:
                    os.waitid(os.P_PIDFD, fd, os.WEXITED)
                except ChildProcessError:
                    pass
                os.close(fd)
        self.joiner = self.pidfd = -1
        self.close()

    def close(self) -> None:
        """Close our end of the sync socket."""
        self._sock.close()


def start(
    packed: Packed,
    fds: dict[str, int],
    *,
    cgroup: int = -1,
    migrate: bool = False,
    stdio: tuple[int, int, int] = (-1, -1, -1),
    preserve: int = 0,
) -> Child:
    """Start the executor on a plan. `fds` maps the plan's slot names to descriptors."""
    ours, theirs = unix.pair()
    try:
        memfd = KERNEL.sealed_bytes("shim-plan", packed.blob)
        try:
            base = 3 + preserve
            argv = ["shim-executor", "plan", str(base), str(len(packed.names))]
            passed = [theirs.fileno(), memfd, *(fds[name] for name in packed.names)]
            pid, pidfd = KERNEL.spawn(
                argv, passed, base=base, stdio=stdio, cgroup=cgroup, migrate=migrate
            )
        finally:
            os.close(memfd)
    except OSError as error:
        ours.close()
        raise KernelError("start executor", error.errno or 0) from error
    finally:
        theirs.close()
    return Child(packed, ours, pid, pidfd)


def run(
    packed: Packed,
    fds: dict[str, int],
    *,
    cgroup: int = -1,
    stdio: tuple[int, int, int] = (-1, -1, -1),
    preserve: int = 0,
    on_sync: Callable[[Child, int], None] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Child:
    """start + drive; `meanwhile` is called while the executor works. A child that dies at birth is
    tried once more through cgroup.procs: a cgroup (or the caller's own) that ever had cgroup.kill
    written kills CLONE_INTO_CGROUP children (CG-01)."""
    for migrate in (False, True):
        child = start(
            packed, fds, cgroup=cgroup, migrate=migrate, stdio=stdio, preserve=preserve
        )
        handler = None if on_sync is None else _bind(on_sync, child)
        try:
            if meanwhile is not None:
                meanwhile()
            child.drive(handler)
        except BaseException as error:
            child.kill()
            if not migrate and cgroup >= 0 and str(error) == KILLED_AT_BIRTH:
                continue
            if isinstance(error, ConnectionError):
                raise KernelError("executor", errno.EPIPE) from error
            raise
        return child
    raise ShimError(KILLED_AT_BIRTH)


def _bind(on_sync: Callable[[Child, int], None], child: Child) -> Callable[[int], None]:
    return lambda number: on_sync(child, number)


def reap(pidfd: int) -> int:
    """Wait for a child of ours, close `pidfd`; the exit status as a shell reports it."""
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)
    if result is None:
        raise ShimError("the process has no exit status")
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def forward(signals: int, pidfd: int) -> None:
    """Pass one signal, read from the signalfd `signals`, on to the process."""
    number = int.from_bytes(os.read(signals, 128)[:4], "little")
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass


def check_preserved(count: int) -> None:
    """ShimError unless the caller has passed descriptors 3 to 2 + `count`: ours are CLOEXEC and do
    not count."""
    for fd in range(3, 3 + count):
        try:
            passed = os.get_inheritable(fd)
        except OSError:
            passed = False
        if not passed:
            raise ShimError(f"--preserve-fds {count}: descriptor {fd} is not open")

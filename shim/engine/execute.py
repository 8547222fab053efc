"""`exec`: one more process in a running container, through the exec plan that create left.

Nothing of config.json is read unless the caller overrides what is in it.
"""

from __future__ import annotations

import errno
import os
import select

from shim.engine import child, layout
from shim.engine.child import Packed
from shim.engine.kill import open_cgroup
from shim.errors import KernelError, UsageError
from shim.kernel.api import KERNEL
from shim.kernel.sig import signal
from shim.model import plan, status
from shim.model.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.engine.child import Child
    from shim.kernel.cgroup import Cgroup
    from shim.model.store import Store

FORWARDED = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGWINCH,
)  # fmt: skip


class Options:
    """What the command line of exec may say; attribute names are the flags'."""

    __slots__ = (
        "additional_gids", "args", "caps", "cgroup", "console_socket", "cwd", "detach", "env",
        "ignore_paused", "no_new_privs", "pid_file", "preserve_fds", "process_file", "tty", "user",
    )  # fmt: skip

    args: list[str]
    additional_gids: list[int] | None
    caps: list[str] | None
    cgroup: str | None
    console_socket: str | None
    cwd: str | None
    detach: bool | None
    env: list[str] | None
    ignore_paused: bool | None
    no_new_privs: bool | None
    pid_file: str | None
    preserve_fds: int | None
    process_file: str | None
    tty: bool | None
    user: str | None

    def __init__(self, **flags: Any) -> None:
        for name in self.__slots__:
            setattr(self, name, flags.get(name))

    def plain(self) -> bool:
        """True when the plan made at create serves as it is: only the command differs."""
        given = (self.process_file, self.cwd, self.user, self.no_new_privs)
        changed = (self.tty, self.caps, self.additional_gids, self.preserve_fds)
        return not any(changed) and all(value is None for value in given)


def execute(store: Store, id: str, **flags: Any) -> int:
    """The verb; the exit status of the process, 0 when detached.

    Raises NotRunningError, StateError for a paused container, CommandNotFoundError (127),
    CannotInvokeError (126), and KernelError naming the step.
    """
    options = Options(**flags)
    container = Container.load(store, id)
    now = container.status()
    if not (now == status.PAUSED and options.ignore_paused):
        status.check("exec", now)
    packed = plan_for(container, options)
    tty = "console" in packed.names
    check_terminal(tty, options)
    child.check_preserved(options.preserve_fds or 0)
    if options.detach:
        os.close(start(container, options, packed))
        return 0
    if tty and not options.console_socket:
        from shim.engine import terminal

        # SIGWINCH is the relay's: the process's terminal has a size of its own.
        signals = KERNEL.signalfd([n for n in FORWARDED if n != signal.SIGWINCH])
        return terminal.attached(lambda sock: start(container, options, packed, sock), signals)
    signals = KERNEL.signalfd(FORWARDED)
    return wait(start(container, options, packed), signals)


def check_terminal(tty: bool, options: Options) -> None:
    """runc's rules; `tty` may come from --process as well as from --tty."""
    if tty and options.detach and not options.console_socket:
        raise UsageError("cannot allocate tty: --detach with a terminal needs --console-socket")
    if options.console_socket and not tty:
        raise UsageError("cannot use --console-socket: the process has no terminal")


def start(
    container: Container,
    options: Options,
    packed: Packed,
    console: int | None = None,
) -> int:
    """Start the process; its pidfd. `console` is where a terminal's master goes when that is not
    --console-socket; it stays open."""
    fds = {"init": container.open_init()}
    try:
        if options.console_socket:
            from shim.engine.slots import connect

            fds["console"] = connect(options.console_socket)
        elif console is not None:
            fds["console"] = os.dup(console)
        with _target_cgroup(container, options) as cgroup:
            made = _enter(packed, fds, cgroup, options.preserve_fds or 0)
    finally:
        for fd in fds.values():
            os.close(fd)
    made.close()
    if options.pid_file:
        from shim.engine.pidfile import write_pid_file

        write_pid_file(options.pid_file, made.pid)
    return made.pidfd


def _enter(packed: Packed, fds: dict[str, int], cgroup: Cgroup, preserve: int) -> Child:
    """Into the container's cgroup; when that is an inner node (systemd runs inside), into a fresh
    leaf below it, which is still the container's (SECURITY.md CG-08)."""
    try:
        return child.run(packed, fds, cgroup=cgroup.fd, preserve=preserve)
    except KernelError as error:
        if error.errno != errno.EBUSY:
            raise
    with cgroup.child(f"exec-{os.getpid()}") as leaf:
        return child.run(packed, fds, cgroup=leaf.fd, preserve=preserve)


def _target_cgroup(container: Container, options: Options) -> Cgroup:
    cgroup = layout.of_main(open_cgroup(container), container.state)
    if not options.cgroup or options.cgroup in ("/", "."):
        return cgroup
    with cgroup:
        group = cgroup
        for part in options.cgroup.strip("/").split("/"):
            below = group.child(part, create=False)  # one checked name at a time: CV-34
            if group is not cgroup:
                group.close()
            group = below
        return group


def plan_for(container: Container, options: Options) -> Packed:
    """The plan that create left, with another command, or a new one when more differs."""
    if not options.plain():
        from shim.engine.overrides import packed

        return packed(container, options)
    directory, argv = container.dir, options.args
    blob = plan.with_command(directory.read_bytes("exec.plan"), argv, options.env or ())

    def explain() -> list[plan.Op]:
        from shim.model import words

        return words.load(directory.read_bytes("exec.json"), argv)

    return Packed(blob, ["init"], explain)


def wait(pidfd: int, signals: int) -> int:
    """Until the process ends; its status as a shell reports it. Signals sent to us go to it."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(signals, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if pidfd in ready:
            os.close(signals)
            return child.reap(pidfd)
        child.forward(signals, pidfd)

"""`exec`: one more process in a running container, through the exec plan that create left.

Nothing of config.json is read unless the caller overrides what is in it.
"""

from __future__ import annotations

import errno
import os
import select

from shim.engine import child, compile
from shim.engine.create import load_ops, write_pid_file
from shim.engine.kill import open_cgroup
from shim.engine.slots import connect
from shim.errors import InputError, KernelError, StateError, UsageError
from shim.kernel.api import KERNEL
from shim.kernel.sig import signal
from shim.model import plan, status
from shim.model.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.bundle.spec import Process
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
        changed = (
            self.process_file, self.cwd, self.user, self.tty, self.caps, self.additional_gids,
            self.preserve_fds,
        )  # fmt: skip
        return not any(changed) and self.no_new_privs is None


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
    ops, blob = plan_for(container, options)
    tty = "console" in plan.slots(ops)
    check_terminal(tty, options)
    if options.detach:
        os.close(start(container, options, ops, blob))
        return 0
    if tty and not options.console_socket:
        from shim.engine import terminal

        # SIGWINCH is the relay's: the process's terminal has a size of its own.
        signals = KERNEL.signalfd([n for n in FORWARDED if n != signal.SIGWINCH])
        return terminal.attached(lambda sock: start(container, options, ops, blob, sock), signals)
    signals = KERNEL.signalfd(FORWARDED)
    return wait(start(container, options, ops, blob), signals)


def check_terminal(tty: bool, options: Options) -> None:
    """runc's rules; `tty` may come from --process as well as from --tty."""
    if tty and options.detach and not options.console_socket:
        raise UsageError("cannot allocate tty: --detach with a terminal needs --console-socket")
    if options.console_socket and not tty:
        raise UsageError("cannot use --console-socket: the process has no terminal")


def start(
    container: Container,
    options: Options,
    ops: list[plan.Op],
    blob: bytes,
    console: int | None = None,
) -> int:
    """Start the process; its pidfd. `console` is where a terminal's master goes when that is not
    --console-socket; it stays open."""
    fds = {"init": container.open_init()}
    try:
        if options.console_socket:
            fds["console"] = connect(options.console_socket)
        elif console is not None:
            fds["console"] = os.dup(console)
        with _target_cgroup(container, options) as cgroup:
            made = _enter(ops, blob, fds, cgroup, options.preserve_fds or 0)
    finally:
        for fd in fds.values():
            os.close(fd)
    made.close()
    if options.pid_file:
        write_pid_file(options.pid_file, made.pid)
    return made.pidfd


def _enter(
    ops: list[plan.Op], blob: bytes, fds: dict[str, int], cgroup: Cgroup, preserve: int
) -> Child:
    """Into the container's cgroup; when that is an inner node (systemd runs inside), into a fresh
    leaf below it, which is still the container's (SECURITY.md CG-08)."""
    try:
        return child.run(ops, fds, blob=blob, cgroup=cgroup.fd, preserve=preserve)
    except KernelError as error:
        if error.errno != errno.EBUSY:
            raise
    with cgroup.child(f"exec-{os.getpid()}") as leaf:
        return child.run(ops, fds, blob=blob, cgroup=leaf.fd, preserve=preserve)


def _target_cgroup(container: Container, options: Options) -> Cgroup:
    cgroup = open_cgroup(container)
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


def plan_for(container: Container, options: Options) -> tuple[list[plan.Op], bytes]:
    """(ops to explain failures with, packed plan)."""
    directory = container.dir
    if options.plain():
        argv = list(options.args)
        ops = load_ops(directory.read_bytes("exec.json"))
        ops[-1].list = tuple(argv)
        for op in ops:
            if op.name == "JOIN_PIDFD":
                op.fd = "init"
        blob = directory.read_bytes("exec.plan")
        return ops, plan.with_command(blob, argv, options.env or ())
    process, mask = _process(container, options)
    root = container.state["root"]
    compiled = compile.exec_plan(
        process,
        mask,
        (root["dev"], root["ino"], root["mnt"]),
        compile.Options(
            keyring=container.state["keyring"],
            preserve_fds=options.preserve_fds or 0,
        ),
    )
    return compiled, plan.pack(compiled)


def _process(container: Container, options: Options) -> tuple[Process, int]:
    from shim.bundle.spec import parse, parse_process

    spec = parse(container.dir.read_bytes("config.json"))
    if options.process_file:
        from shim.bundle.files import read_regular

        process = parse_process(read_regular(options.process_file), options.process_file)
    elif spec.process is None:
        raise StateError("config.json has no process to take the environment from")
    else:
        process = spec.process
        process.args = list(options.args)
        process.terminal, process.console_size = False, None
        override(process, options)
    process.terminal = process.terminal or bool(options.tty)
    if process.terminal and process.console_size is None and not options.console_socket:
        from shim.engine import terminal

        process.console_size = terminal.caller_size()
    return process, compile.namespace_mask(spec)


def override(process: Process, options: Options) -> None:
    """Apply -e, --cwd, -u, -g, -c and --no-new-privs to the container's process, as runc exec
    does."""
    if options.cwd:
        if not options.cwd.startswith("/"):
            raise InputError("--cwd", "", "must be an absolute path")
        process.cwd = options.cwd
    if options.user:
        process.uid, process.gid = parse_user(options.user, process.gid)
        process.env = [e for e in process.env if not e.startswith("HOME=")]
    if options.env:
        process.env = process.env + list(options.env)  # of two the last one counts
    process.additional_gids = process.additional_gids + list(options.additional_gids or ())
    if options.no_new_privs is not None:
        process.no_new_privileges = options.no_new_privs
    for name in options.caps or ():
        add_capability(process, name)


def add_capability(process: Process, name: str) -> None:
    """To bounding, effective and permitted: never to inheritable (SECURITY.md CV-09)."""
    from shim.bundle.caps import CAPABILITIES
    from shim.bundle.classes import Caps

    if name not in CAPABILITIES:
        raise InputError("--cap", "", f"unknown capability {name!r}")
    bit = 1 << CAPABILITIES[name]
    if process.caps is None:
        process.caps = Caps(0, 0, 0, 0, 0)
    process.caps.bounding |= bit
    process.caps.effective |= bit
    process.caps.permitted |= bit


def parse_user(text: str, gid: int) -> tuple[int, int]:
    """`UID[:GID]`, decimal, 0..2^32-2 (SECURITY.md CV-16, IN-05)."""
    numbers = text.split(":")
    for part in numbers:
        valid = part.isascii() and part.isdigit() and len(part) <= 10 and int(part) < 2**32 - 1
        if len(numbers) > 2 or not valid:
            raise InputError("--user", "", f"{text!r} is not UID[:GID]")
    return int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else gid


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

"""`exec` with more than another command: -e, -u, --cwd, -c, -t or a whole --process FILE. Only
these read config.json again (the copy that create kept) and compile a new exec plan."""

from __future__ import annotations

from shim.bundle.caps import CAPABILITIES
from shim.bundle.classes import Caps
from shim.bundle.spec import parse, parse_process
from shim.engine import compile
from shim.engine.child import Packed
from shim.errors import InputError, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.spec import Process
    from shim.engine.execute import Options
    from shim.model.container import Container


def packed(container: Container, options: Options) -> Packed:
    """The exec plan for these options. InputError names what is wrong with them."""
    process, mask = process_of(container, options)
    root = container.state["root"]
    return Packed.of(
        compile.exec_plan(
            process,
            mask,
            (root["dev"], root["ino"], root["mnt"]),
            compile.Options(
                keyring=container.state["keyring"], preserve_fds=options.preserve_fds or 0
            ),
        )
    )


def process_of(container: Container, options: Options) -> tuple[Process, int]:
    """(process, CLONE_NEW* mask of the container's namespaces)."""
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
    if options.cwd is not None:
        if not options.cwd.startswith("/"):
            raise InputError("--cwd", "", "must be an absolute path")
        process.cwd = options.cwd
    if options.user is not None:
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

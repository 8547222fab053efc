"""`create`: bundle -> plan -> a process that is set up and waits for `start`.

All or nothing: whatever fails, what was made is unmade in reverse order, and a failure to unmake is
noted on the error (runtime-spec "Create", SECURITY.md ST-01).
"""

from __future__ import annotations

import os
from time import time_ns

from shim.bundle.load import load
from shim.engine import child, compile, layout
from shim.engine.cgroup_setup import location, setup
from shim.engine.pidfile import write_pid_file
from shim.engine.slots import Slots
from shim.engine.usage import main_kills
from shim.errors import KernelError, ShimError, UsageError
from shim.kernel import proc
from shim.kernel.api import KERNEL
from shim.kernel.cgroup import Cgroup, find_mount
from shim.model import plan, words
from shim.model.event import NORMAL, event, rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shim.bundle.load import Bundle
    from shim.bundle.spec import Spec
    from shim.engine.child import Child
    from shim.kernel.cgroup import CgroupMount
    from shim.model.directory import ContainerDir
    from shim.model.store import Store

OCI_VERSION = "1.3.0"


class Request:
    """What `create` and `run` were asked for, beyond id and bundle."""

    __slots__ = (
        "console_fd", "console_socket", "lifecycle_file", "meanwhile", "no_new_keyring",
        "no_pivot", "pid_file", "preserve_fds", "remove_on_exit", "standalone", "stdio",
    )  # fmt: skip

    def __init__(
        self,
        *,
        console_socket: str | None = None,
        pid_file: str | None = None,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        preserve_fds: int = 0,
        lifecycle_file: str | None = None,
        standalone: bool = False,
        remove_on_exit: bool = False,
        stdio: tuple[int, int, int] = (-1, -1, -1),
    ) -> None:
        self.console_socket, self.pid_file = console_socket, pid_file
        self.console_fd = -1
        self.meanwhile: Callable[[], None] | None = None
        self.no_pivot, self.no_new_keyring = no_pivot, no_new_keyring
        self.preserve_fds, self.lifecycle_file = preserve_fds, lifecycle_file
        self.standalone, self.remove_on_exit, self.stdio = standalone, remove_on_exit, stdio


def create(store: Store, id: str, bundle_dir: str, **options: Any) -> None:
    """The verb. The container's process stays behind, a child of whoever reaps our orphans."""
    request = Request(**options)
    bundle = load(bundle_dir, request.lifecycle_file)
    directory, made, cgroup = create_container(store, id, bundle, request)
    os.close(made.pidfd)
    cgroup.close()
    directory.close()


def create_container(
    store: Store, id: str, bundle: Bundle, request: Request
) -> tuple[ContainerDir, Child, Cgroup]:
    """Create and leave the process at its start socket; the caller is its parent.

    Returns the state directory, the started child (pid, pidfd) and the container's cgroup, all
    open.
    """
    check_terminal(bundle.spec, request)
    child.check_preserved(request.preserve_fds)
    mount = find_mount()
    directory = store.create(id)
    undo: list[Any] = [directory.remove]
    try:
        cgroup = setup(
            mount, location(bundle.spec.linux.cgroups_path, id), bundle.spec.linux.resources, KERNEL
        )
        undo.append(lambda: remove_cgroup(cgroup))
        state = initial_state(id, bundle, request, cgroup)
        directory.write_state(state)
        with layout.make_main(cgroup, mount, bundle.lifecycle) as main:
            made = _spawn(id, bundle, directory, main, mount, request)
        undo.append(made.kill)
        record(directory, state, bundle, made, request)
        if request.pid_file:
            write_pid_file(request.pid_file, made.pid)
            undo.append(lambda: os.unlink(request.pid_file or ""))
        text = f"Created container {id}"
        directory.append(event(NORMAL, "Created", text, id, time_ns()))
    except BaseException as error:
        unwind(error, undo)
        raise
    made.close()
    return directory, made, cgroup


def unwind(error: BaseException, undo: list[Any]) -> None:
    """Run the clean-ups, last first; what fails is noted on `error`, the cause stays first."""
    for step in reversed(undo):
        try:
            step()
        except Exception as failure:
            error.add_note(str(failure))


def remove_cgroup(cgroup: Cgroup) -> None:
    """Kill what is left in the container's cgroup and remove it."""
    cgroup.kill()
    cgroup.remove()
    cgroup.close()


def check_terminal(spec: Spec, request: Request) -> None:
    """runc's rule: a terminal needs somewhere to send its master, and no socket without a
    terminal."""
    terminal = spec.process is not None and spec.process.terminal
    if terminal and not request.console_socket and request.console_fd < 0:
        raise UsageError(
            "cannot allocate tty: process.terminal is true but no --console-socket is given"
        )
    if request.console_socket and not terminal:
        raise UsageError("cannot use --console-socket: process.terminal is false")


def keyring_name(id: str, request: Request) -> str | None:
    """Prefixed: a key ring named after an id that starts with a dot is refused (SECURITY.md
    EX-14)."""
    return None if request.no_new_keyring else f"_ses.{id}"


def initial_state(id: str, bundle: Bundle, request: Request, cgroup: Cgroup) -> dict[str, Any]:
    """state.json before anything runs: enough for `delete -f` to clean up after a kill -9."""
    spec = bundle.spec
    return {
        "ociVersion": OCI_VERSION,
        "id": id,
        "bundle": bundle.dir,
        "rootfs": bundle.rootfs,
        "created": rfc3339(time_ns()),
        "owner": "",
        "annotations": spec.annotations,
        "pid": None,
        "bootId": proc.boot_id(),
        "startTime": None,
        "pidfsIno": None,
        "cgroup": layout.recorded(cgroup, bundle.lifecycle),
        "root": None,
        "lifecycle": None if bundle.lifecycle is None else bundle.lifecycle.to_json(),
        "status": "creating",
        "phase": "created",
        "deadline": None,
        "exit": None,
        "monitor": None,
        "restartCount": 0,
        "terminal": spec.process is not None and spec.process.terminal,
        "namespaces": {n.type: n.path for n in spec.linux.namespaces},
        "keyring": keyring_name(id, request),
        "standalone": request.standalone,
        "hookSeq": 0,
        "removeOnExit": request.remove_on_exit,
        # a cgroup that was there before has a past of its own
        "oomSeen": 0 if cgroup.fresh else main_kills(cgroup, False),
    }


def _spawn(
    id: str,
    bundle: Bundle,
    directory: ContainerDir,
    cgroup: Cgroup,
    mount: CgroupMount,
    request: Request,
) -> Child:
    options = compile.Options(
        keyring=keyring_name(id, request),
        no_pivot=request.no_pivot,
        preserve_fds=request.preserve_fds,
        rootfs=bundle.rootfs,
    )
    ops = compile.create_plan(bundle.spec, options)
    with Slots() as slots:
        slots.open(plan.slots(ops), bundle, directory, cgroup, mount, request)
        return child.run(
            child.Packed.of(ops),
            slots.fds,
            cgroup=cgroup.fd,
            stdio=request.stdio,
            preserve=request.preserve_fds,
            meanwhile=request.meanwhile,
            on_sync=lambda run, number: write_id_maps(run.joiner_pid, bundle.spec),
        )


def write_id_maps(pid: int, spec: Spec) -> None:
    """Sync point 1 (user_namespaces(7)): one write(2) each; the joiner is our unreaped child, so
    its pid cannot have been reused."""
    for name, field, maps in (
        ("uid_map", "uidMappings", spec.linux.uid_mappings),
        ("gid_map", "gidMappings", spec.linux.gid_mappings),
    ):
        text = "".join(f"{m.container_id} {m.host_id} {m.size}\n" for m in maps)
        try:
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise KernelError(f"/linux/{field}: write {name}", error.errno or 0) from None


def record(
    directory: ContainerDir, state: dict[str, Any], bundle: Bundle, made: Child, request: Request
) -> None:
    """Keep what later verbs need: identity, the exec plan, and the config as it was (runtime-spec:
    later edits of config.json have no effect)."""
    if made.root is None or bundle.spec.process is None:
        raise ShimError("executor did not report the container's root")
    process = bundle.spec.process
    options = compile.Options(keyring=state["keyring"])
    tty, process.terminal = process.terminal, False
    ops = compile.exec_plan(process, compile.namespace_mask(bundle.spec), made.root, options)
    process.terminal = tty
    directory.write_bytes("exec.plan", plan.pack(ops), durable=False)
    directory.write_bytes("exec.json", words.dump(ops), durable=False)
    directory.write_bytes("config.json", bundle.config, durable=False)
    state.update(
        pid=made.pid,
        startTime=proc.start_time(made.pid),
        pidfsIno=proc.pidfs_ino(made.pidfd),
        root={"dev": made.root[0], "ino": made.root[1], "mnt": made.root[2]},
        status="created",
    )
    directory.write_state(state)

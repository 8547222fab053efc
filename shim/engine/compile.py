"""config.json -> plan: the child ops that make a container, in the order in which they must happen.

Pure: no system calls, golden-tested, printed by `shim explain`. Order and reasons: SECURITY.md
section 9 rule 3, runtime-spec config-linux.md. Descriptors are named slots ("rootfs", "bind:3",
"ns:network") that engine.create opens.
"""

from __future__ import annotations

from shim.bundle.sysctl import sysctl_path
from shim.engine.compile_fs import device_ops, mask_ops, mount_ops
from shim.engine.compile_process import credential_ops, limit_ops, user_of
from shim.errors import InputError
from shim.model import plan
from shim.model.plan import Op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from shim.bundle.spec import Process, Spec

CLONE = {
    "time": 0x00000080,
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
}
"""Namespace type of the specification -> CLONE_NEW* (namespaces(7))."""

MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE = 1 << 14, 1 << 18, 1 << 19, 1 << 20, 1 << 17
PROPAGATION = {
    "": MS_SLAVE | MS_REC,
    "private": MS_PRIVATE, "rprivate": MS_PRIVATE | MS_REC,
    "slave": MS_SLAVE, "rslave": MS_SLAVE | MS_REC,
    "shared": MS_SHARED, "rshared": MS_SHARED | MS_REC,
    "unbindable": MS_UNBINDABLE, "runbindable": MS_UNBINDABLE | MS_REC,
}  # fmt: skip

SYNC_ID_MAPS = 1
"""Sync point: the user namespace exists, the parent writes its id maps."""

MOUNT_ATTR_RDONLY = 1


class Options:
    """What the command line adds to the bundle; all of it changes the plan."""

    __slots__ = ("keyring", "no_pivot", "preserve_fds", "rootfs")

    def __init__(
        self,
        keyring: str | None = None,
        no_pivot: bool = False,
        preserve_fds: int = 0,
        rootfs: str | None = None,
    ) -> None:
        self.keyring, self.no_pivot = keyring, no_pivot
        self.preserve_fds, self.rootfs = preserve_fds, rootfs


def create_plan(spec: Spec, options: Options) -> list[Op]:
    """The child ops of a new container, from the first limit to execve of the user's process."""
    process = spec.process
    if process is None:
        raise InputError("config.json", "/process", "missing: there is nothing to run")
    ops = limit_ops(process)
    ops += namespace_ops(spec)
    ops.append(Op("FORK", "enter the pid namespace"))
    ops.append(Op("SETSID", "new session"))
    if options.keyring is not None:
        ops.append(Op("KEYRING", f"join session keyring {options.keyring}", str=[options.keyring]))
    if _is_new(spec, "network"):
        ops.append(Op("LOOPBACK_UP", "set loopback up"))
    ops += root_ops(spec, options.rootfs)
    ops += mount_ops(spec)
    ops += device_ops(spec)
    if process.terminal:
        ops.append(console_op(process, plan.CONSOLE_BIND))
    ops += name_ops(spec)
    ops += mask_ops(spec)
    ops += pivot_ops(spec, options)
    ops += credential_ops(process, chdir_flags=plan.CHDIR_CREATE)
    ops.append(Op("LOOKUP", f"find {process.args[0]}", "/process/args/0"))
    ops.append(Op("CLOSE_FDS", "close all other descriptors", num=[options.preserve_fds]))
    ops.append(Op("WAIT_START", "wait for start", fd="start"))
    ops.append(exec_op(process))
    return ops


def exec_plan(
    process: Process,
    namespaces: int,
    root: tuple[int, int, int],
    options: Options,
) -> list[Op]:
    """The child ops of a process that joins a running container: `exec`, hooks, probes.

    `namespaces` is the CLONE_NEW* mask to join, `root` the identity recorded at create. Everything
    is given up before the fork that makes the process visible inside (SECURITY.md EX-03).
    """
    ops = limit_ops(process)
    ops.append(Op("JOIN_PIDFD", "join the container's namespaces", fd="init", num=[namespaces]))
    ops.append(Op("CHECK_ROOT", "check that / is the container's root", num=list(root)))
    if options.keyring is not None:
        ops.append(Op("KEYRING", f"join session keyring {options.keyring}", str=[options.keyring]))
    ops += credential_ops(process, chdir_flags=0, joined=True)
    ops.append(Op("LOOKUP", f"find {process.args[0]}", "/process/args/0"))
    ops.append(Op("FORK", "enter the pid namespace"))
    ops.append(Op("SETSID", "new session"))
    if process.terminal:
        ops.append(console_op(process, plan.CONSOLE_JOINED))
    ops.append(Op("CLOSE_FDS", "close all other descriptors", num=[options.preserve_fds]))
    ops.append(exec_op(process))
    return ops


def namespace_mask(spec: Spec) -> int:
    """CLONE_NEW* mask of every namespace the container has or joins: what exec must enter."""
    mask = 0
    for namespace in spec.linux.namespaces:
        mask |= CLONE[namespace.type]
    return mask


def _is_new(spec: Spec, kind: str) -> bool:
    return any(n.type == kind and n.path is None for n in spec.linux.namespaces)


def namespace_ops(spec: Spec) -> list[Op]:
    """Join what is given by path while still the host's root, then the user namespace, then make
    the rest, so that new namespaces belong to the container's user namespace
    (user_namespaces(7))."""
    ops: list[Op] = []
    named = list(enumerate(spec.linux.namespaces))
    for i, n in [item for item in named if item[1].path is not None and item[1].type != "user"]:
        where = f"/linux/namespaces/{i}/path"
        ops.append(
            Op(
                "JOIN_NS",
                f"join {n.type} namespace {n.path}",
                where,
                fd=f"ns:{n.type}",
                num=[CLONE[n.type]],
            )
        )
    for i, n in named:
        if n.type == "user" and n.path is not None:
            where = f"/linux/namespaces/{i}/path"
            ops.append(
                Op(
                    "JOIN_NS",
                    f"join user namespace {n.path}",
                    where,
                    fd="ns:user",
                    num=[CLONE["user"]],
                )
            )
            ops.append(Op("ROOT_IDS", "become root of the user namespace", where))
        elif n.type == "user":
            where = f"/linux/namespaces/{i}"
            ops.append(Op("UNSHARE", "new user namespace", where, num=[CLONE["user"]]))
            ops.append(
                Op("SYNC", "sync 1: the parent writes the id maps", where, num=[SYNC_ID_MAPS])
            )
            ops.append(Op("ROOT_IDS", "become root of the user namespace", where))
    fresh = [n.type for _, n in named if n.path is None and n.type != "user"]
    if fresh:
        mask = sum(CLONE[kind] for kind in fresh)
        ops.append(
            Op("UNSHARE", f"new namespaces: {' '.join(fresh)}", "/linux/namespaces", num=[mask])
        )
    if spec.linux.time_offsets:
        text = "".join(
            f"{clock} {s} {ns}\n" for clock, (s, ns) in sorted(spec.linux.time_offsets.items())
        )
        ops.append(
            Op("TIME_OFFSETS", f"time offsets {text.strip()!r}", "/linux/timeOffsets", str=[text])
        )
    return ops


def root_ops(spec: Spec, rootfs: str | None) -> list[Op]:
    """The mount tree stops propagating to the host, then the rootfs becomes a mount of its own."""
    wanted = PROPAGATION[spec.linux.rootfs_propagation or ""]
    # A shared tree would carry our mounts to the host, and pivot_root(2) refuses it.
    first = PROPAGATION[""] if wanted & (MS_SHARED | MS_UNBINDABLE) else wanted | MS_REC
    where = "/linux/rootfsPropagation" if spec.linux.rootfs_propagation else ""
    path = rootfs or spec.root.path
    ops = [
        Op("PROPAGATION", "cut mount propagation to the host", where, num=[first]),
        Op("ROOT_BIND", f"bind the rootfs {path}", "/root/path", fd="rootfs", str=[path]),
    ]
    if wanted & MS_PRIVATE:
        # The bound tree comes from the host as a slave. Now, and not in the end, because mounts
        # below may ask to stay slaves.
        ops.append(Op("REMOUNT", "make the rootfs private", where, num=[0, 0, wanted], str=["/"]))
    return ops


def pivot_ops(spec: Spec, options: Options) -> list[Op]:
    """pivot_root, the root's own attributes, and its identity for later joins (SECURITY.md
    EX-05)."""
    ops = [
        Op(
            "PIVOT_ROOT",
            "move and chroot into the rootfs" if options.no_pivot else "pivot into the rootfs",
            flags=plan.PIVOT_MOVE if options.no_pivot else 0,
        )
    ]
    wanted = PROPAGATION[spec.linux.rootfs_propagation or ""]
    last = wanted if wanted & (MS_SHARED | MS_UNBINDABLE) else 0
    if spec.root.readonly or last:
        text = "make / read-only" if spec.root.readonly else "set propagation of /"
        where = "/root/readonly" if spec.root.readonly else "/linux/rootfsPropagation"
        attr = MOUNT_ATTR_RDONLY if spec.root.readonly else 0
        ops.append(Op("ROOT_ATTR", text, where, num=[attr, last]))
    ops.append(Op("REPORT_ROOT", "report the identity of /"))
    return ops


def name_ops(spec: Spec) -> list[Op]:
    """Host name, NIS domain name and sysctls."""
    ops: list[Op] = []
    if spec.hostname:
        ops.append(Op("HOSTNAME", f"hostname {spec.hostname}", "/hostname", str=[spec.hostname]))
    if spec.domainname:
        ops.append(
            Op("DOMAINNAME", f"domainname {spec.domainname}", "/domainname", str=[spec.domainname])
        )
    for key, value in spec.linux.sysctl.items():
        where = "/linux/sysctl/" + key.replace("~", "~0").replace("/", "~1")
        ops.append(Op("SYSCTL", f"{key} = {value}", where, str=[sysctl_path(key), value]))
    return ops


def console_op(process: Process, flags: int) -> Op:
    """A pseudo-terminal from the container's own devpts; the master leaves through a socket."""
    rows, cols = process.console_size or (0, 0)
    uid, _ = user_of(process)
    return Op(
        "CONSOLE",
        "pseudo-terminal on stdio",
        "/process/terminal",
        flags=flags,
        fd="console",
        num=[rows << 16 | cols, uid],
    )


def exec_op(process: Process) -> Op:
    """execve of the user's process. The text keeps the arguments out: they may hold secrets."""
    text = f"execute {process.args[0]}"
    return Op("EXEC", text, "/process/args", list=process.args, list2=unique(process.env))


def unique(env: Sequence[str]) -> list[str]:
    """Of entries with the same name the last: programs disagree on which they take (EX-07)."""
    last: dict[str, str] = {}
    for entry in env:
        name = entry.partition("=")[0]
        last.pop(name, None)
        last[name] = entry
    return list(last.values())

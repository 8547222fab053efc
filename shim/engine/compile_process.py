"""The ops that turn the executor into the user's process: limits, ids, capabilities, directory."""

from __future__ import annotations

from shim.bundle.classes import Caps
from shim.model import plan
from shim.model.plan import Op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.bundle.spec import Process


def user_of(process: Process) -> tuple[int, int]:
    """(uid, gid) inside the container."""
    return process.uid, process.gid


def limit_ops(process: Process) -> list[Op]:
    """What needs the caller's privileges on the host and so comes before any namespace."""
    ops: list[Op] = []
    if process.oom_score_adj is not None:
        text = f"oom_score_adj {process.oom_score_adj}"
        ops.append(Op("OOM_SCORE_ADJ", text, "/process/oomScoreAdj", num=[process.oom_score_adj]))
    for i, limit in enumerate(process.rlimits):
        text = f"{limit.name} soft {limit.soft} hard {limit.hard}"
        num = [limit.resource, limit.soft, limit.hard]
        ops.append(Op("RLIMIT", text, f"/process/rlimits/{i}", num=num))
    return ops


def credential_ops(process: Process, chdir_flags: int, joined: bool = False) -> list[Op]:
    """Working directory, umask, groups, ids, capabilities, no_new_privs (SECURITY.md section 9
    rule 3).

    A joined process keeps only those inheritable capabilities that its ambient ones need, so that a
    setuid-free program with file capabilities gains nothing (SECURITY.md CV-09).
    """
    first = chdir_flags | plan.CHDIR_FIRST_TRY
    ops = [Op("CHDIR", f"chdir {process.cwd}", "/process/cwd", flags=first, str=[process.cwd])]
    umask = 0o022 if process.umask is None else process.umask
    ops.append(Op("UMASK", f"umask {umask:04o}", "/process/user/umask", num=[umask]))
    # Without the object there are none, as in runc: were the bounding set left alone, root would
    # get all back at execve (capabilities(7), "Capabilities and execution of programs by root").
    caps = process.caps or Caps()
    where = "/process/capabilities/bounding"
    ops.append(Op("BOUNDING", f"bounding set {caps.bounding:#x}", where, num=[caps.bounding]))
    groups = list(process.additional_gids)
    ops.append(
        Op("SETGROUPS", f"groups {groups or 'none'}", "/process/user/additionalGids", nums=groups)
    )
    ids = [process.uid, process.gid]
    ops.append(Op("SETIDS", f"uid {ids[0]} gid {ids[1]}", "/process/user", num=ids))
    if not any(entry.startswith("HOME=") for entry in process.env):
        ops.append(Op("HOME", f"HOME of uid {ids[0]} from /etc/passwd", num=[ids[0]]))
    ops.append(Op("CHDIR", f"chdir {process.cwd}", "/process/cwd", str=[process.cwd]))
    inheritable = caps.inheritable & caps.ambient if joined else caps.inheritable
    sets = [caps.effective, caps.permitted, inheritable, caps.ambient]
    text = "capabilities effective {:#x} permitted {:#x} inheritable {:#x} ambient {:#x}"
    ops.append(Op("CAPS", text.format(*sets), "/process/capabilities", num=sets))
    if process.no_new_privileges:
        ops.append(Op("NO_NEW_PRIVS", "no new privileges", "/process/noNewPrivileges"))
    return ops

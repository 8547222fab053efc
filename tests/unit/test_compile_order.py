"""The order of a plan, for any config: what must come before what, and why (SECURITY.md section 9
rule 3, EX-03, EX-11; user_namespaces(7); runtime-spec)."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.compile_support import everything, spec_of

from shim.bundle.linux import NAMESPACES
from shim.bundle.spec import Process, Spec
from shim.engine.compile import CLONE, Options, create_plan, exec_plan, namespace_mask
from shim.model.plan import Op, pack, slots

LIMITS = {"OOM_SCORE_ADJ", "RLIMIT"}
ENTER = {"JOIN_NS", "UNSHARE", "JOIN_PIDFD"}
BUILD = {"MOUNT_FS", "MOUNT_BIND", "MOUNT_OVERLAY", "REMOUNT", "MKNOD", "SYMLINK"}
HIDE = {"MASK_PATH", "READONLY_PATH"}
CREDENTIALS = ["BOUNDING", "SETGROUPS", "SETIDS", "CAPS", "NO_NEW_PRIVS"]

_USERNS = {
    name: [{"containerID": 0, "hostID": 1000, "size": 10}]
    for name in ("uidMappings", "gidMappings")
}


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """`everything` with its optional parts taken away at random and namespaces at random."""
    document: dict[str, Any] = copy.deepcopy(everything())
    process, linux = document["process"], document["linux"]
    process["terminal"] = draw(st.booleans())
    for name in ("oomScoreAdj", "rlimits", "capabilities", "noNewPrivileges", "consoleSize"):
        if draw(st.booleans()):
            process.pop(name, None)
    for name in ("devices", "maskedPaths", "readonlyPaths", "rootfsPropagation", "resources"):
        if draw(st.booleans()):
            linux.pop(name, None)
    kinds = draw(st.permutations(NAMESPACES))[: draw(st.integers(0, len(NAMESPACES)))]
    namespaces: list[dict[str, str]] = []
    for kind in {*kinds, "mount"}:
        joined = kind != "mount" and draw(st.booleans())
        namespaces.append({"type": kind, **({"path": f"/ns/{kind}"} if joined else {})})
    linux["namespaces"] = draw(st.permutations(namespaces))
    for name in ("uidMappings", "gidMappings", "timeOffsets", "sysctl"):
        del linux[name]
    new = {n["type"] for n in namespaces if "path" not in n}
    linux.update(_USERNS if "user" in new else {})
    if "time" in new and draw(st.booleans()):
        linux["timeOffsets"] = {"boottime": {"secs": 1}}
    if "network" in new:
        linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    if not any(n["type"] == "uts" for n in namespaces):
        del document["hostname"], document["domainname"]
    document["root"]["readonly"] = draw(st.booleans())
    return spec_of(document)


def names(ops: list[Op]) -> list[str]:
    return [op.name for op in ops]


def places(ops: list[Op], wanted: set[str]) -> list[int]:
    return [i for i, op in enumerate(ops) if op.name in wanted]


def before(ops: list[Op], first: set[str], second: set[str]) -> None:
    """Every op of `first` comes before every one of `second`; either may be absent."""
    early, late = places(ops, first), places(ops, second)
    assert not early or not late or max(early) < min(late), (first, second, names(ops))


def check_credentials(ops: list[Op], process: Process) -> None:
    found = [op.name for op in ops if op.name in CREDENTIALS]
    wanted = set(CREDENTIALS)
    wanted -= set() if process.no_new_privileges else {"NO_NEW_PRIVS"}
    assert found == [name for name in CREDENTIALS if name in wanted]
    # EX-08: tried as root, then as the user, and the capabilities of root are gone by then or not
    # yet needed; LOOKUP asks with the user's rights.
    first, second = places(ops, {"CHDIR"})
    assert first < places(ops, {"SETIDS"})[0] < second < places(ops, {"CAPS"})[0]
    before(ops, {*CREDENTIALS, "CHDIR", "UMASK", "HOME"}, {"LOOKUP"})


@given(specs())
@settings(max_examples=300, deadline=None)
def test_create_order(spec: Spec) -> None:
    ops = create_plan(spec, Options(keyring="_ses.c"))
    process = spec.process
    assert process is not None
    assert names(ops)[-4:] == ["LOOKUP", "CLOSE_FDS", "WAIT_START", "EXEC"]
    for once in ("FORK", "SETSID", "PIVOT_ROOT", "REPORT_ROOT", "ROOT_BIND", "WAIT_START", "EXEC"):
        assert names(ops).count(once) == 1, once
    before(ops, LIMITS, ENTER)  # a user namespace takes the right to raise a limit
    before(ops, {*ENTER, "SYNC", "ROOT_IDS", "TIME_OFFSETS"}, {"FORK"})
    before(ops, {"FORK"}, {"SETSID"})
    before(ops, {"SETSID"}, {"PROPAGATION", "LOOPBACK_UP", "KEYRING", "CONSOLE"})
    before(ops, {"PROPAGATION"}, {"ROOT_BIND"})
    before(ops, {"ROOT_BIND"}, BUILD)
    before(ops, {*BUILD, "CONSOLE"}, HIDE)  # what is masked must be there, devices are not maskable
    before(ops, {"SYSCTL"}, HIDE)  # readonlyPaths hold /proc/sys
    before(ops, {*BUILD, *HIDE, "CONSOLE", "SYSCTL"}, {"PIVOT_ROOT"})
    before(ops, {"PIVOT_ROOT"}, {"ROOT_ATTR", "REPORT_ROOT", *CREDENTIALS})
    check_credentials(ops, process)
    assert ("CONSOLE" in names(ops)) == process.terminal
    assert ("LOOPBACK_UP" in names(ops)) == any(
        n.type == "network" and n.path is None for n in spec.linux.namespaces
    )
    pack(ops)


@given(specs())
@settings(max_examples=300, deadline=None)
def test_namespaces(spec: Spec) -> None:
    """What is joined is joined as the host's root, before the user namespace takes that away; what
    is new belongs to the new user namespace."""
    ops = create_plan(spec, Options())
    found = names(ops)
    kinds = {CLONE[kind]: kind for kind in CLONE}
    joined = [kinds[op.num[0]] for op in ops if op.name == "JOIN_NS"]
    assert set(joined) == {n.type for n in spec.linux.namespaces if n.path is not None}
    assert all(op.fd == f"ns:{kinds[op.num[0]]}" for op in ops if op.name == "JOIN_NS")
    made = [op.num[0] for op in ops if op.name == "UNSHARE"]
    new = {n.type for n in spec.linux.namespaces if n.path is None}
    assert sum(made) == sum(CLONE[kind] for kind in new)
    user = spec.linux.namespace("user")
    if user is None:
        assert "SYNC" not in found
        assert "ROOT_IDS" not in found
    elif user.path is None:
        at = found.index("SYNC")
        assert found[at - 1 : at + 2] == ["UNSHARE", "SYNC", "ROOT_IDS"]
        assert ops[at - 1].num == (CLONE["user"],)
        assert ops[at].num == (1,)
        assert "JOIN_NS" not in found[at:]
        assert found.count("SYNC") == 1
    else:
        assert "SYNC" not in found
        assert joined[-1] == "user"
        assert found[max(places(ops, {"JOIN_NS"})) + 1] == "ROOT_IDS"
        before(ops, {"ROOT_IDS"}, {"UNSHARE"})
    if spec.linux.time_offsets:
        before(ops, {"UNSHARE"}, {"TIME_OFFSETS"})
        assert found.count("TIME_OFFSETS") == 1


@given(specs())
@settings(max_examples=300, deadline=None)
def test_exec_order(spec: Spec) -> None:
    process = spec.process
    assert process is not None
    ops = exec_plan(process, namespace_mask(spec), (1, 2, 3), Options(keyring="_ses.c"))
    found = names(ops)
    assert found[-1] == "EXEC"
    before(ops, LIMITS, {"JOIN_PIDFD"})
    at = found.index("JOIN_PIDFD")
    assert found[at + 1] == "CHECK_ROOT"  # EX-05: before anything is read or done there
    assert ops[at].num == (sum(CLONE[n.type] for n in spec.linux.namespaces),)
    check_credentials(ops, process)
    # EX-03: the fork is what makes the process visible inside, and it has nothing to lose by then.
    before(ops, {*LIMITS, *CREDENTIALS, "KEYRING", "CHDIR", "UMASK", "LOOKUP"}, {"FORK"})
    assert found[found.index("FORK") :] == [
        "FORK", "SETSID", *(["CONSOLE"] if process.terminal else []), "CLOSE_FDS", "EXEC",
    ]  # fmt: skip
    assert not {"SYNC", "UNSHARE", "WAIT_START", "JOIN_NS", "PIVOT_ROOT"} & set(found)
    caps = next(op for op in ops if op.name == "CAPS")
    assert caps.num[2] & ~caps.num[3] == 0  # CV-09: inheritable only for the ambient ones
    pack(ops)


@given(specs())
@settings(max_examples=100, deadline=None)
def test_pure(spec: Spec) -> None:
    """Twice the same plan, and the spec is as it was."""
    saved = repr(spec)
    first, second = create_plan(spec, Options()), create_plan(spec, Options())
    assert pack(first) == pack(second)
    assert repr(spec) == saved


@given(specs())
@settings(max_examples=100, deadline=None)
def test_every_descriptor_is_one_that_create_can_open(spec: Spec) -> None:
    joined = {f"ns:{n.type}" for n in spec.linux.namespaces if n.path is not None}
    bound = {f"bind:{i}" for i, mount in enumerate(spec.mounts) if mount.type == "bind"}
    user = spec.linux.namespace("user") is not None
    nodes = {f"dev:{op.str[0]}" for op in create_plan(spec, Options()) if op.name == "MKNOD"}
    allowed = {"rootfs", "start", *joined, *bound, *(nodes if user else ())}
    allowed |= {"console"} if spec.process and spec.process.terminal else set()
    allowed |= set() if spec.linux.namespace("cgroup") else {"cgroup-tree"}
    found = set(slots(create_plan(spec, Options())))
    assert found <= allowed | {"cgroup-tree"}
    assert {"rootfs", "start", *joined, *bound} <= found


@given(specs())
@settings(max_examples=100, deadline=None)
def test_mounts_in_the_listed_order(spec: Spec) -> None:
    ops = create_plan(spec, Options())
    found = [op.where for op in ops if op.name in BUILD - {"MKNOD", "SYMLINK"}]
    assert found == [f"/mounts/{i}" for i in range(len(spec.mounts))]

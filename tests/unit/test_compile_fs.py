"""Mount options on their way into the plan: none is lost, whatever the kind of mount."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.bundle_support import changed, unsupported_with
from unit.compile_support import spec_of

from shim.bundle.spec import parse
from shim.engine.compile import Options, create_plan
from shim.engine.compile_fs import DEFAULT_DEVICES, device_ops, mount_ops
from shim.model import plan
from shim.model.plan import Op

RDONLY, NOSUID, NOEXEC = 1, 2, 8


def op_of(mount: dict[str, Any]) -> Op:
    document = changed("/mounts", [{"destination": "/x", **mount}])
    return mount_ops(parse(json.dumps(document).encode()))[0]


def test_recursive_attributes_of_a_new_file_system_are_its_own() -> None:
    """There is nothing below it that the recursion could reach."""
    op = op_of({"type": "tmpfs", "source": "t", "options": ["rro", "rnosuid", "noexec", "rexec"]})
    assert op.num[0] == RDONLY | NOSUID


def test_recursive_attributes_of_a_bind_are_kept_apart() -> None:
    op = op_of({"source": "/s", "options": ["rbind", "noexec", "rro", "rsuid"]})
    assert op.num[:2] == (NOEXEC, 0)
    assert op.num[3] == 1
    assert op.nums == (RDONLY, NOSUID)


def test_a_bind_without_recursive_attributes_says_so() -> None:
    assert op_of({"source": "/s", "options": ["rbind", "ro"]}).num[3] == 0


@pytest.mark.parametrize(
    "options", [["remount", "rro"], ["remount", "size=1m"], ["remount", "sync"]]
)
def test_what_a_remount_cannot_change_is_refused(options: list[str]) -> None:
    mounts = [{"destination": "/x", "options": options}]
    unsupported_with("/mounts", mounts, at="/mounts/0/options")


def test_a_remount_changes_what_it_can() -> None:
    op = op_of({"options": ["remount", "ro", "nosuid", "exec", "private"]})
    assert (op.name, op.num) == ("REMOUNT", (RDONLY | NOSUID, NOEXEC, 1 << 18))


@pytest.mark.parametrize(("kind", "told"), [("tmpfs", []), ("ext4", ["ro"])])
def test_read_only_reaches_the_super_block_only_of_real_file_systems(
    kind: str, told: list[str]
) -> None:
    op = op_of({"type": kind, "source": "s", "options": ["ro"]})
    assert op.num[0] == RDONLY
    assert list(op.list or ()) == told


def test_unknown_options_are_data_for_the_file_system() -> None:
    op = op_of({"type": "ext4", "source": "/dev/x", "options": ["data=ordered", "quota", "sync"]})
    assert op.list == ("sync", "data=ordered", "quota")
    assert op.str == ("/x", "ext4", "/dev/x")


def test_a_value_that_fsconfig_would_refuse_is_refused_by_field() -> None:
    spec = parse(
        json.dumps(
            changed(
                "/mounts",
                [{"destination": "/x", "type": "tmpfs", "options": [f"a={'b' * 256}"]}],
            )
        ).encode()
    )
    with pytest.raises(Exception, match=r"/mounts/0/options: option value longer than 255 bytes"):
        mount_ops(spec)


@pytest.mark.parametrize(
    ("mount", "root", "peer"),
    [("shared", "shared", True), ("rshared", "rshared", True), ("shared", "slave", False),
     ("slave", "shared", False)],
)  # fmt: skip
def test_mounts_travel_to_the_host_only_when_both_ends_ask(
    mount: str, root: str, peer: bool
) -> None:
    document = changed("/linux/rootfsPropagation", root)
    document["mounts"] = [{"destination": "/x", "source": "/s", "options": ["bind", mount]}]
    assert bool(mount_ops(spec_of(document))[0].flags & plan.BIND_SHARED_PEER) is peer


@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_without_a_cgroup_namespace_only_the_containers_own_tree_is_shown(kind: str) -> None:
    document = changed("/mounts", [{"destination": "/c", "type": kind, "source": "cgroup"}])
    assert mount_ops(spec_of(document))[0].name == "MOUNT_FS"
    document["linux"]["namespaces"] = [
        n for n in document["linux"]["namespaces"] if n["type"] != "cgroup"
    ]
    op = mount_ops(spec_of(document))[0]
    assert (op.name, op.fd) == ("MOUNT_BIND", "cgroup-tree")


@pytest.mark.parametrize(("joined", "bind"), [(False, False), (True, True)])
def test_sysfs_of_a_network_that_is_not_ours_may_be_bound(joined: bool, bind: bool) -> None:
    document = changed("/mounts", [{"destination": "/sys", "type": "sysfs", "source": "sysfs"}])
    for namespace in document["linux"]["namespaces"]:
        if namespace["type"] == "network" and joined:
            namespace["path"] = "/run/netns/x"
    assert bool(mount_ops(spec_of(document))[0].flags & plan.MOUNT_SYSFS_BIND) is bind


def test_default_devices_unless_config_has_its_own() -> None:
    spec = spec_of(changed("/linux/devices", []))
    paths = [op.str[0] for op in device_ops(spec) if op.name == "MKNOD"]
    assert paths == [path for path, _, _ in DEFAULT_DEVICES]
    own = [{"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o600}]
    nodes = [op for op in device_ops(spec_of(changed("/linux/devices", own))) if op.name == "MKNOD"]
    null = [op for op in nodes if op.str[0] == "/dev/null"]
    assert len(null) == 1
    assert null[0].num[0] & 0o777 == 0o600
    assert null[0].where == "/linux/devices/0"


def test_a_dev_of_the_users_own_is_left_alone() -> None:
    document = changed(
        "/mounts", [{"destination": "/dev/", "source": "/dev", "options": ["rbind"]}]
    )
    assert device_ops(spec_of(document)) == []


def test_devices_are_bound_in_a_user_namespace() -> None:
    """mknod(2) of a device needs CAP_MKNOD in the first user namespace; a FIFO does not."""
    document = changed("/linux/devices", [{"type": "p", "path": "/dev/fifo"}])
    document["linux"]["namespaces"].append({"type": "user", "path": "/proc/1/ns/user"})
    nodes = {op.str[0]: op for op in device_ops(spec_of(document)) if op.name == "MKNOD"}
    assert nodes["/dev/null"].fd == "dev:/dev/null"
    assert nodes["/dev/null"].flags == plan.MKNOD_BIND
    assert nodes["/dev/fifo"].fd is None


@pytest.mark.parametrize(
    ("propagation", "first", "last"),
    [
        (None, 1 << 19 | 1 << 14, None),
        ("rprivate", 1 << 18 | 1 << 14, None),
        ("shared", 1 << 19 | 1 << 14, 1 << 20),
        ("runbindable", 1 << 19 | 1 << 14, 1 << 17 | 1 << 14),
    ],
)
def test_propagation_of_the_root(propagation: str | None, first: int, last: int | None) -> None:
    """A shared tree would carry our mounts to the host while the root is built, and pivot_root(2)
    refuses it: slave first, what was asked for in the end."""
    document = changed("/linux/rootfsPropagation", propagation)
    document["root"]["readonly"] = False
    ops = create_plan(spec_of(document), Options())
    assert next(op for op in ops if op.name == "PROPAGATION").num == (first,)
    found = [op.num[1] for op in ops if op.name == "ROOT_ATTR"]
    assert found == ([] if last is None else [last])
    early = [op.num[2] for op in ops if (op.name, op.str) == ("REMOUNT", ("/",))]
    assert early == ([1 << 18 | 1 << 14] if propagation == "rprivate" else [])

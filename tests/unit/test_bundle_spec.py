"""Every field of config.json: honoured as written, refused by name, or refused with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.bundle_support import ABSENT, refused_with, spec_with, unsupported_with

from shim.bundle.spec import (
    Caps,
    Device,
    DeviceRule,
    IDMap,
    Linux,
    Mount,
    Namespace,
    Process,
    Resources,
    Rlimit,
    Root,
    Spec,
    parse,
    parse_resources,
)
from shim.errors import InputError, UnsupportedError

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "runc-1.1-spec.json"
THREE = 1 << 29 | 1 << 5 | 1 << 10  # AUDIT_WRITE, KILL, NET_BIND_SERVICE


def test_the_document_of_runc_spec() -> None:
    document = json.loads(GOLDEN.read_text())
    linux = document["linux"]
    assert parse(GOLDEN.read_bytes()) == Spec(
        oci_version="1.0.2-dev",
        process=Process(
            terminal=True,
            args=["sh"],
            env=document["process"]["env"],
            cwd="/",
            rlimits=[Rlimit("RLIMIT_NOFILE", 7, 1024, 1024)],
            caps=Caps(
                bounding=THREE, effective=THREE, permitted=THREE, inheritable=0, ambient=THREE
            ),
            no_new_privileges=True,
        ),
        root=Root("rootfs", True),
        hostname="runc",
        mounts=[
            Mount(mount["destination"], mount["type"], mount["source"], mount.get("options", []))
            for mount in document["mounts"]
        ],
        linux=Linux(
            namespaces=[Namespace(name) for name in ("pid", "network", "ipc", "uts", "mount")],
            resources=Resources(devices=[DeviceRule(False, "a", None, None, "rwm")]),
            masked_paths=linux["maskedPaths"],
            readonly_paths=linux["readonlyPaths"],
        ),
    )


def test_process_fields() -> None:
    process = spec_with(
        "/process",
        {
            "terminal": True,
            "consoleSize": {"height": 24, "width": 80},
            "args": ["a", ""],
            "cwd": "/w",
            "user": {"uid": 1, "gid": 2, "umask": 0o27, "additionalGids": [3, 4]},
            "oomScoreAdj": -1000,
            "apparmorProfile": "",
            "selinuxLabel": "",
            "scheduler": None,
            "capabilities": {
                "bounding": ["CAP_CHOWN", "CAP_KILL"],
                "permitted": ["CAP_CHOWN", "CAP_KILL"],
                "effective": ["CAP_KILL"],
                "inheritable": ["CAP_CHOWN"],
                "ambient": ["CAP_CHOWN"],
            },
        },
    ).process
    assert process == Process(
        terminal=True,
        console_size=(24, 80),
        args=["a", ""],
        cwd="/w",
        uid=1,
        gid=2,
        umask=0o27,
        additional_gids=[3, 4],
        oom_score_adj=-1000,
        caps=Caps(33, 32, 33, 1, 1),
    )


def test_process_may_be_absent() -> None:
    assert spec_with("/process", ABSENT).process is None
    assert spec_with("/process", None).process is None


def test_absent_capabilities_are_none_and_empty_ones_are_empty() -> None:
    absent, empty = (
        spec_with("/process/capabilities", ABSENT),
        spec_with("/process/capabilities", {}),
    )
    assert absent.process is not None
    assert absent.process.caps is None
    assert empty.process is not None
    assert empty.process.caps == Caps(0, 0, 0, 0, 0)


def test_linux_fields() -> None:
    maps = [
        {"containerID": 0, "hostID": 1000, "size": 10},
        {"containerID": 10, "hostID": 9, "size": 1},
    ]
    document = {
        "ociVersion": "1.3.0",
        "root": {"path": "/r"},
        "linux": {
            "namespaces": [
                {"type": "mount"},
                {"type": "user", "path": ""},
                {"type": "time"},
                {"type": "network", "path": "/run/netns/a"},
            ],
            "uidMappings": maps,
            "gidMappings": maps[:1],
            "cgroupsPath": "/a/b",
            "timeOffsets": {"monotonic": {"secs": -5}, "boottime": {"secs": 7, "nanosecs": 9}},
            "devices": [
                {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o20660},
                {"type": "p", "path": "/dev/fifo", "fileMode": 0o600, "uid": 1, "gid": 2},
                {"type": "u", "path": "/dev/x", "major": 1, "minor": 3},
            ],
            "sysctl": {"net.ipv4.ip_forward": "1"},
            "maskedPaths": ["/m"],
            "readonlyPaths": ["/r"],
            "rootfsPropagation": "rslave",
            "mountLabel": "",
            "netDevices": {},
            "seccomp": None,
        },
    }
    assert parse(json.dumps(document).encode()).linux == Linux(
        namespaces=[
            Namespace("mount"),
            Namespace("user"),
            Namespace("time"),
            Namespace("network", "/run/netns/a"),
        ],
        uid_mappings=[IDMap(0, 1000, 10), IDMap(10, 9, 1)],
        gid_mappings=[IDMap(0, 1000, 10)],
        time_offsets={"monotonic": (-5, 0), "boottime": (7, 9)},
        devices=[
            Device("c", "/dev/fuse", 10, 229, 0o660),
            Device("p", "/dev/fifo", 0, 0, 0o600, 1, 2),
            Device("u", "/dev/x", 1, 3),
        ],
        cgroups_path="/a/b",
        sysctl={"net.ipv4.ip_forward": "1"},
        masked_paths=["/m"],
        readonly_paths=["/r"],
        rootfs_propagation="rslave",
    )


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/process/apparmorProfile", "docker-default"),
        ("/process/selinuxLabel", "system_u:system_r:container_t:s0"),
        ("/process/scheduler", {"policy": "SCHED_FIFO", "priority": 1}),
        ("/process/ioPriority", {"class": "IOPRIO_CLASS_IDLE", "priority": 0}),
        ("/process/execCPUAffinity", {"initial": "0"}),
        ("/process/user/username", "www-data"),
        ("/vm", {"kernel": {"path": "/k"}}),
        ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW"}),
        ("/linux/seccomp", {}),
        ("/linux/mountLabel", "system_u:object_r:container_file_t:s0"),
        ("/linux/intelRdt", {"closID": "x"}),
        ("/linux/personality", {"domain": "LINUX32"}),
        ("/linux/netDevices", {"eth0": {}}),
        ("/linux/memoryPolicy", {"mode": "MPOL_BIND"}),
        ("/linux/resources/rdma", {"mlx5_1": {"hcaHandles": 3}}),
        ("/linux/resources/network/classID", 1048577),
        ("/linux/resources/network/priorities", [{"name": "eth0", "priority": 1}]),
        ("/linux/resources/memory/kernel", 4096),
        ("/linux/resources/memory/kernelTCP", 4096),
        ("/linux/resources/memory/swappiness", 0),
        ("/linux/resources/memory/disableOOMKiller", True),
        ("/linux/resources/memory/useHierarchy", False),
        ("/linux/resources/cpu/realtimeRuntime", 1),
        ("/linux/resources/cpu/realtimePeriod", 1),
        ("/linux/resources/blockIO/leafWeight", 10),
    ],
)
def test_a_field_not_honoured_is_refused_by_name(pointer: str, value: object) -> None:
    unsupported_with(pointer, value)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/linux/resources/memory/kernel", -1),
        ("/linux/resources/memory/disableOOMKiller", False),
        ("/linux/resources/memory/useHierarchy", True),
        ("/linux/resources/network", {}),
        ("/linux/resources/rdma", {}),
        ("/process/apparmorProfile", ""),
        ("/hooks", {}),
        ("/linux/seccomp", None),
    ],
)
def test_a_field_without_effect_passes(pointer: str, value: object) -> None:
    assert spec_with(pointer, value).hostname == "shim"


@pytest.mark.parametrize(
    ("pointer", "value", "at"),
    [
        ("/process/terminal", 1, None),
        ("/process/user", [], None),
        ("/process", "x", None),
        ("/process/user/umask", 0o1000, None),
        ("/process/oomScoreAdj", 1001, None),
        ("/process/consoleSize", {"height": 1}, "/process/consoleSize/width"),
        ("/process/consoleSize", {"height": 65536, "width": 1}, "/process/consoleSize/height"),
        ("/process/noNewPrivileges", "yes", None),
        ("/process/capabilities", ["CAP_KILL"], None),
        ("/root", ABSENT, None),
        ("/root/path", "", None),
        ("/root/readonly", 0, None),
        ("/hostname", "h" * 65, None),
        ("/hostname", 3, None),
        ("/domainname", "é" * 33, None),
        ("/mounts", {}, None),
        ("/annotations", {"": "x"}, "/annotations/"),
        ("/annotations", {"a/b": 1}, "/annotations/a~1b"),
        ("/annotations", [], None),
        ("/linux", [], None),
        ("/linux/namespaces", ABSENT, None),
        ("/linux/namespaces", [{"type": "pid"}], None),
        ("/linux/namespaces/0/path", "proc/1/ns/pid", None),
        ("/linux/rootfsPropagation", "rw", None),
        ("/linux/maskedPaths", ["a"], "/linux/maskedPaths/0"),
        ("/linux/readonlyPaths", "/a", None),
        ("/linux/cgroupsPath", "/a\nb", None),
        ("/linux/devices", [{"type": "x", "path": "/d"}], "/linux/devices/0/type"),
        ("/linux/devices", [{"type": "c", "path": "/d"}], "/linux/devices/0/major"),
        ("/linux/devices", [{"type": "p", "path": "d"}], "/linux/devices/0/path"),
    ],
)
def test_wrong_values_are_refused_at_their_place(
    pointer: str, value: object, at: str | None
) -> None:
    assert not isinstance(refused_with(pointer, value, at=at), UnsupportedError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
POINTERS = [
    "/ociVersion",
    "/process",
    "/process/args",
    "/process/env",
    "/process/user",
    "/process/cwd",
    "/process/capabilities",
    "/process/capabilities/ambient",
    "/process/rlimits",
    "/root",
    "/mounts",
    "/mounts/0",
    "/mounts/0/options",
    "/hostname",
    "/hooks",
    "/annotations",
    "/linux",
    "/linux/namespaces",
    "/linux/namespaces/0",
    "/linux/resources",
    "/linux/resources/devices",
    "/linux/resources/devices/0",
    "/linux/resources/memory",
    "/linux/resources/cpu",
    "/linux/resources/pids",
    "/linux/resources/blockIO",
    "/linux/resources/unified",
    "/linux/resources/hugepageLimits",
    "/linux/sysctl",
    "/linux/uidMappings",
    "/linux/timeOffsets",
    "/linux/devices",
    "/linux/maskedPaths",
    "/linux/cgroupsPath",
    "/linux/seccomp",
]


@given(st.sampled_from(POINTERS), JSON)
def test_any_value_anywhere_gives_a_spec_or_an_input_error(pointer: str, value: object) -> None:
    message = ""
    try:
        spec_with(pointer, value)
    except InputError as error:
        message = str(error)
    assert message.isprintable()


def test_parse_resources() -> None:
    found = parse_resources(b'{"pids": {"limit": 5}}', "r.json")
    assert found == Resources(pids_limit=5)
    with pytest.raises(InputError, match=r"r\.json: /pids/limit: must be an integer"):
        parse_resources(b'{"pids": {"limit": "5"}}', "r.json")

"""What must hold between fields: namespaces, id maps, clocks, sysctls (CV-33), devices."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.bundle_support import changed, refused, refused_with, spec_with

from shim.bundle.spec import parse
from shim.bundle.sysctl import sysctl_path


def test_the_same_path_for_two_devices() -> None:
    one = {"type": "c", "path": "/dev/a", "major": 1, "minor": 3}
    refused_with("/linux/devices", [one, {**one, "minor": 5}], at="/linux/devices/1/path")
    assert len(spec_with("/linux/devices", [one, one]).linux.devices) == 2


def test_effective_capabilities_must_be_permitted() -> None:
    sets = {"effective": ["CAP_KILL", "CAP_BPF"], "permitted": ["CAP_KILL"]}
    at = "/process/capabilities/effective"
    refused_with("/process/capabilities", sets, "CAP_BPF is not in permitted", at)


@pytest.mark.parametrize("field", ["hostname", "domainname"])
def test_names_need_a_uts_namespace(field: str) -> None:
    document = changed(f"/{field}", "x")
    others = [entry for entry in document["linux"]["namespaces"] if entry["type"] != "uts"]
    document["linux"]["namespaces"] = others
    if field == "domainname":
        del document["hostname"]
    refused(document, f"/{field}", "needs a uts namespace")


def with_namespaces(entries: list[dict[str, str]], **linux: object) -> dict[str, Any]:
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "r"},
        "linux": {"namespaces": [{"type": "mount"}, *entries], **linux},
    }


MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def test_user_namespace_rules() -> None:
    joined = {"type": "user", "path": "/proc/5/ns/user"}
    refused(
        with_namespaces([], uidMappings=MAP), "/linux/uidMappings", "needs a new user namespace"
    )
    refused(
        with_namespaces([], gidMappings=MAP), "/linux/gidMappings", "needs a new user namespace"
    )
    refused(with_namespaces([{"type": "user"}]), "/linux/uidMappings", "is required")
    refused(
        with_namespaces([{"type": "user"}], uidMappings=MAP), "/linux/gidMappings", "is required"
    )
    refused(with_namespaces([joined], uidMappings=MAP), "/linux/uidMappings", "not a joined one")
    assert parse(json.dumps(with_namespaces([joined])).encode()).linux.namespace("user")


@pytest.mark.parametrize(
    "second",
    [
        {"containerID": 65535, "hostID": 0, "size": 1},
        {"containerID": 70000, "hostID": 99999, "size": 2},
    ],
)
def test_overlapping_id_maps(second: dict[str, int]) -> None:
    document = with_namespaces([{"type": "user"}], uidMappings=[*MAP, second], gidMappings=MAP)
    refused(document, "/linux/uidMappings/1", "overlaps")


@pytest.mark.parametrize(
    ("entry", "at"),
    [
        ({"containerID": 0, "hostID": 0, "size": 0}, "/size"),
        ({"containerID": 2**32 - 2, "hostID": 0, "size": 2}, ""),
        ({"containerID": 0, "hostID": 1, "size": 2**32 - 1}, ""),
        ({"containerID": 0, "size": 1}, "/hostID"),
    ],
)
def test_id_maps_out_of_range(entry: dict[str, int], at: str) -> None:
    document = with_namespaces([{"type": "user"}], uidMappings=[entry], gidMappings=MAP)
    refused(document, f"/linux/uidMappings/0{at}")


def test_too_many_id_maps() -> None:
    many = [{"containerID": n, "hostID": n, "size": 1} for n in range(341)]
    document = with_namespaces([{"type": "user"}], uidMappings=many, gidMappings=MAP)
    refused(document, "/linux/uidMappings", "at most 340")


def test_time_namespace_rules() -> None:
    offsets = {"monotonic": {"secs": 1}}
    joined = [{"type": "time", "path": "/proc/5/ns/time"}]
    for entries in ([], joined):
        refused(
            with_namespaces(entries, timeOffsets=offsets),
            "/linux/timeOffsets",
            "new time namespace",
        )
    entries = [{"type": "time"}]
    refused(with_namespaces(entries, timeOffsets={"realtime": {}}), "/linux/timeOffsets/realtime")
    bad = {"boottime": {"nanosecs": 10**9}}
    refused(with_namespaces(entries, timeOffsets=bad), "/linux/timeOffsets/boottime/nanosecs")


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("kernel.shmmax", "ipc"),
        ("kernel/msgmax", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("kernel.shm_rmid_forced", "ipc"),
        ("net.core.somaxconn", "network"),
        ("net/ipv4/conf/eth0.1/rp_filter", "network"),
        ("kernel.domainname", "uts"),
    ],
)
def test_a_sysctl_needs_its_own_namespace(key: str, owner: str) -> None:
    good = with_namespaces([{"type": owner}], sysctl={key: "1"})
    assert parse(json.dumps(good).encode()).linux.sysctl == {key: "1"}
    others = [{"type": name} for name in ("ipc", "network", "uts", "pid") if name != owner]
    at = "/linux/sysctl/" + key.replace("/", "~1")
    refused(with_namespaces(others, sysctl={key: "1"}), at, f"private {owner} namespace")


@pytest.mark.parametrize(
    "key",
    [
        "kernel.core_pattern",
        "vm.swappiness",
        "fs.file-max",
        "user.max_user_namespaces",
        "kernel.semx",
    ],
)
def test_sysctls_of_the_whole_machine(key: str) -> None:
    refused_with("/linux/sysctl", {key: "1"}, "separate kernel namespace", f"/linux/sysctl/{key}")


def test_sysctl_hostname_and_the_same_one_twice() -> None:
    at = "/linux/sysctl/kernel.hostname"
    refused_with("/linux/sysctl", {"kernel.hostname": "x"}, "use the field /hostname", at)
    both = {"net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0"}
    refused_with("/linux/sysctl", both, "same sysctl", "/linux/sysctl/net~1ipv4~1ip_forward")


@pytest.mark.parametrize(
    "value", ["", "1+kernel.core_pattern=|/x", "1\n", "a\0b", "$(x)", "|x", "x;y", "é", "1" * 4097]
)
def test_cv_33_sysctl_values(value: str) -> None:
    key = "net.ipv4.ip_forward"
    refused_with("/linux/sysctl", {key: value}, at=f"/linux/sysctl/{key}")


@pytest.mark.parametrize(
    "value",
    ["1", "-1", "0 2147483647", "1\t2", "8080,9148-9155", "bbr", "a1b2-c3,d4", "fe80::1%2", "1.5"],
)
def test_cv_33_ordinary_sysctl_values_pass(value: str) -> None:
    assert spec_with("/linux/sysctl", {"net.x.y": value}).linux.sysctl == {"net.x.y": value}


@given(st.text(max_size=30))
def test_cv_33_a_sysctl_path_never_leaves_proc_sys(key: str) -> None:
    try:
        path = sysctl_path(key)
    except ValueError:
        return
    parts = path.split("/")
    assert len(parts) >= 2
    assert all(part and not part.startswith(".") for part in parts)
    assert path.isascii()
    assert path.isprintable()


def test_sysctl_paths() -> None:
    assert sysctl_path("net.ipv4.conf.eth0/1.rp_filter") == "net/ipv4/conf/eth0.1/rp_filter"
    assert sysctl_path("net/ipv4/conf/eth0.1/rp_filter") == "net/ipv4/conf/eth0.1/rp_filter"

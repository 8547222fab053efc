"""What is valid and not honoured yet is refused by name, on the command line and in config.json,
and leaves nothing behind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from root.config_support import refused
from support.runtime import Runtime

UNSUPPORTED: dict[str, tuple[str, Any]] = {
    "seccomp": ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW"}),
    "prestart": ("/hooks/prestart", [{"path": "/bin/true"}]),
    "createRuntime": ("/hooks/createRuntime", [{"path": "/bin/true"}]),
    "createContainer": ("/hooks/createContainer", [{"path": "/bin/true"}]),
    "startContainer": ("/hooks/startContainer", [{"path": "/bin/true"}]),
    "poststart": ("/hooks/poststart", [{"path": "/bin/true"}]),
    "poststop": ("/hooks/poststop", [{"path": "/bin/true"}]),
    "apparmorProfile": ("/process/apparmorProfile", "docker-default"),
    "selinuxLabel": ("/process/selinuxLabel", "a:b:c:s0"),
    "scheduler": ("/process/scheduler", {"policy": "SCHED_BATCH"}),
    "ioPriority": ("/process/ioPriority", {"class": "IOPRIO_CLASS_IDLE"}),
    "execCPUAffinity": ("/process/execCPUAffinity", {"initial": "0"}),
    "mountLabel": ("/linux/mountLabel", "a:b:c:s0"),
    "intelRdt": ("/linux/intelRdt", {"closID": "x"}),
    "personality": ("/linux/personality", {"domain": "LINUX32"}),
    "netDevices": ("/linux/netDevices", {"eth0": {}}),
    "memoryPolicy": ("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "0"}),
    "rdma": ("/linux/resources/rdma", {"mlx5_1": {"hcaHandles": 3}}),
    "idmap": ("/mounts/0/uidMappings", [{"containerID": 0, "hostID": 1, "size": 1}]),
    "vm": ("/vm", {"kernel": {"path": "/k"}}),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_field_that_is_not_honoured_is_refused_by_name(rt: Runtime, name: str) -> None:
    pointer, value = UNSUPPORTED[name]
    config = copy.deepcopy(rt.config())
    *parents, last = pointer.split("/")[1:]
    node: Any = config
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[last] = value
    line = refused(rt, config, f"config.json: {pointer}")
    assert "not supported" in line


def test_rows_10_unknown_properties_are_ignored(rt: Runtime) -> None:
    """runtime-spec: MUST NOT error on a property it does not know."""
    config = rt.config()
    config["x-mine"] = {"a": 1}
    config["linux"]["tomorrow"] = True
    config["process"]["later"] = []
    assert rt.create("c", rt.bundle_of(config)).code == 0


FLAGS = {
    "--systemd-cgroup": ["--systemd-cgroup"],
    "--rootless true": ["--rootless", "true"],
    "--cgroup-manager systemd": ["--cgroup-manager", "systemd"],
}


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_that_is_not_honoured_is_refused_by_name(rt: Runtime, name: str) -> None:
    result = rt.shim(*FLAGS[name], "list")
    assert result.code == 1
    assert name in result.line
    assert "not supported by this version" in result.line


@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
def test_verbs_that_are_not_there_say_so(rt: Runtime, verb: str) -> None:
    """podman probes `checkpoint --help`: exit status 0 would mean that it works."""
    for argv in ([verb, "--help"], [verb, "c"]):
        result = rt.shim(*argv)
        assert result.code == 1
        assert "not supported" in result.err

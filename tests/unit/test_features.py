"""The features document: its shape, and that it claims exactly what config.json may ask for."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from unit.bundle_support import changed

from shim.bundle.caps import CAPABILITIES
from shim.bundle.mounts import SUPPORTED
from shim.bundle.spec import parse
from shim.engine.features import features
from shim.errors import InputError, UnsupportedError

_STRINGS = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
_FLAG = {"type": "object", "properties": {"enabled": {"type": "boolean"}}}


def _object(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


_BOOL = {"type": "boolean"}
# Written from runtime-spec 1.3.0's features.md and features-linux.md, closed so that a misspelt
# field is an error.
SCHEMA = {
    **_object(
        ociVersionMin={"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
        ociVersionMax={"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
        hooks=_STRINGS,
        mountOptions=_STRINGS,
        annotations={"type": "object", "additionalProperties": {"type": "string"}},
        potentiallyUnsafeConfigAnnotations=_STRINGS,
        linux=_object(
            namespaces={
                **_STRINGS,
                "items": {
                    "enum": ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]
                },
            },
            capabilities={**_STRINGS, "items": {"type": "string", "pattern": "^CAP_[A-Z_]+$"}},
            cgroup=_object(**dict.fromkeys(("v1", "v2", "systemd", "systemdUser", "rdma"), _BOOL)),
            seccomp=_object(
                enabled=_BOOL,
                actions=_STRINGS,
                operators=_STRINGS,
                archs=_STRINGS,
                knownFlags=_STRINGS,
                supportedFlags=_STRINGS,
            ),
            apparmor=_FLAG,
            selinux=_FLAG,
            intelRdt=_object(enabled=_BOOL, schemata=_BOOL, monitoring=_BOOL),
            memoryPolicy=_object(modes=_STRINGS, flags=_STRINGS),
            mountExtensions=_object(idmap=_object(enabled=_BOOL)),
            netDevices=_object(enabled=_BOOL),
        ),
    ),
    "required": ["ociVersionMin", "ociVersionMax"],
}


def test_shape() -> None:
    document = json.loads(json.dumps(features()))
    jsonschema.validate(document, SCHEMA)
    assert document["ociVersionMin"] == "1.0.0"
    assert document["ociVersionMax"] == "1.3.0"


@pytest.mark.parametrize("version", ["ociVersionMin", "ociVersionMax"])
def test_versions_are_accepted(version: str) -> None:
    parse(json.dumps(changed("/ociVersion", features()[version])).encode())


def test_every_namespace_named_is_accepted_and_there_is_no_other() -> None:
    known = features()["linux"]["namespaces"]
    assert len(known) == 8
    for kind in known:
        document = changed("/linux/namespaces", [{"type": "mount"}, {"type": "uts"}])
        if kind not in ("mount", "uts"):
            document["linux"]["namespaces"].append({"type": kind, "path": f"/proc/self/ns/{kind}"})
        parse(json.dumps(document).encode())
    with pytest.raises(InputError):
        parse(json.dumps(changed("/linux/namespaces/0/type", "weather")).encode())


def test_every_capability_named_is_accepted() -> None:
    known = features()["linux"]["capabilities"]
    assert known == list(CAPABILITIES)
    sets = dict.fromkeys(("bounding", "permitted", "effective"), known)
    parse(json.dumps(changed("/process/capabilities", sets)).encode())


def test_mount_options_are_the_options_of_the_parser() -> None:
    """That each works is tests/root/test_config_mounts.py's."""
    assert features()["mountOptions"] == list(SUPPORTED)
    for must in ("bind", "rro", "rnosymfollow", "tmpcopyup", "runbindable", "mand", "ratime"):
        assert must in SUPPORTED
    assert "idmap" not in SUPPORTED


_HOOK: list[dict[str, Any]] = [{"path": "/bin/true"}]
REFUSED: dict[str, tuple[str, object]] = {
    "seccomp": ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW"}),
    "apparmor": ("/process/apparmorProfile", "docker-default"),
    "selinux": ("/process/selinuxLabel", "system_u:object_r:container_t:s0"),
    "intelRdt": ("/linux/intelRdt", {"closID": "x"}),
    "netDevices": ("/linux/netDevices", {"eth0": {}}),
    "memoryPolicy": ("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "0"}),
    "rdma": ("/linux/resources/rdma", {"mlx5_1": {"hcaHandles": 3}}),
    "idmap": ("/mounts/0/uidMappings", [{"containerID": 0, "hostID": 1, "size": 1}]),
}


@pytest.mark.parametrize("feature", REFUSED)
def test_what_is_said_to_be_missing_is_refused(feature: str) -> None:
    """When one of these comes to work, this fails and the document must change."""
    linux = features()["linux"]
    said = {
        "rdma": linux["cgroup"]["rdma"],
        "idmap": linux["mountExtensions"]["idmap"]["enabled"],
        "memoryPolicy": bool(linux["memoryPolicy"]["modes"]),
    }
    assert said.get(feature, linux.get(feature, {}).get("enabled")) is False
    pointer, value = REFUSED[feature]
    with pytest.raises(UnsupportedError):
        parse(json.dumps(changed(pointer, value)).encode())


def test_no_oci_hook_is_claimed_and_none_is_accepted() -> None:
    assert features()["hooks"] == []
    for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart"):
        with pytest.raises(UnsupportedError):
            parse(json.dumps(changed("/hooks", {kind: _HOOK})).encode())


def test_annotations_that_change_what_runs_are_named() -> None:
    unsafe = features()["potentiallyUnsafeConfigAnnotations"]
    assert "io.hookshim.lifecycle" in unsafe
    assert all(name.startswith("io.hookshim.") for name in unsafe)

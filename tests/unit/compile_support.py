"""Bundles for the compiler's and explain's golden files, and the golden files themselves.

`SHIM_UPDATE_GOLDEN=1 pytest tests/unit` writes what is said now; git shows what changed.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

from shim.bundle.load import Bundle
from shim.bundle.make import bundle_document, spec_document
from shim.bundle.sources import from_annotations
from shim.bundle.spec import Spec, parse

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MOUNTINFO = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /srv rw - xfs /dev/sda2 rw\n"


def golden(name: str, lines: list[str]) -> None:
    """`lines` are what the file tests/golden/`name` holds."""
    path, text = GOLDEN / name, "".join(f"{line}\n" for line in lines)
    if os.environ.get("SHIM_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text.splitlines() == path.read_text().splitlines()


def spec_of(document: dict[str, Any]) -> Spec:
    return parse(json.dumps(document).encode())


def runc_document() -> dict[str, Any]:
    """What `runc spec` of runc 1.1 writes."""
    document: dict[str, Any] = json.loads((GOLDEN / "runc-1.1-spec.json").read_bytes())
    return document


def host_document() -> dict[str, Any]:
    document: dict[str, Any] = bundle_document("host", ["nginx", "-g", "daemon off;"], MOUNTINFO)
    document["annotations"] = {
        "io.hookshim.lifecycle": json.dumps(
            {
                "postStart": {"exec": {"command": ["touch", "/run/ready"]}, "timeoutSeconds": 5},
                "preStop": {"exec": {"command": ["nginx", "-s", "quit"]}, "timeoutSeconds": 45},
            }
        ),
        "io.hookshim.terminationGracePeriodSeconds": "60",
        "org.opencontainers.image.stopSignal": "SIGQUIT",
    }
    return document


def everything() -> dict[str, Any]:
    """A user namespace and one of everything else that config.json may ask for."""
    document: dict[str, Any] = copy.deepcopy(spec_document())
    process, linux = document["process"], document["linux"]
    process.update(
        terminal=True,
        consoleSize={"height": 40, "width": 100},
        user={"uid": 1000, "gid": 1000, "umask": 0o027, "additionalGids": [5, 10]},
        args=["/bin/server", "--secret=hunter2"],
        env=["PATH=/bin", "HOME=/srv", "TOKEN=hunter2"],
        cwd="/srv",
        oomScoreAdj=-500,
        rlimits=[
            {"type": "RLIMIT_NOFILE", "soft": 256, "hard": 512},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        ],
        capabilities={
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "effective": ["CAP_CHOWN"],
            "inheritable": ["CAP_CHOWN", "CAP_KILL"],
            "ambient": ["CAP_KILL"],
        },
    )
    document.update(
        hostname="box", domainname="example.org", root={"path": "root", "readonly": True}
    )
    document["mounts"] += [
        {"destination": "/data", "source": "data", "options": ["rbind", "rro", "rslave", "nosuid"]},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs",
         "options": ["tmpcopyup", "nodev", "size=1m"]},
        {"destination": "/tmp/x", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "shared"]},
        {"destination": "/scratch", "options": ["remount", "ro", "noexec"]},
    ]  # fmt: skip
    linux.update(
        namespaces=[{"type": t} for t in ("pid", "mount", "ipc", "uts", "cgroup", "user", "time")]
        + [{"type": "network", "path": "/run/netns/blue"}],
        uidMappings=[
            {"containerID": 0, "hostID": 100000, "size": 65536},
            {"containerID": 65536, "hostID": 1000, "size": 1},
        ],
        gidMappings=[{"containerID": 0, "hostID": 200000, "size": 65536}],
        timeOffsets={"monotonic": {"secs": 100, "nanosecs": 5}, "boottime": {"secs": -3}},
        devices=[
            {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o600},
            {"type": "p", "path": "/dev/pipe", "uid": 7, "gid": 8},
            {"type": "b", "path": "/dev/disk", "major": 8, "minor": 0},
        ],
        cgroupsPath="/pod/box",
        rootfsPropagation="shared",
        sysctl={"net.ipv4.ip_forward": "1", "kernel.msgmax": "65536"},
        resources={
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
                {"allow": True, "type": "b", "major": 8, "access": "r"},
            ],
            "pids": {"limit": 100},
            "memory": {"limit": 1 << 28, "swap": 1 << 29, "reservation": 1 << 27},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1", "idle": 0},
            "blockIO": {
                "weight": 500,
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1048576}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
            "unified": {"memory.high": "200M"},
        },
    )  # fmt: skip
    return document


def bundle_of(document: dict[str, Any]) -> Bundle:
    """A bundle that is nowhere on disk; its lifecycle is the annotations'."""
    spec = spec_of(document)
    return Bundle("/bundle", spec, b"", from_annotations(spec), f"/bundle/{spec.root.path}")

"""What this runtime can do, as an OCI features document (runtime-spec 1.3.0, features.md and
features-linux.md). Honest: what config.json may not ask for is false here, and a test compares."""

from __future__ import annotations

from shim import __version__
from shim.bundle.caps import CAPABILITIES
from shim.bundle.linux import NAMESPACES
from shim.bundle.mounts import SUPPORTED
from shim.bundle.sources import ANNOTATIONS, PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_VERSION_MIN, OCI_VERSION_MAX = "1.0.0", "1.3.0"


def features() -> dict[str, Any]:
    """The document; the same on every machine, since it is about the runtime and not the host."""
    return {
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION_MAX,
        "hooks": [],
        "mountOptions": list(SUPPORTED),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(CAPABILITIES),
            "cgroup": {
                "v1": False,
                "v2": True,
                "systemd": False,
                "systemdUser": False,
                "rdma": False,
            },
            "seccomp": {"enabled": False},
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False, "schemata": False, "monitoring": False},
            "memoryPolicy": {"modes": [], "flags": []},
            "mountExtensions": {"idmap": {"enabled": False}},
            "netDevices": {"enabled": False},
        },
        "annotations": {f"{PREFIX}version": __version__},
        # They may come from an image and change what is run (SECURITY.md CV-29).
        "potentiallyUnsafeConfigAnnotations": list(ANNOTATIONS),
    }

"""Network devices of a container, read through rtnetlink by pyroute2 in the container's own network
namespace. Imported only by verbs that show them: pyroute2 takes more than 100 ms to import."""

from __future__ import annotations

import os

from shim.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def interfaces(pid: int) -> list[dict[str, Any]]:
    """[{"name", "state": "up"|"down", "mtu", "mac", "addresses": ["127.0.0.1/8", ...]}] of the
    network namespace of `pid`, in the kernel's order. KernelError when it cannot be entered.

    Only the network namespace is joined, and by a socket: no file of the container is opened.
    """
    from pyroute2 import NetNS

    path = f"/proc/{pid:d}/ns/net"
    try:
        with NetNS(path, flags=0) as ip:
            links = ip.get_links()
            addresses = ip.get_addr()
    except OSError as error:
        raise KernelError(f"read network devices of {path}", error.errno or 0) from None
    found: dict[int, dict[str, Any]] = {}
    for link in links:
        found[link["index"]] = {
            "name": link.get_attr("IFLA_IFNAME"),
            "state": "up" if link["flags"] & 1 else "down",
            "mtu": link.get_attr("IFLA_MTU"),
            "mac": link.get_attr("IFLA_ADDRESS"),
            "addresses": [],
        }
    for address in addresses:
        device = found.get(address["index"])
        if device is not None:
            where = address.get_attr("IFA_ADDRESS")
            device["addresses"].append(f"{where}/{address['prefixlen']}")
    return list(found.values())


def same_namespace(pid: int) -> bool:
    """Whether `pid` uses the caller's own network namespace."""
    try:
        return os.path.samefile(f"/proc/{pid:d}/ns/net", "/proc/self/ns/net")
    except OSError:
        return False
